"""Compiled functions on fixed buffers, and behind C pointers: ctypes, SciPy's low-level callables."""

from __future__ import annotations

import ctypes
import gc
import tracemalloc
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import integrate

import graphad as ga
from graphad.compile import CompiledFunction
from graphad.emit.native import FITS, INDEX_OUTSIDE, WRONG_SIZES
from graphad.errors import ArgumentError, DtypeError, GraphadError, IndexRangeError, ShapeError

A = np.array([[1.0, 2.0], [3.0, -1.0], [0.5, 0.0]])
X = np.array([0.3, -0.7])


@pytest.fixture(scope="module")
def weighted() -> CompiledFunction:
    """Value and gradient of Σ w·(A x)²."""
    g = ga.Graph("weighted")
    a, x, w = g.input("A", shape=("m", "n")), g.input("x", shape="n"), g.input("w")
    g.output("y", w * ((a * x).sum(axis=1) ** 2).sum())
    return ga.value_and_grad(g, wrt="x")


@pytest.fixture(scope="module")
def mixed() -> CompiledFunction:
    """Every dtype in and out, an index array, a constant, a requirement, a size that stands only in an expression."""
    g = ga.Graph("mixed")
    x, i = g.input("x", shape="n"), g.input("i", shape="k", dtype="int64")
    y, s = g.input("y", shape="2*m+1", dtype="float32"), g.input("s", dtype="int32")
    b = g.input("b", dtype="bool")
    g.output("picked", x[i] * np.where(b, 2.0, 1.0))
    g.output("head", x[:2] + np.array([10.0, 20.0]))
    g.output("half", y * np.float32(0.5))
    g.output("total", y.sum())
    g.output("count", s + 1)
    g.output("positive", (x > 0.0).all())
    return ga.compile(g)


MIXED: dict[str, Any] = {
    "x": np.array([1.0, -2.0, 4.0]), "i": np.array([2, 0, -1, 1]), "y": np.ones(5, np.float32), "s": 3, "b": True,
}  # fmt: skip


def same(found: Any, wanted: Any) -> None:
    """Equal in value, dtype and shape."""
    assert np.asarray(found).dtype == np.asarray(wanted).dtype
    assert np.shape(found) == np.shape(wanted)
    np.testing.assert_allclose(found, wanted, rtol=1e-6 if np.asarray(wanted).dtype == np.float32 else 1e-14)


# ---------------------------------------------------------------------- bind


def test_bound_functions_give_what_calls_give(weighted: CompiledFunction, mixed: CompiledFunction) -> None:
    for found, wanted in zip(weighted.bind(A, x=X, w=1.5)(), weighted(A, X, 1.5), strict=True):
        same(found, wanted)
    for found, wanted in zip(mixed.bind(**MIXED)(), mixed(**MIXED), strict=True):
        same(found, wanted)


def test_buffers_are_read_and_written_in_place(weighted: CompiledFunction) -> None:
    a, x, w = A.copy(), X.copy(), np.array(1.5)
    gradient, value = np.empty(2), np.empty(())
    run = weighted.bind(a, x, w, out=(value, gradient))
    first = run()
    assert first[1] is gradient
    same(gradient, weighted(A, X, 1.5)[1])
    a[0, 0], x[1], w[()] = -4.0, 0.25, 3.0
    assert run() is first
    wanted = weighted(a, x, 3.0)
    same(gradient, wanted[1])
    same(value, np.asarray(wanted[0]))
    run_inputs: Any = run
    assert run_inputs.inputs["x"] is x
    assert run_inputs.outputs["y"] is value
    assert run_inputs.sizes == {"m": 3, "n": 2}


def test_one_array_is_the_only_array_output(weighted: CompiledFunction) -> None:
    gradient = np.empty(2)
    assert weighted.bind(A, X, 1.5, out=gradient)()[1] is gradient


def test_read_only_inputs_are_bound(weighted: CompiledFunction) -> None:
    a = A.copy()
    a.flags.writeable = False
    same(weighted.bind(a, X, 1.5)()[1], weighted(A, X, 1.5)[1])
    assert not a.flags.writeable


