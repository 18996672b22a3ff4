"""The pass that replaces operations emitted by others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import graphad as ga
from graphad.errors import GraphError
from graphad.ir.graph import Graph
from graphad.ir.operation import OPERATIONS, Elementwise, Inline, Op, register
from graphad.ir.types import TensorType
from passes.inline import InlineOperations, inline


@pytest.fixture
def operations() -> Iterator[None]:
    """`cubed` is emitted by products, `ninth` by `cubed`, `endless` by itself."""

    def op(name: str, build: object, reference: object) -> None:
        register(
            Op(
                name=name, arity=1, infer=lambda types, params: TensorType("float64", types[0].shape),
                reference=reference, emission=Inline(build), derivative=Elementwise((lambda a, y: 3.0 * a * a,)),  # type: ignore[arg-type]
            )
        )  # fmt: skip

    op("cubed", lambda x: x * x * x, lambda x: x**3)
    op("ninth", lambda x: x.graph.apply("cubed", x.graph.apply("cubed", x)), lambda x: x**9)
    op("endless", lambda x: x.graph.apply("endless", x), lambda x: x)
    yield
    for name in ("cubed", "ninth", "endless"):
        del OPERATIONS[name]


def graph_with(name: str) -> Graph:
    g = ga.Graph("inlined")
    x = g.input("x", shape="n")
    g.output("y", g.apply(name, x) + 1.0)
    return g


@pytest.mark.usefixtures("operations")
def test_operations_are_replaced() -> None:
    g = graph_with("cubed")
    before = str(g)
    assert [n.op for n in inline(g).nodes] == ["input", "mul", "mul", "const", "add"]
    assert str(g) == before


@pytest.mark.usefixtures("operations")
def test_to_any_depth() -> None:
    inlined = InlineOperations().run(graph_with("ninth"))
    assert {n.op for n in inlined.nodes} == {"input", "mul", "const", "add"}
    assert ga.interpret(inlined, [2.0])["y"].tolist() == [513.0]
    assert ga.compile(graph_with("ninth"))(np.array([2.0])).tolist() == [513.0]


@pytest.mark.usefixtures("operations")
def test_circles_are_refused() -> None:
    with pytest.raises(GraphError, match="`endless` is emitted by operations that lead back to it"):
        inline(graph_with("endless"))


def test_other_graphs_are_left_alone() -> None:
    g = ga.Graph("plain")
    g.output("y", g.input("x") * 2.0)
    assert inline(g) is g
