"""Which mode for a Jacobian: y = tanh(C tanh(A x)), 100 inputs, m outputs; times of both modes and of the plan.

    python -m benchmarks.figure25 [--seconds 1.0] [--plot docs/figure25.svg]

The table on docs/modes.md is what it prints, the figure there what it draws.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import NamedTuple

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
    """The least time of a call of each, in seconds; calls take turns, so that all see the same machine.

    At least ten rounds; a call that takes eight times as long as another one is left out after the second.
    """
    best = [float("inf")] * len(calls)
    for call in calls:
        call()
    begun, rounds = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds or rounds < 10:
        rounds += 1
        for position, call in enumerate(calls):
            if rounds > 2 and best[position] > 8 * min(best):
                continue
            start = time.perf_counter()
            call()
            best[position] = min(best[position], time.perf_counter() - start)
    return best


class Row(NamedTuple):
    """Times of forward mode, reverse mode and the plan in seconds, and what the plan is."""

    outputs: int
    forward: float
    reverse: float
    plan: float
    choice: str


def measured(outputs: int, seconds: float) -> Row:
    """The times for one number of outputs."""
    generator = np.random.default_rng(0)
    arrays = [generator.normal(size=s) / 10 for s in (INPUTS, (INPUTS, INPUTS), (outputs, INPUTS))]
    functions = [ga.jacobian(graph(outputs), "x", mode=mode, sparse=False) for mode in MODES]
    # Results go to arrays that exist: fresh pages would be most of the time where they are large.
    calls: list[Callable[[], object]] = [f.bind(*arrays) for f in functions]
    times = best_times(calls, seconds)
    return Row(outputs, times[0], times[1], times[2], functions[-1].plan.decisions[0].choice)


def line(row: Row) -> str:
    """One line of the table."""
    times = (f"{1e6 * t:,.1f}" for t in (row.forward, row.reverse, row.plan))
    cells = [f"{row.outputs:,}", *times, row.choice, f"{row.plan / min(row.forward, row.reverse):.2f}"]
    return f"| {' | '.join(cells)} |"


def draw(rows: list[Row], path: str) -> None:
    """The times over the number of outputs, both on logarithmic axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    outputs = [r.outputs for r in rows]
    axes.loglog(outputs, [1e6 * r.forward for r in rows], "--", color="#1b6ca8", label="forward")
    axes.loglog(outputs, [1e6 * r.reverse for r in rows], ":", color="#b3202c", label="reverse")
    axes.loglog(outputs, [1e6 * r.plan for r in rows], "-o", color="#222222", markersize=4, label="plan")
    axes.set_xlabel("outputs m")
    axes.set_ylabel("time of a call, µs")
    axes.set_title("Jacobian of tanh(C tanh(A x)), 100 inputs")
    axes.grid(which="major", alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None} if path.endswith(".svg") else None)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="time for each number of outputs")
    parser.add_argument("--plot", metavar="FILE", help="draw the times, for example docs/figure25.svg")
    options = parser.parse_args()
    print("| m | forward, µs | reverse, µs | plan, µs | choice | plan / better mode |")
    print("|--:|--:|--:|--:|---|--:|")
    rows = []
    for outputs in OUTPUTS:
        rows.append(measured(outputs, options.seconds))
        print(line(rows[-1]), flush=True)
    if options.plot:
        draw(rows, options.plot)


if __name__ == "__main__":
    main()
