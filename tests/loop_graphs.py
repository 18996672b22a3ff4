"""Graphs of loops and branches with arguments, of every kind of storage that generated code has for what is carried."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import graphad as ga
from graphad.ir.graph import Graph
from graphad.ir.variable import Variable

RANDOM = np.random.default_rng(11)
Case = tuple[Graph, dict[str, Any]]


def body(
    name: str, inputs: dict[str, Any], results: Callable[..., tuple[Variable, ...]], dtype: str = "float64"
) -> Graph:
    """A frozen graph: `inputs` gives shapes, `results` the outputs from the inputs."""
    graph = Graph(name)
    variables = [graph.input(n, s, d) for n, (s, d) in ((n, _typed(v, dtype)) for n, v in inputs.items())]
    for k, result in enumerate(results(*variables)):
        graph.output(f"out{k}", result)
    return graph.freeze()


def _typed(value: Any, dtype: str) -> tuple[Any, str]:
    return value if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], str) and value[1] in (
        "int64", "bool", "float32", "float64") else (value, dtype)


def items(graph: Graph, op: str, *args: Any, names: str = "abcdef", **params: Any) -> None:
    """Apply an operation of several results and name them all."""
    node = graph.apply(op, *map(graph.owned, args), **params)
    for k, name in zip(range(len(node.type.items)), names, strict=False):
        graph.output(name, graph.apply("item", node, index=k))


def scan(graph: Graph, step: Graph, carries: list[Any], xs: list[Any], constants: list[Any], **more: Any) -> None:
    """All results of a scan."""
    params: dict[str, Any] = {"length": graph.size("n"), "reverse": False, "checkpoint": None, **more}
    items(graph, "scan", *carries, *xs, *constants, body=step, carries=len(carries), xs=len(xs), **params)


def diffusion(dtype: str = "float64") -> Case:
    """A carried array whose neighbours are read, so that it goes back and forth, with stacked results."""
    step = body(
        "step", {"u": "m", "x": (), "k": ()},
        lambda u, x, k: (u + k * x * (ga.cumsum(u)[::-1] - u), (u * u).sum(), u * 0.5), dtype,
    )  # fmt: skip
    g = Graph("diffusion")
    u, xs, k = g.input("u", "m", dtype), g.input("xs", "n", dtype), g.input("k", (), dtype)
    scan(g, step, [u], [xs], [k])
    return g, {"u": RANDOM.normal(size=6), "xs": RANDOM.normal(size=5), "k": 0.3}


def decay(dtype: str = "float64") -> Case:
    """An array that may be written where it is read, a sum in place, and elements of views, backwards."""
    step = body(
        "step", {"u": "m", "total": "m", "x": "m", "t": ((), "int64"), "k": "m"},
        lambda u, total, x, t, k: (np.exp(-u * k) + x, total + u, u * x + t.astype(dtype)), dtype,
    )  # fmt: skip
    g = Graph("decay")
    u, xs, k = g.input("u", "m", dtype), g.input("xs", ("m", "n+1"), dtype), g.input("k", "m", dtype)
    zeros, steps = ga.zeros_like(u), g.apply("iota", size=g.size("n"), dtype="int64")
    scan(g, step, [u, zeros], [xs[:, 1:].T, steps], [k], reverse=True)
    return g, {"u": RANDOM.normal(size=6), "xs": RANDOM.normal(size=(6, 6)), "k": RANDOM.normal(size=6)}


def swap() -> Case:
    """Carried values that change places, one of them twice in the results."""
    step = body("step", {"a": "m", "b": "m", "s": (), "t": ()}, lambda a, b, s, t: (b, a, t, s + t, a, a))
    g = Graph("swap")
    a, b, n = g.input("a", "m"), g.input("b", "m"), g.input("n_long", "n")
    first = n.sum()
    scan(g, step, [a, b, first, first * 2.0], [], [])
    return g, {"a": RANDOM.normal(size=4), "b": RANDOM.normal(size=4), "n_long": RANDOM.normal(size=3)}


def nested() -> Case:
    """A loop in a loop, whose inner one carries points of three coordinates and reads what the outer one carries."""
    inner = body(
        "inner", {"p": ("m", 3), "v": (), "q": ("m", 3)}, lambda p, v, q: (p + v * (q - p[::-1]), p.sum())
    )

    def outer_step(q: Variable, xs: Variable) -> tuple[Variable, ...]:
        g = q.graph
        found = g.apply("scan", q * 2.0, xs, q, body=inner, carries=1, xs=1, length=g.size("k"), reverse=False,
                        checkpoint=None)  # fmt: skip
        return (0.5 * g.apply("item", found, index=0), g.apply("item", found, index=1))

    g = Graph("nested")
    q, xs = g.input("q", ("m", 3)), g.input("xs", ("n", "k"))
    step = body("outer", {"q": ("m", 3), "xs": "k"}, outer_step)
    scan(g, step, [q], [xs], [])
    return g, {"q": RANDOM.normal(size=(4, 3)), "xs": 0.1 * RANDOM.normal(size=(5, 3))}


def running() -> Case:
    """An array to which the steps of an inner loop add their rows, sums of several terms."""
    inner = body(
        "inner", {"p": "m", "v": ()}, lambda p, v: (p * v, (np.sin(p)[:, None] * p[None, :]).sum(axis=0), p[::-1] * v)
    )

    def outer_step(q: Variable, total: Variable, other: Variable, xs: Variable) -> tuple[Variable, ...]:
        g = q.graph
        found = g.apply("scan", q, xs, body=inner, carries=1, xs=1, length=g.size("k"), reverse=False,
                        checkpoint=None)  # fmt: skip
        last, rows, others = (g.apply("item", found, index=k) for k in range(3))
        return (last + 0.1, total + rows, other + others)

    g = Graph("running")
    q, xs, start = g.input("q", "m"), g.input("xs", ("n", "k")), g.input("start", ("k", "m"))
    step = body("outer", {"q": "m", "total": ("k", "m"), "other": ("k", "m"), "xs": "k"}, outer_step)
    scan(g, step, [q, start, ga.zeros_like(start)], [xs], [])
    numbers = {"q": RANDOM.normal(size=4), "xs": RANDOM.normal(size=(5, 3)), "start": RANDOM.normal(size=(3, 4))}
    return g, numbers


def products() -> Case:
    """Matrix products by BLAS inside, and a cotangent of weights that is added to in place."""
    step = body(
        "step", {"h": ("b", "m"), "grad": ("m", "m"), "w": ("m", "m")},
        lambda h, grad, w: (np.tanh(h @ w), grad + h.T @ h),
    )  # fmt: skip
    g = Graph("products")
    h, w = g.input("h", ("b", "m")), g.input("w", ("m", "m"))
    g.input("n_long", "n")
    scan(g, step, [h, ga.zeros_like(w)], [], [w])
    return g, {"h": RANDOM.normal(size=(3, 4)), "w": RANDOM.normal(size=(4, 4)), "n_long": np.zeros(3)}


def newton() -> Case:
    """A while loop of a few numbers and an array."""
    test = body("test", {"x": (), "u": "m", "c": ()}, lambda x, u, c: (abs(x * x - c) > 1e-12,))
    step = body(
        "step", {"x": (), "u": "m", "c": ()}, lambda x, u, c: (0.5 * (x + c / x), ga.cumsum(u)[::-1] / x)
    )
    g = Graph("newton")
    x, u, c = g.input("x"), g.input("u", "m"), g.input("c")
    items(g, "while_loop", x, u, c, test=test, body=step, carries=2)
    return g, {"x": 1.0, "u": RANDOM.normal(size=5), "c": 2.0}


def branch() -> Case:
    """A branch that answers an array and a number."""
    yes = body("yes", {"x": "m", "k": ()}, lambda x, k: (np.sin(x) * k, x.sum()))
    no = body("no", {"x": "m", "k": ()}, lambda x, k: (ga.cumsum(x), k))
    g = Graph("branch")
    x, k = g.input("x", "m"), g.input("k")
    items(g, "cond", x.sum() > 0.0, x, k, on_true=yes, on_false=no)
    return g, {"x": RANDOM.normal(size=5), "k": 3.0}


def sweep(schedule: tuple[Any, ...], reverse: bool = False) -> Case:
    """The reverse sweep of a scan with states of every kind: `u' = f(u) w`, `c' = c + s`, and `x` from outside."""

    def step(u: Variable, c: Variable, x: Variable, w: Variable) -> tuple[Variable, ...]:
        return (np.sin(u[::-1]) * w * c + x * u, c * np.cos(x))

    def adjoint(
        u: Variable, c: Variable, x: Variable, w: Variable, u_bar: Variable, c_bar: Variable, y_bar: Variable,
        w_bar: Variable,
    ) -> tuple[Variable, ...]:  # fmt: skip
        inner = (u_bar * w * c * 1.0)[::-1] * np.cos(u)
        to_c = (u_bar * np.sin(u[::-1]) * w).sum()
        to_x = (u_bar * u).sum() - c_bar * c * np.sin(x) + y_bar
        return (inner + x * u_bar, to_c + c_bar * np.cos(x), to_x, w_bar + u_bar * np.sin(u[::-1]) * c)

    kinds = {"u": "m", "c": (), "x": (), "w": "m"}
    g = Graph("sweep")
    u, c, xs, w = (g.input(n, s) for n, s in {"u": "m", "c": (), "xs": "n", "w": "m"}.items())
    u_bar, c_bar, ys_bar = (g.input(n, s) for n, s in {"u_bar": "m", "c_bar": (), "ys_bar": "n"}.items())
    items(
        g, "scan_adjoint", u, c, xs, w, u_bar, c_bar, ys_bar, ga.zeros_like(w), body=body("step", kinds, step),
        adjoint=body("adjoint", {**kinds, "u_bar": "m", "c_bar": (), "y_bar": (), "w_bar": "m"}, adjoint), carries=2,
        xs=1, length=g.size("n"), reverse=reverse, schedule=schedule, wrt_carries=(0, 1), of_ys=(0,), wrt_xs=(0,),
        wrt_constants=(0,),
    )  # fmt: skip
    arguments = {n: RANDOM.normal(size=5) for n in ("u", "w", "u_bar")} | {"c": 0.7, "c_bar": -0.4}
    return g, {**arguments, "xs": RANDOM.normal(size=7), "ys_bar": RANDOM.normal(size=7)}


def unwind() -> Case:
    """The reverse sweep of a while loop: `x' = x·c`, while x < 1000 (more trips than a tape has at first)."""
    test = body("test", {"x": (), "u": "m", "c": ()}, lambda x, u, c: (x < 1000.0,))
    step = body("step", {"x": (), "u": "m", "c": ()}, lambda x, u, c: (x * c, np.sin(u[::-1]) * c))
    adjoint = body(
        "adjoint", {"x": (), "u": "m", "c": (), "x_bar": (), "u_bar": "m", "c_bar": ()},
        lambda x, u, c, x_bar, u_bar, c_bar: (
            x_bar * c, (u_bar * c)[::-1] * np.cos(u), c_bar + x_bar * x + (u_bar * np.sin(u[::-1])).sum(),
        ),
    )  # fmt: skip
    g = Graph("unwind")
    x, u, c, x_bar, u_bar = g.input("x"), g.input("u", "m"), g.input("c"), g.input("x_bar"), g.input("u_bar", "m")
    items(g, "while_adjoint", x, u, c, x_bar, u_bar, g.const(0.0), test=test, body=step, adjoint=adjoint, carries=2,
          wrt_carries=(0, 1), wrt_constants=(0,))  # fmt: skip
    return g, {"x": 1.0, "u": RANDOM.normal(size=4), "c": 1.2, "x_bar": 1.0, "u_bar": RANDOM.normal(size=4)}


CASES: dict[str, Callable[[], Case]] = {
    "diffusion": diffusion, "decay": decay, "swap": swap, "nested": nested, "running": running, "products": products,
    "newton": newton, "branch": branch, "unwind": unwind,
    "all": lambda: sweep(("every", 1)), "every": lambda: sweep(("every", 3)),
    "every_reversed": lambda: sweep(("every", 2), reverse=True), "binomial": lambda: sweep(("binomial", 2)),
    "binomial_reversed": lambda: sweep(("binomial", 3), reverse=True), "binomial_one": lambda: sweep(("binomial", 1)),
}  # fmt: skip
