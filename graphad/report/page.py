"""The page of a compiled function or a graph: drawn graphs to click through, and all tables; one file without links."""

from __future__ import annotations

import json
import linecache
import re
from collections.abc import Collection, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from graphad.analysis.cost import node_flops, typical_sizes
from graphad.ir.bodies import bodies
from graphad.ir.graph import Graph
from graphad.ir.sizes import evaluate
from graphad.ir.text import label, node_text
from graphad.plan.modes import Decision, Plan
from graphad.report.drawing import FAMILIES, Drawing, family, graph_drawing, segment_of, shortened
from graphad.report.groups import Group, grouped, overview
from graphad.report.layout import Layout
from graphad.report.markup import html_table
from graphad.report.patterns import Pattern, pattern_svg
from graphad.report.sections import MEMORY, SCRATCH, candidates, counts, sections
from graphad.report.svg import box, edge, inside, lay_out, template
from graphad.report.timeline import curves_svg, scratch_arrays, timeline_svg

if TYPE_CHECKING:
    from graphad.compile import CompiledFunction

FLAT = 400  # nodes that are drawn one by one besides in parts
OPENABLE = 8_000  # nodes of a graph of which the page knows each one; larger ones would make files of many megabytes
FEW = 120  # nodes that are shown one by one at first
LONGEST = 300  # characters of a node's text


class Canvas(NamedTuple):
    """One graph of the page: what the list of graphs says, its SVG, and what the script needs to know."""

    title: str
    markup: str
    data: dict[str, Any]


def function_page(
    function: CompiledFunction, patterns: Mapping[str, Pattern] | None = None, signature: str | None = None
) -> str:
    """The page of a compiled function: `explain(format="html")`.

    Arguments:
        patterns: those of its sparse results, by name.
        signature: of the function that users call, where it is another one.
    """
    plan = function.plan
    what = ["what was differentiated", *["one row of it"] * len(plan.graphs)]
    drawn = [(f"{graph.name}: {part}", graph) for part, graph in zip(what, plan.graphs, strict=False)]
    drawn.append((f"{function.name}: {'derivative ' if drawn else ''}after passes", function.optimized))
    tables = _tables(function, patterns or {})
    return _page(function.name, signature or repr(function), canvases(drawn, plan), tables, plan)


def _tables(function: CompiledFunction, patterns: Mapping[str, Pattern]) -> list[str]:
    """The sections of the explanation, the plan first; patterns and the timeline of memory among them."""
    about, decided, *more = sections(function, passes=True, loops=True, memory=function.plan.memory is not None)
    keys = tuple(f"d{k}" for k in range(len(function.plan.decisions)))
    found = [_details(decided.title, html_table(decided, keys), opened=True)]
    found += [
        _details(f"sparsity of {name}", f"<p>{escape(repr(pattern))}</p>{pattern_svg(name, pattern)}", opened=True)
        for name, pattern in patterns.items()
    ]
    found.append(_details(about.title, html_table(about), opened=True))
    for section in more:
        picture = _timeline(function) if section.title == SCRATCH else ""
        if section.title == MEMORY and function.plan.memory is not None:
            report = function.plan.memory
            curves = {"without the budget": report.before.live, "with it": report.after.live}
            picture = curves_svg("live bytes in the course of a call", curves)
        found.append(_details(section.title, picture + html_table(section)))
    return found


def _details(title: str, contents: str, *, opened: bool = False) -> str:
    return f"<details{' open' if opened else ''}><summary>{escape(title)}</summary>{contents}</details>"


def _timeline(function: CompiledFunction) -> str:
    arrays = scratch_arrays(function.generated.slots, typical_sizes(function.graph))
    note = "Above: bytes live at each step, a loop nest or a call. Below: where arrays lie while they are needed."
    return f"<p>{note}</p>{timeline_svg('scratch memory over time', arrays)}"


def graph_page(graph: Graph) -> str:
    """The page of a graph alone: `graph.draw("graph.html")`."""
    text = _details("text", f"<pre>{escape(shortened(str(graph), 200_000))}</pre>", opened=True)
    return _page(graph.name, repr(graph), canvases([(graph.name, graph)], Plan()), [text], Plan())


def canvases(graphs: Sequence[tuple[str, Graph]], plan: Plan) -> list[Canvas]:
    """Graphs by title, and behind them the bodies of their loops and branches, to which the nodes lead."""
    found, waiting = list[Canvas](), list(graphs)
    for title, graph in waiting:  # grows meanwhile
        inner: dict[int, list[tuple[str, int]]] = {}
        for node_id, node in enumerate(graph.nodes):
            for name, body in bodies(node.params):
                inner.setdefault(node_id, []).append((name, len(waiting)))
                waiting.append((f"{graph.name}: {name} of {node.op} {label(graph, node_id)}", body))
        found.append(canvas(title, graph, plan, inner))
    return found


