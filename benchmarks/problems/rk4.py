"""Lotka-Volterra integrated by the classic Runge-Kutta method: gradient by the parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.problem import Array, Case, Problem

STEP = 0.01


def data(generator: np.random.Generator, n: int) -> list[Array]:
    """Parameters and step sizes."""
    return [np.array([1.5, 1.0, 3.0, 1.0]), np.full(n, STEP)]


def formula(xp: Any, p: Any, h: Any) -> Any:
    """The sum of prey and predators at the end."""

    def rate(prey: Any, predators: Any) -> Any:
        met = prey * predators
        return p[0] * prey - p[1] * met, p[3] * met - p[2] * predators

    def step(state: Any, h: Any) -> Any:
        x, y = state
        x1, y1 = rate(x, y)
        x2, y2 = rate(x + 0.5 * h * x1, y + 0.5 * h * y1)
        x3, y3 = rate(x + 0.5 * h * x2, y + 0.5 * h * y2)
        x4, y4 = rate(x + h * x3, y + h * y3)
        return (x + h / 6.0 * (x1 + 2.0 * (x2 + x3) + x4), y + h / 6.0 * (y1 + 2.0 * (y2 + y3) + y4)), None

    one = xp.ones_like(p[0])
    (x, y), _ = xp.scan(step, (one, one), h)
    return x + y


def casadi_formula(ca: Any, p: Any, h: Any) -> Any:
    """The step as a function, mapped and accumulated."""
    state, size, rates = ca.SX.sym("state", 2), ca.SX.sym("size"), ca.SX.sym("rates", 4)

    def rate(s: Any) -> Any:
        met = s[0] * s[1]
        return ca.vertcat(rates[0] * s[0] - rates[1] * met, rates[3] * met - rates[2] * s[1])

    k1 = rate(state)
    k2 = rate(state + 0.5 * size * k1)
    k3 = rate(state + 0.5 * size * k2)
    k4 = rate(state + size * k3)
    last = state + size / 6.0 * (k1 + 2.0 * (k2 + k3) + k4)
    steps = ca.Function("step", [state, size, rates], [last]).mapaccum(h.numel())
    return ca.sum1(steps(ca.DM([1.0, 1.0]), h.T, ca.repmat(p, 1, h.numel()))[:, -1])


def hand() -> Callable[..., list[Array]]:
    """Two loops over registers."""
    from benchmarks.hand import rk4

    return lambda p, h: rk4.value_and_grad(p, h)[1:]


PROBLEM = Problem(
    "rk4",
    "Lotka-Volterra by RK4, gradient",
    {"p": (4,), "h": ("n",)},
    ("p",),
    data,
    formula,
    (Case({"n": 1000}),),
    Case({"n": 7}),
    derivative="grad",
    hand=hand,
    formulas={"casadi": casadi_formula},
    peers=("jax", "torch", "casadi", "rsdag", "autograd"),
    notes="rsdag, PyTorch and autograd run the steps of a Python loop.",
)
