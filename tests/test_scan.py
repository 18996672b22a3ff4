"""`scan`, `fori_loop`, `while_loop`, `cond`, `map`: values and derivatives against closed forms and complex steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import graphad as ga
from graphad.interpret import interpret
from graphad.ir.graph import Graph
from graphad.ir.text import from_text, to_text
from graphad.ir.verify import verify
from passes.pipeline import run_pipeline

T = ga.transform
STEP = 1e-30
RNG = np.random.default_rng(3)


def both(graph: Graph, **values: Any) -> dict[str, Any]:
    """The interpreted results, which the passes do not change; the graph is right and survives as text."""
    verify(graph.freeze())
    assert from_text(to_text(graph)) == graph
    results = interpret(graph, **values)
    after = verify(run_pipeline(graph)[0])
    for name, value in interpret(after, **values).items():
        small = 1e-14 * (1.0 + np.max(np.abs(value), initial=0))
        np.testing.assert_allclose(value, results[name], rtol=1e-12, atol=small)
    return results


def slopes(fn: Callable[..., Any], *points: Any) -> list[Any]:
    """The gradient of a NumPy function of arrays by complex steps."""
    found = []
    for k, point in enumerate(points):
        flat = np.asarray(point, float)
        gradient = np.zeros(flat.shape)
        for place in np.ndindex(*flat.shape):
            moved = flat.astype(complex)
            moved[place] += 1j * STEP
            gradient[place] = fn(*points[:k], moved, *points[k + 1 :]).imag / STEP
        found.append(gradient)
    return found


# ---------------------------------------------------------------------- Lorenz


def lorenz(stack: Callable[..., Any], s: Any, p: Any) -> Any:
    x, y, z = s[0], s[1], s[2]
    return stack([p[0] * (y - x), x * (p[1] - z) - y, x * y - p[2] * z])


def runge_kutta(stack: Callable[..., Any], s: Any, dt: Any, p: Any) -> Any:
    k1 = lorenz(stack, s, p)
    k2 = lorenz(stack, s + dt / 2 * k1, p)
    k3 = lorenz(stack, s + dt / 2 * k2, p)
    k4 = lorenz(stack, s + dt * k3, p)
    return s + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def lorenz_graph() -> Graph:
    """A loss of the last state and of the first coordinate at all times."""
    g = ga.Graph("lorenz")
    s, dt, p, forcing = g.input("s", 3), g.input("dt"), g.input("p", 3), g.input("forcing", "n")

    def step(s: Any, push: Any) -> Any:
        new = runge_kutta(np.stack, s, dt, p) + push
        return new, new[0]

    last, xs = ga.scan(step, s, forcing)
    g.output("loss", (last**2).sum() + np.sin(xs).sum())
    return g


def lorenz_loss(s: Any, dt: Any, p: Any, forcing: Any) -> Any:
    total = 0.0
    for push in forcing:
        s = runge_kutta(np.array, s, dt, p) + push
        total = total + np.sin(s[0])
    return (s**2).sum() + total


POINT = {
    "s": np.array([1.0, 1.0, 1.0]), "dt": np.array(0.01), "p": np.array([10.0, 28.0, 8 / 3]),
    "forcing": 0.1 * RNG.normal(size=8),
}  # fmt: skip
DOTS = {f"{name}_dot": RNG.normal(size=value.shape) for name, value in POINT.items()}


def test_lorenz_gradients() -> None:
    results = both(T.value_and_grad(lorenz_graph()), **POINT)
    np.testing.assert_allclose(results["loss"], lorenz_loss(*POINT.values()))
    exact = slopes(lorenz_loss, *POINT.values())
    for name, slope in zip(POINT, exact, strict=True):
        np.testing.assert_allclose(results[f"dloss_d{name}"], slope, rtol=1e-12)
    tangent = both(T.jvp(lorenz_graph()), **POINT, **DOTS)["loss_dot"]
    np.testing.assert_allclose(tangent, sum((a * b).sum() for a, b in zip(exact, DOTS.values(), strict=True)))


def second_orders(graph: Graph, point: dict[str, Any], dots: dict[str, Any], loss: str) -> list[dict[str, Any]]:
    """The Hessian times a vector in three ways, and the vector's product with it in the fourth."""
    names = list(point)
    over_reverse = both(T.hvp(graph, names, loss), **point, **dots)
    first = [over_reverse[f"Hv_{name}"] for name in names]
    pushed = T.jvp(graph, names, loss)
    over_forward = both(T.vjp(pushed, names, f"{loss}_dot"), **point, **dots, **{f"{loss}_dot_bar": 1.0})
    second = [over_forward[f"{name}_bar"] for name in names]
    bars = {f"d{loss}_d{name}_bar": dots[f"{name}_dot"] for name in names}
    twice_back = both(T.vjp(T.grad(graph, names, loss), names), **point, **bars)
    third = [twice_back[f"{name}_bar"] for name in names]
    again = {f"{name}_dot_2": dots[f"{name}_dot"] for name in names}
    twice_on = both(T.jvp(pushed, names, f"{loss}_dot"), **point, **dots, **again)
    product = twice_on[f"{loss}_dot_dot"]
    assert np.allclose(product, sum((v * d).sum() for v, d in zip(first, dots.values(), strict=True)), rtol=1e-10)
    return [dict(zip(names, found, strict=True)) for found in (first, second, third)]


