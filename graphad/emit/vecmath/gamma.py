# mypy: disable-error-code="no-any-return"
"""The gamma function's logarithm and the derivatives of that; all but the first derivative branch."""

from __future__ import annotations

import math

from graphad.emit.vecmath.bits import _copysign, _fma, _polynomial, _rint, _select
from graphad.emit.vecmath.decorators import branching
from graphad.emit.vecmath.exp_log import INFINITY, NAN, log
from graphad.emit.vecmath.tracing import elementary
from graphad.emit.vecmath.trigonometric import PI, _cosine_parts, _quadrant, _sine_tail

# ψ(x) ~ log x - 1/(2x) - Σ B_2k / (2k x^2k): the numbers B_2k / (2k).
DIGAMMA_ASYMPTOTIC = (
    1 / 12,
    -1 / 120,
    1 / 252,
    -1 / 240,
    1 / 132,
    -691 / 32760,
    1 / 12,
)

# (x+1) (x+2) ... (x+9), and the derivative of x times it: their quotient is the sum of 1 / (x+k), all terms positive.
RISING = (362880.0, 1026576.0, 1172700.0, 723680.0, 269325.0, 63273.0, 9450.0, 870.0, 45.0, 1.0)
RISING_SLOPE = (362880.0, 2053152.0, 3518100.0, 2894720.0, 1346625.0, 379638.0, 66150.0, 6960.0, 405.0, 10.0)

# Euler and Maclaurin: B_2k / (2k)!
MACLAURIN = (
    1 / 12,
    -1 / 720,
    1 / 30240,
    -1 / 1209600,
    1 / 47900160,
    -691 / 1307674368000,
    1 / 74724249600,
    -3617 / 10670622842880000,
    43867 / 5109094217170944000,
    -174611 / 802857662698291200000,
)


@branching
def lgamma(x: float) -> float:
    """log |Γ(x)|; -inf at -inf as in SciPy."""
    return x if x == -math.inf else math.lgamma(x)


def _digamma_right(x: float) -> float:
    """ψ(x) for x > 0: ten steps of the recurrence as one quotient below 10, then the asymptotic series."""
    small = x < 10.0
    low = _select(small, x, 1.0)
    steps = _polynomial(low, RISING_SLOPE) / (low * _polynomial(low, RISING))
    inverse = 1.0 / _select(small, x + 10.0, x)
    z = inverse * inverse
    series = _fma(z, _polynomial(z, DIGAMMA_ASYMPTOTIC), 0.5 * inverse)
    return log(_select(small, x + 10.0, x)) - series - _select(small, steps, 0.0)


def _cotangent_of_pi(x: float) -> float:
    """cot(pi x) for |x| <= 1/2."""
    angle = PI * x
    q, r, rest = _quadrant(angle)
    rest = rest + _fma(PI, x, -angle)
    sine = r + _sine_tail(r, rest)
    high, low = _cosine_parts(r, rest)
    even = (q & 1) == 0
    return _select(even, high + low, -sine) / _select(even, sine, high + low)


@elementary
def digamma(x: float) -> float:
    """ψ(x), the derivative of log Γ(x); NaN at the poles, ∓inf at ±0."""
    right = x > 0.0
    value = _digamma_right(_select(right, x, 1.0 - x))
    # From the nearest integer, so that the digits survive beside a pole.
    fraction = x - _rint(x)
    regular = (fraction != 0.0) & (x - x == 0.0)
    reflected = _select(regular, value - PI * _cotangent_of_pi(fraction), NAN)
    return _select(right, value, _select(x == 0.0, _copysign(INFINITY, -x), reflected))


@branching
def _hurwitz(s: float, x: float) -> float:
    """ζ(s, x) = Σ (k + x)^-s for x > 0, s >= 2: ten terms, then Euler and Maclaurin."""
    total = 0.0
    for _ in range(10):
        total += math.pow(x, -s)
        x += 1.0
    power = math.pow(x, -s)
    total += power * x / (s - 1.0) + 0.5 * power
    rising = s * power / x
    for k in range(10):
        total += MACLAURIN[k] * rising
        rising *= (s + 2 * k + 1) * (s + 2 * k + 2) / (x * x)
    return total


@branching
def polygamma(n: int, x: float) -> float:
    """The n-th derivative of ψ at x, n >= 0; the poles at 0, -1, … give inf."""
    if n == 0:
        return digamma(x)
    if x != x:
        return x
    order = n + 1.0
    sign = 1.0 if n % 2 == 1 else -1.0
    if x > 0.0:
        return sign * math.gamma(order) * _hurwitz(order, x)
    steps = math.floor(x)
    fraction = x - steps
    if fraction == 0.0:
        return math.inf
    # The sum from x <= 0 is the sum from its fraction and the terms left of it, which are a difference of two sums.
    left = _hurwitz(order, 1.0 - fraction) - _hurwitz(order, 1.0 - x)
    return sign * math.gamma(order) * (_hurwitz(order, fraction) + sign * left)
