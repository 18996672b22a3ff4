"""Kernels translated without Numba: the same as the interpreter, and as Numba makes of the same text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import graphad as ga
from graphad.compile import compile_graph
from graphad.emit import kernels
from graphad.emit.aliasing import Memory
from graphad.emit.kernels import TranslatedKernel
from graphad.emit.translate import translate
from graphad.emit.values import FLAGS, Argument, UntranslatedError
from graphad.interpret import interpret
from graphad.ir.graph import Graph
from tests.strategies import STEPS_WITH_INTEGERS, cases
from tests.test_random_graphs import assert_same

QUICK = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))


def results(graph: Graph, arrays: dict[str, Any]) -> dict[str, Any]:
    """What the translated kernel of a graph gives, by output."""
    function = compile_graph(graph, passes=())
    assert isinstance(function._path.kernel, TranslatedKernel)
    found = function(**{n: a if a.ndim else a.item() for n, a in arrays.items()})
    found = found if len(graph.outputs) > 1 else (found,)
    return {name: np.asarray(value) for name, value in zip(graph.outputs, found, strict=True)}


@QUICK
@given(case=cases(steps=STEPS_WITH_INTEGERS))
def test_translated_is_interpreted(case: Any) -> None:
    assert_same(interpret(case.graph, **case.arrays), results(case.graph, case.arrays), case.graph)


def mixed() -> Graph:
    """Operations of all dtypes, with values that are special to some of them."""
    g = ga.Graph("mixed")
    x, f = g.input("x", shape=6), g.input("f", shape=6, dtype="float32")
    i, k = g.input("i", shape=6, dtype="int64"), g.input("k", shape=6, dtype="int32")
    b = g.input("b", shape=6, dtype="bool")
    values = {
        "promoted": f * x + k, "single": f * 2.0 + np.sqrt(f), "whole": i * k - i, "short": k * k + k,
        "divided": i / k, "floored": i // k, "rest": i % k, "real_rest": x % 0.7, "real_floor": x // f,
        "logic": b & (x > 0) | ~b, "bits": (i & 5) ^ k, "flipped": ~i, "abs": np.abs(i) + np.abs(x),
        "sign": np.sign(x), "isnan": np.isnan(x / x), "chosen": np.where(b, x, f), "counted": b.sum() + i.sum(),
        "any": b.any(), "all": (x == x).all(), "largest": np.maximum(x, f), "least": np.minimum(i, k),
        "up": np.ceil(x) + np.floor(f) + np.rint(x) + np.trunc(f), "power": np.abs(x) ** f, "fmod": np.fmod(x, 0.7),
        "cast": x.astype("int64") + i.astype("float32").astype("int32"), "picked": x[i % 6], "argmax": x.argmax(),
        "product": (f[:, None] * x[None, :]).sum(0), "lgamma": ga.lgamma(x), "truth": i.astype("bool"),
        "numbers": b.astype("float32") * f, "max": k.max(), "prod": i.prod(),
    }  # fmt: skip
    for name, value in values.items():
        g.output(name, value)
    return g


MIXED = {
    "x": np.array([0.0, -1.5, np.inf, np.nan, 2.25, -0.0]),
    "f": np.array([1, 0.5, np.inf, 2, 0.25, np.nan], np.float32),
    "i": np.array([7, -7, 0, -(2**62), 3, 1]),
    "k": np.array([2, 2, -1, -1, 1, -3], np.int32),
    "b": np.array([True, False, True, True, False, False]),
}


def test_all_dtypes_and_special_values() -> None:
    graph = mixed()
    with np.errstate(all="ignore"):
        wanted = interpret(graph, **MIXED)
    found = results(graph, MIXED)
    for name, value in wanted.items():
        assert found[name].dtype == value.dtype, name
        np.testing.assert_allclose(found[name], value, rtol=2e-6 if value.dtype == np.float32 else 1e-12, err_msg=name)


def test_numba_makes_the_same_of_the_text() -> None:
    function = compile_graph(mixed())
    kernel: Any = function._path.kernel
    constants = kernel.constants
    outputs = [[np.empty(6 if n not in ("argmax",) else (), d) for n, d in arrays(function)] for _ in range(2)]
    calls = zip((kernel.entry, kernel.function), outputs, strict=True)
    returned = [call(*MIXED.values(), *constants, *out) for call, out in calls]
    np.testing.assert_array_equal(*returned)
    for name, ours, numbas in zip(kernel.generated.arrays, *outputs, strict=True):
        np.testing.assert_array_max_ulp(ours, numbas, 4) if ours.dtype.kind == "f" else np.testing.assert_array_equal(
            ours, numbas, err_msg=name
        )


def arrays(function: ga.CompiledFunction) -> list[tuple[str, str]]:
    """Names and dtypes of the kernel's array results."""
    types = {n: function.graph.nodes[i].type for n, i in function.graph.outputs.items()}
    return [(name, types[name].dtype) for name in function.generated.arrays]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("v = a[-1]", 4.0),
        ("v = a[i - 4]", 4.0),
        ("v = 0\n    for k in range(1, 9, 3):\n        v = v + k * 0.5", 6.0),
        ("v = 1\n    if i > 2:\n        v = 7\n    else:\n        v = 9", 7.0),
        ("v = min(i, 2, 8) + max(i, 5)", 7.0),
        ("v = -i // 2 + 7 % -i", -4.0),
        ("v = -np.int32(7) * -True", 7.0),
        ("v = (a[0] if i > 9 else i)", 3.0),
        ("v = not (i < 3 or i == 3 and i != 4)", 0.0),
    ],
)
def test_lines(line: str, expected: float) -> None:
    assert run(line) == expected


