"""Arithmetic: sums, products, powers, quotients and remainders, conversion of dtypes.

Each record is followed by the builder function that users reach through operators and NumPy.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphad.errors import ArgumentError, describe
from graphad.ir.operation import Linear, NotDifferentiable, Op, Sample, Scalar, function, register
from graphad.ir.types import TensorType, as_float, promote
from graphad.ir.variable import Variable
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
)


def _slope_in_base(a: Variable, b: Variable, y: Variable) -> Variable | float:
    """b·a**(b - 1), and 0 at a = b = 0, where the power is constant in its base."""
    if b.node.op == "const" and b.shape == ():
        exponent = float(b.node.param("value").scalar)
        return 0.0 if exponent == 0.0 else exponent * power(a, exponent - 1.0)
    both_zero: Any = (a == 0.0) & (b == 0.0)
    return b * a ** np.where(both_zero, 1.0, b - 1.0)


def _slope_in_exponent(a: Variable, b: Variable, y: Variable) -> Variable:
    """y·log a, taken as 0 at a = 0: there the power is constant in a positive exponent."""
    zero: Any = a == 0.0
    return np.where(zero, 0.0, y * np.log(np.where(zero, 1.0, a)))  # type: ignore[return-value]


elementwise(
    "add", Scalar("{0} + {1}"), np.add, (lambda a, b, y: 1.0, lambda a, b, y: 1.0), dtype=number_dtype, analytic=True
)
elementwise(
    "sub",
    Scalar("{0} - {1}"),
    np.subtract,
    (lambda a, b, y: 1.0, lambda a, b, y: -1.0),
    dtype=number_dtype,
    analytic=True,
)
elementwise(
    "mul", Scalar("{0} * {1}"), np.multiply, (lambda a, b, y: b, lambda a, b, y: a), dtype=number_dtype, analytic=True
)
# What `passes.rounding` makes of a sum with a product in loops; nobody else does. Compiled code rounds once where the
# processor can; the references round the product and the sum, as the interpreted tier does.
elementwise(
    "mul_add",
    Scalar("{fma}({0}, {1}, {2})", ("fma",)),
    lambda a, b, c: a * b + c,
    (lambda a, b, c, y: b, lambda a, b, c, y: a, lambda a, b, c, y: 1.0),
    analytic=True,
    cost=2.0,
)
elementwise(
    "mul_sub",
    Scalar("{fma}({0}, {1}, -{2})", ("fma",)),
    lambda a, b, c: a * b - c,
    (lambda a, b, c, y: b, lambda a, b, c, y: a, lambda a, b, c, y: -1.0),
    analytic=True,
    cost=2.0,
)
elementwise(
    "sub_mul",
    Scalar("{fma}(-{1}, {2}, {0})", ("fma",)),
    lambda c, a, b: c - a * b,
    (lambda c, a, b, y: 1.0, lambda c, a, b, y: -b, lambda c, a, b, y: -a),
    analytic=True,
    cost=2.0,
)
elementwise("neg", Scalar("-{0}"), np.negative, (lambda a, y: -1.0,), dtype=number_dtype, analytic=True)
elementwise(
    "div",
    Scalar("{0} / {1}"),
    np.divide,
    (lambda a, b, y: 1.0 / b, lambda a, b, y: -(y / b)),
    domain=((-2.0, 2.0), (0.5, 2.0)),
    analytic=True,
    cost=4.0,
)
elementwise("square", Scalar("{0} * {0}"), np.square, (lambda a, y: 2.0 * a,), dtype=number_dtype, analytic=True)
elementwise(
    "reciprocal",
    Scalar("{one} / {0}"),
    np.reciprocal,
    (lambda a, y: -(y * y),),
    domain=((0.5, 2.0),),
    analytic=True,
    cost=4.0,
)
elementwise(
    "floor_divide",
    Scalar("{floordiv}({0}, {1})", ("floordiv",)),
    np.floor_divide,
    NotDifferentiable(STEP),
    dtype=number_dtype,
    arity=2,
    domain=((-4.0, 4.0), (0.5, 2.0)),
    cost=6.0,
)
# The domains of quotients keep away from jumps and the quotients away from 0, so that a slope of 0 would be noticed.
elementwise(
    "remainder",
    Scalar("{remainder}({0}, {1})", ("remainder",)),
    np.remainder,
    (lambda a, b, y: 1.0, lambda a, b, y: -np.floor_divide(a, b)),
    dtype=number_dtype,
    domain=((-2.4, -2.1), (0.9, 1.0)),
    cost=6.0,
)
elementwise(
    "fmod",
    Scalar("np.fmod({0}, {1})"),
    np.fmod,
    (lambda a, b, y: 1.0, lambda a, b, y: -np.trunc(a / b)),
    domain=((-2.4, -2.1), (0.9, 1.0)),
    cost=20.0,
)
elementwise(
    "power",
    Scalar("{pow}({0}, {1})", ("pow",)),
    np.power,
    (_slope_in_base, _slope_in_exponent),
    domain=((0.5, 2.0), (-2.0, 2.0)),
    analytic=True,
    cost=40.0,
)

elementwise(
    "integer_power",
    Scalar("{0} ** {1}"),
    np.power,
    NotDifferentiable(INTEGER_VALUED),
    dtype=number_dtype,
    arity=2,
    domain=((1.0, 4.0), (0.0, 4.0)),
    samples=(Sample(((3,), (3,)), dtypes=("int64", "int64")),),
)
register(
    Op(
        name="cast",
        arity=1,
        infer=lambda types, params: TensorType(params["dtype"], types[0].shape),
        reference=lambda x, dtype: np.asarray(x).astype(dtype),
        emission=Scalar("{dtype}({0})"),
        derivative=Linear(lambda ct, args, position, params: astype(ct, args[0].dtype)),
        domain=((-4.0, 4.0),),
        cost=0.0,
        samples=(
            Sample(((3,),), {"dtype": "float32"}),
            Sample(((2, 3),), {"dtype": "float64"}, ("float32",)),
            Sample(((3,),), {"dtype": "int64"}),
            Sample(((3,),), {"dtype": "float64"}, ("int32",)),
            Sample(((3,),), {"dtype": "bool"}),
            Sample(((3,),), {"dtype": "float32"}, ("bool",)),
        ),
    )
)


@function("astype", np.astype)
def cast(x: Variable, dtype: object) -> Variable:
    """The values in another dtype; towards integers they are truncated, as NumPy does."""
    return astype(x, dtype)


@function("add", np.add)
def add(x: Any, y: Any) -> Variable:
    """Sum. Of truth values: logical or."""
    a, b = promoted(x, y)
    return a.graph.apply("logical_or" if a.dtype == "bool" else "add", a, b)


@function("subtract", np.subtract)
def subtract(x: Any, y: Any) -> Variable:
    """Difference."""
    a, b = promoted(x, y)
    return a.graph.apply("sub", a, b)


@function("multiply", np.multiply)
def multiply(x: Any, y: Any) -> Variable:
    """Product. Of truth values: logical and."""
    a, b = promoted(x, y)
    return a.graph.apply("logical_and" if a.dtype == "bool" else "mul", a, b)


@function("divide", np.divide, np.true_divide)
def divide(x: Any, y: Any) -> Variable:
    """Quotient; of integers a float64."""
    a, b = promoted_float(x, y)
    return a.graph.apply("div", a, b)


@function("negative", np.negative)
def negative(x: Any) -> Variable:
    """The value with the other sign."""
    (a,) = promoted(x)
    return a.graph.apply("neg", a)


@function("positive", np.positive)
def positive(x: Variable) -> Variable:
    """The value itself."""
    return x


@function("square", np.square)
def square(x: Any) -> Variable:
    """x·x."""
    (a,) = promoted(x)
    return a.graph.apply("square", a)


@function("reciprocal", np.reciprocal)
def reciprocal(x: Any) -> Variable:
    """1/x; of integers a float64."""
    (a,) = promoted_float(x)
    return a.graph.apply("reciprocal", a)


@function("floor_divide", np.floor_divide)
def floor_divide(x: Any, y: Any) -> Variable:
    """The quotient rounded down."""
    a, b = promoted(x, y)
    return a.graph.apply("floor_divide", a, b)


@function("remainder", np.remainder)
def remainder(x: Any, y: Any) -> Variable:
    """x - y·floor(x/y): the sign is that of y."""
    a, b = promoted(x, y)
    return a.graph.apply("remainder", a, b)


@function("fmod", np.fmod)
def fmod(x: Any, y: Any) -> Variable:
    """x - y·trunc(x/y): the sign is that of x."""
    a, b = promoted(x, y)
    if a.type.is_float:
        return a.graph.apply("fmod", a, b)
    rest = remainder(abs(a), abs(b))
    return a.graph.apply("where", a < 0, -rest, rest)


@function("divmod", np.divmod)
def divmod_(x: Any, y: Any) -> tuple[Variable, Variable]:
    """`floor_divide` and `remainder` together."""
    a, b = promoted(x, y)
    return floor_divide(a, b), remainder(a, b)


@function("power", np.power)
def power(x: Any, y: Any) -> Variable:
    """x to the power y. Small constant exponents become products, which is faster and no less accurate."""
    if isinstance(x, Variable) and (is_number(y) or isinstance(y, np.generic)):
        if x.dtype in ("int32", "int64") and isinstance(y, (int, np.integer)) and y < 0:
            raise ArgumentError(
                describe(
                    "integers to negative integer powers are not integers",
                    got=f"`x ** {y}` with x of {x.dtype}",
                    source=x.graph._user_source(),
                    fix='write a float exponent, or convert: `x.astype("float64")`',
                )
            )
        exact = is_number(y) or promote(x.dtype, y.dtype.name) == x.dtype
        short = _short_power(x, y if is_number(y) else y.item()) if exact else None
        if short is not None:
            return short
    a, b = promoted(x, y)
    if a.dtype in ("int32", "int64"):
        return a.graph.apply("integer_power", a, b)
    return float_power_of(a, b)


def float_power_of(a: Variable, b: Variable) -> Variable:
    """The power of operands turned into a floating dtype."""
    return a.graph.apply("power", astype(a, as_float(a.dtype)), astype(b, as_float(b.dtype)))


@function("float_power", np.float_power)
def float_power(x: Any, y: Any) -> Variable:
    """x to the power y in float64 whatever the operands."""
    a, b = operands(x, y)
    exponent = y if is_number(y) else astype(b, "float64")
    result: Variable = power(astype(a, "float64"), exponent)
    return result


def _short_power(x: Variable, exponent: float) -> Variable | None:
    apply = x.graph.apply
    if exponent == 1 and x.dtype != "bool":
        return x if type(exponent) is int else promoted_float(x)[0]
    if exponent == 2 and (type(exponent) is int or x.type.is_float) and x.dtype != "bool":
        return apply("square", x)
    if not x.type.is_float:
        return None
    if exponent == 3:
        return apply("mul", x, apply("square", x))
    if exponent == 4:
        return apply("square", apply("square", x))
    if exponent == -1:
        return apply("reciprocal", x)
    if exponent == -2:
        return apply("reciprocal", apply("square", x))
    return apply("sqrt", x) if exponent == 0.5 else None
