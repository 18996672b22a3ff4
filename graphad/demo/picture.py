"""The picture of the demo: the recovered map beside the convergence of both ways down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphad.demo.descent import Descent
from graphad.errors import ArgumentError, describe

Array = NDArray[np.float64]

INK, PALE, SEA, RED, BLUE = "#1f2933", "#829ab1", "#e9f0f5", "#c2410c", "#1d6fa5"
# Where a name may stand, tried in this order: right, left, above, below, then the corners; in points.
PLACES = [(5, 0), (-5, 0), (0, 6), (0, -6), (4, 5), (-4, 5), (4, -5), (-4, -5), (9, 8), (-9, 8), (9, -8), (-9, -8)]


def draw(
    path: Path,
    names: list[str],
    true: Array,
    found: Array,
    descents: list[Descent],
    limit: float,
    lines: list[Array],
) -> None:
    """Write the PNG.

    Arguments:
        names: of the cities.
        true, found: positions in 1000 km on the map projection and as recovered (aligned), shape (n, 2).
        descents: the curves to draw.
        limit: the smallest stress known; the curves show the distance to it.
        lines: parallels and meridians on the same map.

    Raises `ArgumentError` where matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ArgumentError(describe("the picture needs matplotlib", fix='pip install "graphad[plot]"')) from error
    figure = Figure(figsize=(17.5, 9.6), dpi=150, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    grid = figure.add_gridspec(1, 2, width_ratios=[1.9, 1.0], left=0.02, right=0.98, top=0.9, bottom=0.085, wspace=0.1)
    atlas, curves = figure.add_subplot(grid[0]), figure.add_subplot(grid[1])
    _map(atlas, true, found, lines)
    _curves(curves, descents, limit)
    canvas.draw()  # type: ignore[no-untyped-call]
    _label(atlas, canvas, names, found)
    canvas.print_png(str(path))  # type: ignore[no-untyped-call]


def _map(axes: Any, true: Array, found: Array, lines: list[Array]) -> None:
    error = 1000.0 * np.sqrt(((true - found) ** 2).sum(axis=1))
    axes.set_facecolor(SEA)
    axes.scatter(true[:, 0], true[:, 1], s=64, facecolor="none", edgecolor=PALE, linewidth=0.9, zorder=2,
                 label="map projection of the true coordinates")  # fmt: skip
    axes.scatter(found[:, 0], found[:, 1], s=15, color=RED, zorder=3, label="recovered from distances alone")
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.margins(0.06, 0.05)
    for spine in axes.spines.values():
        spine.set_visible(False)
    frame = (axes.get_xlim(), axes.get_ylim())
    for line in lines:
        axes.plot(line[:, 0], line[:, 1], color="white", linewidth=1.1, zorder=1)
    axes.set_xlim(*frame[0])
    axes.set_ylim(*frame[1])
    left, bottom = frame[0][0], frame[1][0]
    axes.plot([left + 0.15, left + 0.65], [bottom + 0.15] * 2, color=INK, linewidth=2.0, solid_capstyle="butt")
    axes.text(left + 0.4, bottom + 0.2, "500 km", ha="center", va="bottom", fontsize=9, color=INK)
    axes.legend(loc="upper left", frameon=False, fontsize=10, labelcolor=INK, borderaxespad=1.0)
    mean, largest = float(np.sqrt((error**2).mean())), float(error.max())
    axes.set_title(
        f"{len(found)} cities placed by their great-circle distances\n", fontsize=15, color=INK, loc="left", pad=6
    )
    axes.text(0.0, 1.012, f"after alignment off by {mean:.1f} km (root mean square), {largest:.0f} km at most",
              transform=axes.transAxes, fontsize=10.5, color="#52606d", va="bottom")  # fmt: skip


def _curves(axes: Any, descents: list[Descent], limit: float) -> None:
    for descent, color in zip(descents, (RED, BLUE, "#0f766e"), strict=False):
        above = np.maximum(np.asarray(descent.best) - limit, 1e-12 * max(limit, 1e-300))
        count = np.arange(1, len(above) + 1)
        axes.plot(count, above, color=color, linewidth=2.0)
        axes.plot(count[-1:], above[-1:], "o", color=color, markersize=5)
        early = len(count) < max(d.evaluations for d in descents)
        middle = int(np.searchsorted(-np.log(above), -0.5 * np.log(above[0] * above[-1])))
        axes.annotate(
            f"{descent.name}\n{descent.evaluations:,} evaluations",
            (float(count[min(middle, len(count) - 1)]), float(above[min(middle, len(count) - 1)])),
            xytext=(10 if early else -10, 0), textcoords="offset points", color=color, fontsize=10, va="center",
            ha="left" if early else "right",
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("evaluations (a value, or a value with its gradient)", color=INK, fontsize=10.5)
    axes.set_title("stress above the smallest one found\n", fontsize=15, color=INK, loc="left", pad=6)
    axes.grid(color="#e4e7eb", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors="#52606d", which="both", length=0)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)


def _label(axes: Any, canvas: Any, names: list[str], points: Array) -> None:
    """Put each name where it hides least; crowded cities choose first."""
    renderer = canvas.get_renderer()
    pixels = axes.transData.transform(points)
    scale = canvas.figure.dpi / 72.0
    dots = np.concatenate([pixels - 4.0 * scale, pixels + 4.0 * scale], axis=1)
    taken: list[Array] = []
    distance = np.sqrt(((pixels[:, None] - pixels[None, :]) ** 2).sum(axis=-1))
    crowding = np.sort(distance, axis=1)[:, 1 : min(4, len(names))].sum(axis=1)
    frame = axes.get_window_extent(renderer).extents
    for i in np.argsort(crowding):
        text = axes.annotate(
            names[i], points[i], xytext=(0, 0), textcoords="offset points", fontsize=8.6, color=INK, zorder=4
        )
        boxes = []
        for place in PLACES:
            _put(text, place)
            boxes.append(text.get_window_extent(renderer).extents)
        others = np.delete(dots, i, axis=0)
        costs = [_hidden(box, others, taken, frame) + 0.3 * scale * n for n, box in enumerate(boxes)]
        best = int(np.argmin(costs))
        _put(text, PLACES[best])
        taken.append(boxes[best])


def _put(text: Any, place: tuple[int, int]) -> None:
    text.set_position(place)
    text.set_ha("left" if place[0] > 0 else "right" if place[0] < 0 else "center")
    text.set_va("bottom" if place[1] > 0 else "top" if place[1] < 0 else "center_baseline")


def _hidden(box: Array, dots: Array, taken: list[Array], frame: Array) -> float:
    """What a name there would hide: area of names and dots, and everything outside the map."""
    names = np.array(taken).reshape(-1, 4)
    outside = max(0.0, float(frame[0] - box[0])) + max(0.0, float(box[2] - frame[2]))
    return _overlap(box, dots) + 3.0 * _overlap(box, names) + 1e3 * outside


def _overlap(box: Array, boxes: Array) -> float:
    width = np.minimum(box[2], boxes[:, 2]) - np.maximum(box[0], boxes[:, 0])
    height = np.minimum(box[3], boxes[:, 3]) - np.maximum(box[1], boxes[:, 1])
    return float((np.maximum(width, 0.0) * np.maximum(height, 0.0)).sum())
