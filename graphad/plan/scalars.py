"""A graph of small arrays as a graph of scalars: every element that carries derivatives is a node of its own.

Moving elements about (slices, reshapes, stacks) makes no node; elementwise operations make one for each element, sums
and products of small arrays one for each term.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphad.ir.graph import Graph, Node, keep
from graphad.ir.operation import lookup
from graphad.ir.variable import Variable
from graphad.ops.shape import sliced

Ids = NDArray[np.int64]
MOVES = frozenset({"reshape", "transpose", "broadcast_to", "slice", "concatenate", "embed"})


@dataclass(frozen=True)
class Scalars:
    """A graph of scalars.

    Arguments:
        graph: open, with the inputs of the original.
        elements: by node of the original its elements in the new graph, in its shape.
    """

    graph: Graph
    elements: Mapping[int, Ids]


class TooMany(Exception):  # noqa: N818  (an answer, not a mistake of the user)
    """More scalars than the limit, or an operation that is not taken apart."""


def scalars_of(graph: Graph, wrt: Sequence[int], of: Sequence[int], most: int) -> Scalars | None:
    """A graph with every element that depends on some inputs as a scalar.

    Arguments:
        wrt, of: ids of inputs and of nodes wanted.
        most: nodes of the new graph beyond those of the old one.

    Returns None for more, and for sizes that are no numbers, index arrays and operations such as `cumsum`.
    """
    splitter = _Splitter(graph, set(wrt), len(graph.nodes) + most)
    try:
        for node_id in sorted(keep(graph, of) | set(graph.inputs.values())):
            splitter.add(node_id)
    except TooMany:
        return None
    return Scalars(splitter.new, splitter.elements)


class _Splitter:
    """Takes a graph apart, node by node; nodes that do not depend on `wrt` stay as they are."""

    def __init__(self, graph: Graph, wrt: set[int], most: int) -> None:
        self.graph, self.wrt, self.most = graph, wrt, most
        self.new = Graph(graph.name)
        self.new.hints = dict(graph.hints)
        self.moved: dict[int, int] = {}
        self.elements: dict[int, Ids] = {}
        self._read: dict[int, Ids] = {}

    def add(self, node_id: int) -> None:
        """Add a node whose operands have been added."""
        node, new = self.graph.nodes[node_id], self.new
        new.set_source(node.source)
        if node_id in self.wrt or not any(a in self.elements for a in node.args):
            self.moved[node_id] = self._copied(node)
            if node_id in self.wrt:
                self.elements[node_id] = self._elements(node_id)
        else:
            self.elements[node_id] = self._split(node)
        new.set_source(None)
        if len(new.nodes) > self.most:
            raise TooMany

    def _copied(self, node: Node) -> int:
        if node.op == "input":
            return self.new.input(node.param("name"), node.type.shape, node.type.dtype).id
        if node.op == "const":
            return self.new.const(node.param("value").array).id
        return self.new.add(node.op, tuple([self.moved[a] for a in node.args]), node.params)

    def _elements(self, node_id: int) -> Ids:
        """The elements of an operand, split or not."""
        if node_id in self.elements:
            return self.elements[node_id]
        if node_id not in self._read:
            self._read[node_id] = self._taken(node_id)
        return self._read[node_id]

    def _taken(self, node_id: int) -> Ids:
        """The elements of an array that stays as it is, read one by one."""
        shape = self._literal(self.graph.nodes[node_id])
        whole = Variable(self.new, self.moved[node_id])
        if whole.node.op == "const":
            values = whole.node.param("value").array
            ids = [self.new.const(v, whole.dtype).id for v in values.reshape(-1)]
            return np.array(ids, dtype=np.int64).reshape(shape)
        found = np.empty(shape, dtype=np.int64)
        for index in np.ndindex(shape):
            one = whole
            for axis, place in enumerate(index):
                one = sliced(one, axis, place, 1)
            found[index] = (self.new.apply("reshape", one, shape=()) if shape else one).id
        return found

    def _literal(self, node: Node) -> tuple[int, ...]:
        if not all(isinstance(e, int) for e in node.type.shape):
            raise TooMany
        shape = tuple(int(str(e)) for e in node.type.shape)
        if np.prod(shape, dtype=np.int64) > self.most:
            raise TooMany
        return shape

    def _split(self, node: Node) -> Ids:
        shape = self._literal(node)
        if lookup(node.op).elementwise:
            operands = np.broadcast_arrays(*[self._elements(a) for a in node.args])
            ids = [self._one(node, tuple(int(o[index]) for o in operands)) for index in np.ndindex(shape)]
            return np.array(ids, dtype=np.int64).reshape(shape)
        if node.op in MOVES:
            return self._arranged(node)
        if node.op == "sum":
            return self._summed(self._elements(node.args[0]), node.param("axes"))
        if node.op == "einsum":
            return self._contracted(node)
        raise TooMany

    def _one(self, node: Node, args: tuple[int, ...]) -> int:
        if len(self.new.nodes) > self.most:
            raise TooMany
        return self.new.add(node.op, args, node.params)

    def _arranged(self, node: Node) -> Ids:
        """Where elements go is the same for their numbers; 0 stands for a zero that is put between them."""
        operands = [self._elements(a) + 1 for a in node.args]
        moved = np.asarray(lookup(node.op).reference(*operands, **dict(node.params)), dtype=np.int64) - 1
        if (moved < 0).any():
            moved = np.where(moved < 0, self.new.const(0.0, node.type.dtype).id, moved)
        return moved

    def _summed(self, ids: Ids, axes: tuple[int, ...]) -> Ids:
        front = np.moveaxis(ids, axes, range(len(axes)))
        rest = front.shape[len(axes) :]
        terms = front.reshape((-1, *rest))
        if not len(terms):
            raise TooMany
        total = [self._total([int(t) for t in terms[(slice(None), *index)]]) for index in np.ndindex(rest)]
        return np.array(total, dtype=np.int64).reshape(rest)

    def _total(self, terms: list[int]) -> int:
        return reduce(lambda a, b: self.new.add("add", (a, b)), terms)

    def _contracted(self, node: Node) -> Ids:
        left, right, out = node.param("left"), node.param("right"), node.param("out")
        a, b = self._elements(node.args[0]), self._elements(node.args[1])
        letters = dict(zip((*left, *right), (*a.shape, *b.shape), strict=True))
        inner = [letter for letter in letters if letter not in out]
        found = np.empty([letters[letter] for letter in out], dtype=np.int64)
        for index in np.ndindex(found.shape):
            terms = []
            for summed in np.ndindex(*[letters[letter] for letter in inner]):
                at: dict[str, Any] = dict(zip((*out, *inner), (*index, *summed), strict=True))
                pair = int(a[tuple(at[c] for c in left)]), int(b[tuple(at[c] for c in right)])
                terms.append(self._one(node._replace(op="mul", params=()), pair))
            if not terms:
                raise TooMany
            found[index] = self._total(terms)
        return found
