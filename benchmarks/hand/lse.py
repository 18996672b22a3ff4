"""Log-sum-exp: the largest element, exponentials kept for the gradient, one scaling."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.hand.common import elementary, kernel
from benchmarks.problem import Array

exp, exp_f32 = elementary("exp"), elementary("exp_f32")


def value_and_grad(x: Array) -> list[Array]:
    """The value and its gradient (n,)."""
    gradient = np.empty_like(x)
    return [(_single if x.dtype == np.float32 else _double)(x, gradient), gradient]


@kernel
def _double(x, gradient):  # type: ignore[no-untyped-def]
    largest = x[0]
    for i in range(x.size):
        largest = max(largest, x[i])
    total = 0.0
    for i in range(x.size):
        gradient[i] = exp(x[i] - largest)
        total += gradient[i]
    scale = 1.0 / total
    for i in range(x.size):
        gradient[i] *= scale
    return largest + math.log(total)


@kernel
def _single(x, gradient):  # type: ignore[no-untyped-def]
    largest = x[0]
    for i in range(x.size):
        largest = max(largest, x[i])
    total = np.float32(0.0)
    for i in range(x.size):
        gradient[i] = exp_f32(x[i] - largest)
        total += gradient[i]
    scale = np.float32(1.0) / total
    for i in range(x.size):
        gradient[i] *= scale
    return largest + np.float32(math.log(total))
