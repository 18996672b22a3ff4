"""Loops and branches in generated code: what they compute, how often steps run, what they allocate."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import numpy as np
import pytest

import graphad as ga
from graphad.emit.source import generate
from graphad.emit.sweeps import _stretch
from graphad.errors import IndexRangeError
from graphad.interpret import interpret
from graphad.loops.schedule import schedule
from graphad.loops.summary import summarize
from graphad.ops.schedules import advances, first_stretch
from tests.loop_graphs import CASES, decay, diffusion, sweep
from tests.memory import Memory
from tests.unjitted import unjitted


@pytest.mark.parametrize("name", CASES)
def test_generated_loops_compute_what_the_interpreter_does(name: str) -> None:
    graph, arguments = CASES[name]()
    wanted, got = interpret(graph, **arguments), unjitted(graph)(**arguments)
    for key, value in wanted.items():
        np.testing.assert_allclose(got[key], value, rtol=1e-12, atol=1e-13, err_msg=key)


@pytest.mark.parametrize("name", ["diffusion", "nested", "binomial", "unwind", "branch"])
def test_one_compilation_serves_all_lengths(name: str) -> None:
    graph, arguments = CASES[name]()
    function = ga.compile(graph)
    for length in (0, 1, 2, 5):
        given = {k: v[:length] if k.startswith(("xs", "ys")) else v for k, v in arguments.items()}
        wanted, got = interpret(graph, **given), function(**given)
        for key, value in wanted.items():
            np.testing.assert_allclose(getattr(got, key), value, rtol=1e-12, atol=1e-13, err_msg=key)


def test_float32() -> None:
    graph, arguments = decay("float32")
    # Small numbers: exponentials of exponentials would enlarge the last digit without bound.
    given = {name: np.asarray(0.3 * value, np.float32) for name, value in arguments.items()}
    wanted, got = interpret(graph, **given), ga.compile(graph)(**given)
    for key, value in wanted.items():
        assert getattr(got, key).dtype == np.float32
        np.testing.assert_allclose(getattr(got, key), value, rtol=1e-5, err_msg=key)


def test_arrays_in_any_order() -> None:
    graph, arguments = CASES["nested"]()
    given = {"q": np.asfortranarray(arguments["q"]), "xs": np.repeat(arguments["xs"], 2, axis=1)[:, ::2]}
    wanted, got = interpret(graph, **arguments), ga.compile(graph)(**given)
    for key, value in wanted.items():
        np.testing.assert_allclose(getattr(got, key), value, rtol=1e-12)


@pytest.mark.parametrize("schedule", [("every", 1), ("every", 4), ("every", 100), ("binomial", 1), ("binomial", 3)])
def test_steps_run_again_are_those_of_the_schedule(schedule: tuple[str, int]) -> None:
    graph, arguments = sweep(schedule)
    length = 23
    arguments |= {"xs": np.full(length, 0.5), "ys_bar": np.zeros(length)}
    lines = generate(graph).source.partition("\ndef sweep_kernel")[2].splitlines()
    loop = next(k for k, line in enumerate(lines) if line.strip().startswith("for again in"))
    first = next(line for line in lines[loop + 1 :] if "=" in line).strip()
    assert executed(unjitted(graph), first, arguments) == advances(schedule, length)


def executed(function: Any, text: str, arguments: dict[str, Any]) -> int:
    """How often a function generated as plain Python executes the first line of some text."""
    source = function.__closure__ and next(c.cell_contents for c in function.__closure__ if callable(c.cell_contents))
    lines = source.__globals__["__source__"].splitlines()
    number = next(k for k, line in enumerate(lines, start=1) if line.strip() == text)
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "line" and frame.f_code.co_filename == "<string>" and frame.f_lineno == number
        return trace

    sys.settrace(trace)
    try:
        function(**arguments)
    finally:
        sys.settrace(None)
    return count


def test_stretches_are_those_of_exact_arithmetic() -> None:
    for snapshots in (1, 2, 3, 7, 20):
        for steps in (2, 3, 10, 999, 10_000, 123_456):
            assert _stretch(steps, snapshots) == first_stretch(steps, snapshots)


@pytest.mark.parametrize("name", ["binomial", "unwind"])
def test_steady_calls_allocate_nothing(name: str, memory: Memory) -> None:
    graph, arguments = CASES[name]()
    function = ga.compile(graph)
    function(**arguments)
    taken = memory.taken
    assert taken >= 1
    function(**arguments)
    assert memory.taken == taken
    if name == "binomial":
        assert function.scratch_bytes(n=1000, m=100) < 60 * 8 * 100


def test_the_memory_of_stored_states_is_known() -> None:
    few, many = (ga.compile(sweep(("binomial", s))[0]).scratch_bytes(n=1000, m=1000) for s in (3, 13))
    assert many - few >= 10 * 8 * 1000
    assert ga.compile(diffusion()[0]).scratch_bytes(n=10**6, m=1000) < 50_000


def test_sums_of_inner_loops_need_no_rows_of_their_own() -> None:
    source = generate(CASES["running"]()[0]).source.partition("def running_kernel")[2].partition("\ndef ")[0]
    assert "total[step_2, " in source
    assert "other[step_2, " in source
    assert "_fill(" not in source


def test_indices_in_loops_stay_inside_their_arrays() -> None:
    g = ga.Graph("walk")
    x, start = g.input("x", "n"), g.input("start", dtype="int64")
    places = ga.scan(lambda place, _: (place + 2, (x[place], place)), start, length=4)[1]
    g.output("seen", places[0])
    function = ga.compile(g)
    x_values = np.arange(8.0)
    np.testing.assert_array_equal(function(x_values, 1), [1, 3, 5, 7])
    np.testing.assert_array_equal(function(x_values, -8), [0, 2, 4, 6])
    for outside in (2, -9, 10**9):
        with pytest.raises(IndexRangeError, match="in the body of a loop"):
            function(x_values, outside)



def lorenz(checkpoint: object) -> ga.Graph:
    """Runge-Kutta steps of the Lorenz system."""
    g = ga.Graph("lorenz")
    start, rates, steps = g.input("start", 3), g.input("rates", 3), g.input("steps", "n", hint=1000)

    def slope(s: ga.Variable) -> ga.Variable:
        x, y, z = s[0], s[1], s[2]
        return np.stack([rates[0] * (y - x), x * (rates[1] - z) - y, x * y - rates[2] * z])

    def step(s: ga.Variable, h: ga.Variable) -> tuple[ga.Variable, None]:
        k1 = slope(s)
        k2 = slope(s + 0.5 * h * k1)
        k3 = slope(s + 0.5 * h * k2)
        return s + h / 6.0 * (k1 + 2.0 * (k2 + k3) + slope(s + h * k3)), None

    g.output("y", (ga.scan(step, start, steps, checkpoint=checkpoint)[0] ** 2).sum())
    return g


def test_few_states_give_the_gradient_of_all_states() -> None:
    point = np.ones(3), np.array([10.0, 28.0, 8 / 3]), np.full(1000, 1e-3)
    few, every = (ga.grad(lorenz(checkpoint), ["start", "rates"]) for checkpoint in (5, "all"))
    for one, other in zip(few(*point), every(*point), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)  # multiply-adds may be fused elsewhere
    assert few.scratch_bytes(n=10) == few.scratch_bytes(n=10**6) < 2000
    assert every.scratch_bytes(n=10**6) > 24 * 10**6


def test_explanations_look_into_loops() -> None:
    graph, _ = CASES["nested"]()
    (nest,) = [nest for nest in summarize(schedule(graph)) if nest.calls]
    assert nest.calls == ("scan n > (m, scan k > m, m)",)
    assert nest.operations > 1000 * 1000 * 1000
    assert "scan n > (m, scan k > m, m)" in ga.compile(graph, tier="interpreted").explain(loops=True)


def test_bodies_of_many_scalars_are_straight_code() -> None:
    g = ga.Graph("many")
    start, xs = g.input("start"), g.input("xs", "n")

    def step(s: ga.Variable, x: ga.Variable) -> tuple[ga.Variable, ga.Variable]:
        values = [s, x]
        for k in range(120):
            values.append(np.sin(values[-1] * values[k % 7 % len(values)] + 0.1 * k))
        return 0.9 * s + 0.1 * values[-1], values[-2]

    last, seen = ga.scan(step, start, xs)
    g.output("y", last**2 + seen.sum())
    function = ga.value_and_grad(g, ["start", "xs"])
    assert "straight_1(" in function.source
    point = {"start": 0.3, "xs": np.linspace(0.1, 1.0, 5)}
    wanted, got = interpret(function.graph, **point).values(), function(**point)
    for one, other in zip((got[0], *got[1]), wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10)
