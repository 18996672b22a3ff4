"""The text of `fn.explain()`: what goes in and out, what was decided and why, what the passes did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from graphad.report.sections import Section, sections
from graphad.report.tables import as_text, table

if TYPE_CHECKING:
    from graphad.compile import CompiledFunction


def explain(function: CompiledFunction, *, passes: bool = False, loops: bool = False, width: int = 100) -> str:
    """The report of a compiled function.

    Arguments:
        passes: show nodes and floating-point operations around each pass.
        loops: show the loop nests, what each keeps in memory and why, bytes moved and operations.
        width: of the text, in characters.
    """
    found = sections(function, passes=passes, loops=loops)
    return "\n\n".join(f"{s.title}\n{as_text(table_of(s), width)}" for s in found) + "\n"


def table_of(section: Section) -> Table:
    """A section for the terminal, without columns that are empty."""
    shown = [k for k in range(len(section.columns)) if k == 0 or any(row[k] for row in section.rows)]
    columns = [section.columns[k] for k in shown]
    rows = table(columns, [], right=section.right)
    for row in section.rows:
        rows.add_row(*(Text(row[k]) for k in shown))
    return rows
