"""Comparing arrays, and derivatives by differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from graphad.errors import describe

Array: TypeAlias = NDArray[Any]

DIFFERENCE_STEP = 1e-3
SHOWN = 4


def require(condition: bool, problem: str, expected: object = "", got: object = "") -> None:
    if not condition:
        raise AssertionError(describe(problem, expected=str(expected), got=str(got)))


def close(got: Array, expected: Array, tolerance: float, problem: str, scale: float = 0.0) -> None:
    """Equal NaN, equal infinities, and finite elements within a tolerance relative to the largest of them."""
    got, expected = np.asarray(got), np.asarray(expected)
    require(got.shape == expected.shape, f"{problem}: wrong shape", expected.shape, got.shape)
    nan = np.isnan(expected)
    _require_nowhere(np.isnan(got) != nan, f"{problem}: NaN in other places", expected, got)
    finite = np.isfinite(expected)
    with np.errstate(invalid="ignore", over="ignore"):
        _require_nowhere(~finite & ~nan & (got != expected), f"{problem}: wrong infinities", expected, got)
        largest = max(float(np.max(np.abs(expected[finite]), initial=0.0)), scale)
        error = np.abs(got.astype(float) - expected.astype(float))
        wrong = finite & ~(error <= tolerance * largest)
    worst = float(np.max(error[wrong], initial=0.0))
    _require_nowhere(wrong, f"{problem}: error {worst:.3g} of {largest:.3g}", expected, got)


def _require_nowhere(wrong: Array, problem: str, expected: Array, got: Array) -> None:
    """Name the first elements for which a condition holds."""
    if not wrong.any():
        return
    listed = np.argwhere(wrong)[:SHOWN]
    where = ", ".join(str(tuple(map(int, index))) for index in listed)
    problem = f"{problem} ({int(wrong.sum())} of {wrong.size} elements, first at {where})"
    shown = [", ".join(str(array[tuple(index)]) for index in listed) for array in (expected, got)]
    raise AssertionError(describe(problem, expected=shown[0], got=shown[1]))


def inner(left: Sequence[Array], right: Sequence[Array]) -> tuple[float, float]:
    """The inner product, and the sum of the magnitudes of its terms."""
    terms = [np.asarray(a, float) * np.asarray(b, float) for a, b in zip(left, right, strict=True)]
    return sum(float(t.sum()) for t in terms), sum(float(np.abs(t).sum()) for t in terms)


def difference(
    function: Callable[[Sequence[Array]], Sequence[Array]], at: Sequence[Array], directions: Sequence[Array]
) -> list[Array]:
    """The directional derivative by central differences of fourth order."""
    h = DIFFERENCE_STEP

    def moved(steps: float) -> Sequence[Array]:
        return function([a + steps * h * d for a, d in zip(at, directions, strict=True)])

    two, one, minus_one, minus_two = moved(2.0), moved(1.0), moved(-1.0), moved(-2.0)
    return [
        np.asarray((8.0 * (b - c) - (a - d)) / (12.0 * h))
        for a, b, c, d in zip(two, one, minus_one, minus_two, strict=True)
    ]


def require_transposed(
    v: Sequence[Array], jt: Sequence[Array], jtv: Sequence[Array], t: Sequence[Array], tolerance: float
) -> None:
    (left, size), (right, other) = inner(v, jt), inner(jtv, t)
    problem = "reverse mode is not the transpose of forward mode: ⟨v, J t⟩ and ⟨Jᵀ v, t⟩ differ"
    require(abs(left - right) <= tolerance * max(size, other), problem, left, right)
