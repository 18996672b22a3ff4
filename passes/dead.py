"""Drop the nodes that no output needs; inputs stay, and so does what the sizes must satisfy."""

from __future__ import annotations

from dataclasses import dataclass

from graphad.ir.graph import Graph, keep, rebuild
from passes.base import Pass


def remove_dead(graph: Graph) -> Graph:
    """The graph without unneeded nodes and repeated requirements; itself where there are none.

    >>> g = Graph("f")
    >>> x = g.input("x")
    >>> unused = x * 3.0
    >>> g.output("y", x + x)
    >>> print(remove_dead(g))
    graph f
      x: float64[] = input
      %1: float64[] = add x x
      output y = %1
    """
    live = keep(graph, graph.outputs.values()) | set(graph.inputs.values())
    distinct = {(r.kind, r.left, r.right): r for r in reversed(graph.requirements)}
    if len(live) == len(graph.nodes) and len(distinct) == len(graph.requirements):
        return graph
    new = rebuild(graph, lambda new, old, node, args: None, live=sorted(live))
    new.requirements = list(reversed(distinct.values()))
    return new


@dataclass(frozen=True)
class DeadCode(Pass):
    """Drop what no output needs."""

    def run(self, graph: Graph) -> Graph:
        """See `remove_dead`."""
        return remove_dead(graph)
