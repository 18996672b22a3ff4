"""One thread against two: the least times of both, calls in turn, on however many cores this process may use.

    python -m benchmarks.threads [--seconds 3.0] [NAME ...]

The table on docs/calling.md is what it prints. Two numbers tell a busy machine from work that can not be shared: the
times, and the processor time of all threads together, which stays the same where work is only shared.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import graphad as ga
from benchmarks.peers.ours import build
from benchmarks.problem import Case
from benchmarks.problems.table import PROBLEMS

CASES: tuple[tuple[str, Mapping[str, int]], ...] = (
    ("nbody", {"n": 3000}),
    ("stress", {"n": 1000}),
    ("llsq", {"n": 16392, "m": 128}),
    ("gmm", {"d": 20, "k": 50, "n": 1000}),
    ("lse", {"n": 1_280_000}),
    ("stencil_grid", {"n": 1000, "m": 1000}),
)


def least(calls: Sequence[Callable[[], object]], seconds: float) -> list[tuple[float, float]]:
    """The least time and the least processor time of a call of each."""
    best = [(float("inf"), float("inf"))] * len(calls)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for k, call in enumerate(calls):
            begun, used = time.perf_counter(), time.process_time()
            call()
            best[k] = (min(best[k][0], time.perf_counter() - begun), min(best[k][1], time.process_time() - used))
    return best


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="of problems; all by default")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each problem")
    given = parser.parse_args()
    print("| value and gradient | 1 thread | 2 threads | times faster | processor time |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, sizes in CASES:
        if given.names and name not in given.names:
            continue
        problem = PROBLEMS[name]
        values = list(problem.arrays(Case(sizes)).values())
        functions = [ga.value_and_grad(build(problem), wrt=list(problem.wrt), threads=k) for k in (1, 2)]
        for function in functions:
            function(*values)
        (one, alone), (two, both) = least([partial(f, *values) for f in functions], given.seconds)
        cells = [f"{1e3 * one:.2f} ms", f"{1e3 * two:.2f} ms", f"{one / two:.2f}", f"{both / alone:.2f}"]
        print(f"| {' | '.join([f'{name} {Case(sizes).label}', *cells])} |", flush=True)


if __name__ == "__main__":
    main()
