"""Values without operands: constants, inputs, counters; and the builders of filled, counted and identity arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphad.errors import ArgumentError, GraphError, describe
from graphad.ir.constant import Constant
from graphad.ir.graph import Graph
from graphad.ir.operation import NotDifferentiable, Op, Params, Pattern, Sample, function, register
from graphad.ir.sizes import Extent, Size, as_extent
from graphad.ir.types import Requirement, Shape, TensorType, as_dtype, as_shape, scalar_dtype
from graphad.ir.variable import Variable
from graphad.ops.build import astype
from graphad.ops.extents import check_literal, nonnegative

CONSTANT = NotDifferentiable("it depends on nothing")


def _declared(types: tuple[TensorType, ...], params: Params) -> TensorType:
    raise GraphError(describe(f"input `{params.get('name')}` is made by an operation", fix="declare it with `g.input`"))


def _no_value(**params: Any) -> Any:
    raise GraphError(describe(f"an input or a stand-in has no value of its own: {params}"))


def iota_type(types: tuple[TensorType, ...], params: Params) -> TensorType:
    """One axis of `size` elements."""
    return TensorType(as_dtype(params["dtype"]), check_literal((params["size"],)))


def iota_requires(types: tuple[TensorType, ...], params: Params) -> list[Requirement]:
    """A count is not negative."""
    return nonnegative((params["size"],), "a size is negative")


register(
    Op(
        name="const",
        arity=0,
        infer=lambda types, params: params["value"].type,
        reference=lambda value: value.array,
        emission=Pattern("const"),
        derivative=CONSTANT,
        cost=0.0,
        samples=tuple(Sample((), {"value": Constant(np.array(v))}) for v in (2.5, [1, 2], [[True]], np.zeros((0, 2)))),
    )
)
register(
    Op(
        name="input",
        arity=0,
        infer=_declared,
        reference=_no_value,
        emission=Pattern("input"),
        derivative=CONSTANT,
        cost=0.0,
    )
)
register(
    Op(
        name="placeholder",
        arity=0,
        infer=lambda types, params: TensorType(params["dtype"], params["shape"]),
        reference=_no_value,
        emission=Pattern("placeholder"),
        derivative=CONSTANT,
        cost=0.0,
    )
)
register(
    Op(
        name="iota",
        arity=0,
        infer=iota_type,
        reference=lambda size, dtype: np.arange(size).astype(dtype),
        emission=Pattern("iota"),
        derivative=CONSTANT,
        requires=iota_requires,
        cost=0.0,
        samples=(
            Sample((), {"size": 5, "dtype": "int64"}),
            Sample((), {"size": 0, "dtype": "int64"}),
            Sample((), {"size": 1, "dtype": "float64"}),
            Sample((), {"size": 4, "dtype": "int32"}),
        ),
    )
)
register(
    Op(
        name="size_of",
        arity=0,
        infer=lambda types, params: TensorType("int64", ()),
        reference=lambda size: np.int64(size),
        emission=Pattern("size_of"),
        derivative=CONSTANT,
        cost=0.0,
        samples=(Sample((), {"size": 5}), Sample((), {"size": 0})),
    )
)


# ---------------------------------------------------------------------- builders for other families


def iota(graph: Graph, size: Extent, dtype: str = "int64") -> Variable:
    """0, 1, …, size-1."""
    return graph.apply("iota", size=size, dtype=dtype)


def iota_along(graph: Graph, shape: Shape, axis: int) -> Variable:
    """The position along one axis, with extent 1 on the others: int64."""
    counted = iota(graph, shape[axis])
    lined = tuple(e if a == axis else 1 for a, e in enumerate(shape))
    return counted if len(shape) == 1 else graph.apply("reshape", counted, shape=lined)


def extent_value(graph: Graph, extent: Extent, dtype: str = "int64") -> Variable:
    """The value of an extent as a scalar: a constant where it is literal."""
    if isinstance(extent, int):
        return graph.const(extent, dtype)
    return astype(graph.apply("size_of", size=extent), dtype)


def filled(graph: Graph, shape: Shape, value: Any, dtype: str) -> Variable:
    """One number everywhere."""
    scalar = graph.const(value, dtype)
    return scalar if shape == () else graph.apply("broadcast_to", scalar, shape=shape)


# ---------------------------------------------------------------------- builder functions


@function("arange")
def arange(start: Any, stop: Any = None, step: int = 1, *, dtype: object = None, graph: Graph | None = None) -> Any:
    """start, start + step, … up to but without stop; with one argument 0, 1, …, start-1.

    Arguments:
        start, stop: integers or sizes; the ends may be floating numbers only where all of them are literal.
        step: an integer other than 0.
        graph: where the node is made; without it all bounds are literal and the result is a NumPy array.

    >>> g = Graph("count")
    >>> arange("n", graph=g).shape, arange(1, "n", 2, graph=g).shape, arange(3)
    ((n,), (n//2,), array([0, 1, 2]))
    """
    first, last = (0, start) if stop is None else (start, stop)
    first, last = (Size.parse(e) if isinstance(e, str) else e for e in (first, last))
    if not isinstance(first, Size) and not isinstance(last, Size):
        numbers = np.arange(first, last, step, dtype=None if dtype is None else as_dtype(dtype))
        if graph is None:
            return numbers
        if numbers.dtype != np.int64 or first != 0 or step != 1:
            return graph.const(numbers)
        return iota(graph, len(numbers))
    owner = _graph_for(graph, "arange", first, last)
    if type(step) is not int or step == 0:
        raise ArgumentError(describe("`arange`: the step of a symbolic range is a literal integer", got=f"`{step!r}`"))
    size = (last - first + step - 1) // step if step > 0 else (first - last - step - 1) // -step
    values = iota(owner, size)
    if step != 1:
        values = values * step
    if first != 0:
        values = values + extent_value(owner, first)
    return values if dtype is None else astype(values, dtype)


@function("zeros")
def zeros(shape: Any, dtype: object = "float64", *, graph: Graph | None = None) -> Any:
    """Zeros; a NumPy array where the shape is literal and no graph is given."""
    return full(shape, 0, dtype, graph=graph)


@function("ones")
def ones(shape: Any, dtype: object = "float64", *, graph: Graph | None = None) -> Any:
    """Ones; a NumPy array where the shape is literal and no graph is given."""
    return full(shape, 1, dtype, graph=graph)


@function("full")
def full(shape: Any, value: Any, dtype: object = None, *, graph: Graph | None = None) -> Any:
    """One value everywhere.

    Arguments:
        shape: extents; symbolic ones need `graph`, unless the value is a variable.
        value: a number, or a variable that broadcasts to the shape.
        dtype: that of the value where None.
    """
    wanted = as_shape(shape)
    if isinstance(value, Variable):
        return _spread(value, wanted, dtype)
    if graph is None and all(isinstance(e, int) for e in wanted):
        return np.full(wanted, value, dtype=None if dtype is None else as_dtype(dtype))
    owner = _graph_for(graph, "full", *wanted)
    return filled(owner, wanted, value, as_dtype(dtype) if dtype is not None else scalar_dtype(value, None))


def _spread(value: Variable, shape: Shape, dtype: object) -> Variable:
    cast = value if dtype is None else astype(value, dtype)
    return cast if cast.shape == shape else cast.graph.apply("broadcast_to", cast, shape=shape)


@function("zeros_like", np.zeros_like)
def zeros_like(x: Variable, dtype: object = None, **options: Any) -> Variable:
    """Zeros of the shape and dtype of `x`."""
    return full_like(x, 0, dtype, **options)


@function("ones_like", np.ones_like)
def ones_like(x: Variable, dtype: object = None, **options: Any) -> Variable:
    """Ones of the shape and dtype of `x`."""
    return full_like(x, 1, dtype, **options)


@function("full_like", np.full_like, np.empty_like)
def full_like(x: Variable, fill_value: Any = 0, dtype: object = None, *, shape: Any = None, **options: Any) -> Variable:
    """One value in the shape and dtype of `x`. `order` and `subok` are accepted and mean nothing here."""
    if unknown := sorted(set(options) - {"order", "subok", "device"}):
        raise ArgumentError(describe(f"`full_like` has no option `{unknown[0]}`", expected="dtype, shape"))
    wanted = x.shape if shape is None else as_shape(shape)
    kind = x.dtype if dtype is None else as_dtype(dtype)
    if isinstance(fill_value, Variable):
        return _spread(fill_value, wanted, kind)
    return filled(x.graph, wanted, fill_value, kind)


@function("eye")
def eye(n: Any, m: Any = None, k: int = 0, dtype: object = "float64", *, graph: Graph | None = None) -> Any:
    """Ones on the k-th diagonal of an n-by-m matrix, zeros elsewhere.

    A NumPy array where the extents are literal and no graph is given.

    >>> eye("n", graph=Graph("unit")).shape
    (n, n)
    """
    rows, columns = as_extent(n), as_extent(n if m is None else m)
    if graph is None and isinstance(rows, int) and isinstance(columns, int):
        return np.eye(rows, columns, k, dtype=as_dtype(dtype))
    owner = _graph_for(graph, "eye", rows, columns)
    return astype(diagonal_mask(owner, rows, columns, k, "equal"), dtype)


@function("identity")
def identity(n: Any, dtype: object = "float64", *, graph: Graph | None = None) -> Any:
    """The n-by-n unit matrix."""
    return eye(n, dtype=dtype, graph=graph)


@function("tri")
def tri(n: Any, m: Any = None, k: int = 0, dtype: object = "float64", *, graph: Graph | None = None) -> Any:
    """Ones at and below the k-th diagonal of an n-by-m matrix."""
    rows, columns = as_extent(n), as_extent(n if m is None else m)
    if graph is None and isinstance(rows, int) and isinstance(columns, int):
        return np.tri(rows, columns, k, dtype=as_dtype(dtype))
    owner = _graph_for(graph, "tri", rows, columns)
    return astype(diagonal_mask(owner, rows, columns, k, "greater_equal"), dtype)


def diagonal_mask(graph: Graph, rows: Extent, columns: Extent, k: int, relation: str) -> Variable:
    """Truth values `row + k <relation> column` of an array of rows by columns."""
    row, column = iota_along(graph, (rows, columns), 0), iota_along(graph, (rows, columns), 1)
    shifted = row + k if k else row
    mask = shifted == column if relation == "equal" else shifted >= column
    return mask if mask.shape == (rows, columns) else graph.apply("broadcast_to", mask, shape=(rows, columns))


def _graph_for(graph: Graph | None, name: str, *extents: Any) -> Graph:
    if graph is None:
        text = ", ".join(map(str, extents))
        raise ArgumentError(
            describe(f"`{name}` with symbolic extents needs a graph", got=text, fix=f"pass it: `{name}(..., graph=g)`")
        )
    return graph
