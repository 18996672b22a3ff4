"""Tiers: what NumPy runs is what the interpreter says, called and refused as compiled functions are."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import graphad as ga
from graphad.ad import transform
from graphad.compile import CompiledFunction, compile_graph
from graphad.emit import cache, numpy_calls, regions, stepwise
from graphad.emit.stepwise import Stepwise
from graphad.emit.tape import Tape, is_scalar_program
from graphad.errors import ArgumentError, DtypeError, GraphadError
from graphad.interpret import interpret
from graphad.ir.graph import Graph
from graphad.ir.operation import OPERATIONS, Op
from graphad.ir.types import DTYPES, TensorType
from graphad.testing.compiled import check_compiled
from passes.pipeline import run_pipeline
from tests.concurrency import in_threads
from tests.strategies import STEPS_WITH_INTEGERS, Case, cases

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def interpreted(graph: Graph) -> CompiledFunction:
    return compile_graph(graph, tier="interpreted")


def outputs_of(graph: Graph, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """What the list of calls writes and returns, by name; array outputs start as 77."""
    run = Stepwise(graph.freeze())
    expected = interpret(graph, **arrays)
    written = [np.full_like(expected[name], 77) for name in run.arrays]
    returned = run(*[arrays[name] if arrays[name].ndim else arrays[name][()] for name in graph.inputs], *written)
    scalars = returned if isinstance(returned, tuple) else (returned,)
    named = dict(zip(run.arrays, written, strict=True)) | dict(zip(run.scalars, scalars, strict=False))
    return {name: np.asarray(named[name]) for name in graph.outputs}


@QUICK
@given(cases(steps=STEPS_WITH_INTEGERS))
def test_calls_are_the_interpreter_bit_for_bit(case: Case) -> None:
    derivative = run_pipeline(transform.value_and_grad(case.graph, of="L"))[0].freeze()
    for graph in (case.graph, derivative):
        got = outputs_of(graph, case.arrays)
        for name, value in interpret(graph, **case.arrays).items():
            assert (got[name].dtype, got[name].shape) == (value.dtype, value.shape)
            assert got[name].tobytes() == value.tobytes(), f"{name} of\n{graph}"


@QUICK
@given(cases(steps=STEPS_WITH_INTEGERS))
def test_values_in_buffers(case: Case) -> None:
    """With every value counted as large; twice, so that the second call finds the first one's values in the buffers."""
    derivative = run_pipeline(transform.value_and_grad(case.graph, of="L"))[0].freeze()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stepwise, "LARGE", 0)
        patch.setattr(numpy_calls, "CONTRACTED", 0)
        f = interpreted(derivative)
        other = {name: np.sin(array) for name, array in case.arrays.items()}
        for arrays in (case.arrays, other):
            got = dict(zip(derivative.outputs, f(**arrays), strict=True))
            for name, value in interpret(derivative, **arrays).items():
                scale = 1.0 + np.max(np.abs(value), initial=0.0)
                np.testing.assert_allclose(got[name], value, rtol=1e-12, atol=1e-13 * scale)


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_every_operation(name: str) -> None:
    op = OPERATIONS[name]
    if name not in ("input", "const", "placeholder"):
        check_compiled(op, interpreted)


def test_large_values_share_few_buffers() -> None:
    g = Graph("chain")
    x = g.input("x", shape="n")
    y: Any = x
    for _ in range(30):
        y = np.sin(y) + 0.5 * y
    g.output("y", y)
    g.output("total", y.sum())
    run = Stepwise(g.freeze())
    x_ = np.linspace(-1, 1, 100_000)  # 0.8 MB: not worth blocks
    written = np.empty_like(x_)
    total = run(x_, written)
    expected = interpret(g, x_)
    assert written.tobytes() == expected["y"].tobytes()
    assert total == expected["total"]
    (steps,) = run._bound.values()
    assert len(steps.calls) == 91
    assert steps.buffers == (800_000, 800_000)


def test_results_are_fresh_and_arguments_unchanged() -> None:
    g = Graph("views")
    x = g.input("x", shape="n")
    g.output("same", x)
    g.output("reversed", x[::-1])
    g.output("double", x + x)
    f = interpreted(g)
    x_ = np.arange(10_000.0)
    first, second = f(x_), f(x_ + 1.0)
    assert not any(np.may_share_memory(a, x_) for a in first)
    assert not any(np.may_share_memory(a, b) for a, b in zip(first, second, strict=True))
    assert first.double[-1] == 2 * 9999.0
    assert x_[1] == 1.0


