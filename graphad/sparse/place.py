"""From computed values to the data of a CSR matrix: one pass over memory, or none where they are the data already."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from graphad.plan.direct import Coordinates


class Placement(NamedTuple):
    """How values become data.

    "as computed": they are it. "gathered": element k is value `source[k]`. "summed": element k is the sum of the values
    `source[starts[k]:starts[k + 1]]`, in this order.
    """

    how: Literal["as computed", "gathered", "summed"]
    source: NDArray[np.int32] | NDArray[np.int64]
    starts: NDArray[np.int64]


class Compressed(NamedTuple):
    """The structure of a CSR matrix with sorted columns and no duplicates, and how its data are made."""

    indptr: NDArray[Any]
    indices: NDArray[Any]
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
    starts = np.flatnonzero(first)
    kept = order[starts]
    kind = np.int32 if max(len(starts), *shape) < 2**31 else np.int64
    indptr = np.zeros(shape[0] + 1, dtype=kind)
    np.cumsum(np.bincount(found.rows[kept], minlength=shape[0]), out=indptr[1:])
    source = found.source[order]
    source = source.astype(np.int32) if computed < 2**31 else source
    how: Literal["as computed", "gathered", "summed"] = "gathered"
    if len(starts) < len(order):
        how = "summed"
    elif len(order) == computed and np.array_equal(source, np.arange(computed)):
        how = "as computed"
    ends = np.append(starts, len(order)).astype(np.int64)
    return Compressed(indptr, found.columns[kept].astype(kind), Placement(how, source, ends))


def place_by_numpy(values: NDArray[Any], placement: Placement, data: NDArray[Any]) -> None:
    """Fill the data without a compiler."""
    if placement.how == "gathered":
        np.take(values, placement.source, out=data, mode="clip")
    elif len(data):
        data[:] = np.add.reduceat(values[placement.source], placement.starts[:-1])


def place_by_numba(values: NDArray[Any], placement: Placement, data: NDArray[Any]) -> None:
    """Fill the data by compiled loops."""
    if placement.how == "gathered":
        _gather(values, placement.source, data)
    else:
        _sum(values, placement.source, placement.starts, data)


@njit(cache=True, nogil=True)
def _gather(values: Any, source: Any, data: Any) -> None:
    for k in range(len(source)):
        data[k] = values[np.uint64(source[k])]


@njit(cache=True, nogil=True)
def _sum(values: Any, source: Any, starts: Any, data: Any) -> None:
    for k in range(len(data)):
        total = values[source[starts[k]]]
        for i in range(starts[k] + 1, starts[k + 1]):
            total += values[source[i]]
        data[k] = total
