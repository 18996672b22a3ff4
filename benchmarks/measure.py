"""One problem measured in this process: made, called first, compared, then called in turn; results as JSON.

`python -m benchmarks.measure NAME FILE` is what `benchmarks.run` starts, with the environment set for one thread. Lines
on standard output tell how far it is.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.ours import value_call
from benchmarks.peers.table import make, missing, peers_of
from benchmarks.problem import Array, Arrays, Case, Entrant, Problem
from benchmarks.problems.table import PROBLEMS
from benchmarks.roofline import fraction

REPEATS = 9
SAMPLE = 0.02  # seconds that one sample lasts at least
VALUE = "value"  # graphad's call for the value alone, in turn with all others
TOLERANCES = {"float64": 1e-10, "float32": 1e-4}


def pin() -> None:
    """Keep this process on one core, the last that it may use."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def seconds(call: Callable[[], Any], count: int) -> float:
    """Seconds a call, of `count` calls."""
    begun = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - begun) / count


def in_turn(calls: Mapping[str, Callable[[], Any]], repeats: int = REPEATS) -> dict[str, list[float]]:
    """Seconds a call, `repeats` samples of each, one of everyone before the next.

    A second round of warm calls tells how many calls a sample needs.
    """
    counts = {name: max(1, int(SAMPLE / max(seconds(call, 1), 1e-7))) for name, call in calls.items()}
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            samples[name].append(seconds(call, counts[name]))
    return samples


def norm_error(found: list[Array], expected: list[Array]) -> float:
    """The largest relative difference in norm over the arrays of a result; infinite where shapes differ.

    >>> norm_error([np.array([3.0, 4.0])], [np.array([3.0, 4.0])])
    0.0
    """
    if [a.shape for a in found] != [a.shape for a in expected]:
        return float("inf")
    errors = [_relative(a.astype(np.float64), b.astype(np.float64)) for a, b in zip(found, expected, strict=True)]
    return max(errors, default=0.0)


def _relative(found: Array, expected: Array) -> float:
    difference, scale = float(np.linalg.norm((found - expected).ravel())), float(np.linalg.norm(expected.ravel()))
    return difference / scale if scale else difference


def prepare(peer: str, problem: Problem, arrays: Arrays) -> dict[str, Any]:
    """The entrants of a peer with what making and calling them took: `entrants`, `compile`, `first`, `results`."""
    begun = time.perf_counter()
    entrants = make(peer, problem, arrays)
    compiled = time.perf_counter() - begun
    first: dict[str, float] = {}
    results: dict[str, list[Array]] = {}
    for name, entrant in entrants.items():
        before = time.perf_counter()
        result = entrant.call()
        first[name] = time.perf_counter() - before
        results[name] = entrant.arrays(result)
    return {"entrants": entrants, "compile": compiled, "first": first, "results": results}


def measure_case(problem: Problem, case: Case, report: Callable[[str], None]) -> dict[str, Any]:
    """All that is known of a case: times, errors against a reference, and who failed and why."""
    arrays = problem.arrays(case)
    peers = peers_of(problem, case)
    absent = missing(peers)
    entrants: dict[str, Entrant] = {}
    rows: dict[str, dict[str, Any]] = {}
    failed: dict[str, str] = {}
    found: dict[str, list[Array]] = {}
    for peer in [p for p in peers if p not in absent]:
        report(f"{problem.name} {case.label}: {peer}")
        try:
            ready = prepare(peer, problem, arrays)
        except Exception as error:  # a peer's failure is a result: it is written down and shown
            failed[peer] = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
            traceback.print_exc()
            continue
        entrants.update(ready["entrants"])
        found.update(ready["results"])
        rows.update({n: {"compile": ready["compile"], "first": ready["first"][n]} for n in ready["entrants"]})
    report(f"{problem.name} {case.label}: in turn")
    value = value_call(problem, arrays) if "graphad" in entrants else None
    alone = {VALUE: value} if value is not None else {}
    timed = in_turn({n: e.call for n, e in entrants.items()} | alone)
    if alone:
        pairs = zip(timed["graphad"], timed.pop(VALUE), strict=True)
        rows["graphad"]["over value"] = statistics.median(both / one for both, one in pairs)
    for name, samples in timed.items():
        rows[name] |= {"median": statistics.median(samples), "least": min(samples), "samples": samples}
    flops = entrants["graphad"].flops if "graphad" in entrants else 0
    if flops:
        read, written = list(arrays.values()), found["graphad"]
        seconds = rows["graphad"]["median"]
        rows["graphad"]["roofline"] = fraction(seconds, flops, read, written, case.dtype)
    return {
        "label": case.label, "sizes": dict(case.sizes), "dtype": case.dtype, "rows": rows, "missing": absent,
        "failed": failed, "errors": _errors(problem, arrays, found, peers, absent), "tolerance": TOLERANCES[case.dtype],
    }  # fmt: skip


def _errors(
    problem: Problem, arrays: Arrays, found: Mapping[str, list[Array]], peers: list[str], absent: list[str]
) -> dict[str, float]:
    """Relative errors against the first peer that is not graphad, which computes in float64."""
    others = [p for p in peers if p not in absent and p != "graphad" and p in found]
    if not others:
        return {}
    reference = found[others[0]]
    if any(a.dtype == np.float32 for a in arrays.values()):
        wide = {n: a.astype(np.float64) for n, a in arrays.items()}
        (reference,) = prepare(others[0], problem, wide)["results"].values()
    return {name: norm_error(result, reference) for name, result in found.items()}


def measure(problem: Problem, report: Callable[[str], None]) -> dict[str, Any]:
    """All cases of a problem."""
    cases = [measure_case(problem, case, report) for case in problem.cases]
    return {"name": problem.name, "title": problem.title, "notes": problem.notes, "cases": cases}


def main() -> None:
    """Measure the problem named on the command line and write the file."""
    name, path = sys.argv[1:]
    pin()
    result = measure(PROBLEMS[name], lambda line: print(line, flush=True))
    Path(path).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
