"""Fitting a derivative into a memory budget: plans are compared by the memory that the compiled code will take.

The planner's model counts bytes of nodes; the kernel's memory follows from its loops. So a plan is written down as a
graph, its loops are decided, and the block that they need is what counts. The planner's target moves until the block
and the results fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from graphad.ad import transform
from graphad.ad.transform import Names
from graphad.analysis.cost import typical_sizes
from graphad.errors import MemoryBudgetError, describe
from graphad.ir.graph import Graph
from graphad.loops.memory import Footprint, footprint
from graphad.loops.schedule import schedule
from graphad.plan.budget import CurvePoint, MemoryCurve, MemoryReport, Timeline, extra_flops, values
from graphad.plan.memory import Budget, MemoryPlan, bytes_text, parse_budget
from graphad.plan.modes import Alternative, Decision
from graphad.plan.rematerialise import Rematerialisation
from graphad.plan.tasks import GraphTasks, by_level, graph_tasks, marked
from passes.checkpoint import Checkpoint, scheduled
from passes.executable import executable
from passes.inline import inline
from passes.pipeline import DEFAULT, run_pipeline

ROUNDS = 6  # plans of which the loops are decided
CLOSE = 0.97  # of the budget: nearer is not tried
CLEARLY = 0.8


def planner_of(
    graph: Graph, sizes: Mapping[str, int] | None = None, bytes_per_element: int | None = None
) -> tuple[GraphTasks, Rematerialisation, bool]:
    """The tasks of a graph and their planner; in the order of nodes or, where that takes clearly less, of their levels.

    Reverse sweeps stand in a good order as they are made; what is derived of them does not.
    """
    found = []
    for levels in (False, True):
        tasks = graph_tasks(by_level(graph) if levels else graph, sizes, bytes_per_element)
        found.append((tasks, Rematerialisation(tasks.problem), levels))
    first, other = (f[1].everything.peak for f in found)
    return found[other < CLEARLY * first]


class Fitted(NamedTuple):
    """A pass that writes the plan down, and the record of it."""

    checkpoint: Checkpoint
    report: MemoryReport


def memory_decision(report: MemoryReport) -> Decision:
    """The record of a budget among the other decisions."""
    choices = (
        Alternative("everything stored", "0 flops more", report.before.peak, "bytes"),
        Alternative(report.method, f"{report.extra:,} flops more", report.after.peak, "bytes"),
    )
    return Decision("memory", report.method, choices, report.reason)


class Candidate(NamedTuple):
    """A plan, and the memory of its code."""

    plan: MemoryPlan
    memory: Footprint


class Fitting:
    """The search for the cheapest plan of one optimised graph within a budget."""

    def __init__(self, graph: Graph) -> None:
        self.digest = graph.digest
        self.graph = executable(inline(graph))
        self.sizes = typical_sizes(graph)
        self.tasks, self.planner, self.levels = planner_of(self.graph)

    @cached_property
    def everything(self) -> Footprint:
        """The memory of the code as it is without a budget."""
        return footprint(schedule(self.graph), self.sizes)

    def fit(self, budget: Budget | None) -> Fitted:
        """The cheapest plan found; raises `MemoryBudgetError` where none fits."""
        limit = None if budget is None else parse_budget(budget, self.everything.peak)
        if limit is not None and self.everything.peak <= limit and not marked(self.graph):
            return self._report(limit, Candidate(self.planner.everything, self.everything), Checkpoint())
        found = self.search(limit)
        if found is None:
            assert limit is not None
            raise self._refusal(limit)
        return self._report(limit or 0, found, Checkpoint(found.plan, self.digest, self.levels))

    def search(self, limit: int | None) -> Candidate | None:
        """The cheapest candidate whose code keeps a limit; None: the marks alone decide."""
        if limit is None:
            return self._candidate(self.planner.relaxed)
        target, above = limit, 0
        best: Candidate | None = None
        for _ in range(ROUNDS):
            plan = self.planner.plan(target)
            if plan is None:
                target = int((target + max(above, self.planner.least.peak)) / 2) if above else self.planner.least.peak
                if above and target >= above:
                    break
                continue
            found = self._candidate(plan)
            fits = found.memory.peak <= limit
            if fits and (best is None or found.plan.extra < best.plan.extra):
                best = found
            if fits and (found.memory.peak >= CLOSE * limit or plan.extra == 0):
                break
            if not fits:
                above = target
            following = int(target * limit / found.memory.peak)
            if above and following >= above:
                following = (target + above) // 2 if fits else int(0.97 * target)
            if following == target:
                break
            target = following
        return best or self._smallest(limit)

    def _smallest(self, limit: int) -> Candidate | None:
        found = self._candidate(self.planner.least)
        return found if found.memory.peak <= limit else None

    def _candidate(self, plan: MemoryPlan) -> Candidate:
        written = scheduled(self.tasks, plan.steps)
        return Candidate(plan, footprint(schedule(written), self.sizes))

    def _refusal(self, limit: int) -> MemoryBudgetError:
        least = self._candidate(self.planner.least)
        live = least.memory.live
        place = live.index(max(live))
        at = f" at {', '.join(f'{n}={v}' for n, v in self.sizes.items())}" if self.sizes else ""
        limiting = f"{least.memory.items[place]} {place + 1} of {len(live)}, where {bytes_text(live[place])} are live"
        return MemoryBudgetError(
            describe(
                f"`{self.graph.name}` can not keep a memory budget of {bytes_text(limit)}{at}",
                expected=f"at least {bytes_text(least.memory.peak)} ({least.memory.peak:,} bytes)",
                got=f"{limit:,} bytes; limited by {limiting}, {bytes_text(least.memory.results)} of it results",
                fix="raise the budget, or make the largest step smaller (a shorter batch)",
            )
        )

    def _report(self, limit: int, found: Candidate, checkpoint: Checkpoint) -> Fitted:
        stored, again = values(self.tasks, found.plan)
        before, after = (Timeline(f.live, f.items, f.peak) for f in (self.everything, found.memory))
        extra = extra_flops(self.tasks, found.plan)
        price = extra / max(self.flops, 1)
        reason = f"{bytes_text(after.peak)} of {bytes_text(before.peak)} for {price:.1%} more flops"
        report = MemoryReport(
            limit, before, after, self.flops, extra, stored, again, found.plan.method, reason
        )
        return Fitted(checkpoint, report)

    @property
    def flops(self) -> int:
        """Of the derivative without recomputation."""
        return sum(self.tasks.flops)


def plan_memory(
    graph: Graph,
    budgets: Sequence[Budget],
    wrt: Names = None,
    of: str | None = None,
    *,
    sizes: Mapping[str, int] | None = None,
    bytes_per_element: int | None = None,
) -> MemoryCurve:
    """What a gradient's memory costs: for each budget the peak, the extra operations, and what is stored.

    Nothing is compiled or run, so the graph may be far larger than this machine. Bytes are those of the planner's
    model, in which fused operations take none; the memory of compiled code is within some per cent.

    Arguments:
        budgets: as for `memory_budget=`: bytes, texts such as "1.5 GiB", or fractions of what storing everything takes.
        wrt, of: as for `value_and_grad`.
        sizes: values of named sizes; others are at their hints.
        bytes_per_element: of floats, whatever their dtype: 2 plans half precision.

    >>> import graphad as ga
    >>> import numpy as np
    >>> g = ga.Graph("deep")
    >>> x, w = g.input("x", shape=(512, 64)), g.input("w", shape=(64, 64))
    >>> for _ in range(8):
    ...     x = np.tanh(x @ w)
    >>> g.output("y", x.sum())
    >>> curve = plan_memory(g, [1.0, 0.6], wrt="w")
    >>> [(point.peak <= 0.6 * curve.everything, point.extra > 0) for point in curve.points]
    [(False, False), (True, True)]
    """
    simple = run_pipeline(graph.freeze(), DEFAULT)[0].freeze()
    derived = transform.value_and_grad(simple, wrt, of)
    optimized = executable(inline(run_pipeline(derived, DEFAULT)[0]))
    tasks, planner, _ = planner_of(optimized, sizes, bytes_per_element)
    whole, flops = planner.relaxed.peak, sum(tasks.flops)
    points = []
    for budget in budgets:
        limit = whole if budget == 1 else parse_budget(budget, whole)
        plan = planner.plan(limit)
        if plan is None:
            points.append(CurvePoint(limit, 0, 0, 0.0, (), (), f"at least {bytes_text(planner.least.peak)} are needed"))
            continue
        stored, again = values(tasks, plan)
        extra = extra_flops(tasks, plan)
        points.append(CurvePoint(limit, plan.peak, extra, extra / max(flops, 1), stored, again, plan.method))
    return MemoryCurve(whole, planner.least.peak, flops, tuple(points))
