"""Random programs of arrays: planned Jacobians and gradients against whole sweeps, whatever the plan is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphad as ga
from graphad.analysis.active import active_nodes

Step = Callable[[Any, Any], Any]
# Steps that keep, move, select or mix rows; those that do not fit the shapes at hand are left out.
STEPS: tuple[Step, ...] = (
    lambda a, b: np.sin(a),
    lambda a, b: a * b,
    lambda a, b: a + b,
    lambda a, b: np.tanh(a) * 2.0,
    lambda a, b: a.sum(axis=-1),
    lambda a, b: a[:, 0],
    lambda a, b: a[::-1],
    lambda a, b: a[:, None],
    lambda a, b: a.T,
    lambda a, b: np.where(a > 0.1, a * a, np.sqrt(np.abs(a) + 1.0)),
    lambda a, b: a @ b,
    lambda a, b: np.maximum(a, b),
    lambda a, b: np.stack([a, a * a], axis=-1),
)
SCALED: tuple[Step, ...] = (
    lambda a, b: np.sin(a),
    lambda a, b: a * b,
    lambda a, b: a - 2.0 * b,
    lambda a, b: np.tanh(a),
    lambda a, b: np.exp(-a * a),
    lambda a, b: a / (1.0 + b * b),
    lambda a, b: np.sqrt(1.0 + a * a),
    lambda a, b: np.where(a > 0.1, a * b, np.sqrt(np.maximum(a, 0.0) + 0.1)),
)


def depends(g: ga.Graph, output: str, names: tuple[str, ...]) -> list[str]:
    target = g.freeze().outputs[output]
    return [n for n in names if target in active_nodes(g, [g.inputs[n]], [target])]


def random_map(seed: int) -> tuple[ga.Graph, list[Any]]:
    generator = np.random.default_rng(seed)
    # All sizes are 3 where one has a name: then it fits wherever a program asks for that.
    extent, rows, width = ("n", 3, 3) if seed % 2 else (4, 4, int(generator.choice([2, 3])))
    g = ga.Graph("random_map")
    index = g.input("i", shape=extent, dtype="int64")
    values = [g.input("x", shape=(extent, width)), g.input("w", shape=extent), g.input("p", shape=3)]
    for _ in range(int(generator.integers(3, 9))):
        a, b = (values[int(k)] for k in generator.integers(0, len(values), 2))
        step = int(generator.integers(0, len(STEPS) + 1))
        try:
            value = a[index] if step == len(STEPS) else STEPS[step](a, b)
        except (ga.GraphadError, IndexError, ValueError):
            continue
        if value.ndim <= 3:
            values.append(value)
    g.output("y", values[-1] * 1.5)
    shapes = (rows, width), (rows,), (3,)
    return g, [generator.integers(0, 2, rows), *(generator.normal(size=s) for s in shapes)]


@pytest.mark.parametrize("seed", range(40))
def test_jacobians_of_random_maps(seed: int) -> None:
    g, arrays = random_map(seed)
    names = depends(g, "y", ("x", "w", "p"))
    planned = ga.jacobian(g, names, sparse=False, tier="interpreted")(*arrays)
    for found, wanted in zip(planned, ga.jacobian(g, names, mode="reverse", tier="interpreted")(*arrays), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_gradients_that_wait_of_random_programs(seed: int) -> None:
    generator = np.random.default_rng(seed)
    g = ga.Graph("random_wait")
    values = [g.input("a", shape="n"), g.input("b", shape="n")]
    for _ in range(int(generator.integers(6, 14))):
        first = values[int(generator.integers(max(0, len(values) - 4), len(values)))]
        second = values[int(generator.integers(len(values)))]
        values.append(SCALED[int(generator.integers(len(SCALED)))](first, second))
    z = values[-1] + values[0]
    g.output("L", np.sqrt(1.0 + (z * z).sum()) + (z / np.sqrt(1.0 + (z * z).sum()) * values[1]).sum())
    names = depends(g, "L", ("a", "b"))
    arrays = [generator.normal(size=5) for _ in "ab"]
    found, wanted = ga.grad(g, names, tier="interpreted")(*arrays), ga.interpret(ga.transform.grad(g, names), *arrays)
    for name in names:
        np.testing.assert_allclose(getattr(found, name), wanted[f"dL_d{name}"], rtol=1e-10, atol=1e-13)
