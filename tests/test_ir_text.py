"""Graphs as text: golden form, exact round trip of awkward values, messages for what is no graph."""

import numpy as np
import pytest

from graphad.errors import TextError
from graphad.ir.graph import Graph
from graphad.ir.sizes import Size
from graphad.ir.text import from_text, to_text
from graphad.ir.types import Requirement
from graphad.ir.values import read_params, write_params

GOLDEN = """graph f
  hint n = 100
  require m == n: '`add`: operands disagree about a size'
  x: float64[n] = input
  y: float64[m] = input
  %2: float64[n] = add x y
  %3: float64[] = const -0.0
  %4: float64[n] = mul %2 %3 @2
  output z = %4"""


def built() -> Graph:
    graph = Graph("f")
    x = graph.input("x", shape="n", hint=100)
    y = graph.input("y", shape="m")
    total = x + y
    node = graph.add("mul", (total.id, graph.const(-0.0).id), region=2)
    graph.output("z", graph.variable(node))
    return graph


def test_golden():
    text = to_text(built())
    assert sorted(text.splitlines()) == sorted(GOLDEN.replace("m == n", "n == m").splitlines())
    assert to_text(from_text(text)) == text
    assert from_text(text).hints == {"n": 100}


@pytest.mark.parametrize(
    "value",
    [
        np.array([np.nan, -0.0, np.inf, -np.inf, 5e-324, 0.1, 1e308]),
        np.array([0.1, np.float32(1) / 3, np.nan, -0.0, 1e-45], dtype="float32"),
        np.float32(0.1),
        np.array([-(2**63), 2**63 - 1]),
        np.array([True, False]),
        np.array(7, dtype="int32"),
        np.arange(200.0).reshape(10, 20),
        np.zeros((0, 3)),
        np.zeros((2, 0, 3), dtype="int32"),
        np.frombuffer(np.uint64(0x7FF8000000000123).tobytes(), dtype="float64"),
    ],
    ids=str,
)
def test_constants_come_back_bit_by_bit(value):
    graph = Graph("c")
    graph.output("y", graph.const(value))
    again = from_text(to_text(graph))
    before, after = (g.nodes[g.outputs["y"]].param("value") for g in (graph, again))
    assert before.key == after.key


def test_parameters_come_back():
    n = Size.name("n")
    params = (
        ("a", (1, -2, 0)), ("b", -0.0), ("c", "text, with {braces} @3"), ("d", (n - 1, (n * 2,), ())),
        ("e", None), ("f", True), ("g", float("inf")), ("h", 0.1),
    )  # fmt: skip
    text = write_params(params)
    again = read_params(text[2:-1])
    assert again == params
    assert [str(np.copysign(1, again[1][1])), type(again[5][1])] == ["-1.0", bool]
    assert np.isnan(read_params(write_params((("x", float("nan")),))[2:-1])[0][1])


def test_a_graph_can_be_a_parameter():
    inner = Graph("inner")
    inner.output("y", inner.input("x") * 2.0)
    ((_, again),) = read_params(write_params((("body", inner),))[2:-1])
    assert again == inner


def test_sources_are_not_in_the_text_and_dead_nodes_are():
    graph = Graph("f")
    x = graph.input("x")
    unused = x * 3.0
    graph.output("y", x + x)
    again = from_text(to_text(graph))
    assert again.nodes[unused.id].op == "mul"
    assert __file__ not in to_text(graph)


def test_requirements_come_back():
    graph = built()
    graph.require(Requirement("within", 3, Size.name("n"), "it's a `slice`: 3 <= n", None))
    kinds = {(r.kind, str(r.left), str(r.right), r.reason) for r in graph.requirements}
    assert {(r.kind, str(r.left), str(r.right), r.reason) for r in from_text(to_text(graph)).requirements} == kinds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the text is no graph"),
        ("graph 1 2", "line 1"),
        ("graph f\n  x: float64[n] = input\n  x: float64[n] = input", "line 3: `x` is defined twice"),
        ("graph f\n  %1: float64[] = sin %0", "line 2: `%0` is not defined above"),
        ("graph f\n  x: float16[] = input", "line 2: can not read the type `float16"),
        ("graph f\n  x: float64[] = input\n  %1: float64[3] = mul x x", r"line 3: `mul` gives float64\[\]"),
        ("graph f\n  x: float64[] = input\n  %1: float64[] = nothing x", "line 3: there is no operation `nothing`"),
        ("graph f\n  %0: float64[] = const one", "line 2: can not read the constant `one`"),
        ("graph f\n  %0: float64[2] = const [1.0]", "line 2: the constant"),
        ("graph f\n  what", "line 2: not a line of a graph"),
        ("graph f\n  output y = x", "line 2: `x` is not defined above"),
    ],
)
def test_messages_name_the_line(text, message):
    with pytest.raises(TextError, match=message):
        from_text(text)
