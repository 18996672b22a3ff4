# mypy: disable-error-code="no-any-return"
"""The functions of float32: short polynomials in float64, rounded once, or float32 throughout where that is enough.

In float64 a float32 argument is never subnormal and a result never overflows, so little care is needed, and what
comes out errs by hardly more than half a unit. (`float32_wide` has those
without a short form.)
"""

from __future__ import annotations

from graphad.emit.vecmath.bits import (
    _bits,
    _copysign,
    _fabs,
    _fma,
    _from_bits,
    _maximum,
    _narrow,
    _polynomial,
    _power_of_two_f32,
    _rare_cos_f32,
    _rare_sin_f32,
    _rare_tan,
    _rint,
    _select,
    _shift_right,
    _split_f32,
    _sqrt,
    _trunc,
    _turned_f32,
    _wide,
)
from graphad.emit.vecmath.exp_log import (
    EXPONENT_TO_FLOAT,
    HALF_ROOT,
    INFINITY,
    LN2,
    LOG2_E,
    LOG10_E,
    MANTISSA,
    NAN,
    ONE_LESS_HALF_ROOT,
    ROUND,
    _log_limits,
    _power_of_two,
)
from graphad.emit.vecmath.tracing import elementary_f32
from graphad.emit.vecmath.trigonometric import HALF_PI, HALF_PI_LOW, PI, TWO_OVER_PI

# e^r = 1 + r + r^2 q(r), |r| <= ln(2)/2: error 2^-28 of e^r, for float32 arithmetic; 2^-37 of e^r - 1.
EXP_F32 = (
    0.4999999345221312,
    0.1666652060081752,
    0.041668385360928005,
    0.00836872037965777,
    0.0013814816516833986,
)
EXP_SHORT = (
    0.5000000000105125,
    0.1666666675403842,
    0.0416666659546056,
    0.008333289094226839,
    0.001388898500484076,
    0.00019904876642626562,
    2.4796477487031625e-05,
)
LN2_F32 = 0.693147182464599609375
LN2_F32_LOW = -1.904654299957767e-09
# log(1 + f) = f - f^2/2 + f^3 p(f) for sqrt(1/2) <= 1 + f < sqrt(2): error 2^-30 of the logarithm, for float32.
LOG_F32 = (
    0.33333312607977567,
    -0.2500000954280187,
    0.20002118315977796,
    -0.16667998927080707,
    0.1421956240172661,
    -0.12405538823227337,
    0.11888034112484874,
    -0.11675908205840092,
    0.06747248566348055,
)
LN2_HEAD_F32 = 0.693359375  # of few bits: its products with exponents are exact
LN2_TAIL_F32 = -0.00021219444005469057
# log((1+s)/(1-s)) = 2s + s z p(z), z = s^2, |s| <= 0.1716: error 2^-37 of the logarithm.
LOG_SHORT = (
    0.6666666564500033,
    0.40000335367612344,
    0.28537291694340394,
    0.2358256042435474,
)
# sin r = r + r z p(z) and cos r = 1 + z p(z), z = r^2, |r| <= pi/4: errors 2^-37 and 2^-33.
SIN_SHORT = (
    -0.16666666641607025,
    0.008333329382875029,
    -0.0001983933353408258,
    2.718296645869407e-06,
)
COS_SHORT = (
    -0.4999999972488916,
    0.041666623290775216,
    -0.0013886762352204919,
    2.4390286626737687e-05,
)
# sin r = r + r z p(z) and cos r = 1 - z/2 + z^2 p(z), z = r^2, |r| <= 0.792: errors 2^-28 and 2^-32.6, for float32.
SIN_F32 = (-0.16666653752326965, 0.008332138881087303, -0.0001951187296072021)
COS_F32 = (0.04166664555668831, -0.0013887316454201937, 2.443236553517636e-05)
HALF_PI_F32 = 1.5707963705062866
HALF_PI_F32_LOW = -4.371138828673793e-08
HALF_PI_F32_LOWEST = -1.7151245100058819e-15
ROUND_F32 = 12582912.0
# arctan t = t + t z p(z), z = t^2, |t| <= 1: error 2^-31.
ATAN_SHORT = (
    -0.3333332743368334,
    0.19999692629146903,
    -0.14280131002581983,
    0.11060246232318285,
    -0.08818854127147664,
    0.06759583557553586,
    -0.04494657287676613,
    0.022760413862174738,
    -0.0074226528076152066,
    0.00113487701824065,
)
# arcsin t = t + t z p(z), z = t^2 <= 1/4: error 2^-35.8.
ASIN_SHORT = (
    0.16666667189857481,
    0.07499948155047552,
    0.044660163684901735,
    0.030110252436174666,
    0.024618357437075855,
    0.007469159877627061,
    0.03469291154154768,
)
# erf(x) = x + x p(x^2) for |x| <= 1: error 2^-29; erf(x) = 1 - exp(-p(x - 1)) for 1 <= x <= 4: error 2^-35.
ERF_SMALL_SHORT = (
    0.1283791659137456,
    -0.3761262713616384,
    0.11283600174858073,
    -0.02685444438577509,
    0.00518953465725849,
    -0.000802083279774662,
    7.889083758985167e-05,
)
ERF_LARGE_SHORT = (
    1.8496055100436157,
    2.6389675160559696,
    0.8431070647819426,
    0.04156355104931751,
    -0.010046587961343856,
    0.0020120972836158895,
    -0.0002895885959553521,
    2.169746481577834e-05,
)


