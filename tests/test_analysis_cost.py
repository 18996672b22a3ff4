"""Costs of nodes and graphs."""

import numpy as np
import pytest

from graphad.analysis.cost import graph_bytes, graph_flops, node_bytes, node_flops
from graphad.ir.graph import Graph


@pytest.fixture
def graph() -> Graph:
    return Graph("f")


def test_elementwise_operations_cost_per_element_of_the_result(graph):
    x, w = graph.input("x", shape=("n", 1)), graph.input("w", shape=(3,))
    assert node_flops(graph, (x * w).id) == graph.size("n") * 3
    assert node_bytes(graph, (x * w).id) == graph.size("n") * 32 + 24


def test_reductions_cost_per_element_reduced(graph):
    x = graph.input("x", shape=("n", 4))
    assert node_flops(graph, graph.apply("sum", x, axes=(1,)).id) == graph.size("n") * 4


def test_views_are_free(graph):
    x = graph.input("x", shape=("n", 4), dtype="float32")
    for node in (x.T, x.reshape(-1), graph.const(1.0)):
        assert node_flops(graph, node.id) == 0
        assert node_bytes(graph, node.id) == 0


def test_products_cost_two_per_multiplication(graph):
    a, b = graph.input("a", shape=("n", "m")), graph.input("b", shape=("m", 5))
    product = graph.apply("einsum", a, b, left="ij", right="jk", out="ik")
    assert node_flops(graph, product.id) == graph.size("n") * graph.size("m") * 10


def test_graphs_take_given_sizes_hints_and_1000(graph):
    x, y = graph.input("x", shape="n", hint=7), graph.input("y", shape="m")
    graph.output("a", x + 1.0)
    graph.output("b", y + 1.0)
    assert graph_flops(graph) == 1007
    assert graph_flops(graph, {"n": 1, "m": 2}) == 3
    assert graph_bytes(graph, {"n": 1, "m": 2}) == 16 + 8 + 32 + 8
    assert graph_flops(graph, {"n": np.int64(3)}) == 1003
