"""Fitting one derivative into a memory budget: plans are compared by the memory that the compiled code will take.

The planner's model counts bytes of nodes; the kernel's memory follows from its loops. So a plan is written down as a
graph, its loops are decided, and the block that they need is what counts. The planner's target moves until the block
and the results fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

from graphad.analysis.cost import graph_flops, typical_sizes
from graphad.errors import MemoryBudgetError, describe
from graphad.ir.graph import Graph
from graphad.loops.memory import Footprint, footprint
from graphad.loops.schedule import schedule
from graphad.plan.memory import MemoryPlan, bytes_text
from graphad.plan.rematerialise import SMALL, Exact, Rematerialisation
from graphad.plan.tasks import GraphTasks, by_level, graph_tasks, marked, other_turns
from passes.checkpoint import Checkpoint, scheduled
from passes.executable import executable
from passes.inline import inline

ROUNDS = 6  # plans of which the loops are decided
CLOSE = 0.97  # of the budget: nearer is not tried
CLEARLY = 0.8


def planner_of(
    graph: Graph, sizes: Mapping[str, int], bytes_per_element: int | None = None
) -> tuple[GraphTasks, Rematerialisation, bool]:
    """The tasks of a graph and their planner; in the order of nodes or, where that takes clearly less, of their levels.

    Reverse sweeps stand in a good order as they are made; what is derived of them does not.
    """
    found = []
    for levels in (False, True):
        tasks = graph_tasks(by_level(graph, sizes) if levels else graph, sizes, bytes_per_element)
        found.append((tasks, Rematerialisation(tasks.problem), levels))
    first, other = (f[1].everything.peak for f in found)
    return found[other < CLEARLY * first]


class Candidate(NamedTuple):
    """A plan, and the memory of its code."""

    plan: MemoryPlan
    memory: Footprint


class Fitting:
    """The search for the cheapest plan of one optimised graph within a budget.

    Arguments:
        graph: the graph, or the body of a loop.
        bytes_per_element: of floats; None: as their dtypes say.
        around: for a body the named sizes of the graph around it.
    """

    def __init__(
        self, graph: Graph, bytes_per_element: int | None = None, around: Mapping[str, int] | None = None
    ) -> None:
        self.given = graph
        self.graph = executable(inline(graph))
        self.around = tuple((around or {}).items())
        self.sizes = typical_sizes(graph, around)
        self.tasks, self.planner, self.levels = planner_of(self.graph, self.sizes, bytes_per_element)
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
        return self.written(found.plan)

    def written(self, plan: MemoryPlan) -> Checkpoint:
        """The pass that writes a plan down."""
        return Checkpoint(plan, self.given.digest, self.levels, self.around)

    def search(self, limit: int | None) -> Candidate | None:
        """The cheapest candidate whose code keeps a limit; None: the marks alone decide."""
        if limit is None:
            return self.plain
        if self.everything.inside + self.everything.results > limit:  # nothing around a loop helps
            return None
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

    @cached_property
    def flops(self) -> int:
        """Of the derivative with its loops as they are and nothing else run again."""
        return graph_flops(self.graph, self.sizes)
