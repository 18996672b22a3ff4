"""Arithmetic: + − × ÷, powers, quotients and remainders, conversion of dtypes.

Each record is followed by the builder function that users reach through operators and NumPy.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphad.errors import DtypeError
from graphad.ir.operation import Linear, NotDifferentiable, Op, Scalar, function, register
from graphad.ir.types import TensorType, as_float
from graphad.ir.variable import Variable
from graphad.ops.build import (
    INTEGER_VALUED,
    STEP,
    astype,
    broadcast_type,
    elementwise,
    promoted,
    promoted_float,
    same_dtype,
)


def number_dtype(types: tuple[TensorType, ...]) -> str:
    """The one dtype of all operands, not bool."""
    dtype = same_dtype(types)
    if dtype == "bool":
        raise DtypeError("a number expected, got bool")
    return dtype


elementwise("add", Scalar("{0} + {1}"), np.add, (lambda a, b, y: 1.0, lambda a, b, y: 1.0), dtype=number_dtype, analytic=True)  # fmt: skip
elementwise("sub", Scalar("{0} - {1}"), np.subtract, (lambda a, b, y: 1.0, lambda a, b, y: -1.0), dtype=number_dtype, analytic=True)  # fmt: skip
elementwise("mul", Scalar("{0} * {1}"), np.multiply, (lambda a, b, y: b, lambda a, b, y: a), dtype=number_dtype, analytic=True)  # fmt: skip
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
elementwise("reciprocal", Scalar("{one} / {0}"), np.reciprocal, (lambda a, y: -(y * y),), domain=((0.5, 2.0),), analytic=True, cost=4.0)  # fmt: skip
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
elementwise(
    "remainder",
    Scalar("{remainder}({0}, {1})", ("remainder",)),
    np.remainder,
    (lambda a, b, y: 1.0, lambda a, b, y: -np.floor(a / b)),
    dtype=number_dtype,
    domain=((0.1, 0.4), (0.5, 2.0)),
    cost=6.0,
)
# d/dp x**p = x**p log x, taken as 0 where x == 0: there the power is constant in p > 0.
elementwise(
    "power",
    Scalar("{pow}({0}, {1})", ("pow",)),
    np.power,
    (
        lambda a, b, y: b * a ** (b - 1.0),
        lambda a, b, y: np.where(a == 0.0, 0.0, y * np.log(np.where(a == 0.0, 1.0, a))),
    ),
    domain=((0.5, 2.0), (-2.0, 2.0)),
    analytic=True,
    cost=40.0,
)

elementwise(
    "integer_power", Scalar("{0} ** {1}"), np.power, NotDifferentiable(INTEGER_VALUED), dtype=number_dtype, arity=2,
    domain=((1.0, 3.0), (0.0, 3.0)),
)  # fmt: skip
register(
    Op(
        name="cast",
        arity=1,
        infer=lambda types, params: TensorType(params["dtype"], types[0].shape),
        reference=lambda x, dtype: np.asarray(x).astype(dtype),
        emission=Scalar("{dtype}({0})"),
        derivative=Linear(lambda ct, args, position, params: astype(ct, args[0].dtype)),
        cost=0.0,
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
    """x − y·floor(x/y): the sign is that of y."""
    a, b = promoted(x, y)
    return a.graph.apply("remainder", a, b)


@function("power", np.power, np.float_power)
def power(x: Any, y: Any) -> Variable:
    """x to the power y. Small constant exponents become products, which is faster and no less accurate."""
    exponent = y if type(y) in (int, float) else None
    if exponent is not None and isinstance(x, Variable):
        short = _short_power(x, exponent)
        if short is not None:
            return short
    a, b = promoted(x, y)
    if a.dtype in ("int32", "int64"):
        return a.graph.apply("integer_power", a, b)
    return a.graph.apply("power", astype(a, as_float(a.dtype)), astype(b, as_float(b.dtype)))


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
