"""Loops that report: how often, from which code, to whom, and at what price."""

from __future__ import annotations

import io
import os
import pickle
import signal
import subprocess
import sys
import threading
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


def test_merged_loops_report_by_the_one_that_does() -> None:
    g = growth(progress=3)
    x, rates = g.variable("x"), g.variable("rates")
    g.output("sum", ga.scan(lambda s, rate: (s + rate, None), x, rates)[0])
    merged = fuse_loops(g)
    assert [node.op for node in merged.nodes].count("scan") == 1
    assert heard(ga.interpret, merged, 0.5, np.ones(3)) == [("year", 3, 3)]


def test_what_only_looks_at_indices_is_silent() -> None:
    g = ga.Graph("path")
    table, first = g.input("table", shape=5), g.input("first", dtype="int64", shape="n")
    g.output("y", ga.scan(lambda s, i: (s + table[i + 1], None), g.const(0.0), first, progress=1)[0])
    f = ga.compile(g)
    assert heard(f, np.ones(5), np.array([0, 3])) == told("body", 2, 1)


def test_texts_and_pickles_keep_it() -> None:
    g = growth(progress=("money", 4))
    assert "progress=('money', 4)" in to_text(g)
    assert to_text(from_text(to_text(g))) == to_text(g)
    f = pickle.loads(pickle.dumps(ga.compile(g)))
    assert heard(f, 0.5, np.ones(4)) == [("money", 4, 4)]


def test_silent_loops_are_the_same_text_as_before_and_reporting_adds_only_reports() -> None:
    silent, reporting = (ga.compile(growth(**o))._path.kernel.generated for o in ({}, {"progress": 4}))
    assert "report" not in silent.source
    assert "progress" not in to_text(growth())
    lines = reporting.body.splitlines()
    reports = {k for k, line in enumerate(lines) if "_report(" in line}
    assert len(reports) == 2
    rest = [line for k, line in enumerate(lines) if k not in reports and k + 1 not in reports]
    assert rest == silent.body.splitlines()


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


@pytest.mark.parametrize("tier", TIERS)
def test_what_a_callback_raises_comes_out_at_the_end_of_the_block(tier: Any) -> None:
    f = ga.compile(growth(progress=1), tier=tier)
    calls: Calls = []

    def fail(*given: Any) -> None:
        calls.append(given)
        raise KeyError("no more")

    returned: list[Any] = []
    with pytest.raises(KeyError, match="no more"), ga.progress(fail):
        returned.append(f(0.5, np.ones(5)))
    assert calls == [("year", 1, 5)]
    assert returned == [f(0.5, np.ones(5))]
    assert heard(f, 0.5, np.ones(2)) == told("year", 2, 1)


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

    with pytest.raises(KeyboardInterrupt), ga.progress(interrupt):
        f(0.5, np.ones(5))
    assert sys.unraisablehook is hook


def test_an_interrupt_that_comes_before_the_callback_is_entered_is_kept() -> None:
    code = """
import os, signal, threading, graphad as ga
g = ga.Graph("long")
g.output("y", ga.fori_loop(0, 200_000_000, lambda i, s: s * 0.9999 + 1.0, g.input("x"), progress=50_000_000))
f = ga.compile(g)
f(1.0)
signal.signal(signal.SIGINT, signal.default_int_handler)
threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
returned = False
try:
    with ga.progress(lambda *told: None):
        f(1.0)
        returned = True
except KeyboardInterrupt:
    print("interrupted", returned)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("interrupted True\n", "")


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
