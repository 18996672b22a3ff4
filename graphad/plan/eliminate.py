"""Dense Jacobians of small graphs by vertex elimination, in the cheapest order that is found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from graphad.ad import transform
from graphad.ir.graph import Graph
from graphad.ir.variable import Variable
from graphad.plan.compose import LocalJacobian, Segment
from graphad.plan.elimination import Candidate, candidates
from graphad.plan.linearize import Tangents, accumulated, linearized, stacked, variable
from graphad.plan.modes import Alternative, Decision, between, differentiated, elements
from graphad.plan.scalars import Scalars, scalars_of

ENTRIES = 1000  # of a Jacobian, at most: each is a statement
VERTICES = 1500
PRODUCTS = 4000  # of the best order: beyond, sweeps with a vector for all unit seeds are shorter programs
UNROLLED = 2  # scalars for each node: a graph of arrays is left to loops
ANNEALED = 64  # multiplications of the best greedy order from which annealing is tried
SECONDS = 1.0  # of annealing, at most
UNIT = "multiplications"


class Eliminated(NamedTuple):
    """A Jacobian by elimination.

    Arguments:
        graph: with outputs `dy_dx`.
        orders: all orders that were compared, the cheapest first.
        decision: the record.
    """

    graph: Graph
    orders: tuple[Candidate, ...]
    decision: Decision


def eliminated_jacobian(
    graph: Graph, wrt: Sequence[str], of: Sequence[str], seconds: float = SECONDS
) -> Eliminated | None:
    """The dense Jacobians of a graph of few scalars, accumulated in the order with the fewest multiplications.

    Orders are compared by the refined count: products with ±1 and of two constants are free. Annealing is tried where
    the best other order costs 64 multiplications or more.

    Arguments:
        wrt, of: names of inputs and outputs.
        seconds: the limit of annealing.

    Returns None where the graph has more than 1,500 scalar operations or 1,000 entries of Jacobians, arrays that make
    many scalars of few operations, sizes that are no numbers, operations that are not taken apart into scalars, or
    where the best order costs more than 4,000 multiplications: such a program would be long.
    """
    sources, targets = [graph.inputs[n] for n in wrt], [graph.outputs[n] for n in of]
    counts = [elements(graph, ends) for ends in (sources, targets)]
    if not all(isinstance(c, int) for c in counts) or np.prod([int(str(c)) for c in counts]) > ENTRIES:
        return None
    found = scalars_of(graph, sources, targets, min(VERTICES, UNROLLED * len(graph.nodes) + 32))
    if found is None:
        return None
    tangents = linearized(found.graph, _ids(found, sources), _ids(found, targets))
    if tangents is None:
        return None
    orders = best_orders(tangents, seconds)
    if orders[0].refined > PRODUCTS:
        return None
    made = _stacked(graph, found, tangents, orders[0], wrt, of)
    return Eliminated(made, orders, _decision(graph, orders, wrt, of))


def best_orders(tangents: Tangents, seconds: float = SECONDS) -> tuple[Candidate, ...]:
    """Elimination orders by the refined count, the best first; annealing is left out where it can save little."""
    greedy = candidates(tangents.linear, "refined", 0.0)
    least = min(c.refined for c in greedy)
    worth = ANNEALED <= least <= PRODUCTS
    everything = candidates(tangents.linear, "refined", seconds) if worth else greedy
    return tuple(sorted(everything, key=lambda c: c.refined))


def _ids(found: Scalars, nodes: Sequence[int]) -> list[int]:
    return [int(i) for node in nodes for i in found.elements[node].reshape(-1)]


def _stacked(
    graph: Graph, found: Scalars, tangents: Tangents, order: Candidate, wrt: Sequence[str], of: Sequence[str]
) -> Graph:
    """The graph with the entries of the Jacobian as arrays."""
    new = found.graph
    new.name = f"{graph.name}_jacobian"
    dtype = graph.nodes[graph.inputs[wrt[0]]].type.dtype
    locals_ = accumulated(tangents, order.order, dtype)
    entries = {place: variable(new, local, dtype) for place, local in locals_.items()}
    row = 0
    for output in of:
        heights = found.elements[graph.outputs[output]]
        column = 0
        for name in wrt:
            widths = found.elements[graph.inputs[name]]
            block: list[Variable | None] = [
                entries.get((row + i, column + j)) for i in range(heights.size) for j in range(widths.size)
            ]
            shape = (*heights.shape, *widths.shape)
            new.output(f"d{output}_d{name}", stacked(new, block, shape, dtype))
            column += widths.size
        row += heights.size
    return transform.live(new)


def _decision(graph: Graph, orders: Sequence[Candidate], wrt: Sequence[str], of: Sequence[str]) -> Decision:
    options = tuple(Alternative(c.name, f"{c.raw} with the free ones", c.refined, UNIT) for c in orders)
    best = orders[0]
    same = [c.name for c in orders[1:] if c.refined == best.refined]
    reason = f"fewest {UNIT}: {best.refined} (those by 1 and of two constants are free)"
    if same:
        reason += f"; {', '.join(same)} {'needs' if len(same) == 1 else 'need'} as many"
    subject = f"d({', '.join(of)})/d({', '.join(wrt)})"
    ends = [elements(graph, [graph.inputs[n] for n in wrt]), elements(graph, [graph.outputs[n] for n in of])]
    return Decision(subject, f"elimination: {best.name}", options, reason, "", differentiated(graph, wrt, of), *ends)


def with_local(graph: Graph, segment: Segment) -> Segment:
    """The segment with its Jacobian by elimination, where it has few scalars and that saves multiplications."""
    if segment.kind != "general":
        return segment
    part, inputs = _part(graph, segment)
    names = [f"v{v}" for v in segment.sources]
    targets = [f"v{v}" for v in segment.targets]
    found = eliminated_jacobian(part, names, targets)
    if found is None:
        return segment
    how = found.decision.choice
    return replace(segment, local=LocalJacobian(found.graph, inputs, found.orders[0].refined, how))


def _part(graph: Graph, segment: Segment) -> tuple[Graph, dict[str, int]]:
    """The graph of a segment: its sources, and what it needs besides, are inputs; its targets outputs."""
    inside = set(between(graph, segment.sources, segment.targets)) - set(segment.sources)
    part = Graph(graph.name)
    part.hints = dict(graph.hints)
    moved: dict[int, int] = {}
    inputs: dict[str, int] = {}
    for v in (*segment.sources, *sorted(inside)):
        for arg in (v,) if v in segment.sources else graph.nodes[v].args:
            node = graph.nodes[arg]
            if arg in moved:
                continue
            if node.op == "const":
                moved[arg] = part.const(node.param("value").array).id
            else:
                inputs[f"v{arg}"] = arg
                moved[arg] = part.input(f"v{arg}", node.type.shape, node.type.dtype).id
        if v in inside:
            node = graph.nodes[v]
            part.set_source(node.source)
            moved[v] = part.add(node.op, tuple([moved[a] for a in node.args]), node.params)
            part.set_source(None)
    for v in segment.targets:
        part.output(f"v{v}", part.variable(moved[v]))
    return part.freeze(), inputs
