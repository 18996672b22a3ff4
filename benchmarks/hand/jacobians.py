"""Dense Jacobians: two scaled factors of rank three and their product; three diagonals."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.hand.common import elementary, kernel
from benchmarks.problem import Array

sin, cos = elementary("sin"), elementary("cos")


def bottleneck(x: Array, inner: Array, outer: Array) -> list[Array]:
    """diag(f'(y)) B diag(1 − h²) A diag(cos x), (n, n)."""
    result = np.empty((x.size, x.size))
    _bottleneck(x, inner, outer, np.empty_like(inner), result)
    return [result]


def banded(x: Array) -> list[Array]:
    """The dense Jacobian (n, n)."""
    result = np.zeros((x.size, x.size))
    _banded(x, result)
    return [result]


@kernel
def _banded(x, jacobian):  # type: ignore[no-untyped-def]
    before = 0.0
    for i in range(x.size):
        wave = math.cos(x[i] * before)
        jacobian[i, i] = 3.0 - 4.0 * x[i] + wave * before
        if i > 0:
            jacobian[i, i - 1] = wave * x[i] - 1.0
        if i + 1 < x.size:
            jacobian[i, i + 1] = -2.0
        before = x[i]


@kernel
def _bottleneck(x, inner, outer, scaled, jacobian):  # type: ignore[no-untyped-def]
    hidden = np.zeros(3)
    for a in range(3):
        for i in range(x.size):
            hidden[a] += inner[a, i] * sin(x[i])
        hidden[a] = math.tanh(hidden[a])
    for a in range(3):
        steep = 1.0 - hidden[a] * hidden[a]
        for i in range(x.size):
            scaled[a, i] = steep * inner[a, i] * cos(x[i])
    first, second, third = scaled[0], scaled[1], scaled[2]
    for i in range(x.size):
        y = outer[i, 0] * hidden[0] + outer[i, 1] * hidden[1] + outer[i, 2] * hidden[2]
        slope = math.exp(-y * y) * (math.cos(y) - 2.0 * y * math.sin(y))
        a, b, c = slope * outer[i, 0], slope * outer[i, 1], slope * outer[i, 2]
        row = jacobian[i]
        for j in range(x.size):
            row[j] = a * first[j] + b * second[j] + c * third[j]
