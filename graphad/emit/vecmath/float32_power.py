# mypy: disable-error-code="no-any-return"
"""The power of float32, in float32: 2^(y log2 x) with the logarithm as a sum of two numbers."""

from __future__ import annotations

from graphad.emit.vecmath.bits import (
    _constant,
    _copysign,
    _fabs,
    _fma,
    _horner,
    _rint,
    _scale_f32,
    _select,
    _split_f32,
)
from graphad.emit.vecmath.exp_log import INFINITY, NAN
from graphad.emit.vecmath.tracing import elementary_f32

# log2((1+s)/(1-s)) = a s + b s^3 + s^3 p(z), z = s^2, |s| <= 0.1716, where p begins with the rest of b: error 2^-36.8
# of the logarithm.
LOG2_LINEAR = 2.885390043258667
LOG2_LINEAR_LOW = 3.851926067000022e-08
LOG2_CUBIC = 0.9617967009544373
LOG2_HIGHER = (-7.028461812552678e-09, 0.5770801901817322, 0.4118480086326599, 0.337860107421875)
# 2^r = 1 + r p(r), |r| <= 1/2: error 2^-28.9.
EXP2_F32 = (
    0.6931471824645996,
    0.24022647738456726,
    0.055503323674201965,
    0.00961843691766262,
    0.001339887734502554,
    0.00015353376511484385,
)


# Adding it leaves the nearest integer, plus twice the bias of an exponent, in the low bits.
ROUND_BIASED_F32 = 12582912.0 + 254.0


def _log2_double_f32(x: float) -> tuple[float, float]:
    """log2 x for finite x > 0 as a sum of two numbers, with some 34 bits."""
    e, f = _split_f32(x)
    s = f / (f + _constant(2.0, f))
    z = s * s
    cube = s * z
    cube_low = _fma(s, _fma(s, s, -z), _fma(s, z, -cube))
    first = _fma(s, LOG2_LINEAR, e)
    second = _fma(cube, LOG2_CUBIC, first)
    low = _fma(s, LOG2_LINEAR, e - first) + _fma(cube, LOG2_CUBIC, first - second)
    # The quotient lacks (f - 2s - sf) / (2 + f); the slope of the logarithm there makes it a / (2 + 2s) of the rest.
    slope = _fma(z, 0.5 * LOG2_LINEAR, _fma(s, -0.5 * LOG2_LINEAR, 0.5 * LOG2_LINEAR))
    low = _fma(slope, _fma(-s, f, _fma(s, -2.0, f)), _fma(cube, _horner(z, LOG2_HIGHER), low))
    return second, _fma(cube_low, LOG2_CUBIC, _fma(s, LOG2_LINEAR_LOW, low))


@elementary_f32
def pow_f32(x: float, y: float) -> float:
    """`pow` of two float32, in float32."""
    a = _fabs(x)
    log_high, log_low = _log2_double_f32(a)
    log_high = _select(a == 0.0, -INFINITY, _select(a < INFINITY, log_high, a))
    one = (a == 1.0) | (y == 0.0)
    high = _select(one, 0.0, y * log_high)
    bounded = _select(high > 200.0, 200.0, high)
    bounded = _select(bounded < -200.0, -200.0, bounded)
    low = _fma(y, log_low, _fma(y, log_high, -high))
    low = _select((bounded == high) & (one ^ True), low, 0.0)
    rounded = bounded + _constant(ROUND_BIASED_F32, x)
    r = (bounded - (rounded - _constant(ROUND_BIASED_F32, x))) + low
    value = _scale_f32(_fma(r, _horner(r, EXP2_F32), 1.0), rounded)
    whole = _rint(y) == y
    half = y * _constant(0.5, y)
    value = _select(whole & (_rint(half) != half), _copysign(value, x), value)
    return _select((x < 0.0) & (a < INFINITY) & (whole ^ True), NAN, value)
