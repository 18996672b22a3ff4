"""RK4 of a linear cascade: a loop for each stage, all states stored, the stages of a step computed again."""

from __future__ import annotations

import numpy as np

from benchmarks.hand.common import kernel
from benchmarks.problem import Array


def value_and_grad(x: Array, h: Array) -> list[Array]:
    """The last component at the end () and its gradient (n,)."""
    states, gradient = np.zeros((h.size + 1, x.size)), np.zeros_like(x)
    _gradient(x, h, states, gradient)
    return [np.asarray(states[-1, -1]), gradient]


@kernel
def _stages(x, y, h, y1, y2, y3, last):  # type: ignore[no-untyped-def]
    n, first = x.size, x[0]
    y1[0] = y2[0] = y[0] + 0.5 * h * first
    y3[0] = y[0] + h * first
    for i in range(1, n):
        y1[i] = y[i] + 0.5 * h * x[i] * y[i - 1]
    for i in range(1, n):
        y2[i] = y[i] + 0.5 * h * x[i] * y1[i - 1]
    for i in range(1, n):
        y3[i] = y[i] + h * x[i] * y2[i - 1]
    last[0] = y[0] + h * first
    for i in range(1, n):
        last[i] = y[i] + h / 6.0 * x[i] * (y[i - 1] + 2.0 * y1[i - 1] + 2.0 * y2[i - 1] + y3[i - 1])


@kernel
def _gradient(x, steps, states, g):  # type: ignore[no-untyped-def]
    n, s = x.size, steps.size
    a, b, c, scratch = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    for t in range(s):
        _stages(x, states[t], steps[t], a, b, c, states[t + 1])
    bar, before, b1, b2, b3 = np.zeros(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    bar[n - 1] = 1.0
    b1[n - 1] = b2[n - 1] = b3[n - 1] = 0.0
    for t in range(s - 1, -1, -1):
        y, h = states[t], steps[t]
        _stages(x, y, h, a, b, c, scratch)
        for i in range(1, n):
            q = h / 6.0 * bar[i]
            b3[i - 1] = x[i] * q
            g[i] += q * c[i - 1]
        for i in range(1, n):
            q = h / 3.0 * bar[i] + h * b3[i]
            b2[i - 1] = x[i] * q
            g[i] += q * b[i - 1]
        for i in range(1, n):
            q = h / 3.0 * bar[i] + 0.5 * h * b2[i]
            b1[i - 1] = x[i] * q
            g[i] += q * a[i - 1]
        g[0] += h * bar[0] + h * b3[0] + 0.5 * h * b2[0] + 0.5 * h * b1[0]
        for i in range(1, n):
            q = h / 6.0 * bar[i] + 0.5 * h * b1[i]
            g[i] += q * y[i - 1]
            before[i - 1] = x[i] * q + b3[i - 1] + b2[i - 1] + b1[i - 1] + bar[i - 1]
        before[n - 1] = bar[n - 1]
        bar, before = before, bar
