"""Which indices need a check, and which are proven to lie inside their axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphad as ga
from graphad.analysis.indices import check_graph, index_checks
from graphad.ir.graph import Graph


def graph_of(build: Callable[[Graph, Any], Any]) -> Graph:
    """A graph of x (n, 4) with one output."""
    g = ga.Graph("indexed")
    x = g.input("x", shape=("n", 4))
    g.output("y", build(g, x))
    return g


PROVEN: dict[str, Callable[[Graph, Any], Any]] = {
    "no index": lambda g, x: x.sum(),
    "constant": lambda g, x: x[:, np.array([0, 3, -4])],
    "iota": lambda g, x: x[ga.arange(x.shape[0], graph=g)],
    "reversed iota": lambda g, x: x[np.flip(ga.arange(x.shape[0], graph=g))],
    "argmax": lambda g, x: x[0][x.argmax(axis=1)],
    "argmax of the same axis": lambda g, x: x[x.argmax(axis=0)],
    "slice of an iota": lambda g, x: x[ga.arange(x.shape[0], graph=g)[1:]],
}
OPEN: dict[str, Callable[[Graph, Any], Any]] = {
    "constant into a named axis": lambda g, x: x[np.array([0, 3])],
    "iota of another size": lambda g, x: x[ga.arange(g.input("z", shape="m").shape[0], graph=g)],
    "iota moved": lambda g, x: x[ga.arange(x.shape[0], graph=g) + 1],
    "input": lambda g, x: x[g.input("i", shape="k", dtype="int64")],
    "product": lambda g, x: x[ga.arange(x.shape[0], graph=g) * 2],
    "truncated": lambda g, x: x[x[:, 0].astype("int64")],
}


@pytest.mark.parametrize("name", PROVEN)
def test_proven(name: str) -> None:
    assert index_checks(graph_of(PROVEN[name])) == ()


@pytest.mark.parametrize("name", OPEN)
def test_open(name: str) -> None:
    (stage,) = index_checks(graph_of(OPEN[name]))
    assert [str(c.high) for c in stage] == ["n"]


def test_one_check_for_one_index_of_several_uses() -> None:
    g = ga.Graph("shared")
    x, i = g.input("x", shape="n"), g.input("i", shape="k", dtype="int64")
    g.output("y", (x[i] * x[i] + x.at[i].add(1.0).sum()).sum())
    (stage,) = index_checks(ga.transform.value_and_grad(g))
    assert len(stage) == 1
    assert (stage[0].low, stage[0].high) == (-g.size("n"), g.size("n"))


def test_stages_follow_the_nesting() -> None:
    g = ga.Graph("nested")
    x = g.input("x", shape="n")
    i, j = g.input("i", shape="k", dtype="int64"), g.input("j", shape="l", dtype="int64")
    g.output("y", x[i[j]].sum() + x[j].sum())
    first, second = index_checks(g)
    assert sorted(str(c.high) for c in first) == ["k", "n"]
    assert [str(c.high) for c in second] == ["n"]


def test_the_check_graph_answers_whether_an_index_is_outside() -> None:
    g = ga.Graph("picked")
    x, i = g.input("x", shape="n"), g.input("i", shape=(), dtype="int64")
    g.output("y", x[i])
    (stage,) = index_checks(g)
    checks = check_graph(g, stage)
    outside = [bool(ga.interpret(checks, np.ones(3), k)["outside"]) for k in (-4, -3, 0, 2, 3)]
    assert outside == [True, False, False, False, True]
