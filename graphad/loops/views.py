"""Views: nodes that move no data, as index maps over the positions of their axes.

A view reads a variable (or is a number) through one index per dimension of the variable; the atoms of these indices
are positions of the view's own axes, 0 to rank−1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from graphad.ir.sizes import Extent
from graphad.loops.ir import ZERO, Access, Index, IndexValue, Literal, Operand, Var, at


class View(NamedTuple):
    """What a node is read as: an operand over positions, and the node's shape."""

    operand: Operand
    shape: tuple[Extent, ...]

    def positions(self) -> set[int]:
        """The positions of the axes along which the value changes."""
        if isinstance(self.operand, Access):
            return set(self.operand.axes())
        return set(self.operand.number.axes()) if isinstance(self.operand, IndexValue) else set()

    def read(self, indices: Sequence[Index]) -> Operand:
        """The element at one index per axis."""
        return remap(self.operand, indices)

    def moved(self, indices: Sequence[Index], shape: tuple[Extent, ...]) -> View:
        """Another view: its element at positions p is this one's at `indices`, which are over p."""
        return View(remap(self.operand, indices), shape)


def remap(operand: Operand, indices: Sequence[Index]) -> Operand:
    """An operand over positions, read at an index per position."""
    if isinstance(operand, Access):
        return operand.substitute(lambda p: indices[p])
    if isinstance(operand, IndexValue):
        return IndexValue(operand.number.substitute(lambda p: indices[p]), operand.dtype)
    return operand


def whole(var: Var) -> View:
    """A variable as it is."""
    return View(Access(var, tuple(at(p) for p in range(len(var.shape)))), var.shape)


def transposed(view: View, axes: Sequence[int]) -> View:
    """Axis p of the result is axis `axes[p]` of the view."""
    place = {axis: p for p, axis in enumerate(axes)}
    return view.moved([at(place[d]) for d in range(len(axes))], tuple(view.shape[a] for a in axes))


def stretched(view: View, shape: tuple[Extent, ...]) -> View:
    """The view broadcast to a shape."""
    lead = len(shape) - len(view.shape)
    indices = [ZERO if extent == 1 and shape[lead + d] != 1 else at(lead + d) for d, extent in enumerate(view.shape)]
    return view.moved(indices, shape)


def sliced(view: View, starts: Sequence[Extent], lengths: tuple[Extent, ...], steps: Sequence[int]) -> View:
    """Element i of an axis is element start + step·i."""
    indices = [affine(p, start, step) for p, (start, step) in enumerate(zip(starts, steps, strict=True))]
    return view.moved(indices, lengths)


def affine(axis: int, start: Extent, step: Extent) -> Index:
    """start + step·axis."""
    return Index(((axis, step),), start)


def stepped(index: Index, start: Extent, step: Extent) -> Index:
    """start + step·index."""
    return affine(0, start, step).substitute(lambda _: index)


def regrouped(old: tuple[Extent, ...], new: tuple[Extent, ...]) -> list[Index] | None:
    """For a reshape that only drops, adds or splits axes the old axes' indices over the new ones, else None.

    >>> [i.terms for i in regrouped((6, 1), (2, 3))]
    [((0, 3), (1, 1)), ()]
    """
    indices: list[Index] = []
    position = 0
    for extent in old:
        if extent == 1:
            indices.append(ZERO)
            continue
        group: list[int] = []
        total: Extent = 1
        while total != extent:
            if position == len(new):
                return None
            if new[position] != 1:
                group.append(position)
                total = total * new[position]
            position += 1
        terms: list[tuple[int | Access, Extent]] = []
        stride: Extent = 1
        for p in reversed(group):
            terms.insert(0, (p, stride))
            stride = stride * new[p]
        indices.append(Index(tuple(terms)))
    if any(extent != 1 for extent in new[position:]):
        return None
    return indices


def plain(view: View) -> tuple[Var, tuple[int, ...]] | None:
    """The variable and the position of each of its dimensions, for a view that is a transpose of a whole variable."""
    if not isinstance(view.operand, Access):
        return None
    positions = [index.axis for index in view.operand.indices]
    found = tuple(p for p in positions if p is not None)
    if len(found) != len(positions) or len(set(found)) != len(found) or len(found) != len(view.shape):
        return None
    if any(view.operand.var.shape[d] != view.shape[p] for d, p in enumerate(found)):
        return None
    return view.operand.var, found


def number(value: bool | int | float, dtype: str, shape: tuple[Extent, ...]) -> View:
    """A number seen as an array."""
    return View(Literal(value, dtype), shape)
