# mypy: disable-error-code="no-any-return"
"""Exponentials and logarithms of float64."""

from __future__ import annotations

import math

from graphad.emit.vecmath.decorators import elementary


@elementary
def exp(x: float) -> float:
    """e^x."""
    return math.exp(x)


@elementary
def exp2(x: float) -> float:
    """2^x."""
    return 2.0**x


@elementary
def expm1(x: float) -> float:
    """e^x - 1."""
    return math.expm1(x)


@elementary
def log(x: float) -> float:
    """The natural logarithm."""
    return math.log(x)


@elementary
def log2(x: float) -> float:
    """The logarithm to base 2."""
    return math.log2(x)


@elementary
def log10(x: float) -> float:
    """The logarithm to base 10."""
    return math.log10(x)


@elementary
def log1p(x: float) -> float:
    """log(1 + x)."""
    return math.log1p(x)


@elementary
def sigmoid(x: float) -> float:
    """1 / (1 + e^-x)."""
    e = math.exp(-abs(x))
    return (1.0 if x >= 0.0 else e) / (1.0 + e)


@elementary
def softplus(x: float) -> float:
    """log(1 + e^x)."""
    return (x if x > 0.0 else 0.0) + math.log1p(math.exp(-abs(x)))


@elementary
def logaddexp(a: float, b: float) -> float:
    """log(e^a + e^b)."""
    if a == b:
        return a + 0.6931471805599453
    d = a - b
    return (a if d > 0.0 else b) + math.log1p(math.exp(-abs(d)))
