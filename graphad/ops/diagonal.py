"""Diagonals, triangles and padding of arrays."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from graphad.errors import ArgumentError, describe
from graphad.ir import sizes
from graphad.ir.operation import call, function
from graphad.ir.sizes import Extent, Size
from graphad.ir.variable import Variable
from graphad.ops.extents import axis_of, refuse, show, wrong_shape
from graphad.ops.gather import gathered, scattered
from graphad.ops.reduction import reduce_sum
from graphad.ops.shape import flipped, joined, sliced, stretched, transposed
from graphad.ops.source import diagonal_mask, filled, iota

Widths = tuple[tuple[Extent, Extent], ...]


@function("diagonal", np.diagonal)
def diagonal(x: Variable, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Variable:
    """The elements with index2 = index1 + offset, along a new last axis.

    >>> import graphad as ga
    >>> x = ga.Graph("demo").input("x", shape=("n", "n", 3))
    >>> np.diagonal(x).shape, np.diagonal(x, 1).shape
    ((3, n), (3, n-1))
    """
    first, second = axis_of(x, axis1, "diagonal"), axis_of(x, axis2, "diagonal")
    if first == second:
        raise wrong_shape(x, "`diagonal` takes two different axes", got=f"axis1={axis1}, axis2={axis2}")
    row, column = max(0, -offset), max(0, offset)
    size = sizes.minimum(x.shape[first] - row, x.shape[second] - column)
    size = max(size, 0) if isinstance(size, int) else size
    counter = iota(x.graph, size)
    pairs = sorted([(first, counter + row if row else counter), (second, counter + column if column else counter)],
                   key=lambda pair: pair[0])  # fmt: skip
    picked = gathered(x, (pairs[0][1], pairs[1][1]), (pairs[0][0], pairs[1][0]))
    return transposed(picked, (*range(1, picked.ndim), 0))


@function("diag", np.diag)
def diag(x: Variable, k: int = 0) -> Variable:
    """The k-th diagonal of a matrix, or the matrix with a vector on its k-th diagonal."""
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise wrong_shape(x, "`diag` takes a vector or a matrix", got=str(x.type))
    size = x.shape[0] + abs(k)
    counter = iota(x.graph, x.shape[0])
    row, column = (counter - k if k < 0 else counter), (counter + k if k > 0 else counter)
    return scattered("add", filled(x.graph, (size, size), 0, x.dtype), x, (row, column), (0, 1))


@function("trace", np.trace)
def trace(
    x: Variable, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: object = None, out: Any = None
) -> Variable:
    """The sum of a diagonal."""
    refuse("trace", out=out)
    return reduce_sum(diagonal(x, offset, axis1, axis2), -1, dtype)


@function("tril", np.tril)
def tril(x: Variable, k: int = 0) -> Variable:
    """The elements at and below the k-th diagonal of the last two axes, zeros above."""
    mask = _triangle(x, k, "tril")
    return call("where", mask, x, filled(x.graph, (), 0, x.dtype))  # type: ignore[no-any-return]


@function("triu", np.triu)
def triu(x: Variable, k: int = 0) -> Variable:
    """The elements at and above the k-th diagonal of the last two axes, zeros below."""
    mask = _triangle(x, k - 1, "triu")
    return call("where", mask, filled(x.graph, (), 0, x.dtype), x)  # type: ignore[no-any-return]


def _triangle(x: Variable, k: int, name: str) -> Variable:
    if x.ndim < 2:
        raise wrong_shape(x, f"`{name}` takes at least two axes", got=str(x.type))
    return diagonal_mask(x.graph, x.shape[-2], x.shape[-1], k, "greater_equal")


# ---------------------------------------------------------------------- padding


@function("pad", np.pad)
def pad(x: Variable, pad_width: Any, mode: str = "constant", *, constant_values: Any = 0) -> Variable:
    """`x` with elements added at both ends of its axes.

    Arguments:
        pad_width: one number, `(before, after)`, or one such pair for each axis.
        mode: "constant", "edge", "wrap", "reflect" or "symmetric"; on a symbolic axis the last three add at most as
            many elements as the axis has.
        constant_values: a number, `(before, after)`, or one such pair for each axis.

    >>> import graphad as ga
    >>> x = ga.Graph("demo").input("x", shape=("n", 2))
    >>> np.pad(x, ((1, 1), (0, 2))).shape
    (n+2, 4)
    """
    widths = tuple((_width(x, before), _width(x, after)) for before, after in _pairs(x, pad_width, "pad_width"))
    if mode == "constant":
        return _constant_pad(x, widths, constant_values)
    if mode not in _ENDS:
        expected = ", ".join(f'"{m}"' for m in ("constant", *_ENDS))
        raise ArgumentError(describe(f"`pad`: mode `{mode}` is unknown", expected=expected))
    for axis, (before, after) in enumerate(widths):
        if before != 0 or after != 0:
            x = _padded(x, axis, before, after, mode)
    return x


def _pairs(x: Variable, given: Any, name: str) -> tuple[tuple[Any, Any], ...]:
    """NumPy's short forms of one pair per axis, written out."""
    if isinstance(given, np.ndarray):
        given = given.tolist()
    rows = given if isinstance(given, (tuple, list)) else (given,)
    if not any(isinstance(row, (tuple, list)) for row in rows):
        rows = (rows,)
    rows = [tuple(row) if isinstance(row, (tuple, list)) else (row,) for row in rows]
    rows = rows * x.ndim if len(rows) == 1 else rows
    if len(rows) != x.ndim or any(len(row) not in (1, 2) for row in rows):
        raise wrong_shape(x, f"`pad`: `{name}` does not fit {x.ndim} axes", got=str(given))
    return tuple((row[0], row[-1]) for row in rows)