def canvas(title: str, graph: Graph, plan: Plan, inner: Mapping[int, Sequence[tuple[str, int]]]) -> Canvas:
    """A graph, all nodes and in parts.

    Arguments:
        inner: names and numbers of the canvases of each node's bodies.
    """
    groups = grouped(graph, plan)
    drawing = overview(graph, groups)
    layout = lay_out(drawing)
    known = range(len(graph.nodes)) if len(graph.nodes) <= OPENABLE else sorted(graph.inputs.values())
    parts = {g.key: graph_drawing(graph, plan, g.nodes) for g in groups if len(known) == len(graph.nodes)}
    whole = graph_drawing(graph, plan) if len(graph.nodes) <= FLAT else None
    views, size = [], (0.0, 0.0)
    if whole is not None:
        placed = lay_out(whole)
        size = placed.width, placed.height
        views.append(f'<g class="view" data-view="flat">{inside(whole, placed, focus=True)}</g>')
    views.append(f'<g class="view" data-view="parts">{_parts(drawing, layout, parts)}</g>')
    data = {
        "flat": size,
        "parts": _geometry(drawing, layout),
        "start": "flat" if whole is not None and len(whole.marks) <= FEW else "parts",
        "nodes": _nodes(graph, plan, inner, known),
        "groups": {group.key: _group(group, plan, known) for group in groups},
        "legend": [(name, FAMILIES[name]) for name in drawing.legend],
    }
    return Canvas(title, "".join(views), data)


def _parts(drawing: Drawing, layout: Layout, inner: Mapping[str, Drawing]) -> str:
    """The overview, each part with its hidden inside."""
    lines = [edge(drawing, k, layout.routes[k]) for k in range(len(drawing.edges))]
    for mark, at in zip(drawing.marks, layout.centres, strict=True):
        text = box(mark, at, focus=True)
        if mark.key in inner:
            placed = lay_out(inner[mark.key])
            size = f'data-width="{placed.width:.0f}" data-height="{placed.height:.0f}"'
            contents = f'<g class="inner" {size}>{inside(inner[mark.key], placed, focus=True)}</g>'
            text = text.removesuffix("</g>") + contents + "</g>"
        lines.append(text)
    return "\n".join([*lines, '<path class="heads" d=""/>'])


def _geometry(drawing: Drawing, layout: Layout) -> dict[str, Any]:
    """Where the overview's marks and edges are, for the script to make room when parts are opened."""
    marks = [
        (mark.key, round(at.x, 1), round(at.y, 1), layer, *mark.size)
        for mark, at, layer in zip(drawing.marks, layout.centres, layout.layers, strict=True)
    ]
    edges = [
        (a, b, [[round(p.x, 1), round(p.y, 1)] for p in route])
        for (a, b), route in zip(drawing.edges, layout.routes, strict=True)
    ]
    return {"size": (layout.width, layout.height), "marks": marks, "edges": edges}


def _nodes(
    graph: Graph, plan: Plan, inner: Mapping[int, Sequence[tuple[str, int]]], known: Collection[int]
) -> dict[str, Any]:
    """What the page says about each node that it knows."""
    users, sizes = graph.users(), typical_sizes(graph)
    number = {decision: k for k, decision in enumerate(plan.decisions)}
    decided = segment_of(plan, graph)
    found = {}
    for node_id in known:
        node = graph.nodes[node_id]
        entry: dict[str, Any] = {
            "text": shortened(node_text(graph, node_id), LONGEST),
            "op": node.op,
            "type": str(node.type),
            "args": [f"n{a}" for a in node.args],
            "users": [f"n{u}" for u in dict.fromkeys(users[node_id]) if u in known],
            "flops": evaluate(node_flops(graph, node_id), sizes),
        }
        if node.source is not None:
            entry["at"] = str(node.source)
            entry["code"] = linecache.getline(node.source.filename, node.source.line).strip()
        if node_id in decided:
            entry["decision"] = number[decided[node_id]]
        if node_id in inner:
            entry["bodies"] = inner[node_id]
        found[f"n{node_id}"] = entry
    return found


def _group(group: Group, plan: Plan, known: Collection[int]) -> dict[str, Any]:
    nodes = [f"n{v}" for v in group.nodes if v in known]
    entry: dict[str, Any] = {"label": group.label, "count": len(group.nodes), "nodes": nodes}
    if group.decision is not None:
        entry["decision"] = plan.decisions.index(group.decision)
    return entry


def _decision(decision: Decision) -> dict[str, Any]:
    return {
        "subject": decision.subject,
        "choice": decision.choice,
        "family": family(decision.choice),
        "counts": counts(decision),
        "reason": decision.reason,
        "threshold": decision.threshold,
        "candidates": candidates(decision),
    }


def _page(name: str, signature: str, drawn: list[Canvas], tables: list[str], plan: Plan) -> str:
    """The template filled in; the script reads its data from JSON in the page."""
    data = {"canvases": [c.data for c in drawn], "decisions": [_decision(d) for d in plan.decisions]}
    figures = "".join(f'<g class="canvas" data-number="{k}">{c.markup}</g>' for k, c in enumerate(drawn))
    parts = {
        "title": escape(name),
        "signature": escape(signature),
        "choices": "".join(f'<option value="{k}">{escape(c.title)}</option>' for k, c in enumerate(drawn)),
        "style": template("drawing.css") + template("page.css"),
        "figures": figures,
        "tables": "\n".join(tables),
        "data": json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),  # nothing in it can end the script
        "script": template("page.js"),
    }
    return re.sub(r"<!--(\w+)-->", lambda found: parts[found[1]], template("page.html"))
