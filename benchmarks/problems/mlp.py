"""A network of two layers with quadratic loss: value and gradient by all weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.problem import Array, Case, Problem


def data(generator: np.random.Generator, batch: int, inputs: int, width: int, outputs: int) -> list[Array]:
    """Observations, targets, and small weights."""
    x, y = generator.normal(size=(batch, inputs)), generator.normal(size=(batch, outputs))
    shapes = ((inputs, width), (width,), (width, outputs), (outputs,))
    return [x, y, *(0.1 * generator.normal(size=shape) for shape in shapes)]


def formula(xp: Any, x: Any, y: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
    """mean((tanh(x w1 + b1) w2 + b2 − y)²)."""
    return xp.mean((xp.tanh(x @ w1 + b1) @ w2 + b2 - y) ** 2)


def casadi_formula(ca: Any, x: Any, y: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
    """The same; rows are repeated because CasADi does not broadcast, biases are columns."""
    batch = x.shape[0]
    hidden = ca.tanh(x @ w1 + ca.repmat(b1.T, batch, 1))
    return ca.sumsqr(hidden @ w2 + ca.repmat(b2.T, batch, 1) - y) / y.numel()


def hand() -> Callable[..., list[Array]]:
    """Matrix products through BLAS in place, loops between them."""
    from benchmarks.hand import mlp

    return mlp.value_and_grad


PROBLEM = Problem(
    "mlp",
    "network of two layers, value and gradient",
    {"X": ("b", "p"), "Y": ("b", "c"), "W1": ("p", "h"), "b1": ("h",), "W2": ("h", "c"), "b2": ("c",)},
    ("W1", "b1", "W2", "b2"),
    data,
    formula,
    (
        Case({"batch": 64, "inputs": 32, "width": 64, "outputs": 10}),
        *(
            Case({"batch": batch, "inputs": 512, "width": 512, "outputs": 10}, dtype)
            for batch in (64, 1024)
            for dtype in ("float64", "float32")
        ),
    ),
    Case({"batch": 3, "inputs": 4, "width": 5, "outputs": 2}),
    hand=hand,
    formulas={"casadi": casadi_formula},
    peers=("jax", "torch", "casadi", "pytensor", "autograd"),
    limits={"casadi": 64},
    notes="CasADi's own matrix product is no BLAS: the smallest network only.",
)
