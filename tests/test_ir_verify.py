"""Verification: a planted fault of every kind is found, named, and traced to the user's line."""

import pytest

from graphad.errors import Source, VerificationError
from graphad.ir.constant import Constant
from graphad.ir.graph import Graph
from graphad.ir.sizes import Size
from graphad.ir.types import Requirement, TensorType
from graphad.ir.verify import verify


def sample() -> Graph:
    graph = Graph("sample")
    x = graph.input("x", shape="n")
    graph.output("y", (x + 1.0) * x)
    return graph


def broken(change) -> Graph:
    graph = sample()
    change(graph)
    return graph


def replace(graph: Graph, node_id: int, **fields) -> None:
    graph.nodes[node_id] = graph.nodes[node_id]._replace(**fields)


FAULTS = {
    "later operand": (lambda g: replace(g, 2, args=(0, 3)), "operand %3 is no earlier node"),
    "own operand": (lambda g: replace(g, 2, args=(0, 2)), "operand %2 is no earlier node"),
    "negative operand": (lambda g: replace(g, 2, args=(0, -1)), "operand %-1 is no earlier node"),
    "arity": (lambda g: replace(g, 2, args=(0,)), "1 operands"),
    "type": (lambda g: replace(g, 2, type=TensorType("float64", (3,))), r"the type is float64\[3\]"),
    "dtype": (lambda g: replace(g, 2, type=TensorType("float16", ())), "dtype float16 is not supported"),
    "operation": (lambda g: replace(g, 2, op="nothing"), "there is no operation `nothing`"),
    "constant": (lambda g: replace(g, 1, params=(("value", 1.0),)), "the value is no `Constant`"),
    "input name": (lambda g: g.inputs.update(z=1), "input `z` is not the input node %1"),
    "unlisted input": (lambda g: g.inputs.clear(), "does not list"),
    "output": (lambda g: g.outputs.update(z=9), "output `z` is node %9"),
    "unknown size": (lambda g: replace(g, 2, type=TensorType("float64", (Size.name("m"),))), "size `m` is no size"),
    "negative extent": (lambda g: replace(g, 2, type=TensorType("float64", (-1,))), "extent -1 is negative"),
    "requirement": (lambda g: g.requirements.append(Requirement("equal", Size.name("m"), 1, "r", None)), "size `m`"),
    "parameters": (lambda g: replace(g, 2, params=(("b", 1), ("a", 1))), "not sorted"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_found(fault):
    change, message = FAULTS[fault]
    with pytest.raises(VerificationError, match=message):
        verify(broken(change))


def test_the_message_shows_the_node_and_the_line():
    graph = broken(lambda g: replace(g, 3, args=(7, 0), source=Source("model.py", 12)))
    with pytest.raises(VerificationError) as error:
        verify(graph)
    assert "`%3: float64[n] = mul %7 %0`" in str(error.value)
    assert "at: model.py:12" in str(error.value)


def test_the_type_of_a_constant_is_that_of_its_value():
    graph = sample()
    value = graph.nodes[1].param("value")
    assert isinstance(value, Constant)
    replace(graph, 1, type=TensorType("float64", (1,)))
    with pytest.raises(VerificationError, match="expected: float64"):
        verify(graph)


def test_a_sound_graph_comes_back():
    graph = sample()
    assert verify(graph) is graph
