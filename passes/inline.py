"""Operations whose emission is other operations are replaced by those, so that only loops and expressions remain."""

from __future__ import annotations

from dataclasses import dataclass

from graphad.errors import GraphError, describe
from graphad.ir.graph import Graph, Node, rebuild
from graphad.ir.operation import Inline, lookup
from graphad.ir.variable import Variable
from passes.base import Pass
from passes.in_bodies import in_bodies

DEPTH = 32


def inline(graph: Graph) -> Graph:
    """Replace nodes whose operation says `Inline(build)` by what `build(*args, **params)` makes, to any depth.

    Bodies of loops and branches as well.
    """
    graph = in_bodies(graph, inline)
    for _ in range(DEPTH):
        if not any(_build(node) for node in graph.nodes):
            return graph
        graph = rebuild(graph, _replace)
    found = next(node for node in graph.nodes if _build(node))
    raise GraphError(
        describe(f"operation `{found.op}` is emitted by operations that lead back to it", source=found.source)
    )


def _replace(new: Graph, old: int, node: Node, args: tuple[int, ...]) -> int | None:
    emission = _build(node)
    if emission is None:
        return None
    return new.owned(emission.build(*[Variable(new, a) for a in args], **dict(node.params))).id


def _build(node: Node) -> Inline | None:
    emission = lookup(node.op).emission
    return emission if isinstance(emission, Inline) else None


@dataclass(frozen=True)
class InlineOperations(Pass):
    """The pass; it belongs after all others, since derivatives and rewrites know the operation itself."""

    def run(self, graph: Graph) -> Graph:
        """The graph without operations that are emitted by others."""
        return inline(graph)
