# mypy: disable-error-code="no-any-return"
"""Trigonometric functions of float64 and their inverses."""

from __future__ import annotations

import math

from graphad.emit.vecmath.decorators import elementary


@elementary
def sin(x: float) -> float:
    """The sine."""
    return math.sin(x)


@elementary
def cos(x: float) -> float:
    """The cosine."""
    return math.cos(x)


@elementary
def tan(x: float) -> float:
    """The tangent."""
    return math.tan(x)


@elementary
def asin(x: float) -> float:
    """The arc sine."""
    return math.asin(x)


@elementary
def acos(x: float) -> float:
    """The arc cosine."""
    return math.acos(x)


@elementary
def atan(x: float) -> float:
    """The arc tangent."""
    return math.atan(x)


@elementary
def atan2(y: float, x: float) -> float:
    """The angle of the point (x, y)."""
    return math.atan2(y, x)
