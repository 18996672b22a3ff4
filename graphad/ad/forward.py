"""Forward mode: tangents beside primals, in one walk along the nodes.

Reference: R. E. Wengert, A simple automatic derivative evaluation program, CACM 7 (1964); Griewank and Walther,
Evaluating Derivatives, 2nd ed., SIAM 2008, section 3.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphad.ad import arith
from graphad.ir.graph import Graph, Node, keep
from graphad.ir.operation import Custom, Elementwise, Linear, Multilinear, NotDifferentiable, lookup
from graphad.ir.types import TupleType
from graphad.ir.variable import Variable


def push_forward(graph: Graph, seeds: Mapping[int, Variable], targets: Sequence[int]) -> list[Variable | None]:
    """Add to an open graph the tangents of `targets` for tangents of some nodes.

    Arguments:
        seeds: for node ids their tangents, of the nodes' types.
        targets: node ids.

    Returns one tangent per target, None where it does not depend on a seed.
    """
    from graphad.ad.control import push_bodies  # here, because bodies are differentiated by this very function

    tangents: dict[int, Variable] = dict(seeds)
    several: dict[int, list[Variable | None]] = {}  # of nodes with several results
    for node_id in sorted(keep(graph, targets)):
        node = graph.nodes[node_id]
        if node_id in seeds or not any(a in tangents or a in several for a in node.args):
            continue
        if isinstance(node.type, TupleType):
            graph.set_source(node.source)
            several[node_id] = push_bodies(graph, node, [tangents.get(a) for a in node.args])
            continue
        if not node.type.is_float:
            continue
        graph.set_source(node.source)
        if node.op == "item":
            tangent = several[node.args[0]][node.param("index")]
        else:
            tangent = _tangent(graph, node_id, node, tuple([tangents.get(a) for a in node.args]))
        if tangent is not None:
            tangents[node_id] = arith.broadcast_to(tangent, node.type.shape)
    graph.set_source(None)
    return [tangents.get(t) for t in targets]


def _tangent(graph: Graph, node_id: int, node: Node, tangents: tuple[Variable | None, ...]) -> Variable | None:
    rule = lookup(node.op).derivative
    args = tuple([Variable(graph, a) for a in node.args])
    if isinstance(rule, Elementwise):
        out = Variable(graph, node_id)
        total: Variable | None = None
        for partial, tangent in zip(rule.partials, tangents, strict=True):
            if tangent is not None and partial is not None:
                total = arith.add(total, arith.scale(tangent, partial(*args, out)))
        return total
    if isinstance(rule, NotDifferentiable):
        return None
    if isinstance(rule, Custom):
        return rule.jvp(args, tangents, Variable(graph, node_id), dict(node.params))
    if isinstance(rule, Linear):
        inside = range(len(args)) if rule.operands is None else rule.operands
        if all(tangents[i] is None for i in inside):
            return None
        moved = [arith.materialized(tangents[i], args[i]) if i in inside else args[i] for i in range(len(args))]
        return graph.apply(node.op, *moved, **dict(node.params))
    assert isinstance(rule, Multilinear)
    total = None
    for position, tangent in enumerate(tangents):
        if tangent is not None:
            moved = [tangent if i == position else a for i, a in enumerate(args)]
            total = arith.add(total, graph.apply(node.op, *moved, **dict(node.params)))
    return total
