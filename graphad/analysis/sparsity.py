"""Structural sparsity: which elements of a node depend on which elements of an input, for given sizes.

The pattern of a node is the union over its operands of pattern(operation) times pattern(operand), products of boolean
matrices. Nothing that can be different from zero is missed; products with constants have the zeros of these, and what
an operation hides (loops, operations of the user's own) depends on all elements of its operands. Several results of one
node count as one element.

Reference: A. Griewank and A. Walther, Evaluating Derivatives, 2nd ed., SIAM 2008, section 7.1 (index domains).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphad.interpret import evaluate
from graphad.ir import sizes
from graphad.ir.bodies import extent_parameters
from graphad.ir.graph import Graph, Node
from graphad.ir.operation import NotDifferentiable, Op, lookup
from graphad.ir.types import TupleType

Positions = NDArray[np.int64]
Pattern = Any  # a boolean csr_array: elements of the node by elements of the input

MOVES = frozenset({"reshape", "transpose", "broadcast_to", "slice", "embed", "concatenate", "gather"})
SCATTERS = frozenset({"scatter_add", "scatter_set", "scatter_mul", "scatter_max", "scatter_min"})
REDUCTIONS = frozenset({"sum", "prod", "max", "min"})
RUNNING = frozenset({"cumsum", "cumprod", "linear_recurrence"})


class Sizes(NamedTuple):
    """What is known about one node at given sizes: its operation, parameters, shapes, and values of integer operands.

    `values` has None where an operand depends on floating values.
    """

    op: Op
    params: dict[str, Any]
    shape: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    values: tuple[NDArray[Any] | None, ...]

    def fixed_from(self, first: int) -> bool:
        """Whether the values of all operands from some position on are known."""
        return all(value is not None for value in self.values[first:])


def jacobian_pattern(
    graph: Graph, source: int, target: int, arrays: Mapping[str, NDArray[Any]], bound: Mapping[str, int]
) -> Pattern:
    """The pattern of the Jacobian of a node with respect to another, a boolean `csr_array` with sorted columns.

    Arguments:
        source, target: node ids.
        arrays: inputs that are no floats, where positions depend on them.
        bound: all named sizes.

    >>> import graphad as ga
    >>> g = ga.Graph("steps")
    >>> x = g.input("x", shape="n")
    >>> g.output("y", x[1:] - x[:-1])
    >>> jacobian_pattern(g, 0, g.outputs["y"], {}, {"n": 3}).toarray().astype(int)
    array([[1, 1, 0],
           [0, 1, 1]])
    """
    shapes = [tuple(sizes.evaluate(e, bound) for e in node.type.shape) for node in graph.nodes[: target + 1]]
    active = _between(graph, source, target)
    values = _fixed_values(graph, active, arrays, bound)
    count = _product(shapes[source])
    known: dict[int, Pattern] = {source: _read(np.arange(count), (count,))}
    for node_id in active:
        node = graph.nodes[node_id]
        params = dict(extent_parameters(node.params, lambda e: sizes.evaluate(e, bound)))
        at = Sizes(lookup(node.op), params, shapes[node_id], tuple(shapes[a] for a in node.args),
                   tuple(values.get(a) for a in node.args))  # fmt: skip
        pattern = _node_pattern(node, at, [known.get(a) for a in node.args])
        if pattern is not None:
            known[node_id] = pattern
    found = known.get(target)
    if found is None:
        found = compressed_rows((_product(shapes[target]), count), dtype=bool)
    found.sum_duplicates()
    return found


def _between(graph: Graph, source: int, target: int) -> list[int]:
    """The differentiable nodes on paths from the source to the target, in order, without the source."""
    reached = {source}
    for node_id in range(source + 1, target + 1):
        node = graph.nodes[node_id]
        carries = node.type.is_float or isinstance(node.type, TupleType)
        passes = carries and not isinstance(lookup(node.op).derivative, NotDifferentiable)
        if passes and any(a in reached for a in node.args):
            reached.add(node_id)
    wanted = {target}
    for node_id in range(target, source, -1):
        if node_id in wanted:
            wanted.update(graph.nodes[node_id].args)
    return sorted((reached & wanted) - {source})


def _fixed_values(
    graph: Graph, active: Sequence[int], arrays: Mapping[str, NDArray[Any]], bound: Mapping[str, int]
) -> dict[int, NDArray[Any]]:
    """The values of index arrays and constants that operations on the way read, where they depend on no float."""
    floating: set[int] = set()
    for node_id, node in enumerate(graph.nodes):
        if (node.op == "input" and node.type.is_float) or any(a in floating for a in node.args):
            floating.add(node_id)
    wanted: set[int] = set()
    for node_id in active:
        node = graph.nodes[node_id]
        if node.op in MOVES | SCATTERS:
            wanted.update(a for a in node.args if graph.nodes[a].type.dtype == "int64")
        elif node.op in ("einsum", "mul"):
            wanted.update(a for a in node.args if graph.nodes[a].op == "const")
    targets = {str(i): i for i in sorted(wanted - floating)}
    given = {graph.inputs[name]: array for name, array in arrays.items()}
    found = evaluate(graph, given, bound, targets) if targets else {}
    return {int(name): array for name, array in found.items()}


def _node_pattern(node: Node, at: Sizes, operands: Sequence[Pattern | None]) -> Pattern | None:
    total: Pattern | None = None
    for position, pattern in enumerate(operands):
        if pattern is None:
            continue
        step = dependence(node.op, at, position)
        through = pattern if step is None else step @ pattern
        if total is None:
            total = through
        elif total is not through:
            total = total + through
    return total


# ---------------------------------------------------------------------- single operations


def dependence(op: str, at: Sizes, position: int) -> Pattern | None:
    """The pattern of an operation with respect to one operand; None for the identity."""
    shape, before = at.shape, at.shapes[position]
    if at.op.elementwise:
        factor = at.values[1 - position] if op == "mul" else None
        if factor is not None and not np.all(factor):
            return _read(np.where(factor != 0, np.broadcast_to(_numbered(before), shape), -1), before)
        return None if shape == before else _read(np.broadcast_to(_numbered(before), shape), before)
    if op in MOVES and (op != "gather" or at.fixed_from(1)):
        return _read(_moved(at, position), before)
    if op in REDUCTIONS:
        return _written(_spread(_numbered(shape), before, at.params["axes"]), shape)
    if op in SCATTERS and at.fixed_from(2):
        return _scattered(op, at, position)
    if op in RUNNING:
        return _running(before, at.params["axis"])
    if op == "einsum":
        return _product_pattern(at, position)
    return compressed_rows(np.ones((_product(shape), _product(before)), dtype=bool))


def compressed_rows(*given: Any, **options: Any) -> Pattern:
    """A `csr_array`; SciPy's sparse matrices are imported when the first is made."""
    from scipy.sparse import csr_array

    return csr_array(*given, **options)


