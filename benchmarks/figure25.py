"""Which mode for a Jacobian: y = tanh(C tanh(A x)), 100 inputs, m outputs; times of both modes and of the plan.

    python -m benchmarks.figure25 [--seconds 1.0]

The table on docs/modes.md is what it prints.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

import graphad as ga
from graphad.plan.modes import Mode

INPUTS = 100
OUTPUTS = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000)
MODES: tuple[Mode | None, ...] = ("forward", "reverse", None)


def graph(outputs: int) -> ga.Graph:
    """Two layers with as many outputs."""
    g = ga.Graph("layers")
    x, a = g.input("x", shape=INPUTS), g.input("A", shape=(INPUTS, INPUTS))
    c = g.input("C", shape=(outputs, INPUTS))
    g.output("y", np.tanh(c @ np.tanh(a @ x)))
    return g


def best_times(calls: list[Callable[[], object]], seconds: float) -> list[float]:
    """The least time of a call of each, in seconds; calls take turns, so that all see the same machine."""
    best = [float("inf")] * len(calls)
    for call in calls:
        call()
    begun = time.perf_counter()
    while time.perf_counter() - begun < seconds:
        for position, call in enumerate(calls):
            start = time.perf_counter()
            call()
            best[position] = min(best[position], time.perf_counter() - start)
    return best


def row(outputs: int, seconds: float) -> str:
    """One line of the table."""
    generator = np.random.default_rng(0)
    arrays = [generator.normal(size=s) / 10 for s in (INPUTS, (INPUTS, INPUTS), (outputs, INPUTS))]
    functions = [ga.jacobian(graph(outputs), "x", mode=mode, sparse=False) for mode in MODES]
    # Results go to arrays that exist: fresh pages would be most of the time where they are large.
    calls: list[Callable[[], object]] = [f.bind(*arrays) for f in functions]
    times = best_times(calls, seconds)
    choice = functions[-1].plan.decisions[0].choice
    cells = [f"{outputs:,}", *(f"{1e6 * t:,.1f}" for t in times), choice, f"{times[2] / min(times[:2]):.2f}"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="time for each number of outputs")
    seconds = parser.parse_args().seconds
    print("| m | forward, µs | reverse, µs | plan, µs | choice | plan / better mode |")
    print("|--:|--:|--:|--:|---|--:|")
    for outputs in OUTPUTS:
        print(row(outputs, seconds), flush=True)


if __name__ == "__main__":
    main()
