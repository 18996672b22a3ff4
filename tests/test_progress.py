"""Loops that report: how often, from which code, to whom, and at what price."""

from __future__ import annotations

import io
import os
import pickle
import signal
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import graphad as ga
from graphad.emit.kernels import TranslatedKernel
from graphad.ir.text import from_text, to_text
from graphad.report.bars import _shown
from passes.fuse_loops import fuse_loops

Calls = list[tuple[str, int, "int | None"]]
TIERS = ("interpreted", "compiled")


def heard(function: Callable[..., Any], *args: Any) -> Calls:
    """What the loops of one call tell."""
    calls: Calls = []
    with ga.progress(lambda *told: calls.append(told)):
        function(*args)
    return calls


def growth(**options: Any) -> ga.Graph:
    g = ga.Graph("growth")
    x, rates = g.input("x"), g.input("rates", shape="n")

    def year(s: Any, rate: Any) -> tuple[Any, None]:
        return s * np.sin(1.0 + rate * s), None

    g.output("y", ga.scan(year, x, rates, **options)[0])
    return g


def root(**options: Any) -> ga.Graph:
    g = ga.Graph("root")
    a = g.input("a")
    g.output("y", ga.while_loop(lambda x: abs(x * x - a) > 1e-12, lambda x: (x + a / x) / 2, a, **options))
    return g


def told(name: str, steps: int, every: int, *, total: bool = True) -> Calls:
    """The calls that are expected: after every so many steps, and after the last one."""
    return [(name, min(k, steps), steps if total else None) for k in range(every, steps + every, every)]


