"""A cascade of n linear equations integrated by the classic Runge-Kutta method: gradient of its last component."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.problem import Array, Case, Problem


def data(generator: np.random.Generator, n: int, s: int) -> list[Array]:
    """Rates, and step sizes up to time 2."""
    return [generator.uniform(1, 2, n), np.full(s, 2.0 / s)]


def formula(xp: Any, x: Any, h: Any) -> Any:
    """y₀' = x₀, yᵢ' = xᵢ yᵢ₋₁ from y = 0: the last component at the end."""

    def rate(y: Any) -> Any:
        return xp.concatenate([x[:1], x[1:] * y[:-1]])

    def step(y: Any, h: Any) -> Any:
        k1 = rate(y)
        k2 = rate(y + 0.5 * h * k1)
        k3 = rate(y + 0.5 * h * k2)
        k4 = rate(y + h * k3)
        return y + h / 6.0 * (k1 + 2.0 * (k2 + k3) + k4), None

    last, _ = xp.scan(step, xp.zeros_like(x), h)
    return last[-1]


def hand() -> Callable[..., list[Array]]:
    """A loop for each stage."""
    from benchmarks.hand import ode

    return ode.value_and_grad


PROBLEM = Problem(
    "ode",
    "Cascade of linear equations by RK4, value and gradient",
    {"x": ("n",), "h": ("s",)},
    ("x",),
    data,
    formula,
    (Case({"n": 30, "s": 100}), Case({"n": 1000, "s": 100}), Case({"n": 100_000, "s": 100})),
    Case({"n": 5, "s": 4}),
    hand=hand,
    peers=("jax", "torch", "autograd"),
    limits={"autograd": 1000},
    hints={"n": 1000, "s": 100},
    notes="Unless 4 s >= n the gradient is zero: results are compared at n=30. PyTorch and autograd run Python loops.",
)