def test_lorenz_second_orders_agree() -> None:
    first, *others = second_orders(lorenz_graph(), POINT, DOTS, "loss")
    for other in others:
        for name, value in first.items():
            np.testing.assert_allclose(other[name], value, rtol=1e-10)


# ---------------------------------------------------------------------- forms


class State(NamedTuple):
    position: Any
    speed: Any


@pytest.mark.parametrize("reverse", [False, True])
def test_states_of_any_structure(reverse: bool) -> None:
    g = ga.Graph("pendulum")
    angle, push = g.input("angle"), {"force": g.input("force", "n"), "drag": g.input("drag", "n")}

    def step(state: State, x: dict[str, Any]) -> tuple[State, tuple[Any, list[Any]]]:
        speed = state.speed - 0.1 * np.sin(state.position["angle"]) + x["force"] - x["drag"] * state.speed
        return State({"angle": state.position["angle"] + 0.1 * speed}, speed), (speed, [state.position["angle"]])

    last, (speeds, [angles]) = ga.scan(step, State({"angle": angle}, 0), push, reverse=reverse)
    g.output("last", last.position["angle"])
    g.output("speeds", speeds)
    g.output("angles", angles)
    force, drag = RNG.normal(size=5), RNG.uniform(size=5)
    results = both(g, angle=1.0, force=force, drag=drag)
    a, v, rows = 1.0, 0.0, []
    for f, d in list(zip(force, drag, strict=True))[:: -1 if reverse else 1]:
        v, before = v - 0.1 * np.sin(a) + f - d * v, a
        a = a + 0.1 * v
        rows.append((v, before))
    rows = rows[:: -1 if reverse else 1]
    np.testing.assert_allclose(results["last"], a)
    np.testing.assert_allclose(results["speeds"], [row[0] for row in rows])
    np.testing.assert_allclose(results["angles"], [row[1] for row in rows])


def test_prefix_sums_and_their_transpose() -> None:
    g = ga.Graph("sums")
    x, w = g.input("x", ("n", 2)), g.input("w", ("n", 2))
    _, running = ga.scan(lambda c, row: (c + row, c + row), np.zeros(2), x)
    g.output("y", (w * running).sum())
    values = {"x": RNG.normal(size=(4, 2)), "w": RNG.normal(size=(4, 2))}
    gradient = both(T.grad(g, "x"), **values)["dy_dx"]
    np.testing.assert_allclose(gradient, np.cumsum(values["w"][::-1], axis=0)[::-1])


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_a_power_by_a_loop(steps: int) -> None:
    g = ga.Graph("power")
    x = g.input("x")
    g.output("y", ga.fori_loop(0, "n", lambda i, y: y * x, 1.0 * x))
    g.output("z", x * g.apply("size_of", size=g.size("n")).astype("float64"))
    g.input("t", "n")
    values = {"x": 1.5, "t": np.zeros(steps)}
    assert interpret(g, **values)["y"] == pytest.approx(1.5 ** (steps + 1))
    assert both(T.grad(g, "x", "y"), **values)["dy_dx"] == pytest.approx((steps + 1) * 1.5**steps)
    assert both(T.hvp(g, "x", "y"), **values, x_dot=1.0)["Hv_x"] == pytest.approx(
        steps * (steps + 1) * 1.5 ** (steps - 1)
    )


