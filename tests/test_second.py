"""Hessians and their products with vectors, in every order of the modes: values, plans, shared work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphad as ga
from graphad.ad.second import NESTINGS
from graphad.analysis.cost import graph_flops
from passes.pipeline import run_pipeline

Formula = Callable[..., Any]
RNG = np.random.default_rng(5)


def softmax_like(x: Any, a: Any) -> Any:
    z = a @ x
    return np.log(np.exp(z).sum()) + (x * x * x).sum()


def coupled(x: Any, a: Any) -> Any:
    """Not quadratic in either input, and linear in nothing."""
    return (np.sin(a @ x) * np.exp(-(a * a).sum(axis=1))).sum()


def elementwise(x: Any, a: Any) -> Any:
    return (np.tanh(x) * x**2).sum() + (a * a).sum() * 0.5


def few(x: Any, a: Any) -> Any:
    """A scalar program."""
    return np.sin(x[0] * x[1]) / (1.0 + x[2] ** 2) + a[0, 0] * x[3] ** 3


FORMULAS: dict[str, Formula] = {f.__name__: f for f in (softmax_like, coupled, elementwise, few)}
POINT = [RNG.normal(size=4), RNG.normal(size=(3, 4)) / 2]


def build(name: str) -> ga.Graph:
    g = ga.Graph(name)
    g.output("L", FORMULAS[name](g.input("x", shape=4), g.input("a", shape=(3, 4))))
    return g


def hessian_by_steps(name: str, which: int = 0) -> Any:
    """Complex steps through the gradient of an independent evaluation: differences of the gradient's columns."""
    gradient = ga.transform.grad(build(name), "xa"[which])
    columns = []
    for index in np.ndindex(POINT[which].shape):
        slopes = []
        for sign in (1.0, -1.0, 2.0, -2.0):
            moved = [p.copy() for p in POINT]
            moved[which][index] += sign * 1e-3
            slopes.append(ga.interpret(gradient, *moved)["dL_d" + "xa"[which]])
        columns.append((8.0 * (slopes[0] - slopes[1]) - (slopes[2] - slopes[3])) / 12e-3)
    return np.stack(columns, axis=-1).reshape(POINT[which].shape * 2)


