"""How close a time is to what the machine can do: measured peaks, and the least time for bytes and operations."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from benchmarks.problem import Array

LARGE = 8_000_000  # elements of an array that no cache holds
SIDE = 1000


class Peaks(NamedTuple):
    """Bytes and floating-point operations a second of one core."""

    bytes: float
    flops: float


@cache
def peaks(dtype: str) -> Peaks:
    """The best of several rounds of a copy of large arrays, and of a matrix product by BLAS."""
    source, target = np.ones(LARGE), np.empty(LARGE)
    square = np.ones((SIDE, SIDE), dtype)
    product = np.empty_like(square)
    copying = min(_seconds(lambda: np.copyto(target, source)) for _ in range(7))
    multiplying = min(_seconds(lambda: np.dot(square, square, out=product)) for _ in range(7))
    return Peaks(2 * source.nbytes / copying, 2 * SIDE**3 / multiplying)


def fraction(seconds: float, flops: int, read: list[Array], written: list[Array], dtype: str) -> float:
    """The least possible time over a measured one.

    The least time is the longer of two: to move arguments and results once, to and from memory, and to compute. Data
    that stay in a cache can be faster than the first, so that the fraction exceeds 1.

    Arguments:
        flops: floating-point operations by graphad's cost model, elementary functions as their polynomials.
    """
    best = peaks(dtype)
    moved = sum(a.nbytes for a in (*read, *written))
    return max(moved / best.bytes, flops / best.flops) / seconds


def _seconds(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun
