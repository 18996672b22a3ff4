"""What stands between the brackets of `x[...]`, read once for reading and for functional updates.

An index becomes a list of slots, one per element after the Ellipsis has been expanded: a slice, an integer, an array
of positions, or a new axis.
"""

from __future__ import annotations

import operator
from typing import Any, Literal, NamedTuple

import numpy as np

from graphad.errors import ArgumentError, DtypeError, GraphError, IndexRangeError, describe
from graphad.ir.operation import call
from graphad.ir.sizes import Extent, Size
from graphad.ir.types import INTEGERS, Requirement, Shape
from graphad.ir.variable import Variable
from graphad.ops.build import astype
from graphad.ops.extents import at_most, equal, wrong_shape
from graphad.ops.source import extent_value

KEEPS_SIGN = ("reshape", "transpose", "broadcast_to", "slice", "gather", "cast", "concatenate", "add", "mul", "cumsum")
DEPTH = 8  # how far the sign of an index is looked for; deeper ones are merely wrapped at run time


class Slot(NamedTuple):
    """One element of an index.

    A slice has the elements start + i·step, `size` of them, of an axis; an integer is a slice of size 1 that drops the
    axis; an array holds positions from 0; "new" inserts an axis of extent 1 and has no axis of its own.
    """

    kind: Literal["slice", "integer", "array", "new"]
    axis: int = -1
    start: Extent = 0
    size: Extent = 1
    step: int = 1
    array: Variable | None = None

    def covers(self, shape: Shape) -> bool:
        """Whether the slot takes its whole axis as it is."""
        return self.kind == "slice" and self.start == 0 and self.step == 1 and self.size == shape[self.axis]


def read_index(x: Variable, index: Any) -> list[Slot]:
    """The slots of an index of `x`, all axes covered.

    Raises `IndexRangeError` for a position outside a literal axis and for too many indices, `DtypeError` for indices
    that are no integers, `GraphError` for a mask whose values are not known.
    """
    items = _expanded(x, _unmasked(x, list(index) if isinstance(index, tuple) else [index]))
    slots: list[Slot] = []
    axis = 0
    for item in items:
        slot = Slot("new") if item is None else _slot(x, axis, item)
        slots.append(slot)
        axis += item is not None
    return slots


def _unmasked(x: Variable, items: list[Any]) -> list[Any]:
    """Constant masks replaced by the positions at which they are true."""
    result: list[Any] = []
    for item in items:
        array = np.asarray(item) if isinstance(item, (list, np.ndarray)) else None
        if array is not None and array.dtype == bool:
            result.extend(_mask_positions(x, sum(i is not None and i is not Ellipsis for i in result), array))
        elif isinstance(item, (bool, np.bool_)) or (isinstance(item, Variable) and item.dtype == "bool"):
            raise GraphError(
                describe(
                    "a mask of variables can not index: the size of the result is not known",
                    got=repr(item),
                    source=x.graph._user_source(),
                    fix="use `np.where(mask, x, other)`; a mask that is a NumPy array can index",
                )
            )
        else:
            result.append(item)
    return result


def _mask_positions(x: Variable, axis: int, mask: np.ndarray[Any, Any]) -> list[Any]:
    for a, extent in enumerate(mask.shape):
        if axis + a >= x.ndim or (isinstance(x.shape[axis + a], int) and x.shape[axis + a] != extent):
            raise wrong_shape(x, "a mask does not fit the indexed axes", expected=str(x.type), got=f"mask {mask.shape}")
        for requirement in equal(x.shape[axis + a], extent, "a mask does not fit the indexed axes"):
            x.graph.require(requirement._replace(source=x.graph._user_source()))
    return list(np.nonzero(mask))


def _expanded(x: Variable, items: list[Any]) -> list[Any]:
    """The Ellipsis replaced by full slices; full slices at the end where there is none."""
    dots = [i for i, item in enumerate(items) if item is Ellipsis]
    if len(dots) > 1:
        raise ArgumentError(describe("an index has more than one `...`", source=x.graph._user_source()))
    used = sum(item is not None and item is not Ellipsis for item in items)
    if used > x.ndim:
        raise IndexRangeError(
            describe(
                "too many indices",
                expected=f"at most {x.ndim} for {x.type}",
                got=str(used),
                source=x.graph._user_source(),
            )
        )
    full = [slice(None)] * (x.ndim - used)
    place = dots[0] if dots else len(items)
    return items[:place] + full + items[place + len(dots) :]


def _slot(x: Variable, axis: int, item: Any) -> Slot:
    if isinstance(item, slice):
        return _slice_slot(x, axis, item)
    if isinstance(item, Size):
        return Slot("integer", axis, item)
    if isinstance(item, (Variable, list, np.ndarray)):
        return Slot("array", axis, array=positions_from(x, axis, item))
    try:
        number = operator.index(item)
    except TypeError:
        raise _no_index(x, item) from None
    return Slot("integer", axis, _from_zero(x, axis, number))


def _no_index(x: Variable, item: Any) -> DtypeError:
    kind = item.type if isinstance(item, Variable) else f"`{item!r}`"
    expected = "integers, slices, integer arrays, None or ..."
    return DtypeError(
        describe("an index is no integer", expected=expected, got=str(kind), source=x.graph._user_source())
    )


