"""Least-squares polynomial: blocks of points, whose powers are carried from coefficient to coefficient."""

from __future__ import annotations

import numpy as np

from benchmarks.hand.common import kernel
from benchmarks.problem import Array

BLOCK = 256


def value_and_grad(x: Array, t: Array, s: Array) -> list[Array]:
    """The value and its gradient (m,)."""
    gradient = np.zeros_like(x)
    return [_polynomial(x, t, s, np.empty(BLOCK), np.empty(BLOCK), gradient), gradient]


@kernel
def _polynomial(x, t, s, power, residual, gradient):  # type: ignore[no-untyped-def]
    total = 0.0
    for start in range(0, t.size, BLOCK):
        points = t[start : start + BLOCK]
        count = points.size
        for i in range(count):
            power[i] = 1.0
            residual[i] = s[start + i]
        for j in range(x.size):
            coefficient = x[j]
            for i in range(count):
                residual[i] -= coefficient * power[i]
                power[i] *= points[i]
        for i in range(count):
            total += residual[i] * residual[i]
        for j in range(x.size):
            slope = 0.0
            for i in range(count):
                slope -= residual[i]
                residual[i] *= points[i]
            gradient[j] += slope
    return 0.5 * total
