"""Scalar programs too big for Numba's front end: straight code, loops found in it, and what it costs."""

from __future__ import annotations

import subprocess
import sys

import mpmath
import numpy as np
import pytest

import graphad as ga
from graphad.emit.source import generate
from graphad.emit.straight import LIBRARY, calls
from graphad.loops import straight
from graphad.loops.lower import lower
from passes.inline import inline

STEPS = 400


def recurrence(steps: int) -> ga.Graph:
    """The scalar program of the benchmarks, damped less so that its gradient is not zero."""
    graph = ga.Graph("recurrence")
    x, y = graph.input("x"), graph.input("y")
    a, b = x, y
    for _ in range(steps):
        a, b = b, np.sin(a * b + 0.5) + 0.97 * a
        a, b = b, a
    graph.output("r", a + b)
    return graph


def at_complex(steps: int, x: complex, y: complex) -> complex:
    a, b = x, y
    for _ in range(steps):
        a, b = b, np.sin(a * b + 0.5) + 0.97 * a
        a, b = b, a
    return a + b


def tangled(count: int, dtype: str = "float64", seed: int = 0) -> ga.Graph:
    """Random operations on random earlier values: nothing repeats."""
    random = np.random.default_rng(seed)
    graph = ga.Graph("tangled")
    values = [graph.input(n, dtype=dtype) for n in ("x", "y", "z")]
    vector = graph.input("w", shape=(2, 3), dtype=dtype)
    values += [vector[1, 2], vector[0, 1]]
    one = [np.sin, np.tanh, np.abs, np.exp, ga.sigmoid, lambda v: np.sqrt(v * v + 1.0), np.floor, lambda v: -v]
    two = [np.add, np.subtract, np.multiply, np.maximum, lambda a, b: a / (1.5 + b * b),
           lambda a, b: np.where(a < b, a, 0.5 * b), lambda a, b: np.where((a > 0.1) & (b <= 0.3), b, a)]  # fmt: skip
    for _ in range(count):
        a, b = (values[k] for k in random.integers(max(0, len(values) - 40), len(values), 2))
        pick = random.integers(0, len(one) + len(two))
        value = one[pick](a) if pick < len(one) else two[pick - len(one)](a, b)
        values.append(0.9 * np.sin(value) if random.random() < 0.2 else value / (1.0 + np.abs(value)))
    graph.output("r", sum(values[-20:], start=values[0]))
    graph.output("last", values[-1])
    return graph


def agrees(function: ga.CompiledFunction, arguments: list[object], tolerance: float) -> None:
    """The compiled function against the interpreter."""
    expected = ga.interpret(function.graph, *arguments)
    got = np.concatenate([np.ravel(leaf) for leaf in flat(function(*arguments))])
    wanted = np.concatenate([np.ravel(v) for v in expected.values()])
    np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance * np.abs(wanted).max())


def flat(result: object) -> list[object]:
    return [leaf for part in result for leaf in flat(part)] if isinstance(result, tuple) else [result]


@pytest.fixture(scope="module")
def long() -> ga.CompiledFunction:
    return ga.value_and_grad(recurrence(STEPS))


def test_value_and_gradient(long):
    agrees(long, [0.3, 0.7], 1e-11)
    step = 1e-30
    value, gradient = long(0.3, 0.7)
    assert abs(value - at_complex(STEPS, 0.3, 0.7)) < 1e-11 * abs(value)
    assert abs(gradient.x - at_complex(STEPS, 0.3 + step * 1j, 0.7).imag / step) < 1e-10 * abs(gradient.x)
    assert abs(gradient.y - at_complex(STEPS, 0.3, 0.7 + step * 1j).imag / step) < 1e-10 * abs(gradient.y)
    assert gradient.x != 0.0


