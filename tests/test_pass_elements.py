"""Sums of single elements become stacks, values unchanged; straight code writes such stacks itself."""

from __future__ import annotations

import numpy as np
import pytest

import graphad as ga
from graphad.loops.lower import lower
from passes.elements import FEWEST, stack_elements
from passes.inline import inline


def read(shape: object, places: list[object], dtype: str = "float64") -> ga.Graph:
    """A sum of different functions of single elements: nothing to roll."""
    graph = ga.Graph("elements")
    x = graph.input("x", shape=shape, dtype=dtype)
    total = graph.const(0.0, dtype)
    for k, place in enumerate(places):
        total = np.sin(total + x[place] * float(k + 1)) if k % 3 else total * x[place]
    graph.output("y", total + (x * x).sum())
    return graph


def ops(graph: ga.Graph) -> list[str]:
    return [node.op for node in graph.nodes]


CASES = {
    "all": ((20,), list(range(20)), 20),
    "repeated": ((20,), [k % 18 for k in range(70)], 20),
    "gaps": ((60,), list(range(3, 60, 2)), 60),
    "symbolic": (("n",), list(range(2, 30)), 40),
    "sparse": (("n",), [k * k for k in range(30)], 900),
    "matrix": ((5, 6), [(k % 5, k % 6) for k in range(30)], None),
}


@pytest.mark.parametrize("case", CASES)
def test_values_stay(case):
    shape, places, count = CASES[case]
    gradient = ga.transform.grad(read(shape, places))
    before = str(gradient)
    stacked = stack_elements(gradient)
    assert str(gradient) == before
    assert stack_elements(stacked) is stacked
    assert ops(stacked).count("embed") <= 1
    assert ops(stacked).count("concatenate") == 1
    assert ops(stacked).count("scatter_add") == (case == "sparse")
    point = np.random.default_rng(0).normal(size=shape if count is None else count)
    expected = ga.interpret(gradient, point)
    np.testing.assert_allclose(ga.interpret(stacked, point)["dy_dx"], expected["dy_dx"], rtol=1e-13, atol=1e-13)


def test_few_elements_stay():
    gradient = ga.transform.grad(read((40,), list(range(FEWEST - 1))))
    assert stack_elements(gradient) is gradient


def test_a_partial_sum_that_is_read_elsewhere_stays():
    graph = ga.Graph("partial")
    x = graph.input("x", shape=40)
    pieces = [ga.Graph.apply(graph, "embed", x[k].reshape(1), shape=(40,), starts=(k,), steps=(1,)) for k in range(40)]
    half = sum(pieces[1:20], start=pieces[0])
    graph.output("y", sum(pieces[20:], start=half) * half)
    point = np.random.default_rng(0).normal(size=40)
    expected = np.where(np.arange(40) < 20, point**2, 0.0)
    np.testing.assert_array_equal(ga.interpret(stack_elements(graph), point)["y"], expected)


def gather_program(reads: int) -> ga.Graph:
    random = np.random.default_rng(1)
    graph = ga.Graph("gathering")
    x, a = graph.input("x", shape=30), graph.input("a")
    values = [x[int(i)] for i in random.integers(0, 30, reads)]
    for _ in range(2 * reads):
        left, right = (values[k] for k in random.integers(max(0, len(values) - 60), len(values), 2))
        values.append(np.sin(left * right) if random.random() < 0.3 else (left - right) * 0.7 + a)
    graph.output("y", sum(values[-50:], start=values[0]))
    graph.output("states", np.stack([*values[-40:], a, graph.const(2.0)]))
    return graph


def test_straight_code_stacks():
    """The gradient by a vector, and a stack with numbers from elsewhere: no statement for a single element."""
    graph = gather_program(100)
    function = ga.value_and_grad(graph, of="y")
    point = np.random.default_rng(2).normal(size=30)
    value, (by_x, by_a) = function(point, 0.3)
    expected = ga.interpret(function.graph, point, 0.3)
    np.testing.assert_allclose(by_x, expected["dy_dx"], rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose([value, by_a], [expected["y"], expected["dy_da"]], rtol=1e-11)
    step = 1e-6
    for k in (0, 17, 29):
        moved = [function(point + s * step * (np.arange(30) == k), 0.3)[0] for s in (1, -1)]
        assert abs((moved[0] - moved[1]) / (2 * step) - by_x[k]) < 1e-6 * max(1.0, np.abs(by_x).max())
    assert len(lower(inline(function.optimized)).statements) < 20
    states = ga.compile(graph)
    np.testing.assert_allclose(
        states(point, 0.3).states, ga.interpret(graph, point, 0.3)["states"], rtol=1e-12, atol=1e-12
    )
    assert len(lower(inline(states.optimized)).statements) < 20
