"""Loops on the tape: every kind of loop against the interpreter, what the tape can not run, chunks, threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import graphad as ga
from graphad.ad import transform
from graphad.emit import loop_memory
from graphad.emit.loop_tape import TAPES
from graphad.emit.stepwise import Stepwise
from graphad.emit.unrolled import NotUnrolledError, Unroller, pairwise
from graphad.interpret import interpret, solve_sizes
from graphad.ir import sizes
from graphad.ir.bodies import with_sizes
from graphad.ir.graph import Graph
from passes.pipeline import run_pipeline
from passes.rounding import Rounding
from passes.tapes import put_on_tapes
from tests.concurrency import in_threads
from tests.loop_graphs import CASES, body, decay, scan
from tests.strategies import STEPS_WITH_INTEGERS, Case, cases

ON_THE_TAPE = sorted({*CASES} - {"diffusion", "newton", "branch"})  # two bodies have a `cumsum`; `cond` is no loop
KINDS: tuple[Any, ...] = tuple(TAPES.values())


def tapes(run: Stepwise) -> list[Any]:
    """The loops of all lists of calls that a tape runs."""
    return [c.function for steps in run._bound.values() for c in steps.calls if isinstance(c.function, KINDS)]


def compared(graph: Graph, arrays: dict[str, Any], rtol: float = 1e-12) -> Stepwise:
    """Twice against the interpreter; the second call finds the memory of the first one."""
    run = Stepwise(put_on_tapes(graph).freeze())
    given = [np.asarray(arrays[name], graph.nodes[i].type.dtype) for name, i in graph.inputs.items()]
    for _ in range(2):
        expected = interpret(graph, **arrays)
        results = [np.empty_like(expected[name]) for name in run.arrays]
        answer = run(*given, *results)
        scalars = answer if isinstance(answer, tuple) else (answer,)
        got = dict(zip((*run.arrays, *run.scalars), (*results, *scalars), strict=False))
        for name, value in expected.items():
            assert np.asarray(got[name]).dtype == value.dtype or not value.ndim
            np.testing.assert_allclose(got[name], value, rtol=rtol, atol=rtol, err_msg=name)
    return run


@pytest.mark.parametrize("chunk", [1 << 15, 8])
@pytest.mark.parametrize("name", ON_THE_TAPE)
def test_every_kind_of_loop(name: str, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in chunks of a step or two."""
    monkeypatch.setattr(loop_memory, "CHUNK", chunk)
    graph, arrays = CASES[name]()
    assert len(tapes(compared(graph, arrays))) == (2 if name == "unwind" else 1)  # the loop and its way back


def test_float32() -> None:
    graph, arrays = decay("float32")
    tame = {name: np.abs(array) for name, array in arrays.items()}
    assert len(tapes(compared(graph, tame, rtol=1e-5))) == 1


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_multiply_adds_round_the_product_and_the_sum(dtype: str) -> None:
    """The passes make `mul_add`, `mul_sub` and `sub_mul` of a step; the tape gives NumPy's bits for all three."""

    def step(u: Any, x: Any) -> tuple[Any, ...]:
        return (x * u + 1.0, x * u - u, u - x * u, x * u)

    one, g = Graph("step"), Graph("sums")
    for k, result in enumerate(step(one.input("u", 2, dtype), one.input("x", (), dtype))):
        one.output(f"out{k}", result)
    scan(g, one.freeze(), [g.input("u", 2, dtype)], [g.input("xs", "n", dtype)], [], names="abcd")
    graph = Rounding().run(g.freeze()).freeze()
    ops = " ".join(node.op for node in dict(graph.nodes[-5].params)["body"].nodes)
    assert all(op in ops for op in ("mul_add", "mul_sub", "sub_mul")), f"\n{graph}"
    arrays = {"u": np.array([0.1, -0.7], dtype), "xs": np.cos(np.arange(40.0)).astype(dtype)}
    assert len(tapes(compared(graph, arrays, rtol=0.0))) == 1


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_numbers_of_steps(steps: int) -> None:
    graph, arrays = decay()
    arrays["xs"] = np.ones((6, steps + 1))
    compared(graph, arrays)


def test_integers_and_truth_values_are_carried() -> None:
    def step(count: Any, wide: Any, odd: Any, share: Any, x: Any) -> tuple[Any, ...]:
        more = x > 0.0
        return (count * 3 + 7, np.where(more, wide + 1, wide), odd ^ more, share * 0.75 + 0.1, more, count, -share)

    one, g = Graph("step"), Graph("mixed")
    kinds = {"count": ((), "int32"), "wide": (2, "int64"), "odd": ((), "bool"), "share": (2, "float32")}
    made = [one.input(name, *kind) for name, kind in {**kinds, "x": ((), "float64")}.items()]
    for k, result in enumerate(step(*made)):
        one.output(f"out{k}", result)
    carries = [g.input(name, *kind) for name, kind in kinds.items()]
    scan(g, one.freeze(), carries, [g.input("xs", "n")], [], names="abcdefg")
    arrays = {"count": 5, "wide": [2**40, 3], "odd": True, "share": [0.1, 0.3], "xs": np.cos(np.arange(40.0))}
    assert len(tapes(compared(g, arrays, rtol=0.0))) == 1  # 40 steps: the count wraps around


