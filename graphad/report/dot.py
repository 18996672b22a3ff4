"""Graphviz: drawings as DOT text, and the layout that its program `dot` finds."""

from __future__ import annotations

import shutil
import subprocess

from graphad.errors import ArgumentError, describe
from graphad.report.drawing import Drawing
from graphad.report.layout import Layout, Point

INCH = 72.0
COLOURS = {
    "forward": ("#e1f0fa", "#0072b2"), "reverse": ("#fdebdf", "#c4530a"), "elimination": ("#dcf4ec", "#00785a"),
    "mixed": ("#f9e6f1", "#a2447d"), "rows": ("#faf3cd", "#7a6a00"), "sparse": ("#e8e9f9", "#4a4fa3"),
}  # fmt: skip


def installed() -> bool:
    """Whether there is a program `dot`."""
    return shutil.which("dot") is not None


def dot_text(drawing: Drawing) -> str:
    """A drawing in Graphviz's language, with the sizes that the marks have in SVG.

    >>> from graphad.report.drawing import Mark
    >>> print(dot_text(Drawing("g", (Mark("n0", "x", ""), Mark("n1", "sin", "%1 float64[]")), ((0, 1),))))
    digraph "g" {
      node [shape=box, style="rounded,filled", fillcolor="#f6f7f9", color="#8a94a3", fontname="monospace", fontsize=11]
      edge [color="#9aa4b1", arrowsize=0.6]
      n0 [label="x", width=0.639, height=0.333, fixedsize=true]
      n1 [label="sin\\n%1 float64[]", width=1.267, height=0.528, fixedsize=true]
      n0 -> n1
    }
    """
    lines = [
        f'digraph "{drawing.title}" {{',
        '  node [shape=box, style="rounded,filled", fillcolor="#f6f7f9", color="#8a94a3", '
        'fontname="monospace", fontsize=11]',
        '  edge [color="#9aa4b1", arrowsize=0.6]',
    ]
    for mark in drawing.marks:
        text = "\\n".join(_escaped(line) for line in (mark.label, mark.detail, mark.result) if line)
        width, height = mark.size
        fill, line = COLOURS.get(mark.family, ("", ""))
        colour = f', fillcolor="{fill}", color="{line}"' if fill else ""
        size = f"width={width / INCH:.3f}, height={height / INCH:.3f}, fixedsize=true"
        lines.append(f'  {mark.key} [label="{text}", {size}{colour}]')
    lines += [f"  {drawing.marks[a].key} -> {drawing.marks[b].key}" for a, b in drawing.edges]
    return "\n".join([*lines, "}"])


def dot_layout(drawing: Drawing) -> Layout:
    """Where `dot` puts the marks of a drawing.

    Raises `ArgumentError` where there is no program `dot`, or it fails.
    """
    if not installed():
        fix = "install Graphviz, or leave `layout` out"
        raise ArgumentError(describe("layout='dot' needs Graphviz's program `dot`", fix=fix))
    command = ["dot", "-Tplain", "-Earrowhead=none", "-Granksep=0.45", "-Gnodesep=0.2"]
    done = subprocess.run(command, input=dot_text(drawing), capture_output=True, text=True, check=False)
    if done.returncode:
        fix = "layout='layered' takes the built-in layout"
        raise ArgumentError(describe("Graphviz's program `dot` fails", got=done.stderr.strip(), fix=fix))
    return _read(drawing, done.stdout)


def _read(drawing: Drawing, plain: str) -> Layout:
    """The layout from Graphviz's plain format: inches, y upwards."""
    position = {mark.key: k for k, mark in enumerate(drawing.marks)}
    centres, routes = [Point(0.0, 0.0)] * len(drawing.marks), dict.fromkeys(drawing.edges, tuple[Point, ...]())
    width = height = 0.0
    for line in plain.splitlines():
        kind, *words = line.split()
        if kind == "graph":
            width, height = (INCH * float(word) for word in words[1:3])
        elif kind == "node":
            centres[position[words[0]]] = Point(INCH * float(words[1]), height - INCH * float(words[2]))
        elif kind == "edge":
            numbers = [INCH * float(word) for word in words[3 : 3 + 2 * int(words[2])]]
            points = tuple(Point(x, height - y) for x, y in zip(numbers[::2], numbers[1::2], strict=True))
            routes[position[words[0]], position[words[1]]] = points
    rows = {y: layer for layer, y in enumerate(sorted({round(p.y) for p in centres}))}
    layers = tuple(rows[round(p.y)] for p in centres)
    return Layout(width, height, tuple(centres), layers, tuple(routes[e] for e in drawing.edges), curved=True)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
