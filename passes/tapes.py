"""The reverse sweep of a `while_loop` becomes two loops: one puts on tapes what the other, which unwinds them, reads.

The first is a `while_loop` like others and is merged with the loop itself (pass `fuse_loops`), which then runs once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graphad.ad.expand import unwound
from graphad.analysis.cost import typical_sizes
from graphad.ir.bodies import has_bodies
from graphad.ir.graph import Graph, Node, rebuild
from graphad.plan.sweeps import recorded
from passes.base import Pass
from passes.dead import remove_dead
from passes.in_bodies import in_bodies


def put_on_tapes(graph: Graph, around: Mapping[str, int] | None = None) -> Graph:
    """The graph with each sweep of a `while_loop`, also in its bodies, as two loops; itself where there is none.

    Those outside come first: what a loop leaves for its sweep can be values that loops inside make, but no tapes.

    Arguments:
        around: values of the named sizes, for a body.

    >>> import graphad as ga
    >>> g = ga.Graph("f")
    >>> g.output("y", ga.while_loop(lambda x: x < 10.0, lambda x: x * x, g.input("x")))
    >>> [node.op for node in put_on_tapes(ga.transform.grad(g, "x")).nodes if node.op != "item"]
    ['input', 'const', 'while_loop', 'unwind']
    """
    if not has_bodies(graph):
        return graph
    bound = typical_sizes(graph, around)

    def replace(new: Graph, old: int, node: Node, args: tuple[int, ...]) -> int | None:
        return unwound(new, node, args, recorded(node, bound)[1]) if node.op == "while_adjoint" else None

    if any(node.op == "while_adjoint" for node in graph.nodes):
        graph = remove_dead(rebuild(graph, replace))
    return in_bodies(graph, lambda body: put_on_tapes(body, bound))


@dataclass(frozen=True)
class Tapes(Pass):
    """Make two loops of each reverse sweep of a `while_loop`."""

    final = True

    def run(self, graph: Graph) -> Graph:
        """See `put_on_tapes`."""
        return put_on_tapes(graph)
