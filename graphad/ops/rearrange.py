"""Builder functions that change shapes: reshape, transpose and their kin, joining, splitting, padding, repeating."""

from __future__ import annotations

import operator
from itertools import pairwise
from typing import Any

import numpy as np

from graphad.errors import ArgumentError, ShapeError, describe
from graphad.ir import sizes
from graphad.ir.operation import function
from graphad.ir.sizes import Extent, Size, as_extent
from graphad.ir.types import Shape, as_shape
from graphad.ir.variable import Variable, common_graph
from graphad.ops.build import astype, promoted
from graphad.ops.extents import axes_of, axis_in, axis_of, integers, refuse, show, wrong_shape
from graphad.ops.shape import common_shape, flipped, joined, reshaped, sliced, stretched, transposed, with_ones


@function("reshape", np.reshape)
def reshape(x: Variable, shape: Any = None, order: str = "C", *, newshape: Any = None, copy: Any = None) -> Variable:
    """The elements in another shape.

    Arguments:
        shape: extents, one of which may be -1: it becomes the quotient, exact or checked at run time.
        order: "C" (last axis fastest) or "F" (first axis fastest).

    Raises `ShapeError` where the number of elements can not agree.

    >>> import graphad as ga
    >>> x = ga.Graph("demo").input("x", shape=("n", 6))
    >>> x.reshape(-1, 3).shape, x.reshape("n", 2, 3).shape
    ((2*n, 3), (n, 2, 3))
    """
    wanted = newshape if shape is None else shape
    if order == "F":
        reverse = wanted if isinstance(wanted, (tuple, list)) else (wanted,)
        return transpose(reshape(transpose(x), tuple(reverse)[::-1]))
    if order not in ("C", "A"):
        raise ArgumentError(describe(f"`reshape`: order `{order}` is unknown", expected='"C" or "F"'))
    return reshaped(x, _resolved(x, wanted))


def _resolved(x: Variable, shape: Any) -> Shape:
    listed = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    unknown = [a for a, e in enumerate(listed) if not isinstance(e, (Size, str)) and operator.index(e) == -1]
    if len(unknown) > 1:
        raise wrong_shape(x, "`reshape`: one extent may be -1", got=show(listed))
    if not unknown:
        return as_shape(listed)
    known = as_shape([e for a, e in enumerate(listed) if a not in unknown])
    rest, total = sizes.product(known), x.size
    if rest == 0 or (isinstance(rest, int) and isinstance(total, int) and total % rest):
        raise wrong_shape(x, "`reshape`: no extent can stand for -1", expected=f"{total} elements", got=show(listed))
    quotient = sizes.floordiv(total, rest)
    return (*known[: unknown[0]], quotient, *known[unknown[0] :])


@function("ravel", np.ravel)
def ravel(x: Variable, order: str = "C") -> Variable:
    """The elements on one axis, in the order "C" or "F"."""
    return reshape(x, -1 if x.ndim else (1,), order)


@function("transpose", np.transpose)
def transpose(x: Variable, axes: Any = None) -> Variable:
    """The axes in another order; reversed by default."""
    if axes is None:
        return transposed(x, tuple(range(x.ndim))[::-1])
    listed = tuple(axis_of(x, a, "transpose") for a in (axes if isinstance(axes, (tuple, list)) else (axes,)))
    if sorted(listed) != list(range(x.ndim)):
        raise wrong_shape(x, f"`transpose`: axes {axes} are no permutation", expected=f"each of {x.ndim} axes once")
    return transposed(x, listed)


@function("matrix_transpose", np.matrix_transpose, np.linalg.matrix_transpose)
def matrix_transpose(x: Variable) -> Variable:
    """The last two axes exchanged."""
    return swapaxes(x, -1, -2)


@function("swapaxes", np.swapaxes)
def swapaxes(x: Variable, axis1: int, axis2: int) -> Variable:
    """Two axes exchanged."""
    order = list(range(x.ndim))
    a, b = axis_of(x, axis1, "swapaxes"), axis_of(x, axis2, "swapaxes")
    order[a], order[b] = b, a
    return transposed(x, tuple(order))