@QUICK
@given(cases(steps=STEPS_WITH_INTEGERS))
def test_values_by_blocks_of_rows(case: Case) -> None:
    """With every value counted as worth blocks, of one row or two; short last axes are outermost."""
    derivative = run_pipeline(transform.value_and_grad(case.graph, of="L"))[0].freeze()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stepwise, "LARGE", 0)
        patch.setattr(regions, "BLOCKED", 1)
        patch.setattr(regions, "BLOCK", 50)
        got = outputs_of(derivative, case.arrays)
        for name, value in interpret(derivative, **case.arrays).items():
            scale = 1.0 + np.max(np.abs(value), initial=0.0)
            np.testing.assert_allclose(got[name], value, rtol=1e-12, atol=1e-13 * scale)


def test_a_chain_of_large_values_needs_no_large_buffers() -> None:
    """Pairs of points in three dimensions: values of 2 MB, read by rows, by columns and as totals."""
    g = Graph("pairs")
    x, m = g.input("x", shape=("n", 3)), g.input("m", shape="n")
    r = x[:, None, :] - x[None, :, :]
    d = np.sqrt((r * r).sum(axis=2) + 0.01)
    g.output("energy", (m[:, None] * m[None, :] / d).sum())
    g.output("largest", d.max(axis=0))
    g.output("near", (d < 0.5).any(axis=1))
    graph = run_pipeline(transform.vjp(g, "x", "energy"))[0].freeze()
    rng = np.random.default_rng(0)
    for which, extra in ((graph, {"energy_bar": np.array(1.5)}), (g.freeze(), {})):
        arrays = {"x": rng.normal(size=(301, 3)), "m": rng.uniform(1, 2, 301), **extra}
        got = outputs_of(which, arrays)
        for name, value in interpret(which, **arrays).items():
            np.testing.assert_allclose(got[name], value, rtol=1e-12, atol=1e-10, err_msg=name)
    run = Stepwise(graph)
    run(arrays["x"], arrays["m"], 1.5, *[np.empty((301, 3))])
    (steps,) = run._bound.values()
    assert any(isinstance(step.function, regions.Blocks) for step in steps.calls)
    assert max(steps.buffers) < 301 * 301 * 3 * 8


def test_blocks_that_read_nothing_by_rows() -> None:
    g = Graph("stretched")
    s = g.input("s")
    y: Any = np.sin(np.broadcast_to(s, (200_000,)) + 1.0)
    g.output("y", y)
    g.output("total", y.sum())
    got = outputs_of(g, {"s": np.array(0.5)})
    assert np.array_equal(got["y"], np.full(200_000, np.sin(1.5)))
    np.testing.assert_allclose(got["total"], 200_000 * np.sin(1.5), rtol=1e-12)


CONTRACTIONS = ("ij,jk->ik", "ij,kj->ki", "kij,nkj->nki", "nki,nkj->kij", "ij,j->i", "i,i->", "ij,ij->i")


@pytest.mark.parametrize("text", CONTRACTIONS)
def test_large_contractions_go_through_blas(text: str) -> None:
    operands, _ = text.split("->")
    left, right = operands.split(",")
    extents = {"i": 30, "j": 31, "k": 32, "n": 9}
    if text == "i,i->":
        extents["i"] = 40_000
    g = Graph("product")
    a, b = (g.input(n, shape=tuple(extents[c] for c in s)) for n, s in (("a", left), ("b", right)))
    g.output("y", np.einsum(text, a, b))
    rng = np.random.default_rng(0)
    a_, b_ = (rng.normal(size=[extents[c] for c in s]) for s in (left, right))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numpy_calls, "CONTRACTED", 0)
        np.testing.assert_allclose(interpreted(g)(a_, b_), np.einsum(text, a_, b_), rtol=1e-11, atol=1e-12)


# ---------------------------------------------------------------------- the tape


def scalar_program(nodes: int, seed: int, dtype: str = "float64") -> Graph:
    """A random program of three scalars, tame everywhere."""
    rng = np.random.default_rng(seed)
    g = Graph("program")
    pool: list[Any] = [g.input(name, dtype=dtype) for name in ("a", "b", "c")]
    while len(g.nodes) < nodes:
        x, y = (pool[int(i)] for i in rng.integers(max(0, len(pool) - 12), len(pool), 2))
        made = (
            lambda x, y: np.sin(x) * y, lambda x, y: np.tanh(x - y), lambda x, y: x / (1.5 + y * y),
            lambda x, y: np.where(x < y, x, np.cos(y)), lambda x, y: np.sqrt(1.0 + x * x) - 0.5 * y,
            lambda x, y: np.exp(-(x * x)), lambda x, y: np.maximum(x, -y), lambda x, y: 0.5 * (x + y),
        )[int(rng.integers(0, 8))]  # fmt: skip
        pool.append(made(x, y))
    total: Any = sum(pool[3:], start=pool[0] + pool[1] + pool[2])
    g.output("L", total / float(len(pool)))
    return g


