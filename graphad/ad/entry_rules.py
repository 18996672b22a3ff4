"""How single entries of Jacobians go through the operations that are not elementwise; importing this fills the table.

An operation *pulls* where every element of its result is one element of an operand or nothing: it is applied to values
and columns alike. It *pushes* where every element of an operand goes into one place of the result: values and columns
stay, and the rows change. Sums and scatters only push, broadcasts and gathers only pull, moves do both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphad.ad.entries import (
    Entries,
    IndirectError,
    Walk,
    entries_rule,
    numbered,
    pushed,
    scattered_entry,
)
from graphad.ir.graph import Graph, Node
from graphad.ir.operation import Custom, Linear, call, lookup
from graphad.ir.types import Shape
from graphad.ir.variable import Variable
from graphad.ops.gather import gathered, scattered, unique
from graphad.ops.shape import joined, reshaped, stretched, transposed, with_ones
from graphad.ops.source import extent_value, filled, iota_along

SPARSE = 4  # constant matrices are taken by their nonzeros where at most one element in so many is one


def _args(walk: Walk, node: Node) -> tuple[Variable, ...]:
    return tuple(Variable(walk.graph, a) for a in node.args)


def _pulled(walk: Walk, node: Node, x: Variable, extra: int) -> Variable:
    """The operation with `x`, which has `extra` axes in front, in the place of the first operand."""
    args = (x, *_args(walk, node)[1:])
    if extra == 0:
        return _composed(walk.graph.apply(node.op, *args, **dict(node.params)))
    batch = lookup(node.op).batch
    assert batch is not None, "every operation that moves elements has a rule"
    return batch(extra, args, (True, *(False for _ in args[1:])), dict(node.params))


def _composed(x: Variable) -> Variable:
    """A slice of a slice as one slice, so that equal reads are equal nodes."""
    node = x.node
    inner = x.graph.nodes[node.args[0]] if node.args else node
    if node.op != "slice" or inner.op != "slice":
        return x
    starts, steps = inner.param("starts"), inner.param("steps")
    return x.graph.apply(
        "slice",
        Variable(x.graph, inner.args[0]),
        starts=tuple(a + b * c for a, b, c in zip(starts, node.param("starts"), steps, strict=True)),
        sizes=node.param("sizes"),
        steps=tuple(a * b for a, b in zip(steps, node.param("steps"), strict=True)),
    )


def _pull(walk: Walk, node: Node, entry: Entries) -> Entries:
    """Entries that follow the axes of the operand, after an operation every element of whose result is one of it."""
    extra = entry.columns.ndim - walk.graph.nodes[node.args[0]].type.rank
    columns = _pulled(walk, node, entry.columns, extra)
    value = entry.value if entry.value.shape == () else _pulled(walk, node, entry.full, extra)
    return Entries(value, columns)


def _table(walk: Walk, node: Node, position: int) -> Variable:
    """For each element of an operand the place in the result into which it goes, counted from 1, 0 for none."""
    rule = lookup(node.op).derivative
    assert isinstance(rule, Linear)
    places = numbered(walk.graph, node.type.shape) + 1
    return rule.transpose(places, _args(walk, node), position, dict(node.params))


def _push(walk: Walk, node: Node, position: int, entry: Entries, *, partial: bool = False) -> Entries:
    before = walk.graph.nodes[node.args[position]].type.shape
    return pushed(entry, _table(walk, node, position) - 1, before, partial=partial)


@entries_rule("reshape", "transpose", "slice")
def move(walk: Walk, node_id: int, node: Node) -> list[Entries]:
    """Elements in another order, some perhaps left out."""
    found = walk.of(node.args[0])
    return [
        _pull(walk, node, e) if e.rows is None else _push(walk, node, 0, e, partial=node.op == "slice") for e in found
    ]


@entries_rule("broadcast_to")
def broadcast(walk: Walk, node_id: int, node: Node) -> list[Entries]:
    """Elements repeated."""
    return [_pull(walk, node, e) for e in walk.aligned(node.args[0], node.op)]


@entries_rule("gather")
def gather(walk: Walk, node_id: int, node: Node) -> list[Entries]:
    """Elements read at positions."""
    walk.fixed(node.args[1:], node.op)
    return [_pull(walk, node, e) for e in walk.aligned(node.args[0], node.op)]


@entries_rule("embed")
def embed(walk: Walk, node_id: int, node: Node) -> list[Entries]:
    """Elements among zeros: there are no entries where the zeros are."""
    found = []
    for e in walk.of(node.args[0]):
        if e.rows is not None:
            found.append(_push(walk, node, 0, e))
            continue
        moved = _pull(walk, node, e._replace(columns=e.columns + 1))
        found.append(moved._replace(columns=moved.columns - 1))
    return found


@entries_rule("sum")
def total(walk: Walk, node_id: int, node: Node) -> list[Entries]:
    """The summed axes become axes of further entries of the same row."""
    axes = node.param("axes")
    return [_kept(walk, node, e, axes) for e in walk.of(node.args[0])]


def _kept(walk: Walk, node: Node, entry: Entries, axes: tuple[int, ...]) -> Entries:
    if entry.rows is not None:
        return _push(walk, node, 0, entry)
    extra = entry.columns.ndim - walk.graph.nodes[node.args[0]].type.rank
    summed = tuple(extra + a for a in axes)
    order = (*summed, *(a for a in range(entry.columns.ndim) if a not in summed))
    value = entry.value if entry.value.shape == () else transposed(entry.full, order)
    return Entries(value, transposed(entry.columns, order))


@entries_rule("max", "min", "prod")
def weighted(walk: Walk, node_id: int, node: Node) -> list[Entries]:
    """A sum with weights: the partials of the reduction with respect to each of its elements."""
    rule = lookup(node.op).derivative
    assert isinstance(rule, Custom)
    out = Variable(walk.graph, node_id)
    ones = filled(walk.graph, node.type.shape, 1.0, node.type.dtype)
    (weights,) = rule.vjp(_args(walk, node), out, ones, dict(node.params))
    assert weights is not None
    found = []
    for e in walk.aligned(node.args[0], node.op):
        found.append(_kept(walk, node, e._replace(value=e.value * weights), node.param("axes")))
    return found


@entries_rule("concatenate")
def concatenate(walk: Walk, node_id: int, node: Node) -> list[Entries]:
    """Entries of the parts side by side become one list, the first of each part together, and so on."""
    graph, found = walk.graph, []
    slots: list[dict[int, Entries]] = []
    for position, arg in enumerate(node.args):
        place = 0
        for e in walk.of(arg):
            if e.rows is not None or e.columns.ndim > node.type.rank:
                loose = scattered_entry(graph, e, graph.nodes[arg].type.shape)
                found.append(_push(walk, node, position, loose))
                continue
            if place == len(slots):
                slots.append({})
            slots[place][position] = e
            place += 1
    return [*(_side_by_side(walk, node, slot) for slot in slots), *found]


def _side_by_side(walk: Walk, node: Node, parts: dict[int, Entries]) -> Entries:
    graph, axis = walk.graph, node.param("axis")
    shapes = [graph.nodes[a].type.shape for a in node.args]
    columns = joined(
        tuple(parts[i].columns if i in parts else filled(graph, shape, -1, "int64") for i, shape in enumerate(shapes)),
        axis,
    )
    values = {e.value.id: e.value for e in parts.values()}
    if len(values) == 1 and next(iter(values.values())).shape == ():
        return Entries(next(iter(values.values())), columns)
    zeros = graph.const(0.0, node.type.dtype)
    filled_in = tuple(parts[i].full if i in parts else stretched(zeros, shape) for i, shape in enumerate(shapes))
    return Entries(joined(filled_in, axis), columns)


# ---------------------------------------------------------------------- scatters


@entries_rule("scatter_add", "scatter_set")
def scatter(walk: Walk, node_id: int, node: Node) -> list[Entries]:
    """Elements added or put at positions."""
    indices = _args(walk, node)[2:]
    walk.fixed(node.args[2:], node.op)
    if node.op == "scatter_add":
        found = list(walk.of(node.args[0]))
    else:
        kept, rank = walk.aligned(node.args[0], node.op), node.type.rank
        found = [_overwritten(e, rank, indices, node.param("axes")) for e in kept]
        if node.args[1] in walk.known and not unique(indices):
            raise IndirectError("`scatter_set` at positions that may be equal")
    axes, places = node.param("axes"), numbered(walk.graph, node.type.shape)
    table = gathered(places, indices, axes)
    before = walk.graph.nodes[node.args[1]].type.shape
    return [*found, *(pushed(e, table, before, partial=False) for e in walk.of(node.args[1]))]


def _overwritten(entry: Entries, rank: int, indices: tuple[Variable, ...], axes: tuple[int, ...]) -> Entries:
    """The entries of an array of some rank without those where other elements were put."""
    extra = entry.columns.ndim - rank
    if extra:
        raise IndirectError("`scatter_set` into sums")
    rest = tuple(e for a, e in enumerate(entry.columns.shape) if a not in axes)
    nothing = filled(entry.columns.graph, indices[0].shape + rest, -1, "int64")
    return entry._replace(columns=scattered("set", entry.columns, nothing, indices, axes))


# ---------------------------------------------------------------------- products


@entries_rule("einsum")
def product(walk: Walk, node_id: int, node: Node) -> list[Entries]:
    """Every entry times the elements of the other operand that it meets."""
    letters = (node.param("left"), node.param("right"))
    found: list[Entries] = []
    for position in (0, 1):
        other = Variable(walk.graph, node.args[1 - position])
        for e in walk.aligned(node.args[position], node.op):
            found.append(_times(walk, node, e, letters[position], other, letters[1 - position]))
    return found


def _times(walk: Walk, node: Node, entry: Entries, mine: str, other: Variable, theirs: str) -> Entries:
    graph, out = walk.graph, node.param("out")
    nonzero = _nonzeros(other)
    extra = entry.columns.ndim - len(mine)
    few = nonzero is not None and SPARSE * len(nonzero[0]) <= other.node.param("value").array.size
    if nonzero is not None and walk.by_nonzeros and few and set(mine) & set(theirs) and set(mine) <= set(theirs + out):
        return _at_nonzeros(graph, node, entry, mine, other, theirs, nonzero)
    summed = "".join(dict.fromkeys(c for c in mine + theirs if c not in out))
    order = summed + out
    extents = dict(zip(mine + theirs, entry.columns.shape[extra:] + other.shape, strict=True))
    lead = entry.columns.shape[:extra]
    whole = lead + tuple(extents[c] for c in order)
    columns = stretched(_spread(entry.columns, extra, mine, order), whole)
    factor = _spread(other, 0, theirs, order)
    value = entry.value if entry.value.shape == () else _spread(entry.full, extra, mine, order)
    if nonzero is not None:
        columns = call("where", factor == 0.0, filled(graph, (), -1, "int64"), columns)
    return Entries(value * factor, columns)


def _spread(x: Variable, extra: int, letters: str, order: str) -> Variable:
    """The axes behind `extra` in the order of some letters, with extent 1 for those that are missing."""
    permuted = sorted(range(len(letters)), key=lambda i: order.index(letters[i]))
    moved = transposed(x, (*range(extra), *(extra + i for i in permuted)))
    return with_ones(moved, tuple(extra + i for i, c in enumerate(order) if c not in letters))


def _nonzeros(other: Variable) -> tuple[np.ndarray, ...] | None:
    """The positions of the nonzeros of a constant; None where everything may be different from zero."""
    if other.node.op != "const":
        return None
    array = other.node.param("value").array
    return tuple(np.nonzero(array)) if np.any(array == 0) else None


def _at_nonzeros(
    graph: Graph, node: Node, entry: Entries, mine: str, other: Variable, theirs: str, at: Sequence[np.ndarray]
) -> Entries:
    """The product with the nonzeros of a constant only: one axis counts them, and the rows are computed from them."""
    extra = entry.columns.ndim - len(mine)
    position = {c: graph.const(places.astype(np.int64)) for c, places in zip(theirs, at, strict=True)}
    shared = [(extra + i, position[c]) for i, c in enumerate(mine) if c in theirs]
    rest = [c for c in mine if c not in theirs]
    axes, indices = tuple(a for a, _ in shared), tuple(p for _, p in shared)
    columns = gathered(entry.columns, indices, axes)
    value = entry.value if entry.value.shape == () else gathered(entry.full, indices, axes)
    numbers = graph.const(other.node.param("value").array[tuple(at)])
    factor = reshaped(numbers, (numbers.size, *(1 for _ in range(columns.ndim - 1))))
    rows: Variable | None = None
    for c, extent in zip(node.param("out"), node.type.shape, strict=True):
        if c in theirs:
            step = reshaped(position[c], (numbers.size, *(1 for _ in range(columns.ndim - 1))))
        else:
            shape: Shape = tuple(e if a == 1 + extra + rest.index(c) else 1 for a, e in enumerate(columns.shape))
            step = iota_along(graph, shape, 1 + extra + rest.index(c))
        rows = step if rows is None else rows * extent_value(graph, extent) + step
    rows = filled(graph, (), 0, "int64") if rows is None else rows
    return Entries(value * factor, columns, stretched(rows, columns.shape))
