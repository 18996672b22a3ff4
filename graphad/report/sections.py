"""The tables of an explanation as data: printed by `explain`, and shown on its page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

from graphad.analysis.cost import graph_flops, typical_sizes
from graphad.ir.graph import Graph
from graphad.ir.sizes import Extent
from graphad.loops.memory import footprint
from graphad.loops.schedule import schedule
from graphad.loops.summary import Nest, summarize
from graphad.plan.budget import MemoryCurve, SweepRecord, Timeline, Value
from graphad.plan.memory import bytes_text
from graphad.plan.modes import Decision, Plan
from graphad.report.timeline import scratch_arrays
from passes.inline import inline

if TYPE_CHECKING:
    from graphad.compile import CompiledFunction

MEMORY = "memory"
SCRATCH = "scratch memory, kept from call to call"
CHOSEN, OTHER = "* ", "  "  # in front of candidates


@dataclass(frozen=True)
class Section:
    """A table with a title; cells may have several lines.

    `right` names the columns of numbers. A last column that is `long` is shown below each row.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: tuple[str, ...] = ()
    long: bool = False


def sections(function: CompiledFunction, *, passes: bool, loops: bool, memory: bool = False) -> list[Section]:
    """The tables about a compiled function.

    Arguments:
        passes: nodes and floating-point operations around each pass.
        loops: the loop nests and the scratch memory.
        memory: what is live in the course of a call, and what a memory budget stores and computes again.
    """
    found = [header(function), plan_section(function.plan)]
    if function.graph.size_names or function.graph.requirements:
        found.append(sizes_section(function.graph))
    if passes:
        found.append(passes_section(function))
    if loops:
        found.append(loops_section(summarize(schedule(inline(function.optimized), function.recipe.threads))))
        if function.generated.slots:
            found.append(scratch_section(function))
    if memory:
        found += memory_sections(function)
    return found


def header(function: CompiledFunction) -> Section:
    """Arguments and results, and the size of what runs."""
    graph, optimized = function.graph, function.optimized
    named = [*graph.inputs.items(), *((f"-> {name}", i) for name, i in graph.outputs.items())]
    rows = [(name, str(graph.nodes[i].type), str(graph.nodes[i].source or "")) for name, i in named]
    sizes = ", ".join(f"{n}={v}" for n, v in typical_sizes(graph).items())
    flops = f"{graph_flops(optimized):,} flops" + (f" at {sizes}" if sizes else "")
    rows.append(("after passes", f"{len(optimized.nodes):,} nodes", flops))
    return Section(function.name, ("argument or result", "type", "declared at"), tuple(rows))


def plan_section(plan: Plan) -> Section:
    """What was decided, among what, and why."""
    rows = tuple((d.subject, counts(d), d.choice, "\n".join(why(d))) for d in plan.decisions)
    return Section("plan", ("decision", "elements", "choice", "reason, and candidates"), rows, long=True)


def why(decision: Decision) -> list[str]:
    """The reason of a decision, where it would be otherwise, and its candidates: a line each."""
    threshold = [decision.threshold] if decision.threshold else []
    return [decision.reason, *threshold, *candidates(decision)]


def counts(decision: Decision) -> str:
    """The elements that go in and come out, such as `100 -> 3`."""
    if decision.inputs is None or decision.outputs is None:
        return ""
    return f"{_count(decision.inputs)} -> {_count(decision.outputs)}"


def candidates(decision: Decision) -> list[str]:
    """The alternatives of a decision in line: the chosen one marked, its value, where that comes from.

    >>> from graphad.plan.modes import Alternative
    >>> options = (Alternative("forward", "10 x 3", 30, "products"), Alternative("reverse", "3 x 3", 9, "products"))
    >>> print("\\n".join(candidates(Decision("J", "reverse", options, "fewer"))))
      forward  30 products: 10 x 3
    * reverse   9 products: 3 x 3
    """
    options = decision.alternatives
    names, values = max((len(o.choice) for o in options), default=0), [f"{o.value:,}" for o in options]
    width = max(map(len, values), default=0)
    lines = []
    for option, value in zip(options, values, strict=True):
        unit = option.cost if option.cost.startswith(option.unit) else option.unit
        cost = f": {option.cost}" if option.cost not in (unit, str(option.value)) else ""
        chosen = decision.choice == option.choice or decision.choice.endswith(f": {option.choice}")
        sign = CHOSEN if chosen else OTHER
        lines.append(f"{sign}{option.choice:<{names}}  {value:>{width}} {unit}{cost}")
    return lines


def _count(extent: Extent) -> str:
    return f"{extent:,}" if isinstance(extent, int) else str(extent)


def sizes_section(graph: Graph) -> Section:
    """Named sizes and what calls must satisfy."""
    rows = [(name, str(graph.hints.get(name, "none")), "") for name in graph.size_names]
    wanted: dict[str, str] = {}
    for requirement in graph.requirements:
        relation = "==" if requirement.kind == "equal" else "<="
        wanted.setdefault(f"{requirement.left} {relation} {requirement.right}", requirement.reason)
    rows += [(text, "", why) for text, why in wanted.items()]
    return Section("sizes, taken from the arguments of each call", ("size or requirement", "hint", "why"), tuple(rows))


