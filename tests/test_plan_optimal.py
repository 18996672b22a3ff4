"""Integer programs for memory against published tables, an exhaustive search, and the plain count of a schedule."""

from __future__ import annotations

import heapq
import random
import time

import numpy as np
import pytest

import graphad as ga
from graphad.plan.checkpoints import ChainPlanner
from graphad.plan.evictions import Evictions
from graphad.plan.exact_saving import AMOUNTS
from graphad.plan.memory import Problem, Task, chain, simulate
from graphad.plan.optimal import optimal_steps
from graphad.plan.rematerialise import Exact, Rematerialisation
from graphad.plan.saving import closure, savings
from graphad.plan.stages import Staged
from tests.test_plan_memory import UNIFORM, counted

BEYOND = {18: (45, 47), 13: (60, None)}  # budget to least cost and the other methods', of the branches of `drawn(5, 7)`


def drawn(seed: int, count: int, *, fused: float = 0.0) -> Problem:
    """Forward tasks that read two of the last three, a loss, and backward tasks that read what those read."""
    draw = random.Random(seed)
    tasks: list[Task] = []
    for i in range(count):
        args = tuple(sorted(set(draw.choices(range(max(0, i - 3), i), k=2)))) if i else ()
        tasks.append(Task(f"f{i}", draw.randint(1, 4), draw.randint(1, 5), args, fused=draw.random() < fused))
    tasks.append(Task("loss", 1, 1, (count - 1,)))
    for i in reversed(range(count)):
        args = tuple(sorted({len(tasks) - 1, i, *tasks[i].args}))
        tasks.append(Task(f"b{i}", draw.randint(1, 4), draw.randint(1, 5), args, fused=draw.random() < fused))
    return Problem(tuple(tasks), count)


def cheapest(problem: Problem, budget: int) -> int | None:
    """The least cost by Dijkstra's method over all sets of live values; tasks run again in any order."""
    tasks, done = problem.tasks, set()
    waiting: list[tuple[int, int, int]] = [(0, 0, 0)]
    while waiting:
        cost, new, live = heapq.heappop(waiting)
        if new == len(tasks):
            return cost
        if (new, live) in done:
            continue
        done.add((new, live))
        for i in range(new + 1):
            if live >> i & 1:
                heapq.heappush(waiting, (cost, new, live ^ 1 << i))
            elif (i == new or i < problem.turn) and all(live >> a & 1 for a in tasks[i].args):
                after = live | 1 << i
                if sum(task.bytes for k, task in enumerate(tasks) if after >> k & 1) <= budget:
                    heapq.heappush(waiting, (cost + tasks[i].cost, max(new, i + 1), after))
    return None


@pytest.mark.parametrize("length", [4, 6, 8])
def test_uniform_chains(length: int) -> None:
    problem = chain([1] * length, [1] * length, [1] * length)
    for budget, cost in UNIFORM[length].items():
        steps = optimal_steps(problem, budget)
        assert steps is not None
        peak, found = counted(problem, steps)
        assert (found, peak <= budget) == (cost, True)
        assert optimal_steps(problem, budget, below=cost) is None
    assert optimal_steps(problem, 3) is None
    assert optimal_steps(problem, 100, below=0) is optimal_steps(Problem((), 0, held=2), 1) is None


