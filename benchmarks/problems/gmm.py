"""Gaussian mixture with triangular inverse factors and Wishart prior, the ADBench problem: value and gradient."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.problem import Array, Case, Problem


def data(generator: np.random.Generator, d: int, k: int, n: int) -> list[Array]:
    """Logarithms of weights, means, logarithms of diagonals, strict lower parts, points."""
    points, weights = generator.normal(size=(n, d)), generator.normal(size=k)
    means = generator.uniform(size=(k, d))
    return [weights, means, generator.normal(size=(k, d)), generator.normal(size=(k, d * (d - 1) // 2)), points]


def logsumexp(xp: Any, x: Any) -> Any:
    """log Σ exp over the last axis."""
    largest = xp.max(x, axis=-1, keepdims=True)
    return xp.log(xp.sum(xp.exp(x - largest), axis=-1)) + largest[..., 0]


def factors(xp: Any, q: Any, lower: Any) -> Any:
    """Q_k: diagonal exp(q_k), the strict lower part filled column by column from l_k."""
    extent = q.shape[1]
    d = xp.index(extent)
    rows, columns = xp.arange(extent)[:, None], xp.arange(extent)[None, :]
    place = xp.where(rows > columns, columns * d - columns * (columns + 1) // 2 + rows - columns - 1, 0)
    return xp.where(rows > columns, lower[:, place], xp.where(rows == columns, xp.exp(q)[:, :, None], 0.0))


def prior(xp: Any, q: Any, lower: Any) -> Any:
    """Logarithm of the Wishart prior of all components for γ = 1, m = 0."""
    d, k = xp.count(q.shape[1]), xp.count(q.shape[0])
    freedom = d + 1.0
    gammas = xp.sum(xp.lgamma(0.5 * (freedom - 1.0 * xp.arange(q.shape[1]))))
    constant = -0.5 * freedom * d * math.log(2) - (0.25 * d * (d - 1.0) * math.log(math.pi) + gammas)
    return k * constant - 0.5 * (xp.sum(xp.exp(q) ** 2) + xp.sum(lower**2))


def formula(xp: Any, alpha: Any, mu: Any, q: Any, lower: Any, x: Any) -> Any:
    """The logarithm of the posterior density."""
    n, d = xp.count(x.shape[0]), xp.count(x.shape[1])
    centred = x[:, None, :] - mu[None, :, :]
    scaled = xp.einsum("kij,nkj->nki", factors(xp, q, lower), centred)
    beta = alpha + xp.sum(q, axis=1) - 0.5 * xp.sum(scaled**2, axis=2)
    fit = xp.sum(logsumexp(xp, beta)) - n * logsumexp(xp, alpha) - 0.5 * n * d * math.log(2 * math.pi)
    return fit + prior(xp, q, lower)


def hand() -> Callable[..., list[Array]]:
    """Numba in blocks of points, or BLAS in many dimensions."""
    from benchmarks.hand import gmm

    return gmm.value_and_grad


PROBLEM = Problem(
    "gmm",
    "Gaussian mixture, value and gradient",
    {"alpha": ("k",), "mu": ("k", "d"), "q": ("k", "d"), "l": ("k", "d*(d-1)//2"), "x": ("n", "d")},
    ("alpha", "mu", "q", "l"),
    data,
    formula,
    tuple(Case({"d": d, "k": k, "n": 1000}) for d, k in ((2, 5), (10, 25), (20, 50), (64, 100))),
    Case({"d": 3, "k": 2, "n": 7}),
    hand=hand,
    peers=("jax", "torch"),
    notes="autograd fails: its `where` does not sum the cotangent over stretched axes.",
)
