"""What reverse sweeps of loops store: schedules give one gradient, run as many steps as the formula says, and fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphad as ga
from graphad.analysis.cost import graph_flops
from graphad.errors import ArgumentError
from graphad.interpret import interpret
from graphad.ir.graph import Graph, Node
from graphad.ops import sweep
from graphad.ops.schedules import extra_steps
from graphad.plan.sweeps import candidates, decided, stored_nodes, with_schedule
from passes.checkpoints import Checkpoints, schedule_sweeps
from passes.executable import executable
from passes.pipeline import DEFAULT, run_pipeline

T = ga.transform
SCHEDULES = [None, "all", "carries", ("every", 3), ("every", 50), 1, 2, 5, ("binomial", 4)]


def wave(checkpoint: Any = None, *, reverse: bool = False, steps: Any = None) -> Graph:
    g = ga.Graph("wave")
    u, k = g.input("u", "m"), g.input("k")
    push = g.input("push", "n", hint={"n": 1000, "m": 10})

    def step(state: Any, f: Any) -> Any:
        now, before = state
        new = 2.0 * now - before + 0.1 * np.sin(k * now) + f
        return (new, now), now.sum()

    (last, _), sums = ga.scan(step, (u, u), push, reverse=reverse, checkpoint=checkpoint, length=steps)
    g.output("loss", (last**2).sum() + np.cos(sums).sum())
    return g


VALUES = {"u": np.array([0.3, -0.2]), "k": 1.1, "push": 0.05 * np.arange(8.0)}


def sweeps(graph: Graph) -> list[Node]:
    return [node for node in graph.nodes if node.op == "scan_adjoint"]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("checkpoint", SCHEDULES, ids=str)
def test_schedules_give_one_gradient(checkpoint: Any, reverse: bool) -> None:
    expected = interpret(T.grad(wave(reverse=reverse)), **VALUES)
    graph = T.grad(wave(checkpoint, reverse=reverse))
    after = run_pipeline(graph)[0]
    native = checkpoint is not None and checkpoint not in ("all", "carries")
    assert len(sweeps(after)) == native
    for one in (graph, after):
        for name, value in interpret(one, **VALUES).items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-12)


@pytest.mark.parametrize(("steps", "snapshots"), [(10, 3), (50, 3), (50, 5), (100, 5)])
def test_the_interpreter_runs_as_many_steps_as_the_formula_says(
    steps: int, snapshots: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = run_pipeline(T.grad(wave(snapshots)))[0]
    (node,) = sweeps(graph)
    calls: list[Graph] = []
    run = sweep.run_body

    def counted(body: Graph, arrays: Any) -> Any:
        calls.append(body)
        return run(body, arrays)

    monkeypatch.setattr(sweep, "run_body", counted)
    interpret(graph, u=[0.1], k=1.0, push=np.zeros(steps))
    adjoint_steps = [body for body in calls if len(body.inputs) > len(node.param("body").inputs)]
    assert len(adjoint_steps) == steps
    assert len(calls) - steps == extra_steps(steps, snapshots)


def test_a_derivative_keeps_the_schedule_to_any_order() -> None:
    graph = run_pipeline(T.hvp(wave(3)))[0]
    assert [node.param("schedule") for node in sweeps(graph)] == [("binomial", 3)]
    dots = {"u_dot": np.array([1.0, -1.0]), "k_dot": 0.5, "push_dot": np.ones(8)}
    expected = interpret(T.hvp(wave()), **VALUES, **dots)
    for name, value in interpret(graph, **VALUES, **dots).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-12)


@pytest.mark.parametrize("checkpoint", [None, "all", "carries"])
def test_a_gradient_is_one_loop_forward_and_one_back(checkpoint: Any) -> None:
    primal = run_pipeline(wave(checkpoint))[0]
    after = run_pipeline(T.value_and_grad(primal.freeze()))[0]
    forward, back = [node for node in after.nodes if node.op == "scan"]
    assert (forward.param("reverse"), back.param("reverse")) == (False, True)
    assert forward.param("carries") == 2
    sines = [node.op for node in forward.param("body").nodes].count("sin")
    assert sines == 1
    assert graph_flops(after) < 5 * graph_flops(primal)


def test_what_is_stored() -> None:
    (node,) = sweeps(T.grad(run_pipeline(wave())[0].freeze()))
    bound = {"n": 1000, "m": 10}
    kept = [node.param("adjoint").nodes[i].op for i in stored_nodes(node, bound)]
    assert sorted(kept) == ["cos", "input"]  # the slope of the sine and the state that it is multiplied with
    (carry,) = stored_nodes(node, bound, ("carries",))  # the state before last does not matter for the derivative
    assert carry == next(iter(node.param("adjoint").inputs.values()))


def test_a_linear_loop_stores_nothing() -> None:
    g = ga.Graph("linear")
    x, a = g.input("x", 3), g.input("a", "n")
    g.output("y", ga.scan(lambda s, f: (f * s, None), x, a)[0].sum())
    after = run_pipeline(T.grad(g, "x"))[0]
    (loop,) = [node for node in after.nodes if node.op == "scan"]
    assert (loop.param("carries"), loop.param("xs")) == (1, 1)


def test_long_loops_store_what_fits() -> None:
    (node,) = sweeps(T.grad(wave()))
    state = 2 * 10 * 8
    for bytes_, schedule in ((10**6, ("all",)), (85_000, ("carries",)), (40_000, ("binomial", 40_000 // state))):
        assert decided(node, {"n": 1000, "m": 10}, bytes_) == schedule
    passes = tuple(Checkpoints(limit=40_000) if isinstance(p, Checkpoints) else p for p in DEFAULT)
    (kept,) = sweeps(run_pipeline(T.grad(wave()), passes)[0])
    assert kept.param("schedule") == ("binomial", 250)
    assert ga.grad(wave(), passes=passes, tier="interpreted")(*map(np.asarray, VALUES.values())).k


def test_candidates_for_a_planner() -> None:
    graph = T.grad(wave())
    place = next(i for i, node in enumerate(graph.nodes) if node.op == "scan_adjoint")
    found = candidates(graph.nodes[place], {"n": 1000, "m": 10})
    assert [c.steps for c in found] == sorted(c.steps for c in found)
    by_schedule = {c.schedule: c for c in found}
    assert by_schedule[("all",)].steps == 0
    assert by_schedule[("carries",)].bytes < by_schedule[("all",)].bytes
    assert by_schedule[("binomial", 1)].bytes == 160
    changed = with_schedule(graph, place, ("every", 4))
    assert changed.nodes[place].param("schedule") == ("every", 4)
    assert schedule_sweeps(changed) is changed


def test_what_is_no_schedule() -> None:
    for checkpoint in (0, "some", ("every", 0), ("binomial",), 2.5):
        with pytest.raises(ArgumentError, match="is no schedule"):
            wave(checkpoint)


def test_the_plan_says_what_is_stored() -> None:
    def shown(checkpoint: Any) -> tuple[str, str, list[tuple[str, str]]]:
        decision = ga.grad(wave(checkpoint), tier="interpreted").plan.decisions[1]
        assert decision.subject == "sweep of `step`"
        return decision.choice, decision.reason, [(a.choice, a.cost) for a in decision.alternatives]

    choice, reason, costs = shown(None)
    assert (choice, reason) == ("all", "at most 1,073,741,824 bytes for 1,000 steps")
    assert [name for name, _ in costs] == ["all", "carries"]
    assert costs[1][1] == "8*m*n"
    assert shown(7)[:2] == ("at most 7 states", "checkpoint=7 was asked for")
    assert shown(("every", 5))[2][-1] == ("every 5 steps", str(205 * 160))
    loop = ga.Graph("until")
    x = loop.input("x")
    loop.output("y", ga.while_loop(lambda s: s < 10.0, lambda s: s * s, x))
    assert ga.grad(loop, tier="interpreted").plan.decisions[1].choice == "all"


def test_a_linear_loop_stores_nothing_whatever_is_asked_for() -> None:
    g = ga.Graph("linear")
    x, a = g.input("x"), g.input("a", "n")
    (last, count), _ = ga.scan(lambda s, f: ((f * s[0], s[1] + 1.0), None), (x, 0.0), a, checkpoint=5)
    g.output("y", last + count)
    after = run_pipeline(T.grad(g, "x"))[0]
    assert not sweeps(after)
    assert interpret(after, x=1.0, a=[2.0, 3.0])["dy_dx"] == 6.0


def test_sweeps_run_without_the_carries_that_nothing_reads() -> None:
    g = ga.Graph("partly")
    x, a = g.input("x", "m"), g.input("a", "n")
    start = (x, np.zeros(1), x)

    def step(s: Any, f: Any) -> Any:
        square, count, linear = s
        return (f * square * square, count + 1.0, linear * f + square), None

    (square, count, linear), _ = ga.scan(step, start, a, checkpoint=2)
    g.output("y", square.sum() + count.sum() + linear.sum())
    graph = run_pipeline(T.grad(g))[0]
    reduced = executable(graph)
    assert [node.param("carries") for one in (graph, reduced) for node in sweeps(one)] == [3, 2]  # the count
    values = {"x": np.array([0.3, -0.7]), "a": np.array([1.5, 0.4, -2.0, 0.9])}
    expected = interpret(T.grad(g), **values)
    for name, value in interpret(reduced, **values).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-13)
    compiled = ga.grad(g)(*values.values())
    np.testing.assert_allclose(compiled.x, expected["dy_dx"], rtol=1e-13)
    np.testing.assert_allclose(compiled.a, expected["dy_da"], rtol=1e-13)


def test_a_size_without_a_hint_leads_to_no_slow_schedule() -> None:
    def schedules(rows: Any, hint: Any = None, steps: Any = "n") -> list[Any]:
        g = ga.Graph("heat")
        u, rates = g.input("u", rows, hint=hint), g.input("rates", steps, hint=hint)
        g.output("loss", ga.scan(lambda s, f: (s + f * np.sin(s), None), u, rates)[0].sum())
        f = ga.grad(g, "u", tier="interpreted")
        decision = next(d for d in f.plan.decisions if d.subject.startswith("sweep"))
        return [node.param("schedule") for node in sweeps(f.optimized)], decision.choice, decision.reason

    guessed = "how large m, n is nobody said (`hint=`, `checkpoint=`): no step is run again on a guess"
    assert schedules(("m", 1000)) == ([], "all", guessed)  # 1000 x 1000 x 1000 numbers if guessed
    assert schedules("n") == ([], "all", "at most 1,073,741,824 bytes for 1,000 steps")
    small = {"m": 1000, "n": 10}
    assert schedules(("m", 1000), small) == ([], "all", "at most 1,073,741,824 bytes for 10 steps")
    for rows, hint, steps in (
        (("m", 1000), {"m": 1000, "n": 1000}, "n"),
        (("m", 1000), {"n": 10**6}, "n"),  # even where m is 1
        (1000, None, 10**6),
    ):
        found, choice, reason = schedules(rows, hint, steps)
        assert [kind for kind, _ in found] == ["binomial"]
        assert choice.startswith("at most")
        assert "so many states fit" in reason
