# mypy: disable-error-code="no-any-return"
"""Exponentials and logarithms of float64: reduction by powers of two, a minimax polynomial, the scale by bits.

The polynomials of all families were fitted by Remez's exchange algorithm in 45 digits: the leading coefficients are
rounded first and the rest is fitted again. The scheme of the logarithms is that of FreeBSD's msun.
"""

from __future__ import annotations

import math

from graphad.emit.vecmath.bits import (
    _bits,
    _copysign,
    _fabs,
    _fma,
    _from_bits,
    _maximum,
    _polynomial,
    _rint,
    _select,
    _shift_right,
)
from graphad.emit.vecmath.tracing import elementary

INFINITY = math.inf
NAN = math.nan
LOG2_E = 1.4426950408889634
LOG2_E_LOW = 2.0355273740931033e-17
LN2 = 0.6931471805599453
LN2_LOW = 2.3190468138462996e-17
# log10 2 with 42 bits, so that a product with an exponent is exact.
LOG10_2_SHORT = 0.30102999566406652
LOG10_2_SHORT_LOW = -8.5323443170571066e-14
LOG10_E = 0.4342944819032518
LOG10_E_LOW = 1.098319650216765e-17
# Adding it leaves the nearest integer in the low bits; the second one adds the exponent's bias as well.
ROUND = 6755399441055744.0
ROUND_BIASED = 6755399441056767.0
MANTISSA = 0x000FFFFFFFFFFFFF
HALF_ROOT = 0x3FE6A09E667F3BCD
ONE_LESS_HALF_ROOT = 0x3FF0000000000000 - 0x3FE6A09E667F3BCD
EXPONENT_TO_FLOAT = 0x4330000000000000

# e^r = 1 + r + r^2 q(r) on |r| <= ln(2)/2, error 2^-57.5 of e^r; and 2^-60.5 of e^r - 1.
EXP = (
    0.5000000000000011,
    0.16666666666666888,
    0.04166666666654139,
    0.00833333333327466,
    0.0013888888939195888,
    0.00019841269867506038,
    2.480149830141226e-05,
    2.7557334008324692e-06,
    2.762831473445515e-07,
    2.50639577164215e-08,
)
EXPM1 = (
    0.5,
    0.16666666666666677,
    0.04166666666666669,
    0.008333333333321796,
    0.0013888888888878362,
    0.0001984126988462385,
    2.4801587294881077e-05,
    2.7557246473272023e-06,
    2.755733578569608e-07,
    2.5108084955630068e-08,
    2.088603437436791e-09,
)
# 2^r = 1 + r p(r), |r| <= 1/2: error 2^-57.8.
EXP2 = (
    0.6931471805599453,
    0.24022650695910108,
    0.05550410866482172,
    0.009618129107601197,
    0.0013333558146546413,
    0.00015403530449483363,
    1.5252733634433313e-05,
    1.3215438637231683e-06,
    1.0178159667418053e-07,
    7.073264043639416e-09,
    4.43894163770905e-10,
)
# log((1+s)/(1-s)) = 2s + s z p(z), z = s^2, |s| <= 0.1716: error 2^-59.5 of the logarithm.
LOG = (
    0.6666666666666734,
    0.3999999999941656,
    0.2857142874207499,
    0.2222219859665612,
    0.18183563500869523,
    0.1531406234103109,
    0.14795919686732142,
)


def _power_of_two(n: float) -> float:
    """2^n for an integer -1022 <= n <= 1023."""
    return _from_bits(_bits(n + ROUND_BIASED) << 52)


def _scale(p: float, n: float) -> float:
    """P 2^n in two steps, so that the result may be subnormal or infinite."""
    half = _fma(n, 0.5, ROUND_BIASED)
    rest = n - (half - ROUND_BIASED)
    return p * _from_bits(_bits(half) << 52) * _power_of_two(rest)


def _exp_parts(x: float, low: float) -> tuple[float, float]:
    """P and n with e^(x + low) = p 2^n, for |x| < 2^40."""
    n = _rint(x * LOG2_E)
    first = _fma(n, -LN2, x)
    t = _fma(n, -LN2_LOW, low)
    r = first + t
    tail = (first - r) + t
    return 1.0 + (r + _fma(r * r, _polynomial(r, EXP), tail)), n


@elementary
def exp(x: float) -> float:
    """e^x."""
    x = _select(x > 710.0, 710.0, x)
    x = _select(x < -746.0, -746.0, x)
    n = _rint(x * LOG2_E)
    r = _fma(n, -LN2_LOW, _fma(n, -LN2, x))
    return _scale(1.0 + _fma(r * r, _polynomial(r, EXP), r), n)


@elementary
def exp2(x: float) -> float:
    """2^x."""
    x = _select(x > 1025.0, 1025.0, x)
    x = _select(x < -1076.0, -1076.0, x)
    n = _rint(x)
    r = x - n
    return _scale(_fma(r, _polynomial(r, EXP2), 1.0), n)


