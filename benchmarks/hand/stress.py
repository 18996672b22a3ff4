"""Stress in three coordinates: value and gradient in one nest, structure of arrays inside."""

from __future__ import annotations

import numpy as np

from benchmarks.hand.common import kernel
from benchmarks.problem import Array


def value_and_grad(positions: Array, squares: Array) -> list[Array]:
    """The stress and its gradient (n, 3)."""
    gradient, columns = np.empty_like(positions), positions.T.copy()
    return [_stress(positions, squares, columns, np.zeros_like(columns), gradient), gradient]


@kernel
def _stress(positions, squares, columns, rows, gradient):  # type: ignore[no-untyped-def]
    n = positions.shape[0]
    zero = positions.dtype.type(0)
    two = positions.dtype.type(2)
    total = zero
    for i in range(n):
        a, b, c = positions[i, 0], positions[i, 1], positions[i, 2]
        own_a = own_b = own_c = zero
        for j in range(n):
            x, y, z = a - columns[0, j], b - columns[1, j], c - columns[2, j]
            residual = x * x + y * y + z * z - squares[i, j]
            total += residual * residual
            slope = two * two * residual
            own_a += slope * x
            own_b += slope * y
            own_c += slope * z
            rows[0, j] -= slope * x
            rows[1, j] -= slope * y
            rows[2, j] -= slope * z
        rows[0, i] += own_a
        rows[1, i] += own_b
        rows[2, i] += own_c
    for i in range(n):
        gradient[i, 0], gradient[i, 1], gradient[i, 2] = rows[0, i], rows[1, i], rows[2, i]
    return total
