"""The graph: building, its networkx view, pickling, application inside another graph, substitution."""

import pickle

import networkx as nx
import numpy as np
import pytest

from graphad.errors import ArgumentError, GraphError, ShapeError
from graphad.interpret import interpret
from graphad.ir.apply import replace_nodes, substitute
from graphad.ir.graph import Graph
from graphad.ir.verify import verify


def norm() -> Graph:
    graph = Graph("norm")
    x, c = graph.input("x", shape="n"), graph.input("c")
    graph.output("y", x * x + c)
    return graph


def test_the_networkx_view_holds_nodes_and_positions():
    graph = norm()
    dag = graph.dag
    assert nx.is_directed_acyclic_graph(dag)
    assert dag.edges[0, 2]["positions"] == (0, 1)
    assert dag.nodes[2]["node"] is graph.nodes[2]
    with pytest.raises(nx.NetworkXError):
        dag.add_node(9)


def test_a_graph_comes_back_from_a_relabelled_dag():
    graph = norm()
    dag = nx.relabel_nodes(graph.dag, {0: 30, 1: 20, 2: 40, 3: 50}, copy=True)
    dag.graph["inputs"] = {"x": 30, "c": 20}
    dag.graph["outputs"] = {"y": 50}
    again = verify(Graph.from_dag(dag))
    assert again == graph
    assert [n.op for n in again.nodes] == ["input", "input", "mul", "add"]


def test_a_dag_with_a_cycle_or_without_an_operand_is_refused():
    dag = nx.DiGraph(norm().dag)
    dag.add_edge(3, 2)
    with pytest.raises(GraphError, match="cycle"):
        Graph.from_dag(dag)
    dag = nx.DiGraph(norm().dag)
    dag.remove_edge(0, 2)
    with pytest.raises(GraphError, match="operand of node 2 is missing"):
        Graph.from_dag(dag)


def test_pickling():
    graph = norm()
    assert graph.dag is not None
    again = pickle.loads(pickle.dumps(graph))
    assert again == graph
    assert again.nodes[2].source == graph.nodes[2].source
    again.output("z", again.variable("x") * 2.0)
    assert "z" not in graph.outputs


def test_the_line_belongs_to_a_node_but_not_to_its_key():
    graph = Graph("f")
    x = graph.input("x")
    first = x * x
    second = x * x
    assert first.node.source.line + 1 == second.node.source.line
    assert first.node.source.filename == __file__
    assert first.node.key == second.node.key


def test_interning_merges_at_construction():
    graph = Graph("f", intern=True)
    x = graph.input("x")
    assert (x * x).id == (x * x).id


def test_a_frozen_graph_does_not_grow():
    graph = norm().freeze()
    with pytest.raises(GraphError, match="can not grow"):
        graph.input("z")
    assert graph.freeze() is graph


def test_variables_of_two_graphs_do_not_mix():
    left, right = norm(), norm()
    with pytest.raises(GraphError, match="used in graph"):
        left.variable("x") + right.variable("x")


@pytest.mark.parametrize("name", ["", "1x", "a b", "a-b"])
def test_names_are_identifiers(name):
    with pytest.raises(GraphError, match="can not name"):
        Graph(name)
    with pytest.raises(GraphError, match="can not name"):
        Graph("f").input(name)


def test_application_binds_sizes_and_keeps_requirements():
    inner = Graph("inner")
    a, b = inner.input("a", shape="n"), inner.input("b", shape="m")
    inner.output("y", a + b)
    outer = Graph("outer")
    w = outer.input("w", shape=("k",))
    v = outer.input("v", shape=3)
    y = inner(w * 2.0, v)
    outer.output("y", y)
    verify(outer)
    np.testing.assert_array_equal(interpret(outer, w=[1.0, 2.0, 3.0], v=[1.0, 1.0, 1.0])["y"], [3.0, 5.0, 7.0])
    with pytest.raises(ShapeError, match="disagree"):
        interpret(outer, w=[1.0, 2.0], v=[1.0, 1.0, 1.0])


def test_application_is_by_position_or_name():
    inner = norm()
    outer = Graph("outer")
    x = outer.input("x", shape="k")
    outer.output("a", inner(x, 1.0))
    outer.output("b", inner(c=1.0, x=x))
    results = interpret(outer, [1.0, 2.0])
    np.testing.assert_array_equal(results["a"], results["b"])
    again = Graph("again")
    z = again.input("z", shape="k")
    with pytest.raises(ArgumentError, match="has no argument `q`"):
        inner(z, q=1.0)
    with pytest.raises(ArgumentError, match="lacks `c`"):
        inner(z)
    with pytest.raises(ArgumentError, match="twice"):
        inner(z, 1.0, x=z)


def test_substitution_of_numbers_and_graphs():
    graph = norm()
    fixed = verify(substitute(graph, {"c": 3.0}))
    assert list(fixed.inputs) == ["x"]
    np.testing.assert_array_equal(interpret(fixed, x=[2.0])["y"], [7.0])
    with pytest.raises(ArgumentError, match="has no input `q`"):
        substitute(graph, {"q": 1.0})


def test_nodes_are_replaced_by_earlier_equal_types():
    graph = Graph("f")
    x = graph.input("x")
    first, second = x + 1.0, x + 2.0
    graph.output("y", second * 3.0)
    replaced = verify(replace_nodes(graph, {second.id: first.id}))
    assert interpret(replaced, 1.0)["y"] == 6.0
    with pytest.raises(ShapeError, match="can not be replaced"):
        replace_nodes(graph, {first.id: second.id})
