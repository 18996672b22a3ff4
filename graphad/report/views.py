"""What graphs and plans show of themselves; filled in when graphad is imported.

The modules behind it are imported when first asked for: they are half as large as the rest.
"""

from __future__ import annotations

import os
from pathlib import Path

from graphad.ir.graph import Graph
from graphad.ir.views import VIEWS
from graphad.plan.budget import MemoryCurve
from graphad.plan.modes import Plan

WIDTH = 100  # characters of a plan that is printed


def draw_graph(graph: Graph, path: str | os.PathLike[str], layout: str | None) -> Path:
    """See `Graph.draw`."""
    from graphad.report.draw import draw
    from graphad.report.page import graph_page

    return draw(graph, path, layout, None, lambda: graph_page(graph))


def graph_html(graph: Graph) -> str:
    """A graph in a notebook."""
    from graphad.report import markup

    return markup.graph_html(graph)


def plan_html(plan: Plan) -> str:
    """A plan in a notebook."""
    from graphad.report import markup

    return markup.plan_html(plan)


def plan_text(plan: Plan) -> str:
    """A plan as a table."""
    from graphad.report.explain import section_text
    from graphad.report.sections import plan_section

    return section_text(plan_section(plan), WIDTH)


def curve_text(curve: MemoryCurve) -> str:
    """A trade-off curve as a table."""
    from graphad.report.explain import section_text
    from graphad.report.sections import curve_section

    section = curve_section(curve)
    return f"{section.title}\n{section_text(section, WIDTH)}"


def curve_html(curve: MemoryCurve) -> str:
    """A trade-off curve in a notebook."""
    from graphad.report import markup

    return markup.curve_html(curve)


VIEWS.update(draw_graph=draw_graph, graph_html=graph_html, plan_html=plan_html, plan_text=plan_text)
VIEWS.update(curve_html=curve_html, curve_text=curve_text)