@elementary_f32
def exp_f32(x: float) -> float:
    """`exp` of a float32, in float32."""
    x = _select(x > 89.0, 89.0, x)
    x = _select(x < -104.0, -104.0, x)
    n = _rint(_fma(x, LOG2_E, 0.0))
    r = _fma(n, -LN2_F32_LOW, _fma(n, -LN2_F32, x))
    p = _fma(r * r, _polynomial(r, EXP_F32), r)
    half = _trunc(_fma(n, 0.5, 0.0))
    return _fma(p, 1.0, 1.0) * _power_of_two_f32(half) * _power_of_two_f32(n - half)


@elementary_f32
def sigmoid_f32(x: float) -> float:
    """`sigmoid` of a float32, in float32."""
    e = exp_f32(-_fabs(x))
    return _select(x >= 0.0, 1.0, e) / _fma(e, 1.0, 1.0)


@elementary_f32
def sigmoid_tail_f32(x: float) -> float:
    """`sigmoid_tail` of a float32, in float32."""
    e = exp_f32(-_fabs(x))
    return _copysign(e / _fma(e, 1.0, 1.0), x)


@elementary_f32
def sigmoid_of_tail_f32(t: float) -> float:
    """`sigmoid_of_tail` of a float32, in float32."""
    return _fma(_fma(_copysign(0.5, t), 1.0, 0.5), 1.0, -t)


def _expm1_short(x: float) -> tuple[float, float]:
    """2^n and e^x - 1, for |x| < 700."""
    n = _rint(x * LOG2_E)
    r = _fma(n, -LN2, x)
    scale = _power_of_two(n)
    return scale, _fma(scale, _fma(r * r, _polynomial(r, EXP_SHORT), r), scale - 1.0)


def _exp_short(x: float) -> float:
    """e^x for |x| < 700."""
    n = _rint(x * LOG2_E)
    r = _fma(n, -LN2, x)
    return _fma(r * r, _polynomial(r, EXP_SHORT), r + 1.0) * _power_of_two(n)


def _bounded(x: float, largest: float) -> float:
    """A float32 as a float64 in [-largest, largest]."""
    wide = _wide(x)
    wide = _select(wide > largest, largest, wide)
    return _select(wide < -largest, -largest, wide)


@elementary_f32
def exp2_f32(x: float) -> float:
    """`exp2` of a float32."""
    x = _bounded(x, 200.0)
    n = _rint(x)
    r = (x - n) * LN2
    return _narrow(_fma(r * r, _polynomial(r, EXP_SHORT), r + 1.0) * _power_of_two(n))


@elementary_f32
def expm1_f32(x: float) -> float:
    """`expm1` of a float32."""
    return _select(_fabs(x) < 1e-9, x, _narrow(_expm1_short(_bounded(x, 100.0))[1]))


@elementary_f32
def sinh_f32(x: float) -> float:
    """`sinh` of a float32."""
    rise = _expm1_short(_fabs(_bounded(x, 100.0)))[1]
    return _copysign(_narrow(0.5 * (rise + rise / (rise + 1.0))), x)


@elementary_f32
def cosh_f32(x: float) -> float:
    """`cosh` of a float32."""
    e = _exp_short(_bounded(x, 100.0))
    return _narrow(0.5 * (e + 1.0 / e))


@elementary_f32
def tanh_f32(x: float) -> float:
    """`tanh` of a float32."""
    rise = _expm1_short(2.0 * _fabs(_bounded(x, 20.0)))[1]
    return _copysign(_narrow(rise / (rise + 2.0)), x)


