"""Sums over one and over the other axis of a symmetric array are one sum: the forces of n bodies on each other.

What is computed for all pairs from `x[:, None] - x[None, :]` is symmetric or antisymmetric, and so is its adjoint. Its
two sums, which the derivative by x adds up, are equal or opposite. This pass computes one of them. It follows the sign
through elementwise operations from pairs such as `x[:, None] * x[None, :]` and from Gram matrices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from graphad.ir.graph import Graph, Node, rebuild
from graphad.ir.operation import OPERATIONS
from graphad.ir.types import Shape
from passes.base import Pass

ODD = frozenset(["sin", "tan", "asin", "atan", "sinh", "tanh", "asinh", "atanh", "cbrt", "sign", "erf", "neg", "cast"])
EVEN = frozenset(["abs", "square", "cos", "cosh"])
PRODUCTS = frozenset(["mul", "guarded_mul", "div"])
SUMS = frozenset(["add", "sub"])
EXCHANGEABLE = frozenset(["add", "mul", "maximum", "minimum", "hypot", "logaddexp", "equal", "not_equal"])


def merge_mirrored(graph: Graph) -> Graph:
    """The graph with one sum instead of two where they are equal or opposite; itself where there are none.

    >>> g = Graph("f")
    >>> x = g.input("x", shape="n")
    >>> cubes = (x[:, None] - x[None, :]) ** 3
    >>> g.output("columns", cubes.sum(axis=0))
    >>> g.output("rows", cubes.sum(axis=1))
    >>> [(n.op, n.param("axes")) for n in merge_mirrored(g).nodes if n.op == "sum"]
    [('sum', (1,))]
    """
    found = Mirrors(graph).found()
    if not found:
        return graph
    place: dict[int, int] = {}

    def replace(new: Graph, old: int, node: Node, args: tuple[int, ...]) -> int | None:
        mirror = found.get(old)
        if mirror is None:
            return None
        if mirror.first not in place:
            place[mirror.first] = new.add("sum", args, (("axes", mirror.axes),), node.region)
        total = place[mirror.first]
        return total if mirror.sign > 0 or node.param("axes") == mirror.axes else new.add("neg", (total,))

    return rebuild(graph, replace)


class Mirrored(NamedTuple):
    """One of two sums: the earlier of both, the axes that are summed in the end, and the sign between them."""

    first: int
    axes: tuple[int, ...]
    sign: int


class Mirrors:
    """The symmetries of a graph."""

    def __init__(self, graph: Graph) -> None:
        self.nodes = graph.nodes
        self.known: dict[tuple[int, int, int], int] = {}

    def found(self) -> dict[int, Mirrored]:
        """The sums that have a mirror image. Later axes are summed: those loops are the inner ones."""
        sums: dict[int, list[int]] = {}
        for node_id, node in enumerate(self.nodes):
            if node.op == "sum":
                sums.setdefault(node.args[0], []).append(node_id)
        result: dict[int, Mirrored] = {}
        for operand, ids in sums.items():
            for k, second in enumerate(ids):
                for first in ids[:k]:
                    sign = self._between(operand, first, second)
                    if sign and first not in result and second not in result:
                        axes = max(self.nodes[i].param("axes") for i in (first, second))
                        result[first] = result[second] = Mirrored(first, axes, sign)
        return result

    def _between(self, operand: int, first: int, second: int) -> int:
        """1 or -1 where the sums are equal or opposite, 0 where nothing is known."""
        one, other = (set(self.nodes[i].param("axes")) for i in (first, second))
        if len(one - other) != 1 or len(other - one) != 1:
            return 0
        p, q = sorted(one ^ other)
        between = set(range(p + 1, q))
        if self.nodes[first].type != self.nodes[second].type or not between <= one:
            return 0
        return self.sign(operand, p, q)

    def sign(self, node_id: int, p: int, q: int) -> int:
        """How an array changes when two axes are exchanged: 1 not at all, -1 in its sign, 0 nobody knows."""
        stack = [(node_id, p, q)]
        while stack:
            key = stack[-1]
            if key in self.known:
                stack.pop()
                continue
            below = self._below(*key)
            missing = [k for k in below if k is not None and k not in self.known]
            if missing:
                stack += missing
                continue
            signs = [1 if k is None else self.known[k] for k in below]
            self.known[key] = self._combined(key, signs)
            stack.pop()
        return self.known[node_id, p, q]

    def _below(self, node_id: int, p: int, q: int) -> list[tuple[int, int, int] | None]:
        """The operands with the axes as they are theirs; None for one in which the exchange changes nothing."""
        node = self.nodes[node_id]
        if not self._square(node.type.shape, p, q) or self._pair(node, p, q):
            return []
        op = OPERATIONS.get(node.op)
        if node.op == "sum":
            kept = [a for a in range(len(node.param("axes")) + node.type.rank) if a not in node.param("axes")]
            return [(node.args[0], kept[p], kept[q])]
        if node.op in ("broadcast_to", "stop_gradient") or (op is not None and op.elementwise):
            return [self._operand(a, node.type.rank, p, q) for a in node.args]
        if node.op == "transpose":
            axes = node.param("axes")
            return [(node.args[0], *sorted((axes[p], axes[q])))]
        if node.op == "slice":
            whole = all(node.param("starts")[a] == 0 and node.param("steps")[a] == 1 for a in (p, q))
            return [(node.args[0], p, q)] if whole else []
        if node.op == "reshape":
            places = _without_ones(self.nodes[node.args[0]].type.shape, node.type.shape)
            return [(node.args[0], places[p], places[q])] if places else []
        return []

    def _operand(self, operand: int, rank: int, p: int, q: int) -> tuple[int, int, int] | None:
        shape: Shape = (1,) * (rank - self.nodes[operand].type.rank) + self.nodes[operand].type.shape
        if shape[p] == shape[q] == 1:
            return None
        less = rank - self.nodes[operand].type.rank
        return (operand, p - less, q - less)

    def _combined(self, key: tuple[int, int, int], signs: list[int]) -> int:
        node_id, p, q = key
        node = self.nodes[node_id]
        if p < 0 or not self._square(node.type.shape, p, q):
            return 0
        pair = self._pair(node, p, q)
        if pair or not signs or 0 in signs:
            return pair
        op = node.op
        if op in PRODUCTS:
            return signs[0] * signs[1]
        if op in SUMS or op in ODD or op in ("sum", "broadcast_to", "stop_gradient", "transpose", "reshape", "slice"):
            return signs[0] if len(set(signs)) == 1 else 0
        if op == "where":
            return signs[1] if signs[0] == 1 and signs[1] == signs[2] else 0
        return 1 if op in EVEN or set(signs) == {1} else 0

    def _square(self, shape: Shape, p: int, q: int) -> bool:
        return p >= 0 and shape[p] == shape[q] and shape[p] != 1

    def _pair(self, node: Node, p: int, q: int) -> int:
        """The sign of an operation on one array in two positions, as in x[:, None] - x[None, :]; else 0."""
        if len(node.args) != 2:
            return 0
        a, b = (self.nodes[i] for i in node.args)
        if node.op == "einsum":
            one, left = self._lettered(node.args[0], node.param("left"))
            other, right = self._lettered(node.args[1], node.param("right"))
            return int(one == other and _gram(left, right, node.param("out"), p, q))
        if node.op != "sub" and node.op not in EXCHANGEABLE:
            return 0
        first, second = (self._stretched(i, node.type.rank) for i in node.args)
        if first is None or second is None or first[0] != second[0]:
            return 0
        exchanged = list(second[1])
        exchanged[p], exchanged[q] = exchanged[q], exchanged[p]
        one_sided = (first[1][p] == 1) != (first[1][q] == 1)
        if first[1] != tuple(exchanged) or not one_sided or a.type.dtype != b.type.dtype:
            return 0
        return -1 if node.op == "sub" else 1

    def _lettered(self, node_id: int, letters: str) -> tuple[int, str]:
        """The array behind a transpose, and the letters of its axes."""
        node = self.nodes[node_id]
        if node.op != "transpose":
            return node_id, letters
        axes = node.param("axes")
        return node.args[0], "".join(letters[axes.index(k)] for k in range(len(axes)))

    def _stretched(self, node_id: int, rank: int) -> tuple[int, Shape] | None:
        """The array behind added axes of one element, and its shape in a result of some rank."""
        node = self.nodes[node_id]
        shape: Shape = (1,) * (rank - node.type.rank) + node.type.shape
        if node.op != "reshape":
            return node_id, shape
        inner = self.nodes[node.args[0]]
        same = [e for e in inner.type.shape if e != 1] == [e for e in shape if e != 1]
        return (node.args[0], shape) if same else None


def _without_ones(inner: Shape, outer: Shape) -> dict[int, int]:
    """For each axis of a reshaped array that one of before, where only axes of one element come and go; else empty."""
    before = [a for a, e in enumerate(inner) if e != 1]
    after = [a for a, e in enumerate(outer) if e != 1]
    if [inner[a] for a in before] != [outer[a] for a in after]:
        return {}
    return dict(zip(after, before, strict=True))


def _gram(left: str, right: str, out: str, p: int, q: int) -> bool:
    """Whether a product of an array with itself has the two axes from either side, and shares all others."""
    exchange = {out[p]: out[q], out[q]: out[p]}
    return out[p] in left and out[q] in right and "".join(exchange.get(c, c) for c in left) == right


@dataclass(frozen=True)
class Mirror(Pass):
    """One sum of a symmetric array instead of two."""

    def run(self, graph: Graph) -> Graph:
        """See `merge_mirrored`."""
        return merge_mirrored(graph)
