# mypy: disable-error-code="no-any-return"
"""Trigonometric functions of float64 and their inverses."""

from __future__ import annotations

from graphad.emit.vecmath.bits import (
    _bits,
    _copysign,
    _fabs,
    _fma,
    _from_bits,
    _polynomial,
    _rare_cos,
    _rare_sin,
    _rare_tan,
    _select,
    _sqrt,
)
from graphad.emit.vecmath.exp_log import INFINITY, ROUND
from graphad.emit.vecmath.tracing import elementary

TWO_OVER_PI = 0.6366197723675814
PI = 3.141592653589793
PI_LOW = 1.2246467991473532e-16
HALF_PI = 1.5707963267948966
HALF_PI_LOW = 6.123233995736766e-17
HALF_PI_LOWEST = -1.4973849048591698e-33
QUARTER_PI = 0.7853981633974483
QUARTER_PI_LOW = 3.061616997868383e-17

# sin r = r + r z p(z), z = r^2, |r| <= pi/4: error 2^-57.9; cos r = 1 - z/2 + z^2 p(z): 2^-63.7.
SIN = (
    -0.1666666666666663,
    0.008333333333321796,
    -0.0001984126982929194,
    2.7557313506323145e-06,
    -2.505072810760943e-08,
    1.5895005656918358e-10,
)
COS = (
    0.041666666666666595,
    -0.0013888888888873303,
    2.4801587288946876e-05,
    -2.755731419170678e-07,
    2.0875700689255132e-09,
    -1.1358442447914525e-11,
)
# arctan t = t + t z p(z), z = t^2, |t| <= tan(pi/8): error 2^-63.4.
ATAN = (
    -0.33333333333333326,
    0.19999999999997095,
    -0.14285714285316398,
    0.11111111083745176,
    -0.09090907985820526,
    0.07692279199368783,
    -0.06666174644371237,
    0.058765159414065495,
    -0.052151769195146594,
    0.04490543049291818,
    -0.033174373895359925,
    0.01489313067946333,
)
# arcsin t = t + t z p(z), z = t^2 <= 1/4: error 2^-59.8.
ASIN = (
    0.16666666666666763,
    0.07499999999970128,
    0.04464285717525681,
    0.030381942676747035,
    0.022372215862831966,
    0.017351596303407896,
    0.013981008567400035,
    0.01139737724180286,
    0.010788835179167773,
    0.003674071640890477,
    0.0217859375663569,
    -0.02110989073656225,
    0.03269779194491511,
)
TAN_EIGHTH_PI = 0.41421356237309503
TAN_THREE_EIGHTHS_PI = 2.414213562373095


def _quadrant(x: float) -> tuple[int, float, float]:
    """Q, r and its rest with x = q pi/2 + r + rest and |r| <= pi/4, by Cody and Waite's scheme with fused products."""
    rounded = _fma(x, TWO_OVER_PI, ROUND)
    n = rounded - ROUND
    # Exact: both terms are multiples of the last place of pi/2, and their difference is small.
    first = _fma(-n, HALF_PI, x)
    product = n * HALF_PI_LOW
    r = first - product
    # Exact even where `first` is the smaller one, because it is a multiple of the product's last place.
    error = (first - r) - product
    return _bits(rounded), r, error - _fma(n, HALF_PI_LOWEST, _fma(n, HALF_PI_LOW, -product))


def _sine_tail(r: float, rest: float) -> float:
    """sin(r + rest) - r."""
    z = r * r
    return _fma(r * z, _polynomial(z, SIN), _fma(-0.5 * z, rest, rest))


def _cosine_parts(r: float, rest: float) -> tuple[float, float]:
    """cos(r + rest) as a sum of two numbers."""
    z = r * r
    high = _fma(-0.5, z, 1.0)
    return high, _fma(-0.5, z, 1.0 - high) + _fma(z * z, _polynomial(z, COS), -r * rest)


def _wave(q: int, r: float, rest: float) -> float:
    """The sine of r + rest plus q right angles."""
    sine = r + _sine_tail(r, rest)
    high, low = _cosine_parts(r, rest)
    value = _select((q & 1) == 0, sine, high + low)
    return _from_bits(_bits(value) ^ ((q & 2) << 62))


@elementary
def sin(x: float) -> float:
    """The sine."""
    q, r, rest = _quadrant(x)
    return _rare_sin(_select(x == 0.0, x, _wave(q, r, rest)), x)


@elementary
def cos(x: float) -> float:
    """The cosine."""
    q, r, rest = _quadrant(x)
    return _rare_cos(_wave(q + 1, r, rest), x)


@elementary
def tan(x: float) -> float:
    """The tangent."""
    q, r, rest = _quadrant(x)
    tail = _sine_tail(r, rest)
    sine = r + tail
    sine_low = (r - sine) + tail
    high, low = _cosine_parts(r, rest)
    cosine = high + low
    cosine_low = (high - cosine) + low
    even = (q & 1) == 0
    top = _select(even, sine, -cosine)
    bottom = _select(even, cosine, sine)
    inverse = 1.0 / bottom
    quotient = top * inverse
    rest = _fma(-quotient, bottom, top) + _select(even, sine_low, -cosine_low)
    value = _fma(_fma(-quotient, _select(even, cosine_low, sine_low), rest), inverse, quotient)
    return _rare_tan(_select(x == 0.0, x, value), x)