def test_bounds_of_loops() -> None:
    g = ga.Graph("bounds")
    x, low, high = g.input("x"), g.input("low", dtype="int64"), g.input("high", dtype="int64")
    g.output("static", ga.fori_loop(2, 5, lambda i, s: s + i * x, 0, graph=g))
    g.output("dynamic", ga.fori_loop(low, high, lambda i, s: s + i * x, 0))
    g.output("none", ga.fori_loop(3, 1, lambda i, s: s * x, x))
    results = both(g, x=2.0, low=2, high=5)
    assert [float(v) for v in results.values()] == [18.0, 18.0, 2.0]
    assert both(T.grad(g, "x", "dynamic"), x=2.0, low=2, high=5)["ddynamic_dx"] == 9.0


def test_newton_by_a_while_loop() -> None:
    g = ga.Graph("cube_root")
    a = g.input("a")
    x = ga.while_loop(lambda x: np.abs(x**3 - a) > 1e-14 * a, lambda x: x - (x**3 - a) / (3 * x**2), a / 2)
    g.output("x", x)
    assert both(g, a=27.0)["x"] == pytest.approx(3.0)
    assert both(T.grad(g), a=27.0)["dx_da"] == pytest.approx(1 / 27, rel=1e-9)
    assert both(T.jvp(g), a=27.0, a_dot=2.0)["x_dot"] == pytest.approx(2 / 27, rel=1e-9)
    assert both(T.hvp(g), a=27.0, a_dot=1.0)["Hv_a"] == pytest.approx(-2 / 9 * 27 ** (-5 / 3), rel=1e-7)


def test_a_loop_that_does_not_run() -> None:
    g = ga.Graph("idle")
    x = g.input("x", "n")
    g.output("y", ga.while_loop(lambda s: s.sum() > 100.0, lambda s: 0.5 * s, x * x).sum())
    assert list(both(T.grad(g), x=[1.0, 2.0])["dy_dx"]) == [2.0, 4.0]


def test_branches() -> None:
    g = ga.Graph("branch")
    x, k = g.input("x"), g.input("k", "n")
    y, count = ga.cond(x > 0.0, lambda a: (np.sqrt(a) * k.sum(), 1), lambda a: (0.0, 0), x)
    g.output("y", y)
    g.output("count", count)
    for at, value, slope, count_ in ((4.0, 6.0, 0.75, 1), (-4.0, 0.0, 0.0, 0)):
        results = both(T.value_and_grad(g, "x", "y"), x=at, k=[1.0, 2.0])
        assert (results["y"], results["dy_dx"]) == (value, slope)
        assert interpret(g, at, [1.0, 2.0])["count"] == count_
    # Behind the branch that is not taken lies sqrt of a negative number, which does not reach the derivative.
    assert both(T.hvp(g, ["x", "k"], "y"), x=-4.0, k=[1.0, 2.0], x_dot=1.0, k_dot=[1.0, 1.0])["Hv_x"] == 0.0
    hvp = both(T.hvp(g, ["x", "k"], "y"), x=4.0, k=[1.0, 2.0], x_dot=1.0, k_dot=[1.0, 1.0])
    assert hvp["Hv_x"] == pytest.approx(-3 / 32 + 0.5)


def test_a_constant_predicate_chooses_at_once() -> None:
    x = ga.Graph("f").input("x")
    assert ga.cond(True, lambda v: v, lambda v: 1 / 0, x) is x


def test_map_and_what_it_uses_from_outside() -> None:
    g = ga.Graph("rows")
    x, w = g.input("x", ("n", 3)), g.input("w", 3)
    g.output("y", ga.map(lambda row: np.exp(row @ w), x).sum())
    values = {"x": RNG.normal(size=(4, 3)), "w": RNG.normal(size=3)}
    gradient = both(T.grad(g), **values)
    e = np.exp(values["x"] @ values["w"])
    np.testing.assert_allclose(gradient["dy_dw"], e @ values["x"])
    np.testing.assert_allclose(gradient["dy_dx"], e[:, None] * values["w"])


