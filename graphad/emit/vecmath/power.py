# mypy: disable-error-code="no-any-return"
"""Powers and roots of float64."""

from __future__ import annotations

from typing import Any

from graphad.emit.vecmath.bits import (
    _bits,
    _constant,
    _copysign,
    _fabs,
    _floor,
    _fma,
    _from_bits,
    _horner,
    _polynomial,
    _rint,
    _select,
    _shift_right,
    _sqrt,
)
from graphad.emit.vecmath.exp_log import (
    EXP2,
    INFINITY,
    NAN,
    _power_of_two,
    _split,
)
from graphad.emit.vecmath.tracing import elementary

# log2((1+s)/(1-s)) = a s + b s^3 + s^3 p(z), z = s^2, |s| <= 0.1716, with a in two parts and the rest of b as the first
# coefficient of p: error 2^-66.3 of the logarithm.
LOG2_LINEAR = (2.8853900817779268, 4.0710547481862066e-17)
LOG2_CUBIC = 0.9617966939259756
LOG2_HIGHER = (
    5.0577616648125907e-17,
    0.577078016355618,
    0.412198583091954,
    0.3205989022710715,
    0.26230770134101,
    0.22198398796962673,
    0.19125538544626988,
    0.19038337635352923,
)
# Adding it leaves the nearest integer, plus twice the bias of an exponent, in the low bits.
ROUND_TWICE_BIASED = 6755399441055744.0 + 2046.0
# 1/cbrt(1 + f) for sqrt(1/2) <= 1 + f < sqrt(2): error 2^-17.
INVERSE_CBRT = (
    1.0000038469028913,
    -0.33326098014956657,
    0.2216051048424146,
    -0.17581850375671074,
    0.1604171563855707,
    -0.1080643291253794,
)


def _log2_pair(e: float, f: float, linear: tuple[float, float], cubic: float, higher: tuple[float, ...]) -> Any:
    """log2(2^e (1 + f)) as a sum of two numbers with ten bits more than one has, in the type of f."""
    s = f / (f + _constant(2.0, f))
    z = s * s
    cube = s * z
    cube_low = _fma(s, _fma(s, s, -z), _fma(s, z, -cube))
    first = _fma(s, linear[0], e)
    second = _fma(cube, cubic, first)
    low = _fma(s, linear[0], e - first) + _fma(cube, cubic, first - second)
    # The quotient lacks (f - 2s - sf) / (2 + f), where 1 / (2 + f) is (1 - s) / 2; the slope at s is a (1 + z).
    half = _fma(s, -0.5 * linear[0], 0.5 * linear[0])
    low = _fma(_fma(half, z, half), _fma(-s, f, _fma(s, -2.0, f)), _fma(cube, _horner(z, higher), low))
    return second, _fma(cube_low, cubic, _fma(s, linear[1], low))


def _power(x: float, y: float, logarithm: Any, bound: float, shift: float, exponential: Any, scale: Any) -> Any:
    """X^y = 2^(y log2 |x|) with the special cases of C99; 0 or infinite where |y log2 |x|| is beyond `bound`."""
    a = _fabs(x)
    log_high, log_low = logarithm
    log_high = _select(a == 0.0, -INFINITY, _select(a < INFINITY, log_high, a))
    one = (a == 1.0) | (y == 0.0)
    high = _select(one, 0.0, y * log_high)
    bounded = _select(high > bound, bound, high)
    bounded = _select(bounded < -bound, -bound, bounded)
    low = _fma(y, log_low, _fma(y, log_high, -high))
    low = _select((bounded == high) & (one ^ True), low, 0.0)
    rounded = (bounded + low) + _constant(shift, x)
    r = (bounded - (rounded - _constant(shift, x))) + low
    value = scale(_fma(r, _horner(r, exponential), 1.0), rounded)
    whole = _rint(y) == y
    half = y * _constant(0.5, y)
    value = _select(whole & (_rint(half) != half), _copysign(value, x), value)
    return _select((x < 0.0) & (a < INFINITY) & (whole ^ True), NAN, value)


def _scale_twice(p: float, rounded: float) -> float:
    """P 2^n for |n| <= 2000, in two steps; `rounded` is n + ROUND_TWICE_BIASED."""
    both = _bits(rounded)
    half = _shift_right(both, 1)
    return p * _from_bits(half << 52) * _from_bits((both - half) << 52)


@elementary
def pow(x: float, y: float) -> float:
    """x^y with the special cases of C99."""
    e, f = _split(_fabs(x))
    logarithm = _log2_pair(e, f, LOG2_LINEAR, LOG2_CUBIC, LOG2_HIGHER)
    return _power(x, y, logarithm, 1100.0, ROUND_TWICE_BIASED, EXP2, _scale_twice)


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
