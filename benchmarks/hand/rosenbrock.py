"""Rosenbrock's function: gradient and Hessian product, one loop each that every element leaves once."""

from __future__ import annotations

import numpy as np

from benchmarks.hand.common import kernel
from benchmarks.problem import Array


def gradient(x: Array) -> list[Array]:
    """The gradient (n,)."""
    result = np.empty_like(x)
    _gradient(x, result)
    return [result]


def hessian_product(x: Array, vector: Array) -> list[Array]:
    """The Hessian times a vector (n,)."""
    result = np.empty_like(x)
    _product(x, vector, result)
    return [result]


@kernel
def _gradient(x, out):  # type: ignore[no-untyped-def]
    n = x.size
    out[0] = -400.0 * x[0] * (x[1] - x[0] * x[0]) - 2.0 * (1.0 - x[0])
    for i in range(1, n - 1):
        before, after = x[i] - x[i - 1] * x[i - 1], x[i + 1] - x[i] * x[i]
        out[i] = 200.0 * before - 400.0 * x[i] * after - 2.0 * (1.0 - x[i])
    out[n - 1] = 200.0 * (x[n - 1] - x[n - 2] * x[n - 2])


@kernel
def _product(x, v, out):  # type: ignore[no-untyped-def]
    n = x.size
    out[0] = (1200.0 * x[0] * x[0] - 400.0 * x[1] + 2.0) * v[0] - 400.0 * x[0] * v[1]
    for i in range(1, n - 1):
        diagonal = 1200.0 * x[i] * x[i] - 400.0 * x[i + 1] + 202.0
        out[i] = diagonal * v[i] - 400.0 * (x[i] * v[i + 1] + x[i - 1] * v[i - 1])
    out[n - 1] = 200.0 * v[n - 1] - 400.0 * x[n - 2] * v[n - 2]
