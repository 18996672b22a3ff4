"""What a graph costs: floating-point operations and bytes of each node, as expressions in the named sizes.

These are costs of single nodes, before fusion: the plan compares modes with them, and passes report them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from graphad.ir import sizes
from graphad.ir.bodies import bodies
from graphad.ir.graph import Graph, Node
from graphad.ir.operation import lookup
from graphad.ir.sizes import Extent
from graphad.ir.types import Shape, TapeType, TensorType, TupleType
from graphad.ops.schedules import advances, extra_steps

TYPICAL = 1000  # the value of a named size without a hint

# No arithmetic and no traffic: what their users read is the operand itself, or is made on the fly.
VIEWS = frozenset(
    ("input", "const", "placeholder", "iota", "size_of", "reshape", "transpose", "broadcast_to", "slice", "item")
) | {"stop_gradient"}
REPEATED = frozenset({"scan", "while_loop", "cond", "scan_adjoint", "while_adjoint", "unwind"})
STEPS = 100  # of a loop that runs until a test fails
REDUCTIONS = frozenset({"sum", "prod", "max", "min", "any", "all", "argmax", "argmin"})


def node_flops(graph: Graph, node_id: int) -> Extent:
    """Floating-point operations of a node, an integer or an expression in the named sizes.

    >>> g = Graph("f")
    >>> x = g.input("x", shape=("n", 3))
    >>> node_flops(g, (x / 2.0).id)
    12*n
    """
    node = graph.nodes[node_id]
    return _flops(node, tuple([graph.nodes[a].type for a in node.args]))


def node_bytes(graph: Graph, node_id: int) -> Extent:
    """Bytes that a node reads and writes if it stands alone; 0 for views."""
    node = graph.nodes[node_id]
    return _bytes(node, tuple([graph.nodes[a].type for a in node.args]))


PRODUCTS = frozenset({"mul", "guarded_mul", "div", "square"})


def node_multiplications(graph: Graph, node_id: int, values: Mapping[str, int]) -> int:
    """Multiplications and divisions of a node at given sizes; those inside elementary functions do not count.

    >>> g = Graph("f")
    >>> x = g.input("x", shape=("n", 3))
    >>> node_multiplications(g, (x / 2.0).id, {"n": 4}), node_multiplications(g, (x + 2.0).id, {"n": 4})
    (12, 0)
    """
    return sizes.evaluate(multiplications(graph, node_id), values)


def multiplications(graph: Graph, node_id: int) -> Extent:
    """Like `node_multiplications`, as an integer or an expression in the named sizes."""
    node = graph.nodes[node_id]
    if node.op in REPEATED:
        return _of_bodies(node, body_multiplications)
    if node.op == "einsum":
        types = tuple([graph.nodes[a].type for a in node.args])
        return sizes.product(tuple(letter_extents(node, types).values()))
    return node.type.elements if node.op in PRODUCTS else 0


def graph_multiplications(graph: Graph, values: Mapping[str, int] | None = None) -> int:
    """Multiplications and divisions of all nodes; `values` as for `graph_flops`."""
    bound = typical_sizes(graph, values)
    return sum(node_multiplications(graph, i, bound) for i in range(len(graph.nodes)))


def graph_flops(graph: Graph, values: Mapping[str, int] | None = None, known: dict[Any, int] | None = None) -> int:
    """Floating-point operations of all nodes.

    Arguments:
        values: of named sizes; others take the graph's hints, or 1000.
        known: operations of kinds of nodes at the same sizes; those of this graph are added.
    """
    return _total(graph, _flops, values, known)


def graph_bytes(graph: Graph, values: Mapping[str, int] | None = None) -> int:
    """Bytes that all nodes read and write if each stands alone; `values` as for `graph_flops`."""
    return _total(graph, _bytes, values)


def typical_sizes(graph: Graph, values: Mapping[str, int] | None = None) -> dict[str, int]:
    """A value for every named size of the inputs: given, hinted, or 1000."""
    return {**dict.fromkeys(graph.size_names, TYPICAL), **graph.hints, **(values or {})}


def sure_sizes(graph: Graph, values: Mapping[str, int] | None = None) -> dict[str, int]:
    """Like `typical_sizes`, with 1 for a size without a hint: nothing is taken to be large because nobody said."""
    return {**dict.fromkeys(graph.size_names, 1), **graph.hints, **(values or {})}


def _total(
    graph: Graph,
    cost: Callable[[Node, tuple[TensorType, ...]], Extent],
    values: Mapping[str, int] | None,
    known: dict[Any, int] | None = None,
) -> int:
    bound = typical_sizes(graph, values)
    shapes: dict[Shape, Shape] = {}  # with integers, which are quicker to multiply than sizes
    known = {} if known is None else known
    total = 0
    for node in graph.nodes:
        signature = (node.op, tuple([graph.nodes[a].type for a in node.args]), node.params, node.type)
        value = known.get(signature)
        if value is None:
            types = tuple([_at(kind, bound, shapes) for kind in signature[1]])
            if node.op in REPEATED:
                value = _running(node, cost, bound)
            else:
                value = sizes.evaluate(cost(node._replace(type=_at(node.type, bound, shapes)), types), bound)
            known[signature] = value
        total += value
    return total


def _running(
    node: Node, cost: Callable[[Node, tuple[TensorType, ...]], Extent], bound: Mapping[str, int]
) -> int:
    """The cost of a loop or a branch as it runs at given sizes: a sweep with a schedule runs steps again."""
    each = {name: _total(body, cost, bound) for name, body in bodies(node.params)}
    if node.op == "cond":
        return max(each.values())
    params = dict(node.params)
    steps = sizes.evaluate(params.get("length", STEPS), bound)
    schedule = params.get("schedule")
    if node.op != "scan_adjoint" or schedule is None:
        return steps * sum(each.values())
    binomial = schedule[0] == "binomial" and steps > 0
    again = extra_steps(steps, schedule[1]) if binomial else advances(schedule, steps)
    return again * each["body"] + steps * each["adjoint"]


def _at(kind: TensorType, bound: Mapping[str, int], shapes: dict[Shape, Shape]) -> TensorType:
    if isinstance(kind, TupleType):
        return TupleType([_at(item, bound, shapes) for item in kind.items])
    shape = shapes.get(kind.shape)
    if shape is None:
        shape = shapes[kind.shape] = tuple([sizes.evaluate(e, bound) for e in kind.shape])
    return TapeType(TensorType(kind.dtype, shape)) if isinstance(kind, TapeType) else TensorType(kind.dtype, shape)


def _flops(node: Node, types: tuple[TensorType, ...]) -> Extent:
    if node.op in VIEWS:
        return 0
    if node.op in REPEATED:
        return _of_bodies(node, body_flops)
    if node.op == "einsum":
        return 2 * sizes.product(tuple(letter_extents(node, types).values()))
    if node.op in REDUCTIONS:
        elements = types[0].elements
    elif node.op.startswith("scatter_"):
        elements = types[1].elements
    else:
        elements = node.type.elements
    return round(lookup(node.op).cost) * elements


def letter_extents(node: Node, types: tuple[TensorType, ...]) -> dict[str, Extent]:
    """The extent behind each letter of an `einsum` node, in order of appearance."""
    letters = (*node.param("left"), *node.param("right"))
    return dict(zip(letters, (*types[0].shape, *types[1].shape), strict=True))


def _of_bodies(node: Node, cost: Callable[[Graph], Extent]) -> Extent:
    """The cost of all bodies at all steps; of a branch that of the dearer one."""
    costs = [cost(body) for _, body in bodies(node.params)]
    if node.op == "cond":
        return sizes.maximum(*costs)
    steps = dict(node.params).get("length", STEPS)
    total: Extent = steps * sum(costs[1:], costs[0])
    return total


def body_multiplications(body: Graph) -> Extent:
    """Multiplications and divisions of all nodes of a body, an expression in the sizes of the graph around it."""
    return sum([multiplications(body, i) for i in range(len(body.nodes))], 0)


def body_flops(body: Graph) -> Extent:
    """Floating-point operations of all nodes of a body, an expression in the sizes of the graph around it."""
    return sum([node_flops(body, i) for i in range(len(body.nodes))], 0)


def body_bytes(body: Graph) -> Extent:
    """Bytes that all nodes of a body read and write if each stands alone."""
    return sum([node_bytes(body, i) for i in range(len(body.nodes))], 0)


def type_bytes(kind: TensorType) -> Extent:
    """The bytes of a value, or of all results of a node with several."""
    kinds = kind.items if isinstance(kind, TupleType) else (kind,)
    return sum([k.elements * np.dtype(k.dtype).itemsize for k in kinds], 0)


def _bytes(node: Node, types: tuple[TensorType, ...]) -> Extent:
    if node.op in VIEWS:
        return 0
    if node.op in REPEATED:
        return _of_bodies(node, body_bytes)
    return sum([type_bytes(kind) for kind in (*types, node.type)], 0)
