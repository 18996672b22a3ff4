"""The rules that every graph keeps; run after every pass."""

from __future__ import annotations

from typing import Any

from graphad.errors import DtypeError, GraphError, ShapeError, VerificationError, describe
from graphad.ir import sizes
from graphad.ir.bodies import bodies
from graphad.ir.constant import Constant
from graphad.ir.graph import Graph, Node
from graphad.ir.operation import lookup
from graphad.ir.text import label, node_text
from graphad.ir.types import DTYPES, TensorType, TupleType
from graphad.ir.values import write_params


def verify(graph: Graph, checked: set[Any] | None = None, around: frozenset[str] = frozenset()) -> Graph:
    """Check a graph and answer it.

    Operands are earlier nodes, operations exist and have as many operands as they take, stored types are those that
    the typing rules infer, inputs and outputs name nodes of the graph, and every named size is that of an input.
    Raises `VerificationError` naming the node, its text and the user's line. Linear in nodes.

    Arguments:
        checked: kinds of nodes that are known to be right, in graphs of the same inputs; those of this one are added.
        around: named sizes of the graph of which this one is a body.

    >>> g = Graph("square")
    >>> x = g.input("x", shape="n")
    >>> g.output("y", x * x)
    >>> verify(g) is g
    True
    """
    _verify_names(graph)
    known = around | set(graph.size_names)
    checked = set() if checked is None else checked
    for node_id, node in enumerate(graph.nodes):
        for arg in node.args:
            if not (isinstance(arg, int) and 0 <= arg < node_id):
                raise _wrong(graph, node_id, f"operand %{arg} is no earlier node")
        types = tuple([graph.nodes[a].type for a in node.args])
        signature = (node.op, types, node.params, node.type)
        if signature in checked:
            continue
        _verify_node(graph, node_id, node, types, known, checked)
        checked.add(signature)
    for requirement in graph.requirements:
        if unknown := (sizes.names(requirement.left) | sizes.names(requirement.right)) - known:
            raise VerificationError(
                describe(f"graph `{graph.name}` requires something of size `{min(unknown)}`, which no input has")
            )
    return graph


def check_sizes(graph: Graph) -> None:
    """Raise `ShapeError` unless every named size follows from the lengths of the inputs, one after the other."""
    declared = {e for i in graph.inputs.values() for e in graph.nodes[i].type.shape if isinstance(e, sizes.Size)}
    known: set[str] = set()
    for extent in sorted(declared, key=lambda e: (len(str(e)), str(e))):
        unknown = extent.names() - known
        if len(unknown) == 1 and sizes.linear(extent, *unknown) is not None:
            known |= unknown
    unsolved = sorted(set().union(*map(sizes.names, _extents(graph))) - known)
    if unsolved:
        name = unsolved[0]
        inputs = ", ".join(f"{n}: {graph.nodes[i].type}" for n, i in graph.inputs.items())
        raise ShapeError(
            describe(
                f"`{graph.name}`: the size `{name}` follows from no input",
                expected=f"an axis that gives it, such as `{name}`, `2*{name}+1`, or a product with known sizes",
                got=f"({inputs})",
                fix=f"declare an input with an axis `{name}`",
            )
        )


def _extents(graph: Graph) -> set[sizes.Extent]:
    """All extents of a graph: of types, of requirements, in parameters, and in the bodies of loops and branches."""
    types = {node.type for node in graph.nodes}
    kinds = {kind for t in types for kind in (t.items if isinstance(t, TupleType) else (t,))}
    used = {extent for kind in kinds for extent in kind.shape}
    used |= {side for requirement in graph.requirements for side in (requirement.left, requirement.right)}
    used |= {value for node in graph.nodes for _, value in node.params if isinstance(value, sizes.Size)}
    for node in graph.nodes:
        if isinstance(node.type, TupleType):
            used = used.union(*(_extents(body) for _, body in bodies(node.params)))
    return used


def _verify_names(graph: Graph) -> None:
    nodes = graph.nodes
    for name, node_id in graph.inputs.items():
        if not 0 <= node_id < len(nodes) or nodes[node_id].op != "input" or nodes[node_id].param("name") != name:
            raise VerificationError(describe(f"graph `{graph.name}`: input `{name}` is not the input node %{node_id}"))
    declared = set(graph.inputs.values())
    for node_id, node in enumerate(nodes):
        if node.op == "input" and node_id not in declared:
            raise _wrong(graph, node_id, "an input node that the graph does not list")
    for name, node_id in graph.outputs.items():
        if not 0 <= node_id < len(nodes):
            problem = f"graph `{graph.name}`: output `{name}` is node %{node_id}, which does not exist"
            raise VerificationError(describe(problem))


def _verify_node(
    graph: Graph, node_id: int, node: Node, types: tuple[TensorType, ...], known: frozenset[str], checked: set[Any]
) -> None:
    for kind in node.type.items if isinstance(node.type, TupleType) else (node.type,):
        _verify_type(graph, node_id, kind, known)
    for _, body in bodies(node.params):
        verify(body, checked if known.issuperset(body.size_names) else None, known)
    if list(node.params) != sorted(node.params, key=lambda p: p[0]):
        raise _wrong(graph, node_id, "parameters are not sorted by name")
    inferred = _inferred(graph, node_id, node, types)
    if inferred != node.type:
        raise _wrong(graph, node_id, f"the type is {node.type}", expected=str(inferred))


def _verify_type(graph: Graph, node_id: int, kind: TensorType, known: frozenset[str]) -> None:
    if kind.dtype not in DTYPES:
        raise _wrong(graph, node_id, f"dtype {kind.dtype} is not supported")
    for extent in kind.shape:
        if isinstance(extent, int) and extent < 0:
            raise _wrong(graph, node_id, f"extent {extent} is negative")
        if unknown := sizes.names(extent) - known:
            raise _wrong(graph, node_id, f"size `{min(unknown)}` is no size of an input")


def _inferred(graph: Graph, node_id: int, node: Node, types: tuple[TensorType, ...]) -> TensorType:
    if node.op == "input":
        return node.type
    if node.op == "const":
        value = dict(node.params).get("value")
        if not isinstance(value, Constant):
            raise _wrong(graph, node_id, "the value is no `Constant`")
        return value.type
    try:
        op = lookup(node.op)
        if op.arity is not None and op.arity != len(types):
            raise _wrong(graph, node_id, f"{len(types)} operands", expected=str(op.arity))
        return op.infer(types, dict(node.params))
    except (ShapeError, DtypeError, GraphError) as error:
        raise _wrong(graph, node_id, str(error)) from error


def _wrong(graph: Graph, node_id: int, problem: str, *, expected: str = "") -> VerificationError:
    node = graph.nodes[node_id]
    shown = f"{node.type} = {node.op} {' '.join(f'%{a}' for a in node.args)}{write_params(node.params)}"
    text = node_text(graph, node_id) if node.op == "input" else f"{label(graph, node_id)}: {shown}"
    return VerificationError(
        describe(f"graph `{graph.name}`: node `{text}`: {problem}", expected=expected, source=node.source)
    )
