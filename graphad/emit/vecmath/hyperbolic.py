# mypy: disable-error-code="no-any-return"
"""Hyperbolic functions of float64 and their inverses."""

from __future__ import annotations

import math

from graphad.emit.vecmath.decorators import elementary


@elementary
def sinh(x: float) -> float:
    """The hyperbolic sine."""
    return math.sinh(x)


@elementary
def cosh(x: float) -> float:
    """The hyperbolic cosine."""
    return math.cosh(x)


@elementary
def tanh(x: float) -> float:
    """The hyperbolic tangent."""
    return math.tanh(x)


@elementary
def asinh(x: float) -> float:
    """The inverse hyperbolic sine."""
    return math.asinh(x)


@elementary
def acosh(x: float) -> float:
    """The inverse hyperbolic cosine."""
    return math.acosh(x)


@elementary
def atanh(x: float) -> float:
    """The inverse hyperbolic tangent."""
    return math.atanh(x)
