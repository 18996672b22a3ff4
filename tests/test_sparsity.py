"""Patterns found from graphs: nothing is missed, and they are exact where a formula says what they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import graphad as ga
from graphad.analysis.sparsity import jacobian_pattern
from graphad.interpret import solve_sizes
from graphad.ir.variable import Variable
from tests.strategies import Case, cases


def pattern_of(graph: ga.Graph, arrays: dict[str, Any], wrt: str = "x", of: str = "y") -> np.ndarray[Any, Any]:
    graph.freeze()
    bound = solve_sizes(graph, {n: np.shape(a) for n, a in arrays.items()})
    given = {n: np.asarray(a) for n, a in arrays.items()}
    fixed = {n: a for n, a in given.items() if a.dtype.kind in "ib"}
    found = jacobian_pattern(graph, graph.inputs[wrt], graph.outputs[of], fixed, bound)
    return found.toarray()  # type: ignore[no-any-return]


@given(cases())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_nonzero_is_missed(case: Case) -> None:
    for output, name, dense in case.dense_jacobians():
        found = pattern_of(case.graph, case.arrays, name, output)
        assert not np.any((dense.reshape(found.shape) != 0) & ~found)


N = 6
EXACT: dict[str, Callable[[Variable], Any]] = {
    "shift": lambda x: x[1:] * x[:-1],
    "flip": lambda x: np.sin(x[::-1]) + x,
    "gather": lambda x: x[np.array([0, 2, 2, 5])] ** 2,
    "scatter": lambda x: (x * 1.0).at[np.array([1, 1, 4])].add(x[:3] ** 2),
    "put": lambda x: (x * 1.0).at[np.array([1, 4])].set(x[:2] ** 2),
    "multiplied": lambda x: (x * 1.0).at[np.array([1, 4])].multiply(x[:2]),
    "largest": lambda x: (x * 1.0).at[np.array([1, 4])].max(x[:2]),
    "joined": lambda x: np.concatenate([x[:2] ** 2, np.zeros(2), x[3:]]),
    "running": lambda x: np.cumsum(np.sin(x)),
    "product": lambda x: np.cumprod(x),
    "matrix": lambda x: np.triu(np.ones((N, N)), 3) @ x**2,
    "masked": lambda x: np.array([1.0, 0.0] * 3) * x**2,
    "broadcast": lambda x: np.sin(x[:, None]) * x[None, :],
    "reduced": lambda x: (x.reshape(2, 3) ** 2).sum(axis=0),
    "extremum": lambda x: x.reshape(2, 3).max(axis=1),
    "turned": lambda x: (x.reshape(2, 3).T ** 2)[1:],
}


@pytest.mark.parametrize("name", EXACT)
def test_patterns_are_exact(name: str) -> None:
    """All elements of the dense Jacobian at several points, taken together, fill the pattern."""
    g = ga.Graph("exact")
    g.output("y", EXACT[name](g.input("x", shape=N)))
    filled: Any = False
    dense = ga.jacobian(g, sparse=False, tier="interpreted")
    for seed in range(8):
        x = np.random.default_rng(seed).uniform(0.5, 1.5, N)
        filled = filled | (dense(x).reshape(-1, N) != 0)
    np.testing.assert_array_equal(pattern_of(g, {"x": x}), filled)


def test_index_arrays_of_the_call() -> None:
    g = ga.Graph("picked")
    x, i = g.input("x", shape="n"), g.input("i", shape="k", dtype="int64")
    g.output("y", x[i] ** 2)
    found = pattern_of(g, {"x": np.ones(3), "i": np.array([2, 0])})
    assert found.astype(int).tolist() == [[0, 0, 1], [1, 0, 0]]


def test_positions_from_values_may_be_any() -> None:
    g = ga.Graph("largest")
    x = g.input("x", shape=4)
    g.output("y", x[np.argmax(x)][None] * x[:2])
    assert pattern_of(g, {"x": np.ones(4)}).all()


def test_loops_hide_what_they_do() -> None:
    g = ga.Graph("loop")
    x = g.input("x", shape=3)
    g.output("y", ga.scan(lambda carry, row: (carry * row, carry), x[0], x)[1])
    assert pattern_of(g, {"x": np.ones(3)}).all()
    matrix = ga.jacobian(g, sparse=True, tier="interpreted")(np.array([2.0, 3.0, 4.0]))
    np.testing.assert_allclose(matrix.toarray(), [[1, 0, 0], [4, 0, 0], [12, 4, 0]])


def test_large_patterns_take_no_time() -> None:
    import time

    g = ga.Graph("band")
    x = g.input("x", shape="n")
    g.output("y", np.sin(x[1:-1] * x[:-2]) - x[2:] + x[1:-1] ** 2)
    g.freeze()
    begun = time.process_time()
    found = jacobian_pattern(g, 0, g.outputs["y"], {}, {"n": 100_000})
    assert time.process_time() - begun < 1.0
    assert found.nnz == 3 * 99_998
