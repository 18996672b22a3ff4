"""Tables of rich as plain text, for what is returned as a string and compared in tests."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = ()) -> Table:
    """A table with a line under its header; the columns named in `right` are aligned to the right."""
    result = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        result.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        result.add_row(*row)
    return result


def as_text(renderable: RenderableType, width: int = 200) -> str:
    """What the terminal would show, without colours and without blanks at line ends.

    >>> print(as_text(table(["a", "b"], [["x", "1"], ["y", "20"]], right=["b"])))
    a    b
    ──────
    x    1
    y   20
    """
    buffer = io.StringIO()
    console = Console(file=buffer, width=width, color_system=None, force_terminal=False, highlight=False, markup=False)
    console.print(renderable)
    lines = [line.rstrip() for line in buffer.getvalue().splitlines()]
    return "\n".join(line for line in lines if line)
