"""The text of `fn.explain()`: what goes in and out, what was decided and why, what the passes did."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING

from rich.text import Text

from graphad.report.drawing import shortened
from graphad.report.sections import Section, sections
from graphad.report.tables import as_text, table

if TYPE_CHECKING:
    from graphad.compile import CompiledFunction

INDENT = "    "
WIDEST = 64  # characters of a cell whose row has text below it


def explain(
    function: CompiledFunction, *, passes: bool = False, loops: bool = False, memory: bool = False, width: int = 100
) -> str:
    """The report of a compiled function.

    Arguments:
        passes: show nodes and floating-point operations around each pass.
        loops: show the loop nests, what each keeps in memory and why, bytes moved and operations.
        memory: show what is live in the course of a call, and what a memory budget stores and computes again.
        width: of the text, in characters.
    """
    found = sections(function, passes=passes, loops=loops, memory=memory)
    return "\n\n".join(f"{s.title}\n{section_text(s, width)}" for s in found) + "\n"


def section_text(section: Section, width: int) -> str:
    """A section as text, without columns that are empty."""
    tabular = len(section.columns) - section.long
    shown = [k for k in range(tabular) if k == 0 or any(row[k] for row in section.rows)]
    rows = table([section.columns[k] for k in shown], [], right=section.right)
    for row in section.rows:
        rows.add_row(*(Text(shortened(row[k], WIDEST) if section.long else row[k]) for k in shown))
    if not section.long:
        return as_text(rows, width)
    head, rule, *lines = as_text(rows, WIDEST * len(shown)).splitlines()  # wide enough: each row is one line
    below = (indented(row[-1], width) for row in section.rows)
    return "\n".join([head, rule, *(part for line in zip(lines, below, strict=True) for part in (line[0], *line[1]))])


def indented(text: str, width: int) -> list[str]:
    """Lines below a row, folded where they are too wide."""
    return [
        line
        for part in text.splitlines()
        for line in wrap(part, width, initial_indent=INDENT, subsequent_indent=2 * INDENT, drop_whitespace=True)
    ]