def test_sums_products_and_extremes_of_small_arrays() -> None:
    def step(u: Any, x: Any) -> tuple[Any, ...]:
        new = 0.5 * u + x * u[::-1]
        truths, products = (u > x).any(axis=1).sum(), (u.T @ u).sum()
        extremes = u.sum(axis=0).prod(), u.max(axis=1).sum(), u.min()
        return (new, u.sum(), *extremes, truths, products, np.einsum("ij,ij->i", u, new))

    one = body("step", {"u": (3, 20), "x": ()}, step)
    g = Graph("reduced")
    u, xs = g.input("u", (3, 20)), g.input("xs", "n")
    scan(g, one, [u], [xs], [], names="abcdefgh")
    rng = np.random.default_rng(1)
    assert len(tapes(compared(g, {"u": rng.normal(size=(3, 20)), "xs": rng.normal(size=4)}))) == 1


@pytest.mark.parametrize("count", [1, 7, 8, 9, 14, 100, 128, 129, 300, 1000])
def test_sums_in_the_order_of_numpy(count: int) -> None:
    terms = np.random.default_rng(count).normal(size=count)
    assert pairwise(terms[:, None], np.add)[0] == terms.sum()  # type: ignore[arg-type]


def test_results_are_bit_for_bit_those_of_numpy_without_functions() -> None:
    g = Graph("lorenz")
    s, dt, times = g.input("s", 3), g.input("dt"), g.input("times", "n")

    def step(s: Any, t: Any) -> tuple[Any, Any]:
        x, y, z = s[0], s[1], s[2]
        new = s + dt * t * np.stack([10.0 * (y - x), x * (28.0 - z) - y, x * y - z / 3.0])
        return new, new.sum()

    last, sums = ga.scan(step, s, times)
    g.output("last", last)
    g.output("loss", (sums * last[0]).sum())
    f = ga.value_and_grad(g, ["s", "dt"], of="loss", tier="interpreted")
    point = np.array([1.0, 2.0, 3.0]), 0.01, np.linspace(0.5, 1.0, 200)
    got = f(*point)
    expected = interpret(f.optimized, *point)
    assert got[0] == expected["loss"]
    assert np.array_equal(got[1].s, expected["dloss_ds"])
    assert np.array_equal(got[1].dt, expected["dloss_ddt"])


def test_loops_and_branches_inside_steps() -> None:
    """A scan, its reverse sweep and a branch are written out; what differs between branches is chosen."""

    def inner(p: Any) -> Any:
        def step(s: Any, _: Any) -> Any:
            return s * np.sin(p) + ga.cond(s > 1.0, lambda s: s - 1.0, np.sqrt, s), None

        return ga.scan(step, p, length=4)[0]

    h = Graph("inner")
    h.output("end", inner(h.input("p")))
    slope = transform.grad(h, "p")
    g = Graph("outer")
    start, xs = g.input("start"), g.input("xs", "n")
    last, slopes = ga.scan(lambda s, x: (0.5 * s + x, slope(s + x)), start, xs)
    g.output("last", last)
    g.output("slopes", slopes)
    assert len(tapes(compared(g, {"start": 0.4, "xs": np.linspace(0.1, 0.9, 9)}))) == 1


# ---------------------------------------------------------------------- what the tape can not run


def test_a_while_loop_inside_a_scan_is_on_the_tape_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    for name, tape in TAPES.items():
        monkeypatch.setitem(TAPES, name, lambda tape=tape, name=name, **params: (tape(**params), made.append(name))[0])  # type: ignore[index]
    g = Graph("roots")
    xs = g.input("xs", "n")
    root = lambda a: ga.while_loop(lambda x: abs(x * x - a) > 1e-9, lambda x: 0.5 * (x + a / x), a)  # noqa: E731
    g.output("roots", ga.map(root, xs))
    compared(g, {"xs": np.array([2.0, 3.0, 4.0])})
    assert set(made) == {"while_loop"}


@pytest.mark.parametrize("name", ["diffusion", "newton", "branch"])
def test_other_bodies_run_step_by_step(name: str) -> None:
    graph, arrays = CASES[name]()
    assert not tapes(compared(graph, arrays))


