"""Batching of loops and branches: the operation with batched bodies.

A carry is batched if it is so at the start or if a step makes it so. Where the test of a loop is batched, the loop runs
until all tests fail, and a row whose test has failed stays as it is; where a predicate is batched, both branches run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from graphad.ad.batch import batch_nodes, stacked
from graphad.errors import GraphError, describe
from graphad.ir.bodies import fresh_names, inlined, needs_of, with_inputs
from graphad.ir.graph import Graph, Node
from graphad.ir.operation import call
from graphad.ir.types import Shape
from graphad.ir.variable import Variable
from graphad.ops.build import lift
from graphad.ops.control import results_of
from graphad.ops.extents import batch_shape

Results = list[tuple[Variable, bool]]


def batch_bodies(
    graph: Graph, node: Node, args: tuple[Variable, ...], batched: tuple[bool, ...], axes: int
) -> Results:
    """The results of a node with bodies on batched operands, each with whether it has batch axes itself."""
    if not any(batched):
        return [(value, False) for value in results_of(graph.apply(node.op, *args, **dict(node.params)))]
    return RULES[node.op](graph, node, args, batched, batch_shape(axes, args, batched))


def batched_body(
    body: Graph, inside: Collection[int], lead: Shape, wanted: Collection[int]
) -> tuple[Graph, list[bool]]:
    """A body on batched inputs, and which of its results are batched.

    Arguments:
        inside: the positions of the inputs with batch axes.
        lead: the extents of these.
        wanted: the positions of results that are to be batched in any case.
    """
    new = body.copy()
    new.outputs = {}
    names = list(body.inputs)
    for k, name in zip(sorted(inside), fresh_names(body, [f"{names[k]}_batch" for k in sorted(inside)]), strict=True):
        names[k] = name
    inputs: dict[int, Variable] = {}
    for k, (name, node_id) in enumerate(zip(names, body.inputs.values(), strict=True)):
        if k in inside:
            kind = body.nodes[node_id].type
            with new.at(body.nodes[node_id].source):
                inputs[node_id] = new.input(name, lead + kind.shape, kind.dtype)
    targets = list(body.outputs.values())
    found = batch_nodes(new, inputs, targets, len(lead))
    several = []
    for k, (name, value, node_id) in enumerate(zip(body.outputs, found, targets, strict=True)):
        whole = value.ndim > body.nodes[node_id].type.rank if lead else value.id != node_id
        if k in wanted and not whole:
            value, whole = stacked(value, lead), True
        several.append(whole)
        new.output(name, value)
    return with_inputs(new, {name: new.variable(name).type for name in names}), several


def _spread(needs: Sequence[Collection[int]], fed: Sequence[int], inside: set[int]) -> set[int]:
    """The inputs that are batched in some step.

    Arguments:
        needs: for each result the inputs that it needs.
        fed: for each of the first results the input that it becomes in the next step.
        inside: the inputs that are batched at the start.
    """
    pairs = list(zip(fed, needs, strict=False))
    while more := {p for p, needed in pairs if not inside.isdisjoint(needed)} - inside:
        inside = inside | more
    return inside


def _length_first(value: Variable, axes: int) -> Variable:
    """Batch axes behind the axis along which elements are stacked."""
    order = (axes, *range(axes), *range(axes + 1, value.ndim))
    return value.transpose(order) if axes else value


def _batch_first(value: Variable, axes: int) -> Variable:
    """Batch axes in front of the axis along which elements are stacked."""
    order = (*range(1, axes + 1), 0, *range(axes + 1, value.ndim))
    return value.transpose(order) if axes else value


# ---------------------------------------------------------------------- loops


def _scan(graph: Graph, node: Node, args: tuple[Variable, ...], batched: tuple[bool, ...], lead: Shape) -> Results:
    params = dict(node.params)
    body, carries, xs = params["body"], params["carries"], params["xs"]
    given = {k for k, b in enumerate(batched) if b}
    inside = _spread(needs_of(body), range(carries), given)
    new, several = batched_body(body, inside, lead, {k for k in range(carries) if k in inside})
    operands = _operands(args, inside, given, range(carries, carries + xs), lead)
    found = results_of(graph.apply("scan", *operands, **{**params, "body": new}))
    return [
        (_batch_first(value, len(lead)) if several[k] and k >= carries else value, several[k])
        for k, value in enumerate(found)
    ]


def _operands(
    args: Sequence[Variable], inside: Collection[int], given: Collection[int], elements: Collection[int], lead: Shape
) -> list[Variable]:
    """Operands with batch axes where bodies expect them: behind the length for stacked elements."""
    found = []
    for k, arg in enumerate(args):
        value = stacked(arg, lead) if k in inside and k not in given else arg
        found.append(_length_first(value, len(lead)) if k in inside and k in elements else value)
    return found


def _while(graph: Graph, node: Node, args: tuple[Variable, ...], batched: tuple[bool, ...], lead: Shape) -> Results:
    body, test, carries = node.param("body"), node.param("test"), node.param("carries")
    given = {k for k, b in enumerate(batched) if b}
    inside = _spread(needs_of(body), range(carries), given)
    apart = not inside.isdisjoint(needs_of(test)[0])
    if apart:  # rows stop at different steps, so every carry is batched
        inside |= set(range(carries))
    new, _ = batched_body(body, inside, lead, {k for k in range(carries) if k in inside})
    new_test, _ = batched_body(test, inside, lead, ())
    if apart:
        new, new_test = _masked(new, new_test, carries, lead)
    operands = _operands(args, inside, given, (), lead)
    params = {**dict(node.params), "body": new, "test": new_test}
    found = results_of(graph.apply("while_loop", *operands, **params))
    return [(value, k in inside) for k, value in enumerate(found)]


def _masked(body: Graph, test: Graph, carries: int, lead: Shape) -> tuple[Graph, Graph]:
    """A body that leaves rows alone whose test fails, and a test whether any row goes on."""
    new = Graph(body.name)
    inputs = [new.input(name, body.variable(name).shape, body.variable(name).dtype) for name in body.inputs]
    (going,) = inlined(test, new, inputs)
    for k, (name, value) in enumerate(zip(body.outputs, inlined(body, new, inputs), strict=True)):
        mask = lift(going, len(lead), value.ndim - len(lead))
        new.output(name, call("where", mask, value, inputs[k]) if k < carries else value)
    any_row = Graph(test.name)
    inputs = [any_row.input(name, test.variable(name).shape, test.variable(name).dtype) for name in test.inputs]
    (going,) = inlined(test, any_row, inputs)
    any_row.output("test", any_row.apply("any", going, axes=tuple(range(len(lead)))))
    return new.freeze(), any_row.freeze()


# ---------------------------------------------------------------------- sweeps


def _sweep(graph: Graph, node: Node, args: tuple[Variable, ...], batched: tuple[bool, ...], lead: Shape) -> Results:
    """All cotangents and sums are batched; the loop's own carries only where they depend on the batch."""
    params = dict(node.params)
    body, adjoint, carries, xs = params["body"], params["adjoint"], params["carries"], params.get("xs", 0)
    count, bars = len(body.inputs), len(params.get("of_ys", ()))
    given = {k for k, b in enumerate(batched) if b}
    own = _spread(needs_of(body), range(carries), {k for k in given if k < count})
    if "test" in params and not own.isdisjoint(needs_of(params["test"])[0]):
        raise GraphError(
            describe(
                "the reverse sweep of a `while_loop` is not batched where its rows stop at different steps",
                source=node.source,
                fix="differentiate for one row, and take rows by `ga.map`",
            )
        )
    first = count + len(params["wrt_carries"])
    seeds = {k for k in range(count, len(args)) if k in given or not first <= k < first + bars}
    new, _ = batched_body(body, own, lead, {k for k in range(carries) if k in own})
    back, _ = batched_body(adjoint, own | seeds, lead, set(range(len(adjoint.outputs))))
    elements = {*range(carries, carries + xs), *range(first, first + bars)}
    changed: dict[str, Any] = {**params, "body": new, "adjoint": back}
    if "test" in params:
        changed["test"], _ = batched_body(params["test"], own, lead, ())
    found = results_of(graph.apply(node.op, *_operands(args, own | seeds, given, elements, lead), **changed))
    inner = range(len(params["wrt_carries"]), len(params["wrt_carries"]) + len(params.get("wrt_xs", ())))
    return [(_batch_first(value, len(lead)) if k in inner else value, True) for k, value in enumerate(found)]


