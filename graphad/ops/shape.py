"""The primitives that move elements about: reshape, transpose, broadcast_to, slice, embed, concatenate.

The transpose of each is another of them (or a sum), so derivatives of any order stay inside the family.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphad.errors import ShapeError
from graphad.ir import sizes
from graphad.ir.operation import Linear, Op, Params, Pattern, Sample, register
from graphad.ir.sizes import Extent
from graphad.ir.types import Requirement, Shape, TensorType, broadcast, never_equal
from graphad.ir.variable import Variable
from graphad.ops.build import same_dtype
from graphad.ops.extents import agreed, at_most, check_literal, equal, nonnegative, show, stacked, wrong_shape

Types = tuple[TensorType, ...]
Args = tuple[Variable, ...]
OUTSIDE = "the slice reaches outside the axis"


# ---------------------------------------------------------------------- builders of the primitives


def reshaped(x: Variable, shape: Shape) -> Variable:
    """The elements in C order in another shape without -1; `x` itself where nothing changes."""
    return x if x.shape == shape else x.graph.apply("reshape", x, shape=shape)


def transposed(x: Variable, axes: tuple[int, ...]) -> Variable:
    """The axes in another order; `x` itself where nothing changes."""
    return x if axes == tuple(range(x.ndim)) else x.graph.apply("transpose", x, axes=axes)


def stretched(x: Variable, shape: Shape) -> Variable:
    """`x` broadcast to a shape; `x` itself where nothing changes."""
    return x if x.shape == shape else x.graph.apply("broadcast_to", x, shape=shape)


def summed(x: Variable, axes: tuple[int, ...]) -> Variable:
    """The sum over sorted axes; `x` itself over none."""
    return x.graph.apply("sum", x, axes=axes) if axes else x


def sliced(x: Variable, axis: int, start: Extent, size: Extent, step: int = 1) -> Variable:
    """Elements start, start+step, … along one axis, `size` of them."""
    if start == 0 and size == x.shape[axis] and step == 1:
        return x
    starts = tuple(start if a == axis else 0 for a in range(x.ndim))
    extents = tuple(size if a == axis else e for a, e in enumerate(x.shape))
    steps = tuple(step if a == axis else 1 for a in range(x.ndim))
    return x.graph.apply("slice", x, starts=starts, sizes=extents, steps=steps)


def flipped(x: Variable, axis: int) -> Variable:
    """The order along one axis reversed."""
    return sliced(x, axis, x.shape[axis] - 1, x.shape[axis], -1)


def joined(parts: tuple[Variable, ...], axis: int) -> Variable:
    """Arrays of one dtype one after the other along an axis."""
    return parts[0] if len(parts) == 1 else parts[0].graph.apply("concatenate", *parts, axis=axis)


def with_ones(x: Variable, axes: tuple[int, ...]) -> Variable:
    """Axes of extent 1 inserted at sorted positions of the result."""
    rest = iter(x.shape)
    return reshaped(x, tuple(1 if a in axes else next(rest) for a in range(x.ndim + len(axes))))


# ---------------------------------------------------------------------- reshape and transpose


def reshape_type(types: Types, params: Params) -> TensorType:
    """The given shape, whose product is that of the operand."""
    shape: Shape = check_literal(params["shape"])
    if never_equal(types[0].elements, sizes.product(shape)):
        raise ShapeError(f"{types[0].elements} elements of shape {show(types[0].shape)} do not fill {show(shape)}")
    return TensorType(types[0].dtype, shape)


def reshape_requires(types: Types, params: Params) -> list[Requirement]:
    """As many elements before as after."""
    return equal(types[0].elements, sizes.product(params["shape"]), "the number of elements changes")


def reshape_batch(k: int, args: Args, batched: tuple[bool, ...], params: Params) -> Variable:
    """Batch axes in front of the shape."""
    return reshaped(args[0], args[0].shape[:k] + params["shape"])


def transpose_type(types: Types, params: Params) -> TensorType:
    """The extents in the order of `axes`."""
    axes = params["axes"]
    if sorted(axes) != list(range(types[0].rank)):
        raise ShapeError(f"axes {axes} are no permutation of the {types[0].rank} axes")
    return TensorType(types[0].dtype, tuple(types[0].shape[a] for a in axes))


def inverse(axes: tuple[int, ...]) -> tuple[int, ...]:
    """The permutation that undoes another.

    >>> inverse((2, 0, 1))
    (1, 2, 0)
    """
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))


register(
    Op(
        name="reshape",
        arity=1,
        infer=reshape_type,
        reference=lambda x, shape: np.reshape(x, shape),
        emission=Pattern("reshape"),
        derivative=Linear(lambda ct, args, position, params: reshaped(ct, args[0].shape)),
        batch=reshape_batch,
        requires=reshape_requires,
        analytic=True,
        cost=0.0,
        samples=(
            Sample(((2, 3),), {"shape": (3, 2)}),
            Sample(((6,),), {"shape": (1, 2, 3)}),
            Sample(((1,),), {"shape": ()}),
            Sample(((0, 3),), {"shape": (3, 0)}),
        ),
    )
)
register(
    Op(
        name="transpose",
        arity=1,
        infer=transpose_type,
        reference=lambda x, axes: np.transpose(x, axes),
        emission=Pattern("transpose"),
        derivative=Linear(lambda ct, args, position, params: transposed(ct, inverse(params["axes"]))),
        batch=lambda k, args, batched, params: transposed(
            args[0], tuple(range(k)) + tuple(a + k for a in params["axes"])
        ),
        analytic=True,
        cost=0.0,
        samples=(
            Sample(((2, 3),), {"axes": (1, 0)}),
            Sample(((2, 3, 4),), {"axes": (2, 0, 1)}),
            Sample(((1, 0),), {"axes": (1, 0)}),
            Sample(((),), {"axes": ()}),
        ),
    )
)


# ---------------------------------------------------------------------- broadcast_to


def broadcast_to_type(types: Types, params: Params) -> TensorType:
    """The given shape, to which the operand broadcasts."""
    shape: Shape = check_literal(params["shape"])
    source = types[0].shape
    if len(source) > len(shape):
        raise ShapeError(f"shape {show(source)} has more axes than {show(shape)}")
    for have, want in zip(source[::-1], shape[::-1], strict=False):
        if have != 1 and never_equal(have, want):
            raise ShapeError(f"shape {show(source)} does not broadcast to {show(shape)}")
    return TensorType(types[0].dtype, shape)


def broadcast_to_requires(types: Types, params: Params) -> list[Requirement]:
    """Extents other than a literal 1 stay."""
    pairs = zip(types[0].shape[::-1], params["shape"][::-1], strict=False)
    reason = f"shape {show(types[0].shape)} does not broadcast to {show(params['shape'])}"
    return [r for have, want in pairs if have != 1 for r in equal(have, want, reason)]


def broadcast_to_transpose(ct: Variable, args: Args, position: int, params: Params) -> Variable:
    """The sum over the stretched axes."""
    shape = args[0].shape
    lead = ct.ndim - len(shape)
    grown = tuple(a for a in range(lead, ct.ndim) if shape[a - lead] == 1 and ct.shape[a] != 1)
    return reshaped(summed(ct, tuple(range(lead)) + grown), shape)


def broadcast_to_batch(k: int, args: Args, batched: tuple[bool, ...], params: Params) -> Variable:
    """Ones between the batch axes and the operand's own, then stretched."""
    x, shape = args[0], params["shape"]
    lead = x.shape[:k]
    lifted = reshaped(x, lead + (1,) * (len(shape) - (x.ndim - k)) + x.shape[k:])
    return stretched(lifted, lead + shape)


