"""Reverse mode: cotangents from the outputs back, in one walk against the nodes.

Reference: S. Linnainmaa, Taylor expansion of the accumulated rounding error, BIT 16 (1976); Griewank and Walther,
section 3.2.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from graphad.ad import arith
from graphad.ad.flow import flow
from graphad.ir.graph import Graph, Node
from graphad.ir.operation import Bodies, Custom, Elementwise, Linear, Multilinear, NotDifferentiable, Projection, lookup
from graphad.ir.types import TupleType
from graphad.ir.variable import Variable


class Contribution(NamedTuple):
    """What a cotangent adds to that of an earlier node; `guarded` as for `pull_back`."""

    value: Variable
    guarded: bool


# From a node's cotangent, and whether it is guarded, what it adds to earlier nodes; None to go through the operation.
Shortcut = Callable[[Variable, bool], Mapping[int, Contribution] | None]
Shortcuts = Mapping[int, Shortcut]
EMPTY: Shortcuts = {}


def pull_back(
    graph: Graph,
    seeds: Mapping[int, Variable],
    targets: Sequence[int],
    *,
    independent: bool = False,
    guarded: bool = False,
    shortcuts: Shortcuts = EMPTY,
) -> list[Variable | None]:
    """Add to an open graph the cotangents of `targets` for cotangents of some nodes.

    Arguments:
        seeds: for node ids their cotangents, of the nodes' types.
        targets: node ids.
        independent: nothing is pulled through a target; otherwise a target's cotangent goes on to other targets.
        guarded: zeros in the seeds come from a `where`, and silence what lies behind.
        shortcuts: for node ids how their cotangent gets to earlier nodes without those between.

    Returns one cotangent per target, None where no seeded node depends on it.
    """
    active = _active(graph, seeds, targets)
    sums = Cotangents(graph)
    for node_id, seed in seeds.items():
        sums.put(node_id, seed, guarded=guarded)
    wanted = set(targets)
    for node_id in range(max(seeds, default=-1), -1, -1):
        if node_id not in active or (node_id not in sums.values and node_id not in sums.several):
            continue
        node = graph.nodes[node_id]
        if node_id in wanted and (independent or not any(a in active for a in node.args)):
            continue
        graph.set_source(node.source)
        if node_id not in shortcuts or not _pull_through(graph, node_id, shortcuts[node_id], sums):
            _pull(graph, node_id, node, sums, active)
        if node_id not in wanted:
            sums.values.pop(node_id, None)
    graph.set_source(None)
    return [sums.values.get(t) for t in targets]


def _pull_through(graph: Graph, node_id: int, shortcut: Shortcut, sums: Cotangents) -> bool:
    """Put what a shortcut gives; answers whether it gave anything."""
    cotangent = arith.broadcast_to(sums.values[node_id], graph.nodes[node_id].type.shape)
    found = shortcut(cotangent, node_id in sums.guarded)
    for earlier, part in (found or {}).items():
        value = arith.unbroadcast(part.value, graph.nodes[earlier].type.shape)
        sums.put(earlier, value, guarded=part.guarded)
    return found is not None


class Cotangents:
    """Cotangents accumulated so far, and which of them come through a `where`."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.values: dict[int, Variable] = {}
        self.several: dict[int, list[Variable | None]] = {}
        self.guarded: set[int] = set()

    def put(self, node_id: int, value: Variable | None, *, guarded: bool) -> None:
        """Add a contribution to the cotangent of a node."""
        if value is None:
            return
        total = arith.add(self.values.get(node_id), value)
        assert total is not None
        self.values[node_id] = total
        if guarded:
            self.guarded.add(node_id)


def _active(graph: Graph, seeds: Mapping[int, Variable], targets: Sequence[int]) -> Collection[int]:
    """The nodes to which a derivative flows from a target."""
    return flow(graph, dict.fromkeys(targets, 1), max(seeds, default=-1) + 1)


def _pull_item(graph: Graph, node_id: int, node: Node, sums: Cotangents) -> None:
    """A cotangent of one of several results goes to the node that has them."""
    (arg,) = node.args
    kind = graph.nodes[arg].type
    assert isinstance(kind, TupleType)
    found = sums.several.setdefault(arg, [None] * len(kind.items))
    place = node.param("index")
    found[place] = arith.add(found[place], arith.broadcast_to(sums.values[node_id], node.type.shape))
    if node_id in sums.guarded:
        sums.guarded.add(arg)


def _pull_bodies(graph: Graph, node_id: int, node: Node, sums: Cotangents, active: Collection[int]) -> None:
    from graphad.ad.control import pull_bodies  # here, because bodies are differentiated by this very walk

    guarded = node_id in sums.guarded
    wanted = [a in active for a in node.args]
    found = pull_bodies(graph, node, sums.several.pop(node_id), wanted, guarded=guarded)
    for arg, value in zip(node.args, found, strict=True):
        if arg in active and value is not None:
            sums.put(arg, value, guarded=guarded)


def _pull(graph: Graph, node_id: int, node: Node, sums: Cotangents, active: Collection[int]) -> None:
    rule = lookup(node.op).derivative
    if isinstance(rule, NotDifferentiable):
        return
    if isinstance(rule, Projection):
        _pull_item(graph, node_id, node, sums)
        return
    if isinstance(rule, Bodies):
        _pull_bodies(graph, node_id, node, sums, active)
        return
    cotangent = arith.broadcast_to(sums.values[node_id], node.type.shape)
    guarded = node_id in sums.guarded
    args = tuple([Variable(graph, a) for a in node.args])
    if isinstance(rule, Elementwise):
        out = Variable(graph, node_id)
        for arg, partial in zip(args, rule.partials, strict=True):
            if arg.id in active and partial is not None:
                value = arith.scale(cotangent, partial(*args, out), guarded=guarded)
                sums.put(arg.id, None if value is None else arith.unbroadcast(value, arg.shape), guarded=guarded)
        return
    params = dict(node.params)
    if isinstance(rule, Custom):
        for arg, contribution in zip(args, rule.vjp(args, Variable(graph, node_id), cotangent, params), strict=True):
            if arg.id in active and contribution is not None:
                value = arith.unbroadcast(contribution, arg.shape)
                sums.put(arg.id, value, guarded=guarded or rule.selects)
        return
    assert isinstance(rule, Linear | Multilinear)
    inside = range(len(args)) if isinstance(rule, Multilinear) or rule.operands is None else rule.operands
    for position in inside:
        if args[position].id in active:
            value = rule.transpose(cotangent, args, position, params)
            sums.put(args[position].id, value, guarded=guarded)
