"""From a graph to statements: every node becomes a view, a pending accumulation, or statements.

Views (slices, transposes, gathers, …) move no data. A sum, the transpose of a slice and a scatter into zeros are
*contributions* to an accumulator; contributions that meet in an addition share one accumulator, so the cotangent of
an array that is read in several places is gathered in one variable (see `Pending`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from graphad.errors import GraphError, describe
from graphad.ir.graph import Graph, Node
from graphad.ir.operation import Pattern, Scalar, lookup
from graphad.ir.sizes import Extent, evaluate, names
from graphad.loops.ir import ZERO, Access, Index, IndexValue, Literal, Operand, Program, Statement, Var, at
from graphad.loops.straight import lower_region, partition
from graphad.loops.views import View, number, plain, regrouped, stretched, whole

DEFAULT_SIZE = 1000
UNROLL_ALWAYS = 4


@dataclass(frozen=True)
class Contribution:
    """`value`, for every point of its shape, is added to the element at `target` (an index per axis)."""

    value: View
    target: tuple[Index, ...]


@dataclass(frozen=True)
class Pending:
    """An array as a sum of contributions to zeros, not yet given memory."""

    shape: tuple[Extent, ...]
    dtype: str
    contributions: tuple[Contribution, ...]

    def retargeted(
        self, shape: tuple[Extent, ...], change: Callable[[tuple[Index, ...]], tuple[Index, ...]]
    ) -> Pending:
        """The same contributions at other places."""
        moved = tuple(Contribution(c.value, change(c.target)) for c in self.contributions)
        return Pending(shape, self.dtype, moved)


Lowered: TypeAlias = "View | Pending | tuple[View, ...]"


class Lowering:
    """The state of one lowering: the program so far and what each node has become.

    Arguments:
        program: an empty one to be filled; of a loop's body it shares axes and constants with the program around it.
        depth: loops around the graph.
    """

    def __init__(self, graph: Graph, program: Program | None = None, depth: int = 0) -> None:
        self.graph = graph
        self.depth = depth
        self.program = program or Program(graph.name, hints=dict(graph.hints))
        self.results: dict[int, Lowered] = {}
        self.reduced: dict[object, View] = {}
        self.matrices: dict[object, Var] = {}
        self.region = 0
        users = graph.users()
        self.uses = [len(found) for found in users]
        self.merged = _merged_where_written(graph, users)
        for node_id in graph.outputs.values():
            self.uses[node_id] += 1

    def view(self, node_id: int) -> View:
        """The node as a view; a pending accumulation gets its memory now."""
        result = self.results[node_id]
        if isinstance(result, Pending):
            result = self.results[node_id] = self.settle(result)
        assert isinstance(result, View), "several results are read one by one"
        return result

    def enter(self, region: int) -> None:
        """Begin a region, where it is a later one; what is pending belongs to the region before."""
        if region > self.region:
            for node_id, result in self.results.items():
                if isinstance(result, Pending):
                    self.results[node_id] = self.settle(result)
            self.region = region

    def pending(self, node_id: int) -> Pending | None:
        """The node's contributions, where nobody else needs the node."""
        result = self.results[node_id]
        return result if isinstance(result, Pending) and self.uses[node_id] == 1 else None

    def estimate(self, extent: Extent) -> int:
        """The extent at the hints."""
        return evaluate(extent, {n: self.program.hints.get(n, DEFAULT_SIZE) for n in names(extent)})

    def run(self) -> None:
        """Lower all nodes but the inputs, which are results already."""
        graph = self.graph
        found = partition(graph)
        if found is not None:
            self.merged = {}
        for position, node_id in enumerate(range(len(graph.nodes)) if found is None else found.order):
            if node_id < 0:
                assert found is not None, "only a partition has regions"
                lower_region(self, found.regions[position], found.results(graph, position))
            elif node_id in self.merged:
                continue
            elif (node := graph.nodes[node_id]).op != "input" and (found is None or node_id not in found.done):
                self.enter(node.region)
                self.results[node_id] = lower_node(self, node_id, node)

    # ------------------------------------------------------------------ statements

    def compute(
        self,
        shape: tuple[Extent, ...],
        dtype: str,
        operation: str,
        views: Sequence[View],
        functions: tuple[str, ...] = (),
        node_id: int = -1,
    ) -> View:
        """A new variable computed element by element from views of `shape`; only the axes that matter get loops."""
        matter = set().union(*(v.positions() for v in views)) if views else set()
        positions = [p for p in sorted(matter) if shape[p] != 1]
        var = self.program.variable(tuple(shape[p] for p in positions), dtype)
        self.assign(
            Access(var, tuple(at(k) for k in range(len(positions)))),
            shape,
            positions,
            views,
            operation,
            functions,
            node_id,
        )
        return View(Access(var, tuple(at(p) for p in positions)), shape)

    def assign(
        self,
        out: Access,
        shape: tuple[Extent, ...],
        positions: Sequence[int],
        views: Sequence[View],
        operation: str = "{0}",
        functions: tuple[str, ...] = (),
        node_id: int = -1,
        kind: str = "=",
        after: tuple[Statement, ...] = (),
    ) -> Statement:
        """A statement over some positions of a shape; `out` is indexed by the order of these positions."""
        axes = {p: self.program.axis(shape[p]) for p in positions}
        where = [at(axes[p]) if p in axes else ZERO for p in range(len(shape))]
        order = [at(axes[p]) for p in positions]
        statement = Statement(
            kind=kind,
            operation=operation,
            out=out.substitute(lambda k: order[k]),
            inputs=[v.read(where) for v in views],
            axes=tuple(axes.values()),
            dtype=out.var.dtype,
            functions=functions,
            after=after,
            region=self.region,
            node=node_id,
        )
        self.program.statements.append(statement)
        return statement

    def accumulate(
        self, var: Var, kind: str, value: View, target: tuple[Index, ...], after: tuple[Statement, ...] = ()
    ) -> Statement:
        """`var[target] kind value` for every point of the value's shape."""
        positions = [p for p in range(len(value.shape)) if value.shape[p] != 1]
        place = {p: k for k, p in enumerate(positions)}
        out = Access(var, target).substitute(lambda p: at(place[p]) if p in place else ZERO)
        return self.assign(out, value.shape, positions, [value], kind=kind, after=after)

    def settle(self, pending: Pending, kind: str = "+=") -> View:
        """Give an accumulation its memory: a variable with one writer per contribution."""
        kept = [p for p, extent in enumerate(pending.shape) if extent != 1]
        var = self.program.variable(tuple(pending.shape[p] for p in kept), pending.dtype)
        base = _base(pending) if self.depth and kind == "+=" else None
        after: tuple[Statement, ...] = ()
        if base is not None:
            after = (self.accumulate(var, "=", base.value, tuple(base.target[p] for p in kept)),)
        for contribution in pending.contributions:
            if contribution is not base:
                self.accumulate(var, kind, contribution.value, tuple(contribution.target[p] for p in kept), after)
        return View(Access(var, tuple(at(p) for p in kept)), pending.shape)

    def copied(self, view: View, dtype: str) -> tuple[Var, Statement]:
        """A fresh C-ordered array with the elements of a view, and the statement that fills it."""
        var = self.program.variable(view.shape, dtype, whole=True)
        return var, fill(self, whole(var), view)

    def array(self, view: View, dtype: str) -> Var:
        """The view as a C-ordered array with all its dimensions: the variable itself where it is one."""
        found = plain(view)
        if found is not None and found[1] == tuple(range(len(view.shape))) and found[0].layout is None:
            found[0].whole = True
            return found[0]
        return self.copied(view, dtype)[0]

    def call(self, operation: str, out: Var, inputs: Sequence[Var], **params: Any) -> Statement:
        """A whole-array operation."""
        out.whole = True
        operands: list[Operand] = [Access(v, ()) for v in inputs]
        statement = Statement(
            "call", operation, Access(out, ()), operands, (), out.dtype, region=self.region, params=params
        )
        self.program.statements.append(statement)
        return statement