def _arcsine_parts(x: float) -> tuple[float, float, float]:
    """T, its rest and p with arcsin t = t + t p, where t is |x| up to 1/2, then sqrt((1 - |x|) / 2)."""
    a = _fabs(x)
    half = _fma(-0.5, a, 0.5)
    z = _select(a > 0.5, half, a * a)
    root = _sqrt(half)
    rest = _fma(-root, root, half) * (0.5 / _select(root > 0.0, root, 1.0))
    t = _select(a > 0.5, root, a)
    return t, _select(a > 0.5, rest, 0.0), z * _polynomial(z, ASIN)


@elementary
def asin(x: float) -> float:
    """The arc sine."""
    t, rest, p = _arcsine_parts(x)
    tail = _fma(t, p, rest)
    high = HALF_PI - 2.0 * t
    large = high + (((HALF_PI - high) - 2.0 * t) + (HALF_PI_LOW - 2.0 * tail))
    return _copysign(_select(_fabs(x) > 0.5, large, t + tail), x)


@elementary
def acos(x: float) -> float:
    """The arc cosine."""
    t, rest, p = _arcsine_parts(x)
    tail = _fma(t, p, rest)
    large = _fabs(x) > 0.5
    base = _select(large, _select(x < 0.0, PI, 0.0), HALF_PI)
    base_low = _select(large, _select(x < 0.0, PI_LOW, 0.0), HALF_PI_LOW)
    factor = _copysign(_select(large, 2.0, 1.0), _select(large, x, -x))
    high = _fma(factor, t, base)
    return high + (_fma(factor, t, base - high) + _fma(factor, tail, base_low))


def _angle(top: float, top_low: float, bottom: float, bottom_low: float, base: float, base_low: float) -> float:
    """The angle base + arctan(top / bottom) for a quotient up to tan(pi/8), all in two parts."""
    inverse = 1.0 / bottom
    t = top * inverse
    rest = (_fma(-t, bottom, top) + _fma(-t, bottom_low, top_low)) * inverse
    z = t * t
    high = base + t
    return high + (((base - high) + t) + (_fma(t * z, _polynomial(z, ATAN), rest) + base_low))


@elementary
def atan(x: float) -> float:
    """The arc tangent."""
    a = _fabs(x)
    a = _select(a > 1e300, 1e300, a)
    small = a < TAN_EIGHTH_PI
    large = a > TAN_THREE_EIGHTHS_PI
    less = a - 1.0
    more = a + 1.0
    top = _select(small, a, _select(large, -1.0, less))
    bottom = _select(small, 1.0, _select(large, a, more))
    middle = (a <= TAN_THREE_EIGHTHS_PI) & (a >= TAN_EIGHTH_PI)
    top_low = _select(middle, a - (less + 1.0), 0.0)
    bottom_low = _select(middle, a - (more - 1.0), 0.0)
    base = _select(small, 0.0, _select(large, HALF_PI, QUARTER_PI))
    base_low = _select(small, 0.0, _select(large, HALF_PI_LOW, QUARTER_PI_LOW))
    return _copysign(_angle(top, top_low, bottom, bottom_low, base, base_low), x)


@elementary
def atan2(y: float, x: float) -> float:
    """The angle of the point (x, y)."""
    a = _fabs(y)
    b = _fabs(x)
    longer = _select(a > b, a, b)
    scale = _select(longer > 2.0**1000, 2.0**-100, _select(longer < 2.0**-800, 2.0**200, 1.0))
    a = a * scale
    b = b * scale
    infinite = (a == INFINITY) | (b == INFINITY)
    a = _select(infinite, _select(a == INFINITY, 1.0, _select(a == a, 0.0, a)), a)
    b = _select(infinite, _select(b == INFINITY, 1.0, _select(b == b, 0.0, b)), b)
    b = _select((a == 0.0) & (b == 0.0), 1.0, b)
    small = a < TAN_EIGHTH_PI * b
    large = a > TAN_THREE_EIGHTHS_PI * b
    less = a - b
    more = a + b
    back = less - a
    less_low = (a - (less - back)) - (b + back)
    back = more - a
    more_low = (a - (more - back)) + (b - back)
    top = _select(small, a, _select(large, -b, less))
    bottom = _select(small, b, _select(large, a, more))
    outside = small | large
    left = _bits(x) < 0
    base = _select(small, _select(left, PI, 0.0), _select(large, HALF_PI, _select(left, 2.356194490192345, QUARTER_PI)))
    low = _select(left, 9.184850993605148e-17, QUARTER_PI_LOW)
    low = _select(small, _select(left, PI_LOW, 0.0), _select(large, HALF_PI_LOW, low))
    top_low = _select(outside, 0.0, less_low)
    top = _select(left, -top, top)
    top_low = _select(left, -top_low, top_low)
    return _copysign(_angle(top, top_low, bottom, _select(outside, 0.0, more_low), base, low), y)
