"""Jacobians of maps: one small Jacobian for each row, and its place in the dense one.

The Jacobian of one row is derived and planned as that of any graph, then batched over the rows. Selections of rows
(index arrays, slices) cost no arithmetic: they only say where the small Jacobians go.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphad.ad import arith
from graphad.analysis.active import active_nodes
from graphad.analysis.cost import typical_sizes
from graphad.analysis.rows import Mixed, Rows, Source, rows_of
from graphad.ir import sizes
from graphad.ir.graph import Graph
from graphad.ir.sizes import Extent
from graphad.ir.types import Shape
from graphad.ir.variable import Variable
from graphad.ops.build import batched_apply
from graphad.ops.shape import reshaped, transposed
from graphad.ops.source import filled, iota, iota_along


def batched_rows(new: Graph, rows: Rows, derived: Graph) -> dict[str, Variable]:
    """Outputs of a graph with the inputs of `rows.graph`, for all rows: the rows' axis comes first.

    Arguments:
        new: an open copy of the whole graph.
        derived: for example the Jacobian of one row.
    """
    moved: dict[int, Variable] = {}
    batched: set[int] = set()
    for node_id, node in enumerate(derived.nodes):
        if node.op == "input":
            source = rows.sources[node.param("name")]
            value = Variable(new, source.node)
            moved[node_id] = value if source.axis is None else to_front(value, source.axis)
            if source.axis is not None:
                batched.add(node_id)
            continue
        args = tuple([moved[a] for a in node.args])
        new.set_source(node.source)
        if any(a in batched for a in node.args):
            moved[node_id] = batched_apply(new, node, args, tuple([a in batched for a in node.args]), 1)
            batched.add(node_id)
        elif node.op == "const":
            moved[node_id] = new.const(node.param("value").array)
        else:
            moved[node_id] = new.apply(node.op, *args, **dict(node.params))
    new.set_source(None)
    stacked = {}
    for name, node_id in derived.outputs.items():
        value = moved[node_id]
        shape = (rows.size, *derived.nodes[node_id].type.shape)
        stacked[name] = value if node_id in batched else arith.broadcast_to(value, shape)
    return stacked


def to_front(value: Variable, axis: int) -> Variable:
    """The value with an axis moved to the front."""
    return transposed(value, (axis, *(a for a in range(value.ndim) if a != axis)))


def from_front(value: Variable, first: int, axis: int) -> Variable:
    """The value with its axis number `first` moved `axis` places back."""
    order = list(range(value.ndim))
    order.insert(first + axis, order.pop(first))
    return transposed(value, tuple(order))


def place(new: Graph, rows: Rows, output: str, source: Source, block: Variable) -> Variable:
    """The Jacobian of all rows from that of each: shape `y.shape + x.shape`, x the source's origin.

    Arguments:
        block: one Jacobian for each row, of shape (rows, of the output's row, of the source's row).
    """
    assert source.origin is not None
    rank = rows.graph.nodes[rows.graph.outputs[output]].type.rank
    if source.axis is None:
        dense = block
    elif source.node == source.origin:
        dense = _diagonal(new, rows.size, block, rank, source.axis)
    else:
        dense = scattered(new, source, block, rank)
    return from_front(dense, 0, rows.axes[output])


def _diagonal(new: Graph, size: Extent, block: Variable, rank: int, axis: int) -> Variable:
    """Blocks on the diagonal of zeros: axes (rows, of the output, those of the input)."""
    inner: Shape = block.shape[rank + 1 :]
    lines = reshaped(iota(new, size), (size,) + (1,) * (rank + 1 + len(inner)))
    columns = reshaped(iota(new, size), (size,) + (1,) * len(inner))
    stretched = reshaped(block, (*block.shape[: rank + 1], 1, *inner))
    chosen = new.apply("where", lines == columns, stretched, new.const(0.0, block.dtype))
    return from_front(chosen, rank + 1, axis)


def scattered(new: Graph, source: Source, block: Variable, rank: int) -> Variable:
    """Blocks added into zeros at the elements of the origin that each row holds: axes (rows, of the output, origin)."""
    assert source.origin is not None
    assert source.axis is not None
    origin = new.nodes[source.origin].type
    columns = to_front(element_numbers(new, source), source.axis)
    size, inner = block.shape[0], block.shape[rank + 1 :]
    updates = transposed(block, (0, *range(rank + 1, block.ndim), *range(1, rank + 1)))
    lines = arith.broadcast_to(iota_along(new, (size, *inner), 0), (size, *inner))
    flat: Shape = (*block.shape[: rank + 1], origin.elements)
    added = new.apply("scatter_add", filled(new, flat, 0.0, block.dtype), updates, lines, columns, axes=(0, rank + 1))
    return reshaped(added, block.shape[: rank + 1] + origin.shape)


def element_numbers(new: Graph, source: Source) -> Variable:
    """For every element of a source the number, in C order, of the element of its origin that it holds: int64."""
    assert source.origin is not None
    origin = new.nodes[source.origin].type
    found = {source.origin: reshaped(iota(new, origin.elements), origin.shape)}
    for node_id in active_nodes(new, [source.origin], [source.node]):
        if node_id not in found:
            node = new.nodes[node_id]
            args = [found[a] if a in found else Variable(new, a) for a in node.args]
            found[node_id] = new.apply(node.op, *args, **dict(node.params))
    return found[source.node]


def find_rows(graph: Graph, wrt: Sequence[str], of: Sequence[str]) -> Rows | None:
    """The graph as a map with as many rows as possible at the hints.

    None where it is none, where rows share results, or where a row has nearly as many differentiated inputs and outputs
    as the graph as a whole: then its rows share most of their inputs, and a sweep for all of them costs the same.
    """
    at = typical_sizes(graph)
    first = graph.nodes[graph.outputs[of[0]]].type.shape
    extents = sorted(dict.fromkeys(first), key=lambda e: -sizes.evaluate(e, at))
    for extent in extents:
        if sizes.evaluate(extent, at) > 1:
            found = rows_of(graph, wrt, of, extent)
            if isinstance(found, Mixed) or not found.apart:
                continue
            if 2 * _sweeps(found.graph, found.wrt(of), of) <= _sweeps(graph, wrt, of):
                return found
    return None


def _sweeps(graph: Graph, wrt: Sequence[str], of: Sequence[str]) -> int:
    """The sweeps of the better uniform mode at the hints."""
    at = typical_sizes(graph)
    ends = [graph.inputs[n] for n in wrt], [graph.outputs[n] for n in of]
    return min(sum(sizes.evaluate(graph.nodes[i].type.elements, at) for i in ids) for ids in ends)
