# mypy: disable-error-code="no-any-return"
"""Hyperbolic functions of float64 and their inverses, from e^x - 1 and log(1 + x) in two parts."""

from __future__ import annotations

from graphad.emit.vecmath.bits import _copysign, _fabs, _fma, _select, _sqrt
from graphad.emit.vecmath.exp_log import INFINITY, LN2, NAN, _expm1_parts, _log1p_sum
from graphad.emit.vecmath.tracing import elementary


@elementary
def tanh(x: float) -> float:
    """The hyperbolic tangent."""
    twice = 2.0 * _fabs(x)
    high, low = _expm1_parts(_select(twice > 44.0, 44.0, twice), 1.0)
    total = 1.0 + high
    inverse = 1.0 / total
    error = ((1.0 - total) + high) + low
    quotient = high * inverse
    rest = _fma(-quotient, error, _fma(-quotient, total, high) + low)
    return _copysign(_fma(rest, inverse, quotient), x)


@elementary
def sinh(x: float) -> float:
    """The hyperbolic sine."""
    a = _fabs(x)
    high, low = _expm1_parts(_select(a > 710.6, 710.6, a), 2.0)
    y = 2.0 * (high + (low + high / _fma(4.0, high, 1.0)))
    return _copysign(_select(a < 1e-9, a, y), x)


@elementary
def cosh(x: float) -> float:
    """The hyperbolic cosine."""
    a = _fabs(x)
    high, low = _expm1_parts(_select(a > 710.6, 710.6, a), 2.0)
    quarter = high + (low + 0.25)
    return 2.0 * (quarter + 0.0625 / quarter)


@elementary
def asinh(x: float) -> float:
    """The inverse hyperbolic sine."""
    a = _fabs(x)
    square = a * a
    total = square + 1.0
    back = total - 1.0
    error = ((1.0 - (total - back)) + (square - back)) + _fma(a, a, -square)
    root = _sqrt(total)
    error = (_fma(-root, root, total) + error) * (0.5 / root)
    large = a > 1e18
    rise = root - 1.0
    argument = a + rise
    error = ((a - argument) + rise) + error
    y = _log1p_sum(_select(large, a, argument), _select(large, 0.0, error)) + _select(large, LN2, 0.0)
    return _copysign(_select(a < 1e-9, a, _select(a < INFINITY, y, a)), x)


@elementary
def acosh(x: float) -> float:
    """The inverse hyperbolic cosine."""
    square = x * x
    total = square - 1.0
    error = ((square - total) - 1.0) + _fma(x, x, -square)
    root = _sqrt(total)
    error = (_fma(-root, root, total) + error) * (0.5 / _select(root > 0.0, root, 1.0))
    large = x > 1e18
    above = x - 1.0
    argument = above + root
    bigger = _select(above > root, above, root)
    smaller = _select(above > root, root, above)
    error = (((bigger - argument) + smaller) + error) + ((x - above) - 1.0)
    y = _log1p_sum(_select(large, x, argument), _select(large, 0.0, error)) + _select(large, LN2, 0.0)
    return _select(x >= 1.0, _select(x < INFINITY, y, x), NAN)


@elementary
def atanh(x: float) -> float:
    """The inverse hyperbolic tangent."""
    a = _fabs(x)
    below = 1.0 - a
    inverse = 1.0 / below
    quotient = (a + a) * inverse
    rest = _fma(-quotient, below, a + a) - quotient * ((1.0 - below) - a)
    y = 0.5 * _log1p_sum(quotient, rest * inverse)
    y = _select(a < 1.0, y, _select(a == 1.0, INFINITY, NAN))
    return _copysign(_select(a < 1e-9, a, y), x)