def test_repetition_becomes_loops(long):
    head = long.source[: long.source.index("import")]
    assert "stand as text in programs of their own" in head
    assert "2 loops" in head
    assert len(long.source) < 30_000  # not one line for each of the 2,000 operations and their derivatives
    assert "table" not in long.source[long.source.index("PROGRAM_1 =") :]  # all places are linear in the round


def test_nothing_repeats():
    graph = tangled(700)
    function = ga.value_and_grad(graph, of="r")
    assert "loops" not in function.source[: function.source.index("import")]
    weights = np.linspace(-1.0, 1.0, 6).reshape(2, 3)
    agrees(function, [0.3, -0.7, 1.1, weights], 1e-10)


def test_single_precision():
    function = ga.compile(tangled(300, "float32"))
    assert '"float32"' in function.source
    agrees(function, [0.3, -0.7, 1.1, np.linspace(-1, 1, 6, dtype="float32").reshape(2, 3)], 2e-4)


def test_regions_between_arrays():
    """A region, an array operation that reads it, and a second region that reads that: two programs, in this order."""
    graph = ga.Graph("between")
    x = graph.input("x")
    w = graph.input("w", shape="n")
    a = x
    for _ in range(60):
        a = np.sin(a) * 1.1 + x * w[0]
    total = (np.cos(w * a)).sum()
    b = total
    for _ in range(60):
        b = np.where(b > a, np.sin(b) * 1.1 + a, b * 0.5)
    graph.output("r", b)
    function = ga.value_and_grad(graph)
    assert "PROGRAM_2" in function.source
    agrees(function, [0.3, np.array([0.5, 1.5, 2.5])], 1e-10)


def test_places_that_are_not_linear_stand_in_a_table():
    graph = ga.Graph("scattered")
    x = graph.input("x", shape=300)
    order = np.random.default_rng(0).permutation(300)
    total = x[0] * 1.0
    for k, place in enumerate(order.tolist()):
        total = np.sin(total) + x[place] * float(k)
    graph.output("r", total)
    function = ga.compile(graph)
    text = function.source[function.source.index("PROGRAM_1 =") :]
    assert "table" in text
    assert "pool" in text
    agrees(function, [np.random.default_rng(1).normal(size=300)], 1e-12)


def test_truth_values_from_round_to_round():
    graph = ga.Graph("switch")
    x = graph.input("x")
    on, a = x > 0.0, x
    for k in range(80):
        a = np.where(on, 0.7 * a - 0.1, np.sin(a) + 0.3)
        on = (a > 0.2) ^ on if k % 2 else (a < 0.4) & on
    graph.output("r", a)
    graph.output("on", on)
    for point in (0.5, -0.5, 0.1):
        agrees(ga.compile(graph), [point], 1e-13)


def test_a_large_step_of_a_loop():
    """The last repetition of such a program ends in the middle of a period."""
    graph = ga.Graph("large_step")
    a, b, k = graph.input("a"), graph.input("b"), graph.input("k")

    def step(state, _):
        x, y = state
        for i in range(60):
            x, y = x + 0.01 * y * k - 0.003 * i * x * y, y - 0.02 * x * x + x * y / (1.0 + k * k) * 0.01
        return (x, y), None

    (x, y), _ = ga.scan(step, (a, b), length=4, graph=graph)
    graph.output("loss", x * x + y)
    function = ga.value_and_grad(graph, tier="compiled")
    assert "PROGRAM_1" in function.source
    agrees(function, [0.3, 0.4, 0.5], 1e-12)


def test_small_programs_stay_statements():
    graph = recurrence(20)
    assert not calls(lower(inline(graph)).statements)
    assert "PROGRAM" not in generate(inline(graph)).source


def test_every_elementwise_operation_is_known_or_left_out():
    """Operations that straight code can not hold are no error: they stay statements of the kernel."""
    graph = ga.Graph("fmod")
    x = graph.input("x")
    a = x
    for _ in range(120):
        a = np.sin(np.fmod(a, 0.7)) + 1.1
    graph.output("r", a)
    assert straight.template_of("fmod", "float64", ("float64", "float64")) is None
    assert not calls(lower(inline(graph.freeze())).statements)


