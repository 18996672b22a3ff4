"""Jacobians of graphs cut into segments: local Jacobians, and their products in a planned order.

A cut is a list of nodes through which every path from the inputs to the outputs goes. The Jacobian of a segment,
between two cuts, is a table of blocks: by target and source an array of `target.shape + source.shape`, or nothing
for zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from graphad.ad import arith
from graphad.ad.batch import batch_nodes
from graphad.ad.forward import push_forward
from graphad.ad.reverse import pull_back
from graphad.ad.transform import identity
from graphad.ir.graph import Graph, Node
from graphad.ir.variable import Variable
from graphad.ops.product import free_letters
from graphad.plan.chains import Tree

Blocks = dict[tuple[int, int], Variable]


@dataclass(frozen=True)
class LocalJacobian:
    """The Jacobian of a segment as a graph of its own.

    Arguments:
        graph: with outputs `d{target}_d{source}`, both `v` and a node id of the whole graph.
        inputs: by name of its inputs the nodes of the whole graph.
        multiplications, how: what it costs, and what it is called.
    """

    graph: Graph
    inputs: Mapping[str, int]
    multiplications: int
    how: str


@dataclass(frozen=True)
class Segment:
    """The part of a graph between two cuts.

    `kind` is "diagonal" where every operation is elementwise in one shape, so that the Jacobian is one number an
    element; "direct" for one contraction with a matrix that is the Jacobian; else "general". `local` is the Jacobian
    of a segment of few scalars.
    """

    sources: tuple[int, ...]
    targets: tuple[int, ...]
    kind: str = "general"
    local: LocalJacobian | None = None


def direct_block(graph: Graph, node: Node, source: int) -> Variable | None:
    """The Jacobian of a contraction with respect to one operand, where it is the other operand, transposed."""
    if node.op != "einsum" or node.args.count(source) != 1:
        return None
    position = node.args.index(source)
    mine, other = node.param("left"), node.param("right")
    if position == 1:
        mine, other = other, mine
    out = node.param("out")
    if set(mine) & set(out) or set(mine + out) != set(other):
        return None
    value = Variable(graph, node.args[1 - position])
    order = tuple(other.index(letter) for letter in out + mine)
    return value if order == tuple(range(len(order))) else value.transpose(order)


class Composer:
    """Adds to an open graph the nodes of Jacobians of its segments.

    Arguments:
        graph: an open copy of the differentiated graph, with the same ids.
        segments: a chain: the targets of each are the sources of the next.
    """

    def __init__(self, graph: Graph, segments: Sequence[Segment]) -> None:
        self.graph = graph
        self.segments = tuple(segments)
        self._diagonals: dict[int, Variable | None] = {}

    def jacobian(self, tree: Tree) -> Blocks:
        """The blocks of a planned Jacobian."""
        if tree.how in ("forward", "reverse"):
            return self._accumulated(tree.first, tree.how)
        if tree.how == "tangent":
            assert tree.left is not None
            blocks = self.jacobian(tree.left)
            for index in range(tree.left.last + 1, tree.last + 1):
                blocks = self._pushed(index, blocks)
            return blocks
        if tree.how == "adjoint":
            assert tree.right is not None
            blocks = self.jacobian(tree.right)
            for index in range(tree.right.first - 1, tree.first - 1, -1):
                blocks = self._pulled(index, blocks)
            return blocks
        assert tree.left is not None
        assert tree.right is not None
        return self._product(self.jacobian(tree.right), self.jacobian(tree.left))

    def _accumulated(self, index: int, mode: str) -> Blocks:
        segment = self.segments[index]
        if segment.kind == "direct":
            (target,), (source,) = segment.targets, segment.sources
            block = direct_block(self.graph, self.graph.nodes[target], source)
            assert block is not None
            return {(target, source): block}
        if segment.local is not None:
            return self._applied(segment, segment.local)
        ends = segment.sources if mode == "forward" else segment.targets
        units: Blocks = {}
        for end in ends:
            kind = self.graph.nodes[end].type
            units[end, end] = identity(self.graph, kind.shape, kind.dtype)
        return self._pushed(index, units) if mode == "forward" else self._pulled(index, units)

    def _applied(self, segment: Segment, local: LocalJacobian) -> Blocks:
        """The Jacobian of a segment from its own graph."""
        found = local.graph(**{name: Variable(self.graph, node) for name, node in local.inputs.items()})
        if isinstance(found, Variable):
            found = {next(iter(local.graph.outputs)): found}
        pairs = [(t, s) for t in segment.targets for s in segment.sources]
        return {(t, s): found[f"dv{t}_dv{s}"] for t, s in pairs if f"dv{t}_dv{s}" in found}

    def _pushed(self, index: int, blocks: Blocks) -> Blocks:
        """The Jacobian of a segment times blocks: every column is a tangent."""
        segment, new = self.segments[index], Blocks()
        if segment.kind == "diagonal":
            return self._scaled(index, blocks, of_target=True)
        for inner in dict.fromkeys(source for _, source in blocks):
            rank = self.graph.nodes[inner].type.rank
            given = {mid: _rolled(b, b.ndim - rank) for (mid, source), b in blocks.items() if source == inner}
            seeds = {mid: self._placeholder(mid) for mid in given}
            zeros = {mid: arith.zeros(Variable(self.graph, mid)) for mid in segment.sources if mid not in given}
            tangents = push_forward(self.graph, {**seeds, **zeros}, segment.targets)
            values = self._batched({seeds[mid].id: v for mid, v in given.items()}, tangents, rank)
            for target, value in zip(segment.targets, values, strict=True):
                if value is not None:
                    new[target, inner] = _rolled(value, rank)
        return new

    def _pulled(self, index: int, blocks: Blocks) -> Blocks:
        """Blocks times the Jacobian of a segment: every row is a cotangent."""
        segment, new = self.segments[index], Blocks()
        if segment.kind == "diagonal":
            return self._scaled(index, blocks, of_target=False)
        for outer in dict.fromkeys(target for target, _ in blocks):
            rank = self.graph.nodes[outer].type.rank
            given = {mid: b for (target, mid), b in blocks.items() if target == outer}
            seeds = {mid: self._placeholder(mid) for mid in given}
            cotangents = pull_back(self.graph, seeds, segment.sources, independent=True)
            values = self._batched({seeds[mid].id: v for mid, v in given.items()}, cotangents, rank)
            for source, value in zip(segment.sources, values, strict=True):
                if value is not None:
                    new[outer, source] = value
        return new

    def _placeholder(self, like: int) -> Variable:
        kind = self.graph.nodes[like].type
        return self.graph.apply("placeholder", shape=kind.shape, dtype=kind.dtype)

    def _batched(
        self, seeds: Mapping[int, Variable], results: Sequence[Variable | None], axes: int
    ) -> list[Variable | None]:
        """Results of placeholders for stacks of seeds; those that do not depend on a seed are zero."""
        ids = [r.id for r in results if r is not None]
        found = iter(batch_nodes(self.graph, seeds, ids, axes))
        batched = [None if r is None else next(found) for r in results]
        return [
            None if b is None or r is None or (b.id == r.id and axes and r.id not in seeds) else b
            for r, b in zip(results, batched, strict=True)
        ]

    def _scaled(self, index: int, blocks: Blocks, *, of_target: bool) -> Blocks:
        """Blocks times the diagonal Jacobian of a segment, on the left or on the right."""
        segment = self.segments[index]
        (source,), (target,) = segment.sources, segment.targets
        if index not in self._diagonals:
            one = self.graph.const(1.0, self.graph.nodes[source].type.dtype)
            self._diagonals[index] = push_forward(self.graph, {source: one}, [target])[0]
        diagonal = self._diagonals[index]
        new = Blocks()
        if diagonal is None:
            return new
        diagonal = arith.broadcast_to(diagonal, self.graph.nodes[source].type.shape)
        for (row, column), block in blocks.items():
            if of_target:
                new[target, column] = block * _with_ones(diagonal, block.ndim - diagonal.ndim)
            else:
                new[row, source] = block * diagonal
        return new

    def _product(self, left: Blocks, right: Blocks) -> Blocks:
        """The product of two tables of blocks."""
        new = Blocks()
        for (target, middle), a in left.items():
            for (inner, source), b in right.items():
                if inner == middle:
                    rank = self.graph.nodes[middle].type.rank
                    total = arith.add(new.get((target, source)), _contracted(a, b, rank))
                    assert total is not None
                    new[target, source] = total
        return new


def _rolled(value: Variable, first: int) -> Variable:
    """The first axes moved behind the others."""
    order = tuple(range(first, value.ndim)) + tuple(range(first))
    return value if order == tuple(range(value.ndim)) else value.transpose(order)


def _with_ones(value: Variable, count: int) -> Variable:
    return value.reshape(value.shape + (1,) * count) if count else value


def _contracted(a: Variable, b: Variable, rank: int) -> Variable:
    letters = free_letters("", a.ndim + b.ndim - rank)
    left, right = letters[: a.ndim], letters[a.ndim - rank :]
    out = letters[: a.ndim - rank] + letters[a.ndim :]
    result: Variable = np.einsum(f"{left},{right}->{out}", a, b)
    return result


def sweep_nodes(graph: Graph, segment: Segment, mode: str) -> tuple[Graph, list[int]]:
    """A scratch copy of a graph with one tangent or one adjoint through a segment, and the nodes that depend on it."""
    scratch = graph.copy("sweep")
    ends, results = (segment.sources, segment.targets) if mode == "forward" else (segment.targets, segment.sources)
    types = [graph.nodes[e].type for e in ends]
    seeds = {e: scratch.apply("placeholder", shape=t.shape, dtype=t.dtype) for e, t in zip(ends, types, strict=True)}
    run: Callable[[], object] = lambda: push_forward(scratch, seeds, results)  # noqa: E731
    if mode == "reverse":
        run = lambda: pull_back(scratch, seeds, results, independent=True)  # noqa: E731
    run()
    dependent = {s.id for s in seeds.values()}
    moved = []
    for node_id in range(len(graph.nodes), len(scratch.nodes)):
        if any(a in dependent for a in scratch.nodes[node_id].args):
            dependent.add(node_id)
            moved.append(node_id)
    return scratch, moved
