"""Indexing: `x[...]`, take, take_along_axis, and the functional updates behind `x.at[...]`.

Slices, integers and new axes become one `slice` and one `reshape`; integer arrays become one `gather`, whose axes are
put where NumPy puts them: in the place of the arrays where these stand side by side, in front otherwise.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from graphad.errors import ArgumentError, DtypeError, describe
from graphad.ir.operation import call, function
from graphad.ir.sizes import Extent
from graphad.ir.types import FLOATS, Shape, never_equal
from graphad.ir.variable import Variable
from graphad.ops.build import astype, operands
from graphad.ops.extents import axis_of, refuse, show, wrong_shape
from graphad.ops.gather import gathered, scattered
from graphad.ops.shape import common_shape, inverse, reshaped, stretched, transposed
from graphad.ops.source import extent_value, filled, iota
from graphad.ops.subscript import Slot, positions_from, read_index, slot_requirements


class Layout(NamedTuple):
    """Where the axes of a gathered array go.

    `picked` is the common shape of the index arrays; `order` the permutation from (picked, sliced axes) to the result;
    `shape` the result's, new axes included.
    """

    picked: Shape
    order: tuple[int, ...]
    shape: Shape


@function("getitem")
def getitem(x: Variable, index: Any) -> Variable:
    """Elements of `x` as NumPy's indexing has them.

    Arguments:
        index: integers, slices with literal or symbolic bounds, `None`, `...`, integer arrays (NumPy's or variables),
            boolean NumPy arrays.

    Slices of a symbolic axis are not clipped: `x[:5]` has five elements and requires that the axis has as many.
    Positions in index arrays are checked when the compiled function is called.

    >>> import graphad as ga
    >>> x = ga.Graph("demo").input("x", shape=("n", 4))
    >>> x[1:, ::2].shape, x[-1].shape, x[[0, 2], :, None].shape, x[::2, [0, 3]].shape
    ((n-1, 2), (4,), (2, 4, 1), ((n+1)//2, 2))
    """
    slots = read_index(x, index)
    if not any(slot.kind == "array" for slot in slots):
        return reshaped(_sliced(x, slots), _basic_shape(slots))
    based = _sliced(x, slots)
    dropped = {slot.axis for slot in slots if slot.kind == "integer"}
    based = reshaped(based, tuple(e for a, e in enumerate(based.shape) if a not in dropped))
    remaining = [a for a in range(x.ndim) if a not in dropped]
    layout = _layout(x, slots)
    arrays = [slot for slot in slots if slot.array is not None]
    indices = tuple(stretched(slot.array, layout.picked) for slot in arrays if slot.array is not None)
    picked = gathered(based, indices, tuple(remaining.index(slot.axis) for slot in arrays))
    return reshaped(transposed(picked, layout.order), layout.shape)


def _sliced(x: Variable, slots: list[Slot]) -> Variable:
    """The slices and integers taken, all axes kept."""
    own = [slot for slot in slots if slot.kind in ("slice", "integer")]
    if all(slot.covers(x.shape) for slot in own):
        return x
    starts: list[Extent] = [0] * x.ndim
    extents, steps = list(x.shape), [1] * x.ndim
    for slot in own:
        starts[slot.axis], extents[slot.axis], steps[slot.axis] = slot.start, slot.size, slot.step
    return x.graph.apply("slice", x, starts=tuple(starts), sizes=tuple(extents), steps=tuple(steps))


def _basic_shape(slots: list[Slot]) -> Shape:
    return tuple(1 if slot.kind == "new" else slot.size for slot in slots if slot.kind in ("slice", "new"))


def _layout(x: Variable, slots: list[Slot]) -> Layout:
    shapes = [slot.array.shape for slot in slots if slot.array is not None]
    picked = common_shape(x, shapes, "index arrays of different shapes")
    advanced = [slot.kind in ("integer", "array") for slot in slots]
    together = sum(flag for flag, _ in groupby(advanced)) == 1
    place = advanced.index(True) if together else 0
    before = sum(slot.kind == "slice" for slot in slots[:place])
    rank = len(picked)
    total = rank + sum(slot.kind == "slice" for slot in slots)
    order = (*range(rank, rank + before), *range(rank), *range(rank + before, total))
    return Layout(picked, order, _basic_shape(slots[:place]) + picked + _basic_shape(slots[place:]))


@function("take", np.take)
def take(x: Any, indices: Any, axis: int | None = None, out: Any = None, mode: Any = None) -> Variable:
    """Elements at some positions along an axis (None: of the flat array); negative positions count from the end.

    >>> import graphad as ga
    >>> x = ga.Graph("demo").input("x", shape=("n", 4))
    >>> np.take(x, [[0, 1]], axis=1).shape
    (n, 1, 2)
    """
    refuse("take", out=out, mode=None if mode == "raise" else mode)
    graph = x.graph if isinstance(x, Variable) else indices.graph
    value = graph.owned(x)
    if not isinstance(indices, Variable):
        indices = np.asarray(indices)
    if axis is None:
        return getitem(reshaped(value, (value.size,)), (indices,))
    return getitem(value, (slice(None),) * axis_of(value, axis, "take") + (indices,))


@function("take_along_axis", np.take_along_axis)
def take_along_axis(x: Any, indices: Any, axis: int | None = -1) -> Variable:
    """For each position of `indices` the element of `x` at that index along `axis` and at the same place otherwise.

    >>> import graphad as ga
    >>> x = ga.Graph("demo").input("x", shape=("n", 4))
    >>> np.take_along_axis(x, np.argmax(x, axis=1, keepdims=True), axis=1).shape
    (n, 1)
    """
    graph = x.graph if isinstance(x, Variable) else indices.graph
    value = graph.owned(x)
    if axis is None:
        value, axis = reshaped(value, (value.size,)), 0
    along = axis_of(value, axis, "take_along_axis")
    found = positions_from(value, along, indices)
    if found.ndim != value.ndim:
        got = f"{show(value.shape)} and {show(found.shape)}"
        raise wrong_shape(value, "`take_along_axis`: array and indices of different ranks", got=got)
    beside = tuple(1 if a == along else e for a, e in enumerate(value.shape))
    shape = common_shape(value, [beside, found.shape], "`take_along_axis`")
    if beside[along] == 1 and found.shape[along] == 1:
        shape = (*shape[:along], 1, *shape[along + 1 :])
    return gathered(value, _everywhere(value, found, along, shape), tuple(range(value.ndim)))


def _everywhere(x: Variable, found: Variable, along: int, shape: Shape) -> tuple[Variable, ...]:
    """The positions on all axes: those found on one, a counter on each other."""
    indices = []
    for axis, extent in enumerate(shape):
        if axis == along:
            indices.append(stretched(found, shape))
        elif x.shape[axis] == 1:
            indices.append(filled(x.graph, shape, 0, "int64"))
        else:
            lined = tuple(extent if a == axis else 1 for a in range(len(shape)))
            indices.append(stretched(reshaped(iota(x.graph, extent), lined), shape))
    return tuple(indices)


# ---------------------------------------------------------------------- functional updates


@function("scatter_set")
def scatter_set(x: Variable, index: Any, values: Any) -> Variable:
    """`x` with the indexed elements replaced; of equal indices the last wins. What `x.at[index].set` calls.

    >>> import graphad as ga
    >>> g = ga.Graph("demo")
    >>> g.output("y", g.input("x", shape="n").at[[0, -1]].set(7.0))
    >>> ga.interpret(g, [1.0, 2.0, 3.0])
    {'y': array([7., 2., 7.])}
    """
    return _updated("set", x, index, values)


@function("scatter_add")
def scatter_add(x: Variable, index: Any, values: Any) -> Variable:
    """`x` with values added to the indexed elements; equal indices accumulate. What `x.at[index].add` calls."""
    return _updated("add", x, index, values)


@function("scatter_multiply")
def scatter_multiply(x: Variable, index: Any, values: Any) -> Variable:
    """`x` with the indexed elements multiplied; equal indices accumulate. What `x.at[index].multiply` calls."""
    return _updated("mul", x, index, values)


@function("scatter_max")
def scatter_max(x: Variable, index: Any, values: Any) -> Variable:
    """The larger of the indexed elements and values; ties go to `x`. What `x.at[index].max` calls."""
    return _updated("max", x, index, values)


@function("scatter_min")
def scatter_min(x: Variable, index: Any, values: Any) -> Variable:
    """The smaller of the indexed elements and values; ties go to `x`. What `x.at[index].min` calls."""
    return _updated("min", x, index, values)


def _updated(kind: str, x: Variable, index: Any, values: Any) -> Variable:
    if kind != "set" and x.dtype == "bool":
        raise DtypeError(describe(f"`scatter_{kind}` needs numbers", got=str(x.type), source=x.graph._user_source()))
    slots = read_index(x, index)
    given = _fitting_dtype(x, values)
    if any(slot.kind == "array" for slot in slots):
        return _array_update(kind, x, slots, given)
    return _slice_update(kind, x, slots, given)


def _fitting_dtype(x: Variable, values: Any) -> Variable:
    """The values in the dtype of `x`; floating ones do not go into integers unasked."""
    given = operands(x, values)[1]
    if given.dtype in FLOATS and x.dtype not in FLOATS:
        raise DtypeError(
            describe(
                "floating values can not be put into an array of integers",
                expected=x.dtype,
                got=given.dtype,
                source=x.graph._user_source(),
                fix="convert one of them: `x.astype(float)` or `values.astype(int)`",
            )
        )
    return astype(given, x.dtype)


def _as_shape_of_index(x: Variable, values: Variable, shape: Shape) -> Variable:
    """The values stretched to the shape of the indexed part; leading axes of extent 1 may be missing or in excess."""
    while values.ndim > len(shape) and values.shape[0] == 1:
        values = reshaped(values, values.shape[1:])
    pairs = zip(values.shape[::-1], shape[::-1], strict=False)
    if values.ndim > len(shape) or any(have != 1 and never_equal(have, want) for have, want in pairs):
        raise wrong_shape(x, "the values do not fit the index", expected=show(shape), got=show(values.shape))
    return stretched(values, shape)


def _slice_update(kind: str, x: Variable, slots: list[Slot], values: Variable) -> Variable:
    """Slices and integers: the values embedded in the shape of `x`, and a mask of where they are."""
    fitted = _as_shape_of_index(x, values, _basic_shape(slots))
    own = [slot for slot in slots if slot.kind != "new"]
    inner = reshaped(fitted, tuple(slot.size for slot in own))
    whole = all(slot.covers(x.shape) for slot in own)
    placed = inner if whole else _embedded(x, inner, own)
    if kind == "add":
        return x.graph.apply("add", x, placed)
    combined: Variable = placed if kind == "set" else call(_ELEMENTWISE[kind], x, placed)
    if whole:
        return combined
    mask = _embedded(x, filled(x.graph, inner.shape, True, "bool"), own)
    return call("where", mask, combined, x)  # type: ignore[no-any-return]


_ELEMENTWISE = {"mul": "multiply", "max": "maximum", "min": "minimum"}


def _embedded(x: Variable, inner: Variable, own: list[Slot]) -> Variable:
    starts, steps = tuple(slot.start for slot in own), tuple(slot.step for slot in own)
    return x.graph.apply("embed", inner, shape=x.shape, starts=starts, steps=steps)


def _array_update(kind: str, x: Variable, slots: list[Slot], values: Variable) -> Variable:
    """Index arrays: one scatter; slices that do not cover their axis become counters beside the arrays."""
    layout = _layout(x, slots)
    fitted = _as_shape_of_index(x, values, layout.shape)
    slices = [slot for slot in slots if slot.kind == "slice"]
    rank = len(layout.picked)
    unordered = layout.picked + tuple(slot.size for slot in slices)
    moved = reshaped(fitted, tuple(unordered[a] for a in layout.order))
    updates = transposed(moved, inverse(layout.order))
    counted = [i for i, slot in enumerate(slices) if not slot.covers(x.shape)]
    covering = [i for i in range(len(slices)) if i not in counted]
    updates = transposed(updates, (*range(rank), *(rank + i for i in counted), *(rank + i for i in covering)))
    shape = layout.picked + tuple(slices[i].size for i in counted)
    indexed = [slot for slot in slots if slot.kind in ("integer", "array")] + [slices[i] for i in counted]
    indexed.sort(key=lambda slot: slot.axis)
    counters = {slices[i].axis: rank + place for place, i in enumerate(counted)}
    indices = tuple(_positions(x, slot, counters.get(slot.axis, -1), rank, shape) for slot in indexed)
    return scattered(kind, x, updates, indices, tuple(slot.axis for slot in indexed))


def _positions(x: Variable, slot: Slot, counter: int, rank: int, shape: Shape) -> Variable:
    """The positions on the axis of a slot, in the common shape of all index arrays."""
    if slot.array is not None:
        return stretched(reshaped(slot.array, slot.array.shape + (1,) * (len(shape) - rank)), shape)
    for requirement in slot_requirements(x, slot):
        x.graph.require(requirement._replace(source=x.graph._user_source()))
    start = extent_value(x.graph, slot.start)
    if counter < 0:
        return stretched(start, shape)
    counts = iota(x.graph, slot.size)
    run = start + (counts if slot.step == 1 else counts * slot.step)
    return stretched(reshaped(run, tuple(e if a == counter else 1 for a, e in enumerate(shape))), shape)


@function("put_along_axis", np.put_along_axis)
def put_along_axis(x: Variable, indices: Any, values: Any, axis: int | None) -> Variable:
    """NumPy changes its argument here, which a graph can not; raises `ArgumentError` with the remedy."""
    raise ArgumentError(
        describe("`np.put_along_axis` changes its argument", got=repr(x), fix="use `x.at[indices].set(values)`")
    )
