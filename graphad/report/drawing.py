"""What a drawing of a graph shows, before anything has a place: marks for nodes, edges, colours by mode.

Numbers are written into the operations that use them, so they get no mark of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from graphad.ir.graph import Graph, Node
from graphad.ir.text import label, node_text
from graphad.plan.modes import Decision, Plan
from graphad.report.formula import INFIX, number

LONGEST = 30  # characters of a label
HOLE = "·"  # an operand that comes along an edge

# Colours of modes by name; the names are classes in drawing.css, where the colours are.
FAMILIES: Mapping[str, str] = {
    "forward": "forward",
    "reverse": "reverse",
    "elimination": "elimination",
    "mixed": "forward over reverse, or segments composed",
    "rows": "row by row",
    "sparse": "sparse: coloured, or entry by entry",
}


class Mark(NamedTuple):
    """One box of a drawing.

    Arguments:
        key: its name in the page, `n12` for node 12.
        label, detail: its two lines of text.
        kind: "operation", "input", "constant", "outside" (a value from another part) or "group".
        family: the mode of its segment, a key of `FAMILIES`, or nothing.
        title: what a pointer that rests on it shows.
        outputs: the names of results that it is.
    """

    key: str
    label: str
    detail: str
    kind: str = "operation"
    family: str = ""
    title: str = ""
    outputs: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in pixels, for monospaced text of 12 and 10 pixels."""
        widest = max(7.3 * len(self.label), 6.1 * len(self.detail), 6.7 * len(self.result))
        return max(46.0, widest + 18.0), (38.0 if self.detail else 24.0) + (14.0 if self.outputs else 0.0)

    @property
    def result(self) -> str:
        """The line that names outputs."""
        return f"→ {', '.join(self.outputs)}" if self.outputs else ""


@dataclass(frozen=True)
class Drawing:
    """Marks and the edges between them, by position."""

    title: str
    marks: tuple[Mark, ...]
    edges: tuple[tuple[int, int], ...]
    legend: tuple[str, ...] = field(default=())


def family(choice: str) -> str:
    """The colour of a choice, a key of `FAMILIES`; nothing for a choice that is no mode.

    >>> [family(choice) for choice in ("tangents", "local partials", "adjoints", "forward over reverse", "as built")]
    ['forward', 'forward', 'reverse', 'mixed', '']
    >>> [family(choice) for choice in ("elimination: annealing", "n rows", "direct")]
    ['elimination', 'rows', 'sparse']
    """
    words = choice.lower()
    for name, signs in (
        ("elimination", ("eliminat", "markowitz", "fill-in", "annealing", "net change")),
        ("rows", ("rows",)),
        ("sparse", ("sparse", "colour", "star", "direct", "entr")),
        ("mixed", ("over", "composed", "bidirectional")),
        ("forward", ("forward", "tangent", "partials")),
        ("reverse", ("reverse", "adjoint")),
    ):
        if any(sign in words for sign in signs):
            return name
    return ""


def segment_of(plan: Plan | None, graph: Graph) -> dict[int, Decision]:
    """The decision about each node of a graph; a later decision is about a smaller part."""
    decisions = plan.about(graph) if plan is not None else ()
    return {node_id: decision for decision in decisions for node_id in decision.nodes}


def graph_drawing(graph: Graph, plan: Plan | None = None, part: Iterable[int] | None = None) -> Drawing:
    """The drawing of a graph, or of a part of it with the values that come from outside.

    Arguments:
        plan: colours the nodes by the modes of their segments; a plan that is about this graph.
        part: ids of nodes; None for all.
    """
    inside = set(range(len(graph.nodes)) if part is None else part)
    hidden = {i for i in inside if _is_number(graph.nodes[i])} - set(graph.outputs.values())
    needed = {a for i in inside for a in graph.nodes[i].args if not _is_number(graph.nodes[a])}
    shown = sorted((inside - hidden) | needed)
    decided, results = segment_of(plan, graph), results_of(graph)
    marks = [mark(graph, i, decided.get(i), results.get(i, ())) if i in inside else outside(graph, i) for i in shown]
    position = {node_id: k for k, node_id in enumerate(shown)}
    edges = dict.fromkeys(
        (position[a], position[i]) for i in shown if i in inside for a in graph.nodes[i].args if a in position
    )
    families = [name for name in FAMILIES if any(m.family == name for m in marks)]
    return Drawing(graph.name, tuple(marks), tuple(edges), tuple(families))


def results_of(graph: Graph) -> dict[int, tuple[str, ...]]:
    """The names of the outputs that each node is."""
    found: dict[int, tuple[str, ...]] = {}
    for name, node_id in graph.outputs.items():
        found[node_id] = (*found.get(node_id, ()), name)
    return found


def mark(graph: Graph, node_id: int, decision: Decision | None = None, outputs: Sequence[str] = ()) -> Mark:
    """The mark of one node."""
    node = graph.nodes[node_id]
    kind = {"input": "input", "const": "constant"}.get(node.op, "operation")
    text = shortened(label(graph, node_id) if kind == "input" else operation_label(graph, node))
    detail = str(node.type) if kind == "input" else f"%{node_id} {node.type}"
    lines = [shortened(node_text(graph, node_id), 200)]
    lines += [f"at {node.source}"] if node.source else []
    lines += [f"{decision.subject}: {decision.choice}, {decision.reason}"] if decision else []
    colour = family(decision.choice) if decision else ""
    return Mark(f"n{node_id}", text, shortened(detail), kind, colour, "\n".join(lines), tuple(outputs))


def outside(graph: Graph, node_id: int) -> Mark:
    """The mark of a value that comes from another part of the graph."""
    node = graph.nodes[node_id]
    name = label(graph, node_id)
    kind = "input" if node.op == "input" else "outside"
    return Mark(f"n{node_id}", name, shortened(str(node.type)), kind, title=shortened(node_text(graph, node_id), 200))


def operation_label(graph: Graph, node: Node) -> str:
    """An operation in a few characters, with the numbers among its operands.

    >>> g = Graph("small")
    >>> x = g.input("x", shape="n")
    >>> y = (1.0 - x).sum()
    >>> [operation_label(g, node) for node in g.nodes[2:]]
    ['1 - ·', 'sum 0']
    """
    if node.op == "const":
        return number(node)
    if node.op == "einsum":
        return f"{node.param('left')},{node.param('right')}→{node.param('out')}"
    numbers = [number(graph.nodes[a]) if _is_number(graph.nodes[a]) else HOLE for a in node.args]
    infix = INFIX.get(node.op)
    if infix is not None and len(numbers) == 2:
        written = infix.sign.join(numbers)
        return written if set(numbers) != {HOLE} else node.op
    if set(numbers) - {HOLE}:
        return f"{node.op} {' '.join(numbers)}"
    params = dict(node.params)
    if node.op == "item" or "length" in params:
        return f"{node.op} {params.get('index', params.get('length'))}"
    axes = params.get("axes")
    listed = isinstance(axes, tuple) and all(isinstance(axis, int) for axis in axes)
    return f"{node.op} {','.join(map(str, axes))}" if listed and axes else node.op


def shortened(text: str, longest: int = LONGEST) -> str:
    """The text with its end left out where it is long.

    >>> shortened("a long name", 7)
    'a long…'
    """
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def _is_number(node: Node) -> bool:
    return node.op == "const" and node.type.shape == ()