def test_a_bound_function_keeps_its_buffers(weighted: CompiledFunction) -> None:
    run = weighted.bind(A.copy(), X.copy(), 1.5)
    gc.collect()
    np.empty(A.shape).fill(7.0)
    same(run()[1], weighted(A, X, 1.5)[1])


BAD: dict[str, tuple[type[GraphadError], dict[str, Any], str]] = {
    "missing": (ArgumentError, {"A": A, "x": X}, "lacks `w`"),
    "unknown": (ArgumentError, {"A": A, "x": X, "w": 1.0, "v": 1.0}, "no argument `v`"),
    "dtype": (DtypeError, {"A": A.astype(np.float32), "x": X, "w": 1.0}, "wrong dtype"),
    "0-d dtype": (DtypeError, {"A": A, "x": X, "w": np.array(1)}, "wrong dtype"),
    "size": (ShapeError, {"A": A, "x": np.ones(3), "w": 1.0}, "axis 0 of `x`"),
    "rank": (ShapeError, {"A": A, "x": A, "w": 1.0}, "wrong rank"),
    "list": (ArgumentError, {"A": A.tolist(), "x": X, "w": 1.0}, "no array"),
    "Fortran order": (ArgumentError, {"A": np.asfortranarray(A), "x": X, "w": 1.0}, "would have to be copied"),
    "strided": (ArgumentError, {"A": A, "x": np.repeat(X, 2)[::2], "w": 1.0}, "would have to be copied"),
    "big-endian": (ArgumentError, {"A": A, "x": X.astype(">f8"), "w": 1.0}, "would have to be copied"),
    "out overlaps": (ArgumentError, {"A": A, "x": X, "w": 1.0, "out": X}, "overlaps the argument `x`"),
    "out of another shape": (ShapeError, {"A": A, "x": X, "w": 1.0, "out": np.empty(3)}, "wrong shape"),
    "out of another dtype": (DtypeError, {"A": A, "x": X, "w": 1.0, "out": np.empty(2, int)}, "wrong dtype"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_buffers_are_refused_at_once(weighted: CompiledFunction, case: str) -> None:
    kind, arguments, message = BAD[case]
    with pytest.raises(kind, match=message):
        weighted.bind(**arguments)


def test_indices_are_checked_at_every_call(mixed: CompiledFunction) -> None:
    indices = np.array([0, 1, 2, -3])
    out = {"picked": np.full(4, 5.0)}
    run = mixed.bind(**{**MIXED, "i": indices}, out=out)
    run()
    out["picked"].fill(5.0)
    indices[1] = 3
    with pytest.raises(IndexRangeError, match="3"):
        run()
    assert out["picked"].tolist() == [5.0] * 4
    indices[1] = 2
    assert run()[0].tolist() == [2.0, 8.0, 8.0, 2.0]


def test_a_bound_call_allocates_nothing(weighted: CompiledFunction) -> None:
    run = weighted.bind(A, X, 1.5)
    run()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept = [run() for _ in range(64)]
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert all(k is kept[0] for k in kept)
    assert grown < 2048  # the list itself


# ---------------------------------------------------------------------- C


def call_native(
    function: CompiledFunction, arguments: Mapping[str, Any], extents: Mapping[str, int], outputs: Mapping[str, Any]
) -> int:
    """Call `.cfunc` through ctypes with tables made by hand; the status."""
    native = function.cfunc
    kinds = {n: function.graph.nodes[i].type.dtype for n, i in function.graph.inputs.items()}
    held = [np.ascontiguousarray(arguments[n], dtype=kinds[n]) for n in native.inputs]
    inputs = (ctypes.c_void_p * len(held))(*[array.ctypes.data for array in held])
    lengths = (ctypes.c_int64 * max(len(native.sizes), 1))(*[extents[n] for n in native.sizes])
    results = (ctypes.c_void_p * len(native.outputs))(*[outputs[n].ctypes.data for n in native.outputs])
    return int(native.ctypes(inputs, lengths, results))


def empty_like(results: Any) -> dict[str, NDArray[Any]]:
    return {name: np.full_like(np.asarray(value), 1) for name, value in results._asdict().items()}


def test_the_c_function_through_ctypes(mixed: CompiledFunction) -> None:
    wanted = mixed(**MIXED)
    found = empty_like(wanted)
    assert call_native(mixed, MIXED, {"n": 3, "k": 4, "m": 2}, found) == FITS
    for name, value in wanted._asdict().items():
        same(found[name], value)
    assert mixed.cfunc is mixed.cfunc
    assert mixed.cfunc.declaration == (
        "int64_t mixed(void *const *inputs, const int64_t *sizes, void *const *outputs);"
    )


def test_the_c_function_says_what_does_not_fit_and_writes_nothing(mixed: CompiledFunction) -> None:
    found = empty_like(mixed(**MIXED))
    before = {name: array.copy() for name, array in found.items()}
    assert call_native(mixed, MIXED, {"n": 1, "k": 4, "m": 2}, found) == WRONG_SIZES
    assert call_native(mixed, MIXED, {"n": -1, "k": 4, "m": 2}, found) == WRONG_SIZES
    assert call_native(mixed, MIXED, {"n": 3, "k": 4, "m": -1}, found) == WRONG_SIZES
    outside = {**MIXED, "i": np.array([0, 0, 0, 3])}
    assert call_native(mixed, outside, {"n": 3, "k": 4, "m": 2}, found) == INDEX_OUTSIDE
    for name, array in found.items():
        assert array.tolist() == before[name].tolist()


def test_the_c_function_outlives_the_compiled_function() -> None:
    g = ga.Graph("short_lived")
    x = g.input("x")
    g.output("y", x * 3.0 + 1.0)
    call = ga.compile(g).cfunc.ctypes
    gc.collect()
    x_, y_ = np.array(2.0), np.array(0.0)
    inputs, outputs = (ctypes.c_void_p * 1)(x_.ctypes.data), (ctypes.c_void_p * 1)(y_.ctypes.data)
    assert call(inputs, None, outputs) == 0
    assert y_ == 7.0


def scalar_graph() -> ga.Graph:
    g = ga.Graph("bump")
    x, y, s = g.input("x"), g.input("y"), g.input("s")
    g.output("f", np.exp(-s * (x * x + 2.0 * y * y)))
    return g


def test_nquad_with_scalars_and_arguments() -> None:
    low = ga.compile(scalar_graph()).low_level()
    found, _ = integrate.nquad(low, [(-1.0, 1.0), (0.0, 2.0)], args=(0.7,))
    wanted, _ = integrate.nquad(lambda x, y, s: np.exp(-s * (x * x + 2.0 * y * y)), [(-1, 1), (0, 2)], args=(0.7,))
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_quad_of_a_derivative_is_the_difference_of_values() -> None:
    g = ga.Graph("wave")
    x = g.input("x")
    g.output("y", np.sin(x) * np.exp(x))
    value, slope = ga.compile(g), ga.grad(g)
    found, _ = integrate.quad(slope.low_level(), 0.2, 1.9)
    np.testing.assert_allclose(found, value(1.9) - value(0.2), rtol=1e-12)


def test_nquad_with_a_vector() -> None:
    g = ga.Graph("bowl")
    x = g.input("x", shape="n+1")
    g.output("y", ((x[1:] - x[:-1]) ** 2).sum())
    found, _ = integrate.nquad(ga.compile(g).low_level(), [(0.0, 1.0)] * 3)
    np.testing.assert_allclose(found, 1.0 / 3.0, rtol=1e-12)


def test_low_level_with_the_wrong_count_is_nan() -> None:
    low = ga.compile(scalar_graph()).low_level()
    found, *_ = integrate.quad(low, 0.0, 1.0, args=(1.0,), full_output=True)
    assert np.isnan(found)


@pytest.mark.parametrize(
    ("shape", "dtype", "output"), [((2, 2), "float64", "sum"), ("n", "float32", "sum"), ("n", "float64", "itself")]
)
def test_what_is_no_function_of_doubles(shape: Any, dtype: str, output: str) -> None:
    g = ga.Graph("other")
    x = g.input("x", shape=shape, dtype=dtype)
    g.output("y", x.sum() if output == "sum" else x + 1.0)
    with pytest.raises(ArgumentError, match="is no function double"):
        ga.compile(g).low_level()