def run(line: str) -> Any:
    """What a kernel of an array `a` and an integer `i` returns as `v` after a line."""
    text = f'@njit("")\ndef f(a, i):\n    {line}\n    return v\n'
    generated: Any = Fake(text, (Argument("float64", 1), Argument("int64", 0)), ("float64",))
    kernel = kernels.translated_kernel(generated)
    assert kernel is not None
    return kernel.entry(np.array([1.0, 2.0, 3.0, 4.0]), 3)


class Fake:
    """As much of a generated module as a kernel needs."""

    def __init__(self, text: str, arguments: tuple[Argument, ...], returned: tuple[str, ...]) -> None:
        self.source = self.body = text
        self.arguments, self.returned, self.values, self.programs, self.kernel = arguments, returned, (), (), "f"
        self.memory, self.hints = Memory(), dict[str, int]()
        self.flags = FLAGS


UNKNOWN = ("v = unknown(a)", "v = i ** 3", "while i:\n        i = 0", "v = a[:]", "v = b", "v = a[0] & 1")


@pytest.mark.parametrize("line", UNKNOWN)
def test_what_is_not_understood_is_left_to_numba(line: str) -> None:
    text = f"def f(a, i):\n    {line}\n    return v\n"
    with pytest.raises(UntranslatedError):
        translate("f", text, (Argument("float64", 1), Argument("int64", 0)), ("float64",))


def test_numba_takes_over() -> None:
    g = ga.Graph("far")
    x = g.input("x", shape="n")
    g.output("y", ga.polygamma(1, x))
    function = ga.compile(g)
    assert not isinstance(function._path.kernel, TranslatedKernel)
    np.testing.assert_allclose(function(np.array([1.0])), [np.pi**2 / 6], rtol=1e-12)


def test_each_of_many_loops_is_a_function_of_its_own() -> None:
    g = ga.Graph("long")
    x = g.input("x", shape="n")
    for _ in range(20):
        x = ga.cumsum(x[::-1]) * 0.02 + np.sin(x)
    g.output("y", (x * x).sum())
    interpreted = ga.value_and_grad(g, wrt="x", tier="interpreted")
    assert kernels.outermost_loops(interpreted.generated.body) >= kernels.MANY
    assert kernels.assembly(interpreted.generated).count("@function") > kernels.MANY
    at = np.linspace(-1.0, 1.0, 30)
    for found, expected in zip(ga.value_and_grad(g, wrt="x")(at), interpreted(at), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