def _log1p_short(f: float) -> float:
    """log(1 + f) for sqrt(1/2) <= 1 + f < sqrt(2)."""
    s = f / (2.0 + f)
    z = s * s
    return _fma(s * z, _polynomial(z, LOG_SHORT), s + s)


def _log_short(x: float, below: float) -> float:
    """log(x) for a normal float64 x > 0, where x - 1 = below with all its digits."""
    i = _bits(x) + ONE_LESS_HALF_ROOT
    e = _from_bits(_shift_right(i, 52) | EXPONENT_TO_FLOAT) - 4503599627371519.0
    f = _from_bits((i & MANTISSA) + HALF_ROOT) - 1.0
    f = _select(e == 0.0, below, f)
    return _fma(e, LN2, _log1p_short(f))


@elementary_f32
def log_f32(x: float) -> float:
    """`log` of a float32, in float32."""
    e, f = _split_f32(x)
    square = f * f
    tail = _fma(square * f, _polynomial(f, LOG_F32), _fma(e, LN2_TAIL_F32, 0.0))
    return _log_limits(x, _fma(e, LN2_HEAD_F32, f + _fma(square, -0.5, tail)))


@elementary_f32
def log2_f32(x: float) -> float:
    """`log2` of a float32."""
    wide = _wide(x)
    return _narrow(_log_limits(wide, _log_short(wide, wide - 1.0) * LOG2_E))


@elementary_f32
def log10_f32(x: float) -> float:
    """`log10` of a float32."""
    wide = _wide(x)
    return _narrow(_log_limits(wide, _log_short(wide, wide - 1.0) * LOG10_E))


@elementary_f32
def log1p_f32(x: float) -> float:
    """`log1p` of a float32."""
    wide = _wide(x)
    y = _narrow(_log_limits(1.0 + wide, _log_short(1.0 + wide, wide)))
    return _select(_fabs(x) < 1e-9, x, y)


def _log1p_exp_short(x: float) -> float:
    """log(1 + e^-|x|)."""
    e = _exp_short(-_fabs(x))
    large = e > 0.41421356237309503
    return _select(large, LN2, 0.0) + _log1p_short(_select(large, _fma(0.5, e, -0.5), e))


@elementary_f32
def softplus_f32(x: float) -> float:
    """`softplus` of a float32."""
    return _narrow(_maximum(_wide(x), 0.0) + _log1p_exp_short(_bounded(x, 600.0)))


@elementary_f32
def logaddexp_f32(a: float, b: float) -> float:
    """`logaddexp` of two float32."""
    difference = _fabs(_select(a == b, 0.0, _wide(a) - _wide(b)))
    difference = _select(difference > 600.0, 600.0, difference)
    return _narrow(_wide(_maximum(a, b)) + _log1p_exp_short(difference))


def _wave_short(x: float, turn: int) -> float:
    """The sine of x plus `turn` right angles."""
    rounded = _fma(x, TWO_OVER_PI, ROUND)
    n = rounded - ROUND
    r = _fma(-n, HALF_PI_LOW, _fma(-n, HALF_PI, x))
    q = _bits(rounded) + turn
    z = r * r
    sine = _fma(r * z, _polynomial(z, SIN_SHORT), r)
    value = _select((q & 1) == 0, sine, _fma(z, _polynomial(z, COS_SHORT), 1.0))
    return _from_bits(_bits(value) ^ ((q & 2) << 62))


def _wave_f32(x: float, turn: int) -> float:
    """The sine of x plus `turn` right angles, in float32: the scheme of `sin` for float64."""
    rounded = _fma(x, TWO_OVER_PI, ROUND_F32)
    n = _fma(rounded, 1.0, -ROUND_F32)
    first = _fma(n, -HALF_PI_F32, x)
    product = _fma(n, HALF_PI_F32_LOW, 0.0)
    r = first - product
    error = (first - r) - product
    rest = error - _fma(n, HALF_PI_F32_LOWEST, _fma(n, HALF_PI_F32_LOW, -product))
    z = r * r
    sine = r + _fma(r * z, _polynomial(z, SIN_F32), rest)
    high = _fma(z, -0.5, 1.0)
    low = _fma(z, -0.5, _fma(high, -1.0, 1.0))
    cosine = high + (low + _fma(z * z, _polynomial(z, COS_F32), -r * rest))
    return _turned_f32(rounded, turn, sine, cosine)


@elementary_f32
def sin_f32(x: float) -> float:
    """`sin` of a float32, in float32."""
    return _rare_sin_f32(_select(x == 0.0, x, _wave_f32(x, 0)), x)


