"""The free energy of points in a field, a log-sum-exp of their energies: value and gradient.

The cotangent of an energy waits for the sum over all points, and an energy has many intermediate values but two inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.problem import Array, Case, Problem


def data(generator: np.random.Generator, n: int) -> list[Array]:
    """Coordinates."""
    return [generator.normal(size=n), generator.normal(size=n)]


def formula(xp: Any, a: Any, b: Any) -> Any:
    """log Σ exp(e) of e = c² − c + (1 + a)/(1 + √r), c = 1/r³, r = a² + b² + ½."""
    r = a * a + b * b + 0.5
    root, inverse = xp.sqrt(r), 1.0 / r
    cube = inverse * inverse * inverse
    energy = cube * cube - cube + (1.0 + a) / (1.0 + root)
    largest = xp.max(energy)
    return largest + xp.log(xp.sum(xp.exp(energy - largest)))


def hand() -> Callable[..., list[Array]]:
    """Energies and both partials in one loop, then three loops as for log-sum-exp."""
    from benchmarks.hand import energies

    return energies.value_and_grad


PROBLEM = Problem(
    "energies",
    "free energy of points in a field, value and gradient",
    {"a": ("n",), "b": ("n",)},
    ("a", "b"),
    data,
    formula,
    (Case({"n": 10_000}), Case({"n": 1_000_000})),
    Case({"n": 6}),
    hand=hand,
    peers=("jax", "torch", "pytensor", "autograd"),
)
