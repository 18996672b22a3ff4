"""The derivative of a maximum that only shifts is stopped, and of every other maximum kept."""

import numpy as np
import pytest

from graphad.ad import transform
from graphad.interpret import interpret
from graphad.ir.graph import Graph
from passes.cse import merge_equal
from passes.shift import Shift, stop_shifts


def log_sum_exp(x, axis):
    m = x.max(axis=axis, keepdims=True)
    return np.squeeze(m, axis=axis) + np.log(np.exp(x - m).sum(axis=axis))


def with_a_slice(x, axis):
    m = x.max(axis=-1, keepdims=True)
    return np.log(np.exp(x - m).sum(axis=-1)) + m[..., 0]


def softmax(x, axis):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def built(function, axis):
    g = Graph("f")
    x = g.input("x", ("n", 3))
    g.output("y", function(x, axis))
    return g


@pytest.mark.parametrize("function", [log_sum_exp, softmax, with_a_slice])
@pytest.mark.parametrize("axis", [0, 1])
def test_stopped_without_a_change_of_value_or_derivative(function, axis):
    graph = built(function, axis)
    before = str(graph)
    after = stop_shifts(graph)
    assert sum(n.op == "stop_gradient" for n in after.nodes) == 1
    assert str(graph) == before
    assert Shift().run(after) is after or str(Shift().run(after)) == str(after)
    x = np.random.default_rng(0).normal(size=(4, 3))
    for derive in (lambda g: g, transform.jacobian):
        expected, got = interpret(derive(graph), x=x), interpret(derive(after), x=x)
        for name, value in expected.items():
            np.testing.assert_allclose(got[name], value, rtol=1e-13, atol=1e-15)
    assert not any(n.op == "argmax" for n in transform.jacobian(after).nodes)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.max() * np.log(np.exp(x - x.max()).sum()),
        lambda x: np.exp(x - x.max()),
        lambda x: x.max() + np.log(np.exp(x - x.max(axis=0)).sum()),
        lambda x: np.log(np.exp(x - x.max()).sum()),
        lambda x: x.max() + np.exp(x - x.max()).sum(),
    ],
)
def test_left_alone(function):
    g = Graph("f")
    x = g.input("x", ("n", 3))
    g.output("y", function(x))
    merged = merge_equal(g)
    assert stop_shifts(merged) is merged


def test_a_maximum_that_is_also_an_output_is_left_alone():
    g = Graph("f")
    x = g.input("x", "n")
    m = x.max()
    g.output("y", m + np.log(np.exp(x - m).sum()))
    g.output("m", m)
    assert stop_shifts(g) is g
