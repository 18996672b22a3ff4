"""Jacobians composed of segments: cuts, predicted against counted multiplications, values against complex step."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphad as ga
from graphad.analysis.active import active_nodes
from graphad.analysis.cost import graph_multiplications
from graphad.plan.cuts import cuts
from graphad.plan.modes import Mode, between
from graphad.plan.segments import compose, composed_jacobian, formula
from passes.pipeline import run_pipeline

RNG = np.random.default_rng(0)
Formula = Callable[..., Any]


def three(x: Any, inner: Any, outer: Any) -> Any:
    y = outer @ np.tanh(inner @ np.sin(x))
    return np.sin(y) * np.exp(-(y**2))


def one(x: Any, w: Any, a: Any, b: Any, v: Any) -> Any:
    return np.tanh(v @ np.tanh(b * (a @ np.tanh(w @ x))))


def two_scalars(x: Any, a: Any, b: Any) -> Any:
    s, t = np.sin(x @ a), np.exp(x @ b)
    return np.outer(s * a, t * b) + s * t


def nested_pair(x: Any, a: Any) -> Any:
    """The second number depends on the first: the cut is no antichain."""
    s = np.sin(x @ a)
    t = np.cos(s * (x @ x))
    return np.exp(a * t) * s + a * s


def matrices(x: Any, a: Any, b: Any) -> Any:
    return np.tanh(b @ np.tanh((a @ x).sum(axis=1)))


def column_then_matrix(x: Any, a: Any) -> Any:
    """A reshape, a product that keeps an axis, and a constant factor in between."""
    h = (a @ x.reshape((5, 4))).sum(axis=0)
    return np.tanh(h)[:, None] * np.cumsum(h)[None, :] * 2.0


def skipped(x: Any, a: Any) -> Any:
    """An input that is needed again behind the bottleneck."""
    return np.sin(x @ a) * x + np.flip(x)


CASES: dict[str, tuple[Formula, tuple[tuple[int, ...], ...]]] = {
    "three": (three, ((20,), (3, 20), (20, 3))),
    "one": (one, ((12,), (12, 12), (12,), (12,), (12, 12))),
    "two_scalars": (two_scalars, ((9,), (9,), (9,))),
    "nested_pair": (nested_pair, ((8,), (8,))),
    "matrices": (matrices, ((6, 7), (2, 6), (9, 2))),
    "column_then_matrix": (column_then_matrix, ((20,), (3, 5))),
    "skipped": (skipped, ((10,), (10,))),
}


def build(formula: Formula, shapes: tuple[tuple[int, ...], ...], name: str = "case") -> ga.Graph:
    g = ga.Graph(name)
    g.output("y", formula(*(g.input(f"x{i}", shape=s) for i, s in enumerate(shapes))))
    return g.freeze()


def complex_step(formula: Formula, arrays: list[Any], which: int = 0) -> Any:
    """The Jacobian with respect to one argument, column by column."""
    columns = []
    for index in np.ndindex(arrays[which].shape):
        moved = [np.array(a, dtype=complex) for a in arrays]
        moved[which][index] += 1e-30j
        columns.append(formula(*moved).imag / 1e-30)
    return np.stack(columns, axis=-1).reshape((*columns[0].shape, *arrays[which].shape))


@pytest.mark.parametrize("name", CASES)
def test_composed_jacobians_against_complex_step(name: str) -> None:
    function, shapes = CASES[name]
    g, arrays = build(function, shapes), [RNG.normal(size=s) / 2 for s in shapes]
    composition = compose(g, ["x0"], ["y"])
    optimized = run_pipeline(composed_jacobian(g, composition, "x0", "y"))[0]
    for graph in (composed_jacobian(g, composition, "x0", "y"), optimized):
        result = ga.interpret(graph, *arrays)["dy_dx0"]
        np.testing.assert_allclose(result, complex_step(function, arrays), rtol=1e-12, atol=1e-13)
    for mode in ("forward", "reverse"):
        for number in range(1, len(composition.segments) + 1):
            forced = compose(g, ["x0"], ["y"], {f"segment {number}": mode})
            assert forced.multiplications >= composition.multiplications
            result = ga.interpret(composed_jacobian(g, forced, "x0", "y"), *arrays)["dy_dx0"]
            np.testing.assert_allclose(result, complex_step(function, arrays), rtol=1e-12, atol=1e-13)


def test_several_inputs_and_outputs() -> None:
    g = ga.Graph("several")
    x, z, a = g.input("x", shape=6), g.input("z", shape=4), g.input("a", shape=6)
    s = np.sin(x @ a) * z.sum()
    g.output("y", np.exp(s * a))
    g.output("w", np.cos(s) * z[:2].sum() * np.ones(3))
    g.freeze()
    arrays = [RNG.normal(size=n) for n in (6, 4, 6)]
    composed = ga.interpret(composed_jacobian(g, compose(g, ["x", "z"], ["y", "w"]), ["x", "z"], ["y", "w"]), *arrays)

    def formulas(output: str) -> Formula:
        def run(x: Any, z: Any, a: Any) -> Any:
            s = np.sin(x @ a) * z.sum()
            return np.exp(s * a) if output == "y" else np.cos(s) * z[:2].sum() * np.ones(3)

        return run

    for output in ("y", "w"):
        for position, name in enumerate(("x", "z")):
            wanted = complex_step(formulas(output), arrays, position)
            np.testing.assert_allclose(composed[f"d{output}_d{name}"], wanted, rtol=1e-12, atol=1e-13)


def test_cuts_are_what_all_paths_share() -> None:
    g = build(one, CASES["one"][1])
    assert all(len(cut) == 1 for cut in cuts(g, [0], [g.outputs["y"]]))
    pair = build(two_scalars, CASES["two_scalars"][1])
    assert 2 in map(len, cuts(pair, [0], [pair.outputs["y"]]))


def interleaved(x: Any, a: Any, b: Any) -> Any:
    """Of two scalars the first is used before the second is made: no order of nodes has both alone alive."""
    s = np.sin(x @ a)
    wide = np.tanh(s * a) * np.exp(a)
    t = np.cos(x @ b)
    return wide * np.tanh(t * b)


def test_minimum_cuts_do_not_depend_on_the_order_of_nodes() -> None:
    g = build(interleaved, ((30,), (30,), (30,)))
    found = cuts(g, [0], [g.outputs["y"]])
    assert [len(cut) for cut in found] == [1, 2, 1]
    assert [g.nodes[v].op for v in found[1]] in (["sin", "cos"], ["einsum", "cos"], ["sin", "einsum"], ["einsum"] * 2)
    composition = compose(g, ["x0"], ["y"])
    assert composition.multiplications < min(composition.forward, composition.reverse) / 3
    arrays = [RNG.normal(size=30) for _ in range(3)]
    result = ga.interpret(composed_jacobian(g, composition, "x0", "y"), *arrays)["dy_dx0"]
    np.testing.assert_allclose(result, complex_step(interleaved, arrays), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("function", "shapes"), [(one, ((100,), (100, 100), (100,), (100,), (100, 100)))])
def test_multiplications_of_the_graph_against_the_plan(function: Formula, shapes: tuple[tuple[int, ...], ...]) -> None:
    """R^100 -> R^1 -> R^100 with dense layers: at least 20 times fewer than either uniform mode, counted."""
    g = build(function, shapes)
    composition = compose(g, ["x0"], ["y"])
    counted = {
        mode: graph_multiplications(run_pipeline(ga.transform.jacobian(g, "x0", "y", mode))[0])
        for mode in ("forward", "reverse")
    }
    value = graph_multiplications(run_pipeline(g)[0])
    composed = graph_multiplications(run_pipeline(composed_jacobian(g, composition, "x0", "y"))[0])
    # The plan counts products and sweeps; the value and the local partials, some per element, come on top.
    assert composition.multiplications <= composed - value + 500
    assert composed - value <= composition.multiplications + 500
    assert min(counted.values()) >= 20 * composed
    assert composition.forward <= counted["forward"] <= composition.forward + value + 20_000
    assert composition.reverse <= counted["reverse"] <= composition.reverse + value + 20_000


def test_the_compiled_function_runs_the_plan_and_explains_it() -> None:
    function, shapes = CASES["three"]
    g, arrays = build(function, shapes, "bottleneck"), [RNG.normal(size=s) / 2 for s in shapes]
    jacobian = ga.jacobian(g, wrt="x0")
    np.testing.assert_allclose(jacobian(*arrays), complex_step(function, arrays), rtol=1e-12, atol=1e-13)
    whole, *parts = jacobian.plan.decisions
    assert whole.choice == "composed"
    assert [a.choice for a in whole.alternatives] == ["forward", "reverse", "composed"]
    assert len(parts) == 5
    assert "elementwise" in parts[0].reason
    text = jacobian.explain()
    for shown in ("segment 1: x0 -> ", "segment 5", "composed", "one contraction"):
        assert shown in text


def test_uniform_modes_and_force_override() -> None:
    g = build(*CASES["three"])
    assert ga.jacobian(g, "x0", mode="forward", tier="interpreted").plan.decisions[0].choice == "forward"
    forced = ga.jacobian(g, "x0", force={"segment 3": "forward"}, tier="interpreted").plan.decisions
    assert forced[3].subject.startswith("segment 3")
    assert [a.choice for a in forced[3].alternatives] == ["forward"]
    with pytest.raises(ga.ArgumentError, match="segment 5"):
        ga.jacobian(g, "x0", force={"segment 9": "forward"})
    with pytest.raises(ga.ArgumentError, match="both given"):
        ga.jacobian(g, "x0", mode="forward", force={"segment 1": "forward"})


def test_where_no_cut_pays_a_uniform_mode_is_taken() -> None:
    g = build(skipped, CASES["skipped"][1])
    chosen = ga.jacobian(g, "x0", tier="interpreted").plan.decisions[0]
    assert chosen.choice in ("forward", "reverse", "composed")
    composition = compose(g, ["x0"], ["y"])
    assert composition.pays == (chosen.choice == "composed")
    assert re.fullmatch(r"[J0-9 ><*()\[\]]+", formula(composition.tree))


def test_the_plan_names_the_nodes_of_every_segment() -> None:
    """Each node that carries derivatives belongs to one segment; elements in and out are those of the cuts."""
    plan = ga.jacobian(build(three, ((20,), (3, 20), (20, 3))), wrt="x0", tier="interpreted").plan
    graph = plan.graph
    assert graph is not None
    named = [node_id for segment in plan.segments for node_id in segment.nodes]
    assert len(named) == len(set(named))
    assert set(named) == set(active_nodes(graph, [graph.inputs["x0"]], [graph.outputs["y"]])) - {graph.inputs["x0"]}
    assert [(s.inputs, s.outputs) for s in plan.segments] == [(20, 20), (20, 3), (3, 3), (3, 20), (20, 20)]


def test_between_leads_through_no_source_twice() -> None:
    """`inner` is used by the source `b` only, so it lies before the cut, although the other source reaches it."""
    g = ga.Graph("passed")
    x = g.input("x")
    a = np.sin(x)
    inner = np.exp(a)
    b = np.cos(inner)
    g.output("y", a * b)
    assert between(g, [a.id, b.id], [g.outputs["y"]]) == (g.outputs["y"],)
    assert between(g, [x.id], [a.id, b.id]) == (a.id, inner.id, b.id)


@pytest.mark.parametrize("derive", [ga.grad, ga.value_and_grad, ga.hvp, ga.hessian, ga.jvp, ga.vjp])
def test_uniform_plans_name_their_nodes(derive: Callable[..., ga.CompiledFunction]) -> None:
    g = ga.Graph("sum_of_cubes")
    x, k = g.input("x", shape="n"), g.input("k")
    g.output("y", (x**3).sum() * (k * k))
    plan = derive(g, "x", "y", tier="interpreted").plan
    (segment,) = plan.segments
    assert plan.graph is not None
    assert [plan.graph.nodes[v].op for v in segment.nodes][-2:] == ["sum", "mul"]  # k * k is left out
    assert (str(segment.inputs), segment.outputs) == ("n", 1)


def through_scalars(x: Any, a: Any, b: Any) -> Any:
    """Three scalars, a few operations on them, two scalars."""
    s = a @ x
    p, q, r = s[0], s[1], s[2]
    u = np.sin(p * q) * np.exp(r) + p * q * r
    v = np.cos(u * p) / (1.0 + r * r)
    return np.tanh(b[:, 0] * u + b[:, 1] * v)


def test_a_segment_of_scalars_is_eliminated() -> None:
    shapes = ((30,), (3, 30), (25, 2))
    g, arrays = build(through_scalars, shapes), [RNG.normal(size=s) / 3 for s in shapes]
    jacobian = ga.jacobian(g, "x0", tier="interpreted")
    (segment,) = [d for d in jacobian.plan.decisions if d.choice.startswith("elimination: ")]
    costs = {a.choice: a.value for a in segment.alternatives}
    assert costs[segment.choice] < min(costs["forward"], costs["reverse"])
    np.testing.assert_allclose(jacobian(*arrays), complex_step(through_scalars, arrays), rtol=1e-12, atol=1e-13)
    name = segment.subject.split(":")[0]
    forced = ga.jacobian(g, "x0", force={name: "forward"}, tier="interpreted")
    np.testing.assert_allclose(forced(*arrays), complex_step(through_scalars, arrays), rtol=1e-12, atol=1e-13)


def two_layers(hint: int) -> ga.CompiledFunction:
    g = ga.Graph("layers")
    x, a = g.input("x", shape=100), g.input("A", shape=(100, 100))
    g.output("y", np.tanh(g.input("C", shape=("m", 100), hint=hint) @ np.tanh(a @ x)))
    return ga.jacobian(g, "x", tier="interpreted", sparse=False)


def test_thresholds_say_where_another_choice_is_made() -> None:
    """The plan at one size names the borders, and the plans on both sides of each border agree."""
    threshold = two_layers(300).plan.decisions[0].threshold
    found = re.fullmatch(r"composed while (\d+) <= m < (\d+), then forward; below reverse", threshold)
    assert found is not None, threshold
    low, high = map(int, found.groups())
    choices = {m: two_layers(m).plan.decisions[0].choice for m in (low - 1, low, high - 1, high)}
    assert choices == {low - 1: "reverse", low: "composed", high - 1: "composed", high: "forward"}
    assert "composed" in two_layers(high).plan.decisions[0].threshold


@pytest.mark.parametrize("seed", range(4))
def test_random_graphs_are_never_worse_than_the_better_uniform_mode(seed: int) -> None:
    """By the cost model, and counted in the graphs that are made (the value and local partials come on top)."""
    generator = np.random.default_rng(seed)
    g = ga.Graph("random_dag")
    widths = [int(w) for w in generator.choice([1, 2, 7, 30, 60], size=6)]
    x = g.input("x", shape=widths[0])
    values, total = [x], 0
    for number, width in enumerate(widths[1:]):
        parts = [v for v in values if generator.random() < 0.5] or [values[-1]]
        layers = [g.const(generator.normal(size=(width, v.shape[0]))) @ np.tanh(v) for v in parts]
        total += sum(width * v.shape[0] for v in parts)
        values.append(np.sin(sum(layers[1:], layers[0])) * (number + 1.0))
    g.output("y", values[-1] + values[-1] ** 2)
    plan = ga.jacobian(g, tier="interpreted", sparse=False)
    modes: tuple[Mode, ...] = ("forward", "reverse")
    uniform = [ga.jacobian(g, mode=mode, tier="interpreted", sparse=False) for mode in modes]
    counted = min(graph_multiplications(f.optimized) for f in uniform)
    assert graph_multiplications(plan.optimized) <= counted + total + 10 * sum(widths)
    point = generator.normal(size=widths[0])
    np.testing.assert_allclose(plan(point), uniform[1](point), rtol=1e-10, atol=1e-12)
