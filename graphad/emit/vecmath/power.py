# mypy: disable-error-code="no-any-return"
"""Powers and roots of float64."""

from __future__ import annotations

import math

from graphad.emit.vecmath.bits import _copysign
from graphad.emit.vecmath.decorators import elementary


@elementary
def pow(x: float, y: float) -> float:
    """x^y with the special cases of C99."""
    return math.pow(x, y)


@elementary
def cbrt(x: float) -> float:
    """The cube root."""
    a = abs(x)
    r = a ** (1.0 / 3.0)
    r = r - (r * r * r - a) / (3.0 * r * r) if 0.0 < a < math.inf else a
    return _copysign(r, x)


@elementary
def hypot(x: float, y: float) -> float:
    """sqrt(x^2 + y^2) without overflow."""
    return math.hypot(x, y)
