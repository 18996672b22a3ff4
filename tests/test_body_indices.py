"""Indices inside bodies: proved to be inside, or looked at before anything is written."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import graphad as ga
from graphad.analysis.body_indices import guarded
from graphad.analysis.indices import alone
from graphad.errors import IndexRangeError
from graphad.interpret import interpret
from graphad.ir.graph import Graph
from graphad.ir.verify import verify
from passes.pipeline import run_pipeline

T = ga.transform


def embedded(checkpoint: Any = None) -> Graph:
    g = ga.Graph("embedded")
    table, ids, w = g.input("table", ("v", 2)), g.input("ids", "n", dtype="int64"), g.input("w", (2, 2))

    def step(h: Any, i: Any) -> Any:
        return np.tanh(w @ h + table[i]), None

    h, _ = ga.scan(step, np.zeros(2), ids, checkpoint=checkpoint)
    g.output("y", (h * h).sum())
    return g


def branching() -> Graph:
    """An index that only one branch uses, and one that a state says."""
    g = ga.Graph("branching")
    x, k, go = g.input("x", "n"), g.input("k", dtype="int64"), g.input("go", dtype="bool")
    y = ga.cond(go, lambda x, k: x[k], lambda x, k: x[0], x, k)
    _, total = ga.while_loop(
        lambda s: s[0] < 5, lambda s: (s[0] * 2 + 1, s[1] + x[s[0]]), (g.const(1), g.const(0.0))
    )
    g.output("y", y * total)
    return g


RNG = np.random.default_rng(5)
TABLE, W = RNG.normal(size=(4, 2)), RNG.normal(size=(2, 2))


def flag(graph: Graph, *args: Any) -> bool:
    """What the guarded graph says, before and after passes; its other results are those of the graph."""
    safe, name = guarded(graph.freeze())
    assert name is not None
    check = alone(verify(safe), name)
    values = {bool(interpret(one, *args)[name]) for one in (safe, check, run_pipeline(check)[0])}
    (outside,) = values
    if not outside:
        for output, value in interpret(graph, *args).items():
            np.testing.assert_array_equal(interpret(safe, *args)[output], value)
    return outside


@pytest.mark.parametrize("checkpoint", [None, 2])
@pytest.mark.parametrize("transform", [lambda g: g, T.grad, T.hvp])
def test_an_index_of_a_step(transform: Any, checkpoint: Any) -> None:
    graph = transform(embedded(checkpoint))
    dots = (np.ones_like(TABLE), np.ones_like(W)) if len(graph.inputs) > 3 else ()
    assert not flag(graph, TABLE, [0, 3, -4], W, *dots)
    assert flag(graph, TABLE, [0, 4, 1], W, *dots)
    assert flag(graph, TABLE, [0, -5, 1], W, *dots)


def test_indices_of_branches_and_states() -> None:
    for graph in (branching(), T.grad(branching(), "x")):
        assert not flag(graph, np.ones(4), 3, True)
        assert flag(graph, np.ones(4), 4, True)
        assert not flag(graph, np.ones(4), 4, False)
        assert flag(graph, np.ones(3), 2, True)  # the state says 3


def test_only_what_indices_need_runs_first() -> None:
    safe, name = guarded(T.grad(embedded()).freeze())
    assert name is not None
    check = run_pipeline(alone(safe, name))[0]
    ops = {node.op for loop in check.nodes if loop.op == "scan" for node in loop.param("body").nodes}
    assert ops.isdisjoint({"tanh", "einsum", "gather"})


def test_what_is_proved_to_be_inside_needs_no_look() -> None:
    g = ga.Graph("proved")
    x, y = g.input("x", "n"), g.input("y", "n+2")
    start = g.const(0.0)
    g.output("a", ga.fori_loop(0, "n", lambda i, s: s + x[i] * y[i + 2], start))
    g.output("b", ga.fori_loop(1, "n", lambda i, s: s + x[i - 1] * x[i], start))
    g.output("c", ga.scan(lambda s, _: (s + x[np.argmax(y[:-2])], None), start, x)[0])
    assert guarded(g.freeze())[1] is None
    g = ga.Graph("unproved")
    x = g.input("x", "n")
    g.output("a", ga.fori_loop(0, "n", lambda i, s: s + x[i + 1], g.const(0.0)))
    assert flag(g, np.ones(3))


def test_users_see_an_error_and_nothing_is_written() -> None:
    f = ga.value_and_grad(embedded(), ["table", "w"])
    value, _ = f(TABLE, np.array([1, -1]), W)
    assert np.isfinite(value)
    out = np.full_like(TABLE, 7.0)
    message = "`embedded_value_and_grad`, in the body of a loop or branch: an index leaves axis 0"
    with pytest.raises(IndexRangeError, match=message):
        f(TABLE, np.array([1, 9]), W, out={"dy_dtable": out})
    assert (out == 7.0).all()
    with pytest.raises(IndexRangeError, match=message):
        ga.value_and_grad(embedded(), ["table", "w"], tier="interpreted")(TABLE, np.array([1, 9]), W)


def test_the_message_has_the_line_in_the_body() -> None:
    g = ga.Graph("lines")
    x, first = g.input("x", "n"), g.input("first", ("m", "k"), "int64")
    row = lambda places: ga.scan(lambda s, i: (s + x[i], None), 0.0, places)[0]  # noqa: E731
    line = sys._getframe().f_lineno - 1
    g.output("y", ga.map(row, first))
    for tier in ("interpreted", "compiled"):
        with pytest.raises(IndexRangeError) as caught:
            ga.compile(g, tier=tier)(np.ones(3), np.array([[0, 1], [2, 3]]))
        parts = str(caught.value).splitlines()
        assert [part.partition(":")[0] for part in parts[1:]] == ["  expected", "  got", "  at", "  fix"]
        assert parts[3].endswith(f"test_body_indices.py:{line}")
