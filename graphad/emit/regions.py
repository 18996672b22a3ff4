"""Large arrays by blocks of rows: a chain of NumPy calls whose intermediate values stay in the processor's cache.

A region is a set of nodes that can be computed for some rows after the other: elementwise operations, reductions along
other axes, and reductions over the rows, whose parts are put together. It becomes a small graph with a size `rows`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from graphad.ir.graph import Graph, Node
from graphad.ir.operation import lookup
from graphad.ir.sizes import Size
from graphad.ir.types import Shape, TensorType

BLOCKED = 1 << 20  # bytes of a value that is worth blocks
BLOCK = 1 << 19  # bytes of the widest value in a block
PLANES = 8  # the length up to which a last axis is kept outermost in memory: loops over three elements are slow

COMBINED: Mapping[str, np.ufunc] = {
    "sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum, "any": np.logical_or,
    "all": np.logical_and,
}  # fmt: skip

Array = NDArray[Any]
Shapes: TypeAlias = Mapping[int, tuple[int, ...]]
Run: TypeAlias = Callable[..., Any]


@dataclass
class Region:
    """Nodes that are computed together, block by block.

    Arguments:
        length: rows in all.
        nodes: in order; `totals` among them reduce over the rows.
    """

    length: int
    nodes: list[int] = field(default_factory=list)
    totals: set[int] = field(default_factory=set)


Item: TypeAlias = "int | Region"


def arranged(graph: Graph, order: Sequence[int], shapes: Shapes) -> list[Item]:
    """Nodes to be computed, in an order in which those of a region stand together.

    Arguments:
        order: their ids in topological order.
        shapes: of these and of all their operands.
    """
    items: list[Item] = []
    waiting = list(order)
    while waiting:
        region, before, after = _split(graph, waiting, shapes)
        if region is None:
            return items + before
        items += before
        items += [region] if len(region.nodes) > 1 else region.nodes
        waiting = after
    return items


def _split(graph: Graph, order: Sequence[int], shapes: Shapes) -> tuple[Region | None, list[Item], list[int]]:
    """The first region, what may come before it, and what has to come after it."""
    region: Region | None = None
    inside: set[int] = set()
    later: set[int] = set()
    before: list[Item] = []
    after: list[int] = []
    for node_id in order:
        node, shape = graph.nodes[node_id], shapes[node_id]
        if region is None and _bytes(node.type.dtype, shape) >= BLOCKED and shape[0] > 1:
            candidate = Region(shape[0])
            region = candidate if _fits(graph, node_id, candidate, inside, shapes) else None
        if region is None:
            before.append(node_id)
            continue
        uses = not inside.isdisjoint(node.args)
        large = _bytes(node.type.dtype, shape) >= BLOCKED
        if not later.isdisjoint(node.args):
            later.add(node_id)
            after.append(node_id)
        elif (uses or large) and _fits(graph, node_id, region, inside, shapes):
            region.nodes.append(node_id)
            # What reduces over the rows is known when the last row is.
            (later if node_id in region.totals else inside).add(node_id)
        elif uses:
            later.add(node_id)
            after.append(node_id)
        else:
            before.append(node_id)
    return region, before, after


def _fits(graph: Graph, node_id: int, region: Region, inside: set[int], shapes: Shapes) -> bool:
    """Whether a node can be computed row by row; a reduction over the rows is noted."""
    node, shape = graph.nodes[node_id], shapes[node_id]
    first = shapes[node.args[0]] if node.args else ()
    if node.op in COMBINED:
        if not first or first[0] != region.length or node.args[0] not in inside:
            return False
        if 0 in node.param("axes"):
            region.totals.add(node_id)
        return True
    if not shape or shape[0] != region.length:
        return False
    if node.op == "reshape":
        return bool(first) and first[0] == region.length
    if node.op != "broadcast_to" and not lookup(node.op).elementwise:
        return False
    return all(_by_rows(shapes[a], shape) or a not in inside for a in node.args)


def in_planes(shape: tuple[int, ...]) -> bool:
    """Whether the last axis of an array is so short that it should be outermost in memory."""
    return len(shape) > 1 and 1 < shape[-1] <= PLANES < shape[0] * shape[-2]


def as_planes(array: Array) -> Array:
    """The array, copied where its last axis should be outermost in memory."""
    if not in_planes(array.shape):
        return array
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, -1, 0)), 0, -1)


def _by_rows(operand: tuple[int, ...], result: tuple[int, ...]) -> bool:
    """Whether the rows of an operand belong to the rows of the result; otherwise it is needed as a whole."""
    return len(operand) == len(result) and operand[0] == result[0]


def _bytes(dtype: str, shape: tuple[int, ...]) -> int:
    return prod(shape) * np.dtype(dtype).itemsize if shape else 0


class Blocks:
    """A region made ready to run.

    Arguments:
        kept: the nodes of the region that others need.
        run_of: makes the function of a graph that is called with inputs and array outputs, and returns scalars.
    """

    def __init__(
        self, graph: Graph, region: Region, shapes: Shapes, kept: Sequence[int], run_of: Callable[[Graph], Run]
    ) -> None:
        self.region, self.shapes = region, shapes
        widest = max(_bytes(graph.nodes[i].type.dtype, shapes[i]) for i in region.nodes if i not in region.totals)
        self.rows = max(1, BLOCK * region.length // widest)
        self.stored = [i for i in kept if i not in region.totals]
        self.parts = [i for i in kept if i in region.totals and shapes[i]]
        self.scalars = [i for i in kept if i in region.totals and not shapes[i]]
        self.ufuncs = {i: COMBINED[graph.nodes[i].op] for i in region.totals}
        self.dtypes = {i: graph.nodes[i].type.dtype for i in kept}
        self.sliced: list[int] = []
        self.whole: list[int] = []
        self.run = run_of(self._program(graph))

    @property
    def operands(self) -> list[int]:
        """What the region reads, by node id."""
        return [*dict.fromkeys([*self.sliced, *self.whole])]

    def _program(self, graph: Graph) -> Graph:
        rows, program = Size.name("rows"), Graph(f"{graph.name}_rows")
        new: dict[tuple[int, bool], int] = {}
        inside = set(self.region.nodes)

        def operand(node_id: int, user: int) -> int:
            of = self.shapes[node_id]
            by_rows = graph.nodes[user].op in (*COMBINED, "reshape") or _by_rows(of, self.shapes[user])
            key = (node_id, by_rows)
            if key not in new:
                (self.sliced if by_rows else self.whole).append(node_id)
                name, dtype = f"v{node_id}_{int(by_rows)}", graph.nodes[node_id].type.dtype
                new[key] = program.input(name, (rows, *of[1:]) if by_rows else of, dtype).id
            return new[key]

        for node_id in self.region.nodes:
            node = graph.nodes[node_id]
            total = node_id in self.region.totals
            shape: Shape = self.shapes[node_id] if total else (rows, *self.shapes[node_id][1:])
            args = tuple([new[a, True] if a in inside else operand(a, node_id) for a in node.args])
            params = tuple([(name, shape if name == "shape" else value) for name, value in node.params])
            copy = Node(node.op, args, params, TensorType(node.type.dtype, shape), node.source)
            new[node_id, True] = program._append(copy)
        for node_id in [*self.stored, *self.parts, *self.scalars]:
            program.outputs[f"v{node_id}"] = new[node_id, True]
        named = {f"v{i}_{int(by)}": new[i, by] for by, ids in ((True, self.sliced), (False, self.whole)) for i in ids}
        # Something has to tell the number of rows.
        program.inputs = named if self.sliced else {"counted": program.input("counted", rows).id, **named}
        return program.freeze()

    def __call__(self, values: list[Any], stored: Sequence[Any]) -> None:
        """Compute all rows; write the stored values to the given arrays, and put all kept ones among the values."""
        parts = [np.empty(self.shapes[i], self.dtypes[i]) for i in self.parts]
        whole = [as_planes(values[i]) for i in self.whole]
        sliced = [as_planes(values[i]) for i in self.sliced] or [np.broadcast_to(0.0, self.region.length)]
        totals: dict[int, Any] = {}
        for start in range(0, self.region.length, self.rows):
            block = slice(start, start + self.rows)
            answer = self.run(*[v[block] for v in sliced], *whole, *[array[block] for array in stored], *parts)
            scalars = answer if isinstance(answer, tuple) else (answer,)
            for node_id, part in zip([*self.parts, *self.scalars], [*parts, *scalars], strict=False):
                known = totals.get(node_id)
                totals[node_id] = np.array(part) if known is None else self.ufuncs[node_id](known, part)
        for node_id, array in zip(self.stored, stored, strict=True):
            values[node_id] = array
        for node_id, total in totals.items():
            values[node_id] = total
