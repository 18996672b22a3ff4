"""How operations work on one row: which operands are read row by row, and their parameters without the rows' axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from graphad.ir import sizes
from graphad.ir.graph import Node
from graphad.ir.operation import lookup
from graphad.ir.sizes import Extent
from graphad.ir.types import TensorType

Types = tuple[TensorType, ...]
Axes = tuple[int | None, ...]


class RowsMix(Exception):  # noqa: N818  (an answer, not a mistake of the user)
    """An operation mixes rows; the text says how."""


class RowForm(NamedTuple):
    """An operation on one row.

    Arguments:
        axis: the axis of the result that numbers the rows.
        axes: by operand the axis of which it takes one row; None where all rows share it.
        dropped: by operand an axis of extent 1 that it loses, or None.
        params: the parameters.
    """

    axis: int
    axes: Axes
    dropped: Axes
    params: dict[str, Any]


def row_form(node: Node, types: Types, axes: Axes, size: Extent) -> RowForm:
    """The form of a node; `axes` are those by which operands depend on rows, at least one. Raises `RowsMix`."""
    if lookup(node.op).elementwise:
        return _elementwise(node, types, axes, size)
    rule = FORMS.get(node.op)
    if rule is None:
        raise RowsMix(f"nothing is known about rows of `{node.op}`")
    return rule(node, types, axes, size)


def _elementwise(node: Node, types: Types, axes: Axes, size: Extent) -> RowForm:
    behind = {kind.rank - axis for kind, axis in zip(types, axes, strict=True) if axis is not None}
    if len(behind) > 1:
        raise RowsMix(f"`{node.op}` pairs rows of its operands along different axes")
    (offset,) = behind
    rows: list[int | None] = []
    dropped: list[int | None] = []
    for kind, axis in zip(types, axes, strict=True):
        at = kind.rank - offset
        one = axis is None and at >= 0 and kind.shape[at] == 1 and size != 1
        rows.append(None if at < 0 or one else at)
        dropped.append(at if one else None)
    return RowForm(node.type.rank - offset, tuple(rows), tuple(dropped), dict(node.params))


def _shared_others(axes: Axes) -> Axes:
    return (None,) * len(axes)


def _one(node: Node, axes: Axes, axis: int, params: dict[str, Any]) -> RowForm:
    """The form of an operation with one operand in rows."""
    return RowForm(axis, axes, _shared_others(axes), params)


def _moved(axis: int, gone: int) -> int:
    """An axis when another one is gone."""
    return axis - (axis > gone)


def _cut(entries: tuple[Any, ...], axis: int) -> tuple[Any, ...]:
    return entries[:axis] + entries[axis + 1 :]


def _reshape(node: Node, types: Types, axes: Axes, size: Extent) -> RowForm:
    (axis,) = axes
    assert axis is not None
    before, shape = sizes.product(types[0].shape[:axis]), node.param("shape")
    for place, extent in enumerate(shape):
        if extent == size and sizes.product(shape[:place]) == before:
            return _one(node, axes, place, {"shape": _cut(shape, place)})
    raise RowsMix("`reshape` joins rows with another axis")


def _transpose(node: Node, types: Types, axes: Axes, size: Extent) -> RowForm:
    order, axis = node.param("axes"), axes[0]
    assert axis is not None
    return _one(node, axes, order.index(axis), {"axes": tuple(_moved(a, axis) for a in order if a != axis)})


def _broadcast(node: Node, types: Types, axes: Axes, size: Extent) -> RowForm:
    shape, axis = node.param("shape"), axes[0]
    assert axis is not None
    place = len(shape) - (types[0].rank - axis)
    return _one(node, axes, place, {"shape": _cut(shape, place)})


def _slice(node: Node, types: Types, axes: Axes, size: Extent) -> RowForm:
    axis, params = axes[0], dict(node.params)
    assert axis is not None
    if params["starts"][axis] != 0 or params["steps"][axis] != 1 or params["sizes"][axis] != size:
        raise RowsMix("a slice takes some of the rows, or in another order")
    return _one(node, axes, axis, {name: _cut(value, axis) for name, value in params.items()})


def _embed(node: Node, types: Types, axes: Axes, size: Extent) -> RowForm:
    axis, params = axes[0], dict(node.params)
    assert axis is not None
    if params["starts"][axis] != 0 or params["steps"][axis] != 1 or params["shape"][axis] != size:
        raise RowsMix("rows are put among others")
    return _one(node, axes, axis, {name: _cut(value, axis) for name, value in params.items()})


def _concatenate(node: Node, types: Types, axes: Axes, size: Extent) -> RowForm:
    along = node.param("axis")
    found = {a for a in axes if a is not None}
    if len(found) > 1 or along in found:
        raise RowsMix("`concatenate` joins rows, or operands whose rows lie along different axes")
    (axis,) = found
    return RowForm(axis, (axis,) * len(axes), _shared_others(axes), {"axis": _moved(along, axis)})


def _reduction(node: Node, types: Types, axes: Axes, size: Extent) -> RowForm:
    axis, params = axes[0], dict(node.params)
    assert axis is not None
    many = "axes" in params
    reduced = params["axes"] if many else (params["axis"],)
    if axis in reduced:
        raise RowsMix(f"`{node.op}` runs over the rows")
    left = tuple(_moved(a, axis) for a in reduced)
    place = axis - sum(a < axis for a in reduced)
    return _one(node, axes, place, {**params, **({"axes": left} if many else {"axis": left[0]})})


def _running(node: Node, types: Types, axes: Axes, size: Extent) -> RowForm:
    along, params = node.param("axis"), dict(node.params)
    found = {a for a in axes if a is not None}
    if len(found) > 1 or along in found:
        raise RowsMix(f"`{node.op}` runs over the rows")
    (axis,) = found
    return RowForm(axis, (axis,) * len(axes), _shared_others(axes), {**params, "axis": _moved(along, axis)})


def _einsum(node: Node, types: Types, axes: Axes, size: Extent) -> RowForm:
    letters, out = (node.param("left"), node.param("right")), node.param("out")
    found = {text[axis] for text, axis in zip(letters, axes, strict=True) if axis is not None}
    if len(found) > 1 or not found <= set(out):
        raise RowsMix("a product sums over the rows, or pairs each with all")
    (letter,) = found
    places = tuple([text.index(letter) if letter in text else None for text in letters])
    short = [text.replace(letter, "") for text in (*letters, out)]
    return RowForm(
        out.index(letter), places, _shared_others(axes), {"left": short[0], "right": short[1], "out": short[2]}
    )


def _gather(node: Node, types: Types, axes: Axes, size: Extent) -> RowForm:
    axis, indexed = axes[0], node.param("axes")
    if axis is None:
        return _gather_by_rows(node, axes)
    if axis in indexed:
        raise RowsMix("an index array takes rows of others")
    place = types[1].rank + axis - sum(a < axis for a in indexed)
    return _one(node, axes, place, {"axes": tuple(_moved(a, axis) for a in indexed)})


def _gather_by_rows(node: Node, axes: Axes) -> RowForm:
    """Every row has its own index and reads what all share."""
    found = {a for a in axes[1:] if a is not None}
    if len(found) > 1:
        raise RowsMix("index arrays have their rows along different axes")
    (axis,) = found
    return RowForm(axis, (None, *(axis,) * (len(axes) - 1)), _shared_others(axes), dict(node.params))


FORMS: dict[str, Callable[[Node, Types, Axes, Extent], RowForm]] = {
    "reshape": _reshape,
    "transpose": _transpose,
    "broadcast_to": _broadcast,
    "slice": _slice,
    "embed": _embed,
    "concatenate": _concatenate,
    "einsum": _einsum,
    "gather": _gather,
    **dict.fromkeys(("sum", "prod", "max", "min", "any", "all", "argmax", "argmin"), _reduction),
    **dict.fromkeys(("cumsum", "cumprod", "linear_recurrence"), _running),
}
