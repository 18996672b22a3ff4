"""Potential of n bodies: all pairs, the forces on a body summed in registers, structure of arrays inside."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.hand.common import kernel
from benchmarks.problem import Array
from benchmarks.problems.nbody import SOFTENING

SQUARED = SOFTENING**2


def value_and_grad(positions: Array, masses: Array) -> list[Array]:
    """The potential and its gradient (n, 3)."""
    gradient = np.empty_like(positions)
    return [_potential(positions.T.copy(), masses, gradient), gradient]


@kernel
def _potential(columns, masses, gradient):  # type: ignore[no-untyped-def]
    n = masses.size
    total = 0.0
    for i in range(n):
        a, b, c = columns[0, i], columns[1, i], columns[2, i]
        force_a = force_b = force_c = potential = 0.0
        for j in range(n):
            x, y, z = a - columns[0, j], b - columns[1, j], c - columns[2, j]
            inverse = 1.0 / (x * x + y * y + z * z + SQUARED)
            pull = masses[j] * math.sqrt(inverse)
            potential += pull
            pull *= inverse
            force_a += pull * x
            force_b += pull * y
            force_c += pull * z
        total -= 0.5 * masses[i] * potential
        gradient[i, 0], gradient[i, 1], gradient[i, 2] = masses[i] * force_a, masses[i] * force_b, masses[i] * force_c
    return total
