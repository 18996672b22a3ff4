"""Which index arrays of a graph need a check before a compiled function runs, and the graphs that check them.

Compiled loops read and write wherever an index points, so every index that is not provably inside its axis is looked
at first. An index that is itself read through another index is checked after that one, in a later stage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphad.errors import IndexRangeError, Source, describe
from graphad.interpret import evaluate, interpret
from graphad.ir import sizes
from graphad.ir.graph import Graph, Node, keep, rebuild
from graphad.ir.sizes import Extent, Size
from graphad.ir.types import INTEGERS
from graphad.ir.variable import Variable

FIRST_INDEX = {"gather": 1, "scatter_add": 2, "scatter_set": 2, "scatter_mul": 2, "scatter_max": 2, "scatter_min": 2}
# Operations whose result holds nothing but elements of the first operand.
SELECTING = frozenset({"reshape", "transpose", "broadcast_to", "slice", "gather", "max", "min", "stop_gradient"})


class Check(NamedTuple):
    """One index operand that has to lie within `low <= index < high` at run time."""

    node: int  # id of the index
    low: Extent
    high: Extent
    operation: str
    axis: int
    source: Source | None


class Interval(NamedTuple):
    """What is known about the elements of an integer node, both ends included; None where nothing is."""

    low: Extent | None
    high: Extent | None


UNKNOWN = Interval(None, None)


def index_checks(graph: Graph) -> tuple[tuple[Check, ...], ...]:
    """The checks that a call of the graph needs, in stages: those of a stage rely on the earlier stages only.

    >>> import graphad as ga
    >>> g = ga.Graph("pick")
    >>> x, i = g.input("x", shape="n"), g.input("i", shape="k", dtype="int64")
    >>> g.output("y", x[i])
    >>> [(str(c.low), str(c.high)) for c in index_checks(g)[0]]
    [('-n', 'n')]
    """
    known = intervals(graph)
    depth = _gather_depth(graph)
    stages: dict[int, dict[tuple[int, Extent, Extent], Check]] = {}
    for node_id in sorted(keep(graph, graph.outputs.values())):
        node = graph.nodes[node_id]
        for position, axis in _index_operands(node):
            extent = graph.nodes[node.args[0]].type.shape[axis]
            index = node.args[position]
            low: Extent = 0
            if _is_inside(known[index], 0, extent):
                continue
            raw = _unwrapped(graph, index, extent)
            if raw is not None:
                index, low = raw, -extent
            check = Check(index, low, extent, node.op, axis, node.source)
            stages.setdefault(depth[index], {}).setdefault((index, low, extent), check)
    return tuple(tuple(stages[level].values()) for level in sorted(stages))


def check_graph(graph: Graph, checks: Sequence[Check]) -> Graph:
    """A graph of the same inputs with one output: whether some index of `checks` is out of range.

    Empty index arrays are in range, whatever the axis.
    """
    new = graph.copy(f"{graph.name}_indices")
    new.outputs = {}
    total: Variable | None = None
    for check in checks:
        index = new.variable(check.node)
        low, high = _extent(new, check.low, index.dtype), _extent(new, check.high, index.dtype)
        outside = ((index < low) | (index >= high)).any() if index.ndim else (index < low) | (index >= high)
        total = outside if total is None else total | outside
    assert total is not None, "a stage holds at least one check"
    new.output("outside", total)
    return alone(new, "outside")


def alone(graph: Graph, output: str) -> Graph:
    """The part of a graph that one output needs, without requirements, which are those of the whole graph."""
    live = sorted(keep(graph, [graph.outputs[output]]))
    result = rebuild(graph, lambda new, old, node, args: None, live=live)
    result.outputs = {output: result.outputs[output]}
    result.requirements = []
    return result.freeze()


def raise_outside(graph: Graph, checks: Sequence[Check], arrays: Mapping[str, Any], bound: Mapping[str, int]) -> None:
    """Raise `IndexRangeError` for the first index of `checks` that is out of range; without checks, in a body."""
    if not checks:
        _raise_in_bodies(graph, arrays)
    values = {graph.inputs[name]: np.asarray(array) for name, array in arrays.items()}
    for check in checks:
        found = evaluate(graph, values, bound, {"index": check.node})["index"]
        low, high = sizes.evaluate(check.low, bound), sizes.evaluate(check.high, bound)
        outside = (found < low) | (found >= high)
        if not outside.any():
            continue
        raise IndexRangeError(_message(graph, check, found, outside, (low, high)))


def _raise_in_bodies(graph: Graph, arrays: Mapping[str, Any]) -> None:
    """Run the graph step by step, which raises at the first index that leaves its axis."""
    try:
        interpret(graph, **arrays)
    except IndexRangeError as error:
        raise IndexRangeError(f"`{graph.name}`, in the body of a loop or branch: {error}") from None


def _message(graph: Graph, check: Check, found: NDArray[Any], outside: NDArray[Any], interval: tuple[int, int]) -> str:
    position = tuple(int(p[0]) for p in np.nonzero(np.atleast_1d(outside)))
    value = int(np.atleast_1d(found)[position])
    node = graph.nodes[check.node]
    name = f" of `{node.param('name')}`" if node.op == "input" else ""
    where = f" at position {list(position)}{name}" if found.ndim else name
    low, high = interval
    named = "" if isinstance(check.high, int) else f" (axis {check.axis} has {check.high} = {high} elements)"
    return describe(
        f"`{graph.name}`: `{check.operation}`: index {value} is outside axis {check.axis}",
        expected=f"{low} <= index < {high}{named}" if high else "no index: the axis is empty",
        got=f"{value}{where}",
        source=check.source,
        fix="correct the index array",
    )


def _extent(graph: Graph, extent: Extent, dtype: str) -> Variable:
    if isinstance(extent, int):
        return graph.const(extent, dtype)
    value = graph.apply("size_of", size=extent)
    return value if dtype == "int64" else graph.apply("cast", value, dtype=dtype)


def _index_operands(node: Node) -> list[tuple[int, int]]:
    """Positions of a node's index operands, each with the axis of operand 0 that it indexes."""
    first = FIRST_INDEX.get(node.op)
    return [] if first is None else list(enumerate(node.param("axes"), start=first))