def _width(x: Variable, width: Any) -> Extent:
    number = width if isinstance(width, Size) else operator.index(width)
    if isinstance(number, int) and number < 0:
        raise wrong_shape(x, "`pad`: a width is negative", got=str(number))
    return number


def _constant_pad(x: Variable, widths: Widths, constant_values: Any) -> Variable:
    values = _pairs(x, constant_values, "constant_values")
    if all(type(v) in (int, float) and v == 0 for pair in values for v in pair):
        shape = tuple(before + e + after for e, (before, after) in zip(x.shape, widths, strict=True))
        starts = tuple(before for before, _ in widths)
        return x if shape == x.shape else x.graph.apply("embed", x, shape=shape, starts=starts, steps=(1,) * x.ndim)
    for axis, (pair, numbers) in enumerate(zip(widths, values, strict=True)):
        before, after = (_block(x, axis, width, value) for width, value in zip(pair, numbers, strict=True))
        x = joined(tuple(p for p in (before, x, after) if p.shape[axis] != 0) or (x,), axis)
    return x


def _block(x: Variable, axis: int, width: Extent, value: Any) -> Variable:
    shape = (*x.shape[:axis], width, *x.shape[axis + 1 :])
    if isinstance(value, Variable):
        return stretched(value.astype(x.dtype), shape)
    return filled(x.graph, shape, value, x.dtype)


def _padded(x: Variable, axis: int, before: Extent, after: Extent, mode: str) -> Variable:
    extent = x.shape[axis]
    if isinstance(extent, int) and isinstance(before, int) and isinstance(after, int) and mode != "edge":
        if extent == 0:
            raise wrong_shape(x, f"`pad`: an empty axis can not be padded by `{mode}`", got=show(x.shape))
        positions = np.pad(np.arange(extent), (before, after), mode=mode)  # type: ignore[call-overload]
        return x[(slice(None),) * axis + (positions,)]
    first, last = _ENDS[mode](x, axis, before, after)
    return joined(tuple(p for p in (first, x, last) if p.shape[axis] != 0), axis)


def _edge(x: Variable, axis: int, before: Extent, after: Extent) -> tuple[Variable, Variable]:
    shapes = [(*x.shape[:axis], width, *x.shape[axis + 1 :]) for width in (before, after)]
    first, last = sliced(x, axis, 0, 1), sliced(x, axis, x.shape[axis] - 1, 1)
    return stretched(first, shapes[0]), stretched(last, shapes[1])


def _wrap(x: Variable, axis: int, before: Extent, after: Extent) -> tuple[Variable, Variable]:
    return sliced(x, axis, x.shape[axis] - before, before), sliced(x, axis, 0, after)


def _reflect(x: Variable, axis: int, before: Extent, after: Extent) -> tuple[Variable, Variable]:
    extent = x.shape[axis]
    return flipped(sliced(x, axis, 1, before), axis), flipped(sliced(x, axis, extent - 1 - after, after), axis)


def _symmetric(x: Variable, axis: int, before: Extent, after: Extent) -> tuple[Variable, Variable]:
    extent = x.shape[axis]
    return flipped(sliced(x, axis, 0, before), axis), flipped(sliced(x, axis, extent - after, after), axis)


_ENDS = {"edge": _edge, "wrap": _wrap, "reflect": _reflect, "symmetric": _symmetric}
