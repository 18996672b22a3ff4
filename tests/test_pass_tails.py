"""Logistic functions and their derivatives from tails: what is stored, and how exact it is."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest

import graphad as ga
from graphad.ir.bodies import bodies
from graphad.ir.graph import Graph, keep
from passes.pipeline import DEFAULT, run_pipeline
from passes.tails import Tails, make_tails, unmake_tails

EDGES = [-745.13, -744.9, -708.4, 708.4, 709.8, 745.1, 1e-300, 1e-9]
POINTS = np.concatenate([np.linspace(-750.0, 750.0, 1_501), np.linspace(-5.0, 5.0, 201), EDGES])
STORING = tuple(one for one in DEFAULT if one != Tails(back=True))
EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23}
SUBNORMAL = {"float64": 2.0**-1074, "float32": 2.0**-149}


def derivatives(order: int, dtype: str) -> Graph:
    """The logistic function of elements, and its derivatives up to an order."""
    graphs = [ga.Graph("total")]
    graphs[0].output("s", ga.sigmoid(graphs[0].input("x", shape="n", dtype=dtype)).sum())
    for _ in range(order):
        slope = ga.transform.grad(graphs[-1], "x")
        graphs.append(ga.Graph("total"))
        graphs[-1].output("s", slope(graphs[-1].input("x", shape="n", dtype=dtype)).sum())
    g = ga.Graph("logistic")
    x = g.input("x", shape="n", dtype=dtype)
    g.output("y", ga.sigmoid(x))
    for k, graph in enumerate(graphs[:-1], start=1):
        g.output(f"y{k}", ga.transform.grad(graph, "x")(x))
    return g


def exact(x: float, order: int) -> list[Any]:
    """σ and its derivatives, from products of σ and 1 - σ without cancellation."""
    s, t = 1 / (1 + mpmath.exp(-x)), 1 / (1 + mpmath.exp(x))
    return [s, s * t, s * t * (t - s), s * t * (s * s - 4 * s * t + t * t)][: order + 1]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_derivatives_up_to_the_third_keep_their_digits(dtype: str) -> None:
    """Errors are measured in σ', to which the second and the third derivative are equal far from 0 up to the sign."""
    points = POINTS.astype(dtype)
    function = ga.compile(derivatives(3, dtype), passes=STORING)
    assert "sigmoid_tail(" in function.source or "sigmoid_tail_f32(" in function.source
    found = function(points)
    with mpmath.workdps(40):
        for k, x in enumerate(points.tolist()):
            wanted = exact(mpmath.mpf(x), 3)
            for order, want in enumerate(wanted):
                scale = wanted[min(order, 1)]
                allowed = (4 + 8 * order) * EPSILON[dtype] * scale + 4 * SUBNORMAL[dtype]
                assert abs(mpmath.mpf(float(found[order][k])) - want) <= allowed, (x, order)


def test_limits() -> None:
    points = np.array([np.inf, -np.inf, 800.0, -800.0, 0.0, -0.0, np.nan])
    value, slope, *_ = ga.compile(derivatives(3, "float64"), passes=STORING)(points)
    np.testing.assert_array_equal(value, [1.0, 0.0, 1.0, 0.0, 0.5, 0.5, np.nan])
    np.testing.assert_array_equal(slope, [0.0, 0.0, 0.0, 0.0, 0.25, 0.25, np.nan])


def gated(gates: int) -> Graph:
    """A state that gates open and close, in a loop."""
    g = ga.Graph("gated")
    start, w = g.input("start", shape="n"), g.input("w", shape=(gates, "n"))

    def step(state: ga.Variable, _: object) -> tuple[ga.Variable, None]:
        for k in range(gates):
            state = state * ga.sigmoid(state * w[k]) + w[k]
        return state, None

    last, _ = ga.scan(step, start, length=20, graph=g)
    g.output("y", last.sum())
    return g


def operations(graph: Graph) -> list[str]:
    """The needed operations of a graph and of the bodies in it."""
    found = []
    for i in sorted(keep(graph, graph.outputs.values())):
        found.append(graph.nodes[i].op)
        for _, body in bodies(graph.nodes[i].params):
            found += operations(body)
    return found


def test_a_sweep_stores_one_array_for_each_gate() -> None:
    graph = run_pipeline(ga.transform.value_and_grad(gated(1), "w"))[0]
    forward = next(node.param("body") for node in graph.nodes if node.op == "scan")
    kept = [forward.nodes[i].op for name, i in forward.outputs.items() if name.startswith("kept")]
    assert sorted(kept) == ["input", "sigmoid_tail"]
    found = operations(graph)
    assert (found.count("sigmoid"), found.count("sigmoid_tail")) == (0, 1)


def test_a_step_runs_once_beside_its_sweep() -> None:
    """Values and sweep write a step alike, so the loops that they need are one, also where loops are nested."""
    g = ga.Graph("layers")
    x, w = g.input("x", shape=3), g.input("w", shape=("l", 3), hint=4)

    def step(state: ga.Variable, _: object) -> tuple[ga.Variable, None]:
        return ga.scan(lambda s, own: (s * ga.sigmoid(s + own), None), state, w)[0], None

    g.output("y", ga.scan(step, x, length=5, graph=g)[0].sum())
    found = operations(run_pipeline(ga.transform.value_and_grad(g, "w"))[0])
    assert found.count("scan") == 4
    assert (found.count("sigmoid"), found.count("sigmoid_tail")) == (0, 1)
    rng = np.random.default_rng(2)
    at = rng.normal(size=3), rng.normal(size=(4, 3))
    value, gradient = ga.value_and_grad(g, "w")(*at)
    h = 1e-30
    for k, j in ((0, 0), (2, 1), (3, 2)):
        weights, state = at[1].astype(complex), at[0].astype(complex)
        weights[k, j] += 1j * h
        for _ in range(5):
            for row in weights:
                state = state / (1 + np.exp(-(state + row)))
        np.testing.assert_allclose(gradient[k, j], state.sum().imag / h, rtol=1e-12)
        np.testing.assert_allclose(value, state.sum().real, rtol=1e-14)


def test_where_nothing_is_stored_functions_stay_what_they_are() -> None:
    g = ga.Graph("value")
    x = g.input("x", shape="n")
    g.output("y", ga.sigmoid(x) + ga.sigmoid(-np.exp(x)))
    after = run_pipeline(g)[0]
    assert operations(after) == ["input", "sigmoid", "exp", "neg", "sigmoid", "add"]
    assert "sigmoid" not in operations(make_tails(g))
    slope = operations(run_pipeline(derivatives(1, "float64"))[0])
    assert (slope.count("sigmoid"), slope.count("sigmoid_tail")) == (2, 0)


def test_there_and_back() -> None:
    g = derivatives(3, "float64")
    for graph in (make_tails(g), unmake_tails(make_tails(g))):
        for name, value in ga.interpret(graph, POINTS).items():
            np.testing.assert_allclose(value, ga.interpret(g, POINTS)[name], rtol=1e-12, atol=4e-16)


def test_complex_and_other_graphs_are_left_alone() -> None:
    g = ga.Graph("other")
    g.output("y", np.tanh(g.input("x")))
    assert make_tails(g) is g
    assert unmake_tails(g) is g
