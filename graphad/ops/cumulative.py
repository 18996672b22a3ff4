"""Running sums and products, and the linear recurrence in which their derivatives live."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphad.errors import DtypeError
from graphad.ir.operation import Custom, Linear, Op, Params, Pattern, Sample, function, register
from graphad.ir.types import Requirement, TensorType
from graphad.ir.variable import Variable
from graphad.ops.build import float_dtype, promoted, promoted_float
from graphad.ops.extents import agreed, axis_of, equal, refuse, stacked
from graphad.ops.reduction import accumulator, one_axis, shifted
from graphad.ops.shape import flipped, reshaped, sliced

Types = tuple[TensorType, ...]
Args = tuple[Variable, ...]
Tangents = tuple[Variable | None, ...]


def running_type(types: Types, params: Params) -> TensorType:
    """The type of the operand."""
    if types[0].dtype == "bool":
        raise DtypeError("a number expected, got bool")
    return types[0]


def recurrence_type(types: Types, params: Params) -> TensorType:
    """The common type of both operands."""
    shapes = zip(types[0].shape, types[1].shape, strict=True)
    shape = tuple(agreed(a, b, f"axis {axis}") for axis, (a, b) in enumerate(shapes))
    return TensorType(float_dtype(types), shape)


def recurrence_requires(types: Types, params: Params) -> list[Requirement]:
    """Both operands have one shape."""
    shapes = zip(types[0].shape, types[1].shape, strict=True)
    return [r for a, b in shapes for r in equal(a, b, "the operands have different shapes")]


def recurrence_value(a: Any, b: Any, axis: int) -> Any:
    """NumPy reference of `linear_recurrence`: s_i = a_i s_{i-1} + b_i, s_{-1} = 0."""
    factors, terms = np.moveaxis(a, axis, 0), np.moveaxis(b, axis, 0)
    result = np.empty_like(terms)
    state = np.zeros_like(terms[0]) if len(terms) else None
    for i in range(len(terms)):
        state = factors[i] * state + terms[i]
        result[i] = state
    return np.moveaxis(result, 0, axis)


def recur(a: Variable, b: Variable, axis: int) -> Variable:
    """s_i = a_i s_{i-1} + b_i along an axis, from s_{-1} = 0."""
    return a.graph.apply("linear_recurrence", a, b, axis=axis)


def recur_back(a: Variable, b: Variable, axis: int) -> Variable:
    """The transpose: λ_i = b_i + a_{i+1} λ_{i+1}."""
    return flipped(recur(shifted(flipped(a, axis), axis, 0), flipped(b, axis), axis), axis)


def _recurrence_jvp(args: Args, tangents: Tangents, out: Variable, params: Params) -> Variable | None:
    axis = params["axis"]
    forcing = tangents[1]
    if tangents[0] is not None:
        product = tangents[0] * shifted(out, axis, 0)
        forcing = product if forcing is None else product + forcing
    return None if forcing is None else recur(args[0], forcing, axis)


def _recurrence_vjp(args: Args, out: Variable, ct: Variable, params: Params) -> tuple[Variable, Variable]:
    axis = params["axis"]
    adjoint = recur_back(args[0], ct, axis)
    return adjoint * shifted(out, axis, 0), adjoint


def _cumprod_jvp(args: Args, tangents: Tangents, out: Variable, params: Params) -> Variable | None:
    axis, (tangent,) = params["axis"], tangents
    return None if tangent is None else recur(args[0], shifted(out, axis, 1) * tangent, axis)


def _cumprod_vjp(args: Args, out: Variable, ct: Variable, params: Params) -> tuple[Variable]:
    axis = params["axis"]
    return (shifted(out, axis, 1) * recur_back(args[0], ct, axis),)


def _cumsum_transpose(ct: Variable, args: Args, position: int, params: Params) -> Variable:
    axis = params["axis"]
    return flipped(ct.graph.apply("cumsum", flipped(ct, axis), axis=axis), axis)


def _running_batch(name: str) -> Any:
    def batch(k: int, args: Args, batched: tuple[bool, ...], params: Params) -> Variable:
        lifted = stacked(k, args, batched)
        return lifted[0].graph.apply(name, *lifted, axis=params["axis"] + k)

    return batch


ALONG = (
    Sample(((4,),), {"axis": 0}),
    Sample(((2, 3),), {"axis": 1}),
    Sample(((3, 2, 2),), {"axis": 0}),
    Sample(((1, 2),), {"axis": 0}),
    Sample(((2, 0),), {"axis": 1}),
)

register(
    Op(
        name="cumsum",
        arity=1,
        infer=running_type,
        reference=lambda x, axis: np.cumsum(x, axis=axis, dtype=x.dtype),
        emission=Pattern("cumsum"),
        derivative=Linear(_cumsum_transpose),
        batch=_running_batch("cumsum"),
        analytic=True,
        samples=ALONG,
    )
)
register(
    Op(
        name="cumprod",
        arity=1,
        infer=running_type,
        reference=lambda x, axis: np.cumprod(x, axis=axis, dtype=x.dtype),
        emission=Pattern("cumprod"),
        derivative=Custom(_cumprod_jvp, _cumprod_vjp),
        batch=_running_batch("cumprod"),
        analytic=True,
        samples=ALONG,
    )
)
register(
    Op(
        name="linear_recurrence",
        arity=2,
        infer=recurrence_type,
        reference=recurrence_value,
        emission=Pattern("linear_recurrence"),
        derivative=Custom(_recurrence_jvp, _recurrence_vjp),
        batch=_running_batch("linear_recurrence"),
        requires=recurrence_requires,
        analytic=True,
        cost=2.0,
        samples=tuple(Sample(s.shapes * 2, s.params) for s in ALONG),
    )
)


@function("cumsum", np.cumsum)
def cumsum(x: Any, axis: int | None = None, dtype: object = None, out: Any = None) -> Variable:
    """Running sums along an axis; without an axis, of the flat array. Truth values and int32 are added as int64.

    >>> import graphad as ga
    >>> x = ga.Graph("demo").input("x", shape=("n", 3))
    >>> np.cumsum(x, axis=0).shape, np.cumsum(x).shape
    ((n, 3), (3*n,))
    """
    refuse("cumsum", out=out)
    return _running("cumsum", x, axis, dtype)


@function("cumprod", np.cumprod)
def cumprod(x: Any, axis: int | None = None, dtype: object = None, out: Any = None) -> Variable:
    """Running products along an axis; without an axis, of the flat array. The derivative is exact at zeros."""
    refuse("cumprod", out=out)
    return _running("cumprod", x, axis, dtype)


def _running(name: str, x: Any, axis: int | None, dtype: object) -> Variable:
    value = accumulator(x, dtype)
    if axis is None:
        return value.graph.apply(name, reshaped(value, (value.size,)), axis=0)
    return value.graph.apply(name, value, axis=one_axis(value, axis, name))


@function("linear_recurrence")
def linear_recurrence(a: Any, b: Any, axis: int = 0) -> Variable:
    """s_i = a_i·s_{i-1} + b_i along an axis, from s_{-1} = 0; both operands have one shape.

    >>> import graphad as ga
    >>> g = ga.Graph("filter")
    >>> g.output("s", linear_recurrence(g.input("a", "n"), g.input("b", "n")))
    >>> ga.interpret(g, [9.0, 0.5, 0.5], [1.0, 1.0, 1.0])
    {'s': array([1.  , 1.5 , 1.75])}
    """
    factors, terms = promoted_float(a, b)
    return recur(factors, terms, axis_of(terms, axis, "linear_recurrence"))


@function("diff", np.diff)
def diff(x: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Variable:
    """Differences of neighbours along an axis, taken n times."""
    refuse("diff", "use `np.concatenate` first", prepend=prepend, append=append)
    (value,) = promoted(x)
    along = axis_of(value, axis, "diff")
    for _ in range(n):
        rest = value.shape[along] - 1
        if isinstance(rest, int) and rest < 1:
            return sliced(value, along, 0, 0)
        value = sliced(value, along, 1, rest) - sliced(value, along, 0, rest)
    return value