def _numbered(shape: tuple[int, ...]) -> Positions:
    return np.arange(_product(shape), dtype=np.int64).reshape(shape)


def _product(shape: Sequence[int]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def _read(places: Positions, before: tuple[int, ...]) -> Pattern:
    """Element i of the result is element `places[i]` of the operand, or none where that is negative."""
    flat = places.reshape(-1)
    there = flat >= 0
    indptr = np.concatenate([[0], np.cumsum(there)])
    columns = flat[there]
    return compressed_rows((np.ones(len(columns), dtype=bool), columns, indptr), shape=(len(flat), _product(before)))


def _written(places: Positions, shape: tuple[int, ...]) -> Pattern:
    """Element i of the operand goes into element `places[i]` of the result."""
    return compressed_rows(_read(places, shape).T)


def _moved(at: Sizes, position: int) -> Positions:
    """For each element of the result its place in an operand: the operation done to positions."""
    arrays = [
        value if value is not None else np.zeros(shape, dtype=np.int64)
        for value, shape in zip(at.values, at.shapes, strict=True)
    ]
    arrays[position] = _numbered(at.shapes[position]) + 1
    moved: Positions = at.op.reference(*arrays, **at.params) - 1
    return moved


def _spread(places: Positions, before: tuple[int, ...], axes: Sequence[int]) -> Positions:
    kept = tuple(1 if a in axes else e for a, e in enumerate(before))
    return np.broadcast_to(places.reshape(kept), before)


def _scattered(op: str, at: Sizes, position: int) -> Pattern | None:
    if position == 0 and op != "scatter_set":
        return None
    if position == 0:
        kept = _numbered(at.shapes[0])
        nothing = np.full(at.shapes[1], -1, dtype=np.int64)
        return _read(at.op.reference(kept, nothing, *at.values[2:], **at.params), at.shapes[0])
    read = lookup("gather").reference(_numbered(at.shape), *at.values[2:], axes=at.params["axes"])
    return _written(read, at.shape)


def _running(shape: tuple[int, ...], axis: int) -> Pattern:
    """Every element depends on those before it on its line, and on itself."""
    lines = np.moveaxis(_numbered(shape), axis, -1).reshape(-1, shape[axis])
    later, earlier = np.tril_indices(shape[axis])
    rows, columns = lines[:, later].reshape(-1), lines[:, earlier].reshape(-1)
    count = _product(shape)
    return compressed_rows((np.ones(len(rows), dtype=bool), (rows, columns)), shape=(count, count))


def _product_pattern(at: Sizes, position: int) -> Pattern:
    """The pairs of elements of result and operand that meet an element of the other operand that may not be zero."""
    letters = (at.params["left"], at.params["right"])
    mine, theirs, out = letters[position], letters[1 - position], at.params["out"]
    extents = dict(zip(mine + theirs, at.shapes[position] + at.shapes[1 - position], strict=True))
    axes = "".join(dict.fromkeys(out + mine))
    other = at.values[1 - position]
    mask = np.ones(at.shapes[1 - position], dtype=bool) if other is None else other != 0
    alone = tuple(i for i, c in enumerate(theirs) if c not in axes)
    mask = np.asarray(mask.any(axis=alone))
    kept = "".join(c for c in theirs if c in axes)
    order = sorted(range(len(kept)), key=lambda i: axes.index(kept[i]))
    lined = mask.transpose(order).reshape(tuple(extents[c] if c in kept else 1 for c in axes))
    places = dict(zip(axes, np.nonzero(np.broadcast_to(lined, [extents[c] for c in axes])), strict=True))
    rows, columns = (_flat(places, names, extents) for names in (out, mine))
    shape = (_product(at.shape), _product(at.shapes[position]))
    return compressed_rows((np.ones(len(rows), dtype=bool), (rows, columns)), shape=shape)


def _flat(places: Mapping[str, Positions], letters: str, extents: Mapping[str, int]) -> Positions:
    total = np.zeros(len(next(iter(places.values()))) if places else 1, dtype=np.int64)
    for c in letters:
        total = total * extents[c] + places[c]
    return total
