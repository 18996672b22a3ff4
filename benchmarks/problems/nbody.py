"""Softened gravitational potential of n bodies: value and gradient by the positions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.problem import Array, Case, Problem

SOFTENING = 1e-2


def data(generator: np.random.Generator, n: int) -> list[Array]:
    """Positions and masses."""
    return [generator.normal(size=(n, 3)), generator.uniform(0.5, 1.5, n)]


def formula(xp: Any, positions: Any, masses: Any) -> Any:
    """−½ Σ_ij m_i m_j / √(‖x_i − x_j‖² + ε²); the terms i = j are a constant."""
    difference = positions[:, None, :] - positions[None, :, :]
    distance = xp.sqrt(xp.sum(difference**2, axis=-1) + SOFTENING**2)
    return -0.5 * xp.sum(masses[:, None] * masses[None, :] / distance)


def hand() -> Callable[..., list[Array]]:
    """Every force once for both bodies' rows, structure of arrays inside."""
    from benchmarks.hand import nbody

    return nbody.value_and_grad


PROBLEM = Problem(
    "nbody",
    "potential of n bodies, value and gradient",
    {"x": ("n", 3), "m": ("n",)},
    ("x",),
    data,
    formula,
    (Case({"n": 300}), Case({"n": 3000})),
    Case({"n": 4}),
    hand=hand,
)
