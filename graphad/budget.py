"""Fitting a derivative into a memory budget: plans are compared by the memory that the compiled code will take.

The planner's model counts bytes of nodes; the kernel's memory follows from its loops. So a plan is written down as a
graph, its loops are decided, and the block that they need is what counts. The planner's target moves until the block
and the results fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

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
from graphad.plan.rematerialise import SMALL, Exact, Rematerialisation
from graphad.plan.sweep_choice import Choice, SweepChoices
from graphad.plan.tasks import GraphTasks, by_level, graph_tasks, marked, other_turns
from passes.base import Pass
from passes.checkpoint import Checkpoint, scheduled
from passes.checkpoints import Checkpoints, extents_of, inside_decided
from passes.executable import executable
from passes.inline import inline
from passes.pipeline import DEFAULT, checkpoints_of, run_pipeline, simplified

ROUNDS = 6  # plans of which the loops are decided
CLOSE = 0.97  # of the budget: nearer is not tried
CLEARLY = 0.8
PARTS = 8  # halvings of a limit that the sweeps of loops are given


def planner_of(graph: Graph, bytes_per_element: int | None = None) -> tuple[GraphTasks, Rematerialisation, bool]:
    """The tasks of a graph and their planner; in the order of nodes or, where that takes clearly less, of their levels.

    Reverse sweeps stand in a good order as they are made; what is derived of them does not.
    """
    found = []
    for levels in (False, True):
        tasks = graph_tasks(by_level(graph) if levels else graph, None, bytes_per_element)
        found.append((tasks, Rematerialisation(tasks.problem), levels))
    first, other = (f[1].everything.peak for f in found)
    return found[other < CLEARLY * first]


class Fitted(NamedTuple):
    """The passes, with those that write the plan down, and the record of it."""

    passes: tuple[Pass, ...]
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

    def __init__(self, graph: Graph, bytes_per_element: int | None = None) -> None:
        self.digest = graph.digest
        self.graph = executable(inline(graph))
        self.sizes = typical_sizes(graph)
        self.tasks, self.planner, self.levels = planner_of(self.graph, bytes_per_element)
        turns = other_turns(self.tasks.problem) if self.levels else ()
        self.others = [Rematerialisation(replace(self.tasks.problem, turn=turn)) for turn in turns]
        if self.tasks.problem.turn <= SMALL:
            self.others.append(Exact(self.tasks.problem))

    @cached_property
    def everything(self) -> Footprint:
        """The memory of the code as it is without a budget."""
        return footprint(schedule(self.graph), self.sizes)

    @cached_property
    def plain(self) -> Candidate:
        """The code without a budget: as it is or, with the user's marks, as they say."""
        if marked(self.graph):
            return self._candidate(self.planner.relaxed)
        return Candidate(self.planner.everything, self.everything)

    def keeps(self, limit: int) -> bool:
        """Whether the code as it is keeps a limit."""
        return self.everything.peak <= limit and not marked(self.graph)

    def found(self, limit: int | None) -> Candidate | None:
        """The code as it is where it keeps a limit, or else what `search` finds."""
        if limit is not None and self.keeps(limit):
            return Candidate(self.planner.everything, self.everything)
        return self.search(limit)

    def checkpoint(self, found: Candidate) -> Checkpoint:
        """The pass that writes a candidate down."""
        if found.memory is self.everything:
            return Checkpoint()
        return Checkpoint(found.plan, self.digest, self.levels)

    def search(self, limit: int | None) -> Candidate | None:
        """The cheapest candidate whose code keeps a limit; None: the marks alone decide."""
        if limit is None:
            return self.plain
        found = [one for planner in (self.planner, *self.others) if (one := self._search(planner, limit)) is not None]
        return min(found, key=lambda one: (one.plan.extra, one.memory.peak)) if found else None

    def _search(self, planner: Rematerialisation, limit: int) -> Candidate | None:
        """The cheapest candidate of one planner whose code keeps a limit."""
        target, above = limit, 0
        best: Candidate | None = None
        for _ in range(ROUNDS):
            plan = planner.plan(target)
            if plan is None:
                target = int((target + max(above, planner.least.peak)) / 2) if above else planner.least.peak
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
        return best or self._smallest(planner, limit)

    def _smallest(self, planner: Rematerialisation, limit: int) -> Candidate | None:
        found = self._candidate(planner.least)
        return found if found.memory.peak <= limit else None

    def _candidate(self, plan: MemoryPlan) -> Candidate:
        written = scheduled(self.tasks, plan.steps)
        return Candidate(plan, footprint(schedule(written), self.sizes))

    @cached_property
    def least(self) -> Candidate:
        """The candidate with the smallest peak found, whatever it costs."""
        found = [self._candidate(planner.least) for planner in (self.planner, *self.others)]
        return min(found, key=lambda one: one.memory.peak)

    def refusal(self, limit: int) -> MemoryBudgetError:
        """The error that says what the least possible budget is, and what limits it."""
        least = self.least
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

    @property
    def flops(self) -> int:
        """Of the derivative without recomputation."""
        return sum(self.tasks.flops)


