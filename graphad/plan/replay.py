"""Schedules written down step by step.

Forward tasks run through a stage, their values saved or dropped; backward tasks ask for what they need.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from graphad.plan.memory import Problem
from graphad.plan.saving import closure
from graphad.plan.stages import Staged


class Replay:
    """A schedule under construction.

    `there` are the values that later steps may read; what is not there is run again when a step asks for it.
    """

    def __init__(self, staged: Staged, there: Collection[int] = ()) -> None:
        self.staged = staged
        self.problem: Problem = staged.problem
        self.there = set(there)
        self.steps: list[int] = []
        self.forward_tasks = range(self.problem.turn)

    def need(self, wanted: Iterable[int]) -> None:
        """Run what is missing of some forward values, and what that takes."""
        missing = closure(self.problem, wanted, self.there, self.forward_tasks)
        for task in sorted(missing):
            self.steps.append(task)
        self.there |= missing

    def forward(self, s: int, saved: Collection[int] = ()) -> None:
        """Run a stage; afterwards its saved values and those that cross to later stages are there."""
        stage, tasks = self.staged.stages[s], self.problem.tasks
        own = set(stage.forward)
        results = [t for t in stage.forward if tasks[t].kept and t not in self.there]
        leaving = stage.leaving & own
        self.need([*results, *sorted(leaving | set(saved))])
        self.there -= own - leaving - set(saved) - {t for t in own if tasks[t].kept}

    def pass_through(self, first: int, last: int) -> None:
        """Run stages one after the other; afterwards of their values only those are there that leave the last one."""
        for s in range(first, last + 1):
            self.forward(s)
        staged, tasks = self.staged, self.problem.tasks
        made = {t for s in range(first, last + 1) for t in staged.stages[s].forward if not tasks[t].kept}
        self.there -= made - staged.stages[last].leaving

    def backward(self, s: int) -> None:
        """Run the backward tasks of a stage, then drop its forward values."""
        stage, tasks, turn = self.staged.stages[s], self.problem.tasks, self.problem.turn
        self.need(t for t in stage.forward if tasks[t].kept)
        for task in stage.backward:
            self.need(a for a in tasks[task].args if a < turn)
            self.steps.append(task)
        self.there -= {t for t in stage.forward if not tasks[t].kept}
