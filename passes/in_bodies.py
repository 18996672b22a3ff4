"""A pass run inside the bodies of loops and branches, to any depth."""

from __future__ import annotations

from collections.abc import Callable

from graphad.ir.bodies import bodies, has_bodies, map_bodies
from graphad.ir.graph import Frozen, Graph, Node, rebuild
from graphad.ir.types import TupleType
from passes.base import Pass

Known = dict[tuple[Pass, Graph], Graph]


def run_everywhere(one: Pass, graph: Graph, known: Known) -> Graph:
    """The graph after a pass on it and on all bodies in it; the graph itself where the pass leaves all alone.

    Arguments:
        known: bodies after passes; those of this graph are added. The same body need not be done twice.
    """
    after = one.run(graph)
    return after if one.whole else in_bodies(after, lambda body: _body(one, body, known))


def _body(one: Pass, body: Graph, known: Known) -> Graph:
    after = known.get((one, body))
    if after is None:
        after = run_everywhere(one, body, known).freeze()
        known[one, body] = after
    return after


def in_bodies(graph: Graph, change: Callable[[Graph], Graph]) -> Graph:
    """The graph with every body changed; itself where no body does.

    >>> from passes.fold import fold
    >>> import graphad as ga
    >>> g = ga.Graph("f")
    >>> g.output("y", ga.map(lambda x: x * 1.0 + 0.0, g.input("x", shape="n")))
    >>> [len(node.param("body").nodes) for h in (g, in_bodies(g, fold)) for node in h.nodes if node.op == "scan"]
    [5, 1]
    """
    if not has_bodies(graph):
        return graph
    after: dict[int, Frozen] = {}
    for node_id, node in enumerate(graph.nodes):
        if isinstance(node.type, TupleType):
            params = map_bodies(node.params, lambda body: change(body).freeze())
            if any(new is not old for (_, new), (_, old) in zip(params, node.params, strict=True)):
                after[node_id] = params
    if not after:
        return graph

    def replace(new: Graph, old: int, node: Node, args: tuple[int, ...]) -> int | None:
        return new.add(node.op, args, after[old], node.region) if old in after else None

    new = rebuild(graph, replace)
    changed = [body for params in after.values() for _, body in bodies(params)]
    # The sizes of a body are those around it, so what a pass requires of them in a body is required here.
    present = {(r.kind, r.left, r.right) for r in new.requirements}
    wanted = {(r.kind, r.left, r.right): r for body in changed for r in body.requirements}
    new.requirements.extend(r for key, r in wanted.items() if key not in present)
    return new