@pytest.mark.parametrize("seed", range(4))
def test_what_an_exhaustive_search_finds(seed: int) -> None:
    problem = drawn(seed, 4)
    whole = Rematerialisation(problem).everything.peak
    for budget in range(whole - 1, whole // 2, -2):
        least = cheapest(problem, budget)
        steps = optimal_steps(problem, budget)
        assert (steps is None) == (least is None)
        if steps is not None:
            peak, cost = counted(problem, steps)
            assert (cost, peak <= budget) == (least, True)


def test_branches_beyond_the_chain() -> None:
    problem = drawn(5, 7)
    for budget, costs in BEYOND.items():
        others = Rematerialisation(problem).plan(budget)
        plan = Exact(problem).plan(budget)
        assert plan is not None
        assert (plan.cost, others and others.cost) == costs
        assert plan.method == "integer program"
        assert counted(problem, plan.steps) == (plan.peak, plan.cost)
        assert plan.peak <= budget


@pytest.mark.parametrize("seed", range(4))
def test_registers_results_and_marks(seed: int) -> None:
    """Fused neighbours take no memory, results stay, what is marked is saved or is not there at the turn."""
    plain = drawn(seed, 8, fused=0.6)
    tasks = list(plain.tasks)
    tasks[2] = Task("saved", 2, 3, tasks[2].args, mark="save")
    tasks[4] = Task("again", 2, 3, tasks[4].args, mark="recompute")
    tasks[6] = Task("result", 2, 3, tasks[6].args, kept=True)
    problem = Problem(tuple(tasks), plain.turn, held=2)
    budget = simulate(problem, range(len(tasks))).peak
    steps = optimal_steps(problem, budget)
    assert steps is not None
    assert simulate(problem, steps).peak <= budget
    assert (steps.count(2), steps.count(6)) == (1, 1)
    assert steps.count(4) > 1
    loose = optimal_steps(plain, Rematerialisation(plain).everything.peak)
    assert loose == tuple(range(len(plain.tasks)))


def test_the_work_is_kept_and_every_run_finds_the_same() -> None:
    """What is found depends on the problem only: the search ends after so much work, however long that takes."""
    draw = random.Random(1)
    problem = chain([draw.randint(1, 90) for _ in range(20)], [draw.randint(1, 90) for _ in range(20)], [50] * 20)
    budget = Rematerialisation(problem).everything.peak // 2
    assert optimal_steps(problem, budget, work=1000) is None
    first, second = (optimal_steps(problem, budget, work=60_000) for _ in range(2))
    assert first == second is not None
    assert simulate(problem, first).peak <= budget
    begun = time.perf_counter()
    plans = [Exact(problem, work).plan(budget) for work in (0, 60_000, 60_000)]
    assert time.perf_counter() - begun < 60
    assert plans[1] == plans[2]
    best, found = (plan and plan.cost for plan in plans[:2])
    assert found <= best


@pytest.mark.parametrize("seed", range(6))
def test_evictions_keep_their_budget(seed: int) -> None:
    """Against the least cost of all, where an exhaustive search can tell it."""
    problem = drawn(seed, 4)
    whole = Rematerialisation(problem).everything.peak
    for budget in range(whole, whole // 2, -2):
        least, steps = cheapest(problem, budget), Evictions(problem).within(budget)
        if steps is not None:
            peak, cost = counted(problem, steps)
            assert (peak <= budget, cost >= least) == (True, True)


def test_evictions_beyond_the_chain() -> None:
    """Sums of a residual network are made again of its layers' results: a chain stores them or runs layers again."""
    size, tasks = 100, [Task("x", 100, 0, ())]
    for _ in range(12):
        before = len(tasks) - 1
        tasks += [Task("layer", size, 1000, (before,)), Task("sum", size, 10, (before, before + 1))]
    turn, gradient = len(tasks), len(tasks)
    tasks.append(Task("loss", size, 10, (turn - 1,)))
    for place in range(turn - 2, 0, -2):
        tasks.append(Task("back", size, 1000, (gradient, place, place - 1)))
        gradient = len(tasks) - 1
    problem = Problem(tuple(tasks), turn)
    budget = int(0.7 * Rematerialisation(problem).everything.peak)
    steps, chained = Evictions(problem).within(budget), ChainPlanner(Staged(problem), budget)
    chained.solve()
    assert steps is not None
    peak, cost = counted(problem, steps)
    assert peak <= budget
    assert 5 * (cost - problem.cost) < simulate(problem, chained.steps(chained.levels)).cost - problem.cost


@pytest.mark.parametrize("seed", range(10))
def test_exact_savings_of_blocks(seed: int) -> None:
    """Against every set of values that may be saved."""
    draw = random.Random(seed)
    operands = [sorted({draw.randrange(k) for _ in range(2)}) if k else [] for k in range(9)]
    tasks = [Task(f"{k}", draw.randint(1, 9), draw.randint(1, 30), tuple(args)) for k, args in enumerate(operands)]
    wanted = draw.sample(range(9), 5)
    tasks.append(Task("back", 1, 1, tuple(sorted(wanted))))
    problem = Problem(tuple(tasks), 9)
    most = sum(tasks[t].bytes for t in wanted)
    least = dict.fromkeys(range(most + 1), 10**9)
    for number in range(2**9):
        saved = {t for t in range(9) if number >> t & 1}
        cost = sum(tasks[t].cost for t in closure(problem, wanted, saved, range(9)))
        size = sum(tasks[t].bytes for t in saved)
        for room in range(size, most + 1):
            least[room] = min(least[room], cost)
    found = savings(problem, range(9), wanted, exact=True)
    for part in range(1, AMOUNTS + 1):
        room = most * part // AMOUNTS
        assert min(one.extra for one in found if one.bytes <= room) == least[room]


def test_blocks_of_a_large_network_are_planned_exactly() -> None:
    """Minimum cuts and the knapsack alone took 26.6 and 31.3 % more operations."""
    g = ga.Graph("gated")
    x, weights = g.input("x", shape=(512, 64)), [g.input(f"w{k}", shape=(64, 64)) for k in range(12)]
    for w in weights:
        x = x + np.tanh(np.tanh(x @ w) @ w) * ga.sigmoid(x @ w)
    g.output("y", (x * x).sum())
    curve = ga.plan_memory(g, [0.4, 0.3], wrt=[f"w{k}" for k in range(12)])
    assert [point.overhead < most for point, most in zip(curve.points, (0.24, 0.3), strict=True)] == [True, True]
