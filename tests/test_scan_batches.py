"""Jacobians and Hessians through loops and branches: both modes agree, and with differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_scan import both

import graphad as ga
from graphad.errors import DifferentiationError
from graphad.interpret import interpret
from graphad.ir.graph import Graph

T = ga.transform


def driven() -> tuple[Graph, dict[str, Any]]:
    g = ga.Graph("driven")
    s, p, t = g.input("s", 2), g.input("p", 2), g.input("t", "n")

    def step(state: Any, push: Any) -> Any:
        new = state + 0.1 * np.stack([p[0] * state[1], -p[1] * np.sin(state[0])]) + push * state
        return new, new

    last, path = ga.scan(step, s, t)
    g.output("last", last)
    g.output("path", path)
    g.output("loss", (path**2).sum())
    return g, {"s": np.array([0.5, -0.3]), "p": np.array([1.2, 0.7]), "t": 0.1 * np.arange(3.0)}


def settling() -> tuple[Graph, dict[str, Any]]:
    g = ga.Graph("settling")
    a, b = g.input("a", 2), g.input("b", 3)
    start = (a, b)
    x, y = ga.while_loop(
        lambda s: s[0].sum() < 4.0,
        lambda s: (s[0] + np.abs(np.sin(s[0] * b[0])) + 0.3, s[1] * np.cos(b) + s[0].sum()), start,
    )  # fmt: skip
    g.output("last", x)
    g.output("path", y)
    g.output("loss", (x**2).sum() + (y**2).sum())
    return g, {"a": np.array([0.1, 0.2]), "b": np.array([0.3, 0.4, 0.5])}


def branching() -> tuple[Graph, dict[str, Any]]:
    g = ga.Graph("branching")
    x = g.input("x", 3)
    y, z = ga.cond(x[0] > 0.0, lambda v: (v * v[::-1], 1.0), lambda v: (np.sin(v), v.sum()), x)
    g.output("last", y)
    g.output("path", z * x)
    g.output("loss", (y**2).sum() + z * z)
    return g, {"x": np.array([-0.4, 0.3, 0.9])}


@pytest.mark.parametrize("made", [driven, settling, branching])
def test_jacobians_and_hessians(made: Any) -> None:
    graph, values = made()
    names = list(values)
    forward = both(T.jacobian(graph, names, ["last", "path"], mode="forward"), **values)
    reverse = both(T.jacobian(graph, names, ["last", "path"], mode="reverse"), **values)
    for name, block in forward.items():
        np.testing.assert_allclose(block, reverse[name], rtol=1e-12, atol=1e-14)
    hessian = both(T.hessian(graph, names, "loss"), **values)
    gradient = T.grad(graph, names, "loss")
    step = 1e-5
    for row in names:
        for column in names:
            slopes = []
            for place in range(len(values[column])):
                unit = step * (np.arange(len(values[column])) == place)
                up, down = (interpret(gradient, **{**values, column: values[column] + s * unit}) for s in (1, -1))
                slopes.append((up[f"dloss_d{row}"] - down[f"dloss_d{row}"]) / (2 * step))
            np.testing.assert_allclose(hessian[f"d2loss_d{row}_d{column}"], np.stack(slopes, -1), rtol=1e-7, atol=1e-8)


def test_jacobians_of_jacobians() -> None:
    graph, values = driven()
    first = T.jacobian(graph, "s", "last", mode="reverse")
    forward = both(T.jacobian(first, "s", mode="forward"), **values)
    reverse = both(T.jacobian(first, "s", mode="reverse"), **values)
    np.testing.assert_allclose(forward["ddlast_ds_ds"], reverse["ddlast_ds_ds"], rtol=1e-12, atol=1e-14)
    graph, values = settling()
    again = T.jacobian(graph, "a", "last", mode="reverse")
    with pytest.raises(DifferentiationError, match="the Jacobian of a `while_loop` by reverse mode"):
        T.jacobian(again, "a", mode="reverse")


def test_the_functions_that_users_call() -> None:
    graph, values = driven()
    point = list(values.values())
    expected = interpret(T.jacobian(graph, "s", "path", mode="forward"), **values)["dpath_ds"]
    np.testing.assert_allclose(ga.jacobian(graph, "s", "path", tier="interpreted")(*point), expected, rtol=1e-12)
    hessian = ga.hessian(graph, "s", "loss", tier="interpreted")(*point)
    product = ga.hvp(graph, "s", "loss", tier="interpreted")(*point, np.array([1.0, 2.0]))
    np.testing.assert_allclose(hessian @ [1.0, 2.0], product, rtol=1e-12)
