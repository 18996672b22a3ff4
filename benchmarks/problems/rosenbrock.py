"""Rosenbrock's function: gradient, and Hessian times vector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.problem import Array, Case, Problem


def data(generator: np.random.Generator, n: int) -> list[Array]:
    """A point."""
    return [generator.uniform(-1, 1, n)]


def data_with_vector(generator: np.random.Generator, n: int) -> list[Array]:
    """A point and a direction."""
    return [generator.uniform(-1, 1, n), generator.normal(size=n)]


def formula(xp: Any, x: Any) -> Any:
    """Σ 100 (x_{i+1} − x_i²)² + (1 − x_i)²."""
    return xp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def casadi_formula(ca: Any, x: Any) -> Any:
    """The same on a column."""
    return ca.sumsqr(10.0 * (x[1:] - x[:-1] ** 2)) + ca.sumsqr(1.0 - x[:-1])


def hand_gradient() -> Callable[..., list[Array]]:
    """One loop."""
    from benchmarks.hand import rosenbrock

    return rosenbrock.gradient


def hand_product() -> Callable[..., list[Array]]:
    """The tridiagonal Hessian, never formed."""
    from benchmarks.hand import rosenbrock

    return rosenbrock.hessian_product


GRADIENT = Problem(
    "rosenbrock",
    "Rosenbrock's function, gradient",
    {"x": ("n",)},
    ("x",),
    data,
    formula,
    (Case({"n": 1000}), Case({"n": 1_000_000})),
    Case({"n": 7}),
    derivative="grad",
    hand=hand_gradient,
    formulas={"casadi": casadi_formula},
    peers=("jax", "torch", "casadi", "pytensor", "rsdag", "autograd"),
    limits={"casadi": 10_000, "rsdag": 10_000},
)
PRODUCT = Problem(
    "rosenbrock_hvp",
    "Rosenbrock's function, Hessian times vector",
    {"x": ("n",)},
    ("x",),
    data_with_vector,
    formula,
    (Case({"n": 1000}),),
    Case({"n": 7}),
    derivative="hvp",
    hand=hand_product,
    formulas={"casadi": casadi_formula},
    peers=("jax", "torch", "casadi", "pytensor", "autograd"),
)
