"""Schedules that drop a value when the memory is full, and run its task again when the value is read.

All tasks run in order. Where a new value does not fit, of those that are there one goes: what is cheap to make again
for its bytes, and not read for long. Making a value again counts what of its operands is gone as well. Nothing needs a
chain: values that cross many stages, branches, and tangents beside values are dropped like others.

Reference: M. Kirisame, S. Lyubomirsky, A. Haan, J. Brennan, M. He, J. Roesch, T. Chen, Z. Tatlock, Dynamic tensor
rematerialization, ICLR 2021. Here the readers to come are known.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from graphad.plan.memory import Problem, Simulation, simulate

NEVER = 1 << 40  # a distance longer than any schedule
TRIES = 8
MOST_RUNS = 4  # of a task on average


class _NoRoomError(Exception):
    """Nothing can go any more, or too much runs again."""


class Evictions:
    """One problem; for every amount of memory a schedule that tries to keep to it.

    >>> from graphad.plan.memory import chain, simulate
    >>> problem = chain([1] * 6, [1] * 6, [1] * 6)
    >>> found = simulate(problem, Evictions(problem).within(6))
    >>> found.cost, found.peak
    (15, 6)
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.readers: list[list[int]] = [[] for _ in problem.tasks]
        for number, task in enumerate(problem.tasks):
            for arg in task.args:
                self.readers[arg].append(number)
        self.sizes = [0 if task.kept or self._inside(k) else task.bytes for k, task in enumerate(problem.tasks)]

    def _inside(self, k: int) -> bool:
        """Whether a value is read by fused neighbours only, so that it stays in registers."""
        tasks, readers = self.problem.tasks, self.readers[k]
        return tasks[k].fused and all(tasks[i].fused for i in range(k, max(readers, default=k) + 1))

    def steps(self, room: int, *, loops: bool = True) -> tuple[int, ...] | None:
        """A schedule for about so many bytes; None where nothing can go any more, or too much runs again.

        Arguments:
            loops: values that fused neighbours read or make stay until their loop ends, as they do; without, less is
                counted than is taken, but more can go.
        """
        return _Run(self, room - self.problem.held, loops=loops).steps()

    def within(self, budget: int) -> tuple[int, ...] | None:
        """The cheapest schedule found whose peak is within so many bytes; None where none was found.

        What the search counts differs a little from the peak: values in registers, and what is not read any more.
        """
        found = [one for loops in (True, False) if (one := self._within(budget, loops=loops)) is not None]
        return min(found, key=lambda one: (one[1].cost, one[1].peak))[0] if found else None

    def _within(self, budget: int, *, loops: bool) -> tuple[tuple[int, ...], Simulation] | None:
        """The search with one way to count: the room moves between what was too little and what was too much."""
        best: tuple[tuple[int, ...], Simulation] | None = None
        room, below, above = budget, 0, 0
        for _ in range(TRIES):
            steps = self.steps(room, loops=loops)
            found = None if steps is None else simulate(self.problem, steps)
            if steps is not None and found is not None and found.peak <= budget:
                below = room
                if best is None or found.cost < best[1].cost:
                    best = steps, found
                following = (room + above) // 2 if above else room + budget - found.peak
            elif found is not None:
                above = room
                following = (room + below) // 2 if below else room - max((found.peak - budget) // 2, budget // 50)
            elif above:
                below = room
                following = (room + above) // 2
            else:
                break
            if abs(following - room) <= budget // 100:
                break
            room = following
        return best


class _Run:
    """A schedule under construction.

    `there` are the values that are there, `used` are their bytes, `now` is the task in order that comes next, and
    `loop` are the values that the present loop reads or makes.
    """

    def __init__(self, what: Evictions, room: int, *, loops: bool) -> None:
        self.what, self.tasks, self.turn = what, what.problem.tasks, what.problem.turn
        self.room, self.used, self.now = room, 0, 0
        self.there: dict[int, None] = {}
        self.loops, self.loop = loops, set[int]()
        self.made: list[int] = []

    def steps(self) -> tuple[int, ...] | None:
        """Run all tasks in order."""
        try:
            for k, task in enumerate(self.tasks):
                self.now = k
                if k == self.turn:
                    for marked in [t for t in self.there if self.tasks[t].mark == "recompute"]:
                        self._drop(marked)
                self._need(task.args)
                self._run(k, {k, *task.args})
                for arg in dict.fromkeys(task.args):
                    if arg >= self.turn and arg in self.there and self._next(arg) == NEVER and arg not in self.loop:
                        self._drop(arg)
        except _NoRoomError:
            return None
        return tuple(self.made)

    def _need(self, args: Sequence[int]) -> None:
        """Run what is gone of some values, and what that takes."""
        missing = sorted(self._gone(args))
        waiting = [a for m in missing for a in self.tasks[m].args]
        for m in missing:
            self._run(m, {m, *args, *waiting})
            del waiting[: len(self.tasks[m].args)]

    def _gone(self, args: Sequence[int]) -> set[int]:
        """What has to run so that some values are there."""
        found: set[int] = set()
        stack = [a for a in args if a not in self.there]
        while stack:
            t = stack.pop()
            if t not in found:
                found.add(t)
                stack.extend(a for a in self.tasks[t].args if a not in self.there)
        return found

    def _run(self, k: int, locked: set[int]) -> None:
        size, fused = self.what.sizes[k], self.tasks[k].fused
        if not fused:
            self.loop.clear()
        locked |= self.loop
        while self.used + size + self.tasks[k].workspace > self.room:
            able = [t for t in self.there if self.what.sizes[t] and t not in locked and self._may_go(t)]
            if not able:
                raise _NoRoomError
            self._drop(min(able, key=self._worth))
        if len(self.made) > MOST_RUNS * len(self.tasks):
            raise _NoRoomError
        self.made.append(k)
        self.there[k] = None
        self.used += size
        if fused and self.loops:
            self.loop.update((k, *self.tasks[k].args))

    def _may_go(self, t: int) -> bool:
        task = self.tasks[t]
        return not task.kept and task.mark != "save" and (t < self.turn or self._next(t) == NEVER)

    def _worth(self, t: int) -> tuple[float, int]:
        """What keeping a value saves: the cost of making it again, for its bytes and the time until it is read."""
        following = self._next(t)
        if following == NEVER:
            return 0.0, -t
        cost = self.tasks[t].cost + sum(self.tasks[a].cost for a in self._gone(self.tasks[t].args))
        return cost / (self.what.sizes[t] * (following - self.now)), -t

    def _next(self, t: int) -> int:
        """The next task in order that reads a value."""
        readers = self.what.readers[t]
        place = bisect_right(readers, self.now)
        return readers[place] if place < len(readers) else NEVER

    def _drop(self, t: int) -> None:
        del self.there[t]
        self.used -= self.what.sizes[t]
