"""`tier="auto"` where one call would take long: loops give up, and compiled code begins again."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest

import graphad as ga
from graphad.compile import CompiledFunction
from graphad.emit import cache, instructions, loop_memory
from graphad.errors import CacheError
from graphad.ops import listening
from graphad.ops.patience import OutOfTimeError, expect, until
from tests.concurrency import compiler_busy

NEVER = 1e9


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    instructions.kernel(0)  # of an installation, not of a function
    monkeypatch.setenv("GRAPHAD_CACHE", str(tmp_path))
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("graphad compiles"):
            thread.join()


def decay(name: str, **options: Any) -> CompiledFunction:
    """x' = x - rate x, for as many steps as there are times."""
    g = ga.Graph(name)
    x, rate, times = g.input("x"), g.input("rate"), g.input("times", shape="n")
    g.output("y", ga.scan(lambda s, t: (s - rate * s * t, None), x, times, **options)[0])
    return ga.value_and_grad(g, "rate", tier="auto")


def countdown(name: str, slow: bool = False, **options: Any) -> CompiledFunction:
    """How many steps it takes is known only at the end; a `slow` body is none for the tape."""
    g = ga.Graph(name)
    x, least = g.input("x"), g.input("least")

    def step(s: Any) -> Any:
        return ga.cumsum(np.stack([s, -1e-6 * s]))[-1] if slow else s - 1e-6 * s

    g.output("y", ga.while_loop(lambda s: s > least, step, x, **options))
    return ga.compile(g, tier="auto")


def tier(f: CompiledFunction) -> str:
    return f.plan.decisions[-1].choice


def test_a_long_scan_is_compiled_at_once() -> None:
    """It says beforehand how long it would take."""
    f = decay("long")
    n = 4_000_000
    begun = time.process_time()
    value, slope = f(1.0, 1e-7, np.ones(n))
    spent = time.process_time() - begun
    assert tier(f) == "compiled"
    assert f._switch is not None
    assert f._switch.spent == 0.0
    np.testing.assert_allclose((value, slope), ((1 - 1e-7) ** n, -n * (1 - 1e-7) ** (n - 1)), rtol=1e-7)
    assert spent < 5.0


def test_a_short_scan_is_not() -> None:
    f = decay("short")
    assert f._switch is not None
    f._switch.limit = 10.0  # on a busy machine even a short call can take long
    assert f(1.0, 0.5, np.ones(3))[0] == 0.125
    assert tier(f) == "interpreted"


@pytest.mark.parametrize("slow", [False, True])
def test_a_while_loop_gives_up_after_some_time(slow: bool) -> None:
    f = countdown("counting_slowly" if slow else "counting", slow)
    assert f._switch is not None
    f._switch.limit = 0.1
    steps = 16_000_000
    assert np.isclose(f(1.0, (1 - 1e-6) ** steps), (1 - 1e-6) ** steps, rtol=2e-6)
    assert tier(f) == "compiled"


def test_a_long_call_while_a_thread_compiles_takes_its_code() -> None:
    f = countdown("waiting", slow=True)
    assert f._switch is not None
    f._switch.start()
    least = (1 - 1e-6) ** 10_000_000  # a minute and more for NumPy
    assert np.isclose(f(1.0, least), least, rtol=2e-6)
    assert tier(f) == "compiled"


def test_results_go_to_the_arrays_given() -> None:
    g = ga.Graph("stacked")
    x, times = g.input("x"), g.input("times", shape="n")
    g.output("ys", ga.scan(lambda s, t: (s + t, s * 2.0), x, times)[1])
    f = ga.compile(g, tier="auto")
    assert f._switch is not None
    f._switch.limit = 1e-9
    out = np.full(5, np.nan)
    assert f(1.0, np.ones(5), out=out) is out
    assert tier(f) == "compiled"
    assert np.array_equal(out, 2.0 * np.arange(1.0, 6.0))


def test_what_can_not_be_compiled_is_run_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    f = decay("unlucky")
    assert f._switch is not None
    f._switch.limit = 1e-9

    def full(*_: Any) -> None:
        raise CacheError("the disk is full")

    monkeypatch.setattr(cache, "load", full)
    monkeypatch.setattr(cache, "kept", full)
    with pytest.warns(RuntimeWarning, match="stays interpreted: the disk is full"):
        assert f(1.0, 0.5, np.ones(3))[0] == 0.125
    assert f._switch.state == "failed"


def test_nobody_gives_up_while_the_compiler_is_busy() -> None:
    """For example with the kernel of the tape, for seconds."""
    f = decay("busy")
    assert f._switch is not None
    f._switch.limit = 1e-9
    with compiler_busy():
        assert f(1.0, 0.5, np.ones(3))[0] == 0.125
        assert f._switch.state == "compiling"  # by its own thread, since the call took longer than the limit


def test_a_callback_has_all_the_time_it_wants() -> None:
    """Its own loops do not give up for a call that has to wait for it."""
    inner = decay("inner")
    assert inner._switch is not None
    inner._switch.limit = NEVER
    told: list[float] = []
    with until(perf_counter() + 0.2):
        listener = listening.Listener(lambda *_: told.append(inner(1.0, 0.5, np.ones(3))[0]))
        time.sleep(0.25)
        listener.hear("outer", 1, 2)
        with pytest.raises(OutOfTimeError):
            expect(0.0)
    assert listener.error is None
    assert told == [0.125]


def test_progress_is_told_again_by_compiled_code() -> None:
    f = countdown("telling", slow=True, progress=10)
    assert f._switch is not None
    f._switch.limit = 0.3
    told: list[int] = []
    with ga.progress(lambda name, done, total: told.append(done)):
        f(1.0, (1 - 1e-6) ** 500_000)
    assert tier(f) == "compiled"
    assert told.count(10) == 2
    assert told.count(499_990) == 1


def test_chunks_are_short() -> None:
    """So that a loop of long steps looks at the clock in time."""
    assert loop_memory.steps_at_once(1, 10) == loop_memory.MOST_STEPS
    assert loop_memory.steps_at_once(1, 20_000) == loop_memory.MOST_INSTRUCTIONS // 20_000
    assert loop_memory.steps_at_once(10**6, 10**9) == 1
