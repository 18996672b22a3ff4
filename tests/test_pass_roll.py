"""Sums and stacks of equal terms become array operations, values and derivatives unchanged."""

from __future__ import annotations

from time import process_time

import numpy as np
import pytest

import graphad as ga
from passes.pipeline import run_pipeline
from passes.roll import FEWEST, roll_terms
from passes.simplify import simplify


def ops(graph: ga.Graph) -> list[str]:
    return [node.op for node in graph.nodes]


def same(graph: ga.Graph, *arguments: object, tolerance: float = 1e-13) -> ga.Graph:
    """The rolled graph, after a check that its values and those of its gradient are the graph's."""
    before = str(graph)
    rolled = roll_terms(graph)
    assert str(graph) == before
    assert roll_terms(rolled) is rolled
    for name, value in ga.interpret(graph, *arguments).items():
        np.testing.assert_allclose(ga.interpret(rolled, *arguments)[name], value, rtol=tolerance, atol=tolerance)
    if not graph.nodes[next(iter(graph.outputs.values()))].type.shape:
        expected = ga.interpret(ga.transform.grad(graph), *arguments)
        got = ga.interpret(ga.transform.grad(rolled), *arguments)
        for name, value in expected.items():
            np.testing.assert_allclose(got[name], value, rtol=tolerance, atol=tolerance * np.abs(value).max())
    return rolled


def rosenbrock(n: int) -> ga.Graph:
    graph = ga.Graph("rosenbrock")
    x = graph.input("x", shape=n)
    total = 0.0
    for i in range(n - 1):
        total = total + 100.0 * (x[i + 1] - x[i] ** 2) ** 2 + (1.0 - x[i]) ** 2
    graph.output("y", total)
    return graph


def test_written_out_terms_cost_what_a_loop_costs():
    n = 1000
    arrays = ga.Graph("rosenbrock")
    x = arrays.input("x", shape=n)
    arrays.output("y", (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum())
    written_out, array = ga.value_and_grad(rosenbrock(n)), ga.value_and_grad(arrays)
    assert len(written_out.optimized.nodes) <= len(array.optimized.nodes) + 2
    assert written_out.source.count("for ") <= array.source.count("for ") + 1
    assert "PROGRAM" not in written_out.source
    point = np.random.default_rng(0).uniform(-1, 1, n)
    (value, gradient), (wanted, by_arrays) = written_out(point), array(point)
    assert abs(value - wanted) < 1e-12 * wanted
    np.testing.assert_allclose(gradient, by_arrays, rtol=1e-12, atol=1e-11)


def test_two_kinds_of_terms_in_one_sum():
    rolled = same(rosenbrock(40), np.random.default_rng(0).uniform(-1, 1, 40))
    assert ops(simplify(rolled)).count("sum") == 2
    assert len(rolled.nodes) < 25


def test_places_and_constants_that_follow_no_rule():
    random = np.random.default_rng(3)
    places, factors = random.integers(0, 50, 30).tolist(), random.normal(size=30).tolist()
    graph = ga.Graph("scattered")
    x, a = graph.input("x", shape=50), graph.input("a")
    graph.output("y", sum((np.sin(a * x[p]) * f for p, f in zip(places, factors, strict=True)), start=a))
    rolled = same(graph, random.normal(size=50), 0.7, tolerance=1e-12)
    assert ops(rolled).count("gather") == 1
    assert ops(rolled).count("sin") == 1
    assert any(node.op == "const" and node.type.shape == (30,) for node in rolled.nodes)


def test_places_backwards_and_a_symbolic_size():
    graph = ga.Graph("backwards")
    x = graph.input("x", shape="n")
    graph.output("y", sum((x[30 - 2 * i] * x[i] for i in range(FEWEST)), start=graph.const(1.0)))
    rolled = same(graph, np.random.default_rng(0).normal(size=35))
    assert {node.param("steps") for node in rolled.nodes if node.op == "slice"} == {(-2,), (1,)}
    with pytest.raises(ga.ShapeError):
        ga.interpret(rolled, np.zeros(20))


def test_a_stack():
    graph = ga.Graph("residuals")
    x = graph.input("x", shape=60)
    inside = [(3.0 - 2.0 * x[i]) * x[i] - x[i - 1] - 2.0 * x[i + 1] for i in range(1, 59)]
    graph.output("r", np.stack([x[0] ** 2, *inside, np.cos(x[59])]))
    rolled = same(graph, np.random.default_rng(0).normal(size=60))
    assert ops(rolled).count("concatenate") == 1
    assert len(rolled.nodes) < 25
    jacobian = ga.interpret(ga.transform.jacobian(rolled, ["x"], mode="forward"), np.ones(60))["dr_dx"]
    expected = np.diag(-1.0 * np.ones(60)) - np.diag(np.ones(59), -1) - 2.0 * np.diag(np.ones(59), 1)
    expected[0], expected[59] = 0.0, 0.0
    expected[0, 0], expected[59, 59] = 2.0, -np.sin(1.0)
    np.testing.assert_allclose(jacobian, expected, atol=1e-13)


def test_equal_terms_that_share_an_operand():
    graph = ga.Graph("shared")
    x = graph.input("x", shape=40)
    scale = np.exp((x * x).sum() * -0.1)
    graph.output("y", sum((scale * x[i] ** 2 + scale for i in range(40)), start=graph.const(0.0)))
    same(graph, np.random.default_rng(0).normal(size=40), tolerance=1e-12)


def test_what_is_left_alone():
    few = ga.Graph("few")
    x = few.input("x", shape=40)
    few.output("y", sum((x[i] * x[i + 1] for i in range(FEWEST - 1)), start=few.const(0.0)))
    assert roll_terms(few) is few
    graph = ga.Graph("chain")
    a = graph.input("a")
    states = [a]
    for _ in range(200):
        states.append(np.sin(states[-1]) + 0.1)
    graph.output("y", sum(s * s for s in states))
    assert roll_terms(graph) is graph  # each term has another operand, not another place of one array
    plain = ga.Graph("plain")
    x = plain.input("x", shape=40)
    plain.output("y", sum(x[i] for i in range(40)))
    assert roll_terms(plain) is plain  # nothing is computed in the terms


def test_a_partial_sum_that_is_read_elsewhere_stays():
    graph = ga.Graph("partial")
    x = graph.input("x", shape=40)
    first = sum((np.sin(x[i]) for i in range(20)), start=graph.const(0.0))
    graph.output("y", sum((np.sin(x[i]) for i in range(20, 40)), start=first) * first)
    rolled = same(graph, np.random.default_rng(0).normal(size=40), tolerance=1e-12)
    assert ops(rolled).count("sin") == 2


def test_it_is_in_the_pipeline():
    optimized, statistics = run_pipeline(ga.transform.value_and_grad(rosenbrock(30)))
    assert "roll" in [s.name for s in statistics]
    assert len(optimized.nodes) < 800


def test_a_long_recurrence_is_not_walked_for_every_term():
    graph = ga.Graph("long")
    a = graph.input("a")
    total = a
    for _ in range(4000):
        a = np.sin(a) * 0.9
        total = total + a
    graph.output("y", total)
    begun = process_time()
    assert roll_terms(graph) is graph
    assert process_time() - begun < 1.0  # 10 s where each term is walked up to its limit
