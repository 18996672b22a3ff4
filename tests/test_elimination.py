"""Elimination orders and Jacobian chains against published counts."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

import graphad as ga
from graphad.plan.annealing import anneal
from graphad.plan.chains import Factor, all_forward, all_reverse, best_tree
from graphad.plan.elimination import (
    EXACT,
    ORDERS,
    Edge,
    Linearized,
    Rule,
    candidates,
    count,
    exact,
    forward,
    markowitz,
    minimum_fill_in,
    net_change,
    reverse,
)

DATA = Path(__file__).parent / "data"
# forward, reverse, Markowitz, net change, fill-in (ties last) and the best annealed counts, published or measured.
PUBLISHED = {
    "RoeFlux_1d": (620, 364, 344, 328, 306, 295),
    "RobotArm_6DOF": (397, 301, 221, 221, 221, 221),
    "HumanHeartDipole": (240, 172, 148, 150, 148, 148),
    "PropaneCombustion": (151, 90, 88, 88, 88, 88),
}


def reference(task: str) -> Linearized:
    data = json.loads((DATA / f"{task}.json").read_text(encoding="utf-8"))
    size = data["num_inputs"] + data["num_vertices"]
    edges = tuple(Edge(source, target) for source, target, *_ in data["edges"])
    return Linearized(size, tuple(range(data["num_inputs"])), tuple(data["outputs"]), edges)


@pytest.mark.parametrize("task", PUBLISHED)
def test_counts_of_published_tasks(task: str) -> None:
    graph = reference(task)
    rules = (forward, reverse, markowitz, net_change, minimum_fill_in)
    assert tuple(count(graph, rule(graph)) for rule in rules) == PUBLISHED[task][:5]
    best = candidates(graph, "raw", seconds=20.0)  # the schedule ends after about a second
    assert min(c.raw for c in best) <= PUBLISHED[task][5]
    assert best[-1].name == "annealing"


def random_graph(seed: int, inner: int = 6) -> Linearized:
    generator = np.random.default_rng(seed)
    size = inner + 5
    edges = []
    for target in range(3, size):
        latest = min(target, inner + 3)
        for source in generator.choice(latest, size=2, replace=True):
            edges.append(Edge(int(source), target, str(generator.choice(["unit", "constant", "variable"]))))
    return Linearized(size, (0, 1, 2), (size - 2, size - 1), tuple(edges))


@pytest.mark.parametrize("rule", ["raw", "refined"])
def test_the_exact_search_is_the_minimum_over_all_orders(rule: Rule) -> None:
    for seed in range(2):
        graph = random_graph(seed, 5)
        least = min(count(graph, order, rule) for order in permutations(graph.intermediates))
        assert count(graph, exact(graph, rule), rule) == least


@pytest.mark.parametrize("seed", range(3))
def test_no_order_beats_the_exact_one_and_annealing_finds_it(seed: int) -> None:
    graph = random_graph(10 + seed, 8)
    rules: tuple[Rule, ...] = ("raw", "refined")
    for rule in rules:
        least = count(graph, exact(graph, rule), rule)
        for order in ORDERS.values():
            assert count(graph, order(graph), rule) >= least
        found = anneal(graph, forward(graph), rule, 20.0)
        assert count(graph, found, rule) == least
        assert found == anneal(graph, forward(graph), rule, 20.0)


def test_the_refined_rule() -> None:
    def chain(first: str, second: str) -> int:
        graph = Linearized(3, (0,), (2,), (Edge(0, 1, first), Edge(1, 2, second)))
        return count(graph, (1,), "refined")

    assert chain("unit", "variable") == chain("variable", "unit") == chain("constant", "constant") == 0
    assert chain("variable", "variable") == chain("constant", "variable") == chain("variable", "constant") == 1


def test_a_sum_of_units_is_a_constant() -> None:
    """2x through two edges of 1, times a variable: one product."""
    twice = Linearized(4, (0,), (3,), (Edge(0, 1, "unit"), Edge(0, 2, "unit"), Edge(1, 2, "unit"), Edge(2, 3)))
    assert count(twice, (1, 2), "refined") == 1
    assert count(twice, anneal(twice, (2, 1)), "refined") == count(twice, exact(twice, "refined"), "refined")


def test_what_is_refused() -> None:
    with pytest.raises(ga.ArgumentError, match="later vertex"):
        Linearized(2, (0,), (1,), (Edge(1, 0),))
    with pytest.raises(ga.ArgumentError, match="a copy"):
        Linearized(3, (0,), (1, 2), (Edge(0, 1), Edge(1, 2)))
    with pytest.raises(ga.ArgumentError, match="every intermediate vertex once"):
        count(random_graph(0), (3, 3))
    with pytest.raises(ga.ArgumentError, match=f"at most {EXACT}"):
        exact(random_graph(0, EXACT + 1))


TEN = "2 6 19;3 2 18;7 3 62;10 7 156;2 10 73;2 2 14;9 2 30;3 9 132;2 3 12;9 2 102"


def test_the_chain_of_ten_factors() -> None:
    """Outputs, inputs and edges of each factor; the counts are published."""
    factors = [Factor.of(*map(int, line.split())) for line in TEN.split(";")]
    assert all_forward(factors) == 3708
    assert all_reverse(factors) == 5562
    assert best_tree(factors).cost == 1344


def test_a_chain_that_is_one_mode() -> None:
    narrow = [Factor.of(5, 2, 10), Factor.of(50, 5, 250)]
    assert best_tree(narrow).cost <= min(all_forward(narrow), all_reverse(narrow))
    one = [Factor.of(100, 1, 100), Factor.of(100, 100, 200)]
    assert best_tree(one).uniform == "forward"
    other = [Factor.of(100, 100, 200), Factor.of(1, 100, 100)]
    assert best_tree(other).uniform == "reverse"
