"""Arrays with short literal axes taken apart into their components, so that equal reads of these are seen as equal.

A vector for each observation, `X[points]` of shape (p, 3), becomes three arrays of shape (p,). Then the derivative of
each component is kept apart, and entries that stand in equal places are added where they meet, as if the formula had
been written component by component. Only the direct evaluation of sparse Jacobians works on such graphs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import lru_cache
from math import prod

from graphad.ir.graph import Graph, Node, keep, rebuild
from graphad.ir.operation import call, lookup
from graphad.ir.types import Shape, TupleType
from graphad.ir.variable import Variable
from graphad.ops.shape import reshaped, stretched, transposed

SHORT = 16  # extent of an axis up to which it is taken apart
MOST = 64  # components of a node up to which it is taken apart

Place = tuple[int, ...]  # the position on each short axis, in order


class Apart:
    """The components of nodes of a graph, as variables of a new one.

    Arguments:
        graph: what is taken apart.
    """

    def __init__(self, graph: Graph) -> None:
        self.old = graph
        self.new = Graph(graph.name, intern=True)
        self.new.hints, self.new.requirements = dict(graph.hints), list(graph.requirements)
        self.wholes: dict[int, Variable] = {}
        self.components: dict[int, dict[Place, Variable]] = {}

    def short(self, node_id: int) -> tuple[int, ...]:
        """The axes of a node that are taken apart."""
        return short_axes(self.old.nodes[node_id].type.shape)

    def places(self, node_id: int) -> list[Place]:
        """All positions on the short axes of a node."""
        shape = self.old.nodes[node_id].type.shape
        return list(itertools.product(*(range(int(str(shape[a]))) for a in self.short(node_id))))

    def component(self, node_id: int, place: Place) -> Variable:
        """One component of a node, without its short axes."""
        found = self.components.setdefault(node_id, {})
        if place not in found:
            axes, shape = self.short(node_id), self.old.nodes[node_id].type.shape
            starts, extents = [0] * len(shape), list(shape)
            for axis, position in zip(axes, place, strict=True):
                starts[axis], extents[axis] = position, 1
            x = self.whole(node_id)
            if axes:
                steps = (1,) * len(shape)
                if any(extents[a] != shape[a] for a in axes):
                    x = self.new.apply("slice", x, starts=tuple(starts), sizes=tuple(extents), steps=steps)
                x = reshaped(x, without(shape, axes))
            found[place] = x
        return found[place]

    def whole(self, node_id: int) -> Variable:
        """A node in one piece, put together from its components where these were computed."""
        if node_id not in self.wholes:
            axes, shape = self.short(node_id), self.old.nodes[node_id].type.shape
            x = self._joined(node_id, (), axes)
            order = (*axes, *(a for a in range(len(shape)) if a not in axes))
            self.wholes[node_id] = transposed(x, tuple(order.index(a) for a in range(len(shape))))
        return self.wholes[node_id]

    def _joined(self, node_id: int, place: Place, axes: Sequence[int]) -> Variable:
        """The components from some position on, the short axes first."""
        if not axes:
            return self.components[node_id][place]
        extent = int(str(self.old.nodes[node_id].type.shape[axes[0]]))
        parts = [self._joined(node_id, (*place, k), axes[1:]) for k in range(extent)]
        stacked: Variable = call("stack", parts, 0)
        return stacked


@lru_cache(maxsize=1024)
def short_axes(shape: Shape) -> tuple[int, ...]:
    """The axes that are taken apart: all of small literal extent, none where that makes too many components."""
    found = tuple(a for a, e in enumerate(shape) if isinstance(e, int) and 0 < e <= SHORT)
    many = prod(int(str(shape[a])) for a in found)
    return found if many <= MOST else ()


def without(shape: Shape, axes: Sequence[int]) -> Shape:
    """A shape without some axes."""
    return tuple(e for a, e in enumerate(shape) if a not in axes)


def taken_apart(graph: Graph) -> Graph | None:
    """The graph with its short axes taken apart; None where there are none."""
    nodes = [node for node in graph.nodes if node.type.is_float]
    if not any(e != 1 for node in nodes for e in (node.type.shape[a] for a in short_axes(node.type.shape))):
        return None
    apart = Apart(graph)
    for name, node_id in graph.inputs.items():
        node = graph.nodes[node_id]
        with apart.new.at(node.source):
            apart.wholes[node_id] = apart.new.input(name, node.type.shape, node.type.dtype)
    for node_id in sorted(keep(graph, graph.outputs.values()) - set(graph.inputs.values())):
        node = graph.nodes[node_id]
        apart.new.set_source(node.source)
        made = _made(apart, node_id, node)
        if made is None:
            args = tuple(apart.whole(a).id for a in node.args)
            apart.wholes[node_id] = Variable(apart.new, apart.new.add(node.op, args, node.params, node.region))
        else:
            apart.components[node_id] = made
    apart.new.set_source(None)
    for name, node_id in graph.outputs.items():
        apart.new.output(name, apart.whole(node_id))
    live = sorted(keep(apart.new, apart.new.outputs.values()))
    return rebuild(apart.new, lambda *_: None, live=live).freeze()


Components = dict[Place, Variable]
Rule = Callable[[Apart, int, Node], "Components | None"]


def _made(apart: Apart, node_id: int, node: Node) -> Components | None:
    """The components of a node; None where it is computed in one piece."""
    if isinstance(node.type, TupleType) or (node.op != "const" and not node.args):
        return None
    if not any(apart.short(i) for i in (node_id, *node.args)):
        return None
    rule = _elementwise if lookup(node.op).elementwise else RULES.get(node.op)
    return None if rule is None else rule(apart, node_id, node)


def _elementwise(apart: Apart, node_id: int, node: Node) -> Components | None:
    shape, axes = node.type.shape, apart.short(node_id)
    found: Components = {}
    for place in apart.places(node_id):
        at = dict(zip(axes, place, strict=True))
        args = []
        for arg in node.args:
            own = apart.old.nodes[arg].type.shape
            lead = len(shape) - len(own)
            inner = tuple(0 if own[a] == 1 else at.get(a + lead, -1) for a in apart.short(arg))
            if -1 in inner:
                return None
            kept = tuple(own[a] for a in range(len(own)) if a + lead not in axes)
            args.append(reshaped(apart.component(arg, inner), kept))
        found[place] = apart.new.apply(node.op, *args, **dict(node.params))
    return found


def _transpose(apart: Apart, node_id: int, node: Node) -> Components | None:
    (arg,), axes = node.args, node.param("axes")
    own = apart.short(arg)
    kept = [a for a in axes if a not in own]
    order = tuple(sorted(kept).index(a) for a in kept)
    found = {}
    for place in apart.places(node_id):
        before = {axes[a]: p for a, p in zip(apart.short(node_id), place, strict=True)}
        found[place] = transposed(apart.component(arg, tuple(before[a] for a in own)), order)
    return found


def _reshape(apart: Apart, node_id: int, node: Node) -> Components | None:
    """Reshapes that only add or drop axes of extent 1."""
    (arg,) = node.args
    before, after = apart.old.nodes[arg].type.shape, node.type.shape
    if [e for e in before if e != 1] != [e for e in after if e != 1]:
        return None
    found = {}
    for place in apart.places(node_id):
        long = iter(p for a, p in zip(apart.short(node_id), place, strict=True) if after[a] != 1)
        found[place] = apart.component(arg, tuple(0 if before[a] == 1 else next(long) for a in apart.short(arg)))
    return found


def _slice(apart: Apart, node_id: int, node: Node) -> Components | None:
    (arg,), rank = node.args, node.type.rank
    starts, steps, own, new = node.param("starts"), node.param("steps"), apart.short(arg), apart.short(node_id)
    if not set(own) <= set(new) or any(not isinstance(starts[a], int) for a in own):
        return None
    rest = [a for a in range(rank) if a not in own]
    params = {"starts": starts, "sizes": node.param("sizes"), "steps": steps}
    found: Components = {}
    for place in apart.places(node_id):
        at = dict(zip(new, place, strict=True))
        x = apart.component(arg, tuple(starts[a] + steps[a] * at[a] for a in own))
        moved = {name: [value[a] for a in rest] for name, value in params.items()}
        for k, a in enumerate(rest):
            if a in at:  # a long axis of which a short piece is taken
                moved["starts"][k], moved["sizes"][k] = starts[a] + steps[a] * at[a], 1
        if any(moved["starts"]) or tuple(moved["sizes"]) != x.shape or set(moved["steps"]) - {1}:
            x = apart.new.apply("slice", x, **{name: tuple(value) for name, value in moved.items()})
        found[place] = reshaped(x, without(node.type.shape, new))
    return found


def _broadcast(apart: Apart, node_id: int, node: Node) -> Components | None:
    (arg,), shape, axes = node.args, node.type.shape, apart.short(node_id)
    own = apart.old.nodes[arg].type.shape
    lead, found = len(shape) - len(own), {}
    for place in apart.places(node_id):
        at = dict(zip(axes, place, strict=True))
        inner = tuple(0 if own[a] == 1 else at.get(a + lead, -1) for a in apart.short(arg))
        if -1 in inner:
            return None
        kept = tuple(own[a] for a in range(len(own)) if a + lead not in axes)
        found[place] = stretched(reshaped(apart.component(arg, inner), kept), without(shape, axes))
    return found


def _sum(apart: Apart, node_id: int, node: Node) -> Components | None:
    (arg,), axes, own = node.args, node.param("axes"), apart.short(node.args[0])
    kept = [a for a in own if a not in axes]
    rest = [a for a in range(apart.old.nodes[arg].type.rank) if a not in own]
    over = tuple(k for k, a in enumerate(rest) if a in axes)
    if len(kept) != len(apart.short(node_id)):
        return None
    found: Components = {}
    for place in apart.places(arg):
        target = tuple(p for a, p in zip(own, place, strict=True) if a in kept)
        x = apart.component(arg, place)
        x = apart.new.apply("sum", x, axes=over) if over else x
        found[target] = found[target] + x if target in found else x
    return found


def _concatenate(apart: Apart, node_id: int, node: Node) -> Components | None:
    axis, new = node.param("axis"), apart.short(node_id)
    if axis not in new:
        if any(apart.short(a) != new for a in node.args):
            return None
        moved = axis - sum(a < axis for a in new)
        parts = {place: [apart.component(a, place) for a in node.args] for place in apart.places(node_id)}
        return {place: call("concatenate", listed, moved) for place, listed in parts.items()}
    found: Components = {}
    offset = 0
    for arg in node.args:
        if apart.short(arg) != new:
            return None
        for place in apart.places(arg):
            k = new.index(axis)
            found[(*place[:k], place[k] + offset, *place[k + 1 :])] = apart.component(arg, place)
        offset += int(str(apart.old.nodes[arg].type.shape[axis]))
    return found


def _gather(apart: Apart, node_id: int, node: Node) -> Components | None:
    """Reading along long axes at arrays of positions without short ones."""
    source, *indices = node.args
    own, axes, rank = apart.short(source), node.param("axes"), apart.old.nodes[node.args[1]].type.rank
    new = apart.short(node_id)
    if set(own) & set(axes) or any(apart.short(i) for i in indices) or not own or len(new) != len(own):
        return None
    others = [a for a in range(apart.old.nodes[source].type.rank) if a not in axes]
    if new != tuple(rank + others.index(a) for a in own):
        return None
    moved = tuple(a - sum(b < a for b in own) for a in axes)
    positions = [apart.whole(i) for i in indices]
    return {
        place: apart.new.apply("gather", apart.component(source, place), *positions, axes=moved)
        for place in apart.places(node_id)
    }


RULES: dict[str, Rule] = {
    "transpose": _transpose, "reshape": _reshape, "slice": _slice, "broadcast_to": _broadcast, "sum": _sum,
    "concatenate": _concatenate, "gather": _gather,
}  # fmt: skip
