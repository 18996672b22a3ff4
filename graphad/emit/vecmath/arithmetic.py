# mypy: disable-error-code="no-any-return"
"""Division with remainder and the larger and smaller of two numbers, as NumPy defines them; the multiply-add."""

from __future__ import annotations

from graphad.emit.vecmath.bits import (
    _copysign,
    _fabs,
    _floor,
    _fma,
    _maximum,
    _minimum,
    _multiply_add,
    _rare_fmod,
    _select,
    _trunc,
)
from graphad.emit.vecmath.decorators import branching
from graphad.emit.vecmath.exp_log import INFINITY
from graphad.emit.vecmath.tracing import elementary, elementary_of_any


def _fmod(x: float, y: float) -> float:
    """The remainder with the sign of x, exactly; the rare large quotients go to the C library."""
    quotient = _trunc(x / y)
    rest = _fma(-quotient, y, x)
    # A quotient rounded up to the next integer leaves a remainder of the other sign.
    rest = _select((rest < 0.0) != (x < 0.0), rest + _copysign(y, x), rest)
    rest = _copysign(_select(_fabs(rest) == _fabs(y), 0.0, rest), x)
    rest = _select((_fabs(y) == INFINITY) & (_fabs(x) < INFINITY), x, rest)
    return _rare_fmod(rest, quotient, x, y)


@elementary
def remainder(x: float, y: float) -> float:
    """The remainder with the sign of the divisor."""
    rest = _fmod(x, y)
    other = (rest < 0.0) != (y < 0.0)
    return _select(rest == 0.0, _copysign(rest, y), _select(other, rest + y, rest))


@elementary
def floordiv(x: float, y: float) -> float:
    """The largest integer not above x / y."""
    rest = _fmod(x, y)
    quotient = (x - rest) / y
    quotient = _select((rest != 0.0) & ((rest < 0.0) != (y < 0.0)), quotient - 1.0, quotient)
    below = _floor(quotient)
    below = _select(quotient - below > 0.5, below + 1.0, below)
    below = _select(quotient == 0.0, _copysign(0.0, x / y), below)
    return _select(y == 0.0, x / y, below)


@branching
def floordiv_int(x: int, y: int) -> int:
    """The largest integer not above x / y; 0 for y = 0."""
    return x // y


@branching
def remainder_int(x: int, y: int) -> int:
    """The remainder with the sign of the divisor; 0 for y = 0."""
    return x % y


@elementary_of_any
def maximum(x: float, y: float) -> float:
    """The larger of two numbers of one type; NaN if either is."""
    return _maximum(x, y)


@elementary_of_any
def minimum(x: float, y: float) -> float:
    """The smaller of two numbers of one type; NaN if either is."""
    return _minimum(x, y)


@elementary_of_any
def fma(x: float, y: float, z: float) -> float:
    """x y + z of numbers of one type, rounded once where the processor has an instruction for it, else twice.

    LLVM's `fmuladd`: on a processor without that instruction (x86-64 before 2013) the product rounds, and then the sum.
    `llvm.fma` would round once everywhere, by a call of the C library for every number there.
    """
    return _multiply_add(x, y, z)