register(
    Op(
        name="broadcast_to",
        arity=1,
        infer=broadcast_to_type,
        reference=lambda x, shape: np.broadcast_to(x, shape),
        emission=Pattern("broadcast_to"),
        derivative=Linear(broadcast_to_transpose),
        batch=broadcast_to_batch,
        requires=broadcast_to_requires,
        analytic=True,
        cost=0.0,
        samples=(
            Sample(((3,),), {"shape": (2, 3)}),
            Sample(((2, 1),), {"shape": (4, 2, 3)}),
            Sample(((),), {"shape": (2, 2)}),
            Sample(((1, 3),), {"shape": (0, 3)}),
            Sample(((1,),), {"shape": (1,)}),
        ),
    )
)


# ---------------------------------------------------------------------- slice and embed


def _strided(extent: Extent, start: Extent, size: Extent, step: int) -> list[Requirement]:
    """What keeps start, start+step, … (size of them) inside an axis."""
    last = start + (size - 1) * step
    low, high = (start, last) if step > 0 else (last, start)
    if size == 0:
        return []
    return [*at_most(0, size, OUTSIDE), *at_most(0, low, OUTSIDE), *at_most(high + 1, extent, OUTSIDE)]


def _check_steps(types: Types, params: Params, names: tuple[str, ...]) -> None:
    if any(len(params[name]) != types[0].rank for name in names):
        raise ShapeError(f"{', '.join(names)} have one entry for each of the {types[0].rank} axes")
    if 0 in params["steps"]:
        raise ShapeError("a step of 0")