@elementary_f32
def cos_f32(x: float) -> float:
    """`cos` of a float32, in float32."""
    return _rare_cos_f32(_wave_f32(x, 1), x)


@elementary_f32
def tan_f32(x: float) -> float:
    """`tan` of a float32."""
    wide = _wide(x)
    return _select(x == 0.0, x, _narrow(_rare_tan(_wave_short(wide, 0) / _wave_short(wide, 1), wide)))


@elementary_f32
def atan2_f32(y: float, x: float) -> float:
    """`atan2` of two float32."""
    a = _fabs(_wide(y))
    b = _fabs(_wide(x))
    steep = a > b
    longer = _select(steep, a, b)
    shorter = _select(steep, b, a)
    t = _select(shorter == longer, 1.0, shorter / _select(longer == 0.0, 1.0, longer))
    t = _select(longer == 0.0, 0.0, t)
    z = t * t
    angle = _fma(t * z, _polynomial(z, ATAN_SHORT), t)
    angle = _select(steep, HALF_PI - angle, angle)
    angle = _select((a == a) & (b == b), _select(_bits(_wide(x)) < 0, PI - angle, angle), NAN)
    return _copysign(_narrow(angle), y)


@elementary_f32
def atan_f32(x: float) -> float:
    """`atan` of a float32."""
    a = _fabs(_wide(x))
    steep = a > 1.0
    t = _select(steep, 1.0 / a, a)
    z = t * t
    angle = _fma(t * z, _polynomial(z, ATAN_SHORT), t)
    return _copysign(_narrow(_select(steep, HALF_PI - angle, angle)), x)


@elementary_f32
def erf_f32(x: float) -> float:
    """`erf` of a float32."""
    a = _fabs(_bounded(x, 4.0))
    small = _fma(a, _polynomial(a * a, ERF_SMALL_SHORT), a)
    large = 1.0 - _exp_short(-_polynomial(a - 1.0, ERF_LARGE_SHORT))
    return _copysign(_narrow(_select(a < 1.0, small, large)), x)


@elementary_f32
def hypot_f32(x: float, y: float) -> float:
    """`hypot` of two float32."""
    a = _fabs(_wide(x))
    b = _fabs(_wide(y))
    return _narrow(_select((a == INFINITY) | (b == INFINITY), INFINITY, _sqrt(_fma(a, a, b * b))))


def _arcsine_short(a: float) -> float:
    """Arcsin a for 0 <= a <= 1/2, else arcsin sqrt((1 - a) / 2)."""
    large = a > 0.5
    half = _fma(-0.5, a, 0.5)
    z = _select(large, half, a * a)
    t = _select(large, _sqrt(half), a)
    return _fma(t * z, _polynomial(z, ASIN_SHORT), t)


@elementary_f32
def acos_f32(x: float) -> float:
    """`acos` of a float32."""
    wide = _wide(x)
    a = _fabs(wide)
    angle = _arcsine_short(a)
    large = _select(wide < 0.0, PI - 2.0 * angle, 2.0 * angle)
    return _narrow(_select(a > 0.5, large, HALF_PI - _copysign(angle, wide)))


@elementary_f32
def acosh_f32(x: float) -> float:
    """`acosh` of a float32."""
    wide = _wide(x)
    above = wide - 1.0
    rise = above + _sqrt(above * (wide + 1.0))
    y = _log_limits(wide, _log_short(1.0 + rise, rise))
    return _narrow(_select(wide >= 1.0, y, NAN))


@elementary_f32
def asin_f32(x: float) -> float:
    """`asin` of a float32."""
    a = _fabs(_wide(x))
    angle = _arcsine_short(a)
    return _copysign(_narrow(_select(a > 0.5, HALF_PI - 2.0 * angle, angle)), x)


@elementary_f32
def asinh_f32(x: float) -> float:
    """`asinh` of a float32."""
    a = _fabs(_wide(x))
    square = a * a
    rise = a + square / (1.0 + _sqrt(1.0 + square))
    return _copysign(_narrow(_select(a < INFINITY, _log_short(1.0 + rise, rise), a)), x)


@elementary_f32
def atanh_f32(x: float) -> float:
    """`atanh` of a float32."""
    a = _fabs(_wide(x))
    rise = (a + a) / (1.0 - a)
    y = 0.5 * _log_short(1.0 + rise, rise)
    return _copysign(_narrow(_select(a < 1.0, y, _select(a == 1.0, INFINITY, NAN))), x)