def test_integers_in_the_state_carry_no_derivative() -> None:
    g = ga.Graph("counted")
    x = g.input("x")

    def step(state: Any, _: Any) -> Any:
        total, count, even = state
        return (np.where(even, total * x, total + x), count + 1, ~even), count

    (total, count, _), counts = ga.scan(step, (1.0, 0, g.const(True)), length=4, graph=g)
    g.output("total", total)
    g.output("count", count)
    g.output("counts", counts)
    results = both(g, x=3.0)
    assert (results["total"], results["count"]) == (2 * 3**2 + 3, 4)
    assert list(results["counts"]) == [0, 1, 2, 3]
    assert both(T.grad(g, "x", "total"), x=3.0)["dtotal_dx"] == 4 * 3 + 1  # the total is 2x² + x


def test_loops_in_loops_in_branches() -> None:
    g = ga.Graph("nested")
    x, m = g.input("x"), g.input("m", ("n", "k"))

    def inner(total: Any, v: Any) -> Any:
        return ga.cond(v > 0.0, lambda t: t * np.cos(v * x), lambda t: t + x * x, total), None

    def outer(total: Any, row: Any) -> Any:
        new, _ = ga.scan(inner, total, row)
        settled = ga.while_loop(lambda s: s > 1.5, lambda s: 0.5 * s * x, new)
        return settled, settled

    last, ys = ga.scan(outer, x, m)
    g.output("y", last + (ys**2).sum())

    def plain(x: Any, m: Any) -> Any:
        total, squares = x, 0.0
        for row in m:
            for v in row:
                total = total * np.cos(v * x) if v.real > 0 else total + x * x
            while total.real > 1.5:
                total = 0.5 * total * x
            squares = squares + total**2
        return total + squares

    values = {"x": 0.9, "m": RNG.normal(size=(3, 4))}
    results = both(T.value_and_grad(g, ["x", "m"]), **values)
    exact = slopes(lambda a, b: plain(a, b), np.array(0.9), values["m"])
    np.testing.assert_allclose(results["y"], plain(0.9, values["m"]))
    np.testing.assert_allclose(results["dy_dx"], exact[0], rtol=1e-12)
    np.testing.assert_allclose(results["dy_dm"], exact[1], rtol=1e-10, atol=1e-14)


# ---------------------------------------------------------------------- a simulation inside a descent


def tuned() -> Graph:
    """Gradient descent on a setting of a simulation that runs until it is at rest; differentiated as a whole."""
    sim = ga.Graph("sim")
    k, target = sim.input("k"), sim.input("target")
    start = (sim.const(0.0), sim.const(1.0))

    def step(state: Any) -> Any:
        x, v = state
        return x + 0.2 * v, v * (1.0 - 0.3 * k) - 0.02 * np.sin(x)

    rest, _ = ga.while_loop(lambda state: np.abs(state[1]) > 0.05, step, start)
    sim.output("error", (rest - target) ** 2)
    slope = T.grad(sim, "k")
    g = ga.Graph("tuned")
    k0, target, rate = g.input("k0"), g.input("target"), g.input("rate")
    k, path = ga.scan(lambda k, _: (k - rate * slope(k, target), k), k0, length=4)
    g.output("final", k * k + path.sum())
    return g


def test_a_derivative_of_a_descent_on_a_simulation() -> None:
    point = {"k0": np.array(1.1), "target": np.array(0.7), "rate": np.array(0.3)}
    dots = {"k0_dot": np.array(0.7), "target_dot": np.array(-0.4), "rate_dot": np.array(1.3)}
    first, *others = second_orders(tuned(), point, dots, "final")
    for other in others:
        for name, value in first.items():
            np.testing.assert_allclose(other[name], value, rtol=1e-10)
    gradient = T.grad(tuned())
    step = 1e-5
    for name in point:
        moved = [interpret(gradient, **{k: v + s * dots[f"{k}_dot"] for k, v in point.items()}) for s in (step, -step)]
        slope = (moved[0][f"dfinal_d{name}"] - moved[1][f"dfinal_d{name}"]) / (2 * step)
        np.testing.assert_allclose(first[name], slope, rtol=1e-7)


def test_functions_that_answer_nothing_make_no_node() -> None:
    g = ga.Graph("nothing")
    x = g.input("x", "n")
    assert ga.scan(lambda c, v: (None, ()), None, x) == (None, ())
    assert ga.cond(x.sum() > 0.0, lambda: None, lambda: None) is None
    assert all(node.type.dtype != "tuple" for node in g.nodes)
