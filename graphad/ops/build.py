"""What the families share: coercion of operands, typing rules of elementwise operations, registration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphad.errors import DtypeError, GraphError, ShapeError, describe
from graphad.ir.graph import Graph, Node
from graphad.ir.operation import (
    Derivative,
    Elementwise,
    Op,
    Params,
    Partial,
    Sample,
    Scalar,
    call,
    function,
    lookup,
    register,
)
from graphad.ir.sizes import Size
from graphad.ir.types import (
    FLOATS,
    Requirement,
    Shape,
    TensorType,
    as_dtype,
    as_float,
    broadcast,
    promote,
    scalar_dtype,
)
from graphad.ir.variable import Variable, common_graph

STEP = "it is constant between its jumps"
INTEGER_VALUED = "its values are integers or truth values"


def operands(*values: Any) -> tuple[Variable, ...]:
    """The values as variables of one graph.

    Python numbers and symbolic sizes take the dtype that NumPy's weak promotion gives them beside the others; arrays
    become constants.
    """
    graph = common_graph(values)
    dtypes = [v.dtype if isinstance(v, Variable) else np.asarray(v).dtype.name for v in values if not _is_weak(v)]
    like = promote(*dtypes) if len(set(dtypes)) > 1 else dtypes[0]
    return tuple(_operand(graph, v, like) for v in values)


def _operand(graph: Graph, value: Any, like: str) -> Variable:
    if isinstance(value, Size):
        return astype(graph.apply("size_of", size=value), scalar_dtype(1, like))
    return graph.const(value, scalar_dtype(value, like)) if is_number(value) else graph.owned(value)


def _is_weak(value: Any) -> bool:
    """Whether the dtype of a value follows the other operands: Python numbers, and sizes, which are integers."""
    return is_number(value) or isinstance(value, Size)


def is_number(value: Any) -> bool:
    """Whether a value is a Python number, whose dtype follows the other operands."""
    return type(value) in (int, float, bool)


def astype(x: Variable, dtype: object) -> Variable:
    """The variable in another dtype; itself where nothing changes."""
    name = as_dtype(dtype)
    return x if x.dtype == name else x.graph.apply("cast", x, dtype=name)


def promoted(*values: Any) -> tuple[Variable, ...]:
    """The values as variables of one graph and one dtype."""
    plain = _plain(values)
    if plain is not None:
        return plain
    args = operands(*values)
    common = promote(*{a.dtype for a in args}) if len({a.dtype for a in args}) > 1 else args[0].dtype
    return tuple(astype(a, common) for a in args)


def _plain(values: tuple[Any, ...]) -> tuple[Variable, ...] | None:
    """Variables of one floating dtype and numbers, which most operands are, without asking twice; else None."""
    first = values[0] if type(values[0]) is Variable else values[-1]
    if type(first) is not Variable:
        return None
    graph, dtype = first.graph, first.dtype
    if dtype not in FLOATS:
        return None
    for value in values:
        if type(value) is Variable:
            if value.graph is not graph or value.dtype != dtype:
                return None
        elif type(value) not in (int, float):
            return None
    return tuple([v if type(v) is Variable else graph.const(v, dtype) for v in values])


def promoted_float(*values: Any) -> tuple[Variable, ...]:
    """Like `promoted`, with integers and truth values turned into float64."""
    args = promoted(*values)
    return args if args[0].dtype in FLOATS else tuple(astype(a, as_float(a.dtype)) for a in args)


def same_dtype(types: tuple[TensorType, ...]) -> str:
    """The one dtype of all operands; raises `DtypeError` where they differ."""
    dtypes = {t.dtype for t in types}
    if len(dtypes) != 1:
        raise DtypeError(f"operands of one dtype expected, got {', '.join(t.dtype for t in types)}")
    return types[0].dtype


def float_dtype(types: tuple[TensorType, ...]) -> str:
    """The one floating dtype of all operands."""
    dtype = same_dtype(types)
    if dtype not in ("float32", "float64"):
        raise DtypeError(f"a floating dtype expected, got {dtype}")
    return dtype


def number_dtype(types: tuple[TensorType, ...]) -> str:
    """The one dtype of all operands, not bool."""
    dtype = same_dtype(types)
    if dtype == "bool":
        raise DtypeError("a number expected, got bool")
    return dtype


@dataclass(frozen=True)
class RealOrComplex:
    """A reference that also takes complex arrays where NumPy's `real` does not: for complex steps in tests."""

    real: Callable[..., Any]
    complex: Callable[..., Any]

    def __call__(self, *arrays: Any) -> Any:
        return (self.complex if any(np.iscomplexobj(a) for a in arrays) else self.real)(*arrays)


