"""Batching: a graph for one value turned into a graph for a stack of values along new leading axes.

Jacobians and Hessians are jvps and vjps batched over seeds. Elementwise operations broadcast; every other operation
has a rule in its record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphad.errors import GraphError, describe
from graphad.ir.graph import Graph
from graphad.ir.operation import call, lookup
from graphad.ir.types import Shape
from graphad.ir.variable import Variable


def batch_nodes(graph: Graph, inputs: Mapping[int, Variable], targets: Sequence[int], axes: int) -> list[Variable]:
    """Add to an open graph a batched copy of the nodes between some nodes and `targets`.

    Arguments:
        inputs: for node ids what replaces them: variables with `axes` further leading axes of equal extents.
        targets: node ids.
        axes: the number of batch axes.

    Returns the replacements of the targets; a target that depends on no replaced node is returned as it is.
    """
    moved: dict[int, Variable] = dict(inputs)
    for node_id in range(max(targets, default=-1) + 1):
        node = graph.nodes[node_id]
        if node_id in inputs or not any(a in moved for a in node.args):
            continue
        graph.set_source(node.source)
        batched = tuple([a in moved for a in node.args])
        args = tuple([moved[a] if a in moved else Variable(graph, a) for a in node.args])
        op = lookup(node.op)
        if op.elementwise:
            lifted = [lift(a, axes, node.type.rank) if b else a for a, b in zip(args, batched, strict=True)]
            moved[node_id] = graph.apply(node.op, *lifted, **dict(node.params))
        elif op.batch is not None:
            moved[node_id] = op.batch(axes, args, batched, dict(node.params))
        else:
            raise GraphError(describe(f"operation `{node.op}` has no batching rule", source=node.source))
    graph.set_source(None)
    return [moved[t] if t in moved else Variable(graph, t) for t in targets]


def lift(value: Variable, axes: int, rank: int) -> Variable:
    """A batched value with axes of extent 1 after its batch axes, so that what follows them has `rank` axes."""
    missing = rank - (value.ndim - axes)
    if missing == 0:
        return value
    shape: Shape = value.shape[:axes] + (1,) * missing + value.shape[axes:]
    return call("reshape", value, shape)


def stacked(value: Variable, batch_shape: Shape) -> Variable:
    """A value repeated along new leading axes."""
    return value.graph.apply("broadcast_to", value, shape=batch_shape + value.shape)
