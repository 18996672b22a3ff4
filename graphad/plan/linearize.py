"""Linearised graphs of scalars: local partial derivatives as nodes, and Jacobians accumulated in an elimination order.

Reference: A. Griewank and A. Walther, Evaluating Derivatives, 2nd ed., SIAM 2008, chapter 9.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from graphad.ad import arith
from graphad.analysis.active import active_nodes
from graphad.ir.graph import Graph
from graphad.ir.operation import Custom, Elementwise, Linear, call, lookup
from graphad.ir.variable import Variable
from graphad.ops.shape import joined
from graphad.plan.elimination import Edge, Linearized


@dataclass(frozen=True)
class Local:
    """The value on an edge.

    Arguments:
        value: a number or a scalar of the graph.
        select: in place of a value for an operation that chooses (`where`, `maximum`): what it makes of a tangent.
        guarded: a zero may come from a branch not taken, so it stays zero whatever it is multiplied by.
    """

    value: Variable | float = 1.0
    select: Callable[[Variable], Variable | None] | None = None
    guarded: bool = False

    @property
    def kind(self) -> str:
        """As `Edge` has it."""
        if self.select is not None:
            return "unit"
        if isinstance(self.value, Variable):
            return "constant" if self.value.node.op == "const" else "variable"
        return "unit" if abs(self.value) == 1.0 else "constant"


Locals = dict[tuple[int, int], Local]


@dataclass(frozen=True)
class Tangents:
    """A linearised graph of scalars.

    Arguments:
        graph: open; the partials are nodes of it.
        linear: what elimination orders are about. Its vertices are numbered anew.
        locals: the values of its edges.
    """

    graph: Graph
    linear: Linearized
    locals: Locals


def linearized(
    graph: Graph, inputs: Sequence[int], outputs: Sequence[int], between: Sequence[int] | None = None
) -> Tangents | None:
    """The graph between some of its scalars with a local partial derivative on each edge.

    Arrays of one shape between which all operations are elementwise do as well: each is a row of scalars.

    Arguments:
        graph: open; partials are added to it.
        inputs: scalars, the first vertices.
        outputs: scalars, the last vertices, each with a vertex of its own.
        between: the nodes to linearise, outputs included; None for all between inputs and outputs.

    Returns None where operands have different dtypes.
    """
    found = active_nodes(graph, inputs, outputs) if between is None else between
    active = [v for v in found if v not in set(inputs)]
    used = {a for v in active for a in graph.nodes[v].args}
    ends = [o for o in dict.fromkeys(outputs) if o in active and o not in used and outputs.count(o) == 1]
    inner = [v for v in active if v not in ends]
    number = {v: i for i, v in enumerate([*inputs, *inner])}
    vertex = len(number)
    locals_: Locals = {}
    last: list[int] = []
    for output in outputs:
        if output not in ends and output in number:
            locals_[number[output], vertex] = Local()
        if output in ends:
            number[output] = vertex
        last.append(vertex)
        vertex += 1
    dtypes = {graph.nodes[v].type.dtype for v in (*inputs, *active)}
    if len(dtypes) > 1:
        return None
    for v in active:
        _add_partials(graph, v, number, locals_)
    edges = tuple(Edge(source, target, local.kind) for (source, target), local in locals_.items())
    return Tangents(graph, Linearized(vertex, tuple(range(len(inputs))), tuple(last), edges), locals_)


def _add_partials(graph: Graph, v: int, number: Mapping[int, int], locals_: Locals) -> None:
    """Add the edges into a node."""
    node = graph.nodes[v]
    graph.set_source(node.source)
    args, out = tuple([Variable(graph, a) for a in node.args]), Variable(graph, v)
    rule = lookup(node.op).derivative
    for position, arg in enumerate(node.args):
        if arg not in number:
            continue
        if isinstance(rule, Elementwise):
            partial = rule.partials[position]
            value = 0.0 if partial is None else partial(*args, out)
            local = Local(value)
        elif isinstance(rule, Custom):
            local = Local(select=_selected(rule, args, position, out), guarded=rule.selects)
        elif isinstance(rule, Linear):
            local = Local()  # a cast from a dtype to itself
        else:
            continue
        if local.select is None and not isinstance(local.value, Variable) and local.value == 0.0:
            continue
        key = number[arg], number[v]
        locals_[key] = added(graph, locals_.get(key), local, out.dtype)
    graph.set_source(None)


def _selected(
    rule: Custom, args: tuple[Variable, ...], position: int, out: Variable
) -> Callable[[Variable], Variable | None]:
    def select(tangent: Variable) -> Variable | None:
        tangents = tuple([tangent if i == position else None for i in range(len(args))])
        return rule.jvp(args, tangents, out, dict(out.node.params))

    return select


def variable(graph: Graph, local: Local, dtype: str) -> Variable | None:
    """The value of an edge as a scalar of the graph; None for zero."""
    if local.select is not None:
        return local.select(graph.const(1.0, dtype))
    if isinstance(local.value, Variable):
        return local.value
    return None if local.value == 0.0 else graph.const(float(local.value), dtype)


def added(graph: Graph, left: Local | None, right: Local, dtype: str) -> Local:
    """The sum of two edges between the same vertices."""
    if left is None:
        return right
    guarded = left.guarded or right.guarded
    numbers = not isinstance(left.value, Variable) and not isinstance(right.value, Variable)
    if numbers and left.select is None and right.select is None:
        return Local(left.value + right.value, None, guarded)
    total = arith.add(variable(graph, left, dtype), variable(graph, right, dtype))
    return Local(0.0 if total is None else total, None, guarded)


def multiplied(graph: Graph, first: Local, second: Local, dtype: str) -> Local:
    """The product of two edges that follow each other."""
    for chosen, other in ((first, second), (second, first)):
        if chosen.select is not None:
            value = variable(graph, other, dtype)
            result = None if value is None else chosen.select(value)
            return Local(0.0 if result is None else result, None, True)
    guarded = first.guarded or second.guarded
    if not isinstance(first.value, Variable):
        first, second = second, first
    if not isinstance(first.value, Variable):
        assert not isinstance(second.value, Variable)
        return Local(first.value * second.value, None, guarded)
    if first.guarded and second.guarded and isinstance(second.value, Variable):
        product = graph.apply("guarded_mul", first.value, second.value)
        return Local(call("where", second.value == 0.0, 0.0, product), None, True)
    if second.guarded and isinstance(second.value, Variable):
        first, second = second, first
    assert isinstance(first.value, Variable)
    value = arith.scale(first.value, second.value, guarded=first.guarded)
    return Local(0.0 if value is None else value, None, guarded)


def accumulated(tangents: Tangents, order: Sequence[int], dtype: str) -> dict[tuple[int, int], Local]:
    """The Jacobian by output and input number, with the vertices eliminated in an order."""
    graph, linear = tangents.graph, tangents.linear
    after: list[dict[int, Local]] = [{} for _ in range(linear.vertices)]
    before: list[dict[int, None]] = [{} for _ in range(linear.vertices)]
    for (source, target), local in tangents.locals.items():
        after[source][target] = local
        before[target][source] = None
    for v in order:
        for source in before[v]:
            first = after[source].pop(v)
            for target, second in after[v].items():
                product = multiplied(graph, first, second, dtype)
                if isinstance(product.value, Variable) or product.value != 0.0:
                    after[source][target] = added(graph, after[source].get(target), product, dtype)
                    before[target][source] = None
        for target in after[v]:
            del before[target][v]
    first_output = {v: i for i, v in enumerate(linear.outputs)}
    return {
        (first_output[target], source): local for source in linear.inputs for target, local in after[source].items()
    }


def stacked(graph: Graph, entries: Sequence[Variable | None], shape: tuple[int, ...], dtype: str) -> Variable:
    """Scalars in C order as an array; None is zero."""
    zero = graph.const(0.0, dtype)
    if not shape:
        return zero if entries[0] is None else entries[0]
    ones = (1,) * len(shape)
    pieces = [graph.apply("reshape", zero if e is None else e, shape=ones) for e in entries]
    for axis in range(len(shape) - 1, -1, -1):
        count = shape[axis]
        pieces = [joined(tuple(pieces[i : i + count]), axis) for i in range(0, len(pieces), count)]
    return pieces[0]