def _expm1_parts(x: float, places: float) -> tuple[float, float]:
    """(e^x - 1) / 2^places as an unevaluated sum of two numbers."""
    n = _rint(x * LOG2_E)
    first = _fma(n, -LN2, x)
    r = _fma(n, -LN2_LOW, first)
    tail = _fma(r * r, _polynomial(r, EXPM1), _fma(n, -LN2_LOW, first - r))
    scale = _power_of_two(n - places)
    whole = scale - 2.0**-places
    part = scale * r
    high = whole + part
    low = _fma(scale, tail, (whole - high) + part)
    total = high + low
    return total, (high - total) + low


@elementary
def expm1(x: float) -> float:
    """e^x - 1."""
    bounded = _select(x > 710.0, 710.0, x)
    bounded = _select(x < -40.0, -40.0, bounded)
    return _select(_fabs(x) < 1e-17, x, 2.0 * _expm1_parts(bounded, 1.0)[0])


def _split(x: float) -> tuple[float, float]:
    """E and f with x = 2^e (1 + f), sqrt(1/2) <= 1 + f < sqrt(2), for finite x > 0."""
    subnormal = x < 2.2250738585072014e-308
    i = _bits(_select(subnormal, x * 18014398509481984.0, x)) + ONE_LESS_HALF_ROOT
    bias = _select(subnormal, 4503599627371573.0, 4503599627371519.0)
    e = _from_bits(_shift_right(i, 52) | EXPONENT_TO_FLOAT) - bias
    return e, _from_bits((i & MANTISSA) + HALF_ROOT) - 1.0


def _log_limits(x: float, y: float) -> float:
    """Y, the logarithm of x, with the limits at 0 and infinity and NaN for x < 0."""
    y = _select(x < INFINITY, y, x)
    return _select(x > 0.0, y, _select(x == 0.0, -INFINITY, NAN))


def _log_tail(f: float, low: float) -> float:
    """log(1 + f) - f + low."""
    s = f / (2.0 + f)
    z = s * s
    # f (1 - s) = 2s: the leading term is f, which is exact, and only the rest has the error of the quotient.
    return _fma(s, _fma(z, _polynomial(z, LOG), -f), low)


@elementary
def log(x: float) -> float:
    """The natural logarithm."""
    e, f = _split(x)
    return _log_limits(x, _fma(e, LN2, f + _log_tail(f, e * LN2_LOW)))


@elementary
def log2(x: float) -> float:
    """The logarithm to base 2."""
    e, f = _split(x)
    total = _fma(f, LOG2_E, e)
    rest = _fma(f, LOG2_E_LOW, _fma(f, LOG2_E, e - total))
    return _log_limits(x, total + _fma(_log_tail(f, 0.0), LOG2_E, rest))


@elementary
def log10(x: float) -> float:
    """The logarithm to base 10."""
    e, f = _split(x)
    whole = e * LOG10_2_SHORT
    total = _fma(f, LOG10_E, whole)
    rest = _fma(f, LOG10_E_LOW, _fma(f, LOG10_E, whole - total))
    return _log_limits(x, total + _fma(_log_tail(f, 0.0), LOG10_E, _fma(e, LOG10_2_SHORT_LOW, rest)))


def _log1p_sum(x: float, low: float) -> float:
    """log(1 + x + low) for x > -1 and |low| much less than |x|."""
    u = 1.0 + x
    back = u - 1.0
    error = ((1.0 - (u - back)) + (x - back)) + low
    e, f = _split(u)
    error = error * _power_of_two(-_select(e > 1000.0, 1000.0, e))
    g = f + error
    return _fma(e, LN2, g + _log_tail(g, _fma(e, LN2_LOW, (f - g) + error)))


def _log1p_unit(t: float) -> float:
    """log(1 + t) for 0 <= t <= 1: that of (1 + t) / 2 and log 2, where t is above sqrt(2) - 1."""
    large = t > 0.41421356237309503
    f = _select(large, _fma(0.5, t, -0.5), t)
    return _select(large, LN2, 0.0) + (f + _log_tail(f, _select(large, LN2_LOW, 0.0)))


@elementary
def log1p(x: float) -> float:
    """log(1 + x)."""
    y = _log_limits(1.0 + x, _log1p_sum(x, 0.0))
    return _select(_fabs(x) < 1e-17, x, y)


@elementary
def sigmoid(x: float) -> float:
    """1 / (1 + e^-x)."""
    e = exp(-_fabs(x))
    return _select(x >= 0.0, 1.0, e) / (1.0 + e)


@elementary
def sigmoid_tail(x: float) -> float:
    """The smaller one of 1 / (1 + e^-x) and 1 / (1 + e^x), with the sign of x."""
    e = exp(-_fabs(x))
    return _copysign(e / (1.0 + e), x)


@elementary
def sigmoid_of_tail(t: float) -> float:
    """1 / (1 + e^-x) where `sigmoid_tail(x)` is t."""
    return (_copysign(0.5, t) + 0.5) - t


@elementary
def softplus(x: float) -> float:
    """log(1 + e^x)."""
    return _maximum(x, 0.0) + _log1p_unit(exp(-_fabs(x)))


@elementary
def logaddexp(a: float, b: float) -> float:
    """log(e^a + e^b)."""
    difference = _select(a == b, 0.0, a - b)
    return _maximum(a, b) + _log1p_unit(exp(-_fabs(difference)))
