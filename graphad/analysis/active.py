"""Which nodes derivatives go through."""

from __future__ import annotations

from collections.abc import Sequence

from graphad.ir.graph import Graph, keep
from graphad.ir.types import TupleType


def active_nodes(graph: Graph, sources: Sequence[int], targets: Sequence[int]) -> list[int]:
    """The nodes on paths from sources to targets that carry derivatives, in order.

    >>> g = Graph("f")
    >>> x = g.input("x")
    >>> g.output("y", (x > 0.0) * x)
    >>> active_nodes(g, [x.id], [g.outputs["y"]])
    [0, 4]
    """
    needed, reached = keep(graph, targets), set(sources)
    for node_id, node in enumerate(graph.nodes):
        carries = node.type.is_float or isinstance(node.type, TupleType)
        if carries and any(a in reached for a in node.args):
            reached.add(node_id)
    return sorted(needed & reached)
