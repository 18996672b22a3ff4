# mypy: disable-error-code="no-any-return"
"""The functions of float32: computed in float64 and rounded once, so that they err by little more than half a unit."""

from __future__ import annotations

from graphad.emit.vecmath.arithmetic import floordiv, remainder
from graphad.emit.vecmath.bits import _narrow, _wide
from graphad.emit.vecmath.decorators import elementary
from graphad.emit.vecmath.error import erf, erfc
from graphad.emit.vecmath.exp_log import exp, exp2, expm1, log, log1p, log2, log10, logaddexp, sigmoid, softplus
from graphad.emit.vecmath.gamma import digamma, lgamma, polygamma
from graphad.emit.vecmath.hyperbolic import acosh, asinh, atanh, cosh, sinh, tanh
from graphad.emit.vecmath.power import cbrt, hypot, pow
from graphad.emit.vecmath.trigonometric import acos, asin, atan, atan2, cos, sin, tan


@elementary
def exp_f32(x: float) -> float:
    """`exp` of a float32."""
    return _narrow(exp(_wide(x)))


@elementary
def exp2_f32(x: float) -> float:
    """`exp2` of a float32."""
    return _narrow(exp2(_wide(x)))


@elementary
def expm1_f32(x: float) -> float:
    """`expm1` of a float32."""
    return _narrow(expm1(_wide(x)))


@elementary
def log_f32(x: float) -> float:
    """`log` of a float32."""
    return _narrow(log(_wide(x)))


@elementary
def log2_f32(x: float) -> float:
    """`log2` of a float32."""
    return _narrow(log2(_wide(x)))


@elementary
def log10_f32(x: float) -> float:
    """`log10` of a float32."""
    return _narrow(log10(_wide(x)))


@elementary
def log1p_f32(x: float) -> float:
    """`log1p` of a float32."""
    return _narrow(log1p(_wide(x)))


@elementary
def sin_f32(x: float) -> float:
    """`sin` of a float32."""
    return _narrow(sin(_wide(x)))


@elementary
def cos_f32(x: float) -> float:
    """`cos` of a float32."""
    return _narrow(cos(_wide(x)))


@elementary
def tan_f32(x: float) -> float:
    """`tan` of a float32."""
    return _narrow(tan(_wide(x)))


@elementary
def asin_f32(x: float) -> float:
    """`asin` of a float32."""
    return _narrow(asin(_wide(x)))


@elementary
def acos_f32(x: float) -> float:
    """`acos` of a float32."""
    return _narrow(acos(_wide(x)))


@elementary
def atan_f32(x: float) -> float:
    """`atan` of a float32."""
    return _narrow(atan(_wide(x)))


@elementary
def sinh_f32(x: float) -> float:
    """`sinh` of a float32."""
    return _narrow(sinh(_wide(x)))


@elementary
def cosh_f32(x: float) -> float:
    """`cosh` of a float32."""
    return _narrow(cosh(_wide(x)))


@elementary
def tanh_f32(x: float) -> float:
    """`tanh` of a float32."""
    return _narrow(tanh(_wide(x)))


@elementary
def asinh_f32(x: float) -> float:
    """`asinh` of a float32."""
    return _narrow(asinh(_wide(x)))


@elementary
def acosh_f32(x: float) -> float:
    """`acosh` of a float32."""
    return _narrow(acosh(_wide(x)))


@elementary
def atanh_f32(x: float) -> float:
    """`atanh` of a float32."""
    return _narrow(atanh(_wide(x)))


@elementary
def cbrt_f32(x: float) -> float:
    """`cbrt` of a float32."""
    return _narrow(cbrt(_wide(x)))


@elementary
def sigmoid_f32(x: float) -> float:
    """`sigmoid` of a float32."""
    return _narrow(sigmoid(_wide(x)))


@elementary
def softplus_f32(x: float) -> float:
    """`softplus` of a float32."""
    return _narrow(softplus(_wide(x)))


@elementary
def erf_f32(x: float) -> float:
    """`erf` of a float32."""
    return _narrow(erf(_wide(x)))


@elementary
def erfc_f32(x: float) -> float:
    """`erfc` of a float32."""
    return _narrow(erfc(_wide(x)))


@elementary
def lgamma_f32(x: float) -> float:
    """`lgamma` of a float32."""
    return _narrow(lgamma(_wide(x)))


@elementary
def digamma_f32(x: float) -> float:
    """`digamma` of a float32."""
    return _narrow(digamma(_wide(x)))


@elementary
def atan2_f32(a: float, b: float) -> float:
    """`atan2` of two float32."""
    return _narrow(atan2(_wide(a), _wide(b)))


@elementary
def hypot_f32(a: float, b: float) -> float:
    """`hypot` of two float32."""
    return _narrow(hypot(_wide(a), _wide(b)))


@elementary
def pow_f32(a: float, b: float) -> float:
    """`pow` of two float32."""
    return _narrow(pow(_wide(a), _wide(b)))


@elementary
def logaddexp_f32(a: float, b: float) -> float:
    """`logaddexp` of two float32."""
    return _narrow(logaddexp(_wide(a), _wide(b)))


@elementary
def floordiv_f32(a: float, b: float) -> float:
    """`floordiv` of two float32."""
    return _narrow(floordiv(_wide(a), _wide(b)))


@elementary
def remainder_f32(a: float, b: float) -> float:
    """`remainder` of two float32."""
    return _narrow(remainder(_wide(a), _wide(b)))


@elementary
def polygamma_f32(n: int, x: float) -> float:
    """`polygamma` of a float32."""
    return _narrow(polygamma(n, _wide(x)))
