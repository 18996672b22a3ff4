"""Difference equations: residuals once, gradients gathered from them."""

from __future__ import annotations

import numpy as np

from benchmarks.hand.common import elementary, kernel
from benchmarks.problem import Array

exp = elementary("exp")
BLOCK = 1024


def line(u: Array) -> list[Array]:
    """The value and its gradient (n,) on a line."""
    gradient = np.empty_like(u)
    return [_line(u, np.zeros(BLOCK + 2), np.zeros(BLOCK + 2), gradient), gradient]


def grid(u: Array, f: Array) -> list[Array]:
    """The value and its gradient (n, m) on a grid."""
    gradient = np.empty_like(u)
    return [_grid(u, f, np.zeros((3, u.shape[1])), gradient), gradient]


@kernel
def _residuals(u, residual, slope):  # type: ignore[no-untyped-def]
    """Residuals of the inner points of a stretch, and their derivatives by their own point."""
    for i in range(u.size - 2):
        growth = 0.01 * exp(u[i + 1])
        residual[i] = u[i] - 2.0 * u[i + 1] + u[i + 2] + growth
        slope[i] = growth - 2.0


@kernel
def _line(u, residual, slope, gradient):  # type: ignore[no-untyped-def]
    """Blocks of the line; residuals of two neighbours are computed anew at the edge of each."""
    n = u.size
    total = 0.0
    for start in range(0, n, BLOCK):
        count = min(BLOCK, n - start)
        low, high = max(start - 1, 1), min(start + count + 1, n - 1)
        first, inner = low - start + 1, high - low
        residual[:first] = slope[:first] = 0.0
        residual[first + inner :] = slope[first + inner :] = 0.0
        _residuals(u[low - 1 : high + 1], residual[first : first + inner], slope[first : first + inner])
        block = gradient[start : start + count]
        for i in range(count):
            own = residual[i + 1]
            total += own * own
            block[i] = residual[i] + slope[i + 1] * own + residual[i + 2]
    return 0.5 * total


@kernel
def _grid(u, f, residual, gradient):  # type: ignore[no-untyped-def]
    """Rows of residuals in a ring of three; the gradient follows one row behind."""
    n, m = u.shape
    total = 0.0
    for i in range(n + 1):
        row = residual[i % 3]
        if 0 < i < n - 1:
            for j in range(1, m - 1):
                laplacian = u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1] - 4.0 * u[i, j]
                row[j] = laplacian - u[i, j] * u[i, j] * u[i, j] - f[i - 1, j - 1]
                total += row[j] * row[j]
        else:
            row[:] = 0.0
        if i > 0:
            before, own = residual[(i + 1) % 3], residual[(i + 2) % 3]
            last = m - 1
            gradient[i - 1, 0], gradient[i - 1, last] = own[1], own[last - 1]
            for j in range(1, last):
                curvature = -4.0 - 3.0 * u[i - 1, j] * u[i - 1, j]
                gradient[i - 1, j] = before[j] + row[j] + own[j - 1] + own[j + 1] + curvature * own[j]
    return 0.5 * total
