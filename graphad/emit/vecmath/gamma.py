# mypy: disable-error-code="no-any-return"
"""The gamma function's logarithm and the derivatives of that; these branch and are not vectorised."""

from __future__ import annotations

import math

from graphad.emit.vecmath.bits import _rint
from graphad.emit.vecmath.decorators import branching
from graphad.emit.vecmath.tracing import elementary

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


@elementary
def _nearest(x: float) -> float:
    """The nearest integer, ties to even."""
    return _rint(x)


@branching
def lgamma(x: float) -> float:
    """log |Γ(x)|; -inf at -inf as in SciPy."""
    return x if x == -math.inf else math.lgamma(x)


@branching
def _digamma_right(x: float) -> float:
    """ψ(x) for x > 0: the recurrence up to 10, then the asymptotic series."""
    shift = 0.0
    while x < 10.0:
        shift += 1.0 / x
        x += 1.0
    z = 1.0 / (x * x)
    series = 0.0
    for k in range(6, -1, -1):
        series = (series + DIGAMMA_ASYMPTOTIC[k]) * z
    return math.log(x) - 0.5 / x - series - shift


@branching
def digamma(x: float) -> float:
    """ψ(x), the derivative of log Γ(x); NaN at the poles, ∓inf at ±0."""
    if x > 0.0:
        return _digamma_right(x)
    if x == 0.0:
        return -1.0 / x
    # From the nearest integer, so that the digits survive beside a pole.
    fraction = x - _nearest(x)
    if fraction == 0.0 or x - x != 0.0:
        return math.nan
    return _digamma_right(1.0 - x) - math.pi / math.tan(math.pi * fraction)


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