def real_or_complex(real: Callable[..., Any], complex_: Callable[..., Any]) -> RealOrComplex:
    """See `RealOrComplex`."""
    return RealOrComplex(real, complex_)


def broadcast_type(
    dtype: Callable[[tuple[TensorType, ...]], str],
) -> Callable[[tuple[TensorType, ...], Params], TensorType]:
    """Typing rule: operands broadcast; `dtype(types)` gives the dtype."""

    def infer(types: tuple[TensorType, ...], params: Params) -> TensorType:
        return TensorType(dtype(types), broadcast([t.shape for t in types])[0])

    return infer


def broadcast_requires(types: tuple[TensorType, ...], params: Params) -> Sequence[Requirement]:
    """The equalities of extents that broadcasting leaves to run time."""
    shapes = [t.shape for t in types]
    return [Requirement("equal", a, b, "operands disagree about a size", None) for a, b in broadcast(shapes)[1]]


def elementwise(
    name: str,
    emission: Scalar,
    reference: Callable[..., Any],
    partials: tuple[Partial | None, ...] | Derivative,
    *,
    dtype: Callable[[tuple[TensorType, ...]], str] = float_dtype,
    domain: tuple[tuple[float, float], ...] = ((-2.0, 2.0),),
    analytic: bool = False,
    cost: float = 1.0,
    arity: int | None = None,
    samples: tuple[Sample, ...] = (),
) -> Op:
    """Register an elementwise operation; the arity is the number of partials.

    `samples` are needed where operands have other dtypes than float64 or where there are parameters.
    """
    derivative = Elementwise(partials) if isinstance(partials, tuple) else partials
    count = arity if arity is not None else len(partials) if isinstance(partials, tuple) else 1
    if not samples and dtype is number_dtype:
        samples = tuple(Sample(((3,),) * count, dtypes=(kind,) * count) for kind in ("float64", "int64", "int32"))
    return register(
        Op(
            name=name,
            arity=count,
            infer=broadcast_type(dtype),
            reference=reference,
            emission=emission,
            derivative=derivative,
            requires=broadcast_requires if count > 1 else None,
            domain=domain * count if len(domain) == 1 else domain,
            analytic=analytic,
            cost=cost,
            samples=samples,
        )
    )


def unary_function(
    name: str, *numpy_functions: Callable[..., Any], op: str | None = None, doc: str = ""
) -> Callable[[Any], Variable]:
    """Publish the builder function of a unary floating operation."""
    op_name = op or name

    @function(name, *numpy_functions)
    def build(x: Any) -> Variable:
        (value,) = promoted_float(x)
        return value.graph.apply(op_name, value)

    build.__name__ = build.__qualname__ = name
    build.__doc__ = doc
    return build


def normalize_axis(axis: Any, rank: int) -> int:
    """An axis as a number from 0 to rank-1; raises `ShapeError` outside."""
    number = int(axis)
    if not -rank <= number < rank:
        raise ShapeError(f"axis {number} does not exist in an array of {rank} axes")
    return number % rank


def batched_apply(
    graph: Graph, node: Node, args: tuple[Variable, ...], batched: tuple[bool, ...], axes: int
) -> Variable:
    """The operation of a node on operands of which some have `axes` further leading axes.

    Elementwise operations broadcast; every other operation has a rule in its record.
    """
    op = lookup(node.op)
    params = dict(node.params)
    if op.elementwise:
        lifted = [lift(a, axes, node.type.rank) if b else a for a, b in zip(args, batched, strict=True)]
        return graph.apply(node.op, *lifted, **params)
    if op.batch is None:
        raise GraphError(describe(f"operation `{node.op}` has no batching rule", source=node.source))
    return op.batch(axes, args, batched, params)


def lift(value: Variable, axes: int, rank: int) -> Variable:
    """A batched value with axes of extent 1 after its batch axes, so that what follows them has `rank` axes."""
    missing = rank - (value.ndim - axes)
    if missing == 0:
        return value
    shape: Shape = value.shape[:axes] + (1,) * missing + value.shape[axes:]
    result: Variable = call("reshape", value, shape)
    return result