def _merged_where_written(graph: Graph, users: Sequence[Sequence[int]]) -> dict[int, list[Index]]:
    """Reshapes that merge axes only to be joined to others: for each the new axes over the old ones.

    Their operand is written straight to its places in the whole, and has no memory of its own.
    """
    found = {}
    for node_id, node in enumerate(graph.nodes):
        if node.op != "reshape" or len(users[node_id]) != 1 or node_id in graph.outputs.values():
            continue
        if graph.nodes[users[node_id][0]].op != "concatenate":
            continue
        before = graph.nodes[node.args[0]].type.shape
        indices = regrouped(node.type.shape, before)
        if indices is not None and regrouped(before, node.type.shape) is None:
            found[node_id] = indices
    return found


Rule = Callable[[Lowering, int, Node], Lowered]
RULES: dict[str, Rule] = {}


def pattern(*names: str) -> Callable[[Rule], Rule]:
    """Decorator: the lowering of the operations whose emission is `Pattern(name)`."""

    def publish(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, rule))
        return rule

    return publish


def lower(graph: Graph) -> Program:
    """The statements of a graph whose operations all have a scalar or a pattern emission."""
    low = Lowering(graph)
    for name, node_id in graph.inputs.items():
        node = graph.nodes[node_id]
        var = low.program.variable(node.type.shape, node.type.dtype, name, "input")
        low.program.inputs.append(var)
        low.results[node_id] = whole(var)
    low.run()
    for name, node_id in graph.outputs.items():
        _output(low, name, node_id)
    drop_unread(low.program)
    return low.program


