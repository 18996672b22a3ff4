"""Generated loops against the interpreter: every operation, its derivatives and Jacobians, run as plain Python.

Each case runs twice: as the generator would have it (short axes written out) and with every axis a loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

import graphad as ga
from graphad.ad import transform
from graphad.errors import DifferentiationError, DtypeError
from graphad.interpret import interpret
from graphad.ir.graph import Graph
from graphad.ir.operation import OPERATIONS, Op
from graphad.loops import axes as loop_axes
from tests.unjitted import unjitted

SYMBOLS = {"n": 5, "m": 3}
SHAPES: tuple[tuple[tuple[Any, ...], ...], ...] = (
    ((3, 4), (3, 4), (3, 4)),
    ((3, 1), (4,), ()),
    ((), (), ()),
    ((0,), (0,), (0,)),
    (("n",), ("n",), ("n",)),
    ((20,), (1,), (20,)),
)
DTYPES = ("float64", "float32", "int64", "bool")
MOST_ELEMENTS = 30
EXCLUDED = ("const", "input", "placeholder", *(name for name, op in OPERATIONS.items() if op.of_bodies))


class Case(NamedTuple):
    graph: Graph
    arrays: dict[str, np.ndarray]
    floating: list[str]


def values(shape: tuple[int, ...], dtype: str, domain: tuple[float, float], random: np.random.Generator) -> Any:
    if dtype == "bool":
        return random.random(shape) > 0.5
    if dtype.startswith("int"):
        return random.integers(1, 4, shape).astype(dtype)
    return random.uniform(*domain, shape).astype(dtype)


def operand_sets(op: Op) -> Iterator[tuple[tuple[Any, ...], tuple[str, ...], dict[str, Any], dict[int, Any]]]:
    if op.elementwise and not op.samples:
        for shapes in SHAPES:
            for dtype in DTYPES:
                yield shapes[: op.arity], (dtype,) * (op.arity or 1), {}, {}
    for sample in op.samples:
        dtypes = sample.dtypes or ("float64",) * len(sample.shapes)
        yield sample.shapes, dtypes, dict(sample.params), dict(sample.integers)


def cases_of(op: Op) -> Iterator[Case]:
    random = np.random.default_rng(0)
    for shapes, dtypes, params, integers in operand_sets(op):
        graph = Graph("case")
        arrays: dict[str, np.ndarray] = {}
        inputs = [graph.input(f"x{k}", s, d) for k, (s, d) in enumerate(zip(shapes, dtypes, strict=True))]
        for k, (shape, dtype) in enumerate(zip(shapes, dtypes, strict=True)):
            literal = tuple(SYMBOLS.get(e, e) for e in shape)
            domain = op.domain[min(k, len(op.domain) - 1)]
            given = np.asarray(integers[k]) if k in integers else values(literal, dtype, domain, random)
            arrays[f"x{k}"] = np.asarray(given, dtype=dtype)
        try:
            graph.output("y", graph.apply(op.name, *inputs, **params))
        except DtypeError:
            continue
        floating = [f"x{k}" for k, v in enumerate(inputs) if v.type.is_float and k not in integers]
        yield Case(graph, arrays, floating)


def check(graph: Graph, arrays: dict[str, np.ndarray]) -> None:
    expected = interpret(graph, **arrays)
    got = unjitted(graph)(**arrays)
    assert list(got) == list(expected)
    for name, value in expected.items():
        assert got[name].shape == value.shape
        tolerance = 2e-5 if got[name].dtype == np.float32 else 1e-11
        np.testing.assert_allclose(got[name], value, rtol=tolerance, atol=tolerance, err_msg=f"{name} of\n{graph}")


def derivatives(case: Case) -> Iterator[tuple[Graph, dict[str, np.ndarray]]]:
    output = case.graph.nodes[case.graph.outputs["y"]].type
    if not (output.is_float and case.floating):
        return
    random = np.random.default_rng(1)
    shape = interpret(case.graph, **case.arrays)["y"].shape
    seeds = {
        f"{n}_dot": values(case.arrays[n].shape, str(case.arrays[n].dtype), (-1, 1), random) for n in case.floating
    }
    yield (
        transform.vjp(case.graph, case.floating),
        {**case.arrays, "y_bar": values(shape, output.dtype, (-1, 1), random)},
    )
    yield transform.jvp(case.graph, case.floating), {**case.arrays, **seeds}
    if sum(a.size for a in case.arrays.values()) <= MOST_ELEMENTS:
        yield transform.jacobian(case.graph, case.floating, mode="forward"), case.arrays
        yield transform.jacobian(case.graph, case.floating, mode="reverse"), case.arrays


@pytest.fixture(params=["written out", "all loops"])
def unrolling(request, monkeypatch):
    if request.param == "all loops":
        monkeypatch.setattr(loop_axes, "UNROLL_UP_TO", -1)
        monkeypatch.setattr(loop_axes, "UNROLL_ALWAYS", -1)


@pytest.mark.parametrize("name", [n for n in sorted(OPERATIONS) if n not in EXCLUDED])
def test_operation_and_derivatives(name, unrolling):
    count = 0
    for case in cases_of(OPERATIONS[name]):
        check(case.graph, case.arrays)
        count += 1
        try:
            for graph, arrays in derivatives(case):
                check(graph, arrays)
        except DifferentiationError:
            continue
    assert count


def test_only_sums_are_reordered() -> None:
    graph = ga.Graph("exact")
    x, y = graph.input("x", shape="n"), graph.input("y", shape="n")
    graph.output("difference", (x + y) - y)
    graph.output("error", y - ((x + y) - ((x + y) - y)))
    f = ga.compile(graph)
    a, b = np.array([1.0, np.inf, 1e-300, 0.1]), np.array([np.inf, 1.0, 1e300, 1e16])
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(f(a, b).difference, (a + b) - b)
        np.testing.assert_array_equal(f(a, b).error, b - ((a + b) - ((a + b) - b)))
