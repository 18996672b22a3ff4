"""Indices inside bodies of loops and branches are moved to the nearest element, so that no step leaves an array.

An index at the top of a graph is checked before a call begins. Inside a body it is known only while the loop runs:
where it is not provably inside its axis, generated code takes the first or the last element instead, as JAX does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graphad.analysis.indices import UNKNOWN, Interval, intervals, unproven
from graphad.ir.bodies import bodies, map_bodies
from graphad.ir.graph import Graph, Node, rebuild
from graphad.ir.operation import call
from graphad.ir.sizes import Extent
from graphad.ir.variable import Variable
from graphad.ops.source import extent_value
from passes.base import Pass

Known = Mapping[int, Interval]


def clamp_indices(graph: Graph) -> Graph:
    """The graph with the indices in its bodies clamped; itself where none needs to be.

    >>> import graphad as ga
    >>> g = ga.Graph("walk")
    >>> x, start = g.input("x", shape="n"), g.input("start", dtype="int64")
    >>> g.output("y", ga.fori_loop(0, 3, lambda _, place: place + x[place].astype("int64"), start))
    >>> len(clamp_indices(g).nodes), [n.op for n in clamp_indices(g).nodes[-2].param("body").nodes].count("minimum")
    (5, 1)
    """
    return _around(graph, {}, inside=False)


def _around(graph: Graph, given: Known, *, inside: bool) -> Graph:
    """A graph with its bodies changed, and its own indices where it is a body itself."""
    if not inside and not any(any(bodies(node.params)) for node in graph.nodes):
        return graph
    known = intervals(graph, given)
    changed: list[int] = []

    def replace(new: Graph, old: int, node: Node, args: tuple[int, ...]) -> int | None:
        params = map_bodies(node.params, lambda body: _body(body, node, known))
        nearest = _clamped(new, args, unproven(graph, known, node)) if inside else args
        if nearest is args and params is node.params:
            return None
        changed.append(old)
        return new.add(node.op, nearest, params, node.region)

    new = rebuild(graph, replace)
    return new if changed else graph


def _body(body: Graph, node: Node, known: list[Interval]) -> Graph:
    """A body of a node; what is known about stacked operands and constants holds for its inputs too."""
    skipped = int(node.op == "cond")
    carries = dict(node.params).get("carries", 0)
    given = {
        i: UNKNOWN if place < carries else known[node.args[place + skipped]]
        for place, i in enumerate(body.inputs.values())
    }
    return _around(body, given, inside=True).freeze()


def _clamped(new: Graph, args: tuple[int, ...], found: list[tuple[int, Extent]]) -> tuple[int, ...]:
    for position, extent in found:
        index = Variable(new, args[position])
        last = extent_value(new, extent - 1, index.dtype)
        nearest = call("minimum", call("maximum", index, 0), last)
        args = (*args[:position], nearest.id, *args[position + 1 :])
    return args


@dataclass(frozen=True)
class Clamp(Pass):
    """Clamp indices inside bodies. Generated code always is; the pass shows what it is generated from."""

    def run(self, graph: Graph) -> Graph:
        """See `clamp_indices`."""
        return clamp_indices(graph)