def test_long_arrays_are_left_to_numpy() -> None:
    """Where NumPy is as fast: an operation takes it about as long as 400 instructions."""
    one = body("step", {"u": "m"}, lambda u: (np.sin(u) + u * u,))
    for m, expected in ((100, 1), (5000, 0)):
        g = Graph("long")
        u = g.input("u", "m")
        g.input("times", "n")
        scan(g, one, [u], [], [])
        assert len(tapes(compared(g, {"u": np.linspace(0.0, 1.0, m), "times": np.zeros(3)}))) == expected


def test_an_inner_loop_that_tells_how_far_it_is_runs_step_by_step() -> None:
    g = Graph("telling")
    xs = g.input("xs", ("n", "m"))
    g.output("y", ga.map(lambda row: ga.scan(lambda s, x: (s + x, None), row[0], row, progress=2)[0], xs))
    told: list[Any] = []
    with ga.progress(lambda *call: told.append(call[1:])):
        ga.compile(g, tier="interpreted")(np.ones((2, 4)))
    assert told == [(2, 4), (4, 4), (2, 4), (4, 4)]


def test_what_is_no_operation_of_the_tape_is_refused() -> None:
    g = Graph("sorted")
    g.output("y", ga.cumsum(g.input("x", 3)))
    unroller = Unroller()
    with pytest.raises(NotUnrolledError, match="cumsum"):
        unroller.run(g.freeze(), [unroller.fresh((3,))])


def test_without_the_kernel_numpy_runs_loops() -> None:
    graph, arrays = CASES["nested"]()
    asked: list[int] = []
    run = Stepwise(graph.freeze(), at_hand=lambda level, seconds: bool(asked.append(level)))
    results = {name: np.empty(value.shape) for name, value in interpret(graph, **arrays).items()}
    run(*[np.asarray(arrays[name]) for name in graph.inputs], *[results[name] for name in run.arrays])
    assert asked
    assert not tapes(run)
    for name, value in interpret(graph, **arrays).items():
        assert np.array_equal(results[name], value)


# ---------------------------------------------------------------------- calls


def test_one_loop_serves_several_threads() -> None:
    graph, arrays = decay()
    graph.freeze()
    run = ga.compile(graph, tier="interpreted")
    expected = {k: run(**{**arrays, "u": arrays["u"] + k}) for k in range(4)}
    wrong: list[int] = []

    def work(k: int) -> None:
        for _ in range(200):
            got = run(**{**arrays, "u": arrays["u"] + k})
            if not all(np.array_equal(a, b) for a, b in zip(got, expected[k], strict=True)):
                wrong.append(k)

    in_threads(work, 4)
    assert not wrong


def test_long_loops_run_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of a loop of 100,000 steps is that of a chunk."""
    g = Graph("long")
    s, xs = g.input("s"), g.input("xs", "n")
    last, ys = ga.scan(lambda s, x: (0.5 * s + x, s * x), s, xs)
    g.output("last", last)
    g.output("ys", ys)
    n = 100_000
    (tape,) = tapes(compared(g, {"s": 1.0, "xs": np.sin(np.arange(float(n)))}, rtol=1e-13))
    assert tape._start.nbytes < n


# ---------------------------------------------------------------------- random bodies


@given(cases(steps=STEPS_WITH_INTEGERS))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_random_bodies(case: Case) -> None:
    """Value and gradient of a random graph as the step of a loop, element by element of three stacked arguments."""
    whole = run_pipeline(transform.value_and_grad(case.graph, of="L"))[0].freeze()
    bound = solve_sizes(whole, {name: np.shape(case.arrays[name]) for name in whole.inputs})
    step = with_sizes(whole, lambda extent: sizes.evaluate(extent, bound))
    rows = [{name: np.cos(array + k) for name, array in case.arrays.items()} for k in range(3)]
    g = Graph("stacked")
    xs = []
    for name, node_id in step.inputs.items():
        kind = step.nodes[node_id].type
        xs.append(g.input(name, (3, *kind.shape), kind.dtype))
    found = g.apply("scan", *xs, body=step, carries=0, xs=len(xs), length=3, reverse=False, checkpoint=None)
    for k, name in enumerate(step.outputs):
        g.output(name, g.apply("item", found, index=k))
    run = Stepwise(g.freeze())
    stacked = [np.stack([np.asarray(row[n], step.nodes[i].type.dtype) for row in rows]) for n, i in step.inputs.items()]
    results = [np.empty((3, *value.shape), value.dtype) for value in interpret(step, **rows[0]).values()]
    run(*stacked, *results)
    for k, row in enumerate(rows):
        for result, value in zip(results, interpret(step, **row).values(), strict=True):
            scale = 1.0 + np.max(np.abs(value), initial=0.0)
            np.testing.assert_allclose(result[k], value, rtol=1e-11, atol=1e-12 * scale)
