"""A network of two layers: matrix products through BLAS into arrays at hand, loops between them."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from benchmarks.hand.common import elementary, kernel
from benchmarks.problem import Array


def value_and_grad(x: Array, y: Array, w1: Array, b1: Array, w2: Array, b2: Array) -> list[Array]:
    """The loss and its gradient by w1, b1, w2 and b2."""
    gradients = [np.empty_like(w1), np.zeros_like(b1), np.empty_like(w2), np.zeros_like(b2)]
    network = _network("tanh_f32" if x.dtype == np.float32 else "tanh")
    return [network(x, y, w1, b1, w2, b2, *gradients), *gradients]


@cache
def _network(activation: str) -> Any:
    tanh = elementary(activation)

    @kernel
    def network(x, y, w1, b1, w2, b2, to_w1, to_b1, to_w2, to_b2):  # type: ignore[no-untyped-def]
        hidden = np.dot(x, w1)
        for i in range(hidden.shape[0]):
            for j in range(hidden.shape[1]):
                hidden[i, j] = tanh(hidden[i, j] + b1[j])
        residual = np.dot(hidden, w2)
        scale = residual.dtype.type(2.0 / residual.size)
        total = 0.0
        for i in range(residual.shape[0]):
            for j in range(residual.shape[1]):
                error = residual[i, j] + b2[j] - y[i, j]
                total += error * error
                residual[i, j] = scale * error
                to_b2[j] += scale * error
        np.dot(hidden.T, residual, to_w2)
        back = np.dot(residual, w2.T)
        for i in range(back.shape[0]):
            for j in range(back.shape[1]):
                back[i, j] -= back[i, j] * hidden[i, j] * hidden[i, j]
                to_b1[j] += back[i, j]
        np.dot(x.T, back, to_w1)
        return total / residual.size

    return network
