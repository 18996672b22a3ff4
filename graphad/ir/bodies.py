"""Bodies: frozen graphs that are parameters of a node, such as the step of a loop.

A body is a graph of its own inputs and outputs. Its named sizes are those of the graph around it, so that it may use
a size that none of its inputs has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from graphad.ir.graph import Frozen, Graph, Node
from graphad.ir.sizes import Extent, Size
from graphad.ir.types import TapeType, TensorType, TupleType
from graphad.ir.variable import Variable


def bodies(params: Frozen) -> Iterator[tuple[str, Graph]]:
    """The graphs among the parameters of a node, by name."""
    return ((name, value) for name, value in params if isinstance(value, Graph))


def has_bodies(graph: Graph) -> bool:
    """Whether a node of the graph has bodies, which all have several results: one quick look at every node."""
    return any(isinstance(node[3], TupleType) for node in graph.nodes)


def map_bodies(params: Frozen, change: Callable[[Graph], Any]) -> Frozen:
    """Parameters with every body changed; the parameters themselves where there is none."""
    if not any(isinstance(value, Graph) for _, value in params):
        return params
    return tuple([(name, change(value) if isinstance(value, Graph) else value) for name, value in params])


def input_types(body: Graph) -> tuple[TensorType, ...]:
    """The types of a body's inputs, in order."""
    return tuple([body.nodes[i].type for i in body.inputs.values()])


def output_types(body: Graph) -> tuple[TensorType, ...]:
    """The types of a body's outputs, in order."""
    return tuple([body.nodes[i].type for i in body.outputs.values()])


def extent_parameters(params: Frozen, change: Callable[[Extent], Extent]) -> Frozen:
    """Parameters with every extent in them changed, also inside tuples and bodies."""
    return tuple([(name, _change(value, change)) for name, value in params])


def _change(value: Any, change: Callable[[Extent], Extent]) -> Any:
    if isinstance(value, Size):
        return change(value)
    if type(value) is tuple:
        changed = tuple([_change(v, change) for v in value])
        return value if all(new is old for new, old in zip(changed, value, strict=True)) else changed
    return with_sizes(value, change) if isinstance(value, Graph) else value


def with_sizes(graph: Graph, change: Callable[[Extent], Extent]) -> Graph:
    """The frozen graph with every symbolic extent changed: in types, parameters, bodies and requirements.

    >>> from graphad.ir import sizes
    >>> g = Graph("double")
    >>> x = g.input("x", shape="n+1")
    >>> g.output("y", x + x)
    >>> with_sizes(g, lambda extent: sizes.substitute(extent, {"n": 4}))
    <graph double(x: float64[5]) -> y; 2 nodes>
    """
    kinds: dict[TensorType, TensorType] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        if (kind := kinds.get(node.type)) is None:
            kind = kinds[node.type] = type_with_sizes(node.type, change)
        params = extent_parameters(node.params, change)
        same = kind is node.type and all(new is old for (_, new), (_, old) in zip(params, node.params, strict=True))
        nodes.append(node if same else node._replace(type=kind, params=params))
    if all(new is old for new, old in zip(nodes, graph.nodes, strict=True)) and not graph.requirements:
        return graph
    new = graph.copy()
    new.nodes = nodes
    new.requirements = []
    for one in graph.requirements:
        new.require(one._replace(left=_extent(one.left, change), right=_extent(one.right, change)))
    return new.freeze()


def type_with_sizes(kind: TensorType, change: Callable[[Extent], Extent]) -> TensorType:
    """A type with every symbolic extent changed; itself where there is none."""
    if isinstance(kind, TupleType):
        items = tuple([type_with_sizes(item, change) for item in kind.items])
        return kind if all(new is old for new, old in zip(items, kind.items, strict=True)) else TupleType(items)
    if not any(isinstance(extent, Size) for extent in kind.shape):
        return kind
    if isinstance(kind, TapeType):
        return TapeType(type_with_sizes(kind.record, change))
    return TensorType(kind.dtype, tuple([_extent(extent, change) for extent in kind.shape]))


def _extent(extent: Extent, change: Callable[[Extent], Extent]) -> Extent:
    return change(extent) if isinstance(extent, Size) else extent