@function("moveaxis", np.moveaxis)
def moveaxis(x: Variable, source: Any, destination: Any) -> Variable:
    """Axes moved to other positions, the others in their order."""
    origins, targets = (
        [axis_of(x, a, "moveaxis") for a in (given if isinstance(given, (tuple, list)) else (given,))]
        for given in (source, destination)
    )
    if len(origins) != len(targets) or len(set(origins)) != len(origins) or len(set(targets)) != len(targets):
        raise wrong_shape(x, "`moveaxis`: as many sources as destinations, each once", got=f"{source}, {destination}")
    order = [a for a in range(x.ndim) if a not in origins]
    for target, origin in sorted(zip(targets, origins, strict=True)):
        order.insert(target, origin)
    return transposed(x, tuple(order))


@function("expand_dims", np.expand_dims)
def expand_dims(x: Variable, axis: Any) -> Variable:
    """New axes of extent 1 at the given positions of the result."""
    listed = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    rank = x.ndim + len(listed)
    places = tuple(sorted(axis_in(x, a, rank, "expand_dims") for a in listed))
    if len(set(places)) != len(places):
        raise wrong_shape(x, "`expand_dims`: an axis is given twice", got=f"axis={axis}")
    return with_ones(x, places)


@function("squeeze", np.squeeze)
def squeeze(x: Variable, axis: Any = None) -> Variable:
    """Axes of literal extent 1 removed; all of them by default."""
    axes = tuple(a for a, e in enumerate(x.shape) if e == 1) if axis is None else axes_of(x, axis, "squeeze")
    for a in axes:
        if x.shape[a] != 1:
            raise wrong_shape(x, f"`squeeze`: axis {a} is not of extent 1", expected="1", got=str(x.shape[a]))
    return reshaped(x, tuple(e for a, e in enumerate(x.shape) if a not in axes))


@function("broadcast_to", np.broadcast_to)
def broadcast_to(x: Variable, shape: Any, subok: Any = None) -> Variable:
    """`x` stretched to a shape by NumPy's rule: new leading axes, and literal extents of 1."""
    return stretched(x, as_shape(shape))


@function("broadcast_arrays", np.broadcast_arrays)
def broadcast_arrays(*xs: Any, subok: Any = None) -> tuple[Variable, ...]:
    """The operands stretched to their common shape."""
    graph = common_graph(xs)
    arrays = [graph.owned(x) for x in xs]
    shape = common_shape(arrays[0], [a.shape for a in arrays], "`broadcast_arrays`")
    return tuple(stretched(a, shape) for a in arrays)


@function("atleast_1d", np.atleast_1d)
def atleast_1d(*xs: Any) -> Any:
    """A scalar becomes an array of one element."""
    graph = common_graph(xs)
    results = tuple(reshaped(x, (1,)) if x.ndim == 0 else x for x in map(graph.owned, xs))
    return results[0] if len(results) == 1 else results


@function("atleast_2d", np.atleast_2d)
def atleast_2d(*xs: Any) -> Any:
    """Leading axes of extent 1 up to rank 2."""
    graph = common_graph(xs)
    results = tuple(reshaped(x, (1,) * (2 - x.ndim) + x.shape) for x in map(graph.owned, xs))
    return results[0] if len(results) == 1 else results


# ---------------------------------------------------------------------- joining and splitting


@function("concatenate", np.concatenate)
def concatenate(arrays: Any, axis: Any = 0, out: Any = None, dtype: object = None, casting: Any = None) -> Variable:
    """Arrays one after the other along an axis (None: the flat arrays), in their common dtype.

    >>> import graphad as ga
    >>> x = ga.Graph("demo").input("x", shape=("n", 3))
    >>> np.concatenate([x, np.zeros((1, 3))]).shape
    (n+1, 3)
    """
    refuse("concatenate", out=out, casting=casting)
    parts = _parts("concatenate", arrays, dtype)
    if axis is None:
        return joined(tuple(ravel(p) for p in parts), 0)
    ranks = {p.ndim for p in parts}
    if len(ranks) > 1 or 0 in ranks:
        got = " and ".join(show(p.shape) for p in parts)
        raise wrong_shape(parts[0], "`concatenate` takes arrays of one rank", expected="equal ranks above 0", got=got)
    return joined(parts, axis_of(parts[0], axis, "concatenate"))


