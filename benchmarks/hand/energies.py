"""Free energy of points: energies and their two partials in one loop, then the loops of log-sum-exp."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.hand.common import elementary, kernel
from benchmarks.problem import Array

exp = elementary("exp")


def value_and_grad(a: Array, b: Array) -> list[Array]:
    """The value and its gradients (n,)."""
    energies, first, second = np.empty_like(a), np.empty_like(a), np.empty_like(a)
    return [_run(a, b, energies, first, second), first, second]


@kernel
def _run(a, b, energies, first, second):  # type: ignore[no-untyped-def]
    for i in range(a.size):
        r = a[i] * a[i] + b[i] * b[i] + 0.5
        root, inverse = math.sqrt(r), 1.0 / r
        cube = inverse * inverse * inverse
        share = 1.0 / (1.0 + root)
        energies[i] = cube * cube - cube + (1.0 + a[i]) * share
        slope = -3.0 * (2.0 * cube - 1.0) * cube * inverse - (1.0 + a[i]) * share * share * 0.5 / root
        first[i] = 2.0 * a[i] * slope + share
        second[i] = 2.0 * b[i] * slope
    largest = energies[0]
    for i in range(a.size):
        largest = max(largest, energies[i])
    total = 0.0
    for i in range(a.size):
        energies[i] = exp(energies[i] - largest)
        total += energies[i]
    scale = 1.0 / total
    for i in range(a.size):
        weight = energies[i] * scale
        first[i] *= weight
        second[i] *= weight
    return largest + math.log(total)