def lower_node(low: Lowering, node_id: int, node: Node) -> Lowered:
    """What one node becomes."""
    emission = lookup(node.op).emission
    if isinstance(emission, Scalar):
        return elementwise(low, node_id, node, emission)
    rule = RULES.get(emission.name) if isinstance(emission, Pattern) else None
    if rule is None:
        raise GraphError(describe(f"operation `{node.op}` has no lowering", source=node.source))
    return rule(low, node_id, node)


def elementwise(low: Lowering, node_id: int, node: Node, emission: Scalar) -> View | Pending:
    """An elementwise operation: merged accumulations, index arithmetic, or one statement."""
    merged = _merged(low, node) or _window(low, node)
    if merged is not None:
        return merged
    shape = node.type.shape
    views = [stretched(low.view(a), shape) for a in node.args]
    folded = _index_arithmetic(node, [v.operand for v in views])
    if folded is not None:
        return View(folded, shape)
    return low.compute(shape, node.type.dtype, emission.expression, views, emission.functions, node_id)


def _merged(low: Lowering, node: Node) -> Pending | None:
    """The sum (or difference, or negative) of accumulations as one accumulation."""
    if node.op not in ("add", "sub", "neg") or not node.type.is_float:
        return None
    parts = [low.pending(a) for a in node.args]
    present = [p for p in parts if p is not None]
    if not present or any(p.shape != node.type.shape for p in present):
        return None
    if len(present) < len(parts) and not any(_scatters(p) for p in present):
        return None
    contributions: list[Contribution] = []
    for position, (arg, part) in enumerate(zip(node.args, parts, strict=True)):
        found = part.contributions if part is not None else (_identity(low.view(arg), node.type.shape),)
        negative = node.op == "neg" or (node.op == "sub" and position == 1)
        contributions.extend(_negated(low, c) if negative else c for c in found)
    return Pending(node.type.shape, node.type.dtype, tuple(contributions))


def _window(low: Lowering, node: Node) -> View | None:
    """In the step of a loop, an array of which a window is replaced: a copy, and the window."""
    mask = low.results[node.args[0]] if node.op == "where" and low.depth else None
    if not isinstance(mask, Pending) or len(mask.contributions) != 1:
        return None
    (true,) = mask.contributions
    chosen, base = low.results[node.args[1]], low.view(node.args[2])
    if not isinstance(true.value.operand, Literal) or not true.value.operand.value or isinstance(base.operand, Literal):
        return None
    placed = chosen.contributions[0] if isinstance(chosen, Pending) and len(chosen.contributions) == 1 else None
    if placed is not None and (placed.target, placed.value.shape) == (true.target, true.value.shape):
        value = placed.value
    else:
        value = stretched(low.view(node.args[1]), node.type.shape).moved(true.target, true.value.shape)
    var, filled = low.copied(stretched(base, node.type.shape), node.type.dtype)
    low.accumulate(var, "=", value, true.target, after=(filled,))
    return whole(var)


def _scatters(pending: Pending) -> bool:
    """Whether some contribution goes elsewhere than to the elements of its own axes in order."""
    return any(index.axis is None for c in pending.contributions for index in c.target)


def _base(pending: Pending) -> Contribution | None:
    """The array to a few elements of which something is added, where a sum is that: it can be changed in place."""
    whole_ones = [c for c in pending.contributions if _covers(c, pending.shape)]
    if len(whole_ones) != 1 or len(pending.contributions) == 1:
        return None
    others = [c for c in pending.contributions if c is not whole_ones[0]]
    found = plain(whole_ones[0].value)
    natural = found is not None and found[1] == tuple(range(len(pending.shape)))
    partly = all(c.value.shape != pending.shape or any(i.axis is None for i in c.target) for c in others)
    return whole_ones[0] if natural and partly else None