def _unwrapped(graph: Graph, index: int, extent: Extent) -> int | None:
    """The node i of an index that the builder made as `where(i < 0, i + extent, i)`; None for any other."""
    node = graph.nodes[index]
    if node.op != "where":
        return None
    raw = node.args[2]
    condition, moved = graph.nodes[node.args[0]], graph.nodes[node.args[1]]
    if condition.op != "less" or moved.op != "add" or condition.args[0] != raw or raw not in moved.args:
        return None
    other = moved.args[1 - moved.args.index(raw)]  # passes may have exchanged the operands
    zero, shift = intervals_of(graph, condition.args[1]), intervals_of(graph, other)
    return raw if zero == Interval(0, 0) and shift == Interval(extent, extent) else None


def _gather_depth(graph: Graph) -> list[int]:
    """For each node the largest number of indexing operations on a path to it, itself included."""
    depth: list[int] = []
    for node in graph.nodes:
        depth.append(max((depth[a] for a in node.args), default=0) + (node.op in FIRST_INDEX))
    return depth


# ---------------------------------------------------------------------- what is known about integers


def intervals(graph: Graph, given: Mapping[int, Interval] = MappingProxyType({})) -> list[Interval]:
    """For each node the interval of its elements as far as the structure tells; only integers are followed.

    Arguments:
        given: what is known about inputs.
    """
    known: list[Interval] = []
    for node_id, node in enumerate(graph.nodes):
        found = _interval(graph, node, known) if node.type.dtype in INTEGERS else UNKNOWN
        known.append(given.get(node_id, found))
    return known


def unproven(graph: Graph, known: Sequence[Interval], node: Node) -> list[tuple[int, Extent]]:
    """The operands of a node that index an axis and may lie outside it: their positions, and the axis' extents."""
    shape = graph.nodes[node.args[0]].type.shape if node.op in FIRST_INDEX else ()
    found = [(position, shape[axis]) for position, axis in _index_operands(node)]
    return [(position, extent) for position, extent in found if not _is_inside(known[node.args[position]], 0, extent)]


def intervals_of(graph: Graph, node_id: int) -> Interval:
    """The interval of a constant or an extent, looking through casts and changes of shape."""
    node = graph.nodes[node_id]
    while node.op in ("cast", "broadcast_to", "reshape"):
        node = graph.nodes[node.args[0]]
    return _interval(graph, node, []) if node.op in ("const", "size_of") else UNKNOWN


def _interval(graph: Graph, node: Node, known: Sequence[Interval]) -> Interval:
    if node.op == "const":
        array = node.param("value").array
        return Interval(int(array.min()), int(array.max())) if array.size else UNKNOWN
    if node.op == "size_of":
        return Interval(node.param("size"), node.param("size"))
    if node.op == "iota":
        return Interval(0, _unless_empty(node.param("size")) - 1)
    if node.op in ("argmax", "argmin"):
        return Interval(0, graph.nodes[node.args[0]].type.shape[node.param("axis")] - 1)
    if node.op in SELECTING or (node.op == "cast" and graph.nodes[node.args[0]].type.dtype in INTEGERS):
        return known[node.args[0]]
    operands = [known[a] for a in node.args]
    if node.op == "add":
        return Interval(_plus(operands[0].low, operands[1].low), _plus(operands[0].high, operands[1].high))
    if node.op == "sub":
        left, right = operands
        return Interval(_plus(left.low, _minus(right.high)), _plus(left.high, _minus(right.low)))
    if node.op == "where":
        return _where(graph, node, operands)
    return UNKNOWN


def _unless_empty(size: Extent) -> Extent:
    """The size without `max(size, 0)` around it: of an empty axis nothing needs to be known."""
    if isinstance(size, Size) and len(size.terms) == 1:
        monomial, factor = size.terms[0]
        atom = monomial[0] if (len(monomial), factor) == (1, 1) else ""
        if isinstance(atom, sizes.Call) and atom.function == "max" and 0 in (atom.left, atom.right):
            return atom.left if atom.right == 0 else atom.right
    return size


def _where(graph: Graph, node: Node, operands: Sequence[Interval]) -> Interval:
    condition, taken, other = graph.nodes[node.args[0]], operands[1], operands[2]
    if condition.op == "less" and condition.args[0] == node.args[2] and _at_least(other.low, 0):
        return other  # the branch for negative indices is never taken
    low = taken.low if taken.low == other.low else None
    high = taken.high if taken.high == other.high else None
    return Interval(low, high)


def _plus(left: Extent | None, right: Extent | None) -> Extent | None:
    return None if left is None or right is None else left + right


def _minus(extent: Extent | None) -> Extent | None:
    return None if extent is None else -extent


def _at_least(value: Extent | None, bound: Extent) -> bool:
    if value is None:
        return False
    difference = value - bound
    return isinstance(difference, int) and difference >= 0


def _is_inside(interval: Interval, low: Extent, high: Extent) -> bool:
    return _at_least(interval.low, low) and interval.high is not None and _at_least(high - 1, interval.high)
