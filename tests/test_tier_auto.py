"""`tier="auto"`: interprets first, switches once, stays right while it does; a cache hit needs no switch."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphad as ga
from graphad.compile import CompiledFunction
from graphad.emit import cache, instructions, interpreted
from graphad.emit.stepwise import Stepwise
from graphad.emit.switching import Switch, compile_seconds
from graphad.errors import CacheError
from tests.concurrency import compiler_busy, in_threads


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("GRAPHAD_CACHE", str(tmp_path))
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("graphad compiles"):
            thread.join()


def function(name: str, power: int = 2) -> CompiledFunction:
    """Value and gradient of Σ xᵏ; a name of its own makes it new to this process."""
    g = ga.Graph(name)
    x = g.input("x", shape="n")
    g.output("y", (x**power).sum())
    return ga.value_and_grad(g, tier="auto")


def right(f: CompiledFunction, x: Any) -> bool:
    value, gradient = f(x)
    return bool(np.isclose(value, x @ x, rtol=1e-14) and np.array_equal(gradient, 2.0 * x))


def tier(f: CompiledFunction) -> str:
    return f.plan.decisions[-1].choice


def wait_for_the_switch(f: CompiledFunction) -> None:
    deadline = time.monotonic() + 60.0
    while f._switch is not None and f._switch.state != "compiled":
        assert time.monotonic() < deadline
        time.sleep(0.01)


def start_and_wait(switch: Switch) -> None:
    switch.start()
    assert switch.thread is not None
    switch.thread.join()


def test_it_switches_under_the_calls_of_many_threads() -> None:
    function("before").kernel  # noqa: B018  (the compiler's own start is not what is tested)
    f = function("crowded")
    assert tier(f) == "interpreted"
    assert f._switch is not None
    f._switch.limit = 0.01
    stored = f.__call__  # what someone may hold on to
    wrong: list[int] = []
    calls = [0] * 3

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        while tier(f) == "interpreted" or calls[seed] < 200:
            calls[seed] += 1
            if not right(f, rng.normal(size=int(rng.integers(0, 50)))):
                wrong.append(seed)
            time.sleep(1e-4)

    in_threads(work, 3)
    assert wrong == []
    assert tier(f) == "compiled"
    assert f.__call__ is f._switch.call
    x = np.arange(5.0)
    assert stored(x)[0] == f(x)[0] == 30.0
    assert f._switch.thread is not None


def test_few_calls_are_not_worth_compiling() -> None:
    f = function("rare")
    assert all(right(f, np.arange(3.0)) for _ in range(10))
    assert f._switch is not None
    assert 0.0 < f._switch.spent < f._switch.limit
    assert f._switch.thread is None
    assert "compiled when calls have taken" in f.plan.decisions[-1].reason
    assert f._switch.limit == compile_seconds(f.optimized)


def test_what_is_in_the_cache_is_taken_at_once() -> None:
    first = function("repeated")
    assert tier(first) == "interpreted"
    assert first.kernel is not None  # asking for it compiles, and what is there is used
    assert tier(first) == "compiled"
    assert right(first, np.arange(4.0))
    again = function("repeated")
    assert again._switch is None
    assert "was in the cache" in again.plan.decisions[-1].reason
    assert right(again, np.arange(4.0))
    assert "compiled code was in the cache" in " ".join(again.explain(width=200).split())


def test_what_was_compiled_without_auto_is_taken_too() -> None:
    g = ga.Graph("plainly")
    x = g.input("x", shape="n")
    g.output("y", (x * x).sum())
    ga.grad(g)
    assert ga.grad(g, tier="auto")._switch is None


def test_a_mark_without_code_is_no_hit() -> None:
    f = function("stale")
    cache.remember(f.optimized.digest)
    assert tier(function("stale")) == "interpreted"
    cache.clear()
    assert not cache.remembers(f.optimized.digest)


def test_nobody_waits_for_another_compilation() -> None:
    """Neither for its own code in the cache nor for anything else."""
    function("waiting").kernel  # noqa: B018
    with compiler_busy():
        f = function("waiting")
        assert tier(f) == "interpreted"
        assert right(f, np.arange(4.0))
    assert tier(function("waiting")) == "compiled"


def test_what_can_not_be_compiled_stays_interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    f = function("unlucky")
    assert f._switch is not None

    def full(*_: Any) -> None:
        raise CacheError("the disk is full")

    monkeypatch.setattr(cache, "load", full)
    monkeypatch.setattr(cache, "kept", full)
    with pytest.warns(RuntimeWarning, match="stays interpreted: the disk is full"):
        start_and_wait(f._switch)
    assert right(f, np.arange(3.0))
    assert "compiling failed" in f.plan.decisions[-1].reason
    with pytest.raises(CacheError):
        f.jit  # noqa: B018
    f._switch.start()
    assert f._switch.state == "failed"


def test_a_call_that_fails_is_not_counted() -> None:
    def fails() -> None:
        raise ValueError("no")

    switch = Switch("f", fails, 0.0, lambda: None)
    with pytest.raises(ValueError, match="no"):
        switch.counted()()
    assert switch.spent == 0.0


def test_numpy_runs_scalars_while_the_tape_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(interpreted, "_asked_for", set())
    monkeypatch.setattr(instructions, "_loaded", set())
    monkeypatch.setattr(interpreted, "in_background", lambda task, name: asked.append(name))
    g = ga.Graph("pair")
    x, y = g.input("x"), g.input("y")
    g.output("z", np.sin(x) * y)
    for _ in range(2):
        f = ga.grad(g, tier="auto")
        assert "NumPy" in f.plan.decisions[-1].reason
        assert f(0.0, 2.0) == (2.0, 0.0)
    assert asked == ["graphad compiles the kernel of the tape"]


def test_short_loops_do_not_wait_for_the_tape(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one in a process: NumPy is done before Numba has started."""
    loaded: list[int] = []
    monkeypatch.setattr(instructions, "_loaded", set())
    monkeypatch.setattr(interpreted, "is_compiled", lambda level: True)
    monkeypatch.setattr(interpreted, "kernel", lambda level: loaded.append(level))
    assert not interpreted.at_hand(0, 0.1)
    assert loaded == []
    assert interpreted.at_hand(1, 0.5)
    assert loaded == [1]
    monkeypatch.setattr(instructions, "_loaded", {0})
    assert interpreted.at_hand(0, 1e-6)
    asked: list[float] = []
    g = ga.Graph("many")
    x, times = g.input("x"), g.input("times", shape="n")
    g.output("y", ga.scan(lambda s, t: (s + t * s, None), x, times)[0])
    Stepwise(g.freeze(), at_hand=lambda level, seconds: bool(asked.append(seconds)))(1.0, np.ones(500))
    assert asked == [pytest.approx(1e-6 * 500 * 2)]


def child(f: CompiledFunction, results: Any) -> None:
    results.put((right(f, np.arange(6.0)), tier(f)))


def test_a_fork_while_a_thread_compiles() -> None:
    f = function("forked", 2)
    assert f._switch is not None
    f._switch.start()
    fork = multiprocessing.get_context("fork")
    results = fork.SimpleQueue()
    process = fork.Process(target=child, args=(f, results))
    process.start()
    process.join(60.0)
    assert process.exitcode == 0
    assert results.get() == (True, "compiled")
    wait_for_the_switch(f)
    assert right(f, np.arange(6.0))