def _covers(contribution: Contribution, shape: tuple[Extent, ...]) -> bool:
    """Whether something is added to all elements in their order."""
    return contribution.value.shape == shape and all(i.axis == p for p, i in enumerate(contribution.target))


def _identity(view: View, shape: tuple[Extent, ...]) -> Contribution:
    return Contribution(stretched(view, shape), tuple(at(p) for p in range(len(shape))))


def _negated(low: Lowering, contribution: Contribution) -> Contribution:
    value = contribution.value
    dtype = value.operand.var.dtype if isinstance(value.operand, Access) else value.operand.dtype
    return Contribution(low.compute(value.shape, dtype, "-{0}", [value]), contribution.target)


def _index_arithmetic(node: Node, operands: Sequence[Operand]) -> Operand | None:
    """Sums, differences and integer multiples of index values, kept as index values."""
    if node.op not in ("add", "sub", "mul") or node.type.dtype not in ("int64", "int32"):
        return None
    indices = [_as_index(o) for o in operands]
    left, right = indices[0], indices[1]
    if left is None or right is None:
        return None
    if node.op == "mul":
        if right.terms:
            left, right = right, left
        if right.terms:
            return None
        return IndexValue(_scaled(left, right.offset), node.type.dtype)
    sign = 1 if node.op == "add" else -1
    terms = dict(left.terms)
    for atom, coefficient in right.terms:
        terms[atom] = terms.get(atom, 0) + coefficient * sign
    kept = tuple((a, c) for a, c in terms.items() if c != 0)
    return IndexValue(Index(kept, left.offset + right.offset * sign), node.type.dtype)


def _as_index(operand: Operand) -> Index | None:
    if isinstance(operand, IndexValue):
        return operand.number
    if isinstance(operand, Literal) and type(operand.value) is int:
        return Index((), operand.value)
    return None


def _scaled(index: Index, factor: Extent) -> Index:
    return Index(tuple((a, c * factor) for a, c in index.terms if c * factor != 0), index.offset * factor)


def _output(low: Lowering, name: str, node_id: int) -> None:
    """Name a result: the variable itself where it can be the output's memory, else a copy in the node's region."""
    low.region = low.graph.nodes[node_id].region
    var = own_variable(low, node_id)
    if var is None:
        kind = low.graph.nodes[node_id].type
        var = low.program.variable(kind.shape, kind.dtype, name, "output")
        fill(low, whole(var), low.view(node_id))
    var.role, var.name = "output", name
    low.program.outputs.append(var)


def own_variable(low: Lowering, node_id: int) -> Var | None:
    """The variable that a node is, where this program computes it, in natural order, and for nothing else."""
    found = plain(low.view(node_id))
    if found is None or found[1] != tuple(range(low.graph.nodes[node_id].type.rank)):
        return None
    var = found[0]
    if var.role != "temporary" or var.alias is not None or var.layout is not None or var in low.program.guests:
        return None
    writers = low.program.writers()
    return var if var in writers and not any(v.alias is var for v in writers) else None


def fill(low: Lowering, target: View, view: View) -> Statement:
    """Write every element of a view to that of a view of a variable."""
    positions = [p for p in range(len(view.shape)) if view.shape[p] != 1]
    place = {p: k for k, p in enumerate(positions)}
    assert isinstance(target.operand, Access), "numbers are not written"
    out = target.operand.substitute(lambda p: at(place[p]) if p in place else ZERO)
    return low.assign(out, view.shape, positions, [view])


def drop_unread(program: Program) -> None:
    """Remove statements that compute what nobody reads."""
    while True:
        read = {access.var for s in program.statements for access in s.reads()}
        kept = [s for s in program.statements if any(v in read or v.kept or v in program.guests for v in s.written)]
        if len(kept) == len(program.statements):
            return
        program.statements = kept


def constant_view(low: Lowering, array: Any) -> View:
    """A constant: a number where all elements are equal bit by bit, else an array of the module."""
    shape = tuple(array.shape)
    dtype = array.dtype.name
    if array.size and array.tobytes() == array.ravel()[:1].tobytes() * array.size:
        return number(array.ravel()[0].item(), dtype, shape)
    var = low.program.variable(shape, dtype, f"c{len(low.program.constants)}", "constant")
    low.program.constants.append((var, array))
    return whole(var)
