"""Lotka-Volterra by RK4: value and gradient in two loops, the states stored, the stages of a step computed again."""

from __future__ import annotations

import numpy as np

from benchmarks.hand.common import kernel
from benchmarks.problem import Array


def value_and_grad(p: Array, h: Array) -> list[Array]:
    """The sum of the last state () and its gradient by p (4,)."""
    gradient = np.empty_like(p)
    value = _value_and_grad(p, h, np.empty((h.size, 2)), gradient)
    return [np.asarray(value), gradient]


@kernel
def _value_and_grad(p, h, states, out):  # type: ignore[no-untyped-def]
    a, b, c, d = p[0], p[1], p[2], p[3]
    x, y = 1.0, 1.0
    for t in range(h.size):
        states[t, 0], states[t, 1] = x, y
        half, whole = 0.5 * h[t], h[t]
        x1, y1 = a * x - b * x * y, d * x * y - c * y
        u, v = x + half * x1, y + half * y1
        x2, y2 = a * u - b * u * v, d * u * v - c * v
        u, v = x + half * x2, y + half * y2
        x3, y3 = a * u - b * u * v, d * u * v - c * v
        u, v = x + whole * x3, y + whole * y3
        x4, y4 = a * u - b * u * v, d * u * v - c * v
        x, y = x + whole / 6.0 * (x1 + 2.0 * (x2 + x3) + x4), y + whole / 6.0 * (y1 + 2.0 * (y2 + y3) + y4)
    value = x + y
    ga, gb, gc, gd = 0.0, 0.0, 0.0, 0.0
    p, q = 1.0, 1.0
    for t in range(h.size - 1, -1, -1):
        x, y = states[t, 0], states[t, 1]
        half, whole = 0.5 * h[t], h[t]
        x1, y1 = a * x - b * x * y, d * x * y - c * y
        u1, v1 = x + half * x1, y + half * y1
        x2, y2 = a * u1 - b * u1 * v1, d * u1 * v1 - c * v1
        u2, v2 = x + half * x2, y + half * y2
        x3, y3 = a * u2 - b * u2 * v2, d * u2 * v2 - c * v2
        u3, v3 = x + whole * x3, y + whole * y3
        r, s = whole / 6.0 * p, whole / 6.0 * q
        ga, gb, gc, gd = ga + r * u3, gb - r * u3 * v3, gc - s * v3, gd + s * u3 * v3
        f, g = r * (a - b * v3) + s * d * v3, s * (d * u3 - c) - r * b * u3
        p, q = p + f, q + g
        f, g = 2.0 * r + whole * f, 2.0 * s + whole * g
        ga, gb, gc, gd = ga + f * u2, gb - f * u2 * v2, gc - g * v2, gd + g * u2 * v2
        f, g = f * (a - b * v2) + g * d * v2, g * (d * u2 - c) - f * b * u2
        p, q = p + f, q + g
        f, g = 2.0 * r + half * f, 2.0 * s + half * g
        ga, gb, gc, gd = ga + f * u1, gb - f * u1 * v1, gc - g * v1, gd + g * u1 * v1
        f, g = f * (a - b * v1) + g * d * v1, g * (d * u1 - c) - f * b * u1
        p, q = p + f, q + g
        f, g = r + half * f, s + half * g
        ga, gb, gc, gd = ga + f * x, gb - f * x * y, gc - g * y, gd + g * x * y
        p, q = p + f * (a - b * y) + g * d * y, q + g * (d * x - c) - f * b * x
    out[0], out[1], out[2], out[3] = ga, gb, gc, gd
    return value
