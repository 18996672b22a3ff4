"""Plans for memory against published tables: chains, minimum cuts, GPT-2; schedules are run by a plain count."""

from __future__ import annotations

import random

import pytest

import graphad as ga
from graphad.plan.memory import Problem, Task, chain, parse_budget, simulate
from graphad.plan.rematerialise import Rematerialisation
from graphad.plan.saving import saved_within
from graphad.plan.stages import Staged

# Budget to cost of the cheapest schedule of L forward steps, a loss and L backward steps, from an integer program.
UNIFORM = {
    4: {4: 12, 5: 10, 6: 9},
    6: {4: 23, 5: 16, 6: 15, 7: 14, 8: 13},
    8: {4: 38, 5: 24, 6: 21, 7: 20, 8: 19, 9: 18, 10: 17},
    12: {5: 42, 6: 35, 7: 32, 8: 31, 10: 29},
    16: {7: 45, 8: 43, 10: 41},
}


def counted(problem: Problem, steps: tuple[int, ...]) -> tuple[int, int]:
    """Peak and cost of a schedule, counted by keeping values until nothing later reads them."""
    held: set[int] = set()
    peak = 0
    for number, step in enumerate(steps):
        assert set(problem.tasks[step].args) <= held
        held.add(step)
        peak = max(peak, sum(problem.tasks[t].bytes for t in held))
        for value in list(held):
            later = [s for s in steps[number + 1 :] if s == value or value in problem.tasks[s].args]
            if not later or later[0] == value:
                held.discard(value)
    return peak, sum(problem.tasks[t].cost for t in steps)


@pytest.mark.parametrize("length", UNIFORM)
def test_uniform_chains_are_exact(length: int) -> None:
    planner = Rematerialisation(chain([1] * length, [1] * length, [1] * length))
    for budget, cost in UNIFORM[length].items():
        plan = planner.plan(budget)
        assert plan is not None
        assert (plan.cost, plan.peak <= budget) == (cost, True)
        assert counted(planner.problem, plan.steps) == (plan.peak, plan.cost)
    assert planner.plan(min(3, min(UNIFORM[length]) - 1)) is None


def test_chains_of_unequal_steps_keep_their_budget() -> None:
    draw = random.Random(3)
    sizes = [draw.randint(1, 9) for _ in range(12)]
    planner = Rematerialisation(chain(sizes, [draw.randint(1, 9) for _ in sizes], [2] * 12))
    costs = []
    for budget in range(20, planner.everything.peak + 1, 4):
        plan = planner.plan(budget)
        if plan is not None:
            assert counted(planner.problem, plan.steps) == (plan.peak, plan.cost)
            assert plan.peak <= budget
            costs.append(plan.extra)
    assert len(costs) > 5
    assert costs == sorted(costs, reverse=True)
    assert costs[0] > 0


def test_gpt2_within_the_published_bounds() -> None:
    """ZeRO (SC20), section 3.2: 48 layers of 12 equal tensors, forward to backward 1:2; cuts at layers, at tensors."""
    size = 2 * 1600 * 32 * 1024
    problem = chain([size] * 576, [1] * 576, [2] * 576, gradient=[0] * 577)
    at_layers, at_tensors = Rematerialisation(problem, range(12, 576, 12)), Rematerialisation(problem)
    assert at_layers.everything.peak == pytest.approx(60.4e9, rel=1e-3)
    bounds = ((at_layers, 5.04e9, 0.319), (at_layers, 4.2e9, 0.333), (at_tensors, 3.68e9, 0.333))
    for planner, budget, overhead in bounds:
        plan = planner.plan(int(budget))
        assert plan is not None
        assert plan.peak <= budget
        assert plan.extra / problem.cost <= overhead


def deep(count: int) -> Problem:
    """cos, `count` times (matrix product, cos), square, sum: a product costs 1000, a cosine 1, each value one unit."""
    tasks = [Task("cos", 1, 1, (), fused=True)]
    for _ in range(count):
        tasks.append(Task("product", 1, 1000, (len(tasks) - 1,)))
        tasks.append(Task("cos", 1, 1, (len(tasks) - 1,), fused=True))
    turn = len(tasks)
    tasks.append(Task("square'", 1, 1, (turn - 1,), fused=True))
    for k in reversed(range(count)):
        tasks.append(Task("cos'", 1, 1, (len(tasks) - 1, 2 * k + 1), fused=True))
        tasks.append(Task("to the weights", 0, 1000, (len(tasks) - 1, 2 * k)))
        tasks.append(Task("to the operand", 1, 1000, (len(tasks) - 2,)))
    return Problem(tuple(tasks), turn)


def test_minimum_cuts() -> None:
    one = Problem((Task("cos", 1, 1, (), fused=True), Task("product", 1, 1000, (0,)), Task("'", 1, 1000, (0,))), 2)
    assert [saved_within(one, b).bytes for b in (1.0, 0.5)] == [1, 0]
    assert saved_within(one, 0.5).extra < 1000
    for budget, saved, products in ((1.0, 11, 0), (0.9, 5, 0), (0.6, 5, 0), (0.4, 4, 1), (0.2, 2, 3), (0.0, 0, 5)):
        found = saved_within(deep(5), budget)
        assert (found.bytes, found.extra // 1000) == (saved, products)
    branches = Problem((Task("a", 4, 4, ()), Task("b", 4, 8, ()), Task("a'", 0, 1, (0,)), Task("b'", 0, 1, (1,))), 2)
    assert saved_within(branches, 0.5) == (frozenset({1}), 4, 4)


def test_equal_layers_are_planned_once() -> None:
    staged = Staged(chain([3, 1] * 20, [1, 2] * 20, [1, 2] * 20))
    assert len(set(staged.signatures)) <= 5 < len(staged.stages)


def test_a_simulation_counts_reruns_and_registers() -> None:
    tasks = (Task("a", 8, 1, (), fused=True), Task("b", 8, 1, (0,), fused=True), Task("c", 8, 5, (1,)))
    assert simulate(Problem(tasks, 3), (0, 1, 2)).peak == 16  # a stays in a register
    assert simulate(Problem(tasks, 3, held=4), (0, 1, 2, 0, 1, 2)).cost == 14


@pytest.mark.parametrize("budget", ["much", "12 parsecs", -1, 0, True, float("nan"), "0.2 B", None])
def test_malformed_budgets(budget: object) -> None:
    with pytest.raises(ga.ArgumentError, match=r"no amount of memory(.|\n)*1.5 GiB"):
        parse_budget(budget, 100)  # type: ignore[arg-type]
