"""Checkpoints along a chain of stages: the cheapest schedule for every amount of memory, by dynamic programming.

To pull a gradient back through stages i..j, either the values of stage i that its backward tasks need are saved while
it runs forward (all of them, or one of the choices of `saving`), or some later cut k is saved, everything between is
dropped and run again when the part behind k is done. Equal stretches of stages are solved once.

References: A. Griewank, A. Walther, Algorithm 799: Revolve, ACM TOMS 26 (2000); J. Herrmann, O. Beaumont,
L. Eyraud-Dubois, A. Joly, A. Shilova, Optimal checkpointing for heterogeneous chains, arXiv:1911.13214 (2019); with
choices inside a stage: X. Zhao, T. Le Hellard, L. Eyraud-Dubois, J. Gusak, O. Beaumont, Rockmate, ICML 2023.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from graphad.plan.memory import simulate
from graphad.plan.replay import Replay
from graphad.plan.saving import savings
from graphad.plan.stages import Staged

FINEST = 600  # units into which the memory is divided
Vector = NDArray[Any]


class Choice(NamedTuple):
    """One way to run a stage with its backward tasks in mind.

    Arguments:
        saved: its forward values that stay.
        bytes: of these and of what crosses to the next stage.
        forward: the most bytes live while it runs forward, `backward` while its backward tasks run.
        cost: of all its forward tasks that run.
        at_once: nothing runs before the backward tasks.
    """

    saved: frozenset[int]
    bytes: int
    forward: int
    backward: int
    cost: int
    at_once: bool


class Profile(NamedTuple):
    """A stage in numbers.

    Arguments:
        cost, passing: of running it without saving, and the most bytes live meanwhile.
        choices: for a stage that is followed by others.
        last: for the last stage of a stretch, whose leaving values are there.
    """

    cost: int
    passing: int
    choices: tuple[Choice, ...]
    last: tuple[Choice, ...]


def profile(staged: Staged, s: int) -> Profile:
    """Measure a stage by running it alone; bytes that enter it are not counted."""
    problem, stage = staged.problem, staged.stages[s]
    leaving = stage.leaving & frozenset(stage.forward)
    through = Replay(staged, stage.entering)
    through.forward(s)
    passed = simulate(problem, through.steps, (), leaving)
    found = savings(problem, stage.forward, stage.wanted, stage.entering | leaving, exact=True)
    options = [option.saved | leaving for option in found]
    choices = tuple(_choice(staged, s, saved, frozenset()) for saved in options)
    last = tuple(_choice(staged, s, saved, leaving) for saved in options)
    # Backward at once would keep what the user wants to be computed again.
    if not any(problem.tasks[t].mark == "recompute" for t in stage.forward):
        last = (_choice(staged, s, None, leaving), *last)
    return Profile(passed.cost, passed.peak - problem.held, choices, last)


def _choice(staged: Staged, s: int, saved: frozenset[int] | None, there: frozenset[int]) -> Choice:
    """What it takes to run a stage forward with some values saved and then backward; None: backward at once."""
    problem, stage = staged.problem, staged.stages[s]
    replay = Replay(staged, stage.entering | there)
    if saved is not None:
        replay.forward(s, saved)
    begun = len(replay.steps)
    kept = there if saved is None else saved
    running = simulate(problem, replay.steps, there, kept).peak - problem.held
    replay.backward(s)
    back = simulate(problem, replay.steps[begun:], kept | stage.arriving, stage.departing).peak - problem.held
    cost = sum(problem.tasks[t].cost for t in replay.steps if t < problem.turn)
    return Choice(kept, staged.bytes_of(kept), running, back, cost, saved is None)


class Table(NamedTuple):
    """For every number of units the least cost of forward tasks, and the decision.

    Decisions are -1 (none), d > 0 for a cut d stages further on, and -2-c for choice c.
    """

    cost: Vector
    decision: Vector


class ChainPlanner:
    """All schedules of a chain of stages, for every amount of memory up to some bytes."""

    def __init__(self, staged: Staged, most: int, known: dict[int, Profile] | None = None) -> None:
        """`known` are profiles by the stages' signatures, which no amount of memory changes; new ones are put there."""
        self.staged = staged
        self.count = len(staged.stages)
        self.signatures = np.array(staged.signatures)
        known = {} if known is None else known
        for s, signature in enumerate(staged.signatures):
            if signature not in known:
                known[signature] = profile(staged, s)
        self.first = [staged.signatures.index(signature) for signature in staged.signatures]
        self.profiles = [known[signature] for signature in staged.signatures]
        self.gradients = [staged.bytes_of(stage.departing) for stage in staged.stages] + [0]
        self.unit, self.levels = self._units(most)
        self.tables: dict[bytes, Table] = {}
        self.keys: dict[tuple[int, int], bytes] = {}

    def _units(self, most: int) -> tuple[int, int]:
        sizes = {c.bytes for p in self.profiles for c in p.choices} | {p.passing for p in self.profiles}
        sizes |= {peak for p in self.profiles for c in (*p.choices, *p.last) for peak in (c.forward, c.backward)}
        common = math.gcd(*sizes, *self.gradients) or 1
        unit = common if most // common <= FINEST else max(-(-most // FINEST), 1)
        return unit, most // unit

    @cached_property
    def crossing(self) -> Vector:
        """Bytes of the values that stage i..k-1 make and that cross to stage k, for all i <= k."""
        tasks, staged = self.staged.problem.tasks, self.staged
        found = np.zeros((self.count + 1, self.count + 1), np.int64)
        for number in range(staged.problem.turn):
            begin, end = staged.stage_of[number], staged.stage_of[staged.last_forward[number]]
            if end > begin and not tasks[number].kept:
                found[: begin + 1, begin + 1 : end + 1] += tasks[number].bytes
        return found

    def key(self, i: int, j: int) -> bytes:
        """What the table of stages i..j-1 depends on; how far values cross is part of the signatures."""
        return self.signatures[i:j].tobytes()

    def table(self, i: int, j: int) -> Table:
        """The table of stages i..j-1: what enters i and what leaves j-1 is there, and the gradient arrives."""
        return self.tables[self.keys[i, j]]

    def solve(self) -> None:
        """Fill all tables, short stretches first."""
        for length in range(1, self.count + 1):
            for i in range(self.count - length + 1):
                key = self.keys[i, i + length] = self.key(i, i + length)
                if key not in self.tables:
                    self.tables[key] = self._solved(i, i + length)

    def _solved(self, i: int, j: int) -> Table:
        best = np.full(self.levels + 1, np.inf)
        decision = np.full(self.levels + 1, -1)
        arriving, nothing = self.gradients[j], np.zeros(self.levels + 1)
        here = self.profiles[i]
        for number, choice in enumerate(here.last if j == i + 1 else here.choices):
            need = self._ceil(max(choice.forward + arriving + int(self.crossing[i + 1, j]), choice.backward))
            rest, taken = (nothing, 0) if j == i + 1 else (self.table(i + 1, j).cost, self._ceil(choice.bytes))
            low = max(need, taken)
            if low > self.levels:
                continue
            offered = rest[low - taken : self.levels + 1 - taken] + choice.cost
            better = offered < best[low:]
            best[low:][better] = offered[better]
            decision[low:][better] = -2 - number
        if j > i + 1:
            self._cut(i, j, best, decision)
        return Table(best, decision)

    def _cut(self, i: int, j: int, best: Vector, decision: Vector) -> None:
        """Take a cut where that is cheaper than keeping something of stage i."""
        between = range(i + 1, j)
        behind = self.profiles[i : j - 1]
        cost = np.cumsum([p.cost for p in behind])
        passing = [p.passing for p in behind] + self.crossing[i, i : j - 1] + self.crossing[i + 1 : j, j]
        need = self._ceil(np.maximum.accumulate(passing) + self.gradients[j])
        taken = self._ceil(self.crossing[i, i + 1 : j])
        units = np.arange(self.levels + 1)
        left = units - taken[:, None]
        rest = np.array([self.table(k, j).cost for k in between])
        offered = np.take_along_axis(rest, np.maximum(left, 0), axis=1)
        offered += cost[:, None]
        offered += np.array([self.table(i, k).cost for k in between])
        offered[units < np.maximum(need, taken)[:, None]] = np.inf
        cut = np.argmin(offered, axis=0)
        least = offered[cut, units]
        better = least < best
        best[better] = least[better]
        decision[better] = cut[better] + 1

    @overload
    def _ceil(self, count: int) -> int: ...
    @overload
    def _ceil(self, count: Vector) -> Vector: ...
    def _ceil(self, count: int | Vector) -> int | Vector:
        """Bytes in units, rounded up."""
        return -(-count // self.unit)

    def steps(self, units: int) -> list[int] | None:
        """The schedule for so many units, None where they do not suffice."""
        if not math.isfinite(self.table(0, self.count).cost[units]):
            return None
        replay = Replay(self.staged)
        work: list[tuple[str, int, int, int]] = [("pull", 0, self.count, units)]
        while work:
            action, i, j, m = work.pop()
            if action == "back":
                replay.backward(i)
                continue
            decision = int(self.table(i, j).decision[m])
            if decision > 0:
                cut = i + decision
                replay.pass_through(i, cut - 1)
                work.append(("pull", i, cut, m))
                work.append(("pull", cut, j, m - self._ceil(int(self.crossing[i, cut]))))
                continue
            work.append(("back", i, 0, 0))
            options = self.profiles[i].last if j == i + 1 else self.profiles[i].choices
            choice = options[-2 - decision]
            if not choice.at_once:
                replay.forward(i, self._moved(i, choice.saved))
            if j > i + 1:
                work.append(("pull", i + 1, j, m - self._ceil(choice.bytes)))
        return replay.steps

    def _moved(self, s: int, saved: frozenset[int]) -> frozenset[int]:
        """Values of the first stage that is like stage s, as those of stage s."""
        stages = self.staged.stages
        place = dict(zip(stages[self.first[s]].forward, stages[s].forward, strict=True))
        return frozenset(place[t] for t in saved)
