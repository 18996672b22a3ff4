"""Merging equal nodes and dropping unused ones."""

import numpy as np
import pytest

from graphad.ad import transform
from graphad.ir.graph import Graph
from graphad.ir.text import from_text, to_text
from passes.cse import CommonSubexpressions, merge_equal
from passes.dead import DeadCode, remove_dead

BEFORE = """graph f
  a: float64[] = input
  b: float64[] = input
  %2: float64[] = add a b
  %3: float64[] = add b a
  %4: float64[] = sub a b
  %5: float64[] = sub b a
  %6: float64[] = mul %2 %3
  %7: float64[] = mul %4 %5
  %8: float64[] = neg %7
  output y = %6
  output z = %7"""

MERGED = """graph f
  a: float64[] = input
  b: float64[] = input
  %2: float64[] = add a b
  %3: float64[] = sub a b
  %4: float64[] = sub b a
  %5: float64[] = mul %2 %2
  %6: float64[] = mul %3 %4
  %7: float64[] = neg %6
  output y = %5
  output z = %6"""

LIVE = """graph f
  a: float64[] = input
  b: float64[] = input
  %2: float64[] = add a b
  %3: float64[] = sub a b
  %4: float64[] = sub b a
  %5: float64[] = mul %2 %2
  %6: float64[] = mul %3 %4
  output y = %5
  output z = %6"""


def test_golden():
    graph = from_text(BEFORE)
    merged = CommonSubexpressions().run(graph)
    assert to_text(merged) == MERGED
    assert to_text(DeadCode().run(merged)) == LIVE
    assert to_text(graph) == BEFORE


def test_nothing_to_do_answers_the_graph_itself():
    graph = from_text(LIVE)
    assert merge_equal(graph) is graph
    assert remove_dead(graph) is graph


def test_regions_stay_apart():
    text = BEFORE.replace("add b a", "add b a @1")
    assert to_text(merge_equal(from_text(text))).count("add") == 2


@pytest.mark.parametrize("op", ["sub", "div", "minimum", "maximum"])
def test_operands_that_can_not_change_places(op):
    graph = Graph("f")
    a, b = graph.input("a"), graph.input("b")
    graph.output("y", graph.apply(op, a, b) + graph.apply(op, b, a))
    assert merge_equal(graph) is graph


def test_parameters_dtypes_and_signed_zeros_tell_nodes_apart():
    graph = Graph("f")
    x = graph.input("x", shape=(2, 2))
    graph.output("a", graph.apply("sum", x, axes=(0,)) + graph.apply("sum", x, axes=(1,)))
    graph.output("b", x.astype("float32").astype("float64") + x.astype("int64").astype("float64"))
    graph.output("c", (x + 0.0) * (x + -0.0))
    assert merge_equal(graph) is graph


def test_chains_merge_in_one_walk():
    graph = Graph("f")
    x = graph.input("x")
    graph.output("y", np.sin(np.cos(x)) + np.sin(np.cos(x)))
    assert [n.op for n in merge_equal(graph).nodes] == ["input", "cos", "sin", "add"]


def test_unused_inputs_and_requirements_stay():
    graph = Graph("f")
    x, y = graph.input("x", shape="n"), graph.input("y", shape="m")
    z = x + y
    graph.output("a", x * 2.0)
    graph.output("b", z - z)
    after = remove_dead(merge_equal(graph))
    assert list(after.inputs) == ["x", "y"]
    assert len(after.requirements) == 1


def test_common_parts_of_value_and_gradient_are_computed_once():
    graph = Graph("f")
    x = graph.input("x")
    graph.output("y", np.exp(x) * np.exp(x))
    after = merge_equal(transform.value_and_grad(graph))
    assert sum(n.op == "exp" for n in after.nodes) == 1
