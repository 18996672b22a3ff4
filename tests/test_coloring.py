"""Colourings: every entry can be read off, and the published numbers of colours are met."""

from __future__ import annotations

from time import process_time
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array, diags_array, eye_array, random_array

from graphad.plan.coloring import (
    ORDERINGS,
    Coloring,
    Ordering,
    bidirectional_coloring,
    color_columns,
    color_rows,
    color_symmetric,
    column_coloring,
    count,
    ordered,
    row_coloring,
)
from graphad.plan.swept import coordinates

RNG = np.random.default_rng(0)


def band(n: int, *offsets: int) -> Any:
    return csr_array(diags_array([np.ones(n)] * len(offsets), offsets=offsets, shape=(n, n)).astype(bool))


def arrowhead(n: int) -> Any:
    rest, zero = np.arange(1, n), np.zeros(n - 1, int)
    rows, columns = np.concatenate([zero, rest, np.arange(n)]), np.concatenate([rest, zero, np.arange(n)])
    return csr_array((np.ones(len(rows), bool), (rows, columns)), shape=(n, n))


def some(rows: int, columns: int, density: float = 0.08) -> Any:
    return csr_array(random_array((rows, columns), density=density, rng=RNG).astype(bool))


def read_off(pattern: Any, coloring: Coloring, kind: str) -> None:
    """The sweeps of a matrix of random values hold each of its values at the place that `coordinates` tells."""
    matrix = csr_array((RNG.normal(size=pattern.nnz), pattern.indices, pattern.indptr), shape=pattern.shape)
    if kind == "symmetric":
        matrix = csr_array(matrix + matrix.T)
        assert np.array_equal(matrix.indices, pattern.indices)
    columns = np.array([coloring.columns == c for c in range(coloring.forward)], float).reshape(-1, pattern.shape[1])
    rows = np.array([coloring.rows == c for c in range(coloring.reverse)], float).reshape(-1, pattern.shape[0])
    swept = np.concatenate([(matrix @ columns.T).T.ravel(), (rows @ matrix).ravel()])
    found = coordinates(pattern, coloring, kind)  # type: ignore[arg-type]
    np.testing.assert_allclose(swept[found.source], matrix.data, rtol=1e-13)


@pytest.mark.parametrize("pattern", [some(30, 50), some(50, 30), some(8, 8, 0.6), arrowhead(20), band(20, -1, 0, 1)])
def test_every_entry_can_be_read_off(pattern: Any) -> None:
    read_off(pattern, column_coloring(pattern), "columns")
    read_off(pattern, row_coloring(pattern), "rows")
    read_off(pattern, bidirectional_coloring(pattern), "both")
    if pattern.shape[0] == pattern.shape[1]:
        whole = csr_array(pattern + pattern.T + csr_array(eye_array(pattern.shape[0], dtype=bool)))
        colors = color_symmetric(whole)
        read_off(whole, Coloring(colors, np.full(len(colors), -1, np.int32), count(colors), 0), "symmetric")


@pytest.mark.parametrize("ordering", ORDERINGS)
def test_all_orderings_are_valid(ordering: Ordering) -> None:
    for _ in range(5):
        pattern = some(40, 60, 0.1)
        dense = pattern.toarray().astype(int)
        colors = color_columns(pattern, ordering)
        for color in range(count(colors)):
            assert dense[:, colors == color].sum(axis=1).max() <= 1
        square = csr_array(pattern[:, :40] + pattern[:, :40].T)
        assert sorted(ordered(square, ordering)) == list(range(40))


def test_orderings_of_a_star_with_a_tail() -> None:
    edges = np.array([(0, 1), (0, 2), (0, 3), (3, 4)])
    whole = np.concatenate([edges, edges[:, ::-1]])
    graph = csr_array((np.ones(len(whole), bool), tuple(whole.T)), shape=(5, 5))
    assert ordered(graph, "natural").tolist() == [0, 1, 2, 3, 4]
    assert ordered(graph, "largest first").tolist() == [0, 3, 1, 2, 4]
    backwards = ordered(graph, "smallest last")[::-1].tolist()
    assert set(backwards[:2]) < {1, 2, 4}
    assert ordered(graph, "incidence degree")[0] == 0
    assert ordered(graph, "incidence degree")[1] in (1, 2, 3)


def test_published_numbers() -> None:
    steps = csr_array(diags_array([np.ones(50)] * 2, offsets=[0, 1], shape=(49, 50)).astype(bool))
    assert column_coloring(steps).forward == 2
    assert column_coloring(band(1000, -1, 0, 1)).forward == 3
    assert count(color_rows(band(1000, -1, 0, 1))) == 3
    head = arrowhead(10_000)
    both = bidirectional_coloring(head)
    assert (both.forward, both.reverse) == (2, 1)
    assert count(color_symmetric(head)) == 2


def test_full_matrices_are_not_searched() -> None:
    start = process_time()
    assert count(color_symmetric(csr_array(np.ones((1000, 1000), bool)))) == 1000
    assert process_time() - start < 1.0  # the search takes many seconds
    half = csr_array(np.kron(np.eye(2), np.ones((50, 50))).astype(bool))
    assert count(color_symmetric(half)) == 50


def test_sweeps_are_split_by_their_costs() -> None:
    tall = csr_array(np.ones((6, 2), bool))
    assert bidirectional_coloring(tall).reverse == 0
    assert bidirectional_coloring(tall, forward=10.0).reverse == 6
    assert bidirectional_coloring(csr_array((3, 4), dtype=bool)) [2:] == (0, 0)


def test_many_pairs_are_coloured_without_a_list_of_them() -> None:
    rows = csr_array(np.ones((3, 3000), bool))
    assert count(color_columns(rows)) == 3000
