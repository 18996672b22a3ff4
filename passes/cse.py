"""Merge equal nodes (common subexpression elimination).

Two nodes are equal if operation, operands, parameters and region agree; operands of commutative operations in any
order. Copies in another region, which checkpointing makes on purpose, stay apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from graphad.ir.graph import Graph, Node, rebuild
from passes.base import Pass

# Not `minimum` and `maximum`: at ties the derivative goes to the first operand.
COMMUTATIVE = frozenset({"add", "mul", "logical_and", "logical_or", "logical_xor", "equal", "not_equal"})
APART = frozenset({"input", "placeholder"})


def merge_equal(graph: Graph) -> Graph:
    """The graph with one node for each distinct computation; itself where all are distinct. Linear in nodes.

    >>> g = Graph("f")
    >>> x, y = g.input("x"), g.input("y")
    >>> g.output("z", (x + y) * (y + x))
    >>> print(merge_equal(g))
    graph f
      x: float64[] = input
      y: float64[] = input
      %2: float64[] = add x y
      %3: float64[] = mul %2 %2
      output z = %3
    """
    known: dict[Any, int] = {}

    def merge(new: Graph, old: int, node: Node, args: tuple[int, ...]) -> int | None:
        if node.op in APART:
            return None
        operands = tuple(sorted(args)) if node.op in COMMUTATIVE else args
        first = known.setdefault((node.op, operands, node.params, node.region), len(new.nodes))
        return first if first < len(new.nodes) else None

    new = rebuild(graph, merge)
    return new if len(new.nodes) < len(graph.nodes) else graph


@dataclass(frozen=True)
class CommonSubexpressions(Pass):
    """Merge equal nodes."""

    def run(self, graph: Graph) -> Graph:
        """See `merge_equal`."""
        return merge_equal(graph)
