# mypy: disable-error-code="no-any-return"
"""The power of float32, in float32, by the scheme of the one of float64."""

from __future__ import annotations

from graphad.emit.vecmath.bits import _fabs, _scale_f32, _split_f32
from graphad.emit.vecmath.power import _log2_pair, _power
from graphad.emit.vecmath.tracing import elementary_f32

# The terms of `power.LOG2_LINEAR`, `LOG2_CUBIC` and `LOG2_HIGHER` for float32: error 2^-36.8 of the logarithm.
LOG2_LINEAR_F32 = (2.885390043258667, 3.851926067000022e-08)
LOG2_CUBIC_F32 = 0.9617967009544373
LOG2_HIGHER_F32 = (-7.028461812552678e-09, 0.5770801901817322, 0.4118480086326599, 0.337860107421875)
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
ROUND_TWICE_BIASED_F32 = 12582912.0 + 254.0


@elementary_f32
def pow_f32(x: float, y: float) -> float:
    """`pow` of two float32, in float32."""
    e, f = _split_f32(_fabs(x))
    logarithm = _log2_pair(e, f, LOG2_LINEAR_F32, LOG2_CUBIC_F32, LOG2_HIGHER_F32)
    return _power(x, y, logarithm, 200.0, ROUND_TWICE_BIASED_F32, EXP2_F32, _scale_f32)