def passes_section(function: CompiledFunction) -> Section:
    """What each pass did; the runs that left all counts alone in one row."""
    numbers = ("nodes", "-> nodes", "flops", "-> flops", "ms")
    rows, idle = [], []
    for one in function.statistics:
        counts = (one.nodes_before, one.nodes_after, one.flops_before, one.flops_after)
        if counts[::2] == counts[1::2]:
            idle.append(one.seconds)
        else:
            rows.append((one.name, *(f"{count:,}" for count in counts), f"{1000 * one.seconds:.2f}"))
    if idle:
        many = f"{len(idle)} run{'s' if len(idle) > 1 else ''} without effect on these"
        rows.append((many, "", "", "", "", f"{1000 * sum(idle):.2f}"))
    return Section("passes", ("pass", *numbers), tuple(rows), numbers)


def loops_section(nests: Sequence[Nest]) -> Section:
    """The loop nests, and what each keeps in memory."""
    numbers = ("statements", "operations", "bytes moved")
    rows = []
    for number, nest in enumerate(nests, start=1):
        over = nest.nesting or ", ".join(nest.calls) or "-"
        stored = "\n".join(f"{s.name}[{', '.join(map(str, s.shape))}]: {s.reason}" for s in nest.stored)
        rows.append((str(number), over, f"{nest.statements:,}", f"{nest.operations:,}", f"{nest.moved:,}", stored))
    columns = ("nest", "loops", *numbers, "in memory, and why")
    return Section("loops, sizes at their hints", columns, tuple(rows), numbers)


def scratch_section(function: CompiledFunction) -> Section:
    """The places in the scratch block at the hints; the sum counts whole cache lines."""
    arrays = scratch_arrays(function.generated.slots, typical_sizes(function.graph))
    rows = [(f"{a.begin:,}", f"{a.end - a.begin:,}", a.name, f"{a.first + 1} to {a.last + 1}") for a in arrays]
    rows.append(("", f"{function.scratch_bytes():,}", "in all", ""))
    return Section(SCRATCH, ("at", "bytes", "array", "needed in steps"), tuple(rows), ("at", "bytes"))


TIMELINE = 24  # rows of the timeline
BAR = 40  # characters of its longest bar


def curve_section(curve: MemoryCurve) -> Section:
    """What each budget costs."""
    columns = ("budget", "peak", "of everything", "more flops", "stored", "recomputed", "found by")
    rows = [
        (
            bytes_text(point.budget), bytes_text(point.peak), f"{point.peak / curve.everything:.1%}",
            f"{point.overhead:.1%}", str(len(point.stored)), str(len(point.recomputed)), point.method,
        )
        if isfinite(point.overhead) else (bytes_text(point.budget), *[""] * 5, point.method)
        for point in curve.points
    ]  # fmt: skip
    title = f"{bytes_text(curve.everything)} and {curve.flops:,} flops with everything stored"
    return Section(title, columns, tuple(rows), columns[:-1])


def memory_sections(function: CompiledFunction) -> list[Section]:
    """The bytes that are live in the course of a call, and what a memory budget or marks decided."""
    report = function.plan.memory
    if report is None:
        found = footprint(schedule(inline(function.optimized), function.recipe.threads), typical_sizes(function.graph))
        return [_timeline("memory without a budget", Timeline(found.live, found.items, found.peak), found.peak)]
    most = max(report.before.peak, report.after.peak)
    price = (
        ("budget", bytes_text(report.budget) if report.budget else "none: marks only"),
        ("peak without it", f"{report.before.peak:,} bytes"),
        ("peak", f"{report.after.peak:,} bytes, {report.after.peak / max(report.before.peak, 1):.1%} of it"),
        ("operations", f"{report.flops:,} flops and {report.extra:,} again, {report.extra / max(report.flops, 1):.1%}"),
        ("found by", report.method),
    )
    return [
        Section(MEMORY, ("what", "value"), price),
        *([_sweeps(report.sweeps)] if report.sweeps else []),
        _timeline("live bytes without the budget", report.before, most),
        _timeline("live bytes with the budget", report.after, most),
        _values("stored for the reverse sweep", report.stored),
        _values("computed again", report.recomputed),
    ]


def _timeline(title: str, timeline: Timeline, most: int) -> Section:
    """A bar for every few nests and calls, each at the largest of its values."""
    count = len(timeline.live)
    rows = []
    for row in range(min(count, TIMELINE)):
        first, last = row * count // min(count, TIMELINE), (row + 1) * count // min(count, TIMELINE)
        live = max(timeline.live[first:last])
        bar = "#" * round(BAR * live / max(most, 1))
        rows.append((f"{first + 1}-{last}" if last - first > 1 else str(last), bytes_text(live), bar))
    return Section(title, ("nests and calls", "live", ""), tuple(rows), ("live",))


def _sweeps(found: tuple[SweepRecord, ...]) -> Section:
    """The schedules of loops: the states or values that each stores, and the steps that it runs again."""
    rows = [(s.name, f"{s.steps:,}", s.text, bytes_text(s.bytes), f"{s.extra:,}", f"{s.flops:,}") for s in found]
    numbers = ("steps", "bytes", "steps again", "flops")
    return Section("reverse sweeps of loops", ("loop", "steps", "stored", *numbers[1:]), tuple(rows), numbers)


def _values(title: str, found: tuple[Value, ...]) -> Section:
    rows = [(v.name, bytes_text(v.bytes), f"{v.cost:,}", str(v.runs), v.source) for v in found]
    total = sum(v.bytes for v in found)
    rows.append(("in all", bytes_text(total), f"{sum(v.cost * (v.runs - 1) for v in found):,} again", "", ""))
    columns = ("node", "bytes", "flops of a run", "runs", "declared at")
    return Section(title, columns, tuple(rows), ("bytes", "flops of a run", "runs"))
