"""Colouring: which columns share a forward sweep and which rows a reverse sweep, so that every entry can be read off.

Reference: A. Gebremedhin, F. Manne, A. Pothen, What color is your Jacobian? SIAM Review 47 (2005); orderings and star
colouring: Gebremedhin, Tarafdar, Manne, Pothen, SIAM J. Sci. Comput. 29 (2007).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numba import njit
from numpy.typing import NDArray

from graphad.analysis.sparsity import compressed_rows

Colors = NDArray[np.int32]
Ordering = Literal["natural", "largest first", "smallest last", "incidence degree"]
ORDERINGS: tuple[Ordering, ...] = get_args(Ordering)

MANY = 20_000_000  # pairs of columns in a row, beyond which columns are coloured in their natural order only
FEW = 64  # vertices of a graph that is coloured in no time, however many edges it has
SPLITS = (2, 3, 5, 8, 16, 32)  # entries a row from which it is a long one, tried for a bidirectional colouring


class Coloring(NamedTuple):
    """Which columns share a forward sweep, which rows a reverse sweep; -1 for those that take part in none."""

    columns: Colors
    rows: Colors
    forward: int
    reverse: int


# ---------------------------------------------------------------------- columns and rows


def color_columns(pattern: Any, ordering: Ordering | None = None) -> Colors:
    """Colours such that no two columns of a colour have an entry in one row.

    Arguments:
        pattern: a `csr_array`; its values do not matter.
        ordering: in which order columns are coloured, each with the first colour that is free; None takes the best.

    >>> from scipy.sparse import csr_array
    >>> color_columns(csr_array(np.array([[1, 1, 0], [0, 1, 1]]))).tolist()
    [0, 1, 0]
    """
    indptr, indices = pattern.indptr.astype(np.int64), pattern.indices.astype(np.int64)
    flipped = compressed_rows(pattern).tocsc()
    lengths = np.diff(indptr)
    if int((lengths.astype(np.float64) ** 2).sum()) > MANY:
        order = np.argsort(-np.diff(flipped.indptr), kind="stable")
        args = (indptr, indices, flipped.indptr.astype(np.int64), flipped.indices.astype(np.int64))
        found: Colors = _greedy_two_steps(*args, order)
        return found
    ones = compressed_rows((np.ones(len(indices), np.float32), indices, indptr), shape=pattern.shape)
    return _best(compressed_rows(ones.T @ ones), ordering, _greedy)


def color_rows(pattern: Any, ordering: Ordering | None = None) -> Colors:
    """Colours such that no two rows of a colour have an entry in one column."""
    return color_columns(compressed_rows(pattern.T), ordering)


def column_coloring(pattern: Any) -> Coloring:
    """Forward sweeps only."""
    columns = color_columns(pattern)
    return Coloring(columns, np.full(pattern.shape[0], -1, np.int32), count(columns), 0)


def row_coloring(pattern: Any) -> Coloring:
    """Reverse sweeps only."""
    rows = color_rows(pattern)
    return Coloring(np.full(pattern.shape[1], -1, np.int32), rows, 0, count(rows))


def count(colors: Colors) -> int:
    """The number of colours."""
    return int(colors.max(initial=-1)) + 1


def bidirectional_coloring(pattern: Any, forward: float = 1.0, reverse: float = 1.0) -> Coloring:
    """Long rows by reverse sweeps, all other entries by forward sweeps, split where that is cheapest.

    Arguments:
        forward, reverse: the cost of one sweep.
    """
    lengths = np.diff(pattern.indptr)
    splits = [s for s in SPLITS if 0 < np.count_nonzero(lengths > s) < np.count_nonzero(lengths)]
    options = []
    for limit in (int(lengths.max(initial=0)), *splits, 0):
        long = lengths > limit
        tall = int(np.bincount(pattern[np.flatnonzero(long)].indices).max(initial=0)) if long.any() else 0
        # No fewer colours than entries in the longest row or column that they have to tell apart.
        options.append((forward * int(lengths[~long].max(initial=0)) + reverse * tall, limit))
    found = None
    for bound, limit in sorted(options, key=lambda option: option[0]):
        if found is None or bound < _cost(found, forward, reverse):
            coloring = _split(pattern, lengths > limit)
            if found is None or _cost(coloring, forward, reverse) < _cost(found, forward, reverse):
                found = coloring
    assert found is not None
    return found


def _cost(coloring: Coloring, forward: float, reverse: float) -> float:
    return coloring.forward * forward + coloring.reverse * reverse


def _split(pattern: Any, long: NDArray[np.bool_]) -> Coloring:
    """Rows in `long` by reverse sweeps, the others by forward sweeps; what has no entry there takes part in none."""
    columns, rows = np.full(pattern.shape[1], -1, np.int32), np.full(pattern.shape[0], -1, np.int32)
    (upper,), (lower,) = np.nonzero(long), np.nonzero(~long & (np.diff(pattern.indptr) > 0))
    if len(upper):
        rows[upper] = color_rows(pattern[upper])
    if len(lower):
        part = pattern[lower]
        used = np.unique(part.indices)
        columns[used] = color_columns(part[:, used])
    return Coloring(columns, rows, count(columns), count(rows))


# ---------------------------------------------------------------------- symmetric matrices


def color_symmetric(pattern: Any, ordering: Ordering | None = None) -> Colors:
    """A star colouring: neighbours differ, and no path of four vertices has two colours only.

    Then every entry of a symmetric matrix, or its mirror image, stands alone in its row among the columns of a colour.
    Vertices with very many neighbours get colours of their own, which no such path can have twice, and so do all where
    more than half of the elements are entries: two colours share at most as many edges as they have vertices, so no
    colouring of such a matrix does with less than a quarter of that, and the search would take minutes.

    >>> from scipy.sparse import csr_array
    >>> color_symmetric(csr_array(np.eye(4, dtype=bool) | np.eye(4, k=1, dtype=bool) | np.eye(4, k=-1, dtype=bool)))
    array([0, 1, 0, 2], dtype=int32)
    """
    adjacency = compressed_rows(pattern)
    lengths = np.diff(adjacency.indptr)
    if 2 * adjacency.nnz > adjacency.shape[0] ** 2 and adjacency.shape[0] > FEW:
        return np.arange(adjacency.shape[0], dtype=np.int32)
    hubs = lengths > max(64.0, 4.0 * np.sqrt(max(adjacency.nnz, 1)))
    colors = np.full(adjacency.shape[0], -1, np.int32)
    colors[hubs] = np.arange(np.count_nonzero(hubs))
    (rest,) = np.nonzero(~hubs)
    inner = _best(adjacency[rest][:, rest], ordering, _greedy_star)
    colors[rest] = inner + np.count_nonzero(hubs)
    return colors


def _best(adjacency: Any, ordering: Ordering | None, color: Callable[..., Colors]) -> Colors:
    """The colouring with the fewest colours among the orderings."""
    indptr, indices = adjacency.indptr.astype(np.int64), adjacency.indices.astype(np.int64)
    found: Colors | None = None
    for name in ORDERINGS if ordering is None else (ordering,):
        colors = color(indptr, indices, ordered(adjacency, name))
        if found is None or count(colors) < count(found):
            found = colors
    assert found is not None
    return found


def ordered(adjacency: Any, ordering: Ordering) -> NDArray[np.int64]:
    """The vertices of a graph in an order; it is the same at each call.

    "largest first": by the number of neighbours. "smallest last": backwards, always one with the fewest neighbours
    among those that are left. "incidence degree": always one with the most neighbours among those before it.
    """
    indptr, indices = adjacency.indptr.astype(np.int64), adjacency.indices.astype(np.int64)
    if ordering == "natural":
        return np.arange(adjacency.shape[0])
    if ordering == "largest first":
        return np.argsort(-np.diff(indptr), kind="stable")
    found: NDArray[np.int64] = _by_degree(indptr, indices, ordering == "smallest last")
    return found


@njit(cache=True, nogil=True)
def _by_degree(indptr: Any, indices: Any, smallest_last: Any) -> Any:
    """Vertices taken one by one by their current degree, kept in buckets that are doubly linked lists."""
    size = len(indptr) - 1
    most = 0
    for v in range(size):
        most = max(most, indptr[v + 1] - indptr[v])
    head = np.full(most + 2, -1, np.int64)
    after, before = np.full(size, -1, np.int64), np.full(size, -1, np.int64)
    degree = np.zeros(size, np.int64)
    taken = np.zeros(size, np.bool_)
    for v in range(size - 1, -1, -1):
        degree[v] = indptr[v + 1] - indptr[v] if smallest_last else 0
        after[v] = head[degree[v]]
        if head[degree[v]] >= 0:
            before[head[degree[v]]] = v
        head[degree[v]] = v
    order = np.empty(size, np.int64)
    at = 0
    for step in range(size):
        if smallest_last:
            at = max(at - 1, 0)
            while head[at] < 0:
                at += 1
        else:
            at = min(at + 1, most)
            while head[at] < 0:
                at -= 1
        v = head[at]
        head[at] = after[v]
        if after[v] >= 0:
            before[after[v]] = -1
        taken[v] = True
        order[size - 1 - step if smallest_last else step] = v
        for k in range(indptr[v], indptr[v + 1]):
            w = indices[k]
            if taken[w]:
                continue
            if before[w] >= 0:
                after[before[w]] = after[w]
            else:
                head[degree[w]] = after[w]
            if after[w] >= 0:
                before[after[w]] = before[w]
            degree[w] += -1 if smallest_last else 1
            before[w], after[w] = -1, head[degree[w]]
            if head[degree[w]] >= 0:
                before[head[degree[w]]] = w
            head[degree[w]] = w
    return order


@njit(cache=True, nogil=True)
def _free(forbidden: Any, v: Any) -> Any:
    color = 0
    while forbidden[color] == v:
        color += 1
    return color


@njit(cache=True, nogil=True)
def _greedy(indptr: Any, indices: Any, order: Any) -> Any:
    """Neighbours differ."""
    colors = np.full(len(order), -1, np.int32)
    forbidden = np.full(len(order) + 1, -1, np.int64)
    for v in order:
        for k in range(indptr[v], indptr[v + 1]):
            w = indices[k]
            if w != v and colors[w] >= 0:
                forbidden[colors[w]] = v
        colors[v] = _free(forbidden, v)
    return colors


@njit(cache=True, nogil=True)
def _greedy_two_steps(indptr: Any, indices: Any, column_starts: Any, column_rows: Any, order: Any) -> Any:
    """The same for columns that meet in a row, without a list of such pairs."""
    colors = np.full(len(order), -1, np.int32)
    forbidden = np.full(len(order) + 1, -1, np.int64)
    for v in order:
        for k in range(column_starts[v], column_starts[v + 1]):
            row = column_rows[k]
            for i in range(indptr[row], indptr[row + 1]):
                if colors[indices[i]] >= 0:
                    forbidden[colors[indices[i]]] = v
        colors[v] = _free(forbidden, v)
    return colors


@njit(cache=True, nogil=True)
def _greedy_star(indptr: Any, indices: Any, order: Any) -> Any:
    """Algorithm 4.1 of Gebremedhin, Manne, Pothen (2005), with paths through coloured and uncoloured neighbours."""
    colors = np.full(len(order), -1, np.int32)
    forbidden = np.full(len(order) + 1, -1, np.int64)
    for v in order:
        for k in range(indptr[v], indptr[v + 1]):
            w = indices[k]
            if w == v:
                continue
            if colors[w] >= 0:
                forbidden[colors[w]] = v
            for i in range(indptr[w], indptr[w + 1]):
                x = indices[i]
                if x in (v, w) or colors[x] < 0 or forbidden[colors[x]] == v:
                    continue
                if colors[w] < 0:
                    forbidden[colors[x]] = v
                    continue
                for j in range(indptr[x], indptr[x + 1]):
                    y = indices[j]
                    if y not in (w, x) and colors[y] == colors[w]:
                        forbidden[colors[x]] = v
                        break
        colors[v] = _free(forbidden, v)
    return colors
