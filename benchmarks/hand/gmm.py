"""Gaussian mixture: few dimensions with Numba in blocks of points, many with one matrix product a component."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from benchmarks.hand import gmm_blocks
from benchmarks.problem import Array

MANY = 32  # dimensions from which the matrix products win


def value_and_grad(alpha: Array, mu: Array, q: Array, lower: Array, x: Array) -> list[Array]:
    """The value and its gradient by alpha, mu, q and l (γ = 1, m = 0)."""
    fit, gradients = (_products if mu.shape[1] >= MANY else _blocks)(alpha, mu, q, lower, x)
    n, (k, d) = len(x), mu.shape
    diagonal, largest = np.exp(q), alpha.max()
    exponentials = np.exp(alpha - largest)
    total = exponentials.sum()
    gradients[0] -= n * exponentials / total
    gradients[2] -= diagonal**2
    gradients[3] -= lower
    norms = 0.5 * ((diagonal**2).sum() + (lower**2).sum())
    rest = k * _constant(d) - norms - n * (largest + math.log(total)) - 0.5 * n * d * math.log(2 * math.pi)
    return [np.asarray(fit + rest), *gradients]


@cache
def _constant(d: int) -> float:
    gammas = sum(math.lgamma(0.5 * (d + 1 - j)) for j in range(d))
    return -0.5 * (d + 1) * d * math.log(2) - 0.25 * d * (d - 1) * math.log(math.pi) - gammas


@cache
def _triangle(d: int) -> tuple[Any, Any]:
    """Rows and columns of the strict lower part, column by column."""
    columns, rows = np.triu_indices(d, 1)
    return rows, columns


def _blocks(alpha: Array, mu: Array, q: Array, lower: Array, x: Array) -> tuple[float, list[Array]]:
    gradients = [np.zeros_like(a) for a in (alpha, mu, q, lower)]
    fit = gmm_blocks.accumulate(alpha + q.sum(axis=1), mu, np.exp(q), lower, np.ascontiguousarray(x.T), *gradients)
    return fit, gradients


def _products(alpha: Array, mu: Array, q: Array, lower: Array, x: Array) -> tuple[float, list[Array]]:
    (k, d), n = mu.shape, len(x)
    rows, columns = _triangle(d)
    diagonal, steps = np.exp(q), np.arange(d)
    beta, kept = np.empty((k, n)), []
    for i in range(k):
        factor = np.zeros((d, d))
        factor[rows, columns], factor[steps, steps] = lower[i], diagonal[i]
        centred = x - mu[i]
        scaled = centred @ factor.T
        beta[i] = alpha[i] + q[i].sum() - 0.5 * np.einsum("ij,ij->i", scaled, scaled)
        kept.append((factor, centred, scaled))
    largest = beta.max(axis=0)
    weights = np.exp(beta - largest)
    total = weights.sum(axis=0)
    weights /= total
    gradients = [weights.sum(axis=1), np.empty_like(mu), np.empty_like(q), np.empty_like(lower)]
    for i, (factor, centred, scaled) in enumerate(kept):
        scaled *= -weights[i][:, None]
        outer = scaled.T @ centred
        gradients[1][i] = -(scaled.sum(axis=0) @ factor)
        gradients[2][i] = gradients[0][i] + outer[steps, steps] * diagonal[i]
        gradients[3][i] = outer[rows, columns]
    return float((np.log(total) + largest).sum()), gradients
