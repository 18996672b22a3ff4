"""Choosing and comparing: absolute value, rounding, minimum and maximum, `where`, comparisons, logic, bits.

Non-smooth points have one derivative each: the slope of |x| at 0 is 0, ties of minimum and maximum go to the first
operand, and what is constant between its jumps has none. Operations that choose between operands never multiply by
zero: what lies behind the operand not taken can not leak NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphad.errors import ArgumentError, DtypeError, describe
from graphad.ir.operation import Custom, NotDifferentiable, Params, Sample, Scalar, function
from graphad.ir.types import TensorType
from graphad.ir.variable import Variable, common_graph
from graphad.ops.build import (
    INTEGER_VALUED,
    STEP,
    astype,
    elementwise,
    is_number,
    number_dtype,
    operands,
    promoted,
    promoted_float,
    same_dtype,
    unary_function,
)

Tangents = tuple[Variable | None, ...]


def number_or_zero(value: Variable | None, like: Variable) -> Variable:
    """The value, or a scalar zero of the dtype of `like` for None."""
    return like.graph.const(0.0, like.dtype) if value is None else value


# ---------------------------------------------------------------------- where


def _where_dtype(types: tuple[TensorType, ...]) -> str:
    if types[0].dtype != "bool":
        raise DtypeError(f"a condition of bool expected, got {types[0].dtype}")
    return same_dtype(types[1:])


def _where_jvp(args: tuple[Variable, ...], tangents: Tangents, out: Variable, params: Params) -> Variable:
    return out.graph.apply("where", args[0], number_or_zero(tangents[1], out), number_or_zero(tangents[2], out))


def _where_vjp(args: tuple[Variable, ...], out: Variable, cotangent: Variable, params: Params) -> Tangents:
    zero = number_or_zero(None, out)
    apply = out.graph.apply
    return None, apply("where", args[0], cotangent, zero), apply("where", args[0], zero, cotangent)


elementwise(
    "where",
    Scalar("({1} if {0} else {2})"),
    np.where,
    Custom(_where_jvp, _where_vjp, selects=True),
    dtype=_where_dtype,
    arity=3,
    analytic=True,
    samples=tuple(Sample(((3,), (3,), (3,)), dtypes=("bool", kind, kind)) for kind in ("float64", "int64", "bool")),
)


@function("where", np.where)
def where(condition: Any, x: Any = None, y: Any = None) -> Variable:
    """x where the condition holds, y elsewhere; both are evaluated.

    The derivative of the branch not taken is zero, also where that branch is infinite or NaN.
    """
    if x is None or y is None:
        raise ArgumentError(
            describe("`where` needs a condition and two values", fix="positions of true elements have no static size")
        )
    graph = common_graph((condition, x, y))
    if not isinstance(x, Variable) and not isinstance(y, Variable):
        x, y = (x, graph.const(y)) if is_number(x) else (graph.const(x), y)
    a, b = promoted(x, y)
    return graph.apply("where", astype(graph.owned(condition), "bool"), a, b)


# ---------------------------------------------------------------------- absolute value, sign, rounding

elementwise("abs", Scalar("abs({0})"), np.abs, (lambda a, y: np.sign(a),), dtype=number_dtype)
elementwise(
    "sign",
    Scalar("({one} if {0} > {zero} else (-{one} if {0} < {zero} else {0}))"),
    np.sign,
    NotDifferentiable(STEP),
    dtype=number_dtype,
)


@function("absolute", np.absolute)
def absolute(x: Any) -> Variable:
    """|x|; the derivative at 0 is 0."""
    (value,) = operands(x)
    return value if value.dtype == "bool" else value.graph.apply("abs", value)


function("abs")(absolute)


@function("fabs", np.fabs)
def fabs(x: Any) -> Variable:
    """|x| in a floating dtype: integers become float64."""
    (value,) = promoted_float(x)
    return value.graph.apply("abs", value)


@function("sign", np.sign)
def sign(x: Any) -> Variable:
    """-1, 0 or 1; NaN for NaN."""
    (value,) = operands(x)
    return value.graph.apply("sign", value)


def _rounding(
    name: str, *numpy_functions: Callable[..., Any], reference: Callable[..., Any], doc: str
) -> Callable[[Any], Variable]:
    """Register a rounding operation and publish its builder function, which leaves integers alone."""
    elementwise(name, Scalar(f"np.{reference.__name__}({{0}})"), reference, NotDifferentiable(STEP))

    @function(name, *numpy_functions)
    def build(x: Any) -> Variable:
        (value,) = operands(x)
        return value.graph.apply(name, value) if value.type.is_float else value

    build.__name__ = build.__qualname__ = name
    build.__doc__ = doc
    return build


floor = _rounding("floor", np.floor, reference=np.floor, doc="The largest integer not above x, in the dtype of x.")
ceil = _rounding("ceil", np.ceil, reference=np.ceil, doc="The smallest integer not below x, in the dtype of x.")
trunc = _rounding("trunc", np.trunc, np.fix, reference=np.trunc, doc="x without its fraction, in the dtype of x.")
elementwise("rint", Scalar("np.rint({0})"), np.rint, NotDifferentiable(STEP))
rint = unary_function("rint", np.rint, doc="The nearest integer, halves to even; integers become float64.")


@function("round", np.round, np.around)
def round_(x: Any, decimals: int = 0) -> Variable:
    """x rounded to a number of decimals, halves to even."""
    (value,) = operands(x)
    scale = 10.0 ** abs(decimals)
    if decimals == 0:
        return rint(value) if value.type.is_float else value
    if not value.type.is_float:
        return value if decimals > 0 else astype(rint(astype(value, "float64") / scale) * scale, value.dtype)
    return rint(value * scale) / scale if decimals > 0 else rint(value / scale) * scale


# ---------------------------------------------------------------------- minimum and maximum


def _choice(second: Callable[[Variable, Variable], Variable]) -> Custom:
    """Derivative of an operation that answers its second operand where `second` holds, else its first."""

    def jvp(args: tuple[Variable, ...], tangents: Tangents, out: Variable, params: Params) -> Variable:
        first, other = number_or_zero(tangents[0], out), number_or_zero(tangents[1], out)
        return out.graph.apply("where", second(*args), other, first)

    def vjp(args: tuple[Variable, ...], out: Variable, cotangent: Variable, params: Params) -> Tangents:
        chosen, zero, apply = second(*args), number_or_zero(None, out), out.graph.apply
        return apply("where", chosen, zero, cotangent), apply("where", chosen, cotangent, zero)

    return Custom(jvp, vjp, selects=True)


elementwise(
    "maximum",
    Scalar("{maximum}({0}, {1})", ("maximum",)),
    np.maximum,
    _choice(lambda a, b: b > a),
    dtype=number_dtype,
    arity=2,
)
elementwise(
    "minimum",
    Scalar("{minimum}({0}, {1})", ("minimum",)),
    np.minimum,
    _choice(lambda a, b: b < a),
    dtype=number_dtype,
    arity=2,
)


@function("maximum", np.maximum)
def maximum(x: Any, y: Any) -> Variable:
    """The larger of two values, NaN if one is; the derivative of a tie is that of x."""
    a, b = promoted(x, y)
    return a.graph.apply("logical_or" if a.dtype == "bool" else "maximum", a, b)


@function("minimum", np.minimum)
def minimum(x: Any, y: Any) -> Variable:
    """The smaller of two values, NaN if one is; the derivative of a tie is that of x."""
    a, b = promoted(x, y)
    return a.graph.apply("logical_and" if a.dtype == "bool" else "minimum", a, b)


@function("clip", np.clip)
def clip(x: Variable, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Variable:
    """x limited to the interval from `a_min` to `a_max`; None leaves a side open. The bounds belong to the inside."""
    low, high = a_min if min is None else min, a_max if max is None else max
    limited = x if low is None else maximum(x, low)
    return limited if high is None else minimum(limited, high)


# ---------------------------------------------------------------------- comparisons


def _truth(types: tuple[TensorType, ...]) -> str:
    same_dtype(types)
    return "bool"


def _comparison(name: str, symbol: str, numpy_function: Callable[..., Any]) -> Callable[[Any, Any], Variable]:
    """Register a comparison and publish its builder function."""
    elementwise(
        name,
        Scalar(f"{{0}} {symbol} {{1}}"),
        numpy_function,
        NotDifferentiable(INTEGER_VALUED),
        dtype=_truth,
        arity=2,
        samples=tuple(Sample(((3,), (3,)), dtypes=(kind, kind)) for kind in ("float64", "int64", "bool")),
    )

    @function(name, numpy_function)
    def build(x: Any, y: Any) -> Variable:
        a, b = promoted(x, y)
        return a.graph.apply(name, a, b)

    build.__name__ = build.__qualname__ = name
    build.__doc__ = f"Whether x {symbol} y, element by element; operands are promoted to one dtype."
    return build


less = _comparison("less", "<", np.less)
less_equal = _comparison("less_equal", "<=", np.less_equal)
greater = _comparison("greater", ">", np.greater)
greater_equal = _comparison("greater_equal", ">=", np.greater_equal)
equal = _comparison("equal", "==", np.equal)
not_equal = _comparison("not_equal", "!=", np.not_equal)


def _test(name: str, expression: str, numpy_function: Callable[..., Any], doc: str) -> Callable[[Any], Variable]:
    """Register a test of floating numbers and publish its builder function."""
    elementwise(name, Scalar(expression), numpy_function, NotDifferentiable(INTEGER_VALUED), dtype=_truth_of_float)

    @function(name, numpy_function)
    def build(x: Any) -> Variable:
        (value,) = promoted_float(x)
        return value.graph.apply(name, value)

    build.__name__ = build.__qualname__ = name
    build.__doc__ = doc
    return build


def _truth_of_float(types: tuple[TensorType, ...]) -> str:
    if not types[0].is_float:
        raise DtypeError(f"a floating dtype expected, got {types[0].dtype}")
    return "bool"


isnan = _test("isnan", "{0} != {0}", np.isnan, "Whether x is NaN.")
isinf = _test("isinf", "abs({0}) == np.inf", np.isinf, "Whether x is inf or -inf.")
isfinite = _test("isfinite", "abs({0}) < np.inf", np.isfinite, "Whether x is neither infinite nor NaN.")


@function("nan_to_num", np.nan_to_num)
def nan_to_num(
    x: Any, copy: bool = True, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Variable:
    """x with NaN and infinities replaced, by default by 0 and the largest finite numbers; `copy` has no meaning."""
    (value,) = operands(x)
    if not value.type.is_float:
        return value
    limits = np.finfo(value.dtype)
    high = float(limits.max) if posinf is None else posinf
    low = float(limits.min) if neginf is None else neginf
    finite = where(value == np.inf, high, where(value == -np.inf, low, value))
    result: Variable = where(isnan(value), nan, finite)
    return result


# ---------------------------------------------------------------------- logic and bits


def _bool_dtype(types: tuple[TensorType, ...]) -> str:
    if any(t.dtype != "bool" for t in types):
        raise DtypeError(f"operands of bool expected, got {', '.join(t.dtype for t in types)}")
    return "bool"


def _integer_dtype(types: tuple[TensorType, ...]) -> str:
    dtype = same_dtype(types)
    if dtype not in ("int32", "int64"):
        raise DtypeError(f"integers or truth values expected, got {dtype}")
    return dtype


def _logic(
    name: str, bits: str, expression: str, logical: Callable[..., Any], bitwise: Callable[..., Any], doc: str
) -> tuple[Callable[..., Variable], Callable[..., Variable]]:
    """Register an operation on truth values and its twin on the bits of integers; publish both builder functions."""
    none = NotDifferentiable(INTEGER_VALUED)
    arity = 2 if "{1}" in expression else 1
    elementwise(
        name,
        Scalar(expression),
        logical,
        none,
        dtype=_bool_dtype,
        arity=arity,
        samples=(Sample(((3,),) * arity, dtypes=("bool",) * arity),),
    )
    on_bits = expression.replace("not ", "~")
    elementwise(
        bits,
        Scalar(on_bits),
        bitwise,
        none,
        dtype=_integer_dtype,
        arity=arity,
        domain=((0.0, 9.0),),
        samples=(Sample(((3,),) * arity, dtypes=("int64",) * arity),),
    )

    @function(name, logical)
    def build(*values: Any) -> Variable:
        args = [astype(v, "bool") for v in operands(*values)]
        return args[0].graph.apply(name, *args)

    @function(bits, bitwise)
    def build_bits(*values: Any) -> Variable:
        args = promoted(*values)
        return args[0].graph.apply(name if args[0].dtype == "bool" else bits, *args)

    build.__name__ = build.__qualname__ = name
    build.__doc__ = f"{doc} of truth values; numbers other than 0 are true."
    build_bits.__name__ = build_bits.__qualname__ = bits
    build_bits.__doc__ = f"{doc} of truth values, or of the bits of integers."
    return build, build_bits


logical_and, bitwise_and = _logic(
    "logical_and", "bitwise_and", "{0} & {1}", np.logical_and, np.bitwise_and, "Conjunction"
)
logical_or, bitwise_or = _logic("logical_or", "bitwise_or", "{0} | {1}", np.logical_or, np.bitwise_or, "Disjunction")
logical_xor, bitwise_xor = _logic(
    "logical_xor", "bitwise_xor", "{0} ^ {1}", np.logical_xor, np.bitwise_xor, "Exclusive or"
)
logical_not, invert = _logic("logical_not", "invert", "not {0}", np.logical_not, np.invert, "Negation")

# ---------------------------------------------------------------------- for derivative rules


def _guarded_mul_jvp(args: tuple[Variable, ...], tangents: Tangents, out: Variable, params: Params) -> Variable | None:
    left, right = tangents
    apply = out.graph.apply
    first = None if left is None else apply("guarded_mul", left, args[1])
    second = None if right is None else apply("guarded_mul", args[0], right)
    return (
        apply("add", first, second) if first is not None and second is not None else first if second is None else second
    )


def _guarded_mul_vjp(args: tuple[Variable, ...], out: Variable, cotangent: Variable, params: Params) -> Tangents:
    apply = out.graph.apply
    return apply("guarded_mul", cotangent, args[1]), apply("guarded_mul", args[0], cotangent)


# A derivative value (first operand) times a partial: 0 where the value is 0, even if the partial is inf or NaN.
elementwise(
    "guarded_mul",
    Scalar("({zero} if {0} == {zero} else {0} * {1})"),
    lambda a, b: np.where(a == 0, np.zeros_like(a), a * b),
    Custom(_guarded_mul_jvp, _guarded_mul_vjp, selects=True),
    arity=2,
    analytic=True,
)

elementwise(
    "stop_gradient",
    Scalar("{0}"),
    lambda x: x,
    NotDifferentiable("`stop_gradient` asks for none"),
    dtype=same_dtype,
    cost=0.0,
)


@function("stop_gradient")
def stop_gradient(x: Any) -> Variable:
    """x, taken as a constant by every derivative."""
    (value,) = operands(x)
    return value.graph.apply("stop_gradient", value) if value.type.is_float else value
