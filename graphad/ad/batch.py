"""Batching: a graph for one value turned into a graph for a stack of values along new leading axes.

Jacobians and Hessians are jvps and vjps batched over seeds. Elementwise operations broadcast; every other operation
has a rule in its record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphad.ir.graph import Graph
from graphad.ir.types import Shape, TupleType
from graphad.ir.variable import Variable
from graphad.ops.build import batched_apply


def batch_nodes(graph: Graph, inputs: Mapping[int, Variable], targets: Sequence[int], axes: int) -> list[Variable]:
    """Add to an open graph a batched copy of the nodes between some nodes and `targets`.

    Arguments:
        inputs: for node ids what replaces them: variables with `axes` further leading axes of equal extents.
        targets: node ids.
        axes: the number of batch axes.

    Returns the replacements of the targets; a target that depends on no replaced node is returned as it is.
    """
    from graphad.ad.batch_bodies import batch_bodies  # here, because bodies are batched by this very function

    moved: dict[int, Variable] = dict(inputs)
    plain: set[int] = set()  # replaced, and yet the same for the whole batch
    several: dict[int, list[tuple[Variable, bool]]] = {}  # of nodes with several results
    for node_id in range(max(targets, default=-1) + 1):
        node = graph.nodes[node_id]
        if node.op == "item" and node.args[0] in several:
            moved[node_id], whole = several[node.args[0]][node.param("index")]
            if not whole:
                plain.add(node_id)
            continue
        if node_id in inputs or not any(a in moved for a in node.args):
            continue
        graph.set_source(node.source)
        batched = tuple([a in moved and a not in plain for a in node.args])
        args = tuple([moved[a] if a in moved else Variable(graph, a) for a in node.args])
        if isinstance(node.type, TupleType):
            several[node_id] = batch_bodies(graph, node, args, batched, axes)
        elif any(batched):
            moved[node_id] = batched_apply(graph, node, args, batched, axes)
        else:
            moved[node_id] = graph.apply(node.op, *args, **dict(node.params))
            plain.add(node_id)
    graph.set_source(None)
    found = [moved[t] if t in moved else Variable(graph, t) for t in targets]
    lead = next((value.shape[:axes] for value in inputs.values()), ())
    return [stacked(value, lead) if t in plain else value for t, value in zip(targets, found, strict=True)]


def stacked(value: Variable, batch_shape: Shape) -> Variable:
    """A value repeated along new leading axes."""
    return value.graph.apply("broadcast_to", value, shape=batch_shape + value.shape)
