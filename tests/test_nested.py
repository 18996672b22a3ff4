"""Derivatives of derivatives, in every order of modes, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

import graphad as ga

X, V, U = np.array([0.3, -0.7, 1.1]), np.array([1.0, 0.5, -2.0]), np.array([-0.4, 2.0, 0.25])


def graph() -> ga.Graph:
    """L = Σ sin(x)·x: L' = cos(x)·x + sin x, L'' = 2 cos x − x sin x, L''' = −3 sin x − x cos x."""
    g = ga.Graph("wave")
    x = g.input("x", "n")
    g.output("L", (np.sin(x) * x).sum())
    return g


SECOND = 2 * np.cos(X) - X * np.sin(X)
THIRD = -3 * np.sin(X) - X * np.cos(X)


def test_forward_over_forward():
    pushed = ga.transform.jvp(ga.transform.jvp(graph()), "x", "L_dot")
    value = ga.interpret(pushed, X, V, U)["L_dot_dot"]
    np.testing.assert_allclose(value, (SECOND * V * U).sum(), rtol=1e-13)


def test_forward_over_reverse():
    pushed = ga.transform.jvp(ga.transform.grad(graph()), "x")
    np.testing.assert_allclose(ga.interpret(pushed, X, V)["dL_dx_dot"], SECOND * V, rtol=1e-13)


def test_reverse_over_forward():
    pulled = ga.transform.vjp(ga.transform.jvp(graph()), "x", "L_dot")
    np.testing.assert_allclose(ga.interpret(pulled, X, V, 1.0)["x_bar"], SECOND * V, rtol=1e-13)


def test_reverse_over_reverse():
    pulled = ga.transform.vjp(ga.transform.vjp(graph()), "x", "x_bar")
    np.testing.assert_allclose(ga.interpret(pulled, X, 1.0, V)["x_bar_2"], SECOND * V, rtol=1e-13)


@pytest.mark.parametrize("order", [3, 4])
def test_gradient_of_gradients(order):
    derived = graph()
    name = "L"
    for _ in range(order - 1):
        derived = ga.transform.grad(derived, "x", name)
        summed = ga.Graph("summed")
        x = summed.input("x", "n")
        summed.output("L", derived(x).sum())
        derived = summed
    third = ga.grad(derived, "x")(X)
    fourth = -4 * np.cos(X) + X * np.sin(X)
    np.testing.assert_allclose(third, {3: THIRD, 4: fourth}[order], rtol=1e-12)


def test_compiled_vjp_of_a_vjp():
    f = ga.vjp(ga.transform.vjp(graph()), "x", "x_bar")
    value, gradient = f(X, 1.0, V)
    np.testing.assert_allclose(value, np.cos(X) * X + np.sin(X), rtol=1e-13)
    np.testing.assert_allclose(gradient, SECOND * V, rtol=1e-13)


def test_hessian_of_a_gradient_component_sum():
    g = ga.transform.grad(graph())
    summed = ga.Graph("summed")
    x = summed.input("x", "n")
    summed.output("s", g(x).sum())
    np.testing.assert_allclose(ga.hessian(summed)(X), np.diag(THIRD), rtol=1e-12)
