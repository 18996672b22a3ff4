"""Constant folding and neutral elements: what is folded, what must stay."""

import numpy as np
import pytest

from graphad.interpret import interpret
from graphad.ir.graph import Graph
from graphad.ir.text import to_text
from passes.fold import TABLE, Fold, fold


def graph_of(build) -> Graph:
    graph = Graph("f")
    graph.output("y", build(graph, graph.input("x", shape=("n", 3)), graph.input("w", shape=(3,), dtype="int64")))
    return graph.freeze()


def both(g, op, *args):
    return g.apply(op, *args)


CASES = {
    "evaluate": (lambda g, x, w: x + np.sin(g.const(2.0)), "const add"),
    "add_zero": (lambda g, x, w: 0.0 + x, ""),
    "sub_zero": (lambda g, x, w: x - 0.0, ""),
    "zero_sub": (lambda g, x, w: 0.0 - x, "neg"),
    "mul_one": (lambda g, x, w: x * 1.0, ""),
    "mul_minus_one": (lambda g, x, w: x * -1.0, "neg"),
    "div_one": (lambda g, x, w: x / 1.0, ""),
    "div_minus_one": (lambda g, x, w: x / -1.0, "neg"),
    "power_zero": (lambda g, x, w: both(g, "power", x, g.const(0.0)), "const broadcast_to"),
    "power_one": (lambda g, x, w: both(g, "power", x, g.const(1.0)), ""),
    "power_two": (lambda g, x, w: both(g, "power", x, g.const(2.0)), "square"),
    "power_minus_one": (lambda g, x, w: both(g, "power", x, g.const(-1.0)), "reciprocal"),
    "integer_power_one": (lambda g, x, w: both(g, "integer_power", w, g.const(1)), ""),
    "integer_power_two": (lambda g, x, w: both(g, "integer_power", w, g.const(2)), "square"),
    "guarded_mul_one": (lambda g, x, w: both(g, "guarded_mul", x, g.const(1.0)), ""),
    "guarded_mul_minus_one": (lambda g, x, w: both(g, "guarded_mul", x, g.const(-1.0)), "neg"),
    "merged_factors": (lambda g, x, w: 3.0 * (x * 0.7), "const mul"),
    "signed_factor": (lambda g, x, w: -(x * 3.0), "const mul"),
    "quotient_by_power": (lambda g, x, w: x / 4.0, "const mul"),
    "chosen": (lambda g, x, w: np.where(g.const(True), x, 2.0), ""),
    "truth": (lambda g, x, w: np.logical_and(x < 0.5, g.const(True)), "const less"),
}


def operations(graph: Graph) -> str:
    return " ".join(node.op for node in graph.nodes if node.op != "input")


def test_every_rewrite_has_a_case():
    assert list(CASES) == [rewrite.name for rewrite in TABLE]


@pytest.mark.parametrize("name", CASES)
def test_a_rewrite_fires_and_keeps_values(name):
    graph = graph_of(CASES[name][0])
    before = to_text(graph)
    after = Fold().run(graph)
    assert operations(after) == CASES[name][1], f"\n{before}\n{after}"
    assert to_text(graph) == before
    assert fold(after) is after
    x = np.array([[0.3, -1.2, 2.0], [1.5, 0.7, -0.4]])
    expected, got = (interpret(g, x=x, w=[3, 0, -2])["y"] for g in (graph, after))
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(got, expected, rtol=1e-15)


def test_values_of_neutral_shapes_are_stretched():
    graph = Graph("f")
    s = graph.input("s")
    graph.output("y", s + np.zeros((2, 3)))
    after = fold(graph)
    assert operations(after) == "broadcast_to"
    assert interpret(after, 2.0)["y"].shape == (2, 3)


LEFT_ALONE = {
    "x times zero": lambda g, x, w: x * 0.0,
    "a third": lambda g, x, w: x / 3.0,
    "iota": lambda g, x, w: x + g.apply("iota", size=3, dtype="float64"),
    "a stretched constant": lambda g, x, w: np.sin(x) * g.apply("broadcast_to", g.const(2.0), shape=(1, 3)),
    "overflowing factors": lambda g, x, w: 1e200 * (x * 1e200),
    "vanishing factors": lambda g, x, w: 1e-200 * (x * 1e-200),
    "a where that chooses": lambda g, x, w: np.where(x < 0.0, x, 2.0),
}


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_left_alone(name):
    graph = graph_of(LEFT_ALONE[name])
    assert fold(graph) is graph


def test_zero_times_infinity_reaches_the_result():
    graph = Graph("f")
    graph.output("y", graph.input("x") * 0.0)
    assert np.isnan(interpret(fold(graph), np.inf)["y"])


def test_large_results_are_not_stored():
    graph = Graph("f")
    graph.output("y", graph.const(np.ones((40, 1))) + graph.const(np.ones((1, 40))))
    assert fold(graph) is graph


def test_integers_that_would_overflow_stay():
    graph = Graph("f")
    graph.output("y", 2**40 * (graph.input("k", dtype="int64") * 2**40))
    assert fold(graph) is graph
