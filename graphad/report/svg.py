"""Drawings as SVG: one file without links, readable on light and on dark ground."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from html import escape
from importlib.resources import files
from itertools import pairwise
from math import hypot

from graphad.report.drawing import FAMILIES, Drawing, Mark
from graphad.report.layout import Layout, Point, layered

MARGIN = 16.0
LEGEND = 26.0  # the height of the line that explains the colours
HEAD = 6.0  # the length of an arrow's head


@cache
def template(name: str) -> str:
    """A text file of this package."""
    return files("graphad.report").joinpath(name).read_text(encoding="utf-8")


def lay_out(drawing: Drawing) -> Layout:
    """The built-in layout of a drawing."""
    return layered([mark.size for mark in drawing.marks], drawing.edges)


def svg(drawing: Drawing, layout: Layout | None = None) -> str:
    """A drawing as the text of an SVG file.

    Arguments:
        layout: where everything goes; None for the built-in layout.
    """
    layout = layout or lay_out(drawing)
    legend = _legend(drawing.legend)
    width = max(layout.width, 150.0 * len(drawing.legend)) + 2 * MARGIN
    top = MARGIN + (LEGEND if drawing.legend else 0.0)
    height = layout.height + top + MARGIN
    shift = (width - layout.width) / 2
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="graphad-drawing" role="img" {size}>',
            f"<title>{escape(drawing.title)}</title>",
            f"<style>{template('drawing.css')}</style>",
            f'<rect class="paper" width="{width:.0f}" height="{height:.0f}"/>',
            legend,
            f'<g transform="translate({shift:.1f} {top:.1f})">',
            inside(drawing, layout),
            "</g>\n</svg>\n",
        )
    )


def inside(drawing: Drawing, layout: Layout, focus: bool = False) -> str:
    """Edges and marks of a drawing, without the file around them.

    Arguments:
        focus: whether the keyboard reaches the marks.
    """
    lines = [edge(drawing, k, layout.routes[k], layout.curved) for k in range(len(drawing.edges))]
    heads = "".join(head(route, layout.curved) for route in layout.routes if route)
    boxes = [box(m, at, focus) for m, at in zip(drawing.marks, layout.centres, strict=True)]
    return "\n".join([*lines, f'<path class="heads" d="{heads}"/>', *boxes])


def edge(drawing: Drawing, number: int, route: Sequence[Point], curved: bool = False) -> str:
    """One edge as a smooth line that leaves and arrives vertically."""
    a, b = (drawing.marks[end].key for end in drawing.edges[number])
    return f'<path class="edge" data-from="{a}" data-to="{b}" d="{curve(route, curved)}"/>' if route else ""


def curve(route: Sequence[Point], curved: bool = False) -> str:
    """The path along a route, up to where the head of the arrow begins.

    Arguments:
        curved: the points are those of Bézier curves rather than corners.
    """
    across, down = _direction(route, curved)
    points = [*route[:-1], Point(route[-1].x - across * HEAD / 2, route[-1].y - down * HEAD / 2)]
    if curved:
        return f"M{_xy(points[0])}C{' '.join(map(_xy, points[1:]))}"
    parts = [f"M{_xy(points[0])}"]
    for p, q in pairwise(points):
        middle = (p.y + q.y) / 2
        straight = abs(p.x - q.x) < 0.5
        parts.append(f"L{_xy(q)}" if straight else f"C{p.x:.1f} {middle:.1f} {q.x:.1f} {middle:.1f} {_xy(q)}")
    return "".join(parts)


def head(route: Sequence[Point], curved: bool = False) -> str:
    """The head of an arrow at the end of a route."""
    (x, y), (across, down) = route[-1], _direction(route, curved)
    back, half = Point(x - across * HEAD, y - down * HEAD), HEAD / 2
    left, right = (
        Point(back.x - down * half, back.y + across * half),
        Point(back.x + down * half, back.y - across * half),
    )
    return f"M{_xy(route[-1])}L{_xy(left)} {_xy(right)}z"


def _direction(route: Sequence[Point], curved: bool) -> tuple[float, float]:
    """The unit vector in which a route arrives; corners are rounded, so that those routes arrive vertically."""
    (x, y), (u, v) = route[-2:]
    if not curved:
        return 0.0, 1.0 if v >= y else -1.0
    length = hypot(u - x, v - y) or 1.0
    return (u - x) / length, (v - y) / length


def box(mark: Mark, at: Point, focus: bool = False) -> str:
    """One mark around its centre.

    Arguments:
        focus: whether the keyboard reaches it; then a page around it says what it is, and it has no title.
    """
    width, height = mark.size
    classes = " ".join(filter(None, ("mark", mark.kind, mark.family, "output" if mark.outputs else "")))
    round_ = height / 2 if mark.kind == "input" else 5.0
    reach = f' tabindex="0" role="button" aria-label="{escape(f"{mark.label}, {mark.detail}")}"' if focus else ""
    lines = [
        f'<g class="{classes}" data-key="{mark.key}" transform="translate({at.x:.1f} {at.y:.1f})"{reach}>',
        "" if focus or not mark.title else f"<title>{escape(mark.title)}</title>",
        f'<rect class="box" x="{-width / 2:.1f}" y="{-height / 2:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'rx="{round_:.0f}"/>',
    ]
    written = [(n, t) for n, t in (("label", mark.label), ("detail", mark.detail), ("result", mark.result)) if t]
    step = 14.0
    y = -step * (len(written) - 1) / 2 + 4.0
    for name, text in written:
        lines.append(f'<text class="{name}" y="{y:.1f}">{escape(text)}</text>')
        y += step
    return "".join(lines) + "</g>"


def _legend(families: Sequence[str]) -> str:
    parts, x = [], MARGIN
    for name in families:
        parts.append(f'<g class="{name}"><rect class="box" x="{x:.0f}" y="10" width="16" height="14" rx="3"/>')
        parts.append(f'<text x="{x + 22:.0f}" y="21">{escape(FAMILIES[name])}</text></g>')
        x += 44.0 + 7.0 * len(FAMILIES[name])
    return f'<g class="legend">{"".join(parts)}</g>' if parts else ""


def _xy(point: Point) -> str:
    return f"{point.x:.1f} {point.y:.1f}"
