"""Graphs with their short axes taken apart: the same values, and fewer formulas for sparse Jacobians."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import graphad as ga
from graphad.ad.entries import IndirectError, entry_count, flat_entries
from graphad.plan.components import short_axes, taken_apart
from tests.strategies import Case, cases

RNG = np.random.default_rng(0)


@given(cases())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_values_stay(case: Case) -> None:
    apart = taken_apart(case.graph)
    assert apart is not None
    expected, found = ga.interpret(case.graph, **case.arrays), ga.interpret(apart, **case.arrays)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-10, atol=1e-10)


def counted(graph: ga.Graph, count: bool, wrt: str, of: str) -> str:
    """How many entries a Jacobian has, by counting or by writing them down; why there is no way if there is none."""
    new = graph.copy(graph.name, intern=True)
    try:
        if count:
            return str(entry_count(new, new.inputs[wrt], graph.outputs[of]))
        values = flat_entries(new, new.inputs[wrt], graph.outputs[of]).values
        return str(values.size)
    except IndirectError as error:
        return str(error)


@given(cases())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_entries_are_counted_without_their_values(case: Case) -> None:
    for graph in (case.graph, taken_apart(case.graph)):
        assert graph is not None
        floats = [name for name, i in graph.inputs.items() if graph.nodes[i].type.is_float]
        for wrt in floats:
            for of in graph.outputs:
                assert counted(graph, True, wrt, of) == counted(graph, False, wrt, of)


def test_which_axes_are_short() -> None:
    n = ga.Graph("demo").size("n")
    assert short_axes((n, 3)) == (1,)
    assert short_axes((2, n, 1)) == (0, 2)
    assert short_axes((n, 17)) == ()
    assert short_axes((16, 16, n)) == ()  # too many components
    g = ga.Graph("long")
    x = g.input("x", shape="n")
    g.output("y", x * x)
    assert taken_apart(g) is None


def turned() -> ga.Graph:
    """Points turned by a vector each, by Rodrigues' formula on arrays of vectors."""
    g = ga.Graph("turned")
    r, x = g.input("r", shape=("n", 3)), g.input("x", shape=("m", 3))
    i, j = g.input("i", shape="p", dtype="int64"), g.input("j", shape="p", dtype="int64")
    turn, point = r[i], x[j]
    angle = np.sqrt((turn**2).sum(-1, keepdims=True))
    axis = turn / angle
    along = (axis * point).sum(-1, keepdims=True)
    y = point * np.cos(angle) + np.cross(axis, point) * np.sin(angle) + axis * along * (1.0 - np.cos(angle))
    g.output("y", np.concatenate([y[:, :2] / y[:, 2:], np.stack([y[:, 2], along[:, 0]], 1)], axis=1).reshape(-1))
    return g


@pytest.mark.parametrize("wrt", ["r", "x"])
def test_each_entry_has_one_formula(wrt: str) -> None:
    arrays: dict[str, Any] = {
        "r": RNG.normal(size=(3, 3)), "x": RNG.normal(size=(4, 3)) + 3.0,
        "i": np.array([0, 1, 2, 1, 0]), "j": np.array([3, 2, 1, 0, 0]),
    }  # fmt: skip
    jacobian = ga.jacobian(turned(), wrt, sparse=True, tier="interpreted")
    matrix = jacobian(**arrays)
    dense = ga.jacobian(turned(), wrt, sparse=False, tier="interpreted")(**arrays)
    np.testing.assert_allclose(matrix.toarray(), dense.reshape(matrix.shape), rtol=1e-12, atol=1e-13)
    assert str(jacobian.method.computed()) == "12*p"  # type: ignore[attr-defined]
    assert matrix.nnz == 12 * 5
