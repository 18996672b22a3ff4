"""Drawings in files: SVG, Graphviz's DOT, or a page to click through, by the ending."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from graphad.errors import ArgumentError, describe
from graphad.ir.graph import Graph
from graphad.plan.modes import Plan
from graphad.report.dot import dot_layout, dot_text, installed
from graphad.report.drawing import Drawing, graph_drawing
from graphad.report.layout import Layout
from graphad.report.svg import lay_out, svg

if TYPE_CHECKING:
    from graphad.compile import CompiledFunction

LAYOUTS: dict[str, Callable[[Drawing], Layout]] = {"dot": dot_layout, "layered": lay_out}
ENDINGS = (".svg", ".dot", ".html")
DOT_TAKES = 300  # marks; `dot` takes minutes for thousands


def draw(
    graph: Graph, path: str | os.PathLike[str], layout: str | None, plan: Plan | None, page: Callable[[], str]
) -> Path:
    """Write a drawing of a graph to a file.

    Arguments:
        layout: "dot", "layered", or None to take dot for small graphs where it is installed.
        plan: colours the segments.
        page: makes the page for `.html`.

    Raises `ArgumentError` for another ending or layout, and where the file can not be written.
    """
    file = writable(path, ENDINGS)
    if layout not in (None, *LAYOUTS):
        raise ArgumentError(describe(f"layout={layout!r}", expected='"dot", "layered" or None'))
    if file.suffix == ".html":
        file.write_text(page(), encoding="utf-8")
        return file
    drawing = graph_drawing(graph, plan)
    if file.suffix == ".dot":
        file.write_text(dot_text(drawing) + "\n", encoding="utf-8")
        return file
    chosen = layout or ("dot" if installed() and len(drawing.marks) <= DOT_TAKES else "layered")
    file.write_text(svg(drawing, LAYOUTS[chosen](drawing)), encoding="utf-8")
    return file


def draw_function(
    function: CompiledFunction,
    path: str | os.PathLike[str],
    layout: str | None,
    page: Callable[[], str],
) -> Path:
    """Write a drawing of what a function differentiates, or of what it runs where it differentiates nothing.

    Arguments:
        page: makes the page for `.html`.
    """
    plan = function.recipe.plan
    graph, known = (function.optimized, None) if plan.graph is None else (plan.graph, plan)
    return draw(graph, path, layout, known, page)


def writable(path: str | os.PathLike[str], endings: tuple[str, ...]) -> Path:
    """The path of a file that can be written.

    Raises `ArgumentError` for another ending, and where the folder does not exist.
    """
    file = Path(path)
    if file.suffix not in endings:
        expected = f"a name that ends in {' or '.join(endings)}"
        raise ArgumentError(describe(f"the ending of `{file}` says no format", expected=expected))
    in_a_folder(file)
    return file


def in_a_folder(file: Path) -> None:
    """Refuse a file whose folder does not exist with `ArgumentError`."""
    if not file.parent.is_dir():
        raise ArgumentError(describe(f"`{file}` can not be written", expected="a file in an existing folder"))