@pytest.mark.parametrize(("nodes", "dtype"), [(60, "float64"), (40, "float32")])
def test_tape_is_compiled_code_to_rounding(nodes: int, dtype: str) -> None:
    g = scalar_program(nodes, 3, dtype)
    compiled, tape = ga.value_and_grad(g), ga.value_and_grad(g, tier="interpreted")
    assert "run by the tape" in tape.plan.decisions[-1].reason
    rounding = 1e-15 if dtype == "float64" else 1e-6
    for point in np.random.default_rng(0).uniform(-1, 1, (50, 3)).tolist():
        (value, gradient), (other, slopes) = compiled(*point), tape(*point)
        assert type(other) is type(value)
        scale = max(abs(value), *map(abs, gradient))
        np.testing.assert_allclose([other, *slopes], [value, *gradient], rtol=rounding, atol=2 * rounding * scale)


@QUICK
@given(st.integers(0, 2**32 - 1), st.integers(4, 120))
def test_tape_is_the_interpreter(seed: int, nodes: int) -> None:
    """All registers that are used again hold what they should."""
    graph = run_pipeline(transform.value_and_grad(scalar_program(nodes, seed)))[0].freeze()
    assert is_scalar_program(graph)
    run = Tape(graph)
    for point in np.random.default_rng(seed).uniform(-1, 1, (2, 3)).tolist():
        expected = interpret(graph, *point)
        scale = max(1.0, *(float(abs(v)) for v in expected.values()))
        np.testing.assert_allclose(run(*point), list(expected.values()), rtol=1e-12, atol=1e-13 * scale)


def scalar_cases() -> list[tuple[str, tuple[str, ...], dict[str, Any]]]:
    """All elementwise operations with all dtypes of operands that they take, the tape's own instructions among them."""
    found = []
    for name, op in sorted(OPERATIONS.items()):
        if not op.elementwise or op.arity is None:
            continue
        for dtypes in itertools.product(DTYPES, repeat=op.arity):
            for params in [{"dtype": d} for d in DTYPES] if name == "cast" else [{}]:
                with contextlib.suppress(DtypeError):
                    op.infer(tuple(TensorType(d, ()) for d in dtypes), params)
                    found.append((name, dtypes, params))
    return found


def values_of(op: Op, dtypes: tuple[str, ...]) -> list[tuple[Any, ...]]:
    rng = np.random.default_rng(0)
    domain = [op.domain[k % len(op.domain)] for k in range(len(dtypes))]
    rows = [[rng.uniform(*interval) for interval in domain] for _ in range(6)]
    if all(d == "float64" for d in dtypes) and op.name != "cast":
        special = (0.0, -0.0, 1.5, -2.0, np.inf, np.nan, -np.inf)
        rows += [list(row) for row in itertools.product(special, repeat=len(dtypes))]
    if all(d in ("int32", "int64") for d in dtypes) and op.name not in ("floor_divide", "remainder", "integer_power"):
        rows += [list(row) for row in itertools.product((0, -1, 2**31 - 1, -(2**31), 77), repeat=len(dtypes))]
    return [tuple(np.dtype(d).type(v) for d, v in zip(dtypes, row, strict=True)) for row in rows]


def test_every_instruction() -> None:
    for name, dtypes, params in scalar_cases():
        g = Graph("one")
        g.output("y", g.apply(name, *[g.input(f"x{k}", dtype=d) for k, d in enumerate(dtypes)], **params))
        assert is_scalar_program(g.freeze()), (name, dtypes)
        f = interpreted(g)
        assert "tape" in f.plan.decisions[-1].reason
        rounding = 5e-6 if "float32" in dtypes else 1e-12 if name == "polygamma" else 3e-15
        near_zeros = 1e-15 if name in ("lgamma", "digamma") else 0.0
        for row in values_of(OPERATIONS[name], dtypes):
            expected, got = interpret(g, *row)["y"], f(*row)
            what = f"{name} of {row}"
            assert got.dtype == expected.dtype, what
            np.testing.assert_allclose(got, expected, rtol=rounding, atol=near_zeros, err_msg=what)
            if name in ("add", "sub", "mul", "neg", "square") and not np.isnan(expected):
                assert np.signbit(got) == np.signbit(expected), what


def test_scalars_that_no_tape_runs() -> None:
    g = Graph("mixed")
    x, n = g.input("x"), g.input("n", dtype="int64")
    g.output("y", (x * np.array([1.0, 2.0])).sum() * n)
    g.output("kept", n)
    f = interpreted(g)
    assert "NumPy" in f.plan.decisions[-1].reason
    assert tuple(f(2.0, 3)) == (18.0, 3)