def slice_type(types: Types, params: Params) -> TensorType:
    """The sizes."""
    _check_steps(types, params, ("starts", "sizes", "steps"))
    return TensorType(types[0].dtype, check_literal(params["sizes"]))


def slice_requires(types: Types, params: Params) -> list[Requirement]:
    """The first and last element of each axis exist."""
    per_axis = zip(types[0].shape, params["starts"], params["sizes"], params["steps"], strict=True)
    return [r for extent, start, size, step in per_axis for r in _strided(extent, start, size, step)]


def slice_value(x: Any, starts: tuple[int, ...], sizes: tuple[int, ...], steps: tuple[int, ...]) -> Any:
    """NumPy reference of `slice`."""
    return x[positions(starts, sizes, steps)]


def positions(starts: tuple[int, ...], extents: tuple[int, ...], steps: tuple[int, ...]) -> tuple[slice, ...]:
    """NumPy's slices for starts, sizes and steps."""
    return tuple(_one_slice(*entry) for entry in zip(starts, extents, steps, strict=True))


def _one_slice(start: int, size: int, step: int) -> slice:
    if size == 0:
        return slice(0, 0)
    stop = start + size * step
    return slice(start, stop if stop >= 0 else None, step)


def slice_batch(k: int, args: Args, batched: tuple[bool, ...], params: Params) -> Variable:
    """All of the batch axes."""
    x = args[0]
    return x.graph.apply(
        "slice",
        x,
        starts=(0,) * k + params["starts"],
        sizes=x.shape[:k] + params["sizes"],
        steps=(1,) * k + params["steps"],
    )


def embed_type(types: Types, params: Params) -> TensorType:
    """The given shape."""
    _check_steps(types, params, ("shape", "starts", "steps"))
    return TensorType(types[0].dtype, check_literal(params["shape"]))


def embed_requires(types: Types, params: Params) -> list[Requirement]:
    """The first and last element find a place."""
    per_axis = zip(params["shape"], params["starts"], types[0].shape, params["steps"], strict=True)
    inside = [r for extent, start, size, step in per_axis for r in _strided(extent, start, size, step)]
    return nonnegative(params["shape"], "a size is negative") + inside


def embed_value(x: Any, shape: tuple[int, ...], starts: tuple[int, ...], steps: tuple[int, ...]) -> Any:
    """NumPy reference of `embed`."""
    result = np.zeros(shape, x.dtype)
    result[positions(starts, x.shape, steps)] = x
    return result


def embed_batch(k: int, args: Args, batched: tuple[bool, ...], params: Params) -> Variable:
    """The batch axes in full."""
    x = args[0]
    return x.graph.apply(
        "embed",
        x,
        shape=x.shape[:k] + params["shape"],
        starts=(0,) * k + params["starts"],
        steps=(1,) * k + params["steps"],
    )


def _slice_transpose(ct: Variable, args: Args, position: int, params: Params) -> Variable:
    return ct.graph.apply("embed", ct, shape=args[0].shape, starts=params["starts"], steps=params["steps"])


def _embed_transpose(ct: Variable, args: Args, position: int, params: Params) -> Variable:
    return ct.graph.apply("slice", ct, starts=params["starts"], sizes=args[0].shape, steps=params["steps"])


