"""Sparse Jacobians by coloured sweeps: several columns in one tangent, several rows in one cotangent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from graphad.ad import arith
from graphad.ad.batch import batch_nodes
from graphad.ad.forward import push_forward
from graphad.ad.reverse import pull_back
from graphad.analysis.sparsity import MOVES, SCATTERS, jacobian_pattern
from graphad.ir import sizes
from graphad.ir.graph import Graph, keep, rebuild
from graphad.ir.operation import call
from graphad.ir.sizes import Size
from graphad.ir.types import FLOATS
from graphad.ir.variable import Variable
from graphad.ops.shape import reshaped
from graphad.plan.coloring import (
    Coloring,
    bidirectional_coloring,
    color_symmetric,
    column_coloring,
    count,
    row_coloring,
)
from graphad.plan.direct import Block, Coordinates, Places

Kind = Literal["columns", "rows", "both", "symmetric"]


@dataclass(frozen=True)
class Swept:
    """Coloured sweeps for each block.

    Arguments:
        blocks: what is computed.
        kinds: for each block which sweeps: forward ones for columns, reverse ones for rows, both, or forward ones
            through the gradient of a symmetric matrix.
        graph: the results of all sweeps, one vector for each block; further inputs are seeds.
        primal: the differentiated graph, whose pattern is coloured.
        fixed_by: names of the inputs on which the pattern depends besides sizes.
        seeds: the inputs of the graph that are seeds, in order.
        costs: for each block what a forward and a reverse sweep cost, for the split between them.
    """

    blocks: tuple[Block, ...]
    kinds: tuple[Kind, ...]
    graph: Graph
    primal: Graph
    fixed_by: tuple[str, ...]
    seeds: tuple[str, ...]
    costs: tuple[tuple[float, float], ...]

    def places(self, arrays: Mapping[str, NDArray[Any]], bound: Mapping[str, int]) -> Places:
        """Seeds and places at some sizes; arguments as for `Direct.places`."""
        seeds: list[NDArray[Any]] = []
        blocks = []
        for block, kind, cost in zip(self.blocks, self.kinds, self.costs, strict=True):
            source, target = self.primal.inputs[block.input], self.primal.outputs[block.output]
            pattern = jacobian_pattern(self.primal, source, target, arrays, bound)
            coloring = colored(pattern, kind, cost)
            if kind != "rows":
                seeds.append(self._seeds(source, coloring.columns, coloring.forward, bound))
            if kind in ("rows", "both"):
                seeds.append(self._seeds(target, coloring.rows, coloring.reverse, bound))
            blocks.append(coordinates(pattern, coloring, kind))
        return Places(tuple(seeds), tuple(blocks))

    def _seeds(self, node_id: int, colors: NDArray[np.int32], number: int, bound: Mapping[str, int]) -> NDArray[Any]:
        kind = self.primal.nodes[node_id].type
        made = np.zeros((number, len(colors)), kind.dtype)
        (used,) = np.nonzero(colors >= 0)
        made[colors[used], used] = 1.0
        return made.reshape((number, *(sizes.evaluate(e, bound) for e in kind.shape)))


def colored(pattern: Any, kind: Kind, cost: tuple[float, float] = (1.0, 1.0)) -> Coloring:
    """The colouring of a pattern for some kind of sweeps."""
    if kind == "columns":
        return column_coloring(pattern)
    if kind == "rows":
        return row_coloring(pattern)
    if kind == "both":
        return bidirectional_coloring(pattern, *cost)
    colors = color_symmetric(pattern)
    return Coloring(colors, np.full(len(colors), -1, np.int32), count(colors), 0)


def coordinates(pattern: Any, coloring: Coloring, kind: Kind) -> Coordinates:
    """Where in the results of the sweeps every entry of a pattern is found."""
    height, width = pattern.shape
    rows = np.repeat(np.arange(height, dtype=np.int64), np.diff(pattern.indptr))
    columns = pattern.indices.astype(np.int64)
    by_column = coloring.columns[columns].astype(np.int64)
    if kind == "symmetric":
        # An entry whose colour comes twice in its row is read off at its mirror image.
        key = rows * (coloring.forward + 1) + by_column
        _, inverse, counts = np.unique(key, return_inverse=True, return_counts=True)
        mirrored = counts[inverse] > 1
        here, there = by_column * height + rows, coloring.columns[rows].astype(np.int64) * height + columns
        return Coordinates(rows, columns, np.where(mirrored, there, here), coloring)
    by_row = coloring.rows[rows].astype(np.int64)
    reverse = coloring.forward * height + by_row * width + columns
    return Coordinates(rows, columns, np.where(by_row >= 0, reverse, by_column * height + rows), coloring)


def swept(
    graph: Graph,
    blocks: Sequence[Block],
    kinds: Sequence[Kind],
    name: str,
    costs: Sequence[tuple[float, float]] | None = None,
) -> Swept:
    """The sweeps for some blocks of a graph."""
    new = graph.copy(name)
    new.outputs = {}
    seeds: list[str] = []
    for block, kind in zip(blocks, kinds, strict=True):
        parts = []
        if kind != "rows":
            parts.append(_sweep(new, graph, block, seeds, forward=True))
        if kind in ("rows", "both"):
            parts.append(_sweep(new, graph, block, seeds, forward=False))
        lines = [reshaped(p, (p.size,)) for p in parts]
        values = lines[0] if len(lines) == 1 else call("concatenate", lines)
        new.output(block.name, values.astype(block.dtype))
    made = rebuild(new, lambda *_: None, live=sorted(keep(new, new.outputs.values()))).freeze()
    each = tuple(costs) if costs is not None else ((1.0, 1.0),) * len(blocks)
    return Swept(tuple(blocks), tuple(kinds), made, graph, positions_from(graph), tuple(seeds), each)


def _sweep(new: Graph, graph: Graph, block: Block, seeds: list[str], *, forward: bool) -> Variable:
    """The tangents of an output for stacked seeds of an input, or the cotangents the other way round."""
    begin, end = graph.inputs[block.input], graph.outputs[block.output]
    if not forward:
        begin, end = end, begin
    kind = graph.nodes[begin].type
    name = _unused(new.inputs, f"{block.input if forward else block.output}_seeds")
    colors = _unused({*new.size_names, *graph.size_names}, f"{name}_colors")
    with new.at(graph.nodes[begin].source):
        seed = new.input(name, (Size.name(colors), *kind.shape), kind.dtype)
        one = new.apply("placeholder", shape=kind.shape, dtype=kind.dtype)
    seeds.append(name)
    found = (push_forward if forward else pull_back)(new, {begin: one}, [end])[0]
    shape = (seed.shape[0], *graph.nodes[end].type.shape)
    if found is None:
        return arith.broadcast_to(new.const(0.0, kind.dtype), shape)
    return arith.broadcast_to(batch_nodes(new, {one.id: seed}, [found.id], 1)[0], shape)


def _unused(taken: Mapping[str, Any] | set[str], name: str) -> str:
    while name in taken:
        name += "_"
    return name


def positions_from(graph: Graph) -> tuple[str, ...]:
    """The names of the inputs from which positions of gathers and scatters are computed, floats left out."""
    indices = [
        a for node in graph.nodes if node.op in MOVES | SCATTERS for a in node.args
        if graph.nodes[a].type.dtype == "int64"
    ]  # fmt: skip
    used = keep(graph, indices)
    return tuple(n for n, i in graph.inputs.items() if i in used and graph.nodes[i].type.dtype not in FLOATS)
