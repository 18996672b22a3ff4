"""The pattern of a sparse matrix as a picture: its entries, in the colours of their columns and rows."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from graphad.plan.coloring import Coloring

CELLS = 160  # rows and columns of a picture; larger matrices are drawn in blocks
WIDTH = 360.0
HUES = 24  # colours of the picture; more colours of columns are repeated
GOLDEN = 137.508  # degrees between neighbouring hues, which keeps any first few of them apart


class Pattern(Protocol):
    """What is drawn: a pattern in compressed rows and its colouring, if there is one."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""

    @property
    def indptr(self) -> NDArray[Any]:
        """Where each row begins."""

    @property
    def indices(self) -> NDArray[Any]:
        """The columns of the entries."""

    @property
    def coloring(self) -> Coloring | None:
        """Colours of columns and rows."""


def pattern_svg(title: str, pattern: Pattern) -> str:
    """A pattern as SVG: a cell for each entry, or for a block of the matrix, the darker the fuller."""
    height, width = pattern.shape
    rows = np.repeat(np.arange(height), np.diff(pattern.indptr))
    tall, wide = min(height, CELLS), min(width, CELLS)
    cells = np.zeros((max(tall, 1), max(wide, 1)))
    down, across = rows * tall // max(height, 1), pattern.indices * wide // max(width, 1)
    np.add.at(cells, (down, across), 1.0)
    exact = tall == height and wide == width
    if exact and pattern.coloring is not None:
        paths = _coloured(rows, pattern.indices, pattern.coloring)
    else:
        paths = _shaded(cells / max((height * width) / max(tall * wide, 1), 1.0))
    scale = WIDTH / max(tall, wide, 1)
    size = f'width="{wide * scale:.0f}" height="{tall * scale:.0f}" viewBox="0 0 {wide} {tall}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="graphad-pattern" role="img" {size}>'
        f"<title>{escape(title)}</title>"
        f'<rect width="{wide}" height="{tall}" fill="none" stroke="#8a94a3" stroke-width="{1 / scale:.3f}"/>'
        f"{''.join(paths)}</svg>"
    )


def _coloured(rows: NDArray[Any], columns: NDArray[Any], coloring: Coloring) -> Iterable[str]:
    """Entries by the sweep that gives them: the colour of their column or, where it has none, of their row."""
    by_column = coloring.columns[columns]
    sweep = np.where(by_column >= 0, by_column, coloring.forward + coloring.rows[rows])
    for colour in range(min(HUES, coloring.forward + coloring.reverse)):
        mine = sweep % HUES == colour
        hue = colour * GOLDEN % 360
        yield f'<path fill="hsl({hue:.0f} 65% 48%)" d="{_squares(zip(rows[mine], columns[mine], strict=True))}"/>'


def _shaded(filled: NDArray[np.float64]) -> Iterable[str]:
    """Cells in four shades by how much of them is filled."""
    level = np.ceil(np.clip(filled, 0.0, 1.0) ** 0.25 * 4).astype(int)
    for step in range(1, 5):
        cells = np.argwhere(level == step)
        if len(cells):
            squares = _squares((row, column) for row, column in cells.tolist())
            yield f'<path fill="#0072b2" fill-opacity="{step / 4}" d="{squares}"/>'


def _squares(cells: Iterable[tuple[int, int]]) -> str:
    return "".join(f"M{column} {row}h1v1h-1z" for row, column in cells)
