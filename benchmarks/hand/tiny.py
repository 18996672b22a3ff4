"""Two assignments: the time is that of the call."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.hand.common import kernel
from benchmarks.problem import Array


def gradient(x: Array) -> list[Array]:
    """The gradient (2,)."""
    return [_gradient(x)]


@kernel
def _gradient(x):  # type: ignore[no-untyped-def]
    out = np.empty(2)
    out[0] = 2.0 * x[0] * x[1]
    out[1] = x[0] * x[0] + math.cos(x[1])
    return out
