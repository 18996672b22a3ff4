"""Deconvolution: blocks of the signal, one vector loop for each weight."""

from __future__ import annotations

import numpy as np

from benchmarks.hand.common import kernel
from benchmarks.problem import Array

BLOCK = 512


def value_and_grad(x: Array, w: Array, y: Array) -> list[Array]:
    """The value and its gradient by signal and kernel."""
    to_x, to_w = np.zeros_like(x), np.zeros_like(w)
    return [_convolution(x, w, y, np.empty(BLOCK), to_x, to_w), to_x, to_w]


@kernel
def _add(target, factor, values):  # type: ignore[no-untyped-def]
    for a in range(values.size):
        target[a] += factor * values[a]


@kernel
def _product(left, right):  # type: ignore[no-untyped-def]
    total = 0.0
    for a in range(left.size):
        total += left[a] * right[a]
    return total


@kernel
def _convolution(x, w, y, buffer, to_x, to_w):  # type: ignore[no-untyped-def]
    total = 0.0
    for start in range(0, y.size, BLOCK):
        count = min(BLOCK, y.size - start)
        residual, wanted = buffer[:count], y[start : start + count]
        for a in range(count):
            residual[a] = -wanted[a]
        for j in range(w.size):
            _add(residual, w[j], x[start + j : start + j + count])
        total += _product(residual, residual)
        for j in range(w.size):
            to_w[j] += _product(residual, x[start + j : start + j + count])
            _add(to_x[start + j : start + j + count], w[j], residual)
    return 0.5 * total
