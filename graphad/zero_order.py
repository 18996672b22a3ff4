"""Derivatives from values alone: finite differences and the two-point estimator, to compare with.

All functions take a Python function of one array that answers a number, and count on nothing else. They cost values:
d + 1 for forward differences, 2d for central ones, two for one estimate of the two-point estimator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphad.errors import ArgumentError, describe

Array = NDArray[np.float64]
Objective = Callable[[Array], float]

EPSILON = float(np.finfo(np.float64).eps)
FORWARD_STEP = EPSILON ** (1 / 2)
CENTRAL_STEP = EPSILON ** (1 / 3)


def forward_differences(function: Objective, x: Array, step: float = FORWARD_STEP) -> Array:
    """The gradient by (L(x + h·e_i) − L(x)) / h, with h = `step`·max(1, |x_i|).

    Arguments:
        function: of an array shaped like `x`, answers a number.
        x: the point, float64 of any shape.
        step: relative step. The default, the square root of the machine's epsilon, balances the truncation error
            O(h) against the rounding error O(ε/h); about half of the digits are right.

    Returns an array shaped like `x`. Calls `function` x.size + 1 times.

    >>> forward_differences(lambda x: float((x**2).sum()), np.array([1.0, -3.0])).round(6)
    array([ 2., -6.])
    """
    steps = _steps(x, step)
    base = function(x)
    result = np.empty_like(steps)
    for i in np.ndindex(steps.shape):
        moved = _moved(x, i, float(steps[i]))
        result[i] = (function(moved) - base) / (moved[i] - x[i])
    return result


def central_differences(function: Objective, x: Array, step: float = CENTRAL_STEP) -> Array:
    """The gradient by (L(x + h·e_i) − L(x − h·e_i)) / 2h, with h = `step`·max(1, |x_i|).

    Arguments: as for `forward_differences`; the default step, the cube root of epsilon, balances O(h²) against O(ε/h);
    about two thirds of the digits are right.

    Returns an array shaped like `x`. Calls `function` 2·x.size times.

    >>> central_differences(lambda x: float((x**3).sum()), np.array([1.0, -2.0])).round(8)
    array([ 3., 12.])
    """
    steps = _steps(x, step)
    result = np.empty_like(steps)
    for i in np.ndindex(steps.shape):
        right, left = _moved(x, i, float(steps[i])), _moved(x, i, -float(steps[i]))
        result[i] = (function(right) - function(left)) / (right[i] - left[i])
    return result


def complex_step(function: Callable[[NDArray[Any]], Any], x: Array, step: float = 1e-30) -> Array:
    """The gradient by Im L(x + ih·e_i) / h: no subtraction, hence right to the last digits.

    Arguments:
        function: as above, but it must accept complex arrays and be analytic (no abs, no comparison).
        x: the point, float64 of any shape.

    Returns an array shaped like `x`.
    Reference: W. Squire and G. Trapp, SIAM Review 40 (1998).

    >>> complex_step(lambda x: np.sin(x).sum(), np.array([0.0, np.pi])).tolist()
    [1.0, -1.0]
    """
    steps = _steps(x, 1.0)
    result = np.empty_like(steps)
    for i in np.ndindex(steps.shape):
        moved = x.astype(np.complex128)
        moved[i] += 1j * step
        result[i] = function(moved).imag / step
    return result


def unit_direction(shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    """A random array of norm 1, uniform on the unit sphere of all arrays of this shape.

    >>> v = unit_direction((3, 2), np.random.default_rng(0))
    >>> v.shape, round(float((v**2).sum()), 12)
    ((3, 2), 1.0)
    """
    while True:
        direction = generator.standard_normal(shape)
        norm = float(np.sqrt((direction**2).sum()))
        if norm > 0.0:
            return np.asarray(direction / norm)


def two_point(
    function: Objective, x: Array, generator: np.random.Generator, step: float = CENTRAL_STEP, directions: int = 1
) -> Array:
    """A random estimate of the gradient: G = d·(L(x + εv) − L(x − εv)) / 2ε · v, with v on the unit sphere.

    Arguments:
        function: of an array shaped like `x`, answers a number.
        x: the point, float64 of any shape with d elements.
        generator: where the random directions come from.
        step: ε.
        directions: how many independent estimates are averaged.

    Returns an array shaped like `x`; its expectation is the gradient up to O(ε²), its variance is d − 1 times the
    squared norm of the gradient. Calls `function` 2·`directions` times.
    Reference: Yu. Nesterov and V. Spokoiny, Foundations of Computational Mathematics 17 (2017).

    >>> slope = two_point(lambda x: float(3.0 * x.sum()), np.array([2.0]), np.random.default_rng(0))
    >>> slope.round(6)
    array([3.])
    """
    if directions < 1:
        raise ArgumentError(describe("`directions` is too small", expected="1 or more", got=str(directions)))
    _steps(x, step)
    total = np.zeros_like(x)
    for _ in range(directions):
        v = unit_direction(x.shape, generator)
        total += x.size * (function(x + step * v) - function(x - step * v)) / (2.0 * step) * v
    return np.asarray(total / directions)


def _steps(x: Array, step: float) -> Array:
    """The step of each element; refuses what the quotients can not work with."""
    if not (isinstance(x, np.ndarray) and x.dtype == np.float64):
        got = f"{x.dtype} array" if isinstance(x, np.ndarray) else type(x).__name__
        fix = "pass `np.asarray(x, dtype=np.float64)`"
        raise ArgumentError(describe("`x` is no point", expected="a float64 array", got=got, fix=fix))
    if not step > 0.0:
        raise ArgumentError(describe("`step` is too small", expected="a positive number", got=str(step)))
    return np.asarray(step * np.maximum(1.0, np.abs(x)))


def _moved(x: Array, index: tuple[int, ...], by: float) -> Array:
    moved = x.copy()
    moved[index] += by
    return moved
