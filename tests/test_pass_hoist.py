"""Values that all steps of a loop compute alike go in front of it, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from loop_graphs import body, items

import graphad as ga
from graphad.ir.bodies import bodies
from graphad.ir.graph import Graph, keep
from passes.hoist import Hoist, hoist
from passes.pipeline import DEFAULT, run_pipeline

X, W = np.linspace(0.1, 0.5, 7), np.linspace(-0.2, 0.6, 7)
Weight = Callable[[Any], Any]


def decay(checkpoint: Any = None) -> Graph:
    """A state that is multiplied by the exponential of another in each of the steps, which leave that one alone."""
    g = Graph("decay")
    x, w = g.input("x", shape="n"), g.input("w", shape="n")

    def step(state: Any, _: object) -> Any:
        c, w = state
        return (0.1 * c * np.exp(w) + np.sin(c), w), c.sum()

    (last, _), sums = ga.scan(step, (x, w), length=9, graph=g, checkpoint=checkpoint)
    g.output("y", (last * last).sum() + sums.sum())
    return g


def multiplied(weight: Weight, shape: Any = "n") -> Graph:
    """A loop whose steps multiply what they carry by a function of a constant."""
    step = body("step", {"c": shape, "w": "n"}, lambda c, w: (c * weight(w),))
    g = Graph("multiplied")
    items(g, "scan", g.input("c", shape=shape), g.input("w", shape="n"), body=step, carries=1, xs=0, length=9,
          reverse=False, checkpoint=None)  # fmt: skip
    return g


def places(graph: Graph, op: str, depth: int = 0) -> list[int]:
    """For each needed node of an operation how many loops it is in."""
    found = []
    for i in sorted(keep(graph, graph.outputs.values())):
        node = graph.nodes[i]
        found += [depth] if node.op == op else []
        for _, inner in bodies(node.params):
            found += places(inner, op, depth + 1)
    return found


@pytest.mark.parametrize("checkpoint", [None, "all", "carries", ("every", 4), 3])
def test_gradients(checkpoint: Any) -> None:
    derived = ga.transform.value_and_grad(decay(checkpoint), ["x", "w"])
    assert places(run_pipeline(derived)[0], "exp") == [0]
    found = ga.value_and_grad(decay(checkpoint), ["x", "w"])(X, W)
    h = 1e-30
    for k in (0, 4, 6):
        w, c, total = W.astype(complex), X.astype(complex), 0.0j
        w[k] += 1j * h
        for _ in range(9):
            total += c.sum()
            c = 0.1 * c * np.exp(w) + np.sin(c)
        np.testing.assert_allclose(found[1].w[k], ((c * c).sum() + total).imag / h, rtol=1e-12)
        np.testing.assert_allclose(found[0], ((c * c).sum() + total).real, rtol=1e-13)


def test_sweeps_do_not_store_what_left() -> None:
    """Without the pass the sine of each step's element is stored and so is the exponential, for all steps."""
    graph = run_pipeline(ga.transform.grad(decay(), "x"))[0]
    forward = next(node.param("body") for node in graph.nodes if node.op == "scan")
    assert [name for name in forward.outputs if name.startswith("kept")] == ["kept_0"]


@pytest.mark.parametrize("weight", [np.negative, lambda w: 2.0 * w, lambda w: w[::-1]])
def test_what_is_cheap_stays(weight: Weight) -> None:
    g = multiplied(weight)
    assert hoist(g) is g


@pytest.mark.parametrize(
    ("weight", "shape", "outside"),
    [
        (np.exp, "n", ["exp"]),
        (lambda w: -np.exp(w), "n", ["exp", "neg"]),
        (lambda w: np.exp(w)[::-1], "n", ["exp"]),
        (lambda w: (w * w).sum(), "n", ["mul", "sum"]),
        (lambda w: (e := np.exp(w))[:, None] * e, ("n", "n"), ["exp"]),
    ],
)
def test_what_is_dear_leaves(weight: Weight, shape: Any, outside: list[str]) -> None:
    """Alone where cheap operations make something larger of it, or where a view does."""
    g = multiplied(weight, shape)
    after = hoist(g)
    assert [node.op for node in after.nodes if node.op not in ("input", "const", "scan", "item")] == outside
    at = np.ones((7, 7) if shape != "n" else 7), W
    np.testing.assert_allclose(*[ga.interpret(one, *at)["a"] for one in (g, after)], rtol=1e-15)


def test_nested_loops_give_to_the_outermost() -> None:
    inner = multiplied(lambda w: np.cos(np.exp(w).sum()))
    step = body("outer", {"c": "n", "row": "n", "w": "n"}, lambda c, row, w: (inner(c, w) + inner(c, row),))
    g = Graph("nested")
    operands = g.input("c", shape="n"), g.input("rows", shape=(3, "n")), g.input("w", shape="n")
    items(g, "scan", *operands, body=step, carries=1, xs=1, length=3, reverse=False, checkpoint=None)
    after = hoist(g)
    assert sorted(places(after, "cos")) == sorted(places(after, "exp")) == [0, 1]
    at = X, np.outer([1, 2, 3], W), W
    np.testing.assert_allclose(*[ga.interpret(one, *at)["a"] for one in (g, after)], rtol=1e-15)


def test_loops_with_a_test() -> None:
    """Body and test each have an exponential, and both leave."""
    kinds = {"x": (), "w": ()}
    test = body("test", kinds, lambda x, w: (x < 10.0 + np.exp(w),))
    step = body("step", kinds, lambda x, w: (x * (1.0 + np.exp(w)),))
    g = Graph("grow")
    items(g, "while_loop", g.input("x"), g.input("w"), body=step, carries=1, test=test)
    assert set(places(hoist(g), "exp")) == {0}
    derived = run_pipeline(ga.transform.value_and_grad(g, ["x", "w"]))[0]
    assert places(derived, "exp") == [0]
    value, gradient = ga.value_and_grad(g, ["x", "w"])(1.0, 0.2)
    steps = next(k for k in range(99) if (1.0 + np.exp(0.2)) ** k >= 10.0 + np.exp(0.2))
    np.testing.assert_allclose(value, (1.0 + np.exp(0.2)) ** steps, rtol=1e-13)
    np.testing.assert_allclose(gradient.w, steps * (1.0 + np.exp(0.2)) ** (steps - 1) * np.exp(0.2), rtol=1e-12)


def test_what_could_fail_in_a_step_that_never_runs_stays() -> None:
    endless = Graph("endless")
    endless.output("y", ga.while_loop(lambda v: v > 0.0, lambda v: v + 1.0, endless.input("v")))
    indices = g = Graph("chosen")
    indices.output("y", np.exp(g.input("w", shape=3))[g.input("k", dtype="int64")])
    for called, kinds in ((endless, {"c": (), "w": ()}), (indices, {"c": (), "w": 3, "k": ((), "int64")})):
        step = body("step", kinds, lambda c, *rest, called=called: (c + called(*rest),))
        g = Graph("none")
        operands = [g.input(name, *(kind if isinstance(kind, tuple) and kind else (kind,)))
                    for name, kind in kinds.items()]  # fmt: skip
        items(g, "scan", *operands, body=step, carries=1, xs=0, length=0, reverse=False, checkpoint=None)
        assert places(hoist(g), "while_loop") + places(hoist(g), "gather") == [1]


def test_again_and_the_argument() -> None:
    g = multiplied(np.exp)
    before = str(g)
    once = hoist(g)
    assert hoist(once) is once
    assert str(g) == before
    assert any(isinstance(one, Hoist) for one in DEFAULT)
