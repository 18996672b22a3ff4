"""Sums over either axis of symmetric arrays become one, and of no other arrays."""

import numpy as np
import pytest

from graphad.ad import transform
from graphad.interpret import interpret
from graphad.ir.graph import Graph
from passes.cse import merge_equal
from passes.mirror import Mirrors, merge_mirrored
from passes.pipeline import run_pipeline

RANDOM = np.random.default_rng(11)
X = RANDOM.normal(size=(4, 3))
W = RANDOM.normal(size=(4, 4))


def pairs(x):
    return x[:, None, :] - x[None, :, :]


SYMMETRIC = {
    "difference": (lambda x, w: pairs(x)[:, :, 0], -1),
    "distance": (lambda x, w: (pairs(x) ** 2).sum(axis=-1), 1),
    "force": (lambda x, w: ((pairs(x) ** 2).sum(axis=-1, keepdims=True) + 0.1) ** -1.5 * pairs(x), -1),
    "odd function": (lambda x, w: np.sin(pairs(x)) * np.cos(pairs(x)), -1),
    "scaled": (lambda x, w: 0.5 * pairs(x) / (1.0 + abs(pairs(x))), -1),
    "product of masses": (lambda x, w: x[:, :1] * x[:, 0], 1),
    "largest of both": (lambda x, w: np.maximum(x[:, None, :], x[None, :, :]), 1),
    "gram": (lambda x, w: np.exp(x @ x.T), 1),
    "selected": (lambda x, w: np.where(abs(pairs(x)) < 1.0, pairs(x), -pairs(x)), -1),
}
OTHERS = {
    "sum of unlike parts": lambda x, w: pairs(x)[:, :, 0] + w,
    "difference and one": lambda x, w: pairs(x) + 1.0,
    "two arrays": lambda x, w: x[:, None, 0] - x[None, :, 1],
    "a function neither odd nor even": lambda x, w: np.exp(pairs(x)),
    "a weight": lambda x, w: pairs(x)[:, :, 0] * w,
    "shifted": lambda x, w: x[:, None, 0] - np.roll(x[:, 0], 1)[None, :],
    "an order": lambda x, w: np.where(x[:, None, 0] < x[None, :, 0], 1.0, 2.0),
    "part of a difference": lambda x, w: (x[:, None, 0] - x[None, :, 0])[::-1],
    "a quotient": lambda x, w: x[:, None, 0] / x[None, :, 0],
    "unequal factors": lambda x, w: x @ (2.0 * x).T * w,
}


def both_sums(build):
    graph = Graph("f")
    x, w = graph.input("x", shape=("n", 3)), graph.input("w", shape=("n", "n"))
    value = build(x, w)
    graph.output("columns", value.sum(axis=0))
    graph.output("rows", value.sum(axis=1))
    graph.output("w", w)
    return merge_equal(graph)


def summed(graph):
    return sum(node.op == "sum" and node.type.shape[:1] == graph.nodes[graph.outputs["rows"]].type.shape[:1]
               and 0 in node.param("axes") for node in graph.nodes)  # fmt: skip


@pytest.mark.parametrize("name", SYMMETRIC)
def test_one_sum_is_left(name):
    build, sign = SYMMETRIC[name]
    graph = both_sums(build)
    operand = graph.nodes[graph.outputs["rows"]].args[0]
    assert Mirrors(graph).sign(operand, 0, 1) == sign
    after = merge_mirrored(graph)
    assert summed(after) == 0 < summed(graph)
    expected, got = interpret(graph, x=X, w=W), interpret(after, x=X, w=W)
    for key, value in expected.items():
        np.testing.assert_allclose(got[key], value, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", OTHERS)
def test_left_alone(name):
    graph = both_sums(OTHERS[name])
    assert merge_mirrored(graph) is graph


def test_forces_of_bodies_are_summed_once():
    graph = Graph("potential")
    x, m = graph.input("x", shape=("n", 3)), graph.input("m", shape="n")
    squares = (pairs(x) ** 2).sum(axis=-1) + 0.01
    graph.output("y", (m[:, None] * m[None, :] / np.sqrt(squares)).sum())
    gradient = run_pipeline(transform.grad(run_pipeline(graph)[0], ["x"]))[0]
    assert sum(node.op == "sum" and node.type.rank == 2 and node.param("axes") == (1,) for node in gradient.nodes) == 1
    assert not any(node.op == "sum" and node.param("axes") == (0,) for node in gradient.nodes)
    masses, step = RANDOM.random(4), 1e-20

    def potential(at):
        return (masses[:, None] * masses / np.sqrt((pairs(at) ** 2).sum(axis=-1) + 0.01)).sum()

    found = interpret(gradient, x=X, m=masses)["dy_dx"]
    for index in np.ndindex(X.shape):
        moved = X.astype(complex)
        moved[index] += 1j * step
        np.testing.assert_allclose(found[index], potential(moved).imag / step, rtol=1e-11, atol=1e-13)
