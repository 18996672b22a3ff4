"""Memory over time as a picture: each array a box, as wide as its life and as high as its bytes; and what is live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

from graphad.ir.sizes import evaluate
from graphad.loops.scratch import Slot, ends

WIDTH, HEIGHT, LIVE = 560.0, 220.0, 60.0  # of the picture: boxes, and the curve of live bytes above them
LEFT = 70.0
FILLS = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#0072b2", "#d55e00")
CURVES = ("#d55e00", "#0072b2", "#009e73")
MOST = 1500  # boxes; the smallest are left out


class Held(NamedTuple):
    """Bytes that an array occupies: their place, and the first and last step that need them."""

    name: str
    begin: int
    end: int
    first: int
    last: int


def scratch_arrays(slots: Sequence[Slot], extents: Mapping[str, int]) -> list[Held]:
    """The arrays of a function's scratch block at some sizes; steps are loop nests and calls."""
    found = ends(slots, extents)
    starts = [max((found[k] for k in slot.above), default=0) for slot in slots]
    return [
        Held(slot.array.name, start, start + evaluate(slot.bytes, extents), slot.life.first, slot.life.last)
        for slot, start in zip(slots, starts, strict=True)
    ]


def live_bytes(arrays: Sequence[Held]) -> list[int]:
    """The bytes in use at each step, from step 0; arrays in the same place at the same step count once.

    That happens inside one step: a loop whose body has arrays of its own.

    >>> live_bytes([Held("a", 0, 64, 0, 1), Held("b", 64, 192, 1, 2)])
    [64, 192, 128]
    """
    steps: list[list[Held]] = [[] for _ in range(max((a.last for a in arrays), default=-1) + 1)]
    for array in sorted(arrays, key=lambda a: a.begin):
        for step in range(array.first, array.last + 1):
            steps[step].append(array)
    live = []
    for held in steps:
        total, end = 0, 0
        for array in held:
            total += max(array.end - max(array.begin, end), 0)
            end = max(end, array.end)
        live.append(total)
    return live


def timeline_svg(title: str, arrays: Sequence[Held]) -> str:
    """The arrays over time as SVG; steps from left to right, addresses upwards, live bytes above."""
    steps, top = max((a.last for a in arrays), default=0) + 1, max((a.end for a in arrays), default=1)
    live = live_bytes(arrays)
    x, y = (WIDTH - LEFT) / steps, HEIGHT / max(top, 1)
    drawn = sorted(arrays, key=lambda a: (a.begin - a.end, a.first))[:MOST]
    boxes = [
        f'<rect x="{LEFT + a.first * x:.1f}" y="{LIVE + HEIGHT - a.end * y:.1f}" '
        f'width="{(a.last - a.first + 1) * x:.1f}" height="{(a.end - a.begin) * y:.1f}" '
        f'fill="{FILLS[number % len(FILLS)]}" fill-opacity="0.75" '
        f'stroke="#5b6675" stroke-width="0.5"><title>{escape(a.name)}: {a.end - a.begin:,} bytes at {a.begin:,}, '
        f"steps {a.first + 1} to {a.last + 1}</title></rect>"
        for number, a in enumerate(drawn)
    ]
    peak = max(live, default=0)
    height = (LIVE - 14) / max(peak, 1)
    points = [(LEFT + k * x, LIVE - 6 - value * height) for k, value in enumerate(live)]
    curve = "".join(f"L{px:.1f} {py:.1f}h{x:.1f}" for px, py in points)
    labels = [(LIVE - 6 - peak * height, f"{peak:,}"), (LIVE + 8, f"{top:,}"), (LIVE + HEIGHT, "0")]
    marks = [f'<text x="{LEFT - 6:.0f}" y="{at:.1f}" class="axis">{text}</text>' for at, text in labels]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="graphad-timeline" role="img" '
        f'viewBox="0 0 {WIDTH:.0f} {LIVE + HEIGHT + 4:.0f}" width="{WIDTH:.0f}"><title>{escape(title)}</title>'
        f"<style>.graphad-timeline .axis{{font:10px monospace;text-anchor:end;fill:currentColor}}</style>"
        f'<path d="M{LEFT:.1f} {LIVE - 6:.1f}{curve}V{LIVE - 6:.1f}z" fill="#0072b2" fill-opacity="0.35"/>'
        f"{''.join(boxes)}{''.join(marks)}</svg>"
    )


def curves_svg(title: str, curves: Mapping[str, Sequence[int]]) -> str:
    """Live bytes in the course of a call as steps, a curve for each name; all are as wide as the picture."""
    most = max((value for live in curves.values() for value in live), default=1) or 1
    height = HEIGHT / most
    drawn = []
    for number, (name, live) in enumerate(curves.items()):
        width, colour = (WIDTH - LEFT) / max(len(live), 1), CURVES[number % len(CURVES)]
        steps = "".join(f"V{LIVE + HEIGHT - value * height:.1f}h{width:.2f}" for value in live)
        path = f"M{LEFT:.1f} {LIVE + HEIGHT:.1f}{steps}V{LIVE + HEIGHT:.1f}z"
        drawn.append(f'<path d="{path}" fill="{colour}" fill-opacity="0.25" stroke="{colour}"/>')
        at = f'x="{LEFT + 6:.0f}" y="{16 + 16 * number}"'
        drawn.append(f'<text {at} class="name" fill="{colour}">{escape(name)}: {max(live, default=0):,} at most</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="graphad-timeline" role="img" '
        f'viewBox="0 0 {WIDTH:.0f} {LIVE + HEIGHT + 4:.0f}" width="{WIDTH:.0f}"><title>{escape(title)}</title>'
        f"<style>.graphad-timeline .name{{font:12px monospace}}</style>{''.join(drawn)}</svg>"
    )
