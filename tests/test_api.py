"""The public functions: compiled derivatives against SciPy and finite differences, their packing, plan and report."""

from __future__ import annotations

import ast
import pickle
import timeit
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import rosen, rosen_der, rosen_hess, rosen_hess_prod

import graphad as ga
from graphad.compile import CompiledFunction
from graphad.errors import ArgumentError, DifferentiationError, GraphadError
from graphad.ir.graph import Graph
from graphad.ir.operation import FUNCTIONS
from graphad.ir.types import TensorType
from graphad.plan.modes import choose_mode
from passes.base import Pass
from passes.dead import DeadCode


def rosenbrock() -> Graph:
    g = ga.Graph("rosenbrock")
    x = g.input("x", shape="n")
    g.output("y", (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum())
    return g


def layer() -> Graph:
    """Two inputs, two outputs."""
    g = ga.Graph("layer")
    w, b = g.input("W", shape=("m", "n"), hint={"m": 4, "n": 3}), g.input("b", shape="m")
    h = np.tanh((w * w).sum(axis=1) + b)
    g.output("h", h)
    g.output("loss", (h * h).sum())
    return g


def close(found: Any, expected: Any) -> None:
    """Equal to 1e-12 of the norm."""
    error = np.linalg.norm(np.ravel(np.asarray(found) - np.asarray(expected)))
    assert error <= 1e-12 * np.linalg.norm(np.ravel(expected))


W = np.linspace(-1.0, 1.0, 12).reshape(4, 3)
B = np.array([0.1, -0.2, 0.3, 0.4])


def layer_jacobians() -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """h, dh/dW and dh/db by hand."""
    h = np.tanh((W * W).sum(axis=1) + B)
    slope = 1 - h * h
    rows = np.eye(4) * slope
    return h, rows[:, :, None] * (2 * W)[None], rows


# ---------------------------------------------------------------------- against SciPy


@pytest.fixture(scope="module")
def compiled() -> dict[str, CompiledFunction]:
    g = rosenbrock()
    names = ("compile", "grad", "value_and_grad", "hessian", "hvp", "jvp", "vjp", "jacobian")
    return {name: getattr(ga, name)(g) for name in names}


@pytest.mark.parametrize("n", [2, 10, 1000])
def test_rosenbrock(compiled: dict[str, CompiledFunction], n: int) -> None:
    rng = np.random.default_rng(n)
    x, v = rng.uniform(-1, 1, n), rng.normal(size=n)
    close(compiled["compile"](x), rosen(x))
    close(compiled["grad"](x), rosen_der(x))
    close(compiled["hvp"](x, v), rosen_hess_prod(x, v))
    close(compiled["hessian"](x), rosen_hess(x))
    close(compiled["jacobian"](x), rosen_der(x))
    value, gradient = compiled["value_and_grad"](x)
    close(value, rosen(x))
    close(gradient, rosen_der(x))
    value, tangent = compiled["jvp"](x, v)
    close(tangent, rosen_der(x) @ v)
    value, gradient = compiled["vjp"](x, 3.0)
    close(gradient, 3 * rosen_der(x))


# ---------------------------------------------------------------------- packing


def test_several_inputs_and_outputs() -> None:
    g = layer()
    h, dh_dw, dh_db = layer_jacobians()
    both = ga.compile(g)(W, B)
    assert type(both).__name__ == "layer"
    close(both.h, h)
    gradient = ga.grad(g, of="loss")(W, B)
    close(gradient.W, 2 * np.einsum("i,ijk->jk", h, dh_dw))
    close(gradient.b, 2 * h @ dh_db)
    alone = ga.grad(g, wrt="b", of="loss")(W, B)
    close(alone, gradient.b)
    listed = ga.grad(g, wrt=["b"], of="loss")(W, B)
    assert listed._fields == ("b",)
    swapped = ga.grad(g, wrt=["b", "W"], of="loss")(W, B)
    assert swapped._fields == ("b", "W")


@pytest.mark.parametrize("mode", [None, "forward", "reverse"])
def test_jacobians(mode: Any) -> None:
    g = layer()
    h, dh_dw, dh_db = layer_jacobians()
    blocks = ga.jacobian(g, mode=mode)(W, B)
    assert blocks._fields == ("h", "loss")
    close(blocks.h.W, dh_dw)
    close(blocks.h.b, dh_db)
    close(blocks.loss.b, 2 * h @ dh_db)
    close(ga.jacobian(g, wrt="b", of="h", mode=mode)(W, B), dh_db)


def test_products_by_name() -> None:
    g = layer()
    h, dh_dw, dh_db = layer_jacobians()
    value, tangent = ga.jvp(g, wrt="b", of="h")(W, B, b_dot=np.ones(4))
    close(value, h)
    close(tangent, dh_db @ np.ones(4))
    value, gradients = ga.vjp(g, of=["h"])(W, B, h_bar=h)
    assert value._fields == ("h",)
    close(gradients.W, np.einsum("i,ijk->jk", h, dh_dw))


def test_hessian_blocks() -> None:
    g = ga.Graph("bilinear")
    a, b = g.input("a", shape=2), g.input("b", shape=3)
    g.output("y", (a * a).sum() * b.sum())
    blocks = ga.hessian(g)(np.array([1.0, 2.0]), np.ones(3))
    close(blocks.a.a, 6 * np.eye(2))
    close(blocks.a.b, 2 * np.array([[1.0], [2.0]]) * np.ones(3))
    close(blocks.b.a, blocks.a.b.T)
    assert np.array_equal(blocks.b.b, np.zeros((3, 3)))
    assert pickle.loads(pickle.dumps(blocks)).a.b.shape == (2, 3)
    product = ga.hvp(g, wrt=["a", "b"])(np.array([1.0, 2.0]), np.ones(3), np.ones(2), np.zeros(3))
    close(product.b, 6 * np.ones(3))


def test_orders_nest() -> None:
    g = ga.Graph("fourth")
    x = g.input("x")
    g.output("y", x**6)
    third = ga.transform.grad(ga.transform.grad(g))
    assert ga.value_and_grad(third)(2.0) == (30 * 16.0, 120 * 8.0)
    assert ga.hessian(third)(2.0) == 360 * 4.0


def test_a_graph_in_a_graph() -> None:
    inner = ga.transform.grad(rosenbrock())
    g = ga.Graph("outer")
    x = g.input("x", shape="n")
    g.output("y", (inner(x=2.0 * x) ** 2).sum())
    point = np.array([0.3, -0.2, 0.5])
    expected = 4 * rosen_hess(2 * point) @ rosen_der(2 * point)
    close(ga.grad(g)(point), expected)


# ---------------------------------------------------------------------- modes, plan, report


def test_modes_by_counts() -> None:
    g = ga.Graph("wide")
    x = g.input("x", shape="n", hint=10)
    g.output("few", x.reshape(-1)[:3] * 2.0)
    g.output("many", x[:, None] * x)
    few, many = choose_mode(g, ["x"], ["few"]), choose_mode(g, ["x"], ["many"])
    assert (few.choice, many.choice) == ("reverse", "forward")
    assert many.reason == "n = 10 input elements < n*n = 100 output elements"
    assert many.threshold == "reverse once n >= n*n"
    assert few.reason == "n = 10 input elements > 3 output elements"
    assert few.threshold == "forward once n < 3"
    asked = choose_mode(g, ["x"], ["many"], "reverse")
    assert (asked.choice, asked.reason) == ("reverse", "mode='reverse' was asked for")
    assert [a.value for a in many.alternatives] == [10, 100]


def test_sizes_without_a_hint_are_named() -> None:
    g = ga.Graph("unknown")
    x = g.input("x", shape="n")
    g.output("y", x * x)
    assert "n=1000 assumed" in choose_mode(g, ["x"], ["y"]).reason


def test_explain() -> None:
    g = ga.Graph("outer")
    x = g.input("x", shape="n", hint=20)
    g.output("y", (x[1:, None] * x) / x.sum())
    f = ga.jacobian(g)
    text = f.explain()
    parts = ("outer_jacobian", "float64[n]", "dy_dx", "forward", "n = 20 input elements < ", "1 <= n", "test_api.py")
    for part in parts:
        assert part in text
    assert "passes" not in text.split("after passes")[1]
    with_passes = f.explain(passes=True)
    for part in ("-> nodes", "-> flops", "simplify", "cse"):
        assert part in with_passes
    assert max(map(len, f.explain(passes=True, width=72).splitlines())) <= 72
    assert "reverse" in ga.grad(rosenbrock()).explain()


def test_passes_of_the_users_own() -> None:
    seen: list[str] = []

    @dataclass(frozen=True)
    class Watch(Pass):
        def run(self, graph: Graph) -> Graph:
            seen.append(graph.name)
            return graph

    g = rosenbrock()
    f = ga.grad(g, passes=(Watch(), DeadCode()))
    assert seen == ["rosenbrock", "rosenbrock_grad"]  # before and after it is differentiated
    close(f(np.array([0.5, 0.2])), rosen_der(np.array([0.5, 0.2])))
    assert [s.name for s in f.statistics] == ["test_api", "dead"]
    none = ga.grad(g, passes=())
    assert none.optimized == none.graph
    close(none(np.array([0.5, 0.2])), rosen_der(np.array([0.5, 0.2])))


def test_stages_can_be_read() -> None:
    f = ga.grad(rosenbrock())
    assert list(f.graph.outputs) == ["dy_dx"]
    assert len(f.optimized.nodes) < len(f.graph.nodes)
    ast.parse(f.source)
    assert f.plan.decisions[0].choice == "reverse"
    ga_interpreted = ga.interpret(f.graph, np.array([0.5, 0.2]))["dy_dx"]
    close(f(np.array([0.5, 0.2])), ga_interpreted)
    out = np.empty(2)
    assert f.kernel(np.array([0.5, 0.2]), out) is None
    close(out, ga_interpreted)


def test_source_runs_without_graphad(tmp_path: Path) -> None:
    f = ga.value_and_grad(rosenbrock())
    namespace: dict[str, Any] = {"__name__": "standalone"}
    exec(compile(f.source.replace("cache=True", "cache=False"), "standalone.py", "exec"), namespace)
    _, gradient = namespace[f.generated.function](np.array([0.5, 0.2]))
    close(gradient, rosen_der(np.array([0.5, 0.2])))


def test_checked_call_is_cheap() -> None:
    g = ga.Graph("tiny")
    x = g.input("x", shape=2)
    g.output("y", x[0] ** 2 * x[1] + np.sin(x[1]))
    f, point, out = ga.grad(g), np.array([1.0, 2.0]), np.empty(2)
    kernel = f.kernel

    def best(call: Any) -> float:
        return min(timeit.repeat(call, number=2000, repeat=15)) / 2000

    # 0.6 µs on a quiet machine; the bound has room for a busy one and none for a second pass over the arguments.
    assert best(lambda: f(point)) - best(lambda: kernel(point, out)) < 4e-6


# ---------------------------------------------------------------------- trace and the public names


def test_trace() -> None:
    def model(w: Any, x: Any, scale: float = 2.0) -> Any:
        return {"loss": ((x @ w) ** 2).mean() * scale, "norm": np.sqrt((w * w).sum())}

    g = ga.trace(model, w="p", x=("n", "p"))
    assert repr(g) == "<graph model(w: float64[p], x: float64[n, p]) -> loss, norm; " + f"{len(g.nodes)} nodes>"
    w, x = np.array([1.0, 2.0]), np.eye(2)
    close(ga.compile(g)(w, x).loss, 5.0)
    scaled = ga.trace(model, w="p", x=("n", "p"), scale=())
    close(ga.grad(scaled, wrt="scale", of="loss")(w, x, 1.0), 2.5)


def test_trace_specifications() -> None:
    def f(a: Any, b: Any, c: Any, d: Any, e: Any) -> Any:
        return a + b, c, d * e

    g = ga.trace(
        f, a=("n", "float32"), b=TensorType("float32", (3,)), c=np.zeros((2, 2), np.int32), d=2.0,
        e=(("n", 3), "float64"),
    )  # fmt: skip
    kinds = [str(g.nodes[i].type) for i in g.inputs.values()]
    assert kinds == ["float32[n]", "float32[3]", "int32[2, 2]", "float64[]", "float64[n, 3]"]
    assert list(g.outputs) == ["y0", "y1", "y2"]
    assert list(ga.trace(lambda x: x + 1.0, x=()).outputs) == ["y"]


def test_builder_functions_are_public() -> None:
    hidden = {"getitem", "trace"}
    own = "graphad.ops.custom"  # where the functions of users' operations are made
    names = {n for n, f in FUNCTIONS.items() if not (n in hidden or n.startswith("scatter_") or f.__module__ == own)}
    assert sorted(names - set(ga.__all__)) == []
    for name in sorted(names):
        assert getattr(ga, name) is FUNCTIONS[name]
    assert len(set(ga.__all__)) == len(ga.__all__)


def test_every_public_function_has_a_docstring() -> None:
    missing = [n for n in ga.__all__ if callable(getattr(ga, n)) and not getattr(ga, n).__doc__]
    assert missing == []


def test_wrong_options() -> None:
    g = rosenbrock()
    with pytest.raises(ArgumentError, match="mode='sideways'"):
        ga.jacobian(g, mode="sideways")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="wrt=`z`"):
        ga.grad(g, wrt="z")
    with pytest.raises(GraphadError, match="of=`z`"):
        ga.grad(g, of="z")
    with pytest.raises(DifferentiationError, match="a gradient is of a scalar"):
        ga.grad(layer(), of="h")


@pytest.mark.parametrize("name", ["exp", "elementary", "LN2", "ROUND", "math", "np", "kernel", "i", "FLAGS", "_fma"])
def test_names_of_the_module_may_be_names_of_the_user(name):
    g = ga.Graph(name)
    x = g.input("x", ("i", "n"))
    y = g.input("exp" if name != "exp" else "tanh", "i")
    g.output("j", (np.exp(x) * np.tanh(y)[:, None]).sum(axis=1))
    values = np.linspace(0.0, 1.0, 6).reshape(3, 2)
    result = ga.compile(g)(values, values[:, 0])
    np.testing.assert_allclose(result, (np.exp(values) * np.tanh(values[:, :1])).sum(axis=1), rtol=1e-14)
