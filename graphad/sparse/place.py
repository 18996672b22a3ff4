"""From computed values to the data of a CSR matrix: one pass over memory, or none where they are the data already."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from graphad.emit.call import entry_for
from graphad.plan.direct import Coordinates

Integers = NDArray[Any]


class Placement(NamedTuple):
    """How values become data.

    "as computed": they are it. "gathered": element k is value `source[k]`. "summed": besides, value `more[i]` is added
    to element `to[i]`, in this order.
    """

    how: Literal["as computed", "gathered", "summed"]
    source: Integers
    to: Integers
    more: Integers


class Compressed(NamedTuple):
    """The structure of a CSR matrix with sorted columns and no duplicates, and how its data are made."""

    indptr: Integers
    indices: Integers
    placement: Placement


def compressed(found: Coordinates, shape: tuple[int, int], computed: int) -> Compressed:
    """The CSR structure of coordinates.

    Arguments:
        shape: of the matrix.
        computed: the number of computed values, used or not.
    """
    key = found.rows * np.int64(max(shape[1], 1)) + found.columns
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    first = np.ones(len(ordered), dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    kept = order[first]
    kind = np.int32 if max(len(kept), computed, *shape) < 2**31 else np.int64
    indptr = np.zeros(shape[0] + 1, dtype=kind)
    np.cumsum(np.bincount(found.rows[kept], minlength=shape[0]), out=indptr[1:])
    source, more = found.source[kept].astype(kind), found.source[order[~first]].astype(kind)
    to = (np.cumsum(first) - 1)[~first].astype(kind)
    how: Literal["as computed", "gathered", "summed"] = "summed" if len(more) else "gathered"
    if len(source) == computed and np.array_equal(source, np.arange(computed)):
        how = "as computed"
    return Compressed(indptr, found.columns[kept].astype(kind), Placement(how, source, to, more))


Fill = Callable[[NDArray[Any], NDArray[Any]], object]


def fill_by_numpy(placement: Placement, dtype: np.dtype[Any]) -> Fill:
    """The function `fill(values, data)` without a compiler."""

    def fill(values: NDArray[Any], data: NDArray[Any]) -> None:
        np.take(values, placement.source, out=data, mode="clip")
        if placement.how == "summed":
            np.add.at(data, placement.to, values[placement.more])

    return fill


def fill_by_numba(placement: Placement, dtype: np.dtype[Any]) -> Fill:
    """The same by compiled loops, called without Numba's look at the types."""
    arrays = (placement.source, placement.to, placement.more)
    nothing = np.empty(0, dtype)
    fill = _summed if placement.how == "summed" else _gathered
    given = arrays if placement.how == "summed" else arrays[:1]
    fill(nothing, nothing, *(a[:0] for a in given))
    entry = entry_for(fill, (nothing, nothing, *given))
    if len(given) == 1:
        return lambda values, data: entry(values, data, placement.source)
    return lambda values, data: entry(values, data, *arrays)


@njit(cache=True, nogil=True)
def _gathered(values: Any, data: Any, source: Any) -> None:
    for k in range(len(source)):
        data[k] = values[np.uint64(source[k])]


@njit(cache=True, nogil=True)
def _summed(values: Any, data: Any, source: Any, to: Any, more: Any) -> None:
    for k in range(len(source)):
        data[k] = values[np.uint64(source[k])]
    for i in range(len(more)):
        data[np.uint64(to[i])] += values[np.uint64(more[i])]
