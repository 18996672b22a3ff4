"""Least-squares deconvolution, the convolution written as a gather: value and gradient by signal and kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.problem import Array, Case, Problem


def data(generator: np.random.Generator, n: int, k: int) -> list[Array]:
    """Signal, kernel, and what the convolution should give."""
    return [generator.normal(size=n), generator.normal(size=k), generator.normal(size=n - k + 1)]


def formula(xp: Any, x: Any, w: Any, y: Any) -> Any:
    """½ Σ_i (Σ_j w_j x_{i+j} − y_i)²."""
    places = xp.arange(y.shape[0])[:, None] + xp.arange(w.shape[0])[None, :]
    return 0.5 * xp.sum((x[places] @ w - y) ** 2)


def jax_formula(jnp: Any, x: Any, w: Any, y: Any) -> Any:
    """Through `correlate`, as users of JAX write it."""
    return 0.5 * jnp.sum((jnp.correlate(x, w, mode="valid") - y) ** 2)


def hand() -> Callable[..., list[Array]]:
    """Shifted vector loops, no gather."""
    from benchmarks.hand import convolution

    return convolution.value_and_grad


PROBLEM = Problem(
    "convolution",
    "convolution by gather, value and gradient",
    {"x": ("n",), "w": ("k",), "y": ("n-k+1",)},
    ("x", "w"),
    data,
    formula,
    (Case({"n": 1000, "k": 16}), Case({"n": 100_000, "k": 32})),
    Case({"n": 7, "k": 3}),
    hand=hand,
    formulas={"jax": jax_formula},
    notes="JAX convolves directly (`correlate`), which is faster there than the gather.",
)
