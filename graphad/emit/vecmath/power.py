# mypy: disable-error-code="no-any-return"
"""Powers and roots of float64."""

from __future__ import annotations

from graphad.emit.vecmath.bits import _copysign, _fabs, _floor, _fma, _polynomial, _rint, _select, _sqrt
from graphad.emit.vecmath.exp_log import (
    INFINITY,
    LN2_SHORT,
    LN2_SHORT_LOW,
    NAN,
    _exp_sum,
    _power_of_two,
    _split,
)
from graphad.emit.vecmath.tracing import elementary

# log((1+s)/(1-s)) = 2s + s z (2/3 + z p(z)), z = s^2, |s| <= 0.1716: error 2^-66.3 of the logarithm.
LOG_PAIR = (
    0.40000000000002256,
    0.2857142857009966,
    0.22222222519904017,
    0.18181784368854811,
    0.1538675725244452,
    0.13256819506628434,
    0.13196313294456113,
)
TWO_THIRDS = 0.6666666666666666
TWO_THIRDS_LOW = 3.700743415417188e-17
# 1/cbrt(1 + f) for sqrt(1/2) <= 1 + f < sqrt(2): error 2^-17.
INVERSE_CBRT = (
    1.0000038469028913,
    -0.33326098014956657,
    0.2216051048424146,
    -0.17581850375671074,
    0.1604171563855707,
    -0.1080643291253794,
)


def _log_double(x: float) -> tuple[float, float]:
    """log x for finite x > 0 as a sum of two numbers, with some 65 bits."""
    e, f = _split(x)
    d = 2.0 + f
    inverse = 1.0 / d
    s = f * inverse
    s_low = (_fma(-s, d, f) - s * (f - (d - 2.0))) * inverse
    z = s * s
    z_low = _fma(s + s, s_low, _fma(s, s, -z))
    t = z * _polynomial(z, LOG_PAIR)
    p = TWO_THIRDS + t
    p_low = ((TWO_THIRDS - p) + t) + TWO_THIRDS_LOW
    w = z * p
    w_low = _fma(z, p_low, _fma(z_low, p, _fma(z, p, -w)))
    u = s * w
    u_low = _fma(s, w_low, _fma(s_low, w, _fma(s, w, -u)))
    whole = e * LN2_SHORT
    first = _fma(2.0, s, whole)
    rest = _fma(2.0, s, whole - first)
    second = first + u
    return second, (((first - second) + u) + rest) + (_fma(2.0, s_low, u_low) + e * LN2_SHORT_LOW)


@elementary
def pow(x: float, y: float) -> float:
    """x^y with the special cases of C99."""
    a = _fabs(x)
    log_high, log_low = _log_double(a)
    log_high = _select(a == 0.0, -INFINITY, _select(a < INFINITY, log_high, a))
    high = y * log_high
    low = _fma(y, log_low, _fma(y, log_high, -high))
    value = _exp_sum(high, _select(_fabs(high) < 1000.0, low, 0.0))
    value = _select(a == 1.0, 1.0, value)
    whole = _rint(y) == y
    half = 0.5 * y
    odd = whole & (_rint(half) != half)
    value = _select(odd, _copysign(value, x), value)
    value = _select((x < 0.0) & (a < INFINITY) & (whole ^ True), NAN, value)
    return _select((y == 0.0) | (x == 1.0), 1.0, value)


@elementary
def cbrt(x: float) -> float:
    """The cube root."""
    a = _fabs(x)
    e, f = _split(a)
    third = _floor(_fma(e, 0.3333333333333333, 0.1))
    rest = _fma(-3.0, third, e)
    m = (1.0 + f) * _select(rest == 0.0, 1.0, _select(rest == 1.0, 2.0, 4.0))
    r = _polynomial(f, INVERSE_CBRT)
    r = r * _select(rest == 0.0, 1.0, _select(rest == 1.0, 0.7937005259840998, 0.6299605249474366))
    h = _fma(-m * r, r * r, 1.0)
    r = _fma(r * h, _fma(h, 0.2222222222222222, 0.3333333333333333), r)
    y = m * (r * r)
    square = y * y
    error = _fma(-square, y, m) - _fma(y, y, -square) * y
    y = _fma(error * 0.3333333333333333, r * r, y)
    y = _copysign(y * _power_of_two(third), x)
    return _select((a > 0.0) & (a < INFINITY), y, x)


@elementary
def hypot(x: float, y: float) -> float:
    """sqrt(x^2 + y^2) without overflow, corrected as by Borges (2019), "An improved algorithm for hypot(a, b)"."""
    a = _fabs(x)
    b = _fabs(y)
    longer = _select(a > b, a, b)
    shorter = _select(a > b, b, a)
    scale = _select(longer > 1e150, 2.0**-600, _select(longer < 1e-130, 2.0**700, 1.0))
    back = _select(longer > 1e150, 2.0**600, _select(longer < 1e-130, 2.0**-700, 1.0))
    longer = longer * scale
    shorter = shorter * scale
    root = _sqrt(_fma(longer, longer, shorter * shorter))
    square = root * root
    other = longer * longer
    error = _fma(-shorter, shorter, square - other) + _fma(root, root, -square) - _fma(longer, longer, -other)
    y = root - error / _select(root > 0.0, root + root, 1.0)
    return _select((a == INFINITY) | (b == INFINITY), INFINITY, y * back)
