"""Reverse sweeps of loops get their schedules, and those that store something for every step become two plain loops.

The first runs the loop forward and stacks what `graphad.plan.sweeps.stored_nodes` says; the second runs backwards and
reads it. Being loops like others, they are merged with the loop itself, which then runs once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from graphad.ad.expand import expanded
from graphad.analysis.cost import sure_sizes, typical_sizes
from graphad.ir.bodies import bodies, has_bodies
from graphad.ir.graph import Frozen, Graph, Node, rebuild
from graphad.plan.modes import Decision
from graphad.plan.sweep_choice import open_sweeps
from graphad.plan.sweeps import LIMIT, STORING, decided, stored_nodes, sweep_decision
from passes.base import Pass
from passes.dead import remove_dead
from passes.in_bodies import in_bodies

Schedules = tuple[tuple[Any, ...], ...]


class Extents(NamedTuple):
    """Values of the named sizes: typical ones, and those that are sure to be reached, 1 where there is no hint."""

    typical: Mapping[str, int]
    sure: Mapping[str, int]


def extents_of(graph: Graph, around: Extents | None = None) -> Extents:
    """The sizes of a graph, or of a body in the graph around it."""
    typical, sure = around or ({}, {})
    return Extents(typical_sizes(graph, typical), sure_sizes(graph, sure))


def schedule_sweeps(
    graph: Graph, limit: int = LIMIT, around: Extents | None = None, chosen: Schedules = (), inside: int | None = None
) -> Graph:
    """The graph with every sweep decided, innermost first, and expanded where it stores something for every step.

    Arguments:
        limit: bytes at the hints up to which something is stored for every step.
        around: the named sizes, for a body.
        chosen: schedules for the open sweeps in order; none: by the limit.
        inside: the limit for sweeps in bodies; None: the same.
    """
    if not has_bodies(graph):
        return graph
    extents = extents_of(graph, around)
    bound = extents.typical
    graph = inside_decided(graph, inside or limit, extents)
    own = dict(zip(open_sweeps(graph), chosen, strict=True)) if chosen else {}
    where: dict[int, dict[int, int]] = {}
    changed: list[int] = []

    def replace(new: Graph, old: int, node: Node, args: tuple[int, ...]) -> int | None:
        if node.op == "item" and node.args[0] in where:
            return new.add("item", args, (("index", where[node.args[0]][node.param("index")]),))
        if node.op != "scan_adjoint":
            return None
        schedule = own.get(old) or decided(node, bound, limit, extents.sure)
        if schedule[0] in STORING:
            changed.append(old)
            stored = stored_nodes(node, bound, schedule)
            result, where[old] = expanded(new, node, args, stored)
            return result
        if node.param("schedule") is None:
            changed.append(old)
            return new.add(node.op, args, _with(node.params, schedule=schedule), node.region)
        return None

    new = rebuild(graph, replace)
    return remove_dead(new) if changed else graph


def inside_decided(graph: Graph, limit: int, extents: Extents) -> Graph:
    """The graph with the sweeps inside its bodies decided; arguments as for `schedule_sweeps`."""
    return in_bodies(graph, lambda body: schedule_sweeps(body, limit, extents))


def _with(params: Frozen, **changes: object) -> Frozen:
    return tuple(sorted({**dict(params), **changes}.items()))


def decisions(
    graph: Graph, limit: int = LIMIT, around: Extents | None = None, chosen: Schedules = (), inside: int | None = None
) -> tuple[Decision, ...]:
    """What the sweeps of a graph and of the bodies in it store, and why; arguments as for `schedule_sweeps`."""
    extents, found = extents_of(graph, around), list[Decision]()
    for node in graph.nodes:
        for _, body in bodies(node.params):
            found += decisions(body, inside or limit, extents)
    whole = inside_decided(graph, inside or limit, extents)
    own = dict(zip(open_sweeps(whole), chosen, strict=True)) if chosen else {}
    for node_id, node in enumerate(whole.nodes):
        if node.op in ("scan_adjoint", "while_adjoint"):
            found.append(sweep_decision(node, extents.typical, limit, extents.sure, own.get(node_id)))
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class Checkpoints(Pass):
    """Decide what sweeps store.

    Arguments:
        limit: bytes, at the sizes' hints, up to which something is stored for every step of a loop. Sizes without a
            hint count as 1: a guess leads to no schedule that runs steps again.
        chosen: schedules for the open sweeps of one graph, in order, as a memory budget takes them.
        digest: of that graph; others are decided by the limit.
        inside: bytes for each sweep in a body; None: the limit.
    """

    limit: int = LIMIT
    chosen: Schedules = ()
    digest: str = ""
    inside: int | None = None

    def run(self, graph: Graph) -> Graph:
        """See `schedule_sweeps`."""
        return schedule_sweeps(graph, self.limit, None, self._chosen(graph), self.inside)

    def decisions(self, graph: Graph) -> tuple[Decision, ...]:
        """The records of what `run` decides."""
        return decisions(graph, self.limit, None, self._chosen(graph), self.inside)

    def inside_decided(self, graph: Graph) -> Graph:
        """The graph with the sweeps inside its bodies decided."""
        return inside_decided(graph, self.inside or self.limit, extents_of(graph))

    def _chosen(self, graph: Graph) -> Schedules:
        return self.chosen if self.chosen and graph.digest == self.digest else ()
