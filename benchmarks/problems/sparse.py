"""Sparse Jacobians of systems on lines and grids: a band, an arrowhead, the Brusselator."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.problem import Array, Case, Problem
from benchmarks.problems.jacobians import banded, banded_data, casadi_banded

DIFFUSION = 10.0


def arrowhead(xp: Any, x: Any) -> Any:
    """Σ x sin x, then x₀ x + x²: a dense first row and column and the diagonal."""
    return xp.concatenate([xp.reshape(xp.sum(xp.sin(x) * x), (1,)), x[:1] * x[1:] + x[1:] ** 2])


def casadi_arrowhead(ca: Any, x: Any) -> Any:
    """The same on a column."""
    return ca.vertcat(ca.sum1(ca.sin(x) * x), x[0] * x[1:] + x[1:] ** 2)


def brusselator_data(generator: np.random.Generator, n: int) -> list[Array]:
    """Both species on a periodic grid."""
    return [generator.uniform(1.0, 2.0, size=(2, n, n))]


def brusselator(xp: Any, u: Any) -> Any:
    """1 + u² v − 4.4 u + a Δu and 3.4 u − u² v + a Δv, five points, periodic."""
    a, b = u[0], u[1]
    scale = DIFFUSION

    def laplacian(z: Any) -> Any:
        return xp.roll(z, 1, 0) + xp.roll(z, -1, 0) + xp.roll(z, 1, 1) + xp.roll(z, -1, 1) - 4.0 * z

    reaction = b * a**2
    return xp.stack([
        1.0 + reaction - 4.4 * a + scale * laplacian(a), 3.4 * a - reaction + scale * laplacian(b),
    ])  # fmt: skip


BANDED = Problem(
    "banded_sparse",
    "sparse Jacobian with three diagonals",
    {"x": ("n",)},
    ("x",),
    banded_data,
    banded,
    (Case({"n": 10_000}),),
    Case({"n": 6}),
    derivative="sparse_jacobian",
    formulas={"casadi": casadi_banded},
    peers=("jax", "casadi", "rsdag"),
)
ARROWHEAD = Problem(
    "arrowhead",
    "sparse Jacobian with a dense first row and column",
    {"x": ("n",)},
    ("x",),
    banded_data,
    arrowhead,
    (Case({"n": 1000}), Case({"n": 10_000})),
    Case({"n": 6}),
    derivative="sparse_jacobian",
    formulas={"casadi": casadi_arrowhead},
    peers=("jax", "casadi"),
    limits={"casadi": 1000, "jax": 1000},
    notes="CasADi takes two minutes to prepare n=10,000, and asdex needs a sweep for each of n colours.",
)
BRUSSELATOR = Problem(
    "brusselator",
    "sparse Jacobian of the Brusselator, two species on a periodic grid",
    {"u": (2, "n", "n")},
    ("u",),
    brusselator_data,
    brusselator,
    (Case({"n": 32}), Case({"n": 128})),
    Case({"n": 4}),
    derivative="sparse_jacobian",
    peers=("jax",),
)
