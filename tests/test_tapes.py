"""Reverse sweeps of `while_loop`: the loop runs once, and leaves on tapes what its sweep reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphad as ga
from graphad.ad import transform
from graphad.interpret import interpret
from graphad.ir.bodies import bodies
from graphad.ir.graph import Graph
from graphad.ir.text import from_text, to_text
from graphad.plan.sweeps import recorded
from passes.pipeline import DEFAULT, run_pipeline
from passes.tapes import put_on_tapes
from tests.unjitted import unjitted

TIERS = ("interpreted", "compiled")
POINT = {"u": np.array([0.3, -0.7, 0.5]), "a": 0.9, "limit": 40.0}


def step(state: Any, a: Any) -> Any:
    """A few numbers and an array; the second carry is read by the test only, the last by nobody."""
    u, size, product, steps = state
    new = np.sin(u[::-1]) * a + 0.1 * product
    return new, size + (u * u).sum() + a, product * np.cos(a * u[0]), steps + 1


def spiral(around: Callable[[Any, Any, Any], Any] | None = None) -> ga.Graph:
    """A loop whose number of steps depends on its values; `around` makes the result from inputs and the loop."""
    g = ga.Graph("spiral")
    u, a, limit = g.input("u", shape=3), g.input("a"), g.input("limit")

    def loop(u: Any, a: Any) -> Any:
        start = (u, 0.0 * a, 1.0 + a, 0)
        last = ga.while_loop(lambda s: s[1] < limit, lambda s: step(s, a), start)
        return (last[0] * last[2]).sum()

    g.output("y", loop(u, a) if around is None else around(loop, u, a))
    return g


def reference(u: Any, a: Any, limit: float) -> Any:
    """The same with NumPy, for complex numbers too."""
    state = (u, 0.0 * a, 1.0 + a, 0)
    while state[1].real < limit:
        state = step(state, a)
    return (state[0] * state[2]).sum()


def slopes(function: Callable[..., Any], u: Any, a: Any) -> tuple[Any, Any]:
    """The gradient by complex steps."""
    e = 1e-30
    by_u = [function(u + 1j * e * one, a + 0j).imag / e for one in np.eye(3)]
    return np.array(by_u), function(u + 0j, a + 1j * e).imag / e


def loops_in(graph: Graph, *ops: str) -> list[str]:
    """The loops of a graph and of its bodies, in order."""
    found = []
    for node in graph.nodes:
        found += [node.op] if node.op in ops else []
        found += [op for _, body in bodies(node.params) for op in loops_in(body, *ops)]
    return found


LOOPS = ("while_loop", "while_adjoint", "unwind")


@pytest.mark.parametrize("limit", [-1.0, 40.0, 400.0])  # no steps, some, and more than a tape has room for at first
def test_value_and_gradient_run_the_loop_once(limit: float) -> None:
    g = spiral()
    u, a = POINT["u"], POINT["a"]
    value, expected = reference(u, a, limit), slopes(lambda u, a: reference(u, a, limit), u, a)
    for tier in TIERS:
        f = ga.value_and_grad(g, ["u", "a"], tier=tier)
        assert loops_in(f.optimized, *LOOPS) == ["while_loop", "unwind"]
        got, gradient = f(u, a, limit)
        np.testing.assert_allclose(got, value, rtol=1e-12)
        np.testing.assert_allclose(gradient.u, expected[0], rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(gradient.a, expected[1], rtol=1e-10)
    again = f.jit(u, a, limit)
    np.testing.assert_allclose(again[0], got, rtol=1e-14)
    np.testing.assert_allclose(again[1], gradient.u, rtol=1e-14)
    plain = unjitted(f.optimized)(u=u, a=a, limit=limit)
    np.testing.assert_allclose(plain["dy_da"], gradient.a, rtol=1e-13)


@pytest.mark.parametrize("tier", TIERS)
def test_the_loop_answers_the_same_bits_and_tells_how_far_it_is_once(tier: Any) -> None:
    g = ga.Graph("root")
    a = g.input("a")
    g.output("y", ga.while_loop(lambda x: abs(x * x - a) > 1e-12, lambda x: (x + a / x) / 2, a, progress=4))
    calls: list[Any] = []
    f = ga.value_and_grad(g, "a", tier=tier)
    with ga.progress(lambda *told: calls.append(told)):
        value, _ = f(7.0)
    assert [name for name, *_ in calls] == ["body", "body", "body backwards", "body backwards"]
    assert value == ga.compile(g, tier=tier)(7.0)


def test_the_tape_has_what_the_sweep_reads_and_no_more() -> None:
    """Of a trajectory that a carry collects only the element that a step reads."""
    g = ga.Graph("trajectory")
    n, a, x = g.input("steps", dtype="int64"), g.input("a"), g.input("x", shape="n")
    last = ga.fori_loop(1, n, lambda i, x: x.at[i].set(np.sin(a * x[i - 1])), x)
    g.output("y", last.sum())
    graph = transform.grad(g, ["a", "x"])
    (node,) = [node for node in run_pipeline(graph, DEFAULT[:13])[0].nodes if node.op == "while_adjoint"]
    choice, kept = recorded(node, {"n": 1000})
    kinds = [node.param("adjoint").nodes[k].type for k in kept]
    assert choice == "all"
    assert max(kind.rank for kind in kinds) == 0
    assert len(kinds) <= 4  # the number of the step, x[i - 1], a sine and a cosine
    found = ga.grad(g, ["a", "x"])(5, 0.7, np.full(8, 0.4))
    by_a = interpret(graph, steps=5, a=0.7, x=np.full(8, 0.4))["dy_da"]
    np.testing.assert_allclose(found.a, by_a, rtol=1e-13)
    np.testing.assert_allclose(by_a, _trajectory(0.7 + 1e-30j).imag / 1e-30, rtol=1e-12)


def _trajectory(a: complex) -> complex:
    x = np.full(8, 0.4 + 0j)
    for i in range(1, 5):
        x[i] = np.sin(a * x[i - 1])
    return complex(x.sum())


def test_a_linear_loop_leaves_the_number_of_its_steps() -> None:
    g = ga.Graph("linear")
    x, v = g.input("x"), g.input("v", shape="n")
    _, last = ga.while_loop(lambda s: s[0] < 10, lambda s: (s[0] + 1, s[1] * x.sum() * 0.0 + s[1] * 1.1), (0, v))
    g.output("y", last.sum())
    np.testing.assert_allclose(ga.grad(g, "v")(2.0, np.ones(4)), np.full(4, 1.1**10), rtol=1e-13)


def test_inside_a_scan_and_inside_a_branch() -> None:
    def in_scan(loop: Any, u: Any, a: Any) -> Any:
        return ga.scan(lambda total, v: (total + loop(u * v, a) ** 2, None), 0.0, u)[0]

    def in_branch(loop: Any, u: Any, a: Any) -> Any:
        return ga.cond(a > 0.5, lambda u: loop(u, a) ** 2, lambda u: u.sum(), u)

    u, a, limit = POINT["u"], POINT["a"], POINT["limit"]
    by_hand = {
        in_scan: lambda u, a: sum(reference(u * v, a, limit) ** 2 for v in u),
        in_branch: lambda u, a: reference(u, a, limit) ** 2,
    }
    for around, expected in by_hand.items():
        g = spiral(around)
        by_u, by_a = slopes(expected, u, a)
        for tier in TIERS:
            value, gradient = ga.value_and_grad(g, ["u", "a"], tier=tier)(u, a, limit)
            np.testing.assert_allclose(value, expected(u, a), rtol=1e-12)
            np.testing.assert_allclose(gradient.u, by_u, rtol=1e-10)
            np.testing.assert_allclose(gradient.a, by_a, rtol=1e-10)


@pytest.mark.parametrize("tier", TIERS)
def test_second_derivatives_both_ways(tier: Any) -> None:
    g, u, a, limit = spiral(), POINT["u"], POINT["a"], POINT["limit"]
    e = 1e-6

    def slope(a: float) -> Any:
        return slopes(lambda u, a: reference(u, a, limit), u, a)

    expected = [(up - down) / (2 * e) for up, down in zip(slope(a + e), slope(a - e), strict=True)]
    product = ga.hvp(g, ["u", "a"], tier=tier)(u, a, limit, np.zeros(3), 1.0)
    np.testing.assert_allclose(product.u, expected[0], rtol=1e-6)
    np.testing.assert_allclose(product.a, expected[1], rtol=1e-6)
    twice = ga.grad(transform.grad(g, "a"), ["u", "a"], tier=tier)(u, a, limit)
    np.testing.assert_allclose(twice.u, product.u, rtol=1e-9)
    np.testing.assert_allclose(twice.a, product.a, rtol=1e-9)


@pytest.mark.parametrize("tier", TIERS)
def test_several_sweeps_of_one_loop(tier: Any) -> None:
    g = ga.Graph("several")
    u, a, limit = g.input("u", shape=3), g.input("a"), g.input("limit")
    last = ga.while_loop(lambda s: s[1] < limit, lambda s: step(s, a), (u, 0.0 * a, 1.0 + a, 0))
    g.output("y", last[0])
    g.output("z", last[2])
    e = 1e-30

    def ends(u: Any, a: Any) -> Any:
        state = (u, 0.0 * a, 1.0 + a, 0)
        while state[1].real < POINT["limit"]:
            state = step(state, a)
        return state

    by_a = ends(POINT["u"] + 0j, POINT["a"] + 1j * e)
    by_u = np.stack([ends(POINT["u"] + 1j * e * one, POINT["a"] + 0j)[0].imag / e for one in np.eye(3)], axis=1)
    rows = ga.jacobian(g, ["u", "a"], of="y", mode="reverse", tier=tier)
    assert loops_in(rows.optimized, *LOOPS) == ["while_loop", "unwind"]
    found = rows(*POINT.values())
    np.testing.assert_allclose(found.u, by_u, rtol=1e-10)
    np.testing.assert_allclose(found.a, by_a[0].imag / e, rtol=1e-10)
    both = transform.grad(g, "a", "z")
    twice = Graph("twice")
    inputs = [twice.input(name, both.nodes[i].type.shape) for name, i in both.inputs.items()]
    twice.output("one", both(*inputs))
    twice.output("other", transform.vjp(g, "a", "y")(*inputs, twice.const(np.ones(3)))["a_bar"])
    after = run_pipeline(twice.freeze())[0]
    assert loops_in(after, *LOOPS) == ["while_loop", "unwind"]
    (loop,) = [node for node in after.nodes if node.op == "while_loop"]
    recorded_once = list(loop.param("body").outputs.values())[loop.param("carries") :]
    assert len(set(recorded_once)) == len(recorded_once)
    values = ga.compile(twice, tier=tier)(*POINT.values())
    np.testing.assert_allclose(values.one, by_a[2].imag / e, rtol=1e-10)
    np.testing.assert_allclose(values.other, by_a[0].imag.sum() / e, rtol=1e-10)


def test_tapes_are_used_again() -> None:
    """Memory does not grow from call to call, also with two tapes at a time."""
    resource = pytest.importorskip("resource")
    g = ga.Graph("two")
    x = g.input("x", shape=1000)
    ends = [
        ga.while_loop(lambda s: s[0] < 500, lambda s, f=factor: (s[0] + 1, np.sin(s[1]) * f), (0, x))[1].sum()
        for factor in (1.01, 1.02)
    ]
    g.output("y", ends[0] * ends[1])
    f = ga.grad(g)
    f(np.ones(1000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(20):
        f(np.ones(1000))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000  # one tape is 8 MB


def test_text_of_tapes_and_a_pipeline_without_the_pass() -> None:
    g = transform.value_and_grad(spiral(), ["u", "a"])
    after = run_pipeline(g)[0]
    assert to_text(from_text(to_text(after))) == to_text(after)
    assert put_on_tapes(after) is after
    expected = interpret(g, **POINT)
    for graph in (after, put_on_tapes(g)):
        for name, value in interpret(graph, **POINT).items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-11)
    bare = ga.value_and_grad(spiral(), ["u", "a"], passes=())(*POINT.values())
    np.testing.assert_allclose(bare[1].u, expected["dy_du"], rtol=1e-11)
