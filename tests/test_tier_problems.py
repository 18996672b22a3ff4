"""The benchmark problems interpreted: right, and soon."""

from __future__ import annotations

import gc
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

import graphad as ga
from benchmarks.peers import ours
from benchmarks.problem import Case, Problem, flat
from benchmarks.problems import ba, black_scholes
from benchmarks.problems.table import PROBLEMS
from graphad.ad import transform
from graphad.emit import instructions


def graph_and_arguments(problem: Problem, case: Case) -> tuple[ga.Graph, list[Any]]:
    arrays = problem.arrays(case)
    if problem.name == "ba":
        graph, arrays = ba.graph(arrays)
    else:
        graph = black_scholes.graph() if problem.name == "black_scholes" else ours.build(problem)
    return graph, [a if a.ndim else a[()] for a in arrays.values()]


def derivative(problem: Problem, graph: ga.Graph, tier: Any) -> Any:
    return ga.compile(graph, tier=tier) if problem.name == "black_scholes" else ours.derive(problem, graph, tier)


def numbers(result: Any) -> list[Any]:
    """A sparse matrix as a dense one, other results as a list of arrays."""
    return [result.toarray()] if isinstance(result, csr_array) else flat(result)


def oracle(problem: Problem, graph: ga.Graph, f: Any, values: list[Any]) -> list[Any]:
    """What is expected: the interpreter's values, of sparse matrices those of dense sweeps."""
    if not problem.sparse:
        return list(ga.interpret(f.optimized, *values).values())
    (wrt,), hessian = problem.wrt, problem.derivative == "sparse_hessian"
    swept = transform.hessian(graph, wrt) if hessian else transform.jacobian(graph, wrt)
    (dense,) = ga.interpret(swept, *values).values()
    size = values[list(graph.inputs).index(wrt)].size
    return [dense.reshape(-1, size)]


@pytest.mark.parametrize("name", [n for n in PROBLEMS if "1354" not in n])  # the same formulas as with 118 buses
def test_interpreted_problems(name: str) -> None:
    problem = PROBLEMS[name]
    largest = 100 if problem.sparse else 20_000  # a dense Jacobian has the square
    for case in (problem.small, problem.cases[0]):
        if case is problem.small or np.prod(list(case.sizes.values())) <= largest:
            graph, values = graph_and_arguments(problem, case)
            f = derivative(problem, graph, "interpreted")
            for got, expected in zip(numbers(f(*values)), oracle(problem, graph, f, values), strict=True):
                scale = np.max(np.abs(expected), initial=0.0)
                np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-13 * scale)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROBLEMS)
def test_the_first_derivative_comes_soon(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The best of four, in CPU time, with twice of what is promised: other processes share the machine."""
    for level in range(len(instructions.LEVELS)):  # of an installation, not of a function
        instructions.kernel(level)
    monkeypatch.setenv("GRAPHAD_CACHE", str(tmp_path))
    problem = PROBLEMS[name]
    case = problem.small if name in ("black_scholes", "ba") else problem.cases[0]
    found = []
    gc.collect()  # what earlier tests of the process left is not searched again and again
    gc.freeze()
    for _ in range(4):
        graph, values = graph_and_arguments(problem, case)
        begun = time.process_time()
        derivative(problem, graph, "auto")(*values)
        found.append(time.process_time() - begun)
    gc.unfreeze()
    assert min(found) < 0.1
