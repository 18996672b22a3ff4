# mypy: disable-error-code="no-any-return"
"""Division with remainder and the larger and smaller of two numbers, as NumPy defines them."""

from __future__ import annotations

from graphad.emit.vecmath.bits import _copysign, _floor, _fmod, _maximum, _minimum
from graphad.emit.vecmath.decorators import elementary


@elementary
def remainder(x: float, y: float) -> float:
    """The remainder with the sign of the divisor."""
    r = _fmod(x, y)
    if r == 0.0:
        return _copysign(0.0, y)
    return r + y if (r < 0.0) != (y < 0.0) else r


@elementary
def floordiv(x: float, y: float) -> float:
    """The largest integer not above x / y."""
    if y == 0.0:
        return x / y
    m = _fmod(x, y)
    q = (x - m) / y
    if m != 0.0 and (m < 0.0) != (y < 0.0):
        q = q - 1.0
    n = _floor(q)
    n = n + 1.0 if q - n > 0.5 else n
    return n if q != 0.0 else _copysign(0.0, x / y)


@elementary
def floordiv_int(x: int, y: int) -> int:
    """The largest integer not above x / y; 0 for y = 0."""
    return x // y


@elementary
def remainder_int(x: int, y: int) -> int:
    """The remainder with the sign of the divisor; 0 for y = 0."""
    return x % y


@elementary
def maximum(x: float, y: float) -> float:
    """The larger of two numbers of one type; NaN if either is."""
    return _maximum(x, y)


@elementary
def minimum(x: float, y: float) -> float:
    """The smaller of two numbers of one type; NaN if either is."""
    return _minimum(x, y)
