# mypy: disable-error-code="no-any-return"
"""The error function of float64 and its complement."""

from __future__ import annotations

import math

from graphad.emit.vecmath.decorators import elementary


@elementary
def erf(x: float) -> float:
    """The error function."""
    return math.erf(x)


@elementary
def erfc(x: float) -> float:
    """1 - erf(x) without cancellation."""
    return math.erfc(x)
