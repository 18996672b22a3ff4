"""The primitives of indexing by integer arrays: gather, and the scatters that add, set, multiply and compare.

`axes` names the indexed axes of `x`, one per index array; all index arrays have one shape I and hold positions from
0. A gathered array has shape I + the other axes of `x`; so have the updates of a scatter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphad.errors import DtypeError, IndexRangeError, ShapeError, describe
from graphad.ir import sizes
from graphad.ir.operation import Custom, Derivative, Linear, Op, Params, Pattern, Sample, call, register
from graphad.ir.types import Requirement, Shape, TensorType, never_equal
from graphad.ir.variable import Variable
from graphad.ops.build import astype, same_dtype
from graphad.ops.extents import agreed, batch_shape, equal, show
from graphad.ops.shape import reshaped, stretched, transposed
from graphad.ops.source import filled, iota, iota_along

Types = tuple[TensorType, ...]
Args = tuple[Variable, ...]
Tangents = tuple[Variable | None, ...]
Axes = tuple[int, ...]


# ---------------------------------------------------------------------- typing


def _index_shape(indices: Types, rank: int, axes: Axes) -> Shape:
    if len(indices) != len(axes) or not indices:
        raise ShapeError(f"one index array for each of the axes {axes} expected, got {len(indices)}")
    if list(axes) != sorted(set(axes)) or axes[0] < 0 or axes[-1] >= rank:
        raise ShapeError(f"axes {axes} are no sorted selection of the {rank} axes")
    if any(kind.dtype != "int64" for kind in indices):
        raise DtypeError("index arrays of dtype int64 expected")
    shape = indices[0].shape
    for kind in indices[1:]:
        if kind.rank != len(shape):
            raise ShapeError("index arrays of one shape expected")
        shape = tuple(agreed(a, b, "index arrays") for a, b in zip(shape, kind.shape, strict=True))
    return shape


def rest_of(shape: Shape, axes: Axes) -> Shape:
    """The extents of the axes that are not indexed."""
    return tuple(e for a, e in enumerate(shape) if a not in axes)


def gather_type(types: Types, params: Params) -> TensorType:
    """The shape of the indices, then the other axes."""
    x, axes = types[0], params["axes"]
    return TensorType(x.dtype, _index_shape(types[1:], x.rank, axes) + rest_of(x.shape, axes))


def gather_requires(types: Types, params: Params) -> list[Requirement]:
    """Index arrays of one shape."""
    return _same_shapes(types[1:])


def _same_shapes(indices: Types) -> list[Requirement]:
    first = indices[0].shape
    reason = "index arrays of different sizes"
    return [r for kind in indices[1:] for a, b in zip(first, kind.shape, strict=True) for r in equal(a, b, reason)]


def scatter_type(types: Types, params: Params) -> TensorType:
    """The type of `x`; the updates fit the indices and the other axes."""
    x, updates, axes = types[0], types[1], params["axes"]
    wanted = _index_shape(types[2:], x.rank, axes) + rest_of(x.shape, axes)
    if len(wanted) != updates.rank or any(never_equal(a, b) for a, b in zip(wanted, updates.shape, strict=True)):
        raise ShapeError(f"updates of shape {show(wanted)} expected, got {show(updates.shape)}")
    return TensorType(same_dtype((x, updates)), x.shape)


def scatter_number_type(types: Types, params: Params) -> TensorType:
    """Like `scatter_type`, of numbers."""
    result = scatter_type(types, params)
    if result.dtype == "bool":
        raise DtypeError("numbers expected, got bool")
    return result


def scatter_requires(types: Types, params: Params) -> list[Requirement]:
    """Index arrays of one shape, and updates that fit."""
    wanted = types[2].shape + rest_of(types[0].shape, params["axes"])
    pairs = zip(wanted, types[1].shape, strict=True)
    return _same_shapes(types[2:]) + [r for a, b in pairs for r in equal(a, b, "the updates do not fit the indices")]


# ---------------------------------------------------------------------- references


def _checked(shape: tuple[int, ...], indices: tuple[Any, ...], axes: Axes) -> tuple[Any, ...]:
    """The indices in C order on one axis; raises `IndexRangeError` outside."""
    for index, axis in zip(indices, axes, strict=True):
        if index.size and not (index.min() >= 0 and index.max() < shape[axis]):
            raise IndexRangeError(
                describe(
                    f"an index leaves axis {axis}",
                    expected=f"from 0 to {shape[axis] - 1}" if shape[axis] else "no index: the axis is empty",
                    got=str(index),
                    fix="correct the index, or keep it inside: `np.clip(i, 0, n - 1)`",
                )
            )
    return tuple(index.reshape(-1) for index in indices)


def _indexed_first(x: Any, axes: Axes) -> Any:
    """A view with the indexed axes in front."""
    return x.transpose(axes + tuple(a for a in range(x.ndim) if a not in axes))


def gather_value(x: Any, *indices: Any, axes: Axes) -> Any:
    """NumPy reference of `gather`."""
    rest = tuple(e for a, e in enumerate(x.shape) if a not in axes)
    flat = _checked(x.shape, indices, axes)
    return _indexed_first(x, axes)[flat].reshape(indices[0].shape + rest)


def _scatter_value(update: Callable[[Any, Any, Any], None]) -> Callable[..., Any]:
    def value(x: Any, updates: Any, *indices: Any, axes: Axes) -> Any:
        result = np.array(x)
        rest = tuple(e for a, e in enumerate(x.shape) if a not in axes)
        flat = _checked(x.shape, indices, axes)
        update(_indexed_first(result, axes), flat, updates.reshape((flat[0].size, *rest)))
        return result

    return value


def _assign(view: Any, index: Any, updates: Any) -> None:
    view[index] = updates


# ---------------------------------------------------------------------- builders


def gathered(x: Variable, indices: tuple[Variable, ...], axes: Axes) -> Variable:
    """Elements of `x` at positions from 0 on some axes."""
    return x.graph.apply("gather", x, *indices, axes=axes)


def scattered(kind: str, x: Variable, updates: Variable, indices: tuple[Variable, ...], axes: Axes) -> Variable:
    """`x` with updates at positions from 0; `kind` is add, set, mul, max or min."""
    return x.graph.apply(f"scatter_{kind}", x, updates, *indices, axes=axes)


def chosen(mask: Variable, values: Variable) -> Variable:
    """The values where the mask is true, zeros elsewhere."""
    result: Variable = call("where", mask, values, 0.0)
    return result


def unique(indices: tuple[Variable, ...]) -> bool:
    """Whether no two index tuples are known to be equal: a single one, constants, or one counter per axis."""
    if sizes.product(indices[0].shape) in (0, 1):
        return True
    nodes = [index.node for index in indices]
    if any(node.op == "iota" for node in nodes) and indices[0].ndim == 1:
        return True
    if all(node.op == "const" for node in nodes):
        rows = np.stack([node.param("value").array.reshape(-1) for node in nodes], axis=-1)
        return len(np.unique(rows, axis=0)) == len(rows)
    return False


def _positions(indices: tuple[Variable, ...], rest: Shape) -> Variable:
    """The running number of each index tuple, as updates: shape I + rest."""
    shape = indices[0].shape
    counted = reshaped(iota(indices[0].graph, sizes.product(shape)), shape)
    return stretched(reshaped(counted, shape + (1,) * len(rest)), shape + rest)


def last_of_equal(x: Variable, indices: tuple[Variable, ...], axes: Axes) -> Variable:
    """Whether each index tuple is the last of its equals: truth values of shape I, with a 1 for each other axis."""
    shape = indices[0].shape
    counted = reshaped(iota(x.graph, sizes.product(shape)), shape)
    indexed = tuple(range(len(axes)))
    start = filled(x.graph, tuple(x.shape[a] for a in axes), 0, "int64")
    winner = gathered(scattered("set", start, counted, indices, indexed), indices, indexed)
    return reshaped(winner == counted, shape + (1,) * (x.ndim - len(axes)))


# ---------------------------------------------------------------------- derivatives


def _gather_transpose(ct: Variable, args: Args, position: int, params: Params) -> Variable:
    x = args[0]
    return scattered("add", filled(x.graph, x.shape, 0.0, x.dtype), ct, args[1:], params["axes"])


def _scatter_add_transpose(ct: Variable, args: Args, position: int, params: Params) -> Variable:
    return ct if position == 0 else gathered(ct, args[2:], params["axes"])


def _scatter_set_transpose(ct: Variable, args: Args, position: int, params: Params) -> Variable:
    indices, axes = args[2:], params["axes"]
    if position == 0:
        return scattered("set", ct, filled(ct.graph, args[1].shape, 0.0, ct.dtype), indices, axes)
    picked = gathered(ct, indices, axes)
    if unique(indices):
        return picked
    return chosen(last_of_equal(args[0], indices, axes), picked)


def _other_factors(x: Variable, updates: Variable, indices: tuple[Variable, ...], axes: Axes) -> Variable:
    """What each update is multiplied by: the element of `x` and the other updates at the same place.

    Zeros are counted apart, so nothing is divided by zero; the second derivative takes the zeros among several updates
    of one place as constants.
    """
    base = gathered(x, indices, axes)
    if unique(indices):
        return base
    zero = updates == 0.0
    factor = call("where", zero, 1.0, updates)
    ones = filled(x.graph, x.shape, 1.0, x.dtype)
    together = gathered(scattered("mul", ones, factor, indices, axes), indices, axes)
    ones_where_zero = astype(zero, "int64")
    none = filled(x.graph, x.shape, 0, "int64")
    zeros = gathered(scattered("add", none, ones_where_zero, indices, axes), indices, axes)
    others = chosen(zeros <= ones_where_zero, together / factor)
    return base * others


def _scatter_mul_jvp(args: Args, tangents: Tangents, out: Variable, params: Params) -> Variable | None:
    x, updates, indices, axes = args[0], args[1], args[2:], params["axes"]
    moved = None if tangents[0] is None else scattered("mul", tangents[0], updates, indices, axes)
    if tangents[1] is None:
        return moved
    start = filled(x.graph, x.shape, 0.0, x.dtype) if moved is None else moved
    return scattered("add", start, tangents[1] * _other_factors(x, updates, indices, axes), indices, axes)


def _scatter_mul_vjp(args: Args, out: Variable, ct: Variable, params: Params) -> tuple[Variable | None, ...]:
    x, updates, indices, axes = args[0], args[1], args[2:], params["axes"]
    moved = scattered("mul", ct, updates, indices, axes)
    to_updates = gathered(ct, indices, axes) * _other_factors(x, updates, indices, axes)
    return moved, to_updates, *(None for _ in indices)


def _same(left: Variable, right: Variable) -> Variable:
    """Equal, NaN taken as equal to NaN."""
    return (left == right) | ((left != left) & (right != right))


def winners(args: Args, out: Variable, axes: Axes) -> tuple[Variable, Variable]:
    """Which elements of `x` and which updates a scatter of extrema has chosen: `x` first, then the first update."""
    x, updates, indices = args[0], args[1], args[2:]
    kept = _same(x, out)
    candidate = _same(updates, gathered(out, indices, axes)) & ~gathered(kept, indices, axes)
    if unique(indices):
        return kept, candidate
    position = _positions(indices, rest_of(x.shape, axes))
    beyond = position.graph.apply("size_of", size=sizes.product(indices[0].shape))
    start = stretched(beyond, x.shape)
    numbers = call("where", candidate, position, beyond)
    first = gathered(scattered("min", start, numbers, indices, axes), indices, axes)
    return kept, candidate & (first == position)


def _extremum_jvp(args: Args, tangents: Tangents, out: Variable, params: Params) -> Variable | None:
    x, axes = args[0], params["axes"]
    if tangents[0] is None and tangents[1] is None:
        return None
    kept, taken = winners(args, out, axes)
    zero = filled(x.graph, x.shape, 0.0, x.dtype)
    moved = zero if tangents[0] is None else chosen(kept, tangents[0])
    if tangents[1] is None:
        return moved
    return scattered("add", moved, chosen(taken, tangents[1]), args[2:], axes)


def _extremum_vjp(args: Args, out: Variable, ct: Variable, params: Params) -> tuple[Variable | None, ...]:
    axes = params["axes"]
    kept, taken = winners(args, out, axes)
    to_x = chosen(kept, ct)
    to_updates = chosen(taken, gathered(ct, args[2:], axes))
    return to_x, to_updates, *(None for _ in args[2:])


# ---------------------------------------------------------------------- batching


def _batched_indices(
    k: int, indices: tuple[Variable, ...], lead: Shape, batched: tuple[bool, ...]
) -> tuple[Variable, ...]:
    """Index arrays over the batch: counters for the batch axes, then the given ones, all of shape batch + I."""
    graph = indices[0].graph
    inner = next(i.shape[k:] if b else i.shape for i, b in zip(indices, batched, strict=True))
    whole = lead + inner
    counters = tuple(stretched(iota_along(graph, lead + (1,) * len(inner), a), whole) for a in range(k))
    return (*counters, *(stretched(i, whole) for i in indices))


def gather_batch(k: int, args: Args, batched: tuple[bool, ...], params: Params) -> Variable:
    """Batch axes in front of `x`, of the indices, or of both."""
    x, indices, axes = args[0], args[1:], params["axes"]
    lead = batch_shape(k, args, batched)
    if not any(batched[1:]):
        picked = gathered(x, indices, tuple(a + k for a in axes))
        rank = indices[0].ndim
        return transposed(picked, (*range(rank, rank + k), *range(rank), *range(rank + k, picked.ndim)))
    whole = _batched_indices(k, indices, lead, batched[1:])
    if not batched[0]:
        return gathered(x, whole[k:], axes)
    return gathered(x, whole, (*range(k), *(a + k for a in axes)))


def _scatter_batch(kind: str) -> Any:
    def batch(k: int, args: Args, batched: tuple[bool, ...], params: Params) -> Variable:
        lead = batch_shape(k, args, batched)
        x, updates = (a if b else stretched(a, lead + a.shape) for a, b in zip(args[:2], batched[:2], strict=True))
        axes = tuple(a + k for a in params["axes"])
        if any(batched[2:]):
            whole = _batched_indices(k, args[2:], lead, batched[2:])
            return scattered(kind, x, updates, whole, (*range(k), *axes))
        rank = args[2].ndim
        order = (*range(k, k + rank), *range(k), *range(k + rank, updates.ndim))
        return scattered(kind, x, transposed(updates, order), args[2:], axes)

    return batch


# ---------------------------------------------------------------------- records

register(
    Op(
        name="gather",
        arity=None,
        infer=gather_type,
        reference=gather_value,
        emission=Pattern("gather"),
        derivative=Linear(_gather_transpose, operands=(0,)),
        batch=gather_batch,
        requires=gather_requires,
        analytic=True,
        cost=0.0,
        samples=(
            Sample(((4,), (3,)), {"axes": (0,)}, ("float64", "int64"), {1: [3, 0, 3]}),
            Sample(((3, 4), (2, 2)), {"axes": (1,)}, ("float64", "int64"), {1: [[0, 3], [3, 1]]}),
            Sample(((3, 2, 4), (2,), (2,)), {"axes": (0, 2)}, ("float64", "int64", "int64"), {1: [2, 0], 2: [1, 1]}),
            Sample(((3, 1), ()), {"axes": (0,)}, ("float64", "int64"), {1: 1}),
            Sample(((3,), (0,)), {"axes": (0,)}, ("float64", "int64"), {1: np.zeros(0, np.int64)}),
        ),
    )
)

SCATTERED = (
    Sample(((4,), (3,), (3,)), {"axes": (0,)}, ("float64", "float64", "int64"), {2: [3, 0, 3]}),
    Sample(((3, 4), (2, 2, 3), (2, 2)), {"axes": (1,)}, ("float64", "float64", "int64"), {2: [[0, 3], [3, 1]]}),
    Sample(
        ((3, 2, 4), (2, 2), (2,), (2,)),
        {"axes": (0, 2)},
        ("float64", "float64", "int64", "int64"),
        {2: [2, 0], 3: [1, 1]},
    ),
    Sample(((3, 1), (1,), ()), {"axes": (0,)}, ("float64", "float64", "int64"), {2: 1}),
    Sample(((3,), (0,), (0,)), {"axes": (0,)}, ("float64", "float64", "int64"), {2: np.zeros(0, np.int64)}),
)


def _register_scatter(
    kind: str, update: Callable[[Any, Any, Any], None], derivative: Derivative, analytic: bool
) -> None:
    register(
        Op(
            name=f"scatter_{kind}",
            arity=None,
            infer=scatter_type if kind == "set" else scatter_number_type,
            reference=_scatter_value(update),
            emission=Pattern(f"scatter_{kind}"),
            derivative=derivative,
            batch=_scatter_batch(kind),
            requires=scatter_requires,
            analytic=analytic,
            samples=SCATTERED,
        )
    )


_register_scatter("add", np.add.at, Linear(_scatter_add_transpose, operands=(0, 1)), True)
_register_scatter("set", _assign, Linear(_scatter_set_transpose, operands=(0, 1)), True)
_register_scatter("mul", np.multiply.at, Custom(_scatter_mul_jvp, _scatter_mul_vjp), True)
_register_scatter("max", np.maximum.at, Custom(_extremum_jvp, _extremum_vjp, selects=True), False)
_register_scatter("min", np.minimum.at, Custom(_extremum_jvp, _extremum_vjp, selects=True), False)
