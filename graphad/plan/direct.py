"""Sparse Jacobians written entry by entry: one graph for the values, one for their places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import graphad.ad.entry_rules  # noqa: F401  (fills the table of rules)
from graphad.ad.entries import IndirectError, entry_count, flat_entries
from graphad.analysis.cost import typical_sizes
from graphad.interpret import evaluate
from graphad.ir import sizes
from graphad.ir.graph import Graph, keep, rebuild
from graphad.ir.sizes import Extent
from graphad.ir.types import FLOATS
from graphad.plan.coloring import Coloring
from graphad.plan.components import taken_apart

LARGEST = 3000  # nodes of a graph taken apart up to which its formulas are looked at


class Block(NamedTuple):
    """One Jacobian among several: the derivative of an output with respect to an input, as a matrix.

    Rows and columns are the elements of output and input in C order.
    """

    name: str
    output: str
    input: str
    rows: Extent
    columns: Extent
    dtype: str


class Coordinates(NamedTuple):
    """Where computed values go: value `source[k]` is added to the element in row `rows[k]` and column `columns[k]`."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    source: NDArray[np.int64]
    coloring: Coloring | None = None


class Places(NamedTuple):
    """What a call needs besides its arguments: seeds, in the order of further inputs; coordinates for each block."""

    seeds: tuple[NDArray[Any], ...]
    blocks: tuple[Coordinates, ...]


def block_of(graph: Graph, name: str, output: str, input_: str) -> Block:
    """The block of an output and an input of a graph."""
    row, column = graph.nodes[graph.outputs[output]].type, graph.nodes[graph.inputs[input_]].type
    return Block(name, output, input_, row.elements, column.elements, row.dtype)


@dataclass(frozen=True)
class Direct:
    """Every entry by a formula of its own, fused into one function: no sweeps, no zeros.

    Arguments:
        blocks: what is computed.
        graph: the values: one vector for each block, under the block's name.
        where: the places: `rows_0`, `columns_0`, `rows_1`, ... in the order of the blocks. It depends on sizes and on
            index arrays only.
        fixed_by: names of the inputs on which the places depend besides sizes.
        seeds: none.
    """

    blocks: tuple[Block, ...]
    graph: Graph
    where: Graph
    fixed_by: tuple[str, ...]
    seeds: tuple[str, ...] = ()

    def places(self, arrays: Mapping[str, NDArray[Any]], bound: Mapping[str, int]) -> Places:
        """The places at some sizes.

        Arguments:
            arrays: at least the inputs in `fixed_by`.
            bound: all named sizes.
        """
        given = {self.where.inputs[name]: arrays[name] for name in self.fixed_by}
        found = evaluate(self.where, given, bound, self.where.outputs)
        blocks = []
        for number in range(len(self.blocks)):
            rows, columns = found[f"rows_{number}"], found[f"columns_{number}"]
            used = np.flatnonzero(columns >= 0)
            blocks.append(Coordinates(rows[used], columns[used], used))
        return Places((), tuple(blocks))

    def computed(self) -> Extent:
        """How many values a call computes."""
        total: Extent = 0
        for node_id in self.graph.outputs.values():
            total = total + self.graph.nodes[node_id].type.elements
        return total


def direct(graph: Graph, blocks: Sequence[Block], name: str) -> Direct:
    """The entries of some Jacobians of a graph; raises `graphad.ad.entries.IndirectError` where there is no way.

    Where the graph has short axes the formulas of its components are looked at as well; the fewer values are taken.
    """
    apart = taken_apart(graph)
    try:
        found = _formulas(graph, blocks, name)
    except IndirectError:
        if apart is None:
            raise
        return _formulas(apart, blocks, name)
    if apart is not None and len(apart.nodes) <= LARGEST:
        at = typical_sizes(graph)
        try:
            if sizes.evaluate(_count(apart, blocks, name), at) < sizes.evaluate(found.computed(), at):
                return _formulas(apart, blocks, name)
        except IndirectError:
            return found
    return found


def _count(graph: Graph, blocks: Sequence[Block], name: str) -> Extent:
    """How many values the formulas of a graph compute."""
    new = graph.copy(name, intern=True)
    return sum([entry_count(new, new.inputs[b.input], graph.outputs[b.output]) for b in blocks], 0)


def _formulas(graph: Graph, blocks: Sequence[Block], name: str) -> Direct:
    new = graph.copy(name, intern=True)
    new.outputs = {}
    flat = [flat_entries(new, new.inputs[b.input], graph.outputs[b.output]) for b in blocks]
    values = {b.name: f.values.astype(b.dtype).id for b, f in zip(blocks, flat, strict=True)}
    where = {f"{kind}_{k}": getattr(f, kind).id for k, f in enumerate(flat) for kind in ("rows", "columns")}
    made, placed = _with_outputs(new, name, values), _with_outputs(new, f"{name}_places", where)
    used = keep(placed, placed.outputs.values())
    fixed_by = tuple(n for n, i in placed.inputs.items() if i in used and placed.nodes[i].type.dtype not in FLOATS)
    return Direct(tuple(blocks), made, placed, fixed_by)


def _with_outputs(graph: Graph, name: str, outputs: Mapping[str, int]) -> Graph:
    new = graph.copy(name)
    new.outputs = dict(outputs)
    return rebuild(new, lambda *_: None, live=sorted(keep(new, outputs.values()))).freeze()


def shape_at(block: Block, bound: Mapping[str, int]) -> tuple[int, int]:
    """Rows and columns of a block at some sizes."""
    return sizes.evaluate(block.rows, bound), sizes.evaluate(block.columns, bound)
