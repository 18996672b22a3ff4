"""Stress of multidimensional scaling in three coordinates: value and gradient by the positions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.problem import Array, Case, Problem


def data(generator: np.random.Generator, n: int) -> list[Array]:
    """Positions, and the squared distances of other positions."""
    other = generator.normal(size=(n, 3))
    return [generator.normal(size=(n, 3)), ((other[:, None] - other[None]) ** 2).sum(axis=-1)]


def formula(xp: Any, positions: Any, squares: Any) -> Any:
    """Σ_ij (‖W_i − W_j‖² − D_ij)²."""
    difference = positions[:, None, :] - positions[None, :, :]
    return xp.sum((xp.sum(difference**2, axis=-1) - squares) ** 2)


def hand() -> Callable[..., list[Array]]:
    """One nest, structure of arrays inside."""
    from benchmarks.hand import stress

    return stress.value_and_grad


PROBLEM = Problem(
    "stress",
    "stress of multidimensional scaling, value and gradient",
    {"W": ("n", 3), "D": ("n", "n")},
    ("W",),
    data,
    formula,
    (Case({"n": 1000}), Case({"n": 1000}, "float32"), Case({"n": 100})),
    Case({"n": 5}),
    hand=hand,
)
