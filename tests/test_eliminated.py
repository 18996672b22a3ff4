"""Jacobians by vertex elimination: values, published counts, and the multiplications of the graphs that are made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphad as ga
from benchmarks.peers import ours
from benchmarks.problems.table import PROBLEMS
from graphad.analysis.cost import graph_multiplications
from graphad.analysis.rows import Rows, rows_of
from graphad.ir.graph import Graph
from graphad.ir.sizes import Size
from graphad.plan.eliminate import eliminated_jacobian
from graphad.plan.elimination import EXACT, Candidate, Linearized, count, exact
from graphad.plan.linearize import accumulated, linearized
from graphad.plan.scalars import scalars_of
from passes.pipeline import run_pipeline

Formula = Callable[..., Any]
# The refined counts that annealing finds on graphs made from the formulas; forward and reverse need 294 and 206 for
# the first, 159 and 186 for the second.
COUNTS = {"roe_flux": 164, "robot_arm": 130, "heart_dipole": 48, "propane": 24}


def one_point(name: str) -> Graph:
    graph = run_pipeline(ours.build(PROBLEMS[name]).freeze())[0].freeze()
    rows = rows_of(graph, ["x"], ["y"], Size.name("n"))
    assert isinstance(rows, Rows)
    return rows.graph


def products(graph: Graph, order: Candidate) -> tuple[int, Linearized]:
    """The multiplications that an order adds to the graph, and what it is an order of."""
    split = scalars_of(graph, list(graph.inputs.values()), list(graph.outputs.values()), 500)
    assert split is not None
    ends = [[int(i) for v in s.values() for i in split.elements[v].reshape(-1)] for s in (graph.inputs, graph.outputs)]
    tangents = linearized(split.graph, *ends)
    assert tangents is not None
    before = graph_multiplications(split.graph)
    accumulated(tangents, order.order, "float64")
    return graph_multiplications(split.graph) - before, tangents.linear


@pytest.mark.parametrize("name", COUNTS)
def test_refined_counts_of_published_tasks(name: str) -> None:
    graph = one_point(name)
    found = eliminated_jacobian(graph, ["x"], ["y"], seconds=20.0)
    assert found is not None
    assert found.orders[0].refined <= COUNTS[name]
    assert found.decision.alternatives[0].value == found.orders[0].refined
    assert products(graph, found.orders[0])[0] == found.orders[0].refined
    # The compiled graph has those, and those of the value and of local partials; equal ones have merged.
    whole, optimized = graph_multiplications(found.graph), graph_multiplications(run_pipeline(found.graph)[0])
    assert found.orders[0].refined <= optimized <= whole


def scalar_program(x: Any, y: Any, z: Any) -> Any:
    a = np.sin(x) * y
    b = a / (1.0 + z * z)
    return np.stack([a * b, b - 3.0 * x, np.exp(-b) * z, x])


def used_outputs(x: Any, y: Any, z: Any) -> Any:
    """Outputs that are used again, twice the same, an input, and an element that depends on nothing."""
    a = x * y
    b = a * z
    return np.stack([a, b, a, z, b * b, a * 0.0 + 2.0])


def small_arrays(x: Any, y: Any, z: Any) -> Any:
    v = np.stack([x, y, z])
    m = np.array([[1.0, 2.0, 0.5], [0.0, 1.0, -1.0]])
    w = m @ v
    return np.concatenate([w * (v * v).sum(), np.flip(v)[:2] * w[0]]).reshape((2, 2))


SCALARS: dict[str, Formula] = {f.__name__: f for f in (scalar_program, used_outputs, small_arrays)}


def complex_columns(formula: Formula, point: Any) -> Any:
    return [formula(*(point + 1e-30j * unit)).imag / 1e-30 for unit in np.eye(len(point))]


@pytest.mark.parametrize("name", SCALARS)
def test_values_against_complex_step(name: str) -> None:
    g = ga.Graph(name)
    g.output("out", SCALARS[name](*(g.input(n) for n in "xyz")))
    point = np.array([0.4, -1.3, 0.7])
    jacobian = ga.jacobian(g, tier="interpreted")
    assert jacobian.plan.decisions[0].choice.startswith("elimination: ")
    for found, wanted in zip(jacobian(*point), complex_columns(SCALARS[name], point), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-13, atol=1e-15)


def test_compiled_and_batched() -> None:
    g = ga.Graph("program")
    x = g.input("x", shape=("n", 3))
    g.output("y", scalar_program(x[:, 0], x[:, 1], x[:, 2]).T)
    points = np.random.default_rng(1).normal(size=(7, 3))
    wanted = [np.stack(complex_columns(scalar_program, point), axis=1) for point in points]
    batched = ga.jacobian(g, batch="n")
    np.testing.assert_allclose(batched(points), np.stack(wanted), rtol=1e-12, atol=1e-14)
    assert batched.plan.decisions[1].choice.startswith("elimination: ")
    text = batched.explain()
    for shown in ("7 rows" if "7 rows" in text else "n rows", "fewest multiplications", "with the free ones"):
        assert shown in text


def test_branches_not_taken_leak_no_nan() -> None:
    def build(xp: Any, x: Any, y: Any) -> Any:
        safe = np.where(x > 0.0, np.sqrt(x), 0.0)
        deep = np.where(y > 0.0, np.log(y) * safe, y)
        return np.stack([deep * deep, np.sqrt(np.maximum(x, 0.0)) * 0.0 + np.where(y > 0.0, 1.0 / y, x * y)])

    g = ga.Graph("branches")
    g.output("z", build(np, g.input("x"), g.input("y")))
    found = ga.jacobian(g, tier="interpreted")
    assert found.plan.decisions[0].choice.startswith("elimination: ")
    for point in ((-1.0, -2.0), (-1.0, 2.0), (3.0, -2.0), (3.0, 2.0)):
        reverse = ga.jacobian(g, mode="reverse", tier="interpreted")(*point)
        for a, b in zip(found(*point), reverse, strict=True):
            assert np.isfinite(a).all()
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)


def random_program(seed: int, operations: int) -> Graph:
    generator = np.random.default_rng(seed)
    g = ga.Graph("random_program")
    values: list[Any] = [g.input(f"x{i}") for i in range(3)]
    unary = [np.sin, np.exp, np.tanh, lambda v: -v, lambda v: 2.0 * v, np.abs]
    binary = [lambda a, b: a * b, lambda a, b: a + b, lambda a, b: a - b, np.maximum, lambda a, b: a / (2.0 + b * b)]
    for _ in range(operations):
        a, b = (values[int(i)] for i in generator.integers(0, len(values), 2))
        pick = int(generator.integers(0, len(unary) + len(binary)))
        values.append(unary[pick](a) if pick < len(unary) else binary[pick - len(unary)](a, b))
    for position, value in enumerate(values[-2:] + values[5:6]):
        g.output(f"y{position}", value + sum(values[:3]))
    return g


@pytest.mark.parametrize("seed", range(6))
def test_random_programs(seed: int) -> None:
    """Values as in reverse mode; products in the graph as the plan counts; no order beats the exact one."""
    g = random_program(seed, 6 + 2 * seed)
    point = np.random.default_rng(seed).normal(size=3)
    found = ga.jacobian(g, tier="interpreted")(*point)
    wanted = ga.jacobian(g, mode="reverse", tier="interpreted")(*point)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(np.array(a), np.array(b), rtol=1e-12, atol=1e-13)
    made = eliminated_jacobian(g.freeze(), list(g.inputs), list(g.outputs))
    assert made is not None
    for order in made.orders:
        counted, linear = products(g, order)
        # Constants that happen to multiply to 1 or to add up to 0 or 1 save what the plan counts.
        assert order.refined - 4 <= counted <= order.refined
    if len(linear.intermediates) <= EXACT:
        assert made.orders[0].refined == count(linear, exact(linear, "refined"), "refined")


def test_planning_is_quick_where_little_can_be_saved() -> None:
    """Annealing is left to graphs whose best other order costs 64 multiplications."""
    small = one_point("propane")
    found = eliminated_jacobian(small, ["x"], ["y"])
    assert found is not None
    assert "annealing" not in [c.name for c in found.orders]


def test_what_is_not_taken_apart() -> None:
    g = ga.Graph("running")
    g.output("y", np.cumsum(g.input("x", shape=5)))
    assert eliminated_jacobian(g.freeze(), ["x"], ["y"]) is None
    wide = ga.Graph("wide")
    wide.output("y", np.sin(wide.input("x", shape=100)))
    assert eliminated_jacobian(wide.freeze(), ["x"], ["y"]) is None
    mixed = ga.Graph("mixed")
    mixed.output("y", mixed.input("x").astype("float32") * 2.0)
    assert eliminated_jacobian(mixed.freeze(), ["x"], ["y"]) is None
    np.testing.assert_allclose(ga.jacobian(mixed, tier="interpreted")(3.0), 2.0)


def test_an_output_that_does_not_depend_on_an_input() -> None:
    g = ga.Graph("apart")
    x, y = g.input("x"), g.input("y")
    g.output("a", x * y)
    g.output("b", y * y)
    with pytest.raises(ga.DifferentiationError, match="output b does not depend on `x`"):
        ga.jacobian(g)


def test_linearized_keeps_outputs_apart() -> None:
    g = ga.Graph("used")
    x = g.input("x")
    y = np.sin(x)
    g.output("y", y)
    g.output("z", np.cos(y))
    found = linearized(g, [x.id], [g.outputs["y"], g.outputs["z"]])
    assert found is not None
    assert isinstance(found.linear, Linearized)
    assert len(found.linear.outputs) == 2
    assert len(found.linear.intermediates) == 1
