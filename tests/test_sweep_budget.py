"""Memory budgets choose the schedules of reverse sweeps: steps by the formula, bytes as planned, equal gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphad as ga
from graphad.interpret import interpret
from graphad.ir.graph import Graph
from graphad.ops import sweep
from graphad.ops.schedules import actions, advances, extra_steps

STEPS, STATE = 10_000, 3 * 8
WRT = "start", "rates", "dt"
AT = np.ones(3), np.array([10.0, 28.0, 8 / 3]), 1e-4
LAYERS, ROWS, WIDTH = 8, 64, 16


def lorenz(steps: Any = STEPS, checkpoint: Any = None) -> Graph:
    g = Graph("lorenz")
    start, rates, dt = g.input("start", shape=3), g.input("rates", shape=3), g.input("dt")
    if isinstance(steps, str):
        g.input("times", shape=steps, hint=STEPS)
    last = integrated(g, start, rates, dt, steps, checkpoint)
    g.output("miss", ((last - 1.0) ** 2).sum())
    return g


def integrated(g: Graph, start: Any, rates: Any, dt: Any, steps: Any, checkpoint: Any = None) -> Any:
    """The state after so many steps of the classical Runge-Kutta method."""

    def slope(s: Any) -> Any:
        x, y, z = s[0], s[1], s[2]
        return np.stack([rates[0] * (y - x), x * (rates[1] - z) - y, x * y - rates[2] * z])

    def step(s: Any, _: Any) -> Any:
        k1 = slope(s)
        k2 = slope(s + dt / 2 * k1)
        k3 = slope(s + dt / 2 * k2)
        k4 = slope(s + dt * k3)
        return s + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4), None

    return ga.scan(step, start, length=steps, graph=g, checkpoint=checkpoint)[0]


def learned() -> Graph:
    """A network makes the start of a simulation, and another one rates its end."""
    g = Graph("learned")
    x, w, v = g.input("x", shape=(ROWS, WIDTH)), g.input("w", shape=(WIDTH, WIDTH)), g.input("v", shape=(WIDTH, 3))
    for _ in range(LAYERS):
        x = np.tanh(x @ w)
    last = integrated(g, 1.0 + (x @ v).sum(axis=0) / ROWS, g.const(AT[1]), g.const(1e-4), 2000)
    h = x[:, :3] * last
    g.output("loss", (np.tanh(h @ v.T @ w) ** 2).sum())
    return g


def learned_at() -> tuple[np.ndarray, ...]:
    draw = np.random.default_rng(3)
    return tuple(draw.standard_normal(s) / 4 for s in ((ROWS, WIDTH), (WIDTH, WIDTH), (WIDTH, 3)))


def close(found: Any, expected: Any) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_numbers_are_known_inside_a_body() -> None:
    g = Graph("scaled")
    x, rate = g.input("x"), g.const(0.5)
    g.output("y", ga.scan(lambda s, _: (s * rate, None), x, length=3)[0])
    assert interpret(g, x=8.0)["y"] == 1.0


@pytest.fixture(scope="module")
def whole() -> Any:
    return ga.grad(lorenz())


@pytest.mark.parametrize("budget", [20 * STATE + 900, 50_000])
def test_a_long_loop_gets_as_many_states_as_fit(budget: int, whole: Any) -> None:
    small = ga.grad(lorenz(), memory_budget=budget)
    report = small.plan.memory
    (record,) = report.sweeps
    kind, states = record.schedule
    assert kind == "binomial"
    assert 20 <= states <= STEPS // 4
    assert record.extra == STEPS + extra_steps(STEPS, states) == STEPS + advances(record.schedule, STEPS)
    assert report.extra == record.flops > 0
    result = small(*AT)
    taken = small.scratch_bytes() + sum(part.nbytes for part in result[:2])
    assert report.after.peak == taken <= budget
    # One state more would not fit: what is left is less than a line of the block for each of the two arrays.
    assert budget - taken < 2 * 64 + STATE + 8
    assert record.bytes == states * (STATE + 8)
    close(result, whole(*AT))
    choice = next(d for d in small.plan.decisions if d.subject == "sweep of `step`")
    assert choice.choice == f"at most {states} states"
    assert choice.reason == "fewest operations found within the memory budget"
    text = small.explain(memory=True)
    for part in ("reverse sweeps of loops", f"at most {states} states", f"{record.extra:,}"):
        assert part in text


def test_as_many_steps_run_as_the_plan_says(monkeypatch: pytest.MonkeyPatch) -> None:
    f = ga.grad(lorenz(150), memory_budget=1000, tier="interpreted")
    (record,) = f.plan.memory.sweeps
    calls: list[int] = []
    run = sweep.run_body

    def counted(body: Graph, arrays: Any) -> Any:
        calls.append(len(body.inputs))
        return run(body, arrays)

    monkeypatch.setattr(sweep, "run_body", counted)
    interpret(f.optimized, *AT)
    assert record.steps == 150
    assert len(calls) == record.extra  # the adjoint step runs its step as well


def test_named_sizes_count_at_their_hints() -> None:
    whole, small = (ga.grad(lorenz("n"), WRT, memory_budget=b, tier="interpreted") for b in (None, "4 kB"))
    (record,) = small.plan.memory.sweeps
    assert (record.steps, record.schedule[0]) == (STEPS, "binomial")
    for steps in (0, 1, 40):
        close(small(*AT, np.zeros(steps)), whole(*AT, np.zeros(steps)))


def test_a_schedule_asked_for_stays() -> None:
    with pytest.raises(ga.MemoryBudgetError, match=r"budget of 10 kB(.|\n)*at least 240 kB"):
        ga.grad(lorenz(checkpoint="all"), memory_budget="10 kB")
    f = ga.grad(lorenz(checkpoint=7), memory_budget="10 kB", tier="interpreted")
    assert f.plan.memory.sweeps == ()
    assert [d.choice for d in f.plan.decisions if d.subject.startswith("sweep")] == ["at most 7 states"]


def test_a_loop_that_nothing_fits() -> None:
    with pytest.raises(ga.MemoryBudgetError, match=r"budget of 100 B(.|\n)*at least \d+ B(.|\n)*limited by(.|\n)*fix"):
        ga.grad(lorenz(), memory_budget=100)


def test_several_loops() -> None:
    """The loop whose steps cost more keeps what it stores."""
    g = Graph("two")
    x, k = g.input("x", shape=2), g.input("k")

    def cheap_step(s: Any, _: Any) -> Any:
        return s + 0.01 * s * s, None

    def dear_step(s: Any, _: Any) -> Any:
        return s + 0.01 * np.sin(k * np.exp(-s * s)), None

    y = ga.scan(cheap_step, x, length=1000)[0]
    z = ga.scan(dear_step, y, length=1000)[0]
    g.output("loss", (z * z).sum())
    whole, small = (ga.grad(g, memory_budget=b, tier="interpreted") for b in (None, 0.8))
    dear, cheap = small.plan.memory.sweeps  # the last loop is swept first
    assert (cheap.name, dear.name) == ("cheap_step", "dear_step")
    assert (cheap.schedule[0], dear.schedule[0]) == ("binomial", "all")
    assert small.plan.memory.extra == cheap.flops < dear.steps * 40
    at = np.array([0.1, -0.3]), 0.7
    close(small(*at), whole(*at))
    tiny = ga.grad(g, memory_budget=2000, tier="interpreted")
    assert {s.schedule[0] for s in tiny.plan.memory.sweeps} == {"binomial"}
    assert tiny.plan.memory.after.peak <= 2000
    close(tiny(*at), whole(*at))


def test_a_network_around_a_loop() -> None:
    whole = ga.grad(learned())
    expected = whole(*learned_at())
    parts = dict[float, Any]()
    for budget in (0.85, 0.42):
        small = ga.grad(learned(), memory_budget=budget)
        report = small.plan.memory
        found = small(*learned_at())
        results = sum(part.nbytes for part in found)
        assert abs(small.scratch_bytes() + results - report.after.peak) <= 0.02 * report.after.peak
        assert report.after.peak <= budget * report.before.peak
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-15)
        parts[budget] = report
    little, tight = parts.values()
    assert little.sweeps[0].schedule == ("all",)  # a layer is cheaper to run again than the loop
    assert tight.sweeps[0].schedule[0] == "binomial"
    assert tight.recomputed
    assert tight.extra == tight.sweeps[0].flops + sum(v.cost * (v.runs - 1) for v in tight.recomputed)


def test_marks_hold_beside_loops() -> None:
    g = Graph("marked")
    x = g.input("x", shape=100)
    y = ga.save(np.sin(x))
    z = ga.scan(lambda s, _: (s + 0.01 * np.sin(s), None), np.exp(y), length=50)[0]
    g.output("loss", (z * np.cos(z)).sum())
    whole, small = (ga.grad(g, memory_budget=b, tier="interpreted") for b in (None, 0.6))
    report = small.plan.memory
    assert 0.9 < report.after.peak / (0.6 * report.before.peak) <= 1.0
    assert report.sweeps[0].schedule[0] == "binomial"
    close([small(np.ones(100))], [whole(np.ones(100))])
    for one in (whole, small):
        assert one.scratch_bytes() + 8 * 100 == one.plan.memory.after.peak


def test_second_derivatives_of_loops() -> None:
    whole, small = (ga.hvp(lorenz(200), ["start", "rates"], memory_budget=b, tier="interpreted") for b in (None, 0.3))
    at = *AT, np.ones(3), np.ones(3)
    assert small.plan.memory.after.peak <= 0.3 * small.plan.memory.before.peak
    close(small(*at), whole(*at))


def test_curves_of_graphs_with_loops() -> None:
    curve = ga.plan_memory(lorenz(), [1.0, 0.5, 2000, 10])
    whole, half, little, none = curve.points
    assert (whole.extra, whole.sweeps[0].schedule) == (0, ("all",))
    for point, limit in ((half, 0.5 * curve.everything), (little, 2000)):
        assert 0.9 * limit < point.peak <= limit
        assert point.sweeps[0].schedule[0] == "binomial"
        assert point.extra == point.sweeps[0].flops
    assert half.extra < little.extra
    assert [point.method for point in (whole, half, little)] == ["everything stored", *["schedules of loops"] * 2]
    assert none.peak == 0 < curve.least < 1000


def test_many_states_need_no_deep_calls() -> None:
    stored, most = 0, 0
    steps = []
    for action in actions(("binomial", 3000), 10_000):
        stored += {"store": 1, "drop": -1}.get(action.kind, 0)
        most = max(most, stored)
        steps += [action.step] if action.kind == "adjoint" else []
    assert most == 3000
    assert steps == list(reversed(range(10_000)))
