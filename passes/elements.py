"""Sums of arrays that are zero but for one element become one stack of scalars.

The cotangent of an array that is read element by element comes as such a sum: one addition of whole arrays for every
`x[3]`. Stacked, every element is a sum of scalars, and no array of zeros is added.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from graphad.ir.graph import Graph, Node, keep, rebuild
from graphad.ir.types import Shape
from passes.base import Pass, use_counts
from passes.dead import remove_dead

FEWEST = 16  # elements from which a stack is made
SPARSEST = 4  # a stack holds at most so many places for each element


@dataclass
class Elements:
    """A sum under way: the scalars at each place (in C order), other arrays, and the nodes that it replaces."""

    places: dict[int, list[int]] = field(default_factory=dict)
    others: list[int] = field(default_factory=list)
    inner: list[int] = field(default_factory=list)


def stack_elements(graph: Graph) -> Graph:
    """The graph with sums of single elements stacked; itself where there are none. Linear in nodes.

    >>> g = Graph("f")
    >>> x = g.input("x", shape=16)
    >>> g.output("y", sum((x[i] * x[i - 1] for i in range(1, 16)), start=x[15] * x[0]))
    >>> from graphad.ad.transform import grad
    >>> [sum(node.op == op for node in stack_elements(grad(g)).nodes) for op in ("embed", "concatenate")]
    [0, 1]
    """
    roots = _roots(graph)
    if not roots:
        return graph
    absorbed = {i for elements in roots.values() for i in elements.inner}
    translation: dict[int, int] = {}

    def replace(new: Graph, old: int, node: Node, args: tuple[int, ...]) -> int | None:
        result = _stacked(new, node, roots[old], translation) if old in roots else None
        translation[old] = len(new.nodes) if result is None else result
        return result

    live = sorted(keep(graph, graph.outputs.values()) - absorbed)
    return remove_dead(rebuild(graph, replace, live=live))


def _roots(graph: Graph) -> dict[int, Elements]:
    """The sums that are worth a stack, by their last addition."""
    uses = use_counts(graph)
    held: dict[int, Elements] = {}
    for node_id, node in enumerate(graph.nodes):
        if node.op == "embed":
            single = _single(graph, node)
            if single is not None:
                held[node_id] = Elements({single[0]: [single[1]]})
        elif node.op == "add" and node.type.shape and node.type.is_float:
            taken = [a for a in node.args if a in held and uses[a] == 1]
            if taken and all(graph.nodes[a].type == node.type for a in node.args):
                held[node_id] = _merged(node, taken, held)
    return {i: e for i, e in held.items() if len(e.places) >= FEWEST and e.inner}


def _merged(node: Node, taken: list[int], held: dict[int, Elements]) -> Elements:
    """The sum of two operands, those in `taken` taken apart; the longer one grows."""
    parts = sorted(((held.pop(a), a) for a in taken), key=lambda p: -len(p[0].places))
    total, first = parts[0]
    total.inner.append(first)
    for part, node_id in parts[1:]:
        for place, scalars in part.places.items():
            total.places.setdefault(place, []).extend(scalars)
        total.others.extend(part.others)
        total.inner.extend([*part.inner, node_id])
    total.others.extend(a for a in node.args if a not in taken)
    return total


def _single(graph: Graph, node: Node) -> tuple[int, int] | None:
    """The place of the one element that a node puts into zeros, and the scalar; None for anything else."""
    inner = graph.nodes[node.args[0]]
    if inner.op != "reshape" or graph.nodes[inner.args[0]].type.shape or not node.type.is_float:
        return None
    place = 0
    for axis, start in enumerate(node.param("starts")):
        extent = node.type.shape[axis]
        if not isinstance(start, int) or start < 0 or (axis and not isinstance(extent, int)):
            return None
        place = place * (int(str(extent)) if axis else 1) + start
    return (place, inner.args[0]) if node.type.rank == 1 or isinstance(node.type.elements, int) else None


def _stacked(new: Graph, node: Node, elements: Elements, translation: dict[int, int]) -> int:
    """The node that stands for a sum."""
    scalars: dict[int, int] = {}
    for place, contributions in elements.places.items():
        total = translation[contributions[0]]
        for other in contributions[1:]:
            total = new.add("add", (total, translation[other]))
        scalars[place] = total
    result = _placed(new, scalars, node.type.elements if node.type.rank > 1 else node.type.shape[0], node.type.dtype)
    if node.type.rank > 1:
        result = new.add("reshape", (result,), (("shape", node.type.shape),))
    for other in elements.others:
        result = new.add("add", (result, translation[other]))
    return result


def _placed(new: Graph, scalars: dict[int, int], extent: object, dtype: str) -> int:
    """Scalars at their places in a vector of zeros."""
    places = sorted(scalars)
    first, count = places[0], places[-1] - places[0] + 1
    shape: Shape = (extent,)  # type: ignore[assignment]
    if count > SPARSEST * len(places):
        zeros = new.add("broadcast_to", (new.const(0.0, dtype).id,), (("shape", shape),))
        updates = _concatenated(new, [scalars[p] for p in places])
        return new.add("scatter_add", (zeros, updates, new.const(places, "int64").id), (("axes", (0,)),))
    zero = -1 if count == len(places) else new.const(0.0, dtype).id
    stack = _concatenated(new, [scalars.get(p, zero) for p in range(first, first + count)])
    if extent == count:
        return stack
    return new.add("embed", (stack,), (("shape", shape), ("starts", (first,)), ("steps", (1,))))


def _concatenated(new: Graph, scalars: list[int]) -> int:
    pieces = [new.add("reshape", (s,), (("shape", (1,)),)) for s in scalars]
    return new.add("concatenate", tuple(pieces), (("axis", 0),))


@dataclass(frozen=True)
class StackElements(Pass):
    """Stack sums of single elements."""

    def run(self, graph: Graph) -> Graph:
        """See `stack_elements`."""
        return stack_elements(graph)
