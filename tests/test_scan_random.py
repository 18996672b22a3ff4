"""Random loops against the same steps written out: values, both modes, second order, Jacobians, any schedule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphad as ga
from graphad.interpret import interpret
from graphad.ir.graph import Graph
from graphad.ir.verify import verify
from passes.pipeline import run_pipeline

T = ga.transform
STEPS = 3
SCHEDULES = [None, "all", "carries", ("every", 2), 1, 2]


class Program:
    """A random step of a scan, perhaps with loops and branches in it, which runs on variables of any graph."""

    def __init__(self, seed: int, depth: int = 1) -> None:
        self.seed, self.depth = seed, depth

    def step(self, state: list[Any], x: Any, outside: list[Any]) -> tuple[list[Any], Any]:
        """The new state and a result; draws the same numbers at every call."""
        random = np.random.default_rng(self.seed)
        values = [*state, x, *outside]
        for _ in range(random.integers(3, 8)):
            values.append(self.operation(random, values))
        new = [self.fitted(random, values, old) for old in state]
        return new, self.pick(random, values)

    def pick(self, random: Any, values: list[Any]) -> Any:
        return values[-1 - min(int(random.geometric(0.4)) - 1, len(values) - 1)]

    def fitted(self, random: Any, values: list[Any], like: Any) -> Any:
        """A value of the type of a carry."""
        if random.random() < 0.15:
            return like
        value = self.pick(random, values)
        if like.ndim == 0:
            return value if value.ndim == 0 else value.sum() * 0.3
        return value * np.tanh(like) if value.ndim == 0 else value

    def operation(self, random: Any, values: list[Any]) -> Any:
        a, b = self.pick(random, values), self.pick(random, values)
        kind = random.integers(0, 9 if self.depth else 7)
        constant = float(np.round(random.uniform(0.2, 0.9), 3))
        if kind == 0:
            return a + constant * b
        if kind == 1:
            return np.sin(a) * b
        if kind == 2:
            return np.tanh(a - b)
        if kind == 3:
            return np.where(a > b, a, constant * b)
        if kind == 4:
            return (a * a).sum() if a.ndim else np.cos(constant * a)
        if kind == 5:
            return a[::-1] * constant if a.ndim else a * constant
        if kind == 6:
            return np.exp(-(a * a)) + constant
        inner = Program(int(random.integers(1 << 30)), self.depth - 1)
        if kind == 7:
            return self.loop(inner, a, b)
        scalar = b.sum() if b.ndim else b
        return ga.cond(scalar > constant, lambda v: np.sin(v) * constant, lambda v: v * np.cos(scalar), a)

    def loop(self, inner: Program, a: Any, b: Any) -> Any:
        """A loop of two steps, or one that runs until something is large."""
        if inner.seed % 2:
            (result,), _ = ga.scan(lambda s, x: inner.step(list(s), x, [b]), [a], 0.5 * np.ones(2))
            return result
        size = (lambda v: (v * v).sum()) if a.ndim else (lambda v: v * v)
        return ga.while_loop(lambda v: size(v) < 1.0, lambda v: 1.5 * v + 0.3 + 0.1 * np.sin(b).sum(), a)


def built(seed: int, loop: Callable[..., Any]) -> Graph:
    random = np.random.default_rng(seed)
    g = ga.Graph("random")
    state = [g.input("a", "m"), g.input("b")][: int(random.integers(1, 3))]
    xs = g.input("xs", (STEPS, "m") if random.random() < 0.5 else (STEPS,))
    outside = [g.input("k", "m"), g.input("q")]
    last, ys = loop(Program(seed).step, state, xs, outside, reverse=bool(random.random() < 0.3))
    g.output("loss", sum(np.tanh(v).sum() for v in last) + np.sin(ys).sum())
    g.output("ys", ys)
    return g.freeze()


def scanned(checkpoint: Any) -> Callable[..., Any]:
    def loop(step: Any, state: Any, xs: Any, outside: Any, *, reverse: bool) -> Any:
        run = lambda s, x: step(s, x, outside)  # noqa: E731
        return ga.scan(run, state, xs, reverse=reverse, checkpoint=checkpoint)

    return loop


def written_out(step: Any, state: Any, xs: Any, outside: Any, *, reverse: bool) -> Any:
    ys: list[Any] = [None] * STEPS
    for place in range(STEPS)[:: -1 if reverse else 1]:
        state, ys[place] = step(state, xs[place], outside)
    return state, np.stack(ys)


def check(seed: int) -> None:
    checkpoint = SCHEDULES[seed % len(SCHEDULES)]
    loop, plain = built(seed, scanned(checkpoint)), built(seed, written_out)
    names = list(loop.inputs)
    random = np.random.default_rng(seed + 1)
    shapes = {"a": (2,), "b": (), "k": (2,), "q": ()}
    point = {n: random.normal(size=shapes.get(n, (STEPS, 2)[: loop.variable(n).ndim])) for n in names}
    dots = {f"{n}_dot": random.normal(size=np.shape(v)) for n, v in point.items()}
    bars = {"ys_bar": random.normal(size=interpret(loop, **point)["ys"].shape)}
    wrt, to_ys = depends(plain, "loss"), depends(plain, "ys")  # a loop can not know that it has three steps
    assert set(wrt) <= set(depends(loop, "loss"))
    for transform, more in (
        (lambda g: g, {}),
        (lambda g: T.value_and_grad(g, wrt, "loss"), {}),
        (lambda g: T.jvp(g, names, "ys"), dots),
        (lambda g: T.vjp(g, to_ys, "ys"), bars),
        (lambda g: T.hvp(g, wrt, "loss"), {f"{n}_dot": dots[f"{n}_dot"] for n in wrt}),
        (lambda g: T.jacobian(g, to_ys[0], "ys", mode="forward"), {}),
        (lambda g: T.jacobian(g, to_ys[0], "ys", mode="reverse"), {}),
        (lambda g: T.hessian(g, wrt[0], "loss"), {}),
    ):
        made, expected = transform(loop), interpret(transform(plain), **point, **more)
        for one in (made, verify(run_pipeline(made)[0])):
            for name, value in interpret(one, **point, **more).items():
                np.testing.assert_allclose(value, expected[name], rtol=1e-9, atol=1e-11, err_msg=f"{seed} {name}")


@pytest.mark.parametrize("seed", [1009, 1048, *range(100, 106)])
def test_random_loops_compiled(seed: int) -> None:
    loop = built(seed, scanned(SCHEDULES[seed % len(SCHEDULES)]))
    random = np.random.default_rng(seed + 1)
    shapes = {"a": (2,), "b": (), "k": (2,), "q": ()}
    point = {n: random.normal(size=shapes.get(n, (STEPS, 2)[: loop.variable(n).ndim])) for n in loop.inputs}
    for made in (loop, T.value_and_grad(loop, depends(loop, "loss"), "loss")):
        expected = interpret(made, **point)
        for value, name in zip(ga.compile(made)(**point), made.outputs, strict=True):
            np.testing.assert_allclose(value, expected[name], rtol=1e-9, atol=1e-11, err_msg=f"{seed} {name}")


def depends(graph: Graph, output: str) -> list[str]:
    """The inputs on which the derivative of an output depends."""
    found = []
    for name in graph.inputs:
        try:
            T.vjp(graph, name, output)
        except ga.DifferentiationError:
            continue
        found.append(name)
    return found


@pytest.mark.parametrize("seed", range(24))
def test_random_loops(seed: int) -> None:
    check(seed)