def test_inputs_constants_and_repeated_outputs_of_a_tape() -> None:
    g = Graph("passed")
    x, n, b = g.input("x"), g.input("n", dtype="int32"), g.input("b", dtype="bool")
    g.output("x_again", x)
    g.output("half", g.const(0.5))
    g.output("seven", g.const(7))
    g.output("n_again", n)
    g.output("either", np.where(b, x, x * 2.0))
    g.output("also", np.where(b, x, x * 2.0))
    g.output("not_b", ~b)
    f = interpreted(g)
    for flag in (True, False):
        assert tuple(f(2.5, 3, flag)) == (2.5, 0.5, 7, 3, 2.5 if flag else 5.0, 2.5 if flag else 5.0, not flag)
    assert [type(v) for v in f(2.5, 3, True)] == [
        np.float64, np.float64, np.int64, np.int32, np.float64, np.float64, np.bool_,
    ]  # fmt: skip


# ---------------------------------------------------------------------- as an object


def bowl() -> Graph:
    g = Graph("bowl")
    x = g.input("x", shape="n")
    g.output("y", (x * x).sum())
    return g


def test_nothing_is_compiled_before_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    f = ga.grad(bowl(), tier="interpreted")
    with monkeypatch.context() as patch:
        patch.setattr(cache, "load", lambda source: pytest.fail("compiled"))
        np.testing.assert_array_equal(f(np.array([1.0, 2.0])), [2.0, 4.0])
        assert "def bowl_grad_kernel" in f.source
        assert "run by NumPy, node by node" in " ".join(f.explain(loops=True).split())
        assert f.scratch_bytes(n=10) == 0
    assert f.plan.decisions[-1].choice == "interpreted"
    assert f.plan.decisions[:-1] == ga.grad(bowl()).plan.decisions
    np.testing.assert_array_equal(f.jit(np.array([1.0, 2.0])), [2.0, 4.0])
    np.testing.assert_array_equal(f.bind(np.array([1.0, 2.0]))(), [2.0, 4.0])


def test_all_functions_take_a_tier() -> None:
    g = bowl()
    x = np.array([1.0, 3.0])
    assert ga.compile(g, tier="interpreted")(x) == 10.0
    assert ga.value_and_grad(g, tier="interpreted")(x)[0] == 10.0
    assert ga.jvp(g, tier="interpreted")(x, x)[1] == 20.0
    assert ga.vjp(g, tier="interpreted")(x, 2.0)[1].tolist() == [4.0, 12.0]
    assert ga.jacobian(g, tier="interpreted")(x).tolist() == [2.0, 6.0]
    assert ga.hessian(g, tier="interpreted")(x).tolist() == [[2.0, 0.0], [0.0, 2.0]]
    assert ga.hvp(g, tier="interpreted")(x, x).tolist() == [2.0, 6.0]
    with pytest.raises(ArgumentError, match="tier='fast'\n  expected: \"compiled\""):
        ga.grad(g, tier="fast")  # type: ignore[arg-type]


def message(f: CompiledFunction, *args: Any, **kwargs: Any) -> tuple[type, str]:
    with pytest.raises(GraphadError) as caught:
        f(*args, **kwargs)
    return type(caught.value), str(caught.value)


def test_errors_are_those_of_compiled_functions() -> None:
    g = Graph("picked")
    x, i, s = g.input("x", shape="n"), g.input("i", shape="k", dtype="int64"), g.input("s", dtype="float32")
    g.output("y", (x[i] * s[None].astype("float64")).sum())
    compiled, fast = ga.grad(g, wrt="x"), ga.grad(g, wrt="x", tier="interpreted")
    x_, i_ = np.ones(3), np.array([0, 2])
    wrong: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((x_, i_), {}), ((x_, i_, 1.0, 2.0), {}), ((x_, i_), {"z": 1.0}), ((x_.astype("float32"), i_, 1.0), {}),
        ((x_[None], i_, 1.0), {}), ((list(x_), i_, 1.0), {}), ((x_, i_, np.float64(1.0)), {}),
        ((x_, np.array([3]), 1.0), {}), ((x_, np.array([-4]), 1.0), {}), ((x_, i_, 1.0), {"out": x_}),
        ((x_, i_, 1.0), {"out": np.empty(4)}),
    ]  # fmt: skip
    for args, kwargs in wrong:
        assert message(fast, *args, **kwargs) == message(compiled, *args, **kwargs)


def test_sizes_alternate_between_threads() -> None:
    f = ga.value_and_grad(bowl(), tier="interpreted")
    wrong: list[int] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(60):
            x = rng.normal(size=int(rng.integers(1, 20)) * 10_000)  # up to 1.5 MB: in one go and by blocks
            value, gradient = f(x)
            if not (np.isclose(value, x @ x) and np.array_equal(gradient, 2.0 * x)):
                wrong.append(seed)

    in_threads(work, 4)
    assert wrong == []