def inlined(body: Graph, target: Graph, args: Sequence[Variable]) -> list[Variable]:
    """The results of a body, its nodes copied into an open graph of the same sizes on given inputs.

    >>> g, h = Graph("double"), Graph("twice")
    >>> g.output("y", g.input("x") * 2.0)
    >>> inlined(g, h, inlined(g, h, [h.input("x")]))
    [<%3: float64[] = mul>]
    """
    moved = dict(zip(body.inputs.values(), [a.id for a in args], strict=True))
    before = len(target.requirements)
    copy_nodes(body, target, moved, body.outputs.values())
    known = set(target.requirements[before:])
    target.requirements.extend(r for r in body.requirements if r not in known)
    return [Variable(target, moved[i]) for i in body.outputs.values()]


def needs_of(body: Graph) -> list[set[int]]:
    """For each output the positions of the inputs that it needs, whatever their types."""
    places = {node_id: place for place, node_id in enumerate(body.inputs.values())}
    known: list[int] = []
    for node_id, node in enumerate(body.nodes):
        mask = 1 << places[node_id] if node_id in places else 0
        for arg in node.args:
            mask |= known[arg]
        known.append(mask)
    return [{k for k in range(len(places)) if known[i] >> k & 1} for i in body.outputs.values()]


def copy_nodes(graph: Graph, target: Graph, moved: dict[int, int], wanted: Iterable[int]) -> None:
    """Copy into an open graph what some nodes need, themselves included.

    Arguments:
        moved: nodes of `graph` with what stands for them in `target`; those copied are added.
    """
    needed: set[int] = set()
    stack = list(wanted)
    while stack:
        node_id = stack.pop()
        if node_id not in moved and node_id not in needed:
            needed.add(node_id)
            stack.extend(graph.nodes[node_id].args)
    for old in sorted(needed):
        node = graph.nodes[old]
        with target.at(node.source):
            if node.op == "const":
                moved[old] = target.const(node.param("value").array).id
            else:
                moved[old] = target.add(node.op, tuple([moved[a] for a in node.args]), node.params, node.region)


def fresh_names(graph: Graph, wanted: Iterable[str]) -> list[str]:
    """Names like these that no input or output of a graph has, and that differ from each other.

    >>> g = Graph("f")
    >>> x = g.input("x")
    >>> fresh_names(g, ["x", "y", "x"])
    ['x_2', 'y', 'x_3']
    """
    found: list[str] = []
    for name in wanted:
        fresh, number = name, 1
        while fresh in graph.inputs or fresh in graph.outputs or fresh in found:
            number += 1
            fresh = f"{name}_{number}"
        found.append(fresh)
    return found


def input_like(target: Graph, name: str, graph: Graph, node_id: int) -> Variable:
    """A new input of an open graph with the type and the line of a node of any graph."""
    node = graph.nodes[node_id]
    with target.at(node.source):
        return target.input(name, node.type.shape, node.type.dtype)


def with_inputs(body: Graph, wanted: Mapping[str, TensorType], names: Mapping[str, str] | None = None) -> Graph:
    """The frozen body with exactly these inputs in this order; those that it lacks are not used.

    Arguments:
        names: what inputs are called in the body now; None if they keep their names.

    >>> g = Graph("double")
    >>> g.output("y", g.input("x") * 2.0)
    >>> with_inputs(g, {"time": TensorType("float64", ()), "x": TensorType("float64", ())})
    <graph double(time: float64[], x: float64[]) -> y; 4 nodes>
    """
    new = Graph(body.name)
    moved: dict[int, int] = {}
    for name, kind in wanted.items():
        old = body.inputs.get(name if names is None else names.get(name, ""))
        with new.at(None if old is None else body.nodes[old].source):
            value = new.input(name, kind.shape, kind.dtype)
        if old is not None:
            moved[old] = value.id
    copy_nodes(body, new, moved, body.outputs.values())
    for name, node_id in body.outputs.items():
        new.output(name, Variable(new, moved[node_id]))
    new.requirements = list(dict.fromkeys([*new.requirements, *body.requirements]))
    return new.freeze()
