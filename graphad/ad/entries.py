"""The entries of a sparse Jacobian, one by one: their values and their places as nodes of one graph.

The derivative of a node with respect to an input is a list of `Entries`: arrays of partial derivatives, and beside each
an integer array of the same shape that says in which columns these partials stand. Both follow the node by node walk of
forward mode. What moves elements about (slices, gathers, concatenation) moves values and columns alike, so the column
of an entry is known without a look at its value, and entries in equal columns are added where they meet. No colouring,
no unit vectors: an elementwise function of k shifted reads costs k partials an element.

The columns are a graph as well. So they are exact for every size and for index arrays that come with the call, and
`graphad.interpret.evaluate` gives them in NumPy.

Reference: the "by pattern" evaluation of local Jacobians in Griewank and Walther, section 10.3 (partial separability).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from graphad.ad import arith
from graphad.ir import sizes
from graphad.ir.graph import Graph, Node
from graphad.ir.operation import Custom, Elementwise, Linear, NotDifferentiable, call, lookup
from graphad.ir.sizes import Extent
from graphad.ir.types import Shape, TupleType
from graphad.ir.variable import Variable
from graphad.ops.build import lift
from graphad.ops.gather import gathered
from graphad.ops.shape import reshaped, stretched
from graphad.ops.source import filled, iota

MOST = 200  # entries of one node beyond which formulas are given up: something dense is going on
ALTOGETHER = 50_000  # the same for a graph as a whole: writing them would take seconds


class IndirectError(Exception):
    """Why the entries of a graph can not be written down one by one; a colouring takes its place."""


class Entries(NamedTuple):
    """Partial derivatives of a node with respect to an input, one for each element of `columns`.

    `value` broadcasts to the shape of `columns`: int64, the flat position in the input, -1 for "no entry here". Without
    `rows` the last axes of `columns` are those of the node, and further axes in front of them are entries of the same
    row. With `rows`, of the shape of `columns`, these are the flat positions in the node, all valid.
    """

    value: Variable
    columns: Variable
    rows: Variable | None = None

    @property
    def key(self) -> tuple[int, int]:
        """Entries of equal key stand in equal places."""
        return (self.columns.id, -1 if self.rows is None else self.rows.id)

    @property
    def full(self) -> Variable:
        """The values in the shape of the columns."""
        return stretched(self.value, self.columns.shape)


class Walk:
    """One walk along a graph: what is known so far about the derivatives of its nodes.

    Arguments:
        graph: an open copy of the differentiated graph that interns its nodes, so that equal columns are one node.
        source: the node with respect to which is differentiated.
        by_nonzeros: take products with constant matrices by the nonzeros of these where they are few. The rows that
            this makes are such that not every operation can go on with them.
        counting: only places are wanted; numbers stand for the values.
    """

    def __init__(self, graph: Graph, source: int, by_nonzeros: bool, counting: bool = False) -> None:
        self.graph = graph
        self.by_nonzeros, self.counting = by_nonzeros, counting
        kind = graph.nodes[source].type
        columns = reshaped(iota(graph, kind.elements), kind.shape)
        self.known: dict[int, tuple[Entries, ...]] = {source: (Entries(graph.const(1.0, kind.dtype), columns),)}
        self.floating = _reached(graph)
        self.total = 0

    def of(self, node_id: int) -> tuple[Entries, ...]:
        """The entries of a node that has been walked over; none where its derivative is zero."""
        return self.known.get(node_id, ())

    def aligned(self, node_id: int, what: str) -> tuple[Entries, ...]:
        """The entries of a node, if all of them follow its axes; raises `IndirectError` otherwise."""
        found = self.of(node_id)
        if any(e.rows is not None for e in found):
            raise IndirectError(f"`{what}` of a value that was scattered before")
        return found

    def fixed(self, node_ids: Sequence[int], what: str) -> None:
        """Raise `IndirectError` where positions depend on floating values: the pattern would change with them."""
        if any(i in self.floating for i in node_ids):
            raise IndirectError(f"the positions of `{what}` depend on values")

    def step(self, node_id: int) -> None:
        """Find the entries of the next node, whose operands have been walked over."""
        node = self.graph.nodes[node_id]
        if not any(a in self.known for a in node.args):
            return
        if isinstance(node.type, TupleType):
            raise IndirectError(f"`{node.op}` has no rule for single entries")
        if not node.type.is_float:
            return
        self.graph.set_source(node.source)
        op = lookup(node.op)
        if isinstance(op.derivative, NotDifferentiable):
            return
        rule = _elementwise if op.elementwise else RULES.get(node.op)
        if rule is None:
            raise IndirectError(f"`{node.op}` has no rule for single entries")
        found = rule(self, node_id, node)
        if not (self.counting and op.elementwise):  # there they are merged already
            found = merged(found)
        self.total += len(found)
        if len(found) > MOST or self.total > ALTOGETHER:
            raise IndirectError("the formulas become too many")
        if found:
            self.known[node_id] = tuple(found)


Rule = Callable[[Walk, int, Node], Sequence[Entries]]
RULES: dict[str, Rule] = {}


def entries_rule(*names: str) -> Callable[[Rule], Rule]:
    """Decorator: the rule of operations that are not elementwise."""

    def publish(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, rule))
        return rule

    return publish


def entries_of(
    graph: Graph, source: int, targets: Sequence[int], counting: bool = False
) -> list[tuple[Entries, ...]]:
    """Add to an open graph the entries of the Jacobians of some nodes with respect to another.

    Arguments:
        graph: an interning copy of the differentiated graph.
        source, targets: node ids.
        counting: make the places only, which takes a third of the time.

    Returns one list per target, empty where it does not depend on the source. Raises `IndirectError` where an operation
    on the way has no rule, or where positions depend on floating values.
    """
    try:
        return _walked(Walk(graph, source, True, counting), targets)
    except IndirectError:
        return _walked(Walk(graph, source, False, counting), targets)


def _walked(walk: Walk, targets: Sequence[int]) -> list[tuple[Entries, ...]]:
    (source,) = walk.known
    try:
        for node_id in _between(walk.graph, source, targets):
            walk.step(node_id)
    finally:
        walk.graph.set_source(None)
    return [walk.of(t) for t in targets]


def _between(graph: Graph, source: int, targets: Sequence[int]) -> list[int]:
    """The nodes on paths from the source to the targets, the source left out, in order."""
    reached = {source}
    for node_id in range(source + 1, max(targets, default=-1) + 1):
        if any(a in reached for a in graph.nodes[node_id].args):
            reached.add(node_id)
    wanted = set(targets)
    for node_id in range(max(targets, default=-1), source, -1):
        if node_id in wanted:
            wanted.update(graph.nodes[node_id].args)
    return sorted((reached & wanted) - {source})


def _reached(graph: Graph) -> set[int]:
    """The nodes that depend on a floating input."""
    found: set[int] = set()
    for node_id, node in enumerate(graph.nodes):
        if (node.op == "input" and node.type.is_float) or any(a in found for a in node.args):
            found.add(node_id)
    return found


def merged(entries: Sequence[Entries]) -> tuple[Entries, ...]:
    """Entries in equal places added, in the order of first appearance."""
    found: dict[tuple[int, int], Entries] = {}
    for e in entries:
        earlier = found.get(e.key)
        if earlier is not None:
            total = arith.add(earlier.value, e.value)
            assert total is not None
            e = e._replace(value=total)
        found[e.key] = e
    return tuple(found.values())


# ---------------------------------------------------------------------- elementwise operations


def _elementwise(walk: Walk, node_id: int, node: Node) -> list[Entries]:
    """Every entry times the partial with respect to its operand, those in equal places together."""
    factors = Factors(walk.graph, node_id)
    if walk.counting:
        live = [(position, arg) for position, arg in enumerate(node.args) if not factors.vanishes(position)]
        found = [_moved(walk, entry, node, position) for position, arg in live for entry in walk.of(arg)]
        return list({entry.key: entry for entry in found}.values())
    places: dict[tuple[int, int], tuple[Entries, dict[int, Variable]]] = {}
    for position, arg in enumerate(node.args):
        for entry in walk.of(arg):
            moved = _moved(walk, entry, node, position)
            _, values = places.setdefault(moved.key, (moved, {}))
            total = arith.add(values.get(position), moved.value)
            assert total is not None
            values[position] = total
    scaled = []
    for entry, values in places.values():
        tangents = tuple(values.get(i) for i in range(len(node.args)))
        value = _scaled(factors, tangents, entry.rows)
        if value is not None:
            scaled.append(entry._replace(value=value))
    return scaled


def _moved(walk: Walk, entry: Entries, node: Node, position: int) -> Entries:
    """An entry of an operand in the places of the result."""
    moved = _stretched_entry(entry, walk.graph.nodes[node.args[position]].type.shape, node.type.shape)
    if node.op != "mul" or moved.rows is not None:
        return moved
    return _without_zeros(moved, Variable(walk.graph, node.args[1 - position]), node.type.shape)


def _without_zeros(entry: Entries, factor: Variable, shape: Shape) -> Entries:
    """The entries of a product without those where a constant factor is zero, if it is so at half of its elements."""
    if factor.node.op != "const" or factor.shape == ():
        return entry
    zero = factor.node.param("value").array == 0
    if 2 * np.count_nonzero(zero) < max(zero.size, 1):
        return entry
    extra = entry.columns.shape[: entry.columns.ndim - len(shape)]
    nothing = stretched(factor == 0.0, extra + shape)
    columns = call("where", nothing, filled(factor.graph, (), -1, "int64"), entry.columns)
    return entry._replace(columns=columns)


class Factors:
    """The partials of an elementwise operation, each made once for all entries."""

    def __init__(self, graph: Graph, node_id: int) -> None:
        self.graph, self.node, self.id = graph, graph.nodes[node_id], node_id
        self.rule = lookup(self.node.op).derivative
        self.args = tuple([Variable(graph, a) for a in self.node.args])
        self._known: dict[int, Variable | float | None] = {}

    def of(self, position: int) -> Variable | float | None:
        """The partial with respect to an operand."""
        assert isinstance(self.rule, Elementwise)
        if position not in self._known:
            partial = self.rule.partials[position]
            self._known[position] = partial(*self.args, Variable(self.graph, self.id)) if partial else None
        return self._known[position]

    def vanishes(self, position: int) -> bool:
        """Whether the partial is known to be zero."""
        factor = self.of(position) if isinstance(self.rule, Elementwise) else 1.0
        return factor is None or (isinstance(factor, (int, float)) and factor == 0.0)

    def read(self, x: Variable, rows: Variable | None) -> Variable:
        """A value in the places of entries with rows of their own."""
        return x if rows is None else at_rows(stretched(x, self.node.type.shape), rows)


def _scaled(factors: Factors, tangents: tuple[Variable | None, ...], rows: Variable | None) -> Variable | None:
    """The tangent of an elementwise operation in the places of some entries."""
    graph, node, rule = factors.graph, factors.node, factors.rule
    if isinstance(rule, Linear):
        (tangent,) = tangents
        assert tangent is not None
        return graph.apply(node.op, tangent, **dict(node.params))
    if isinstance(rule, Custom):
        args = tuple([factors.read(x, rows) for x in factors.args])
        return rule.jvp(args, tangents, factors.read(Variable(graph, factors.id), rows), dict(node.params))
    total: Variable | None = None
    for position, tangent in enumerate(tangents):
        factor = None if tangent is None else factors.of(position)
        if tangent is not None and factor is not None:
            factor = factor if isinstance(factor, (int, float)) else factors.read(factor, rows)
            total = arith.add(total, arith.scale(tangent, factor))
    return total


def at_rows(x: Variable, rows: Variable) -> Variable:
    """The elements of an array at flat positions; a number stays one."""
    if x.shape == ():
        return x
    return gathered(reshaped(x, (x.size,)), (rows,), (0,))


def _stretched_entry(entry: Entries, before: Shape, after: Shape) -> Entries:
    """The entries of an operand as those of the array to which it is broadcast."""
    if before == after:
        return entry
    if entry.rows is not None:
        raise IndirectError("a scattered value is broadcast")
    extra = entry.columns.ndim - len(before)
    columns = stretched(lift(entry.columns, extra, len(after)), entry.columns.shape[:extra] + after)
    value = entry.value
    if extra and value.shape != ():
        value = lift(entry.full, extra, len(after))
    return Entries(value, columns)


# ---------------------------------------------------------------------- places


def scattered_entry(graph: Graph, entry: Entries, shape: Shape) -> Entries:
    """The same entries of a node of some shape, with rows of their own."""
    if entry.rows is not None:
        return entry
    rows = stretched(reshaped(iota(graph, sizes.product(shape)), shape), entry.columns.shape)
    return Entries(entry.value, entry.columns, rows)


def pushed(entry: Entries, table: Variable, before: Shape, *, partial: bool) -> Entries:
    """Entries after an operation that puts every element of its operand into one place, or, if `partial`, into none.

    Arguments:
        table: of the shape `before` of the operand: for each element its flat place in the result, -1 for none.
    """
    graph = table.graph
    if entry.rows is None:
        rows = stretched(table, entry.columns.shape)
    else:
        rows = at_rows(reshaped(table, (sizes.product(before),)), entry.rows)
    columns = entry.columns
    if partial:
        nothing = filled(graph, (), -1, "int64")
        columns = call("where", rows < 0, nothing, columns)
        rows = call("maximum", rows, filled(graph, (), 0, "int64"))
    return Entries(entry.value, columns, rows)


def numbered(graph: Graph, shape: Shape) -> Variable:
    """The flat positions of an array of a shape, in that shape."""
    return reshaped(iota(graph, sizes.product(shape)), shape)


class Part(NamedTuple):
    """A node whose elements go, with a sign, to some rows of a Jacobian: `rows` holds flat positions in its shape."""

    node: int
    rows: Variable
    negative: bool = False


# Where these stand behind all other operations, rows are found through them without a look at their entries.
PEELED = {"reshape": (0,), "transpose": (0,), "embed": (0,), "sum": (0,), "scatter_add": (0, 1)}


def parts_of(graph: Graph, target: int) -> list[Part]:
    """The nodes of whose elements another is put together by moves and sums."""
    whole = Part(target, numbered(graph, graph.nodes[target].type.shape))
    found, stack, floating = [], [whole], _reached(graph)
    while stack:
        part = stack.pop()
        node = graph.nodes[part.node]
        if node.op == "concatenate" or (node.op in PEELED and not any(a in floating for a in node.args[2:])):
            rule = lookup(node.op).derivative
            assert isinstance(rule, Linear)
            args = tuple(Variable(graph, a) for a in node.args)
            for position in reversed(PEELED.get(node.op, range(len(args)))):
                rows = rule.transpose(part.rows, args, position, dict(node.params))
                stack.append(part._replace(node=node.args[position], rows=rows))
        elif node.op in ("add", "sub", "neg") and _puts_together(graph, node):
            for position, arg in reversed(list(enumerate(node.args))):
                minus = node.op == "neg" or (node.op == "sub" and position == 1)
                stack.append(part._replace(node=arg, negative=part.negative != minus))
        else:
            found.append(part)
    return found


def _puts_together(graph: Graph, node: Node) -> bool:
    """Whether a sum has a term that is itself put together, all terms having the shape of the sum."""
    terms = [graph.nodes[a] for a in node.args]
    return all(t.type.shape == node.type.shape for t in terms) and any(
        t.op in ("embed", "scatter_add") or (t.op in ("add", "sub", "neg") and _puts_together(graph, t)) for t in terms
    )


class Flat(NamedTuple):
    """All entries of one Jacobian on one axis: values, and int64 rows and columns (-1 for an entry to be left out)."""

    values: Variable
    rows: Variable
    columns: Variable


def flat_entries(graph: Graph, source: int, target: int) -> Flat:
    """Add to an open graph the entries of the Jacobian of a node with respect to another, on one axis.

    Arguments:
        graph: an interning copy of the differentiated graph.
        source, target: node ids.

    Raises `IndirectError` where an operation on the way has no rule, or where positions depend on floating values.
    """
    lines = entry_lines(graph, source, target)
    if not lines:
        dtype = graph.nodes[source].type.dtype
        lines = [Flat(*(filled(graph, (0,), 0, kind) for kind in (dtype, "int64", "int64")))]
    if len(lines) == 1:
        return lines[0]
    return Flat(*(call("concatenate", list(column)) for column in zip(*lines, strict=True)))


def entry_lines(graph: Graph, source: int, target: int) -> list[Flat]:
    """The same in parts, each by a formula of its own; none where nothing depends on the source."""
    parts = parts_of(graph, target)
    lines: list[Flat] = []
    for part, entries in zip(parts, entries_of(graph, source, [p.node for p in parts]), strict=True):
        for entry in entries:
            rows = _rows_of(part, entry)
            value = arith.scale(entry.value, -1.0) if part.negative else entry.value
            assert value is not None
            lines.append(Flat(*(_line(x) for x in (stretched(value, rows.shape), rows, entry.columns))))
    return lines


def entry_count(graph: Graph, source: int, target: int) -> Extent:
    """How many entries `flat_entries` gives, without their values; arguments and errors as there."""
    parts = parts_of(graph, target)
    found = entries_of(graph, source, [p.node for p in parts], counting=True)
    total: Extent = 0
    for entries in found:
        for entry in entries:
            total = total + entry.columns.size
    return total


def _rows_of(part: Part, entry: Entries) -> Variable:
    if entry.rows is None:
        return stretched(part.rows, entry.columns.shape)
    return at_rows(_line(part.rows), entry.rows)


def _line(x: Variable) -> Variable:
    return reshaped(x, (x.size,))
