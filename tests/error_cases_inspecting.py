"""Mistakes in drawing and explaining, as code that makes them; see error_page.py."""

from __future__ import annotations

from error_page import case

import graphad as ga

DRAWING = "Drawing and explaining"


def line() -> ga.Graph:
    """A small graph."""
    g = ga.Graph("line")
    x = g.input("x", shape="n")
    g.output("y", 2.0 * x)
    return g


@case(DRAWING, "A drawing of an unknown format", ga.ArgumentError, "choose one of the endings.")
def drawing_ending() -> object:
    """The ending of the file's name says what is written."""
    return line().draw("line.png")


@case(DRAWING, "A drawing in a folder that does not exist", ga.ArgumentError, "make the folder first.")
def drawing_folder() -> object:
    """No folder is made unasked."""
    return line().draw("no/such/folder/line.svg")


@case(DRAWING, "An unknown layout", ga.ArgumentError, "leave it out, or name one of the two.")
def drawing_layout() -> object:
    """There are Graphviz's layout and the built-in one."""
    return line().draw("line.svg", layout="circle")


@case(DRAWING, "An explanation of an unknown format", ga.ArgumentError, "leave it out for text.")
def explanation_format() -> object:
    """Explanations are text or HTML."""
    return ga.compile(line(), tier="interpreted").explain(format="pdf")  # type: ignore[arg-type]
