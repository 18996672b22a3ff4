"""ADBench's LSTM language model with diagonal weights: value and gradient, two nested loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.problem import Array, Case, Problem

WIDTH = 14


def data(generator: np.random.Generator, l: int, c: int, b: int = WIDTH) -> list[Array]:  # noqa: E741
    """Weights and biases of the gates, of input and output, first states, one-hot characters."""
    shapes = ((2 * l, 4 * b), (3, b), (2 * l, b))
    weights = [generator.uniform(-1, 1, shape) for shape in shapes]
    return [*weights, np.eye(b)[generator.integers(0, b, c)]]


def formula(xp: Any, main: Any, extra: Any, state: Any, sequence: Any) -> Any:
    """The mean negative log-probability of each character given those before it."""
    b, c = extra.shape[1], sequence.shape[0]
    weights, biases = main[::2], main[1::2]

    def sigmoid(x: Any) -> Any:
        return 1.0 / (1.0 + xp.exp(-x))

    def layer(x: Any, own: Any) -> Any:
        w, v, hidden, cell = own
        forget = sigmoid(x * w[:b] + v[:b])
        accept = sigmoid(hidden * w[b : 2 * b] + v[b : 2 * b])
        out = sigmoid(x * w[2 * b : 3 * b] + v[2 * b : 3 * b])
        change = xp.tanh(hidden * w[3 * b :] + v[3 * b :])
        cell = cell * forget + accept * change
        hidden = out * xp.tanh(cell)
        return hidden, (hidden, cell)

    def step(carry: Any, pair: Any) -> Any:
        (hidden, cell), (now, following) = carry, pair
        x, states = xp.scan(layer, now * extra[0], (weights, biases, hidden, cell))
        y = x * extra[1] + extra[2]
        return states, xp.sum(following * (y - xp.log(2.0 + xp.sum(xp.exp(y)))))

    _, found = xp.scan(step, (state[::2], state[1::2]), (sequence[:-1], sequence[1:]))
    return -xp.sum(found) / ((xp.count(c) - 1.0) * xp.count(b))


def hand() -> Callable[..., list[Array]]:
    """Loops over characters and layers, all states stored."""
    from benchmarks.hand import lstm

    return lstm.value_and_grad


PROBLEM = Problem(
    "lstm",
    "LSTM language model, value and gradient",
    {"main": ("2*l", "4*b"), "extra": (3, "b"), "state": ("2*l", "b"), "sequence": ("c", "b")},
    ("main", "extra"),
    data,
    formula,
    tuple(Case({"l": layers, "c": c}) for layers, c in ((2, 1024), (6, 8192))),
    Case({"l": 2, "c": 5}),
    hand=hand,
    peers=("jax", "torch"),
    limits={"torch": 1024},
    hints={"l": 6, "c": 8192, "b": WIDTH},
    notes="PyTorch runs a Python loop, which takes too long for 8192 characters.",
)
