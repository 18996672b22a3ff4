"""A memory budget for a derivative: what the sweeps of its loops store, what runs again inside steps and around loops.

Schedules for all sweeps together come first (`graphad.plan.sweep_choice`), those of loops inside loops by a limit of
their own; with each choice the rest of the graph may run again (`graphad.fitting`), and so may parts of a step
(`graphad.body_plans`). What takes the fewest operations is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from math import inf
from typing import Any, NamedTuple

from graphad.ad import transform
from graphad.ad.transform import Names
from graphad.body_plans import BodyPlans
from graphad.fitting import ROUNDS, Candidate, Fitting
from graphad.ir.bodies import bodies, has_bodies
from graphad.ir.graph import Graph
from graphad.plan.budget import CurvePoint, MemoryCurve, MemoryReport, Timeline, extra_flops, values
from graphad.plan.memory import Budget, MemoryPlan, bytes_text, parse_budget
from graphad.plan.modes import Alternative, Decision
from graphad.plan.sweep_choice import Choice, SweepChoices
from passes.base import Pass
from passes.checkpoint import Checkpoint
from passes.checkpoints import Checkpoints, extents_of
from passes.executable import executable
from passes.pipeline import DEFAULT, after_passes, checkpoints_of, simplified

PARTS = 8  # halvings of a limit that the sweeps of loops are given
INSIDE = (4, 32)  # parts of a limit that each sweep inside a loop is given


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


class Setting(NamedTuple):
    """A choice of schedules for sweeps, the passes with it and with plans of bodies, and what they make."""

    choices: SweepChoices
    choice: Choice
    passes: tuple[Pass, ...]
    fitting: Fitting

    def flops_with(self, found: Candidate) -> int:
        """The floating-point operations that run with the schedules and a plan."""
        return self.fitting.flops + extra_flops(self.fitting.tasks, found.plan)

    def method(self, plan: MemoryPlan, default: Setting) -> str:
        """How the schedules, where they are not the default ones, and a plan were found."""
        if self is default:
            return plan.method
        inside = any(isinstance(one, Checkpoint) for one in self.passes)
        methods = ["schedules of loops"] * bool(self.choice.schedules) + ["plans inside loops"] * inside
        only = plan is self.fitting.planner.everything
        return ", ".join([*methods, *([plan.method] if not only or not methods else [])])


class Nested:
    """One graph with the sweeps inside its loops decided, and the others chosen in several ways.

    Arguments:
        graph: after the passes `before`.
        rest: the passes that follow; the first decides what sweeps store, if any does.
        inside: bytes for each sweep inside a loop; None: as without a budget.
    """

    def __init__(
        self, graph: Graph, before: tuple[Pass, ...], rest: tuple[Pass, ...],
        inside: int | None, bytes_per_element: int | None,
    ) -> None:  # fmt: skip
        self.graph, self.before, self.bytes_per_element = graph, before, bytes_per_element
        self.one = replace(rest[0], inside=inside) if rest and isinstance(rest[0], Checkpoints) else None
        self.rest = rest[1:] if self.one else rest
        self.extents = extents_of(graph)
        self.inside = self.one.inside_decided(graph) if self.one else Graph(graph.name)
        self.choices = SweepChoices(self.inside, executable(self.inside), self.extents.typical, bytes_per_element)
        self.made: dict[tuple[tuple[Any, ...], ...], Setting] = {}

    def setting(self, choice: Choice) -> Setting:
        """A choice of schedules, and the graph after passes with it."""
        if choice.schedules not in self.made:
            assert self.one is not None
            one = replace(self.one, chosen=choice.schedules, digest=self.graph.digest)
            self.made[choice.schedules] = self._made(choice, (one, *self.rest))
        return self.made[choice.schedules]

    @cached_property
    def default(self) -> Setting:
        """The schedules as they are without a budget."""
        if self.one is None:
            return self._made(Choice((), 0), self.rest)
        choice = self.choices.default(self.one.limit, self.extents.sure)
        return self._made(choice, (self.one, *self.rest))

    def _made(self, choice: Choice, rest: tuple[Pass, ...]) -> Setting:
        fitting = Fitting(after_passes(self.graph, rest), self.bytes_per_element)
        return Setting(self.choices, choice, (*self.before, *rest), fitting)

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
            if over <= 0 and (best is None or found.fitting.flops < best.fitting.flops):
                best = found
            if over <= 0 and self.choices.within(target - over) in (None, choice):
                break
            target -= over
        return best

    def options(self, limit: int) -> list[Choice]:
        """Choices worth a try where the rest of the graph may run again: sweeps store up to parts of a limit."""
        found = [self.choices.within(limit >> part, around=False) for part in range(PARTS)]
        unique = dict.fromkeys([*[one for one in found if one is not None], self.choices.least()])
        return sorted(unique, key=lambda one: one.flops)


def has_nested(graph: Graph) -> bool:
    """Whether a body holds loops."""
    return any(has_bodies(body) for node in graph.nodes for _, body in bodies(node.params))


class Settings:
    """One graph with the schedules of its sweeps chosen in several ways."""

    def __init__(self, graph: Graph, passes: Sequence[Pass], bytes_per_element: int | None = None) -> None:
        self.bytes_per_element = bytes_per_element
        found = checkpoints_of(passes)
        place = found[0] if found else len(passes)
        self.before, self.rest = tuple(passes[:place]), tuple(passes[place:])
        self.graph = after_passes(graph, self.before)
        self.usual = self._nested(None)
        self.default = self.usual.default

    def _nested(self, inside: int | None) -> Nested:
        return Nested(self.graph, self.before, self.rest, inside, self.bytes_per_element)

    def nested(self, limit: int) -> list[Nested]:
        """The graph with the sweeps inside loops as they are without a budget, and as parts of a limit allow."""
        found = {self.usual.inside.digest: self.usual}
        if has_nested(self.graph):
            for part in INSIDE:
                one = self._nested(max(limit // part, 1))
                found.setdefault(one.inside.digest, one)
        return list(found.values())

    def fit(self, budget: Budget | None) -> Fitted:
        """The cheapest schedules and plan found; raises `MemoryBudgetError` where none fits."""
        default = self.default
        limit = None if budget is None else parse_budget(budget, default.fitting.everything.peak)
        if limit is None or default.fitting.keeps(limit):
            found = default.fitting.found(limit)
            assert found is not None
            return self._fitted(limit or 0, default, found)
        cheapest: tuple[int, Setting, Candidate] | None = None
        tried = list[Setting]()
        for one in self._tried(limit):
            if cheapest is not None and one.fitting.flops >= cheapest[0]:
                continue
            for setting in filter(None, (one, self.planned_inside(one, limit))):
                tried.append(setting)
                found = setting.fitting.found(limit)
                if found is not None and (cheapest is None or setting.flops_with(found) < cheapest[0]):
                    cheapest = setting.flops_with(found), setting, found
        if cheapest is None:
            raise min((one.fitting for one in tried), key=lambda f: f.least.memory.peak).refusal(limit)
        return self._fitted(limit, *cheapest[1:])

    def _tried(self, limit: int) -> list[Setting]:
        """The settings worth a try, those first that may be cheap."""
        found = []
        for nested in self.nested(limit):
            if nested.choices.sweeps:
                exact = nested.exact(limit)
                found += [exact] if exact is not None else []
                found += [nested.setting(choice) for choice in nested.options(limit)]
            else:
                found.append(nested.default)
        return sorted(found, key=lambda one: (one.fitting.plain.memory.peak > limit, one.fitting.flops))

    def planned_inside(self, setting: Setting, limit: int) -> Setting | None:
        """A setting with the bodies of its loops planned, where these are what a limit lacks."""
        memory = setting.fitting.everything
        if memory.peak <= limit or not memory.inside or memory.around + memory.results > limit:
            return None
        found = BodyPlans(setting.fitting, self.bytes_per_element).within(limit)
        if found is None:
            return None
        fitting = Fitting(found.graph, self.bytes_per_element)
        return Setting(setting.choices, setting.choice, (*setting.passes, *found.passes), fitting)

    def _fitted(self, limit: int, setting: Setting, found: Candidate) -> Fitted:
        default, fitting = self.default.fitting, setting.fitting
        stored, again = values(fitting.tasks, found.plan)
        before, after = (Timeline(f.live, f.items, f.peak) for f in (default.everything, found.memory))
        extra = setting.flops_with(found) - default.flops
        price = extra / max(default.flops, 1)
        reason = f"{bytes_text(after.peak)} of {bytes_text(before.peak)} for {price:.1%} more flops"
        method = setting.method(found.plan, self.default)
        report = MemoryReport(
            limit, before, after, default.flops, extra, stored, again, method, reason,
            setting.choices.records(setting.choice),
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
    if settings.usual.choices.sweeps:
        smallest = settings.usual.setting(settings.usual.choices.least())
        least = min(least, smallest.fitting.planner.least.peak)
    return MemoryCurve(whole, least, default.fitting.flops, tuple(points))


def _point(settings: Settings, limit: int) -> CurvePoint:
    """The cheapest schedules and plan within a limit, by the planner's model."""
    default = settings.default
    tried = [default]
    usual = settings.usual
    if usual.choices.sweeps and default.fitting.planner.relaxed.peak > limit:
        exact = usual.choices.within(limit)
        choices = [*([exact] if exact is not None else []), *usual.options(limit)]
        tried += [usual.setting(choice) for choice in choices]
    found = [(one, plan) for one in tried if (plan := one.fitting.planner.plan(limit)) is not None]
    if not found:
        least = min(one.fitting.planner.least.peak for one in tried)
        return CurvePoint(limit, 0, 0, inf, (), (), f"at least {bytes_text(least)} are needed")

    def again(one: Setting, plan: MemoryPlan) -> int:
        return one.fitting.flops + extra_flops(one.fitting.tasks, plan) - default.fitting.flops

    one, plan = min(found, key=lambda pair: again(*pair))
    stored, recomputed = values(one.fitting.tasks, plan)
    extra = again(one, plan)
    overhead = extra / max(default.fitting.flops, 1)
    sweeps = one.choices.records(one.choice)
    return CurvePoint(limit, plan.peak, extra, overhead, stored, recomputed, one.method(plan, default), sweeps)
