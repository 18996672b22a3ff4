"""Memory budgets that reach into loops: what a step stores, what runs again within a step, loops inside loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphad as ga
from graphad.analysis.cost import graph_flops
from graphad.ir.graph import Graph

LAYERS, ROWS, WIDTH, HIDDEN = 6, 48, 16, 64


def layers() -> Graph:
    """A scan over layers with stacked weights: in each a residual network of one hidden layer."""
    g = Graph("layers")
    x = g.input("x", shape=(ROWS, WIDTH))
    up = g.input("up", shape=(LAYERS, WIDTH, HIDDEN))
    down = g.input("down", shape=(LAYERS, HIDDEN, WIDTH))

    def layer(x: Any, weights: Any) -> Any:
        hidden = x @ weights[0]
        hidden = np.sin(np.tanh(hidden) * (1.0 + hidden)) * hidden
        return x + hidden @ weights[1], None

    y = ga.scan(layer, x, (up, down))[0]
    g.output("loss", (y * y).sum())
    return g


def deep_steps() -> Graph:
    """A scan whose step is a network of six layers: what limits is the step, not what the loop stores."""
    g = Graph("steps")
    x, w = g.input("x", shape=(ROWS, WIDTH)), g.input("w", shape=(4, WIDTH, WIDTH))

    def step(x: Any, w: Any) -> Any:
        for _ in range(6):
            x = x + np.tanh(np.tanh(x @ w) @ w)
        return x, None

    y = ga.scan(step, x, w)[0]
    g.output("loss", (y * y).sum())
    return g


def nested(outer: int = 8, inner: int = 30, size: int = 40) -> Graph:
    g = Graph("nested")
    x, k = g.input("x", shape=size), g.input("k", shape=size)

    def outer_step(s: Any, _: Any) -> Any:
        return np.tanh(ga.scan(lambda s, _: (s + 0.01 * np.sin(k * s), None), s, length=inner)[0]), None

    y = ga.scan(outer_step, x, length=outer)[0]
    g.output("loss", (y * y).sum())
    return g


def at(g: Graph) -> list[Any]:
    draw = np.random.default_rng(3)
    shapes = [tuple(map(int, g.nodes[i].type.shape)) for i in g.inputs.values()]
    return [draw.standard_normal(shape) / 4 for shape in shapes]


def kept(g: Graph, whole: Any, part: float) -> Any:
    """The report of a gradient whose prediction is what happens: bytes, operations and values."""
    small = ga.grad(g, memory_budget=part)
    report, found, expected = small.plan.memory, small(*at(g)), whole(*at(g))
    results = sum(one.nbytes for one in found)
    assert report.after.peak == small.scratch_bytes() + results <= part * report.before.peak
    assert report.before.peak == whole.scratch_bytes() + results
    assert report.extra == graph_flops(small.optimized) - graph_flops(whole.optimized)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-14)
    return report


def test_steps_store_what_saves_the_most() -> None:
    """Between all that is dear and the carries alone there are other sets of values."""
    whole = ga.grad(layers())
    reports = [kept(layers(), whole, part) for part in (0.85, 0.7, 0.55)]
    kinds = [report.sweeps[0].schedule[0] for report in reports]
    assert kinds == ["values"] * 3
    extra = [report.extra for report in reports]
    assert extra == sorted(extra)
    assert 0 < extra[-1] < 0.13 * reports[0].flops
    assert [report.sweeps[0].flops for report in reports] == extra
    assert "values of each step" in ga.grad(layers(), memory_budget=0.7, tier="interpreted").explain(memory=True)


def test_parts_of_a_step_run_again_within_it() -> None:
    whole = ga.grad(deep_steps())
    for part, most in ((0.6, 0.28), (0.45, 0.35), (0.25, 0.6)):
        report = kept(deep_steps(), whole, part)
        assert report.method == "schedules of loops" + ", plans inside loops" * (part < 0.5)
        assert report.extra < most * report.flops


def test_plans_in_bodies_count_their_sizes_at_the_hints_around() -> None:
    g = Graph("named")
    x, w = g.input("x", shape=("rows", WIDTH), hint=ROWS), g.input("w", shape=(4, WIDTH, WIDTH))

    def step(x: Any, w: Any) -> Any:
        for _ in range(6):
            x = x + np.tanh(np.tanh(x @ w) @ w)
        return x, None

    g.output("loss", (ga.scan(step, x, w)[0] ** 2).sum())
    fixed, named = (ga.grad(h, memory_budget=0.3, tier="interpreted") for h in (deep_steps(), g))
    assert named.plan.memory.after.peak == fixed.plan.memory.after.peak
    assert "plans inside loops" in named.plan.memory.method
    for rows in (3, ROWS):
        at = np.ones((rows, WIDTH)) / 8, np.ones((4, WIDTH, WIDTH)) / 16
        for one, other in zip(named(*at), ga.grad(g, tier="interpreted")(*at), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-11)


@pytest.mark.parametrize(("part", "inner"), [(0.3, "all"), (0.05, "carries"), (0.03, "at most")])
def test_loops_inside_loops_are_scheduled_with_those_around(part: float, inner: str) -> None:
    whole = ga.grad(nested())
    kept(nested(), whole, part)
    small = ga.grad(nested(), memory_budget=part, tier="interpreted")
    choices = [d.choice for d in small.plan.decisions if d.subject.startswith("sweep")]
    assert len(choices) == 2
    assert any(choice.startswith(inner) for choice in choices)


def marked_layers() -> Graph:
    """A scan whose steps are marked to run again, and single values that are marked, around it."""
    g = Graph("marked")
    x, w = g.input("x", shape=(ROWS, WIDTH)), g.input("w", shape=(4, WIDTH, WIDTH))

    def step(x: Any, w: Any) -> Any:
        return ga.checkpoint(lambda x, w: np.tanh(np.tanh(x @ w) @ w) + x)(x, w), None

    y = ga.save(np.sin(ga.scan(step, x, w)[0]))
    y = ga.recompute(np.exp(y) * x)
    g.output("loss", (y * np.cos(y)).sum())
    g.output("mean", y.mean())
    return g


def test_marks_inside_and_around_loops_and_the_least_budget() -> None:
    whole = ga.grad(marked_layers(), ["x", "w"], of="loss")

    def taken(budget: Any) -> Any:
        small = ga.grad(marked_layers(), ["x", "w"], of="loss", memory_budget=budget)
        report, found = small.plan.memory, small(*at(marked_layers()))
        assert report.after.peak == small.scratch_bytes() + sum(one.nbytes for one in found)
        assert report.extra == graph_flops(small.optimized) - graph_flops(whole.optimized)
        for one, other in zip(found, whole(*at(marked_layers())), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-14)
        return report

    for part in (0.99, 0.7):
        assert taken(part).after.peak <= part * taken(part).before.peak
    with pytest.raises(ga.MemoryBudgetError, match="at least") as raised:
        taken("1 B")
    least = int(str(raised.value).split(" bytes)")[0].rsplit("(", 1)[1].replace(",", ""))
    assert taken(least).after.peak == least
