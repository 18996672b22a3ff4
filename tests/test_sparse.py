"""Sparse Jacobians and Hessians: values against dense ones, structure, calling, messages."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import scipy.sparse
from hypothesis import HealthCheck, given, settings

import graphad as ga
from graphad.errors import DifferentiationError
from tests.strategies import Case, cases

RNG = np.random.default_rng(0)


def banded() -> ga.Graph:
    g = ga.Graph("banded")
    x = g.input("x", shape="n", hint=10_000)
    before, after = np.concatenate([np.zeros(1), x[:-1]]), np.concatenate([x[1:], np.zeros(1)])
    g.output("y", (3.0 - 2.0 * x) * x - before - 2.0 * after + np.sin(x * before))
    return g


def pairs() -> ga.Graph:
    """Gathers, a scatter with equal positions, a function of its result, and a sum."""
    g = ga.Graph("pairs")
    x, i, j = g.input("x", shape="n"), g.input("i", shape="k", dtype="int64"), g.input("j", shape="k", dtype="int64")
    d = np.sin(x[i]) * x[j]
    nodes = ga.zeros("n", graph=g).at[i].add(d) ** 2
    g.output("y", np.concatenate([d, nodes, (d**2).sum()[None], np.stack([d * x[0], d], -1).reshape(-1)]))
    return g


def energy() -> ga.Graph:
    g = ga.Graph("energy")
    x = g.input("x", shape="n")
    g.output("L", ((x[1:] - x[:-1] ** 2) ** 2).sum() + np.exp(x[0]))
    return g


PAIRS = {"x": RNG.uniform(-1, 1, 4), "i": np.array([0, 1, 3, 3, 2]), "j": np.array([1, 1, 2, 0, -1])}


def assert_equals_dense(graph: ga.Graph, arrays: dict[str, Any], **options: Any) -> Any:
    matrix = ga.jacobian(graph, sparse=True, tier="interpreted", **options)(**arrays)
    dense = ga.jacobian(graph, sparse=False, tier="interpreted", **options)(**arrays)
    np.testing.assert_allclose(matrix.toarray(), dense.reshape(matrix.shape), rtol=1e-12, atol=1e-14)
    return matrix


def test_values_and_pattern_of_a_band() -> None:
    x = RNG.uniform(-1, 1, 7)
    matrix = assert_equals_dense(banded(), {"x": x})
    assert isinstance(matrix, scipy.sparse.csr_array)
    assert matrix.nnz == 3 * 7 - 2
    step = 1e-30
    for column in range(7):  # an independent source: complex steps of the formula
        z = x + step * 1j * (np.arange(7) == column)
        before, after = np.r_[0, z[:-1]], np.r_[z[1:], 0]
        value = (3 - 2 * z) * z - before - 2 * after + np.sin(z * before)
        np.testing.assert_allclose(matrix.toarray()[:, column], value.imag / step, rtol=1e-12, atol=1e-14)


def test_gathers_scatters_and_sums() -> None:
    matrix = assert_equals_dense(pairs(), PAIRS, wrt="x")
    rows = [{0, 1}, {1}, {2, 3}, {0, 3}, {2, 3}]  # of d: the columns i and j
    assert [set(matrix[[k]].indices.tolist()) for k in range(5)] == rows


def test_products_with_constants_have_the_zeros_of_these() -> None:
    g = ga.Graph("product")
    x = g.input("x", shape=40)
    steps = np.eye(40, k=1)[:-1] - np.eye(40)[:-1]
    g.output("y", np.tanh(steps @ np.sin(x)) ** 2)
    assert assert_equals_dense(g, {"x": RNG.uniform(-1, 1, 40)}).nnz == 2 * 39
    g = ga.Graph("small")
    x = g.input("x", shape=(4, 3))
    g.output("y", np.diag([1.0, 0.0, 2.0, 0.0]) @ x**2 @ np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]]))
    assert assert_equals_dense(g, {"x": RNG.uniform(-1, 1, (4, 3))}).nnz == 2 * 3


def test_reductions_joins_and_updates() -> None:
    g = ga.Graph("mixed")
    x = g.input("x", shape=("n", 4))
    largest = x.max(axis=1) * np.prod(x, axis=1)[::-1]
    g.output("y", np.concatenate([largest, np.roll(x, 1, 0)[:, 2], x.at[0].set(x[1] ** 2).reshape(-1)]))
    assert_equals_dense(g, {"x": RNG.uniform(-1, 1, (3, 4))})
    g = ga.Graph("chosen")
    x = g.input("x", shape="n")
    y = np.where(np.arange(6) % 2 == 0, x**2, np.roll(x, 1)).at[[1, 4]].set(3.0 * x[:2])
    g.output("y", np.maximum(y, 0.1))
    assert_equals_dense(g, {"x": RNG.uniform(-1, 1, 6)})


@given(cases())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_random_graphs(case: Case) -> None:
    for output in case.graph.outputs:
        for name in case.graph.inputs:
            try:
                derived = ga.transform.jacobian(case.graph, name, output)
            except DifferentiationError:
                continue
            dense = ga.interpret(derived, **case.arrays)[f"d{output}_d{name}"]
            function = ga.jacobian(case.graph, name, output, sparse=True, passes=(), tier="interpreted")
            matrix = function(**case.arrays)
            np.testing.assert_allclose(matrix.toarray(), dense.reshape(matrix.shape), rtol=1e-9, atol=1e-9)


def test_compiled_and_interpreted_agree() -> None:
    compiled = ga.jacobian(pairs(), "x", sparse=True)
    interpreted = ga.jacobian(pairs(), "x", sparse=True, tier="interpreted")
    for _ in range(2):
        np.testing.assert_allclose(compiled(**PAIRS).toarray(), interpreted(**PAIRS).toarray(), rtol=1e-14)
    again = pickle.loads(pickle.dumps(interpreted))
    np.testing.assert_array_equal(again(**PAIRS).toarray(), interpreted(**PAIRS).toarray())


def test_structure_follows_sizes_and_index_arrays() -> None:
    jacobian = ga.jacobian(pairs(), "x", sparse=True, tier="interpreted")
    first = jacobian(**PAIRS)
    same = jacobian(**PAIRS)
    assert same.indices is first.indices
    assert not same.indices.flags.writeable
    changed = jacobian(**{**PAIRS, "j": np.array([0, 0, 0, 0, 0])})
    assert set(changed[[1]].indices.tolist()) == {0, 1}
    other = jacobian(np.arange(9.0), np.array([8]), np.array([7]))
    assert other.shape == (1 + 9 + 1 + 2, 9)
    positions = np.array([1, 1, 2, 0, 3])
    before = jacobian(PAIRS["x"], PAIRS["i"], positions)
    positions[0] = 2  # the same array with other contents
    assert jacobian(PAIRS["x"], PAIRS["i"], positions)[[0]].indices.tolist() != before[[0]].indices.tolist()


def test_hessians() -> None:
    x = RNG.uniform(-1, 1, 6)
    hessian = ga.hessian(energy(), sparse=True, tier="interpreted")
    matrix = hessian(x)
    np.testing.assert_allclose(matrix.toarray(), ga.hessian(energy(), sparse=False, tier="interpreted")(x), rtol=1e-12)
    assert matrix.nnz == 3 * 6 - 2


def test_several_blocks() -> None:
    g = ga.Graph("two")
    x, w = g.input("x", shape="n"), g.input("w")
    g.output("a", x * w)
    g.output("b", x[1:] ** 2)
    jacobian = ga.jacobian(g, sparse=True, tier="interpreted")(np.arange(3.0), 2.0)
    np.testing.assert_array_equal(jacobian.a.x.toarray(), 2.0 * np.eye(3))
    np.testing.assert_array_equal(jacobian.a.w.toarray(), np.arange(3.0)[:, None])
    assert jacobian.b.w.shape == (2, 1)
    assert jacobian.b.w.nnz == 0


def test_out_takes_data_or_a_result() -> None:
    jacobian = ga.jacobian(banded(), sparse=True, tier="interpreted")
    x = RNG.uniform(-1, 1, 5)
    expected, data = jacobian(x), np.empty(13)
    assert jacobian(x, out=data).data is data
    matrix = jacobian(np.zeros(5))
    assert jacobian(x, out=matrix).data is matrix.data
    np.testing.assert_array_equal(matrix.toarray(), expected.toarray())


def test_sparsity_shows_the_pattern() -> None:
    jacobian = ga.jacobian(banded(), sparse=True, tier="interpreted")
    assert jacobian.sparsity.shape == (10_000, 10_000)  # at the hints
    jacobian(np.zeros(4))
    assert repr(jacobian.sparsity) == "<sparsity 4 x 4, 10 entries (62.50%), direct>"
    assert str(jacobian.sparsity).splitlines()[1:] == ["|##  |", "|### |", "| ###|", "|  ##|"]
    assert jacobian.sparsity.pattern.dtype == bool
    assert jacobian.sparsity.passes == 0
