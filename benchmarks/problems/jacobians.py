"""Dense Jacobians: of a map with a bottleneck of three numbers, and of a system with a narrow band."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.problem import Array, Case, Problem


def bottleneck_data(generator: np.random.Generator, n: int) -> list[Array]:
    """Both matrices and a point."""
    inner, outer = generator.normal(size=(3, n)) / 10, generator.normal(size=(n, 3))
    return [generator.normal(size=n), inner, outer]


def bottleneck(xp: Any, x: Any, inner: Any, outer: Any) -> Any:
    """sin y · exp(−y²) of y = B tanh(A sin x)."""
    y = outer @ xp.tanh(inner @ xp.sin(x))
    return xp.sin(y) * xp.exp(-(y**2))


def casadi_bottleneck(ca: Any, x: Any, inner: Any, outer: Any) -> Any:
    """The same on columns."""
    y = outer @ ca.tanh(inner @ ca.sin(x))
    return ca.sin(y) * ca.exp(-(y**2))


def banded_data(generator: np.random.Generator, n: int) -> list[Array]:
    """A point."""
    return [generator.normal(size=n)]


def banded(xp: Any, x: Any) -> Any:
    """(3 − 2x) x − x₋ − 2 x₊ + sin(x x₋), the neighbours with 0 outside."""
    before = xp.concatenate([xp.zeros(1), x[:-1]])
    after = xp.concatenate([x[1:], xp.zeros(1)])
    return (3.0 - 2.0 * x) * x - before - 2.0 * after + xp.sin(x * before)


def casadi_banded(ca: Any, x: Any) -> Any:
    """The same on a column."""
    before, after = ca.vertcat(0, x[:-1]), ca.vertcat(x[1:], 0)
    return (3 - 2 * x) * x - before - 2 * after + ca.sin(x * before)


def hand_bottleneck() -> Callable[..., list[Array]]:
    """Two scaled factors and one product."""
    from benchmarks.hand import jacobians

    return jacobians.bottleneck


def hand_banded() -> Callable[..., list[Array]]:
    """Three diagonals written into zeros."""
    from benchmarks.hand import jacobians

    return jacobians.banded


BOTTLENECK = Problem(
    "bottleneck",
    "Jacobian of R^n -> R^3 -> R^n",
    {"x": ("n",), "A": (3, "n"), "B": ("n", 3)},
    ("x",),
    bottleneck_data,
    bottleneck,
    (Case({"n": 100}), Case({"n": 1000})),
    Case({"n": 5}),
    derivative="jacobian",
    hand=hand_bottleneck,
    formulas={"casadi": casadi_bottleneck},
    peers=("jax", "torch", "casadi", "rsdag", "autograd"),
    limits={"casadi": 100, "rsdag": 100},
)
BANDED = Problem(
    "banded",
    "dense Jacobian with three diagonals",
    {"x": ("n",)},
    ("x",),
    banded_data,
    banded,
    (Case({"n": 200}),),
    Case({"n": 5}),
    derivative="jacobian",
    hand=hand_banded,
    formulas={"casadi": casadi_banded},
    peers=("jax", "torch", "casadi", "rsdag", "autograd"),
)