def _from_zero(x: Variable, axis: int, number: int) -> Extent:
    extent = x.shape[axis]
    if isinstance(extent, int) and not -extent <= number < extent:
        raise _outside(x, axis, number)
    return extent + number if number < 0 else number


def _outside(x: Variable, axis: int, number: int) -> IndexRangeError:
    extent = x.shape[axis]
    expected = f"an index from -{extent} to {extent - 1}" if extent else "no index: the axis is empty"
    return IndexRangeError(
        describe(
            f"index {number} leaves axis {axis}", expected=expected, got=str(x.type), source=x.graph._user_source()
        )
    )


# ---------------------------------------------------------------------- slices


def _slice_slot(x: Variable, axis: int, item: slice) -> Slot:
    extent = x.shape[axis]
    start, stop, step = (_bound(x, bound) for bound in (item.start, item.stop, item.step))
    step = 1 if step is None else step
    if not isinstance(step, int) or step == 0:
        raise ArgumentError(
            describe("the step of a slice is an integer other than 0", got=f"`{step}`", source=x.graph._user_source())
        )
    if isinstance(extent, int) and not isinstance(start, Size) and not isinstance(stop, Size):
        first, last, step = slice(start, stop, step).indices(extent)
        return Slot("slice", axis, first, len(range(first, last, step)), step)
    first_, last_ = _symbolic_bounds(extent, start, stop, step)
    size = (last_ - first_ + step - 1) // step if step > 0 else (first_ - last_ - step - 1) // -step
    return Slot("slice", axis, first_, max(size, 0) if isinstance(size, int) else size, step)


def _symbolic_bounds(extent: Extent, start: Extent | None, stop: Extent | None, step: int) -> tuple[Extent, Extent]:
    """First position, and the position at which to stop (-1 for "before the first"), without clipping."""
    low, high = (0, extent) if step > 0 else (extent - 1, -1)
    first = low if start is None else extent + start if isinstance(start, int) and start < 0 else start
    last = high if stop is None else extent + stop if isinstance(stop, int) and stop < 0 else stop
    return first, last


def _bound(x: Variable, bound: Any) -> Extent | None:
    if bound is None or isinstance(bound, Size):
        return bound
    if isinstance(bound, Variable):
        raise GraphError(
            describe(
                "a slice between variable bounds has no size that is known",
                got=repr(bound),
                source=x.graph._user_source(),
                fix="index with positions: `x[start + np.arange(count)]`",
            )
        )
    try:
        return operator.index(bound)
    except TypeError:
        raise _no_index(x, bound) from None


def slot_requirements(x: Variable, slot: Slot) -> list[Requirement]:
    """What keeps a slice or an integer inside its axis."""
    if slot.size == 0:
        return []
    reason = f"the index leaves axis {slot.axis}"
    last = slot.start + (slot.size - 1) * slot.step
    low, high = (slot.start, last) if slot.step > 0 else (last, slot.start)
    extent = x.shape[slot.axis]
    return [*at_most(0, slot.size, reason), *at_most(0, low, reason), *at_most(high + 1, extent, reason)]


# ---------------------------------------------------------------------- arrays of positions


def positions_from(x: Variable, axis: int, item: Any) -> Variable:
    """An index array as int64 positions from 0: negative ones count from the end of the axis."""
    if isinstance(item, Variable):
        if item.dtype not in INTEGERS:
            raise _no_index(x, item)
        x.graph.owned(item)
        if item.node.op != "const":
            return _wrapped(astype(item, "int64"), x.shape[axis])
        item = item.node.param("value").array
    array = np.asarray(item)
    if array.size == 0 and isinstance(item, list):
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise DtypeError(
            describe("an index array holds no integers", got=str(array.dtype), source=x.graph._user_source())
        )
    return _constant_positions(x, axis, array.astype(np.int64))


def _constant_positions(x: Variable, axis: int, array: np.ndarray[Any, Any]) -> Variable:
    graph, extent = x.graph, x.shape[axis]
    if array.size == 0:
        return graph.const(array)
    low, high = int(array.min()), int(array.max())
    if isinstance(extent, int):
        if not -extent <= low <= high < extent:
            raise _outside(x, axis, low if low < -extent else high)
        return graph.const(np.where(array < 0, array + extent, array))
    reason = f"an index leaves axis {axis}"
    for requirement in (*at_most(high + 1, extent, reason), *at_most(-low, extent, reason)):
        graph.require(requirement._replace(source=graph._user_source()))
    return _wrapped(graph.const(array), extent)


def _wrapped(index: Variable, extent: Extent) -> Variable:
    """Negative positions plus the extent."""
    if known_nonnegative(index):
        return index
    result: Variable = call("where", index < 0, index + extent_value(index.graph, extent), index)
    return result


def known_nonnegative(index: Variable, depth: int = DEPTH) -> bool:
    """Whether the way in which an integer variable was made shows that it is never negative."""
    node = index.node
    if node.op in ("iota", "argmax", "argmin", "size_of"):
        return True
    if node.op == "const":
        return bool((node.param("value").array >= 0).all())
    if node.op not in KEEPS_SIGN or depth == 0:
        return False
    inspected = node.args[:1] if node.op == "gather" else node.args
    return all(known_nonnegative(Variable(index.graph, a), depth - 1) for a in inspected)
