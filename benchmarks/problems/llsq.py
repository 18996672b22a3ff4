"""Least-squares fit of a polynomial to a sign function: value and gradient by the coefficients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.problem import Array, Case, Problem


def data(generator: np.random.Generator, n: int, m: int) -> list[Array]:
    """Coefficients, points t_i = −1 + 2i/(n−1), and their signs."""
    points = -1.0 + 2.0 * np.arange(n) / (n - 1)
    return [generator.normal(size=m), points, np.sign(points)]


def formula(xp: Any, x: Any, t: Any, s: Any) -> Any:
    """½ Σ_i (s_i − Σ_j x_j t_i^j)², the powers as running products along j."""
    first = xp.ones_like(t)[:, None]
    others = xp.broadcast_to(t[:, None], (t.shape[0], x.shape[0] - 1))
    powers = xp.cumprod(xp.concatenate([first, others], axis=1), axis=1)
    return 0.5 * xp.sum((s - powers @ x) ** 2)


def vander_formula(jnp: Any, x: Any, t: Any, s: Any) -> Any:
    """The powers through `vander`, the fastest way in JAX."""
    return 0.5 * jnp.sum((s - jnp.vander(t, x.shape[0], increasing=True) @ x) ** 2)


def hand() -> Callable[..., list[Array]]:
    """Points in blocks, powers kept in a block."""
    from benchmarks.hand import llsq

    return llsq.value_and_grad


PROBLEM = Problem(
    "llsq",
    "least-squares polynomial, value and gradient",
    {"x": ("m",), "t": ("n",), "s": ("n",)},
    ("x",),
    data,
    formula,
    (Case({"n": 16, "m": 128}), Case({"n": 16392, "m": 128})),
    Case({"n": 9, "m": 4}),
    hand=hand,
    formulas={"jax": vander_formula},
    notes="The points are an argument; the powers are made in every call.",
)
