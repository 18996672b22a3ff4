"""Log-sum-exp, composed of max, exp, sum and log: value and gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.problem import Array, Case, Problem


def data(generator: np.random.Generator, n: int) -> list[Array]:
    """A normal vector."""
    return [generator.normal(size=n)]


def formula(xp: Any, x: Any) -> Any:
    """a + log Σ exp(x − a) with a = max x."""
    largest = xp.max(x)
    return largest + xp.log(xp.sum(xp.exp(x - largest)))


def casadi_formula(ca: Any, x: Any) -> Any:
    """The same on a column."""
    largest = ca.mmax(x)
    return largest + ca.log(ca.sum1(ca.exp(x - largest)))


def hand() -> Callable[..., list[Array]]:
    """Three loops."""
    from benchmarks.hand import lse

    return lse.value_and_grad


PROBLEM = Problem(
    "lse",
    "log-sum-exp, value and gradient",
    {"x": ("n",)},
    ("x",),
    data,
    formula,
    (Case({"n": 2500}), Case({"n": 1_280_000}), Case({"n": 1_280_000}, "float32")),
    Case({"n": 6}),
    hand=hand,
    formulas={"casadi": casadi_formula},
    peers=("jax", "torch", "pytensor", "autograd"),
)
