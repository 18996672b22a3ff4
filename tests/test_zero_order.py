"""Finite differences and random estimates against gradients known by hand; both modes step by step."""

from __future__ import annotations

import numpy as np
import pytest

from graphad import zero_order
from graphad.ad import transform
from graphad.errors import ArgumentError
from graphad.interpret import interpret
from graphad.ir.graph import Graph
from graphad.trace_modes import trace_modes

POINT = np.array([[0.3, -1.2, 5.0], [2.0, 0.0, -0.7]])


def cubes(x: np.ndarray) -> float:
    return float((x**3 + np.sin(x)).sum())


def slope(x: np.ndarray) -> np.ndarray:
    return 3.0 * x**2 + np.cos(x)


def test_differences_have_their_order() -> None:
    forward = np.abs(zero_order.forward_differences(cubes, POINT) - slope(POINT)).max()
    central = np.abs(zero_order.central_differences(cubes, POINT) - slope(POINT)).max()
    assert 1e-9 < forward < 1e-5
    assert central < 1e-8 < 100.0 * forward


def test_complex_step_is_exact() -> None:
    found = zero_order.complex_step(lambda x: (x**3 + np.sin(x)).sum(), POINT)
    np.testing.assert_allclose(found, slope(POINT), rtol=1e-15, atol=1e-15)


def test_two_point_is_right_on_average_and_spreads_with_the_dimension() -> None:
    generator = np.random.default_rng(5)
    samples = np.array([zero_order.two_point(cubes, POINT, generator) for _ in range(20_000)])
    gradient = slope(POINT)
    norm = np.sqrt((gradient**2).sum())
    error = np.sqrt(((samples.mean(axis=0) - gradient) ** 2).sum()) / norm
    assert error < 0.04  # about sqrt(5 / 20000) = 0.016
    spread = ((samples - gradient) ** 2).sum(axis=(1, 2)).mean() / norm**2
    assert spread == pytest.approx(POINT.size - 1, rel=0.05)


def test_directions_average_and_count_calls() -> None:
    calls = []

    def counted(x: np.ndarray) -> float:
        calls.append(1)
        return cubes(x)

    zero_order.two_point(counted, POINT, np.random.default_rng(0), directions=7)
    assert len(calls) == 14
    calls.clear()
    zero_order.forward_differences(counted, POINT)
    assert len(calls) == POINT.size + 1


def test_unit_directions_have_no_preference() -> None:
    generator = np.random.default_rng(1)
    sample = np.array([zero_order.unit_direction((3,), generator) for _ in range(20_000)])
    np.testing.assert_allclose((sample**2).sum(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(sample.T @ sample / len(sample), np.eye(3) / 3.0, atol=0.01)


def test_points_are_left_alone() -> None:
    before = POINT.copy()
    zero_order.central_differences(cubes, POINT)
    zero_order.two_point(cubes, POINT, np.random.default_rng(0))
    np.testing.assert_array_equal(POINT, before)


@pytest.mark.parametrize("point", [[1.0, 2.0], np.array([1, 2]), np.array([1.0], dtype=np.float32)])
def test_other_points_are_refused(point: object) -> None:
    with pytest.raises(ArgumentError, match=r"`x` is no point\n  expected: a float64 array"):
        zero_order.forward_differences(cubes, point)  # type: ignore[arg-type]


def test_bad_numbers_are_refused() -> None:
    with pytest.raises(ArgumentError, match="`step` is too small"):
        zero_order.central_differences(cubes, POINT, step=0.0)
    with pytest.raises(ArgumentError, match="`directions` is too small"):
        zero_order.two_point(cubes, POINT, np.random.default_rng(0), directions=0)


def lecture() -> Graph:
    g = Graph("lecture")
    w1, w2 = g.input("w1"), g.input("w2")
    product = w2 * np.log(w1)
    g.output("L", product + np.sqrt(product))
    return g


def test_trace_of_the_lecture() -> None:
    trace = trace_modes(lecture(), 2.0, 3.0)
    assert [step.formula for step in trace.steps] == ["w1", "w2", "log(v1)", "v2*v3", "sqrt(v4)", "v4 + v5"]
    u = 3.0 * np.log(2.0)
    outer = 1.0 + 0.5 / np.sqrt(u)
    assert trace.gradient == pytest.approx({"w1": outer * 1.5, "w2": outer * np.log(2.0)}, rel=1e-14)
    last = dict(trace.steps[-1].tangents)
    assert last == pytest.approx(trace.gradient, rel=1e-14)
    assert trace.steps[3].adjoint == pytest.approx(outer, rel=1e-14)
    assert "v4     v5'*0.346734 + v6'*1    1.34673" in str(trace)


def test_trace_agrees_with_the_transforms() -> None:
    g = Graph("twisted")
    x, y = g.input("x"), g.input("y")
    z = x * x - np.maximum(x, y) / (2.0 + np.cos(y))
    g.output("z", np.where(x > 1.0, z * y, x) + x * np.floor(y))
    trace = trace_modes(g, x=1.7, y=-0.4)
    wanted = interpret(transform.grad(g), x=1.7, y=-0.4)
    assert trace.gradient == pytest.approx({"x": wanted["dz_dx"].item(), "y": wanted["dz_dy"].item()}, rel=1e-13)


def test_trace_refuses_arrays() -> None:
    g = Graph("total")
    x = g.input("x", shape=3)
    g.output("L", x.sum())
    with pytest.raises(ArgumentError, match=r"`total` can not be traced: `input` is no scalar"):
        trace_modes(g, 1.0)


def test_trace_refuses_what_is_no_number() -> None:
    with pytest.raises(ArgumentError, match=r"argument `w2` is no number"):
        trace_modes(lecture(), 1.0, "3")  # type: ignore[arg-type]
