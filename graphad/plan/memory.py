"""Memory as a problem of its own: tasks with bytes and costs, in which order and how often they run, what is live.

A task makes one value from those of earlier tasks. A schedule is a sequence of tasks in which one may run again:
what reads it later reads the last run. A value is live from its run to its last reader. This model knows no graph,
so that published tables can be checked against it; `graphad.plan.tasks` makes a problem of a graph.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from graphad.errors import ArgumentError, describe

UNITS = {
    "": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}  # fmt: skip
QUANTITY = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([a-zA-Z]*)\s*")
Budget = float | str


@dataclass(frozen=True)
class Task:
    """One computation.

    Arguments:
        name: for reports.
        bytes: of its value.
        cost: of one run, such as floating-point operations.
        args: the earlier tasks that it reads.
        fused: it shares a loop with its fused neighbours, so its value takes memory only where something reads it
            beyond the next task that is not fused.
        kept: its value is a result: live from its first run to the end.
        workspace: bytes that a run needs besides.
        mark: "save" or "recompute" where the user decided, else empty.
    """

    name: str
    bytes: int
    cost: int
    args: tuple[int, ...]
    fused: bool = False
    kept: bool = False
    workspace: int = 0
    mark: str = ""


@dataclass(frozen=True)
class Problem:
    """Tasks in an order in which they can run; those before `turn` may run again, the others run once.

    Arguments:
        held: bytes that are taken all the time, such as results that the caller allocates.
    """

    tasks: tuple[Task, ...]
    turn: int
    held: int = 0

    @property
    def cost(self) -> int:
        """Of running every task once."""
        return sum(task.cost for task in self.tasks)

    @cached_property
    def price(self) -> float:
        """The cost for each byte of the cheapest forward call; infinite where there is none."""
        calls = [task.cost / task.bytes for task in self.tasks[: self.turn] if task.bytes and not task.fused]
        return min(calls, default=math.inf)


def chain(
    sizes: Sequence[int], forward: Sequence[int], backward: Sequence[int], *, gradient: Sequence[int] | None = None
) -> Problem:
    """The problem of a network without branches: forward steps, a loss, and backward steps.

    A backward step reads its gradient, its own value and that of the step before; the input of the chain is free.

    Arguments:
        sizes: bytes of the value of each forward step.
        forward, backward: the cost of each step.
        gradient: bytes of the gradient that each backward step leaves, and last those of the loss; None: as the values.

    >>> problem = chain([1, 1], [1, 1], [1, 1])
    >>> simulate(problem, range(5)).peak
    4
    """
    count = len(sizes)
    left = [sizes[0], *sizes] if gradient is None else [*gradient]
    tasks = [Task(f"f{i}", sizes[i], forward[i], (i - 1,) if i else ()) for i in range(count)]
    tasks.append(Task("loss", left[count], 1 if gradient is None else 0, (count - 1,)))
    for i in reversed(range(count)):
        args = (len(tasks) - 1, i, i - 1) if i else (len(tasks) - 1, i)
        tasks.append(Task(f"b{i}", left[i], backward[i], args))
    return Problem(tuple(tasks), count)


@dataclass(frozen=True)
class Simulation:
    """What a schedule takes.

    Arguments:
        peak: bytes.
        cost: of all runs.
        live: bytes at each step.
    """

    peak: int
    cost: int
    live: tuple[int, ...]


def simulate(
    problem: Problem, steps: Sequence[int], before: Collection[int] = (), after: Collection[int] = ()
) -> Simulation:
    """Run a schedule: bytes live at each step, and its cost. Linear in steps.

    Arguments:
        before: tasks whose values are there at the start, beside the steps' own.
        after: tasks whose values are needed beyond the last step.
    """
    tasks = problem.tasks
    born: dict[int, int] = dict.fromkeys(before, 0)
    last: dict[int, int] = dict.fromkeys(before, -1)
    change = [0] * (len(steps) + 2)
    first, final = _loops([*(tasks[t].fused for t in steps), False])

    def close(task: int) -> None:
        start, end, one = born[task], last[task], tasks[task]
        free = one.fused and task not in before and task not in after
        inside = free and final[start] == final[end]
        if end >= start and not inside and not one.kept:
            change[first[start]] += one.bytes
            change[final[end] + 1] -= one.bytes

    for number, step in enumerate(steps):
        task = tasks[step]
        for arg in task.args:
            if arg in last:
                last[arg] = number
        if step in born:
            close(step)
        born[step] = last[step] = number
        change[number] += task.workspace
        change[number + 1] -= task.workspace
    for task_id in after:
        if task_id in last:
            last[task_id] = max(len(steps) - 1, born[task_id])
    for task_id in born:
        close(task_id)
    live = tuple(accumulate(change[: len(steps)], initial=problem.held))[1:]
    return Simulation(max(live, default=problem.held), sum(tasks[t].cost for t in steps), live)


def _loops(fused: Sequence[bool]) -> tuple[list[int], list[int]]:
    """For each step the first and the last step that share its loop: fused neighbours do."""
    first, final = list(range(len(fused))), list(range(len(fused)))
    for number in range(1, len(fused)):
        if fused[number] and fused[number - 1]:
            first[number] = first[number - 1]
    for number in reversed(range(len(fused) - 1)):
        if fused[number] and fused[number + 1]:
            final[number] = final[number + 1]
    return first, final


@dataclass(frozen=True)
class MemoryPlan:
    """A schedule that keeps within a budget, and what it was chosen among.

    Arguments:
        steps: the tasks in the order of their runs.
        peak: bytes live at once.
        cost: of all runs; `extra` of it is recomputation.
        method: how the schedule was found.
        tried: the other methods' (peak, extra cost) within the same budget.
    """

    steps: tuple[int, ...]
    peak: int
    cost: int
    extra: int
    method: str
    tried: tuple[tuple[str, int, int], ...] = ()


def parse_budget(budget: Budget, whole: int) -> int:
    """A budget in bytes: a number of bytes, a text such as "200MB" or "1.5 GiB", or a fraction below 1 of `whole`.

    Raises `ArgumentError` for anything else.

    >>> parse_budget("1.5 GiB", 0), parse_budget(0.5, 300), parse_budget(4096, 0)
    (1610612736, 150, 4096)
    """
    if isinstance(budget, str):
        found = QUANTITY.fullmatch(budget)
        unit = UNITS.get(found[2].lower()) if found else None
        if found is None or unit is None or float(found[1]) * unit < 1:
            raise _malformed(budget)
        return int(float(found[1]) * unit)
    if isinstance(budget, bool) or not isinstance(budget, (int, float)) or not math.isfinite(budget) or budget <= 0:
        raise _malformed(budget)
    return int(budget * whole) if budget < 1 else int(budget)


def _malformed(budget: object) -> ArgumentError:
    return ArgumentError(
        describe(
            f"memory_budget={budget!r} is no amount of memory",
            expected='a number of bytes, a text such as "200MB" or "1.5 GiB", or a fraction between 0 and 1',
            got=type(budget).__name__,
            fix="pass for example `memory_budget=0.5` for half of what storing everything takes",
        )
    )


def bytes_text(count: float) -> str:
    """Bytes for people.

    >>> bytes_text(512), bytes_text(239381696)
    ('512 B', '239 MB')
    """
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} B"