def _parts(name: str, arrays: Any, dtype: object = None) -> tuple[Variable, ...]:
    if isinstance(arrays, Variable):
        arrays = list(arrays)
    if not arrays:
        raise ShapeError(describe(f"`{name}` takes at least one array", got="none"))
    parts = promoted(*arrays)
    return parts if dtype is None else tuple(astype(p, dtype) for p in parts)


@function("stack", np.stack)
def stack(arrays: Any, axis: Any = 0, out: Any = None, *, dtype: object = None, casting: Any = None) -> Variable:
    """Arrays of one shape along a new axis."""
    refuse("stack", out=out, casting=casting)
    parts = _parts("stack", arrays, dtype)
    if len({p.ndim for p in parts}) > 1:
        got = " and ".join(show(p.shape) for p in parts)
        raise wrong_shape(parts[0], "`stack` takes arrays of one shape", got=got)
    place = axis_in(parts[0], axis, parts[0].ndim + 1, "stack")
    return joined(tuple(with_ones(p, (place,)) for p in parts), place)


@function("vstack", np.vstack)
def vstack(arrays: Any, *, dtype: object = None) -> Variable:
    """Arrays one below the other; one-dimensional ones are rows."""
    return joined(tuple(atleast_2d(p) for p in _parts("vstack", arrays, dtype)), 0)


@function("hstack", np.hstack)
def hstack(arrays: Any, *, dtype: object = None) -> Variable:
    """Arrays side by side: along axis 1, or 0 where they have only one."""
    parts = tuple(atleast_1d(p) for p in _parts("hstack", arrays, dtype))
    return joined(parts, 0 if parts[0].ndim == 1 else 1)


@function("column_stack", np.column_stack)
def column_stack(arrays: Any) -> Variable:
    """Arrays side by side; one-dimensional ones are columns."""
    parts = _parts("column_stack", arrays)
    return joined(tuple(reshaped(p, (p.size, 1)) if p.ndim < 2 else p for p in parts), 1)


@function("split", np.split)
def split(x: Variable, sections: Any, axis: int = 0) -> list[Variable]:
    """Parts along an axis.

    Arguments:
        sections: a number of equal parts, or the positions (integers or sizes) at which to cut.

    Raises `ShapeError` where the axis does not divide into that many parts; of a symbolic axis this is checked at run
    time.
    """
    along = axis_of(x, axis, "split")
    extent = x.shape[along]
    if isinstance(sections, (tuple, list, np.ndarray)):
        cuts: list[Extent] = [0, *integers(sections), extent]
        return [_piece(x, along, low, high) for low, high in pairwise(cuts)]
    count = operator.index(sections)
    if count < 1 or (isinstance(extent, int) and extent % count):
        raise wrong_shape(x, f"`split`: axis {along} does not divide into {count} equal parts", got=str(extent))
    size = sizes.floordiv(extent, count)
    if not isinstance(extent, int):
        pieces = reshaped(x, (*x.shape[:along], count, size, *x.shape[along + 1 :]))
        return [squeeze(sliced(pieces, along, i, 1), along) for i in range(count)]
    return [sliced(x, along, i * size, size) for i in range(count)]


def _piece(x: Variable, axis: int, low: Extent, high: Extent) -> Variable:
    return x[(slice(None),) * axis + (slice(low, high),)]


@function("vsplit", np.vsplit)
def vsplit(x: Variable, sections: Any) -> list[Variable]:
    """Parts along the first axis."""
    return split(x, sections, 0)


@function("hsplit", np.hsplit)
def hsplit(x: Variable, sections: Any) -> list[Variable]:
    """Parts along the second axis, the first where there is only one."""
    return split(x, sections, 1 if x.ndim > 1 else 0)


# ---------------------------------------------------------------------- turning and repeating


@function("flip", np.flip)
def flip(x: Variable, axis: Any = None) -> Variable:
    """The order along some axes reversed (all by default)."""
    for a in axes_of(x, axis, "flip"):
        x = flipped(x, a)
    return x


@function("flipud", np.flipud)
def flipud(x: Variable) -> Variable:
    """The order along the first axis reversed."""
    return flip(x, 0)


@function("fliplr", np.fliplr)
def fliplr(x: Variable) -> Variable:
    """The order along the second axis reversed."""
    return flip(x, 1)


