"""Compiled functions outside the process and the thread that made them: exported, forked, spawned, in users' code."""

from __future__ import annotations

import math
import multiprocessing
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba import njit

import graphad as ga
from graphad.compile import CompiledFunction
from graphad.errors import ArgumentError


@pytest.fixture(scope="module")
def valley() -> CompiledFunction:
    """Value and gradient of Rosenbrock's function of two scalars."""
    g = ga.Graph("valley")
    x, y = g.input("x"), g.input("y")
    g.output("f", 100.0 * (y - x * x) ** 2 + (1.0 - x) ** 2)
    return ga.value_and_grad(g)


@pytest.fixture(scope="module")
def layer() -> CompiledFunction:
    """Value and gradient with a constant array, BLAS, vector mathematics and a named size."""
    g = ga.Graph("layer")
    x = g.input("x", shape=("n", 40))
    weights = np.sin(np.arange(1600.0)).reshape(40, 40)
    g.output("y", np.tanh(x @ weights).sum())
    return ga.value_and_grad(g)


@pytest.fixture(scope="module")
def heavy() -> CompiledFunction:
    """A sum that takes long and reads little."""
    g = ga.Graph("heavy")
    x = g.input("x", shape="n")
    g.output("y", np.sin(x[:, None] * x[None, :]).sum())
    return ga.compile(g)


# ---------------------------------------------------------------------- export

WITHOUT_GRAPHAD = """
import sys
sys.modules["graphad"] = sys.modules["passes"] = None
import numpy as np
from alone import {name}
value, gradient = {name}(np.load("x.npy"))
np.save("value.npy", value)
np.save("gradient.npy", gradient)
assert not any(m.startswith(("graphad", "passes")) for m, module in sys.modules.items() if module is not None)
"""


def test_an_exported_module_runs_without_graphad(layer: CompiledFunction, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(7, 40))
    np.save(tmp_path / "x.npy", x)
    assert layer.export(tmp_path / "alone.py") == tmp_path / "alone.py"
    (tmp_path / "use.py").write_text(WITHOUT_GRAPHAD.format(name=layer.name))
    subprocess.run([sys.executable, "use.py"], cwd=tmp_path, check=True)
    value, gradient = layer(x)
    np.testing.assert_allclose(np.load(tmp_path / "value.npy"), value, rtol=1e-13)
    np.testing.assert_allclose(np.load(tmp_path / "gradient.npy"), gradient, rtol=1e-13)
    assert "__main__" not in (tmp_path / "alone.py").read_text()


@pytest.mark.parametrize("name", ["module", "module.txt", "two words.py", "3d.py", "class.py"])
def test_names_that_can_not_be_imported(layer: CompiledFunction, tmp_path: Path, name: str) -> None:
    with pytest.raises(ArgumentError, match="can not be exported"):
        layer.export(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------- processes


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes(layer: CompiledFunction, method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {method}")
    points = [np.full((2, 40), k / 10) for k in range(6)]
    with multiprocessing.get_context(method).Pool(2) as pool:
        found = pool.map(layer, points)
    for point, (value, gradient) in zip(points, found, strict=True):
        wanted = layer(point)
        assert value == wanted[0]
        assert np.array_equal(gradient, wanted[1])


# ---------------------------------------------------------------------- threads


def longest_wait(heavy: CompiledFunction, x: Any) -> float:
    """The longest time for which a loop beside a call stood still, as a part of the call's."""
    inside = threading.Event()
    seen: list[float] = []

    def call() -> None:
        inside.set()
        heavy(x)
        seen.append(time.perf_counter())

    thread = threading.Thread(target=call)
    thread.start()
    inside.wait()
    ticks = []
    while thread.is_alive():
        ticks.append(time.perf_counter())
    thread.join()
    return float(max(np.diff(ticks))) / (seen[0] - ticks[0])


def test_other_threads_run_during_a_call(heavy: CompiledFunction) -> None:
    x = np.linspace(0.0, 1.0, 6000)
    heavy(x)
    # With the GIL held for the whole call every wait would be as long as the call; other processes can stop the loop
    # as well, but not in each of five calls.
    assert min(longest_wait(heavy, x) for _ in range(5)) < 0.5


@pytest.mark.slow
def test_two_threads_are_faster_than_one(heavy: CompiledFunction) -> None:
    x = np.linspace(0.0, 1.0, 4000)
    heavy(x)
    with ThreadPoolExecutor(2) as pool:

        def together() -> None:
            list(pool.map(heavy, [x] * 4))

        def alone() -> None:
            for _ in range(4):
                heavy(x)

        ratios = [seconds(together, time.perf_counter) / seconds(alone, time.perf_counter) for _ in range(9)]
    assert min(ratios) < 0.8


def seconds(work: Callable[[], Any], clock: Callable[[], float]) -> float:
    begun = clock()
    work()
    return clock() - begun


# ---------------------------------------------------------------------- inside users' own compiled code


def test_descent_in_compiled_code(valley: CompiledFunction) -> None:
    step = valley.jit

    @njit
    def descend(x: float, y: float, rate: float, steps: int) -> Any:
        for _ in range(steps):
            _, dx, dy = step(x, y)
            x, y = x - rate * dx, y - rate * dy
        return x, y

    np.testing.assert_allclose(descend(-0.5, 0.5, 1e-3, 40000), (1.0, 1.0), atol=1e-3)


@pytest.mark.slow
def test_a_call_from_compiled_code_costs_nothing(valley: CompiledFunction) -> None:
    step = valley.jit

    @njit(fastmath={"contract", "nsz", "arcp"}, error_model="numpy")
    def by_hand(x: float, y: float) -> Any:
        a, b = y - x * x, 1.0 - x
        return 100.0 * a * a + b * b, -400.0 * x * a - 2.0 * b, 200.0 * a

    def loop_of(inner: Any) -> Callable[[int], float]:
        @njit
        def loop(steps: int) -> float:
            x, y, total = -0.5, 0.5, 0.0
            for _ in range(steps):
                value, dx, dy = inner(x, y)
                x, y, total = x - 1e-3 * dx, y - 1e-3 * dy, total + value
            return total + x + y

        return loop

    loops = [loop_of(step), loop_of(by_hand)]
    totals = [loop(1000) for loop in loops]
    assert math.isclose(totals[0], totals[1], rel_tol=1e-9)
    times = np.array([[seconds(lambda f=f: f(300_000), time.process_time) for f in loops] for _ in range(15)])  # type: ignore[misc]
    fastest = times.min(axis=0)
    assert fastest[0] < 1.2 * fastest[1]
