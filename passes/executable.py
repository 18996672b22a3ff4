"""Sweeps as they run: without the carries of their loop that no step and no adjoint step reads, or on tapes.

Such a sweep can not be differentiated any more, so this comes after all passes, in front of the loops.
"""

from __future__ import annotations

from graphad.ir.bodies import has_bodies, needs_of
from graphad.ir.graph import Graph, Node, rebuild
from passes.in_bodies import in_bodies
from passes.loop_slots import rebuilt_body
from passes.tapes import put_on_tapes


def executable(graph: Graph) -> Graph:
    """The graph with the sweeps in it, and in its bodies, reduced to what runs; itself where nothing changes.

    >>> import graphad as ga
    >>> g = ga.Graph("f")
    >>> x, a = g.input("x"), g.input("a", shape="n")
    >>> (y, _), _ = ga.scan(lambda s, f: ((f * s[0] * s[0], s[1] + f), None), (x, x), a, checkpoint=5)
    >>> g.output("y", y)
    >>> before = ga.transform.grad(g, "x")
    >>> [node.param("carries") for h in (before, executable(before)) for node in h.nodes if node.op == "scan_adjoint"]
    [2, 1]
    """
    return _reduced_sweeps(put_on_tapes(graph))


def _reduced_sweeps(graph: Graph) -> Graph:
    if not has_bodies(graph):
        return graph
    graph = in_bodies(graph, _reduced_sweeps)
    changed: list[int] = []

    def replace(new: Graph, old: int, node: Node, args: tuple[int, ...]) -> int | None:
        if node.op != "scan_adjoint":
            return None
        kept = read_carries(node)
        if len(kept) in (0, node.param("carries")):
            return None
        changed.append(old)
        return _reduced(new, node, args, kept)

    new = rebuild(graph, replace)
    return new if changed else graph


def read_carries(node: Node) -> list[int]:
    """The carries of a sweep's loop that its adjoint step or a step that makes these reads."""
    carries, steps = node.param("carries"), needs_of(node.param("body"))
    read: set[int] = set().union(*needs_of(node.param("adjoint")))
    found = {k for k in read if k < carries}
    while more := {p for k in found for p in steps[k] if p < carries} - found:
        found |= more
    return sorted(found)


def _reduced(new: Graph, node: Node, args: tuple[int, ...], kept: list[int]) -> int:
    carries = node.param("carries")
    params = dict(node.params)
    places = [*kept, *range(carries, len(args))]
    for name in ("body", "adjoint"):
        body: Graph = params[name]
        outputs = list(body.outputs)
        wanted = [outputs[k] for k in kept] if name == "body" else outputs
        params[name] = rebuilt_body(body, [p for p in places if p < len(body.inputs)], {}, wanted)
    params["carries"] = len(kept)
    return new.add(node.op, tuple([args[p] for p in places]), tuple(sorted(params.items())), node.region)
