"""Loops and branches lose what nothing needs: results, operands, carries, and what their bodies compute twice.

A carry goes where no result that is used depends on it. One that every step leaves as it is becomes a constant. Carries
that start equal and are made equal in every step are one, so that a loop of duals beside its primal, merged by the pass
`fuse_loops`, runs each step once. Operands given twice are one, constants are made inside, and a stacked operand that
is the same in every step is a constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from graphad.ir.bodies import has_bodies
from graphad.ir.graph import Frozen, Graph, Node, keep, rebuild
from graphad.ir.types import TupleType
from passes.base import Pass
from passes.dead import remove_dead
from passes.loop_slots import Given, slots_of

STRETCHED = "broadcast_to"


def reduce_loops(graph: Graph) -> Graph:
    """The graph with every loop and branch reduced to what is needed; itself where nothing changes.

    >>> import graphad as ga
    >>> g = ga.Graph("f")
    >>> x = g.input("x")
    >>> last, _ = ga.scan(lambda c, _: ((c[0] * 2.0, c[1] + c[2], c[2]), c[1]), (x, x, x), length=3)
    >>> g.output("y", last[0])
    >>> print(reduce_loops(g))
    graph f
      x: float64[] = input
      %1: (float64[],) = scan x {body=graph(body), carries=1, checkpoint=None, length=3, reverse=False, xs=0}
        graph body
          carry_0: float64[] = input
          %1: float64[] = const 2.0
          %2: float64[] = mul carry_0 %1
          output carry_0_out = %2
      %2: float64[] = item %1 {index=0}
      output y = %2
    """
    if not has_bodies(graph):
        return graph
    used = used_results(graph)
    where: dict[int, Reduced] = {}
    changed: list[int] = []

    def replace(new: Graph, old: int, node: Node, args: tuple[int, ...]) -> int | None:
        if old in used:
            reduced = reduce_node(new, node, args, used[old])
            where[old] = reduced
            if reduced.params is None:
                return None
            changed.append(old)
            return new.add(node.op, reduced.args, reduced.params, node.region) if reduced.results else args[0]
        if node.op == "item" and where[node.args[0]].params is not None:
            return _item(new, where[node.args[0]], args[0], node.param("index"))
        return None

    new = rebuild(graph, replace)
    return remove_dead(new) if changed else graph


def used_results(graph: Graph) -> dict[int, list[int]]:
    """For each needed node with several results which of them are used."""
    used: dict[int, set[int]] = {}
    for node_id in keep(graph, graph.outputs.values()):
        node = graph.nodes[node_id]
        if isinstance(node.type, TupleType):
            used.setdefault(node_id, set())
        if node.op == "item":
            used.setdefault(node.args[0], set()).add(node.param("index"))
    return {node_id: sorted(places) for node_id, places in used.items()}


@dataclass(frozen=True)
class Reduced:
    """A node with bodies after the reduction.

    Arguments:
        args: its operands.
        params: its parameters; None where it stays as it is.
        results: for results that are used the number among the new ones.
        same: for results that are used and equal an operand at the start that operand's node.
    """

    args: tuple[int, ...]
    params: Frozen | None
    results: dict[int, int]
    same: dict[int, int]


def _item(new: Graph, reduced: Reduced, node_id: int, index: int) -> int:
    if index in reduced.same:
        return reduced.same[index]
    place = reduced.results.get(index)
    return node_id if place is None else new.add("item", (node_id,), (("index", place),))


def reduce_node(new: Graph, node: Node, args: tuple[int, ...], used: Sequence[int]) -> Reduced:
    """What becomes of one node, whose operands are nodes of the new graph."""
    slots = slots_of(node)
    given = [Given(place, args[place + slots.skipped]) for place in range(slots.count)]
    same = {k: given[k].node for k in slots.unchanged_carries() if k in used}
    invariant = set(slots.unchanged_carries())
    live_results = slots.live_results([k for k in used if k not in same], invariant)
    live, alone = slots.live_operands(live_results), slots.differentiated(live_results)
    merged = slots.equal_carries(given, live_results) if slots.mergeable else {}
    kept: list[Given] = []
    stands: dict[int, Any] = {}
    known: dict[Any, int] = {}
    for one in given:
        if one.place not in live:
            continue
        if one.place in merged:
            stands[one.place] = merged[one.place]
            continue
        role = "constant" if one.place in invariant else slots.role(one.place)
        if one.place in alone:
            kept.append(Given(one.place, one.node, role))
            continue
        if role == "constant" and (again := made_again(new, one.node)) is not None:
            stands[one.place] = again
            continue
        if role == "xs" and slots.mergeable and (inner := _same_everywhere(new, one.node)) is not None:
            role, one = "constant", Given(one.place, inner)
        first = known.setdefault((role, one.node), one.place) if role in ("constant", "xs") else one.place
        if first != one.place:
            stands[one.place] = first
            continue
        kept.append(Given(one.place, one.node, role))
    kept.sort(key=lambda one: slots.order(one))
    equal = {**merged, **slots.equal_results(live_results)}
    results = [k for k in live_results if k not in invariant and k not in equal]
    mapped = {k: results.index(equal.get(k, k)) for k in live_results if k not in invariant}
    untouched = (
        [one.place for one in kept] == list(range(slots.count))
        and results == list(range(len(slots.results)))
        and all(one.role == slots.role(one.place) and one.node == args[one.place + slots.skipped] for one in kept)
    )
    if untouched:
        return Reduced(args, None, {}, {})
    arguments = args[: slots.skipped] + tuple([one.node for one in kept])
    return Reduced(arguments, slots.rebuilt(kept, stands, results) if results else node.params, mapped, same)


# ---------------------------------------------------------------------- operands


def made_again(graph: Graph, node_id: int) -> tuple[Node, ...] | None:
    """The nodes of a value that depends on nothing, last first; None for any other."""
    chain: list[Node] = []
    while True:
        node = graph.nodes[node_id]
        chain.append(node)
        if node.op in ("const", "iota", "size_of"):
            return tuple(chain)
        if node.op not in (STRETCHED, "cast", "reshape"):
            return None
        node_id = node.args[0]


def _same_everywhere(new: Graph, node_id: int) -> int | None:
    """The element of a stacked operand that is one value stretched along the first axis; None for any other."""
    node = new.nodes[node_id]
    if node.op != STRETCHED or new.nodes[node.args[0]].type.rank == node.type.rank:
        return None
    inner, shape = node.args[0], node.type.shape[1:]
    return inner if new.nodes[inner].type.shape == shape else new.add(STRETCHED, (inner,), (("shape", shape),))


@dataclass(frozen=True)
class LoopParts(Pass):
    """Reduce loops and branches to what is needed."""

    def run(self, graph: Graph) -> Graph:
        """See `reduce_loops`."""
        return reduce_loops(graph)
