"""A problem cut into stages: forward tasks between narrow places, and the backward tasks that go with them.

A cut stands where few bytes go from one forward task to a later one. Stages that look alike (the layers of a network)
have equal signatures, so that what is planned for one holds for all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from graphad.plan.memory import Problem

MOST_CUTS = 600
MANY_CUTS, NARROW = 120, 1.5


@dataclass(frozen=True)
class Stage:
    """Some forward tasks, the backward tasks that need them, and the forward values that cross the cuts around.

    Arguments:
        forward, backward: tasks in order.
        entering, leaving: values made before (inside) the stage or earlier and read by forward tasks after it.
        wanted: forward values of the stage that backward tasks read.
        arriving, departing: backward values made before (by) the stage's backward tasks and read by (after) them.
    """

    forward: tuple[int, ...]
    backward: tuple[int, ...]
    entering: frozenset[int]
    leaving: frozenset[int]
    wanted: frozenset[int]
    arriving: frozenset[int]
    departing: frozenset[int]


class Staged:
    """A problem and its stages, from the first to the last forward task."""

    def __init__(self, problem: Problem, cuts: list[int] | None = None) -> None:
        self.problem = problem
        tasks, turn = problem.tasks, problem.turn
        self.last_forward = list(range(turn))
        self.last_backward = list(range(len(tasks)))
        for number, task in enumerate(tasks):
            for arg in task.args:
                if number < turn:
                    self.last_forward[arg] = number
                self.last_backward[arg] = number
        for number in range(turn):
            if tasks[number].mark == "save":
                self.last_forward[number] = turn - 1  # so it crosses all later cuts and is never dropped
        self.cuts = self._cuts() if cuts is None else cuts
        self.stage_of = np.searchsorted(np.array(self.cuts), np.arange(turn), side="right").tolist() if turn else []
        self.stages = self._stages()

    def _cuts(self) -> list[int]:
        """Positions p (the cut is before task p) at which no fewer bytes cross at either neighbour.

        Of those that no call separates only the narrowest: fused tasks on both sides would share a loop.
        """
        turn, tasks = self.problem.turn, self.problem.tasks
        change = np.zeros(turn + 1, np.int64)
        forbidden = np.zeros(turn + 1, bool)  # what crosses a cut is stored
        for number in range(turn):
            change[number + 1] += tasks[number].bytes
            change[self.last_forward[number] + 1] -= tasks[number].bytes
            if tasks[number].mark == "recompute":
                forbidden[number + 1 : self.last_forward[number] + 1] = True
        crossing = np.cumsum(change)
        inner = np.arange(1, turn)
        narrow = (crossing[inner] <= crossing[inner - 1]) | (inner == 1)
        narrow &= ~forbidden[inner]
        narrow &= crossing[inner] <= np.append(crossing[inner[1:]], np.iinfo(np.int64).max)[: len(inner)]
        calls = np.cumsum([not task.fused for task in tasks[:turn]])
        best: dict[int, int] = {}
        for p in inner[narrow].tolist():
            known = best.setdefault(int(calls[p - 1]), p)
            if crossing[p] < crossing[known]:
                best[int(calls[p - 1])] = p
        found = np.array(sorted(best.values()), np.int64)
        if len(found) > MANY_CUTS:  # a deep network: the narrow ones of each layer, its parts are chosen among
            found = found[crossing[found] <= NARROW * np.quantile(crossing[found], 0.1)]
        if len(found) > MOST_CUTS:
            found = np.sort(found[np.argsort(crossing[found], kind="stable")[:MOST_CUTS]])
        return [int(p) for p in found]

    def _stages(self) -> list[Stage]:
        tasks, turn = self.problem.tasks, self.problem.turn
        count = len(self.cuts) + 1
        forward: list[list[int]] = [[] for _ in range(count)]
        for number in range(turn):
            forward[self.stage_of[number]].append(number)
        backward = self._backward(count)
        place = {t: s for s, group in enumerate(backward) for t in group}
        crossing: list[set[int]] = [set() for _ in range(count + 1)]
        for number in range(turn):
            for s in range(self.stage_of[number], self.stage_of[self.last_forward[number]]):
                crossing[s + 1].add(number)
        wanted: list[set[int]] = [set() for _ in range(count)]
        flowing: list[set[int]] = [set() for _ in range(count + 1)]
        for number in range(turn, len(tasks)):
            for arg in tasks[number].args:
                if arg < turn:
                    wanted[self.stage_of[arg]].add(arg)
                else:
                    for s in range(place[number] + 1, place[arg] + 1):
                        flowing[s].add(arg)
        return [
            Stage(
                tuple(forward[s]), tuple(backward[s]), frozenset(crossing[s]), frozenset(crossing[s + 1]),
                frozenset(wanted[s]), frozenset(flowing[s + 1]), frozenset(flowing[s]),
            )
            for s in range(count)
        ]  # fmt: skip

    def _backward(self, count: int) -> list[list[int]]:
        """The backward tasks of each stage; boundaries stand where the fewest readers are on the wrong side."""
        tasks, turn = self.problem.tasks, self.problem.turn
        order = range(turn, len(tasks))
        highest = np.full(len(order), -1)
        for place, number in enumerate(order):
            highest[place] = max((self.stage_of[a] for a in tasks[number].args if a < turn), default=-1)
        result: list[list[int]] = [[] for _ in range(count)]
        end = len(order)
        for s in range(count):
            # The tasks of stage s and lower ones come after `begin`: those that read higher stages come before.
            above = np.cumsum(highest[:end] > s)
            own = np.cumsum((highest[:end] >= 0) & (highest[:end] <= s))
            wrong = np.concatenate([[0], own]) + (above[-1] if end else 0) - np.concatenate([[0], above])
            # Of equally good places the last: what only passes gradients on goes with the higher stage.
            begin = int(len(wrong) - 1 - np.argmin(wrong[::-1])) if s < count - 1 else 0
            result[s] = [turn + p for p in range(begin, end)]
            end = begin
        return result

    @cached_property
    def signatures(self) -> list[int]:
        """A number for each stage; equal numbers for stages that look alike from inside and at their borders."""
        known: dict[object, int] = {}
        return [known.setdefault(self._signature(s), len(known)) for s in range(len(self.stages))]

    def _signature(self, s: int) -> object:
        stage, tasks = self.stages[s], self.problem.tasks
        local = {t: k for k, t in enumerate((*stage.forward, *stage.backward))}

        def outside(a: int) -> tuple[int, ...]:
            return (-1, tasks[a].bytes, a in stage.entering, a in stage.arriving, a in stage.departing)

        rows = []
        for t in (*stage.forward, *stage.backward):
            task = tasks[t]
            args = tuple((local[a],) if a in local else outside(a) for a in task.args)
            span = self.stage_of[self.last_forward[t]] - s if t < self.problem.turn else int(t in stage.departing)
            rows.append(
                (task.bytes, task.cost, task.fused, task.kept, task.workspace, task.mark, args, span, t in stage.wanted)
            )
        return (tuple(rows), self.bytes_of(stage.arriving), self.bytes_of(stage.departing), len(stage.forward))

    def bytes_of(self, values: frozenset[int] | set[int], but: Callable[[int], bool] = lambda t: False) -> int:
        """The bytes of some values, results excepted."""
        tasks = self.problem.tasks
        return sum(tasks[t].bytes for t in values if not tasks[t].kept and not but(t))