def _cond(graph: Graph, node: Node, args: tuple[Variable, ...], batched: tuple[bool, ...], lead: Shape) -> Results:
    branches = node.param("on_true"), node.param("on_false")
    given = {k for k, b in enumerate(batched[1:]) if b}
    if batched[0]:
        return _both(branches, graph, args, given, lead)
    found = [batched_body(branch, given, lead, ())[1] for branch in branches]
    wanted = {k for several in found for k, one in enumerate(several) if one}
    on_true, on_false = [batched_body(branch, given, lead, wanted)[0] for branch in branches]
    values = results_of(graph.apply("cond", *args, on_true=on_true, on_false=on_false))
    return [(value, k in wanted) for k, value in enumerate(values)]


def _both(
    branches: Sequence[Graph], graph: Graph, args: tuple[Variable, ...], given: Collection[int], lead: Shape
) -> Results:
    """Both branches, and for each row the one that its predicate says."""
    bodies = [batched_body(b, given, lead, set(range(len(b.outputs))))[0] for b in branches]
    yes, no = [inlined(body, graph, args[1:]) for body in bodies]
    return [
        (call("where", lift(args[0], len(lead), one.ndim - len(lead)), one, other), True)
        for one, other in zip(yes, no, strict=True)
    ]


RULES: dict[str, Callable[[Graph, Node, tuple[Variable, ...], tuple[bool, ...], Shape], Results]] = {
    "scan": _scan,
    "while_loop": _while,
    "cond": _cond,
    "scan_adjoint": _sweep,
    "while_adjoint": _sweep,
}
