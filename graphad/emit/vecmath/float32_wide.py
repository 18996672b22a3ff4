# mypy: disable-error-code="no-any-return"
"""Functions of float32 that are computed in float64, where nothing shorter is known to be fast and right."""

from __future__ import annotations

import numpy as np

from graphad.emit.vecmath.arithmetic import floordiv, remainder
from graphad.emit.vecmath.bits import _narrow, _wide
from graphad.emit.vecmath.decorators import branching
from graphad.emit.vecmath.error import erfc
from graphad.emit.vecmath.gamma import digamma, lgamma, polygamma
from graphad.emit.vecmath.power import cbrt
from graphad.emit.vecmath.tracing import elementary_f32


@elementary_f32
def cbrt_f32(x: float) -> float:
    """`cbrt` of a float32."""
    return _narrow(cbrt(_wide(x)))


@elementary_f32
def digamma_f32(x: float) -> float:
    """`digamma` of a float32."""
    return _narrow(digamma(_wide(x)))


@elementary_f32
def erfc_f32(x: float) -> float:
    """`erfc` of a float32."""
    return _narrow(erfc(_wide(x)))


@branching
def lgamma_f32(x: float) -> np.float32:
    """`lgamma` of a float32."""
    return np.float32(lgamma(np.float64(x)))


@elementary_f32
def floordiv_f32(x: float, y: float) -> float:
    """`floordiv` of two float32."""
    return _narrow(floordiv(_wide(x), _wide(y)))


@elementary_f32
def remainder_f32(x: float, y: float) -> float:
    """`remainder` of two float32."""
    return _narrow(remainder(_wide(x), _wide(y)))


@branching
def polygamma_f32(n: int, x: float) -> np.float32:
    """`polygamma` of a float32."""
    return np.float32(polygamma(n, np.float64(x)))
