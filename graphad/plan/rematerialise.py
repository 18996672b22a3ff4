"""The schedule for a memory budget: several methods are tried, and the cheapest result is taken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

from graphad.plan.checkpoints import ChainPlanner, Profile
from graphad.plan.evictions import Evictions
from graphad.plan.memory import MemoryPlan, Problem, simulate
from graphad.plan.optimal import WORK, optimal_steps
from graphad.plan.stages import Staged

MARGIN = 1.25  # of the budget, in the model of a chain, which rounds sizes up
SMALL = 20  # forward tasks up to which an integer program is worth its time
LESS = 0.97  # of a peak: nearer to the least possible one is not looked for
LARGEST = 800  # tasks up to which evictions are worth their time


class Rematerialisation:
    """Schedules of one problem, for any budget.

    Arguments:
        cuts: where the chain of stages may be cut, as numbers of forward tasks; None: at all narrow places.

    >>> from graphad.plan.memory import chain
    >>> planner = Rematerialisation(chain([1] * 6, [1] * 6, [1] * 6))
    >>> [(planner.plan(m).cost, planner.plan(m).peak) for m in (8, 6, 4)]
    [(13, 8), (15, 6), (23, 4)]
    """

    def __init__(self, problem: Problem, cuts: Sequence[int] | None = None) -> None:
        self.problem = problem
        self.staged = Staged(problem, None if cuts is None else list(cuts))
        self._planner: tuple[int, ChainPlanner] | None = None
        self._profiles: dict[int, Profile] = {}

    @cached_property
    def everything(self) -> MemoryPlan:
        """Every task once, in order."""
        steps = tuple(range(len(self.problem.tasks)))
        found = simulate(self.problem, steps)
        return MemoryPlan(steps, found.peak, found.cost, 0, "everything stored")

    @cached_property
    def relaxed(self) -> MemoryPlan:
        """The schedule without a budget: everything is stored but what the user marked to be computed again."""
        if not any(task.mark == "recompute" for task in self.problem.tasks):
            return self.everything
        planner = self._chain(self.everything.peak + sum(task.bytes for task in self.problem.tasks))
        steps = planner.steps(planner.levels)
        return self.everything if steps is None else self._made(steps, "marks")

    @cached_property
    def least(self) -> MemoryPlan:
        """The schedule with the smallest peak found, whatever it costs."""
        planner = self._chain(self.everything.peak)
        found = [self.everything, *self._found(planner, 0)]
        best = min(found, key=lambda p: (p.peak, p.extra))
        while (plan := self._evicted(int(LESS * best.peak))) is not None:
            best = plan
        return best

    def plan(self, budget: int) -> MemoryPlan | None:
        """The cheapest schedule found whose peak is within so many bytes; None where none was found."""
        if self.relaxed.peak <= budget:
            return self.relaxed
        found = [plan for plan in self._found(self._chain(budget), budget) if plan.peak <= budget]
        found += filter(None, (self._evicted(int(part * budget)) for part in (1, LESS * LESS)))
        return min(found, key=lambda p: (p.extra, p.peak)) if found else None

    def _evicted(self, budget: int) -> MemoryPlan | None:
        """The schedule that drops values when so many bytes are full."""
        if len(self.problem.tasks) > LARGEST:
            return None
        steps = self.evictions.within(budget)
        return None if steps is None else self._made(steps, "evictions")

    @cached_property
    def evictions(self) -> Evictions:
        """Schedules that drop values when the memory is full."""
        return Evictions(self.problem)

    def _chain(self, budget: int) -> ChainPlanner:
        """The checkpoints for every amount of memory up to a little more than a budget."""
        most = int(MARGIN * budget) - self.problem.held
        if self._planner is None or not most <= self._planner[0] <= 2 * most:
            self._planner = most, ChainPlanner(self.staged, max(most, 1), self._profiles)
            self._planner[1].solve()
        return self._planner[1]

    def _found(self, planner: ChainPlanner, budget: int) -> Iterator[MemoryPlan]:
        """Schedules along the chain: as sizes are rounded up, more than the budget may give one that keeps it."""
        low, high = 0, planner.levels
        while low <= high:
            middle = (low + high) // 2
            steps = planner.steps(middle)
            made = None if steps is None else self._made(steps, "checkpoints along the chain")
            if made is not None:
                yield made
            if made is None or made.peak <= budget:
                low = middle + 1
            else:
                high = middle - 1

    def _made(self, steps: Sequence[int], method: str) -> MemoryPlan:
        """A schedule with its measured peak and cost."""
        found = simulate(self.problem, steps)
        return MemoryPlan(tuple(steps), found.peak, found.cost, found.cost - self.problem.cost, method)


class Exact(Rematerialisation):
    """Schedules of a small problem: those of its base class, and where they cost less those of an integer program.

    Arguments:
        work: of each integer program, as for `optimal_steps`.

    >>> from graphad.plan.memory import chain
    >>> Exact(chain([1] * 6, [1] * 6, [1] * 6)).plan(4).method  # nothing is cheaper
    'checkpoints along the chain'
    """

    def __init__(self, problem: Problem, work: int = WORK) -> None:
        super().__init__(problem)
        self.work = work

    def plan(self, budget: int) -> MemoryPlan | None:
        """The cheapest schedule found whose peak is within so many bytes; None where none was found."""
        best = super().plan(budget)
        if best is not None and best.extra <= 0:
            return best
        steps = optimal_steps(self.problem, budget, below=None if best is None else best.cost, work=self.work)
        made = None if steps is None else self._made(steps, "integer program")
        better = made is not None and made.peak <= budget and (best is None or made.cost < best.cost)
        return made if better else best
