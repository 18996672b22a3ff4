"""Sparse Jacobians and Hessians: values against dense ones, structure, calling, messages."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
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
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_random_graphs(case: Case) -> None:
    for output, name, dense in case.dense_jacobians():
        try:
            function = ga.jacobian(case.graph, name, output, sparse=True, passes=(), tier="interpreted")
        except DifferentiationError:
            # Nothing is left of what only multiplications by zero connect.
            assert not dense.any()
            continue
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


def test_lists_of_one_name_give_named_tuples() -> None:
    x = RNG.uniform(-1, 1, 4)
    alone = ga.jacobian(banded(), sparse=True, tier="interpreted")(x)
    named = ga.jacobian(banded(), ["x"], ["y"], sparse=True, tier="interpreted")(x)
    np.testing.assert_array_equal(named.y.x.data, alone.data)
    assert ga.hessian(energy(), ["x"], sparse=True, tier="interpreted")(x).x.x.shape == (4, 4)


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


# ---------------------------------------------------------------------- sweeps, and the choice


def summed() -> ga.Graph:
    """Running sums over short rows: no formulas, few entries."""
    g = ga.Graph("summed")
    x = g.input("x", shape=("n", 3), hint=100)
    g.output("y", np.cumsum(np.sin(x), axis=1))
    return g


def arrow() -> ga.Graph:
    """A dense first row and column beside running sums."""
    g = ga.Graph("arrow")
    x = g.input("x", shape="n", hint=40)
    pairs_ = np.cumsum(np.stack([np.sin(x[1:]), x[0] * x[1:]], axis=1), axis=1)
    g.output("y", np.concatenate([(x**2).sum()[None], pairs_[:, 1]]))
    return g


@pytest.mark.parametrize("mode", [None, "forward", "reverse"])
@pytest.mark.parametrize("make", [summed, banded])
def test_sweeps_give_the_same_as_dense(make: Any, mode: Any) -> None:
    x = RNG.uniform(-1, 1, (5, 3) if make is summed else 7)
    jacobian = ga.jacobian(make(), sparse=True, mode=mode, tier="interpreted")
    matrix = jacobian(x)
    dense = ga.jacobian(make(), sparse=False, tier="interpreted")(x)
    np.testing.assert_allclose(matrix.toarray(), dense.reshape(matrix.shape), rtol=1e-13, atol=1e-15)
    sweeps = {None: 0 if make is banded else 3, "forward": 3, "reverse": 3}[mode]
    assert jacobian.sparsity.passes == sweeps


def test_rows_and_columns_are_swept_together() -> None:
    jacobian = ga.jacobian(arrow(), sparse=True)
    x = RNG.uniform(-1, 1, 30)
    dense = ga.jacobian(arrow(), sparse=False, tier="interpreted")(x)
    for at in (x, x[:7], x):
        np.testing.assert_allclose(jacobian(at).toarray()[0], 2 * at, rtol=1e-14)
    np.testing.assert_allclose(jacobian(x).toarray(), dense, rtol=1e-13, atol=1e-15)
    coloring = jacobian.sparsity.coloring
    assert (coloring.forward, coloring.reverse) == (2, 1)
    assert jacobian.plan.decisions[-1].choice == "coloured sweeps"


def test_hessians_by_star_colouring() -> None:
    g = ga.Graph("star")
    x = g.input("x", shape="n", hint=50)
    g.output("L", (x[0] ** 2 * np.cumsum(np.stack([np.sin(x[1:]), x[1:]], 1), axis=1)[:, 1]).sum() + (x**4).sum())
    hessian = ga.hessian(g, sparse=True, tier="interpreted")
    x_ = RNG.uniform(-1, 1, 12)
    expected = ga.hessian(g, sparse=False, tier="interpreted")(x_)
    np.testing.assert_allclose(hessian(x_).toarray(), expected, rtol=1e-12, atol=1e-14)
    assert hessian.sparsity.passes == 2


def test_hessians_by_several_inputs() -> None:
    g = ga.Graph("two")
    x, w = g.input("x", shape="n"), g.input("w", shape=2)
    g.output("L", (w[0] * x**3).sum() + w[1] ** 2 * x[0])
    arrays = (RNG.uniform(-1, 1, 4), RNG.uniform(-1, 1, 2))
    found = ga.hessian(g, sparse=True, tier="interpreted")(*arrays)
    dense = ga.hessian(g, sparse=False, tier="interpreted")(*arrays)
    for row in ("x", "w"):
        for column in ("x", "w"):
            block = getattr(getattr(found, row), column)
            np.testing.assert_allclose(block.toarray(), getattr(getattr(dense, row), column), rtol=1e-13, atol=1e-15)


def test_formulas_are_given_up_where_they_repeat() -> None:
    """Every residual reads all parameters through a matrix: the Hessian has d² entries, formulas n times as many."""
    g = ga.Graph("logistic")
    w, a = g.input("w", shape=20), g.input("A", shape=(200, 20))
    g.output("L", np.log(1.0 + np.exp(a @ w)).sum())
    hessian = ga.hessian(g, "w", sparse=True, tier="interpreted")
    decision = hessian.plan.decisions[0]
    assert decision.choice == "coloured sweeps"
    assert "repeat" in decision.reason
    arrays = (RNG.normal(size=20), RNG.normal(size=(200, 20)))
    expected = ga.hessian(g, "w", sparse=False, tier="interpreted")(*arrays)
    np.testing.assert_allclose(hessian(*arrays).toarray(), expected, rtol=1e-12)


@pytest.mark.parametrize("size", ["n", 30])
def test_deep_networks_are_swept(size: Any) -> None:
    """Each layer multiplies the number of formulas by its width."""
    g = ga.Graph("layers")
    x = g.input("x", shape=(size, 4))
    h = x
    for _ in range(8):
        h = np.tanh(h @ RNG.normal(size=(4, 4)))
    g.output("y", h)
    jacobian = ga.jacobian(g, sparse=True, tier="interpreted")
    assert jacobian.plan.decisions[0].choice == "coloured sweeps"
    matrix = jacobian(RNG.normal(size=(30, 4)))
    assert matrix.nnz == 30 * 16
    assert jacobian.sparsity.passes == 4


def test_sparse_by_itself() -> None:
    def waves(**options: Any) -> Any:
        g = ga.Graph("waves")
        x = g.input("x", shape="n", **options)
        g.output("y", np.sin(x[1:]) * x[:-1])
        return ga.jacobian(g, tier="interpreted")

    assert isinstance(waves(hint=1000), ga.SparseFunction)
    assert not isinstance(waves(), ga.SparseFunction)  # no hint: nothing is known about the size
    assert not isinstance(waves(hint=100), ga.SparseFunction)  # small
    decision = waves(hint=1000).plan.decisions[0]
    assert (decision.choice, decision.threshold) == ("sparse", "dense once 40*n-40 > n*n-n")
    g = ga.Graph("full")
    x = g.input("x", shape=400)
    g.output("y", np.sin(x[:, None] * x[None, :]).sum(axis=0))
    assert not isinstance(ga.jacobian(g, tier="interpreted"), ga.SparseFunction)


def test_few_elements_and_float32() -> None:
    g = ga.Graph("single")
    x = g.input("x", shape="n", dtype="float32")
    g.output("y", np.sin(x[1:]) * x[:-1])
    for tier in ("interpreted", "compiled"):
        jacobian = ga.jacobian(g, sparse=True, tier=tier)
        matrix = jacobian(np.float32([1, 2, 3]))
        assert matrix.dtype == np.float32
        assert matrix.nnz == 4
        assert jacobian(np.float32([1])).shape == (0, 1)
        with pytest.raises(ga.ShapeError):
            jacobian(np.float32([]))


def test_threads_share_a_function() -> None:
    from concurrent.futures import ThreadPoolExecutor

    jacobian = ga.jacobian(pairs(), "x", sparse=True)
    points = [RNG.uniform(-1, 1, 4) for _ in range(40)]
    expected = [jacobian(p, PAIRS["i"], PAIRS["j"]).data for p in points]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda p: jacobian(p, PAIRS["i"], PAIRS["j"]).data, points))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
