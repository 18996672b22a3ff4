"""Loops in several threads: same results for the same number, from any caller, and the plan says which loops."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numba import njit

import graphad as ga
from graphad.compile import CompiledFunction
from graphad.emit import nests
from graphad.interpret import interpret
from graphad.loops import parallel
from graphad.loops.parallel import Parallel
from tests.unjitted import unjitted


def bodies() -> ga.Graph:
    """All pairs of n points, with a maximum, a total, and sums into an array of one row for every column."""
    g = ga.Graph("bodies")
    x, w = g.input("x", shape=("n", 3)), g.input("w", shape="n")
    squares = ((x[:, None] - x[None]) ** 2).sum(axis=-1)
    g.output("y", (w[:, None] * np.sqrt(squares + 0.1)).sum() + squares.max() + (w * np.exp(-w)).sum())
    return g


@pytest.fixture(scope="module")
def function() -> Iterator[CompiledFunction]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nests, "LEAST_WORK", 0)
        yield ga.value_and_grad(bodies(), threads=3)


@pytest.fixture(scope="module")
def alone() -> CompiledFunction:
    return ga.value_and_grad(bodies(), tier="interpreted")


def points(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions and weights."""
    generator = np.random.default_rng(n)
    return generator.normal(size=(n, 3)), generator.uniform(0.5, 1.5, n)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 200])
def test_results_are_those_of_one_thread(function: CompiledFunction, alone: CompiledFunction, n: int) -> None:
    value, gradient = function(*points(n))
    expected, by_input = alone(*points(n))
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    for name in ("x", "w"):
        np.testing.assert_allclose(getattr(gradient, name), getattr(by_input, name), rtol=1e-10, atol=1e-10)


def answer(function: CompiledFunction, n: int) -> bytes:
    """All bits of a result."""
    value, gradient = function(*points(n))
    return value.tobytes() + gradient.x.tobytes() + gradient.w.tobytes()


def test_a_result_has_the_same_bits_each_time(function: CompiledFunction) -> None:
    assert len({answer(function, 300) for _ in range(20)}) == 1


def test_callers_may_be_threads(function: CompiledFunction) -> None:
    wanted = {n: answer(function, n) for n in range(90, 98)}
    start = threading.Barrier(4)

    def work(_: int) -> bool:
        start.wait()
        return all(answer(function, n) == bits for _ in range(10) for n, bits in wanted.items())

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_worker_computes_the_same(function: CompiledFunction) -> None:
    wanted = answer(function, 100)
    queue = multiprocessing.get_context("fork").SimpleQueue()
    worker = multiprocessing.get_context("fork").Process(target=lambda: queue.put(answer(function, 100)))
    worker.start()
    worker.join(60)
    assert worker.exitcode == 0
    assert queue.get() == wanted


def test_jit_and_bind_and_copies_use_the_same_threads(function: CompiledFunction) -> None:
    step, (x, w) = function.jit, points(50)

    @njit
    def twice(x: np.ndarray, w: np.ndarray) -> float:
        return step(x, w)[0] + step(x, w)[0]

    value = function(x, w)[0]
    assert twice(x, w) == 2 * value
    assert function.bind(x, w)()[0] == value
    assert pickle.loads(pickle.dumps(function)).recipe.threads == 3


def test_the_gil_is_free(function: CompiledFunction) -> None:
    x, w = points(1500)
    ticks = 0
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(function, x, w)
        while not done.done():
            ticks += 1
            time.sleep(1e-4)
    assert ticks > 1


def test_the_plan_says_which_loops_and_why_not() -> None:
    g = ga.Graph("mixed")
    x, a = g.input("x", shape=("n", "n")), g.input("a", shape="m")
    g.output("y", np.exp(x).sum())
    g.output("z", np.cumsum(a))
    f = ga.compile(g, threads=2)
    decisions = {d.choice: d for d in f.plan.decisions if d.subject.startswith("nest")}
    assert "500,000 operations" in decisions["2 threads"].reason
    assert "added in order" in decisions["2 threads"].reason
    assert decisions["1 thread"].reason == "it is short beside the others"
    assert "2 threads" in f.explain()
    g = ga.Graph("running")
    a = g.input("a", shape="n")
    g.output("z", np.cumsum(a))
    (decision,) = [d for d in ga.compile(g, threads=2).plan.decisions if d.subject == "nest over n"]
    assert (decision.choice, decision.reason) == ("1 thread", "its rounds depend on each other")
    (decision,) = [d for d in ga.compile(g, threads=2, tier="interpreted").plan.decisions if d.subject == "threads"]
    assert decision.choice == "1"


def test_a_block_adds_to_what_was_assigned_before() -> None:
    g = ga.Graph("later")
    x, w, i = g.input("x", "n"), g.input("w", "k"), g.input("i", "k", dtype="int64")
    g.output("y", (2.0 * x).at[i].add(np.sin(w)))
    arrays = {"x": np.linspace(-1.0, 1.0, 7), "w": np.linspace(0.0, 2.0, 9), "i": np.arange(9) % 5}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nests, "LEAST_WORK", 0)
        patch.setattr(parallel, "COPY", 0)
        found = unjitted(g, threads=2)(**arrays)["y"]
    np.testing.assert_allclose(found, interpret(g, **arrays)["y"], rtol=1e-13)


def test_one_thread_is_the_default() -> None:
    assert ga.compile(bodies()).generated.nests == ()
    assert any(isinstance(nest, Parallel) for nest in ga.compile(bodies(), threads=2).generated.nests)