@pytest.mark.parametrize("tier", TIERS)
def test_a_scan_reports_after_every_k_steps_and_at_its_end(tier: Any) -> None:
    for reverse in (False, True):
        f = ga.compile(growth(progress=4, reverse=reverse), tier=tier)
        for steps in (0, 1, 3, 4, 5, 8, 9):
            calls = heard(f, 0.5, np.ones(steps))
            assert calls == told("year", steps, 4)
            assert len(calls) == -(-steps // 4)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("checkpoint", ["all", "carries", ("every", 3), 2])
def test_both_sweeps_report_once_whatever_is_stored(tier: Any, checkpoint: Any) -> None:
    f = ga.value_and_grad(growth(progress=("money", 4), checkpoint=checkpoint), "x", tier=tier)
    assert heard(f, 0.5, np.ones(10)) == told("money", 10, 4) + told("money backwards", 10, 4)


@pytest.mark.parametrize("tier", TIERS)
def test_a_while_loop_does_not_know_its_end_but_its_reverse_sweep_does(tier: Any) -> None:
    value, gradient = ga.compile(root(progress=4), tier=tier), ga.grad(root(progress=4), tier=tier)
    forward = told("body", 6, 4, total=False)
    assert heard(value, 9.0) == forward
    assert heard(gradient, 9.0) == forward + told("body backwards", 6, 4)
    assert gradient(9.0) == pytest.approx(1 / 6)


def test_derivatives_of_derivatives_batches_and_counted_loops_report() -> None:
    steps = np.ones(6)
    hessian = ga.hessian(growth(progress=6), "x", tier="interpreted")
    assert heard(hessian, 0.5, steps) == [("year", 6, 6), ("year backwards", 6, 6)]
    forward = ga.jacobian(growth(progress=6), "rates", mode="forward", tier="interpreted")
    assert heard(forward, 0.5, steps) == [("year", 6, 6)]
    g = ga.Graph("counted")
    n = g.input("n", dtype="int64")
    g.output("y", ga.fori_loop(0, n, lambda i, s: s + i, g.const(0), progress=("count", 2)))
    assert heard(lambda: ga.interpret(g, n=3)) == [("count", 2, None), ("count", 3, None)]


def test_maps_and_lambdas_have_names_and_all_listeners_hear() -> None:
    g = ga.Graph("map")
    x = g.input("x", shape="n")
    g.output("y", ga.map(lambda v: v * v, x, progress=2))
    g.output("z", ga.fori_loop(0, 2, lambda i, s: s + i, g.const(0), progress=2))
    outer: Calls = []
    with ga.progress(lambda *told: outer.append(told)):
        inner = heard(lambda: ga.interpret(g, x=[1.0, 2.0, 3.0]))
    assert inner == outer == [("body", 2, 3), ("body", 3, 3), ("body", 2, 2)]


@pytest.mark.parametrize("other", [None, ("sum", 2), ("year", 3), ("year", 2)])
def test_merged_loops_tell_what_each_of_them_told(other: Any) -> None:
    g = growth(progress=3)
    x, rates = g.variable("x"), g.variable("rates")
    g.output("sum", ga.scan(lambda s, rate: (s + rate, None), x, rates, progress=other)[0])
    merged = fuse_loops(g)
    assert [node.op for node in merged.nodes].count("scan") == 1
    alone = told(other[0], 3, other[1]) if other and other != ("year", 3) else []
    for tier in TIERS:
        f = ga.value_and_grad(g, "x", of="y", tier=tier)
        assert sorted(heard(ga.compile(g, tier=tier), 0.5, np.ones(3))) == sorted(told("year", 3, 3) + alone)
        assert {*told("year", 3, 3), *alone, *told("year backwards", 3, 3)} <= set(heard(f, 0.5, np.ones(3)))
    assert sorted(heard(ga.interpret, merged, 0.5, np.ones(3))) == sorted(told("year", 3, 3) + alone)


def test_what_only_looks_at_indices_is_silent() -> None:
    g = ga.Graph("path")
    table, first = g.input("table", shape=5), g.input("first", dtype="int64", shape="n")
    g.output("y", ga.scan(lambda s, i: (s + table[i + 1], None), g.const(0.0), first, progress=1)[0])
    f = ga.compile(g)
    assert heard(f, np.ones(5), np.array([0, 3])) == told("body", 2, 1)


def test_texts_and_pickles_keep_it() -> None:
    g = growth(progress=("money", 4))
    assert "progress=(('money', 4),)" in to_text(g)
    assert to_text(from_text(to_text(g))) == to_text(g)
    f = pickle.loads(pickle.dumps(ga.compile(g)))
    assert heard(f, 0.5, np.ones(4)) == [("money", 4, 4)]


def test_silent_loops_are_the_same_text_as_before_and_reporting_adds_only_reports() -> None:
    silent, reporting = (ga.compile(growth(**o))._path.kernel.generated for o in ({}, {"progress": 4}))
    assert "report" not in silent.source
    assert "progress" not in to_text(growth())
    lines = reporting.body.splitlines()
    reports = [k for k, line in enumerate(lines) if "_report(" in line]
    assert len(reports) == 2
    added = {k for report in reports for k in (report - 1, report, report + 1)}
    assert [lines[k + 1].strip() for k in reports] == ["_stop()", "_stop()"]
    assert [line for k, line in enumerate(lines) if k not in added] == silent.body.splitlines()


def test_numba_and_threads_report() -> None:
    f = ga.compile(growth(progress=4))
    assert isinstance(f._path.kernel, TranslatedKernel)
    assert heard(f.jit, 0.5, np.ones(8)) == told("year", 8, 4)

    def several() -> None:
        threads = [threading.Thread(target=f, args=(0.5, np.ones(4000))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert sorted(heard(several)) == sorted(told("year", 4000, 4) * 4)


class EnoughError(Exception):
    """What callbacks of these tests raise."""


def after(steps: int, calls: Calls) -> Callable[..., None]:
    """A callback that has enough after some reports, and later once more."""

    def listen(*given: Any) -> None:
        calls.append(given)
        if len(calls) % steps == 0:
            raise EnoughError(len(calls))

    return listen


@pytest.mark.parametrize("tier", TIERS)
def test_what_a_callback_raises_ends_the_loop_and_comes_out_of_the_call(tier: Any) -> None:
    f = ga.compile(growth(progress=1), tier=tier)
    calls: Calls = []
    returned: list[Any] = []
    with pytest.raises(EnoughError, match="2"), ga.progress(after(2, calls)):
        returned.append(f(0.5, np.ones(5)))
    assert not returned
    assert calls == [("year", 1, 5), ("year", 2, 5)]
    calls.clear()
    with ga.progress(after(2, calls)):
        for _ in range(2):
            with pytest.raises(EnoughError):
                f(0.5, np.ones(5))
        f(0.5, np.ones(1))
    assert calls == [("year", 1, 5), ("year", 2, 5)] * 2 + [("year", 1, 1)]
    assert heard(f, 0.5, np.ones(2)) == told("year", 2, 1)


def settling(**options: Any) -> ga.Graph:
    """A loop that runs until something is large, in a loop, with arrays that need memory."""
    g = ga.Graph("settling")
    x, rows = g.input("x", shape="m"), g.input("rows", shape=("n", "m"))

    def step(state: Any, row: Any) -> tuple[Any, Any]:
        inner = {key: value for key, value in options.items() if key == "progress"}
        found = ga.while_loop(
            lambda s: (s * s).sum() < 9.0, lambda s: 1.5 * s + ga.cumsum(row)[::-1] ** 2, state, **inner
        )
        return 0.1 * found, found

    last, found = ga.scan(step, x, rows, **options)
    g.output("y", (last * last).sum() + np.sin(found).sum())
    return g


@pytest.mark.parametrize("checkpoint", ["all", "carries", ("every", 3), 2])
@pytest.mark.parametrize("tier", TIERS)
def test_a_call_that_ends_early_leaves_nothing_behind(tier: Any, checkpoint: Any) -> None:
    f = ga.value_and_grad(settling(progress=2, checkpoint=checkpoint), ["x", "rows"], tier=tier)
    rng = np.random.default_rng(1)
    at = rng.normal(size=3), rng.normal(size=(7, 3))
    value, gradient = f(*at)
    reports = len(heard(f, *at))
    for steps in range(1, reports + 1):
        with pytest.raises(EnoughError), ga.progress(after(steps, [])):
            f(*at)
        again, slopes = f(*at)
        assert again == value
        assert all(np.array_equal(a, b) for a, b in zip(slopes, gradient, strict=True))
    assert len(heard(f, *at)) == reports


def test_memory_of_calls_that_end_early_is_used_again() -> None:
    f = ga.value_and_grad(settling(progress=1), ["x", "rows"])
    at = np.full(20_000, 0.01), np.full((10, 20_000), 0.01)
    f(*at)
    peaks = []
    for count in (1, 20):
        tracemalloc.start()
        for _ in range(count):
            with pytest.raises(EnoughError), ga.progress(after(12, [])):
                f(*at)
        peaks.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1e6


def test_every_way_to_call_ends_early_or_says_so_at_the_end_of_the_block() -> None:
    f = ga.grad(growth(progress=1), "rates")
    out, steps = np.zeros(5), np.ones(5)
    run = f.bind(x=np.array(0.5), rates=steps)
    returned: list[Any] = []
    for call in (lambda: f(0.5, steps, out=out), run, lambda: f(0.5, steps[::-1])):
        with pytest.raises(EnoughError), ga.progress(after(3, [])):
            returned.append(call())
    assert not returned
    with pytest.raises(EnoughError), ga.progress(after(3, [])):
        returned.append(f.jit(0.5, steps))
    assert np.allclose(returned[0], f(0.5, steps))


@pytest.mark.parametrize("tier", TIERS)
def test_a_loop_of_another_thread_runs_on(tier: Any) -> None:
    f = ga.compile(growth(progress=1), tier=tier)
    calls: Calls = []
    returned: list[Any] = []

    def elsewhere() -> None:
        thread = threading.Thread(target=lambda: returned.append(f(0.5, np.ones(5))))
        thread.start()
        thread.join()

    with pytest.raises(EnoughError), ga.progress(after(2, calls)):
        elsewhere()
    assert len(returned) == 1
    assert len(calls) == 2


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C as at a terminal: whoever started the tests may have it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_during_compiled_code_comes_out_as_one() -> None:
    f = ga.compile(growth(progress=1))
    hook = sys.unraisablehook
    sent: list[int] = []

    def interrupt(*given: Any) -> None:
        if not sent:
            sent.append(1)
            os.kill(os.getpid(), signal.SIGINT)

    returned: list[Any] = []
    with pytest.raises(KeyboardInterrupt), ga.progress(interrupt):
        returned.append(f(0.5, np.ones(5)))
    assert not returned
    assert sys.unraisablehook is hook


def test_an_interrupt_that_comes_before_the_callback_is_entered_is_kept() -> None:
    code = """
import os, signal, threading, graphad as ga
g = ga.Graph("long")
x, steps = g.input("x"), g.input("steps", dtype="int64")
g.output("y", ga.fori_loop(0, steps, lambda i, s: s * 0.9999 + 1.0, x, progress=20_000_000))
f = ga.compile(g)
f(1.0, 10)
signal.signal(signal.SIGINT, signal.default_int_handler)
threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
returned = False
try:
    with ga.progress(lambda *told: None):
        f(1.0, 10**12)
        returned = True
except KeyboardInterrupt:
    print("interrupted", returned)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("interrupted False\n", "")


def test_exported_modules_report_to_nobody_and_to_graphad_where_it_comes(tmp_path: Path) -> None:
    (tmp_path / "exported.py").write_text(ga.compile(growth(progress=4)).source, encoding="utf-8")
    code = """
import sys, numpy as np, exported
exported.growth(0.5, np.ones(8))
assert not any(name.startswith("graphad") for name in sys.modules)
import graphad as ga
with ga.progress(print):
    exported.growth(0.5, np.ones(8))
"""
    root = str(Path(ga.__file__).parents[1])
    path = os.pathsep.join([str(tmp_path), root])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert (done.stdout, done.stderr) == ("year 4 8\nyear 8 8\n", "")


def test_bars_are_for_terminals() -> None:
    f = ga.value_and_grad(growth(progress=4), "x", tier="interpreted")
    shown: dict[bool, str] = {}
    for terminal in (True, False):
        out = io.StringIO()
        with _shown(Console(file=out, force_terminal=terminal, width=80)):
            f(0.5, np.ones(10))
            f(0.5, np.ones(6))
        shown[terminal] = out.getvalue()
    assert "year backwards" in shown[True]
    assert "10/10" in shown[True]
    assert "6/6" in shown[True]
    assert shown[False].strip() == ""


@pytest.mark.parametrize("wrong", [0, -1, 2.0, True, "100", ("orbit",), ("orbit", 0), (1, 100), ("a\nb", 1)])
def test_what_is_no_number_of_steps_is_refused(wrong: Any) -> None:
    for make in (growth, root):
        with pytest.raises(ga.ArgumentError, match=r"`(scan|while_loop)`: progress=.* is no number of steps"):
            make(progress=wrong)
    with pytest.raises(ga.ArgumentError, match=r"`fori_loop`: progress=.* is no number of steps"):
        ga.fori_loop(0, 2, lambda i, s: s + i, ga.Graph("g").const(0), progress=wrong)
