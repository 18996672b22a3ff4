"""Elementary functions: roots, exponentials, logarithms, trigonometric and hyperbolic functions and their inverses.

Partial derivatives are written in the output where that saves a call. Integers become float64, as in NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphad.ir.operation import Scalar, function
from graphad.ir.variable import Variable
from graphad.ops.build import elementwise, promoted_float, real_or_complex, unary_function

LOG_2 = math.log(2.0)
LOG_10 = math.log(10.0)


def vector(name: str, operands: int = 1) -> Scalar:
    """Emission as one call of the vector mathematics library."""
    listed = ", ".join(f"{{{i}}}" for i in range(operands))
    return Scalar(f"{{{name}}}({listed})", (name,))


def _pair(name: str, *numpy_functions: Callable[..., Any], doc: str) -> Callable[[Any, Any], Variable]:
    """Publish the builder function of a binary floating operation."""

    @function(name, *numpy_functions)
    def build(x: Any, y: Any) -> Variable:
        a, b = promoted_float(x, y)
        return a.graph.apply(name, a, b)

    build.__name__ = build.__qualname__ = name
    build.__doc__ = doc
    return build


# ---------------------------------------------------------------------- roots

elementwise(
    "sqrt", Scalar("math.sqrt({0})"), np.sqrt, (lambda a, y: 0.5 / y,), domain=((0.5, 2.0),), analytic=True, cost=6.0
)
sqrt = unary_function("sqrt", np.sqrt, doc="Square root, NaN below 0; its derivative at 0 is inf, as IEEE has it.")

elementwise(
    "cbrt",
    vector("cbrt"),
    real_or_complex(np.cbrt, lambda x: x ** (1.0 / 3.0)),
    (lambda a, y: 1.0 / (3.0 * np.square(y)),),
    domain=((0.5, 2.0),),
    analytic=True,
    cost=15.0,
)
cbrt = unary_function("cbrt", np.cbrt, doc="Cube root, also of negative numbers; its derivative at 0 is inf.")

# At the origin 0/0 would be NaN; 0 is a subgradient there, as for the absolute value.
elementwise(
    "hypot",
    vector("hypot", 2),
    real_or_complex(np.hypot, lambda x, y: np.sqrt(x * x + y * y)),
    (lambda a, b, y: a / np.where(y == 0.0, 1.0, y), lambda a, b, y: b / np.where(y == 0.0, 1.0, y)),
    domain=((0.5, 2.0),),
    analytic=True,
    cost=12.0,
)
hypot = _pair("hypot", np.hypot, doc="sqrt(x² + y²) without overflow; the derivative at the origin is 0.")

# ---------------------------------------------------------------------- exponentials and logarithms

elementwise("exp", vector("exp"), np.exp, (lambda a, y: y,), analytic=True, cost=10.0)
exp = unary_function("exp", np.exp, doc="Exponential function.")

elementwise("exp2", vector("exp2"), np.exp2, (lambda a, y: LOG_2 * y,), analytic=True, cost=10.0)
exp2 = unary_function("exp2", np.exp2, doc="2 to the power x.")

elementwise("expm1", vector("expm1"), np.expm1, (lambda a, y: y + 1.0,), analytic=True, cost=12.0)
expm1 = unary_function("expm1", np.expm1, doc="exp(x) - 1, accurate near 0.")

elementwise("log", vector("log"), np.log, (lambda a, y: 1.0 / a,), domain=((0.5, 2.0),), analytic=True, cost=12.0)
log = unary_function("log", np.log, doc="Natural logarithm; -inf at 0, NaN below.")

elementwise(
    "log2", vector("log2"), np.log2, (lambda a, y: (1.0 / LOG_2) / a,), domain=((0.5, 2.0),), analytic=True, cost=12.0
)
log2 = unary_function("log2", np.log2, doc="Logarithm to base 2.")

elementwise(
    "log10",
    vector("log10"),
    np.log10,
    (lambda a, y: (1.0 / LOG_10) / a,),
    domain=((0.5, 2.0),),
    analytic=True,
    cost=12.0,
)
log10 = unary_function("log10", np.log10, doc="Logarithm to base 10.")

elementwise(
    "log1p", vector("log1p"), np.log1p, (lambda a, y: 1.0 / (1.0 + a),), domain=((-0.5, 2.0),), analytic=True, cost=14.0
)
log1p = unary_function("log1p", np.log1p, doc="log(1 + x), accurate near 0.")

# ---------------------------------------------------------------------- trigonometric

elementwise("sin", vector("sin"), np.sin, (lambda a, y: np.cos(a),), analytic=True, cost=15.0)
sin = unary_function("sin", np.sin, doc="Sine.")

elementwise("cos", vector("cos"), np.cos, (lambda a, y: -np.sin(a),), analytic=True, cost=15.0)
cos = unary_function("cos", np.cos, doc="Cosine.")

elementwise(
    "tan", vector("tan"), np.tan, (lambda a, y: 1.0 + np.square(y),), domain=((-1.2, 1.2),), analytic=True, cost=20.0
)
tan = unary_function("tan", np.tan, doc="Tangent.")

# (1 - a)(1 + a) does not cancel near ±1, where 1 - a² does.
elementwise(
    "asin",
    vector("asin"),
    np.arcsin,
    (lambda a, y: 1.0 / np.sqrt((1.0 - a) * (1.0 + a)),),
    domain=((-0.9, 0.9),),
    analytic=True,
    cost=20.0,
)
asin = unary_function("asin", np.arcsin, doc="Inverse sine, between -π/2 and π/2; NaN outside [-1, 1].")

elementwise(
    "acos",
    vector("acos"),
    np.arccos,
    (lambda a, y: -1.0 / np.sqrt((1.0 - a) * (1.0 + a)),),
    domain=((-0.9, 0.9),),
    analytic=True,
    cost=20.0,
)
acos = unary_function("acos", np.arccos, doc="Inverse cosine, between 0 and π; NaN outside [-1, 1].")

elementwise("atan", vector("atan"), np.arctan, (lambda a, y: 1.0 / (1.0 + np.square(a)),), analytic=True, cost=20.0)
atan = unary_function("atan", np.arctan, doc="Inverse tangent, between -π/2 and π/2.")

elementwise(
    "atan2",
    vector("atan2", 2),
    real_or_complex(np.arctan2, lambda y, x: np.arctan(y / x)),
    (lambda a, b, y: b / (np.square(a) + np.square(b)), lambda a, b, y: -(a / (np.square(a) + np.square(b)))),
    domain=((-2.0, 2.0), (0.5, 2.0)),
    analytic=True,
    cost=25.0,
)
atan2 = _pair("atan2", np.arctan2, doc="The angle of the point with abscissa y and ordinate x, between -π and π.")

# ---------------------------------------------------------------------- hyperbolic

elementwise("sinh", vector("sinh"), np.sinh, (lambda a, y: np.cosh(a),), analytic=True, cost=15.0)
sinh = unary_function("sinh", np.sinh, doc="Hyperbolic sine.")

elementwise("cosh", vector("cosh"), np.cosh, (lambda a, y: np.sinh(a),), analytic=True, cost=15.0)
cosh = unary_function("cosh", np.cosh, doc="Hyperbolic cosine.")

elementwise("tanh", vector("tanh"), np.tanh, (lambda a, y: 1.0 - np.square(y),), analytic=True, cost=15.0)
tanh = unary_function("tanh", np.tanh, doc="Hyperbolic tangent.")

elementwise("asinh", vector("asinh"), np.arcsinh, (lambda a, y: 1.0 / np.hypot(1.0, a),), analytic=True, cost=20.0)
asinh = unary_function("asinh", np.arcsinh, doc="Inverse hyperbolic sine.")

elementwise(
    "acosh",
    vector("acosh"),
    np.arccosh,
    (lambda a, y: 1.0 / np.sqrt((a - 1.0) * (a + 1.0)),),
    domain=((1.2, 3.0),),
    analytic=True,
    cost=20.0,
)
acosh = unary_function("acosh", np.arccosh, doc="Inverse hyperbolic cosine; NaN below 1.")

elementwise(
    "atanh",
    vector("atanh"),
    np.arctanh,
    (lambda a, y: 1.0 / ((1.0 - a) * (1.0 + a)),),
    domain=((-0.9, 0.9),),
    analytic=True,
    cost=20.0,
)
atanh = unary_function("atanh", np.arctanh, doc="Inverse hyperbolic tangent; ±inf at ±1, NaN outside [-1, 1].")


@function("radians", np.radians, np.deg2rad)
def radians(x: Any) -> Variable:
    """Degrees turned into radians."""
    (value,) = promoted_float(x)
    return value * (math.pi / 180.0)


@function("degrees", np.degrees, np.rad2deg)
def degrees(x: Any) -> Variable:
    """Radians turned into degrees."""
    (value,) = promoted_float(x)
    return value * (180.0 / math.pi)
