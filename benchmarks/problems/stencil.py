"""Squared residuals of difference equations on a line and on a grid: value and gradient by the grid values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.problem import Array, Case, Problem


def line_data(generator: np.random.Generator, n: int) -> list[Array]:
    """Values on a line."""
    return [generator.normal(size=n)]


def line(xp: Any, u: Any) -> Any:
    """½ Σ (u_{i−1} − 2u_i + u_{i+1} + 0.01 exp u_i)²: Bratu's equation in three points."""
    residual = u[:-2] - 2.0 * u[1:-1] + u[2:] + 0.01 * xp.exp(u[1:-1])
    return 0.5 * xp.sum(residual**2)


def grid_data(generator: np.random.Generator, n: int, m: int) -> list[Array]:
    """Values on a grid, and a right-hand side."""
    return [generator.normal(size=(n, m)), generator.normal(size=(n - 2, m - 2))]


def grid(xp: Any, u: Any, f: Any) -> Any:
    """½ Σ (Δu − u³ − f)², Δ in five points."""
    centre = u[1:-1, 1:-1]
    laplacian = u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:] - 4.0 * centre
    return 0.5 * xp.sum((laplacian - centre**3 - f) ** 2)


def hand_line() -> Callable[..., list[Array]]:
    """A pass for residuals, a pass for the gradient."""
    from benchmarks.hand import stencil

    return stencil.line


def hand_grid() -> Callable[..., list[Array]]:
    """Residuals row by row, the gradient one row behind."""
    from benchmarks.hand import stencil

    return stencil.grid


LINE = Problem(
    "stencil_line",
    "three-point stencil, value and gradient",
    {"u": ("n",)},
    ("u",),
    line_data,
    line,
    (Case({"n": 1000}), Case({"n": 1_000_000})),
    Case({"n": 6}),
    hand=hand_line,
)
GRID = Problem(
    "stencil_grid",
    "five-point stencil, value and gradient",
    {"u": ("n", "m"), "f": ("n-2", "m-2")},
    ("u",),
    grid_data,
    grid,
    (Case({"n": 100, "m": 100}), Case({"n": 1000, "m": 1000})),
    Case({"n": 4, "m": 5}),
    hand=hand_grid,
)
