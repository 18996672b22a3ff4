"""In graphs with loops sums fuse with products and quotients share reciprocals, by rules that only look at the step."""

from __future__ import annotations

import numpy as np
import pytest

import graphad as ga
from graphad.interpret import interpret
from graphad.ir.graph import Graph
from passes.cse import merge_equal
from passes.rounding import Rounding, choices, rounded

T = ga.transform


def graph_of(formula, shape=()):
    g = Graph("f")
    x, y, z = (g.input(name, shape) for name in "xyz")
    g.output("r", formula(x, y, z))
    return g.freeze()


def operations(graph):
    return " ".join(node.op for node in graph.nodes if node.op not in ("input", "const"))


CASES = {
    "a sum": (lambda x, y, z: x * y + z, "mul_add"),
    "a sum behind": (lambda x, y, z: z + x * y, "mul_add"),
    "a difference": (lambda x, y, z: x * y - z, "mul_sub"),
    "what is taken off": (lambda x, y, z: z - x * y, "sub_mul"),
    "a square": (lambda x, y, z: np.square(x) + z, "mul_add"),
    "two products": (lambda x, y, z: x * y + y * z, "mul mul_add"),
    "the product with fewer users": (lambda x, y, z: (x * y + y * z) * (x * y), "mul mul_add mul"),
    "a product that stays": (lambda x, y, z: (x * y + z) / (x * y), "mul mul_add div"),
    "two quotients": (lambda x, y, z: x / z + y / z, "reciprocal mul mul_add"),
    "a quotient by a number": (lambda x, y, z: x / 3.0, "reciprocal mul"),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("shape", [(), (2, 3)])
def test_operations(name, shape):
    graph = merge_equal(graph_of(CASES[name][0], shape))
    before = str(graph)
    after = merge_equal(rounded(graph, choices(graph)))
    assert operations(after) == CASES[name][1], f"\n{before}\n{after}"
    assert str(graph) == before
    point = np.random.default_rng(0).uniform(0.5, 2.0, (3, *shape))
    np.testing.assert_allclose(interpret(after, *point)["r"], interpret(graph, *point)["r"], rtol=1e-14)


LEFT_ALONE = {
    "one quotient": (lambda x, y, z: x / y + z, ()),
    "a sum": (lambda x, y, z: x + y - z, ()),
    "a longer array": (lambda x, y, z: x * y + z, 17),
    "an array of any length": (lambda x, y, z: x * y + z, "n"),
    "a quotient by a subnormal number": (lambda x, y, z: x / 1e-310, ()),
}


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_left_alone(name):
    graph = graph_of(*LEFT_ALONE[name])
    assert rounded(graph, choices(graph)) is graph


def test_a_number_divides_an_array_once():
    g = Graph("f")
    g.output("r", g.input("x", "n") / g.input("d"))
    assert operations(rounded(g, choices(g))) == "reciprocal mul"


def test_graphs_without_loops_are_left_to_the_compiler():
    graph = graph_of(lambda x, y, z: x * y + z)
    assert Rounding().run(graph) is graph


def quotients(checkpoint=None):
    """A step with two quotients by the same number, of which only one is needed to go on."""
    g = Graph("quotients")
    a, k, xs = g.input("a"), g.input("k"), g.input("xs", "n")

    def step(s, x):
        d = 1.0 + s * s
        return s * x + x / d, s / d

    last, ys = ga.scan(step, a, xs, checkpoint=checkpoint)
    g.output("loss", last / k + ys.sum())
    return g


def test_what_goes_on_decides_for_itself():
    """The same step rounds alike where its stacked result is not asked for."""
    g = quotients().freeze()
    bodies = [node.param("body") for node in Rounding().run(g).nodes if node.op == "scan"]
    assert [operations(body) for body in bodies] == ["mul_add div mul_add div"]


def test_an_adjoint_step_repeats_what_its_step_chose():
    derived = T.grad(quotients(3), "a", "loss").freeze()
    (node,) = [n for n in Rounding().run(derived).nodes if n.op == "scan_adjoint"]
    body, adjoint = node.param("body"), node.param("adjoint")
    assert "div" in operations(body)
    divisors = [n.args[1] for n in adjoint.nodes if n.op == "div"]
    assert any(adjoint.nodes[d].op == "mul_add" for d in divisors), f"\n{adjoint}"