class Setting(NamedTuple):
    """A choice of schedules for the sweeps of loops, the passes with it, and what they make."""

    choice: Choice
    passes: tuple[Pass, ...]
    fitting: Fitting

    def flops_with(self, found: Candidate) -> int:
        """The floating-point operations that run because of the schedules and of a plan."""
        return self.choice.flops + extra_flops(self.fitting.tasks, found.plan)


class Settings:
    """One graph with the schedules of its sweeps chosen in several ways."""

    def __init__(self, graph: Graph, passes: Sequence[Pass], bytes_per_element: int | None = None) -> None:
        self.bytes_per_element = bytes_per_element
        self.extents = extents_of(graph)
        self.passes = tuple(passes)
        found = checkpoints_of(passes)
        self.place, self.one = found or (len(self.passes), Checkpoints())
        self.before = run_pipeline(graph, self.passes[: self.place])[0]
        inside = inside_decided(self.before, self.one.limit, self.extents) if found else Graph(graph.name)
        self.choices = SweepChoices(executable(inside), self.extents.typical, bytes_per_element)
        self.made: dict[tuple[tuple[Any, ...], ...], Setting] = {}

    @cached_property
    def default(self) -> Setting:
        """The schedules as they are without a budget."""
        choice = self.choices.default(self.one.limit, self.extents.sure)
        return Setting(choice, self.passes, self._fitting(self.passes[self.place :]))

    def setting(self, choice: Choice) -> Setting:
        """A choice of schedules, and the graph after passes with it."""
        if choice.schedules == self.default.choice.schedules:
            return self.default
        if choice.schedules not in self.made:
            chosen = replace(self.one, chosen=choice.schedules, digest=self.before.digest)
            rest = (chosen, *self.passes[self.place + 1 :])
            self.made[choice.schedules] = Setting(choice, (*self.passes[: self.place], *rest), self._fitting(rest))
        return self.made[choice.schedules]

    def _fitting(self, rest: Sequence[Pass]) -> Fitting:
        return Fitting(run_pipeline(self.before, rest)[0], self.bytes_per_element)

    def exact(self, limit: int) -> Setting | None:
        """The cheapest schedules with which the code keeps a limit, with nothing else run again; None if none do.

        The target moves by what the code takes more or less than the model of the graph says.
        """
        target, best = limit, None
        for _ in range(ROUNDS):
            choice = self.choices.within(target)
            if choice is None:
                break
            found = self.setting(choice)
            over = found.fitting.plain.memory.peak - limit
            if over <= 0 and (best is None or choice.flops < best.choice.flops):
                best = found
            if over <= 0 and self.choices.within(target - over) in (None, choice):
                break
            target -= over
        return best

    def fit(self, budget: Budget | None) -> Fitted:
        """The cheapest schedules and plan found; raises `MemoryBudgetError` where none fits."""
        default = self.default.fitting
        limit = None if budget is None else parse_budget(budget, default.everything.peak)
        if limit is None or default.keeps(limit) or not self.choices.sweeps:
            found = default.found(limit)
            if found is None:
                assert limit is not None
                raise default.refusal(limit)
            return self._fitted(limit or 0, self.default, found)
        best = self.exact(limit)
        cheapest: tuple[int, Setting, Candidate] | None = None
        if best is not None:
            cheapest = best.flops_with(best.fitting.plain), best, best.fitting.plain
        tried = [self.setting(choice) for choice in self.options(limit)]
        for one in tried:
            if cheapest is not None and one.choice.flops >= cheapest[0]:
                break
            found = one.fitting.found(limit)
            if found is not None:
                cost = one.flops_with(found)
                if cheapest is None or cost < cheapest[0]:
                    cheapest = cost, one, found
        if cheapest is None:
            raise min((one.fitting for one in tried), key=lambda f: f.least.memory.peak).refusal(limit)
        return self._fitted(limit, *cheapest[1:])

    def options(self, limit: int) -> list[Choice]:
        """Choices worth a try where the rest of the graph may run again: sweeps store up to parts of a limit."""
        found = [self.choices.within(limit >> part, around=False) for part in range(PARTS)]
        unique = dict.fromkeys([*[one for one in found if one is not None], self.choices.least()])
        return sorted(unique, key=lambda one: one.flops)

    def _fitted(self, limit: int, setting: Setting, found: Candidate) -> Fitted:
        default, fitting = self.default.fitting, setting.fitting
        stored, again = values(fitting.tasks, found.plan)
        before, after = (Timeline(f.live, f.items, f.peak) for f in (default.everything, found.memory))
        sweeps = setting.choice.flops - self.default.choice.flops
        extra = sweeps + extra_flops(fitting.tasks, found.plan)
        price = extra / max(default.flops, 1)
        reason = f"{bytes_text(after.peak)} of {bytes_text(before.peak)} for {price:.1%} more flops"
        method = found.plan.method
        if setting is not self.default:
            only = found.plan is fitting.planner.everything
            method = "schedules of loops" if only else f"schedules of loops, {method}"
        report = MemoryReport(
            limit, before, after, default.flops, extra, stored, again, method, reason,
            self.choices.records(setting.choice),
        )  # fmt: skip
        return Fitted((*setting.passes, fitting.checkpoint(found)), report)


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
    hinted = graph.copy()
    hinted.hints.update(sizes or {})
    simple = simplified(hinted)
    settings = Settings(transform.value_and_grad(simple, wrt, of), DEFAULT, bytes_per_element)
    default = settings.default
    whole = default.fitting.planner.relaxed.peak
    points = []
    for budget in budgets:
        limit = whole if budget == 1 else parse_budget(budget, whole)
        points.append(_point(settings, limit))
    least = default.fitting.planner.least.peak
    if settings.choices.sweeps:
        least = min(least, settings.setting(settings.choices.least()).fitting.planner.least.peak)
    return MemoryCurve(whole, least, default.fitting.flops, tuple(points))


def _point(settings: Settings, limit: int) -> CurvePoint:
    """The cheapest schedules and plan within a limit, by the planner's model."""
    default = settings.default
    tried = [default]
    if settings.choices.sweeps and default.fitting.planner.relaxed.peak > limit:
        exact = settings.choices.within(limit)
        choices = [*([exact] if exact is not None else []), *settings.options(limit)]
        tried += [settings.setting(choice) for choice in choices]
    found = [(one, plan) for one in tried if (plan := one.fitting.planner.plan(limit)) is not None]
    if not found:
        least = min(one.fitting.planner.least.peak for one in tried)
        return CurvePoint(limit, 0, 0, 0.0, (), (), f"at least {bytes_text(least)} are needed")

    def again(one: Setting, plan: MemoryPlan) -> int:
        return one.choice.flops - default.choice.flops + extra_flops(one.fitting.tasks, plan)

    one, plan = min(found, key=lambda pair: again(*pair))
    stored, recomputed = values(one.fitting.tasks, plan)
    extra = again(one, plan)
    overhead = extra / max(default.fitting.flops, 1)
    sweeps = settings.choices.records(one.choice)
    return CurvePoint(limit, plan.peak, extra, overhead, stored, recomputed, plan.method, sweeps)
