"""Sections as HTML tables, and what notebooks show."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from graphad.ir.graph import Graph
from graphad.plan.budget import MemoryCurve
from graphad.plan.modes import Plan
from graphad.report.drawing import family, graph_drawing
from graphad.report.groups import grouped, overview
from graphad.report.sections import Section, curve_section, plan_section
from graphad.report.svg import svg

if TYPE_CHECKING:
    from graphad.compile import CompiledFunction

SMALL = 80  # nodes that a notebook shows one by one


def html_table(section: Section, keys: tuple[str, ...] = ()) -> str:
    """A section as a table.

    Arguments:
        keys: what each row is about, for the page: written as `data-key`.
    """
    tabular = len(section.columns) - section.long
    shown = [k for k in range(tabular) if k == 0 or any(row[k] for row in section.rows)]
    kind = {k: ' class="number"' if section.columns[k] in section.right else "" for k in shown}
    head = "".join(f'<th scope="col"{kind[k]}>{escape(section.columns[k])}</th>' for k in shown)
    rows = []
    for number, row in enumerate(section.rows):
        key = f' data-key="{keys[number]}"' if keys and keys[number] else ""
        rows.append(f"<tr{key}>" + "".join(f"<td{kind[k]}>{escape(row[k])}</td>" for k in shown) + "</tr>")
        if section.long:
            rows.append(f'<tr class="below"{key}><td colspan="{len(shown)}">{escape(row[-1])}</td></tr>')
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


STYLE = (
    "<style>.graphad-table td,.graphad-table th{text-align:left;vertical-align:top;white-space:pre-wrap;"
    "font-family:monospace;padding:2px 12px 2px 0}.graphad-table .number{text-align:right}"
    ".graphad-table .below td{padding:0 12px 8px 24px}</style>"
)


def graph_html(graph: Graph, plan: Plan | None = None) -> str:
    """A drawing for a notebook: all nodes of a small graph, the parts of a large one."""
    if len(graph.nodes) <= SMALL:
        return _scrolled(svg(graph_drawing(graph, plan)))
    groups = grouped(graph, plan)
    note = f"{len(graph.nodes):,} nodes in {len(groups)} parts; <code>draw(&quot;page.html&quot;)</code> shows them all"
    return f"<p>{escape(graph.name)}: {note}</p>{_scrolled(svg(overview(graph, groups)))}"


def plan_html(plan: Plan) -> str:
    """The table of a plan and, where there is one, the differentiated graph with its segments in colours."""
    table = f'{STYLE}<div class="graphad-table">{html_table(plan_section(plan))}</div>'
    coloured = plan.graph is not None and any(family(decision.choice) for decision in plan.segments)
    return table + (graph_html(plan.graph, plan) if coloured and plan.graph is not None else "")


def curve_html(curve: MemoryCurve) -> str:
    """The table of a trade-off curve."""
    section = curve_section(curve)
    return f'{STYLE}<div class="graphad-table"><p>{escape(section.title)}</p>{html_table(section)}</div>'


def function_html(function: CompiledFunction) -> str:
    """The signature and the plan of a compiled function."""
    return f"<p><code>{escape(repr(function))}</code></p>{plan_html(function.plan)}"


def _scrolled(text: str) -> str:
    return f'<div style="max-height:640px;overflow:auto">{text}</div>'
