"""The cheapest schedule of a small problem within a budget, by an integer program.

The tasks run in stages. A stage makes the next new tasks for the first time and may run earlier ones again before;
R[t,i] says whether stage t runs task i, S[t,i] whether the value of task i is kept from before stage t. The model
needs no chain. Fused neighbours are one stage, and a value that only they read takes memory where it is kept longer.

Reference: P. Jain, A. Jain, A. Nrusimhan, A. Gholami, P. Abbeel, K. Keutzer, I. Stoica, J. Gonzalez, Checkmate:
breaking the memory wall with optimal tensor rematerialization, MLSys 2020, section 4. Instead of its products that say
when a value is freed, V[t,i,k] says that a reader of i at k or later, or a later stage, waits for the value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from graphad.plan.memory import Problem

WORK = 300_000  # factors of all inequalities, times nodes of the search tree
SECONDS = 120.0  # for which nothing waits: the work ends before, so that plans do not depend on what else runs
FEASIBLE = 0.5  # of a decision between 0 and 1


class Row(NamedTuple):
    """One inequality: the sum of factors times variables is at most a limit."""

    factors: Mapping[int, float]
    most: float


def optimal_steps(
    problem: Problem, budget: int, *, below: float | None = None, work: int = WORK
) -> tuple[int, ...] | None:
    """The cheapest steps that keep a budget, or the best found with some work; None where there are none.

    Arguments:
        budget: bytes live at once.
        below: only schedules that cost less than this are of interest.
        work: after which the search ends: nodes of its tree, each counted as the factors of all inequalities.

    >>> from graphad.plan.memory import chain, simulate
    >>> problem = chain([1] * 4, [1] * 4, [1] * 4)
    >>> simulate(problem, optimal_steps(problem, 5)).cost
    10
    """
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    if budget < problem.held or (below is not None and below <= 0):
        return None
    program = Program(problem, budget, below)
    entries = [(row, column, f) for row, r in enumerate(program.rows) for column, f in r.factors.items()]
    nodes = work // len(entries)
    if nodes < 1:
        return None
    at_row, at_column, factors = zip(*entries, strict=True)
    shape = (len(program.rows), len(program.cost))
    matrix = csr_array((np.array(factors, np.float64), (np.array(at_row), np.array(at_column))), shape=shape)
    found = milp(
        np.array(program.cost, np.float64),
        integrality=np.array(program.whole),
        bounds=Bounds(np.array(program.low), np.array(program.high)),
        constraints=LinearConstraint(matrix, -np.inf, np.array([row.most for row in program.rows])),
        options={"node_limit": nodes, "time_limit": SECONDS},
    )
    return None if found.x is None else program.steps(found.x.tolist())


class Program:
    """The variables and inequalities of a problem.

    Bytes are counted in budgets and costs in those of all tasks once, so that all numbers are near one.
    """

    def __init__(self, problem: Problem, budget: int, below: float | None) -> None:
        self.problem = problem
        self.room = budget - problem.held
        self.unit = max(self.room, 1)
        self.cost: list[float] = []
        self.low: list[float] = []
        self.high: list[float] = []
        self.whole: list[int] = []
        self.rows: list[Row] = []
        self.stages = _stages(problem)
        self.readers: list[list[int]] = [[] for _ in problem.tasks]
        for number, task in enumerate(problem.tasks):
            for arg in task.args:
                self.readers[arg].append(number)
        self.runs = [self._decisions(t) for t in range(len(self.stages))]
        self.kept = [self._keeps(t) for t in range(len(self.stages))]
        for t in range(len(self.stages)):
            self._dependences(t)
            self._memory(t)
        if below is not None:
            factors = {r: float(problem.tasks[i].cost) for runs in self.runs for i, r in runs.items()}
            self.rows.append(Row({r: f / below for r, f in factors.items()}, 1 - FEASIBLE / below))

    def steps(self, solution: list[float]) -> tuple[int, ...]:
        """The schedule of a solution."""
        steps = [i for runs in self.runs for i, r in runs.items() if solution[r] > FEASIBLE]
        read: set[int] = set()
        found: list[int] = []
        for number in reversed(range(len(steps))):  # what costs nothing may run for nobody
            i = steps[number]
            if i not in read and i in steps[:number]:
                continue
            found.append(i)
            read.discard(i)
            read.update(self.problem.tasks[i].args)
        return tuple(found[::-1])

    def _variable(self, low: float, high: float, cost: float = 0.0, *, whole: bool = False) -> int:
        self.cost.append(cost)
        self.low.append(low)
        self.high.append(high)
        self.whole.append(int(whole))
        return len(self.cost) - 1

    def _decisions(self, t: int) -> dict[int, int]:
        """R: the new tasks of a stage run, earlier ones of the forward part may."""
        tasks, turn, new = self.problem.tasks, self.problem.turn, self.stages[t]
        scale = max(self.problem.cost, 1)
        runs = [i for i in range(new.stop) if i >= new.start or (i < turn and not tasks[i].kept)]
        return {i: self._variable(float(i in new), 1, tasks[i].cost / scale, whole=True) for i in runs}

    def _keeps(self, t: int) -> dict[int, int]:
        """S: what is there before a stage."""
        tasks, turn, new = self.problem.tasks, self.problem.turn, self.stages[t]
        found = {}
        for i in range(new.start):
            must = tasks[i].kept or tasks[i].mark == "save"
            never = tasks[i].mark == "recompute" and new.start == turn
            found[i] = self._variable(float(must), float(not never or must), whole=True)
        return found

    def _dependences(self, t: int) -> None:
        """What runs reads values that are there; what is kept was there; nothing runs that is there."""
        runs, kept = self.runs[t], self.kept[t]
        for i, run in runs.items():
            for arg in self.problem.tasks[i].args:
                there = {v: -1.0 for v in (runs.get(arg), kept.get(arg)) if v is not None}
                self.rows.append(Row({run: 1.0, **there}, 0))
            if i in kept:
                self.rows.append(Row({run: 1.0, kept[i]: 1.0}, 1))
        if t + 1 < len(self.stages):
            for i, later in self.kept[t + 1].items():
                there = {v: -1.0 for v in (runs.get(i), kept.get(i)) if v is not None}
                self.rows.append(Row({later: 1.0, **there}, 0))

    def _memory(self, t: int) -> None:
        """The bytes that are live while each task of a stage runs."""
        tasks, runs, kept = self.problem.tasks, self.runs[t], self.kept[t]
        waits = {i: self._waits(t, i) for i in range(self.stages[t].stop) if tasks[i].bytes and not tasks[i].kept}
        for k, run in runs.items():
            bytes_of = {run: float(tasks[k].workspace)}
            for i, wait in waits.items():
                live = kept.get(i) if i > k else next((v for at, v in wait if at >= k), None)
                if live is not None:
                    bytes_of[live] = bytes_of.get(live, 0) + tasks[i].bytes
            self.rows.append(Row({v: count / self.unit for v, count in bytes_of.items()}, self.room / self.unit))

    def _waits(self, t: int, i: int) -> list[tuple[int, int]]:
        """V: at the run of a value and at each of its readers in a stage, whether it is live; last for later stages."""
        runs, stage = self.runs[t], self.stages[t]
        places = [k for k in self.readers[i] if k in runs]
        later = self.kept[t + 1].get(i) if t + 1 < len(self.stages) else None
        found = [] if later is None else [(stage.stop, later)]
        in_registers = self.problem.tasks[i].fused and self._inside(i)
        for k in reversed([i, *places] if i in runs and not in_registers else places):
            wait = self._variable(0, 1)
            made = {runs[i]: -1.0} if in_registers and i in runs else {}
            self.rows.append(Row({runs[k]: 1.0, wait: -1.0, **made}, 0))
            if found:
                self.rows.append(Row({found[0][1]: 1.0, wait: -1.0}, 0))
            found.insert(0, (k, wait))
        return found

    def _inside(self, i: int) -> bool:
        """Whether only fused neighbours read a value."""
        return all(k in stage for stage in self.stages if i in stage for k in self.readers[i])


def _stages(problem: Problem) -> list[range]:
    """The tasks that each stage runs for the first time: one, or fused neighbours of one part."""
    found: list[range] = []
    for number, task in enumerate(problem.tasks):
        last = problem.tasks[number - 1]
        if found and task.fused and last.fused and number != problem.turn:
            found[-1] = range(found[-1].start, number + 1)
        else:
            found.append(range(number, number + 1))
    return found