PROGRAM = """
import sys
from time import process_time
import numpy as np
import graphad as ga
begun = process_time()
graph = ga.Graph("long")
a, b = graph.input("x"), graph.input("y")
for _ in range(int(sys.argv[1]) // 5):
    a, b = b, np.sin(a * b + 0.5) + 0.25 * a
graph.output("r", a + b)
function = ga.value_and_grad(graph)
function(0.3, 0.7)
print(process_time() - begun)
"""


def seconds(operations: int, folder: object) -> float:
    environment = {"GRAPHAD_CACHE": str(folder), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(operations)], capture_output=True, text=True, check=True, env=environment
    )
    return float(done.stdout)


@pytest.mark.slow
def test_cold_compilation_of_ten_thousand_operations(tmp_path):
    cold = seconds(10_000, tmp_path)
    assert cold < 10.0  # 2 s on a quiet machine
    kept = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.compiled")}
    assert sum("straight" in p.name for p in kept) == 1
    seconds(10_000, tmp_path)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.compiled")} == kept  # nothing is compiled again


def test_a_damaged_object_file_is_made_anew(tmp_path, monkeypatch):
    environment = {"GRAPHAD_CACHE": str(tmp_path), "PATH": ""}
    command = [sys.executable, "-c", PROGRAM.replace("print(", "print(function(0.3, 0.7), "), "600"]
    first = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    (kept,) = tmp_path.rglob("*straight*.compiled")
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-7] + b"damaged")
    second = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    assert second.rsplit(" ", 1)[0] == first.rsplit(" ", 1)[0]
    assert kept.read_bytes() == whole


def test_an_exported_module_needs_no_graphad(long, tmp_path):
    file = long.export(tmp_path / "recurrence.py")
    check = "import sys, recurrence as m; print(m.recurrence_value_and_grad(0.3, 0.7), 'graphad' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=file.parent)
    numbers, imported = done.stdout.strip().rsplit(" ", 1)
    assert imported == "False"
    got = np.array([float(v) for v in numbers.strip("()").split(",")])
    np.testing.assert_allclose(got, flat(long(0.3, 0.7)), rtol=1e-13)


def test_functions_of_the_library_are_exact_to_two_units():
    """Against 40 digits, in units in the last place of the result."""
    wide, unit, above = (-12.0, 12.0), (-0.999, 0.999), (1e-3, 50.0)
    domains = {"acos": unit, "asin": unit, "atanh": unit, "acosh": (1.001, 50.0), "log": above, "log2": above,
               "log10": above, "log1p": (-0.9, 50.0), "erf": (-3.0, 3.0)}  # fmt: skip
    names = sorted(LIBRARY - {"pow", "hypot", "atan2"})
    count = 11  # fewer than what is rolled into arrays
    random = np.random.default_rng(5)
    points = np.array([random.uniform(*domains.get(name, wide), count) for name in names])
    graph = ga.Graph("functions")
    x = graph.input("x", shape=(len(names), count))
    graph.output(
        "y", np.stack([graph.apply(n, x[k, i]) for k, n in enumerate(names) for i in range(count)])
    )
    function = ga.compile(graph)
    assert "PROGRAM_1" in function.source
    found = function(points).reshape(points.shape)
    with mpmath.workdps(40):
        for name, row, results in zip(names, points, found, strict=True):
            exact = {"exp2": lambda v: mpmath.power(2, v), "log2": lambda v: mpmath.log(v, 2)}.get(name)
            for at, result in zip(row.tolist(), results.tolist(), strict=True):
                wanted = (exact or getattr(mpmath, name))(mpmath.mpf(at))
                assert abs(float((mpmath.mpf(result) - wanted) / np.spacing(abs(float(wanted))))) <= 2.0, (name, at)
