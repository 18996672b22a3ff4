"""A function of two numbers: what a call costs. Gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.problem import Array, Case, Problem


def data(generator: np.random.Generator) -> list[Array]:
    """Two numbers."""
    return [generator.normal(size=2)]


def formula(xp: Any, x: Any) -> Any:
    """x₀² x₁ + sin x₁."""
    return x[0] ** 2 * x[1] + xp.sin(x[1])


def casadi_formula(ca: Any, x: Any) -> Any:
    """The same on a column."""
    return x[0] ** 2 * x[1] + ca.sin(x[1])


def hand() -> Callable[..., list[Array]]:
    """Two assignments."""
    from benchmarks.hand import tiny

    return tiny.gradient


PROBLEM = Problem(
    "tiny",
    "x0^2 x1 + sin x1, gradient",
    {"x": (2,)},
    ("x",),
    data,
    formula,
    (Case({}),),
    Case({}),
    derivative="grad",
    hand=hand,
    formulas={"casadi": casadi_formula},
    peers=("jax", "torch", "casadi", "pytensor", "rsdag", "autograd"),
)