@pytest.mark.parametrize("name", FORMULAS)
def test_every_order_gives_the_same(name: str) -> None:
    v = [RNG.normal(size=p.shape) for p in POINT]
    wanted = np.einsum("ij,j->i", hessian_by_steps(name), v[0])
    for mode in (*NESTINGS, "dense", None):
        one = ga.hvp(build(name), "x", mode=mode, tier="interpreted")
        np.testing.assert_allclose(one(*POINT, v[0]), wanted, rtol=1e-8, atol=1e-9)
    reference = ga.hvp(build(name), mode="forward over reverse", tier="interpreted")(*POINT, *v)
    for mode in (*NESTINGS[1:], "dense"):
        both = ga.hvp(build(name), mode=mode, tier="interpreted")(*POINT, *v)
        for a, b in zip(both, reference, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", FORMULAS)
def test_hessians(name: str) -> None:
    for which in (0, 1):
        wanted = hessian_by_steps(name, which)
        for mode in (*NESTINGS, None):
            found = ga.hessian(build(name), "xa"[which], mode=mode, sparse=False, tier="interpreted")
            np.testing.assert_allclose(found(*POINT), wanted, rtol=1e-8, atol=1e-9)
    blocks = ga.hessian(build(name), sparse=False, tier="interpreted")(*POINT)
    np.testing.assert_allclose(blocks.a.x, np.moveaxis(blocks.x.a, 0, -1), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("mode", [*NESTINGS, "dense"])
def test_several_vectors_at_once(mode: str) -> None:
    stacks = [RNG.normal(size=(5, *p.shape)) for p in POINT]
    for name in FORMULAS:
        many = ga.hvp(build(name), vectors="k", mode=mode, tier="interpreted")(*POINT, *stacks)
        one = ga.hvp(build(name), tier="interpreted")
        for k in range(5):
            single = one(*POINT, *[s[k] for s in stacks])
            np.testing.assert_allclose(many.x[k], single.x, rtol=1e-11, atol=1e-13)
            np.testing.assert_allclose(many.a[k], single.a, rtol=1e-11, atol=1e-13)


def test_value_gradient_and_product_share_their_work() -> None:
    g, v = build("softmax_like"), RNG.normal(size=4)
    everything = ga.hvp(g, "x", value=True, gradient=True)
    value, gradient, product = everything(*POINT, v)
    plain_value, plain_gradient = ga.value_and_grad(g, "x", tier="interpreted")(*POINT)
    np.testing.assert_allclose(value, plain_value, rtol=1e-13)
    np.testing.assert_allclose(gradient, plain_gradient, rtol=1e-12)
    np.testing.assert_allclose(product, ga.hvp(g, "x", tier="interpreted")(*POINT, v), rtol=1e-12)
    apart = (ga.hvp(g, "x", tier="interpreted"), ga.value_and_grad(g, "x", tier="interpreted"))
    assert graph_flops(everything.optimized) < 0.8 * sum(graph_flops(f.optimized) for f in apart)
    assert len(ga.hvp(g, "x", gradient=True, tier="interpreted")(*POINT, v)) == 2


def test_the_plan_counts_what_is_made() -> None:
    for name in FORMULAS:
        product = ga.hvp(build(name), "x", tier="interpreted")
        (decision,) = product.plan.decisions[:1]
        counts = {a.choice: a.value for a in decision.alternatives}
        assert set(counts) == {*NESTINGS, "dense"}
        assert counts[decision.choice] == graph_flops(product.optimized)
        assert counts[decision.choice] <= min(counts.values()) / 0.9
        for mode in NESTINGS:
            derived = ga.transform.hvp(run_pipeline(build(name).freeze())[0], "x", "L", mode)
            assert counts[mode] == graph_flops(run_pipeline(derived)[0])


def test_a_scalar_program_has_its_hessian_by_elimination() -> None:
    found = ga.hessian(build("few"), "x", sparse=False, tier="interpreted")
    assert found.plan.decisions[0].choice.startswith("elimination: ")
    counts = {a.choice: a.value for a in found.plan.decisions[0].alternatives}
    assert counts[found.plan.decisions[0].choice] < counts["forward over reverse"]


def test_many_vectors_are_multiplied_by_the_formed_hessian() -> None:
    g = ga.Graph("quartic")
    x, a = g.input("x", shape=3), g.input("a", shape=(200, 3))
    g.output("L", ((a @ x) ** 4).sum())
    found = ga.hvp(g, "x", vectors=500, tier="interpreted")
    assert found.plan.decisions[0].choice == "dense"
    assert ga.hvp(g, "x", tier="interpreted").plan.decisions[0].choice != "dense"


def test_a_linear_function_has_a_zero_hessian() -> None:
    g = ga.Graph("linear")
    x, c = g.input("x", shape="n"), g.input("c", shape="n")
    g.output("L", (c * x).sum())
    for mode in (*NESTINGS, "dense", None):
        product = ga.hvp(g, "x", mode=mode, tier="interpreted")
        np.testing.assert_array_equal(product(np.ones(3), np.ones(3), np.ones(3)), np.zeros(3))
        many = ga.hvp(g, "x", vectors=2, mode=mode, tier="interpreted")
        np.testing.assert_array_equal(many(np.ones(3), np.ones(3), np.ones((2, 3))), np.zeros((2, 3)))


def test_unknown_modes() -> None:
    with pytest.raises(ga.ArgumentError, match='mode=\'forward\'\n  expected: "forward over reverse", '):
        ga.hvp(build("few"), mode="forward")
    with pytest.raises(ga.ArgumentError, match='"reverse over reverse"'):
        ga.hessian(build("few"), mode="dense", sparse=False)
