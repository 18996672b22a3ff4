"""Forward or reverse for a whole graph, chosen by counting sweeps, and the record of the choice.

A forward sweep gives one column of the Jacobian, a reverse sweep one row, and both cost a small multiple of the value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from graphad.analysis.active import active_nodes
from graphad.analysis.cost import TYPICAL
from graphad.ir import sizes
from graphad.ir.graph import Graph
from graphad.ir.sizes import Extent
from graphad.ir.views import view
from graphad.plan.budget import MemoryReport

Mode = Literal["forward", "reverse"]


@dataclass(frozen=True)
class Alternative:
    """One way that could be taken: its cost as an expression in the named sizes, and its value at the hints."""

    choice: str
    cost: str
    value: int
    unit: str


@dataclass(frozen=True)
class Decision:
    """What was decided, among what, and why.

    `threshold` says at which sizes the decision would be another one; empty where it never is. `nodes` are those of the
    plan's graph that the decision is about, in order, none where it is about the function as a whole; `inputs` and
    `outputs` count the elements that go in and come out there, None where that says nothing. `within` is the graph that
    the nodes belong to where it is not the plan's: that of one row.
    """

    subject: str
    choice: str
    alternatives: tuple[Alternative, ...]
    reason: str
    threshold: str = ""
    nodes: tuple[int, ...] = ()
    inputs: Extent | None = None
    outputs: Extent | None = None
    within: Graph | None = field(default=None, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True)
class Plan:
    """All decisions about a compiled function, in the order in which they were made.

    `graph` is the graph that was differentiated, after passes: the nodes of decisions are its nodes. `memory` says
    what a memory budget or the user's marks came to. Printed, a plan is a table.
    """

    decisions: tuple[Decision, ...] = ()
    graph: Graph | None = None
    memory: MemoryReport | None = None

    @property
    def segments(self) -> tuple[Decision, ...]:
        """The decisions about parts of the graph: those that name nodes of it."""
        return () if self.graph is None else self.about(self.graph)

    def about(self, graph: Graph) -> tuple[Decision, ...]:
        """The decisions that name nodes of a graph: of the plan's own, or of that of one row."""
        return tuple(d for d in self.decisions if d.nodes and (d.within or self.graph) is graph)

    @property
    def graphs(self) -> tuple[Graph, ...]:
        """The graphs whose nodes the decisions name, the plan's own first."""
        found = [self.graph, *(decision.within for decision in self.decisions)]
        return tuple({id(graph): graph for graph in found if graph is not None}.values())

    def __str__(self) -> str:
        return str(view("plan_text", self))

    def _repr_html_(self) -> str:
        return str(view("plan_html", self))


def choose_mode(graph: Graph, wrt: Sequence[str], of: Sequence[str], mode: Mode | None = None) -> Decision:
    """Forward or reverse for a dense Jacobian, from the numbers of input and output elements at the hints.

    Arguments:
        wrt, of: names of inputs and outputs.
        mode: what the user demands; None to choose. Ties go to reverse.

    >>> import graphad as ga
    >>> g = ga.Graph("pair")
    >>> x = g.input("x", shape=2)
    >>> g.output("y", x[:1] * x)
    >>> choose_mode(g, ["x"], ["y"]).choice
    'reverse'
    """
    columns = elements(graph, [graph.inputs[n] for n in wrt])
    rows = elements(graph, [graph.outputs[n] for n in of])
    at = {name: graph.hints.get(name, TYPICAL) for name in sorted(sizes.names(columns) | sizes.names(rows))}
    forward, reverse = sizes.evaluate(columns, at), sizes.evaluate(rows, at)
    alternatives = (
        Alternative("forward", str(columns), forward, "sweeps, one per input element"),
        Alternative("reverse", str(rows), reverse, "sweeps, one per output element"),
    )
    subject = f"d({', '.join(of)})/d({', '.join(wrt)})"
    part = differentiated(graph, wrt, of)
    if mode is not None:
        return Decision(subject, mode, alternatives, f"mode={mode!r} was asked for", "", part, columns, rows)
    choice: Mode = "forward" if forward < reverse else "reverse"
    relation = "<" if forward < reverse else ">" if forward > reverse else "="
    reason = f"{_counted(columns, forward)} input elements {relation} {_counted(rows, reverse)} output elements"
    threshold = _threshold(choice, columns, rows)
    return Decision(subject, choice, alternatives, reason + _assumed(graph, at), threshold, part, columns, rows)


def fixed(subject: str, choice: str, reason: str) -> Decision:
    """The record of a decision that leaves no alternative."""
    return Decision(subject, choice, (), reason)


def uniform(subject: str, choice: str, reason: str, graph: Graph, wrt: Sequence[str], of: Sequence[str]) -> Plan:
    """The plan of a derivative that has one mode for the graph as a whole and leaves no alternative."""
    inputs, outputs = [graph.inputs[n] for n in wrt], [graph.outputs[n] for n in of]
    part, ends = differentiated(graph, wrt, of), (elements(graph, inputs), elements(graph, outputs))
    return Plan((Decision(subject, choice, (), reason, "", part, *ends),), graph)


def differentiated(graph: Graph, wrt: Sequence[str], of: Sequence[str]) -> tuple[int, ...]:
    """The operations through which derivatives of `of` by `wrt` go, in order."""
    sources = [graph.inputs[n] for n in wrt]
    return between(graph, sources, [graph.outputs[n] for n in of])


def between(graph: Graph, sources: Sequence[int], targets: Sequence[int]) -> tuple[int, ...]:
    """The nodes on paths from sources to targets that carry derivatives and lead through no source twice, in order."""
    active, found = set(active_nodes(graph, sources, targets)).difference(sources), set[int]()
    stack = list(targets)
    while stack:
        node_id = stack.pop()
        if node_id in active and node_id not in found:
            found.add(node_id)
            stack.extend(graph.nodes[node_id].args)
    return tuple(sorted(found))


def elements(graph: Graph, ids: Sequence[int]) -> Extent:
    """The elements of some nodes together."""
    total: Extent = 0
    for node_id in ids:
        total = total + graph.nodes[node_id].type.elements
    return total


def _counted(extent: Extent, value: int) -> str:
    return str(value) if isinstance(extent, int) else f"{extent} = {value}"


def _assumed(graph: Graph, at: Mapping[str, int]) -> str:
    guessed = [f"{name}={value}" for name, value in at.items() if name not in graph.hints]
    return f" ({', '.join(guessed)} assumed; `hint=` says better)" if guessed else ""


def _threshold(choice: Mode, columns: Extent, rows: Extent) -> str:
    if isinstance(columns - rows, int):
        return ""
    return f"reverse once {columns} >= {rows}" if choice == "forward" else f"forward once {columns} < {rows}"