@function("roll", np.roll)
def roll(x: Variable, shift: Any, axis: Any = None) -> Variable:
    """Elements moved along axes, those that leave at one end entering at the other.

    Arguments:
        shift: an integer, or one for each of several axes; on a symbolic axis at most its extent in magnitude.
        axis: an axis, a tuple of axes, or None for the flat array.
    """
    if axis is None:
        return reshaped(roll(reshaped(x, (x.size,)), shift, 0), x.shape)
    axes = [axis_of(x, a, "roll") for a in (axis if isinstance(axis, (tuple, list)) else (axis,))]
    shifts = list(shift) if isinstance(shift, (tuple, list)) else [shift] * len(axes)
    if len(shifts) != len(axes):
        raise wrong_shape(x, "`roll`: one shift for each axis", got=f"shift={shift}, axis={axis}")
    for a, s in zip(axes, shifts, strict=True):
        x = _rolled(x, a, operator.index(s))
    return x


def _rolled(x: Variable, axis: int, shift: int) -> Variable:
    extent = x.shape[axis]
    if isinstance(extent, int):
        shift = shift % extent if extent else 0
    if shift == 0:
        return x
    cut = extent - shift if shift > 0 else -shift
    return joined((sliced(x, axis, cut, extent - cut), sliced(x, axis, 0, cut)), axis)


@function("rot90", np.rot90)
def rot90(m: Variable, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Variable:
    """A quarter turn, k times, in the plane of two axes."""
    a, b = (axis_of(m, axis, "rot90") for axis in axes)
    turned = {0: m, 1: flip(m, b), 2: flip(m, (a, b)), 3: flip(m, a)}[k % 4]
    return swapaxes(turned, a, b) if k % 2 else turned


@function("tile", np.tile)
def tile(x: Variable, reps: Any) -> Variable:
    """`x` repeated along each axis `reps` times, axes aligned at the end."""
    counts = tuple(as_extent(r) for r in (reps if isinstance(reps, (tuple, list)) else (reps,)))
    rank = max(x.ndim, len(counts))
    shape = (1,) * (rank - x.ndim) + x.shape
    counts = (1,) * (rank - len(counts)) + counts
    apart = tuple(e for extent in shape for e in (1, extent))
    wide = tuple(e for pair in zip(counts, shape, strict=True) for e in pair)
    final = tuple(count * extent for count, extent in zip(counts, shape, strict=True))
    return reshaped(stretched(reshaped(x, apart), wide), final)


@function("repeat", np.repeat)
def repeat(x: Variable, repeats: Any, axis: int | None = None) -> Variable:
    """Each element repeated an integer (or symbolic) number of times along an axis; None: in the flat array."""
    if isinstance(repeats, (tuple, list, np.ndarray, Variable)):
        raise ArgumentError(
            describe("`repeat` takes one number of repetitions", got=repr(repeats), fix="index with `x[positions]`")
        )
    if axis is None:
        return repeat(reshaped(x, (x.size,)), repeats, 0)
    along, count = axis_of(x, axis, "repeat"), as_extent(repeats)
    before, extent, after = x.shape[:along], x.shape[along], x.shape[along + 1 :]
    wide = stretched(reshaped(x, (*before, extent, 1, *after)), (*before, extent, count, *after))
    return reshaped(wide, (*before, extent * count, *after))


@function("meshgrid", np.meshgrid)
def meshgrid(*xs: Any, indexing: str = "xy", sparse: bool = False, copy: Any = None) -> list[Variable]:
    """Coordinate arrays of a grid from its axes."""
    if indexing not in ("xy", "ij"):
        raise ArgumentError(describe(f"`meshgrid`: indexing `{indexing}` is unknown", expected='"xy" or "ij"'))
    graph = common_graph(xs)
    lines = [reshaped(a, (a.size,)) for a in map(graph.owned, xs)]
    order = list(range(len(lines)))
    if indexing == "xy" and len(lines) > 1:
        order[:2] = [1, 0]
    grids = [reshaped(a, (1,) * order[i] + a.shape + (1,) * (len(lines) - 1 - order[i])) for i, a in enumerate(lines)]
    return grids if sparse else list(broadcast_arrays(*grids))
