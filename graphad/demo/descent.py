"""The two ways down: L-BFGS with the compiled gradient, and descent along two-point estimates.

A call of value and gradient counts as one evaluation, and so does a call of the value. That favours the descent
without gradients: a value is the cheaper of the two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from graphad import zero_order

Array = NDArray[np.float64]
Watcher = Callable[[int, float], None]

STEP_SIZES = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03)


@dataclass(frozen=True)
class Descent:
    """One way down: where it ended, and the smallest value seen after each evaluation."""

    name: str
    position: Array
    best: list[float] = field(repr=False)

    @property
    def evaluations(self) -> int:
        """How many evaluations were made."""
        return len(self.best)

    @property
    def value(self) -> float:
        """The smallest value."""
        return self.best[-1]

    def value_after(self, evaluations: int) -> float:
        """The smallest value after some evaluations (or at the end, where there were fewer)."""
        return self.best[min(evaluations, len(self.best)) - 1]


class Record:
    """The smallest value so far, evaluation by evaluation."""

    def __init__(self, watcher: Watcher | None = None) -> None:
        self.best: list[float] = []
        self.watcher = watcher

    def __call__(self, value: float) -> None:
        """Note one evaluation."""
        self.best.append(min(value, self.best[-1]) if self.best else value)
        if self.watcher is not None:
            self.watcher(len(self.best), self.best[-1])


def with_gradient(
    value_and_gradient: Callable[[Array], tuple[float, Array]],
    start: Array,
    *,
    iterations: int = 2000,
    watcher: Watcher | None = None,
) -> Descent:
    """Minimise by SciPy's L-BFGS-B.

    Arguments:
        value_and_gradient: of an array shaped like `start`: a number and an array shaped like `start`.
        start: where to begin, float64 of any shape.
        watcher: called after every evaluation with its number and the smallest value so far.

    Returns the path and its end.
    """
    record = Record(watcher)

    def flat(x: Array) -> tuple[float, Array]:
        value, gradient = value_and_gradient(x.reshape(start.shape))
        record(float(value))
        return float(value), np.asarray(gradient).ravel()

    result = optimize.minimize(
        flat,
        start.ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": iterations, "maxfun": 10 * iterations, "ftol": 1e-15, "gtol": 1e-9},
    )
    return Descent("L-BFGS with the gradient", np.asarray(result.x).reshape(start.shape), record.best)


def without_gradient(
    value: Callable[[Array], float],
    start: Array,
    *,
    evaluations: int,
    step_size: float,
    seed: int = 0,
    watcher: Watcher | None = None,
) -> Descent:
    """Descend along two-point estimates: x ← x − η·G, with G of `graphad.zero_order.two_point`.

    Arguments:
        value: of an array shaped like `start`, a number.
        evaluations: how many to make; each step makes two.
        step_size: η. A step that runs away (a value that is not finite) ends the descent there.

    Returns the path and its end.
    """
    record = Record(watcher)
    generator = np.random.default_rng(seed)

    def counted(x: Array) -> float:
        result = float(value(x))
        record(result if np.isfinite(result) else np.inf)
        return result

    position = start.copy()
    for _ in range(evaluations // 2):
        with np.errstate(over="ignore", invalid="ignore"):
            moved = position - step_size * zero_order.two_point(counted, position, generator)
        if not np.isfinite(moved).all():
            break
        position = moved
    record.best.extend([record.best[-1]] * (evaluations - len(record.best)))
    return Descent("two-point estimates", position, record.best)


def tuned_step_size(
    value: Callable[[Array], float], start: Array, scale: float, *, evaluations: int, seed: int
) -> float:
    """The best of `STEP_SIZES` times `scale`, each tried once; these tries are not counted."""
    sizes = [scale * factor for factor in STEP_SIZES]
    tries = [without_gradient(value, start, evaluations=evaluations, step_size=s, seed=seed) for s in sizes]
    return sizes[int(np.argmin([t.value for t in tries]))]
