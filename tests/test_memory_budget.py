"""Derivatives in a memory budget: equal values, the predicted peak and operations, marks, messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphad as ga
from graphad.ad import transform
from graphad.analysis.cost import graph_flops
from graphad.compile import CompiledFunction
from graphad.fitting import Fitting
from graphad.ir.graph import Graph
from graphad.loops.memory import footprint
from graphad.loops.schedule import schedule
from graphad.plan.memory import simulate
from passes.checkpoint import scheduled
from passes.pipeline import run_pipeline
from tests.memory import allocated

LAYERS, ROWS, WIDTH = 12, 200, 16


def network(layers: int = LAYERS, wrap: Callable[[Any], Any] = lambda layer: layer) -> Graph:
    """tanh layers with one matrix, a residual every second layer, and the sum of squares."""
    g = Graph("network")
    x, w = g.input("x", shape=(ROWS, WIDTH)), g.input("w", shape=(WIDTH, WIDTH))
    layer = wrap(lambda x: np.tanh(np.tanh(x @ w) @ w) + x)
    for _ in range(layers // 2):
        x = layer(x)
    g.output("loss", (x * x).sum())
    return g


def arguments() -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(5)
    return draw.standard_normal((ROWS, WIDTH)), draw.standard_normal((WIDTH, WIDTH)) / 4


@pytest.fixture(scope="module")
def half() -> tuple[CompiledFunction, CompiledFunction]:
    g = network()
    return ga.value_and_grad(g, "w"), ga.value_and_grad(g, "w", memory_budget=0.5)


def test_half_the_memory_and_the_same_numbers(half: tuple[CompiledFunction, CompiledFunction]) -> None:
    whole, small = half
    expected, found = whole(*arguments()), small(*arguments())
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-12)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-10)
    results = expected[1].nbytes
    assert small.scratch_bytes() + results <= (whole.scratch_bytes() + results) / 2


def test_what_is_planned_is_what_is_taken(half: tuple[CompiledFunction, CompiledFunction]) -> None:
    whole, small = half
    report = small.plan.memory
    assert report is not None
    result = small(*arguments())[1]
    assert report.after.peak == small.scratch_bytes() + result.nbytes
    assert graph_flops(small.optimized) - graph_flops(whole.optimized) == report.extra > 0
    assert 0.98 * report.after.peak <= max(report.after.live) <= report.after.peak
    assert sum(v.cost * (v.runs - 1) for v in report.recomputed) == report.extra
    assert report.extra < 0.6 * report.flops


def layers(x: Any, w: Any) -> Any:
    """Two residual layers."""
    for _ in range(2):
        x = np.tanh(np.tanh(x @ w) @ w) + x
    return x


def steps(x: Any, w: Any) -> Any:
    """A loop over steps of which each needs its own values for the reverse sweep."""
    scale = w.sum()
    return ga.scan(lambda c, _: (c + 0.01 * np.sin(c * scale), None), x, None, length=50)[0]


TAKEN = {
    "a network": ([layers, layers, layers], 0.5),
    "a loop": ([steps], 0.3),
    "both": ([layers, steps, layers], 0.5),
}


@pytest.mark.parametrize("name", TAKEN)
@pytest.mark.parametrize("budgeted", [True, False])
def test_as_many_bytes_are_allocated_as_planned(name: str, *, budgeted: bool) -> None:
    """After a call with few rows everything but the memory is there; with many the block is a new one."""
    parts, budget = TAKEN[name]
    g = Graph("taken")
    x, w = g.input("x", shape=("n", WIDTH), hint=10_000), g.input("w", shape=(WIDTH, WIDTH))
    for part in parts:
        x = part(x, w)
    g.output("loss", (x * x).sum())
    f = ga.value_and_grad(g, memory_budget=budget if budgeted else None)
    draw = np.random.default_rng(6)
    few, many = (draw.standard_normal((rows, WIDTH)) / 8 for rows in (3, 10_000))
    matrix = draw.standard_normal((WIDTH, WIDTH)) / 8
    _, gradient = f(few, matrix)
    planned = f.scratch_bytes(n=10_000) + many.nbytes + gradient.w.nbytes
    assert abs(allocated(lambda: f(many, matrix)) / planned - 1) < 0.02
    assert planned > 3_000_000
    if budgeted:
        assert f.plan.memory.after.peak == planned <= budget * f.plan.memory.before.peak


def test_the_model_predicts_the_code() -> None:
    """Bytes of nodes, as the planner counts them, against the block of the scheduled loops."""
    simple = run_pipeline(network().freeze())[0].freeze()
    fitting = Fitting(run_pipeline(transform.value_and_grad(simple, "w", "loss"))[0])
    for part in (0.9, 0.8, 0.7, 0.6, 0.5):
        plan = fitting.planner.plan(int(part * fitting.planner.everything.peak))
        assert plan is not None
        real = footprint(schedule(scheduled(fitting.tasks, plan.steps)), {}).peak
        assert abs(real / simulate(fitting.tasks.problem, plan.steps).peak - 1) < 0.02


def test_explain_shows_the_timeline(half: tuple[CompiledFunction, CompiledFunction]) -> None:
    text = half[1].explain(memory=True)
    for part in ("live bytes without the budget", "live bytes with the budget", "computed again", "####"):
        assert part in text
    assert "memory without a budget" in half[0].explain(memory=True)


@pytest.mark.parametrize(("derivative", "part"), [("grad", 0.7), ("vjp", 0.7), ("jacobian", 0.95), ("hvp", 0.8)])
def test_every_reverse_derivative_takes_a_budget(derivative: str, part: float) -> None:
    g = network(24 if derivative == "jacobian" else 8)
    make = getattr(ga, derivative)
    options: dict[str, Any] = {"mode": "reverse", "sparse": False} if derivative == "jacobian" else {}
    whole = make(g, "w", tier="interpreted", **options)
    small = make(g, "w", tier="interpreted", memory_budget=part, **options)
    more = {"vjp": (1.0,), "hvp": (np.ones((WIDTH, WIDTH)),)}.get(derivative, ())
    expected, found = whole(*arguments(), *more), small(*arguments(), *more)
    flat, wanted = (np.hstack([np.ravel(part) for part in result]) for result in (found, expected))
    np.testing.assert_allclose(flat, wanted, rtol=1e-10)
    assert small.plan.memory.after.peak <= part * small.plan.memory.before.peak


@pytest.mark.parametrize(("layers", "part", "most"), [(8, 0.9, 0.1), (8, 0.7, 0.6), (24, 0.5, 0.4)])
def test_second_derivatives_in_less_memory(layers: int, part: float, most: float) -> None:
    """The forward sweep of tangents is found beside that of the values, though all of it is derived later."""
    g = Graph("deep")
    x, w = g.input("x", shape=(ROWS, WIDTH)), g.input("w", shape=(WIDTH, WIDTH))
    for _ in range(layers):
        x = np.tanh(x @ w)
    g.output("loss", (x * x).sum())
    whole, small = (ga.hvp(g, "w", memory_budget=b, tier="interpreted") for b in (None, part))
    at = *arguments(), np.ones((WIDTH, WIDTH))
    np.testing.assert_allclose(small(*at), whole(*at), rtol=1e-9)
    report = small.plan.memory
    assert report.after.peak == small.scratch_bytes() + 8 * WIDTH**2 <= part * report.before.peak
    assert report.extra < most * report.flops


@pytest.mark.parametrize(("part", "most"), [(0.8, 0.06), (0.7, 0.12), (0.4, 1.4)])
def test_residual_networks_run_their_sums_again(part: float, most: float) -> None:
    """What crosses all layers is made of what is stored; checkpoints took 0.12 and 0.17, and did not keep 0.4."""
    report = ga.value_and_grad(network(), "w", tier="interpreted", memory_budget=part).plan.memory
    assert report is not None
    assert report.after.peak <= part * report.before.peak
    assert report.extra < most * report.flops


def test_plans_are_the_same_in_every_run() -> None:
    plans = [ga.grad(network(4), "w", tier="interpreted", memory_budget=0.8) for _ in range(2)]
    assert plans[0].optimized == plans[1].optimized
    assert plans[0].plan.memory.extra > 0


def test_marks_alone_decide_without_a_budget() -> None:
    plain = ga.value_and_grad(network(), "w", tier="interpreted")
    wrapped = ga.value_and_grad(network(LAYERS, ga.checkpoint), "w", tier="interpreted")
    assert plain.plan.memory is None
    report = wrapped.plan.memory
    assert report is not None
    assert report.after.peak < 0.75 * report.before.peak
    assert len(report.stored) <= LAYERS // 2 + 1
    np.testing.assert_allclose(wrapped(*arguments())[1], plain(*arguments())[1], rtol=1e-10)


def test_single_values_are_stored_or_computed_again() -> None:
    g = Graph("marked")
    x = g.input("x", shape=(100, 50))
    y = np.exp(np.sin(x))
    z = np.cos(ga.recompute(y) * x)
    g.output("loss", (np.sin(ga.save(z)) * z).sum())
    f = ga.grad(g, tier="interpreted")
    report = f.plan.memory
    assert report is not None
    assert any("exp" in v.name for v in report.recomputed)
    assert not any("exp" in v.name for v in report.stored)
    assert any("cos" in v.name and v.runs == 1 for v in report.stored)


def test_a_budget_that_is_large_enough_changes_nothing() -> None:
    whole, small = (ga.grad(network(4), "w", tier="interpreted", memory_budget=b) for b in (None, "1 GB"))
    assert small.optimized == whole.optimized
    assert small.plan.memory.extra == 0
    assert small.plan.memory.method == "everything stored"


def test_a_budget_that_nothing_keeps() -> None:
    with pytest.raises(ga.MemoryBudgetError, match=r"budget of 30 kB(.|\n)*at least \d+ kB(.|\n)*limited by(.|\n)*fix"):
        ga.grad(network(), "w", memory_budget="30 kB")
    with pytest.raises(ga.ArgumentError, match="`sparse` is given with `memory_budget`"):
        ga.jacobian(network(), "w", sparse=True, memory_budget=0.5)


def test_curves_without_compiling() -> None:
    curve = ga.plan_memory(network(24), [1.0, 0.5, 0.3, 0.01], wrt="w")
    whole, half, third, none = curve.points
    assert (whole.peak, whole.extra) == (curve.everything, 0)
    assert half.peak <= 0.5 * curve.everything
    assert third.peak <= 0.3 * curve.everything
    assert 0 < half.overhead <= third.overhead < 1.0
    assert none.peak == 0 < curve.least
    assert none.overhead == np.inf
    assert "are needed" in none.method
    text = str(curve).splitlines()
    assert len(text) == 3 + len(curve.points)
    assert text[-1].endswith(none.method)
    assert f"<td>{none.method}</td>" in curve._repr_html_()
    single = ga.plan_memory(network(24), [0.5], wrt="w", bytes_per_element=2)
    assert 4 * single.everything == curve.everything


def test_loops_are_stored_or_run_again_as_a_whole() -> None:
    def made(checkpoint: Any) -> Any:
        g = Graph("loops")
        x, w = g.input("x", shape=(ROWS, WIDTH)), g.input("w", shape=(WIDTH, WIDTH))
        for _ in range(6):
            x = np.tanh(x @ w) + x
            x, _ = ga.scan(lambda c, _: (np.sin(c) * 1.1, None), x, None, length=5, checkpoint=checkpoint)
        g.output("loss", (x * x).sum())
        return (ga.grad(g, "w", tier="interpreted", memory_budget=b) for b in (None, 0.7))

    reports = []
    for checkpoint in ("all", None):
        whole, small = made(checkpoint)
        np.testing.assert_allclose(small(*arguments()), whole(*arguments()), rtol=1e-10)
        reports.append(small.plan.memory)
    assert any("scan" in v.name for v in reports[0].recomputed)
    assert reports[1].extra < 0.6 * reports[0].extra  # with schedules of their own only sums run again
