"""What a memory budget came to, as plain data for `explain()`, drawings and tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from graphad.ir.views import view
from graphad.plan.memory import MemoryPlan
from graphad.plan.tasks import GraphTasks


@dataclass(frozen=True)
class Value:
    """A forward value that the reverse sweep needs: its node, its bytes, and what a run of it costs.

    Arguments:
        name: the node and its operation.
        bytes: of the value.
        cost: floating-point operations of one run.
        runs: how often it is computed.
        source: the user's line, empty where unknown.
    """

    name: str
    bytes: int
    cost: int
    runs: int
    source: str


@dataclass(frozen=True)
class Timeline:
    """Bytes live at each nest or call of the compiled code (or at each task of a plan), and what these are."""

    live: tuple[int, ...]
    items: tuple[str, ...]
    peak: int


@dataclass(frozen=True)
class SweepRecord:
    """The schedule of the reverse sweep of a loop.

    Arguments:
        name: of the loop's body.
        schedule: as it stands in the graph; `text` in words.
        steps: of the loop.
        bytes: that the sweep stores.
        extra: steps that run beyond those of the loop itself; `flops` are their floating-point operations.
    """

    name: str
    schedule: tuple[Any, ...]
    text: str
    steps: int
    bytes: int
    extra: int
    flops: int


@dataclass(frozen=True)
class MemoryReport:
    """A budget, the schedule that keeps it, and its price.

    Arguments:
        budget: bytes; 0 where only the user's marks count.
        before, after: the memory without and with the budget: scratch block and results.
        flops: of the derivative without recomputation; `extra` come on top.
        stored: forward values that are kept for the reverse sweep.
        recomputed: forward values that are computed again.
        method: how the schedule was found.
        reason: why it is this one.
        sweeps: the schedules of loops for which nobody asked for one.
    """

    budget: int
    before: Timeline
    after: Timeline
    flops: int
    extra: int
    stored: tuple[Value, ...]
    recomputed: tuple[Value, ...]
    method: str
    reason: str
    sweeps: tuple[SweepRecord, ...] = ()


@dataclass(frozen=True)
class CurvePoint:
    """One budget of a trade-off curve.

    Arguments:
        budget: bytes asked for.
        peak: bytes that the plan takes; 0 where the budget can not be met.
        extra: floating-point operations of recomputation.
        overhead: these as a part of what the derivative takes without recomputation; infinite where the budget can not
            be met.
        stored, recomputed: the forward values, as in `MemoryReport`.
        method: how the schedule was found; why there is none where the budget can not be met.
        sweeps: as in `MemoryReport`.
    """

    budget: int
    peak: int
    extra: int
    overhead: float
    stored: tuple[Value, ...]
    recomputed: tuple[Value, ...]
    method: str
    sweeps: tuple[SweepRecord, ...] = ()


@dataclass(frozen=True)
class MemoryCurve:
    """What memory costs: a point for each budget, and what storing everything takes.

    Arguments:
        everything: bytes without recomputation.
        least: the fewest bytes for which a schedule was found.
        flops: of the derivative without recomputation.

    Printed, and in notebooks, it is a table.
    """

    everything: int
    least: int
    flops: int
    points: tuple[CurvePoint, ...]

    def __str__(self) -> str:
        return str(view("curve_text", self))

    def _repr_html_(self) -> str:
        return str(view("curve_html", self))


def values(tasks: GraphTasks, plan: MemoryPlan) -> tuple[tuple[Value, ...], tuple[Value, ...]]:
    """The forward values of a schedule that backward tasks read: those stored, and those computed again."""
    problem = tasks.problem
    runs: dict[int, int] = {}
    for step in plan.steps:
        runs[step] = runs.get(step, 0) + 1
    read = {a for task in problem.tasks[problem.turn :] for a in task.args if a < problem.turn}
    late = _after_turn(plan.steps, problem.turn)
    found = [_value(tasks, t, runs[t]) for t in sorted(read | {t for t in runs if runs[t] > 1})]
    numbers = sorted(read | {t for t in runs if runs[t] > 1})
    again = [v for t, v in zip(numbers, found, strict=True) if v.runs > 1]
    stored = [v for t, v in zip(numbers, found, strict=True) if v.runs == 1 and t not in late]
    return tuple(stored), tuple(again)


def extra_flops(tasks: GraphTasks, plan: MemoryPlan) -> int:
    """The floating-point operations of what a schedule runs again."""
    return sum(tasks.flops[step] for step in plan.steps) - sum(tasks.flops)


def _after_turn(steps: tuple[int, ...], turn: int) -> set[int]:
    """Forward tasks that run for the first time when the reverse sweep has begun: nothing of them is stored."""
    begun, seen, late = False, set[int](), set[int]()
    for step in steps:
        begun = begun or step >= turn
        if begun and step < turn and step not in seen:
            late.add(step)
        seen.add(step)
    return late


def _value(tasks: GraphTasks, number: int, runs: int) -> Value:
    task, flops = tasks.problem.tasks[number], tasks.flops[number]
    node = tasks.graph.nodes[tasks.nodes[number]]
    return Value(task.name, task.bytes, flops, runs, str(node.source or ""))