register(
    Op(
        name="slice",
        arity=1,
        infer=slice_type,
        reference=slice_value,
        emission=Pattern("slice"),
        derivative=Linear(_slice_transpose),
        batch=slice_batch,
        requires=slice_requires,
        analytic=True,
        cost=0.0,
        samples=(
            Sample(((5,),), {"starts": (1,), "sizes": (2,), "steps": (2,)}),
            Sample(((5, 4),), {"starts": (4, 0), "sizes": (5, 3), "steps": (-1, 1)}),
            Sample(((5, 4),), {"starts": (3, 3), "sizes": (2, 2), "steps": (-2, -3)}),
            Sample(((3,),), {"starts": (3,), "sizes": (0,), "steps": (1,)}),
            Sample(((1, 2),), {"starts": (0, 1), "sizes": (1, 1), "steps": (1, 1)}),
            Sample(((),), {"starts": (), "sizes": (), "steps": ()}),
        ),
    )
)
register(
    Op(
        name="embed",
        arity=1,
        infer=embed_type,
        reference=embed_value,
        emission=Pattern("embed"),
        derivative=Linear(_embed_transpose),
        batch=embed_batch,
        requires=embed_requires,
        analytic=True,
        cost=0.0,
        samples=(
            Sample(((2,),), {"shape": (5,), "starts": (1,), "steps": (2,)}),
            Sample(((2, 3),), {"shape": (5, 3), "starts": (4, 0), "steps": (-3, 1)}),
            Sample(((3,),), {"shape": (3,), "starts": (2,), "steps": (-1,)}),
            Sample(((0,),), {"shape": (3,), "starts": (0,), "steps": (1,)}),
            Sample(((1, 1),), {"shape": (1, 2), "starts": (0, 1), "steps": (1, 1)}),
        ),
    )
)


# ---------------------------------------------------------------------- concatenate


def concatenate_type(types: Types, params: Params) -> TensorType:
    """The sum of the extents along `axis`; the others agree."""
    if not types:
        raise ShapeError("at least one array expected")
    axis, rank = params["axis"], types[0].rank
    if any(t.rank != rank for t in types) or not 0 <= axis < rank:
        raise ShapeError(f"arrays of one rank above {axis} expected")
    total: Extent = 0
    others: tuple[Extent, ...] = types[0].shape
    for kind in types:
        total = total + kind.shape[axis]
        others = tuple(
            a if position == axis else agreed(a, b, f"axis {position}")
            for position, (a, b) in enumerate(zip(others, kind.shape, strict=True))
        )
    return TensorType(same_dtype(types), (*others[:axis], total, *others[axis + 1 :]))


def concatenate_requires(types: Types, params: Params) -> list[Requirement]:
    """The extents of the other axes agree."""
    axis, first = params["axis"], types[0].shape
    reason = "arrays of different sizes beside the joined axis"
    return [
        r for kind in types[1:] for a in range(len(first)) if a != axis for r in equal(first[a], kind.shape[a], reason)
    ]


def concatenate_transpose(ct: Variable, args: Args, position: int, params: Params) -> Variable:
    """The part of the cotangent that belongs to the operand."""
    axis = params["axis"]
    start: Extent = 0
    for earlier in args[:position]:
        start = start + earlier.shape[axis]
    return sliced(ct, axis, start, args[position].shape[axis])


register(
    Op(
        name="concatenate",
        arity=None,
        infer=concatenate_type,
        reference=lambda *xs, axis: np.concatenate(xs, axis=axis),
        emission=Pattern("concatenate"),
        derivative=Linear(concatenate_transpose),
        batch=lambda k, args, batched, params: joined(stacked(k, args, batched), params["axis"] + k),
        requires=concatenate_requires,
        analytic=True,
        cost=0.0,
        samples=(
            Sample(((2,), (3,)), {"axis": 0}),
            Sample(((2, 3), (2, 1), (2, 2)), {"axis": 1}),
            Sample(((0, 2), (1, 2)), {"axis": 0}),
            Sample(((3,),), {"axis": 0}),
        ),
    )
)


def common_shape(x: Variable, shapes: list[Shape], problem: str) -> Shape:
    """The shape to which several broadcast; raises `ShapeError` naming all of them."""
    try:
        result, pairs = broadcast(shapes)
    except ShapeError as error:
        raise wrong_shape(x, f"{problem}: {error}", got=" and ".join(map(show, shapes))) from None
    for left, right in pairs:
        x.graph.require(Requirement("equal", left, right, problem, x.graph._user_source()))
    return result
