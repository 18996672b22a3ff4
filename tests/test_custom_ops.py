"""Operations of the user's own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numba
import numpy as np
import pytest

import graphad as ga
from graphad.compile import compile_graph
from graphad.errors import ArgumentError, DifferentiationError, GraphError, ShapeError
from graphad.interpret import interpret
from graphad.ir.operation import FUNCTIONS, OPERATIONS, NotDifferentiable, Scalar
from graphad.ops.custom import USER_FUNCTIONS, custom_derivative, elementwise
from graphad.testing import check_derivatives, check_op
from passes.inline import inline

SLOPE = 0.25
LIMITS = [0.0, 1.0]


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Every test registers its own operations and leaves the tables as they were."""
    before = [dict(table) for table in (OPERATIONS, FUNCTIONS, USER_FUNCTIONS)]  # type: ignore[attr-defined]
    yield
    for table, old in zip((OPERATIONS, FUNCTIONS, USER_FUNCTIONS), before, strict=True):
        table.clear()  # type: ignore[attr-defined]
        table.update(old)  # type: ignore[attr-defined]


def leaky(x: float) -> float:
    if x > 0.0:
        return x
    return SLOPE * x


# ---------------------------------------------------------------------- elementwise


def test_expression() -> None:
    mish = elementwise(
        "mish",
        "{0} * {tanh}({softplus}({0}))",
        lambda x: x * np.tanh(np.log1p(np.exp(x))),
        (lambda x, y: y / x + x * (1.0 - np.square(y / x)) * FUNCTIONS["sigmoid"](x),),
        domain=((0.5, 2.0),),
        analytic=True,
    )
    check_op("mish")
    graph = ga.Graph("g")
    graph.output("y", mish(graph.input("x", "n", "float32")).sum())
    assert interpret(graph, np.ones(3, np.float32))["y"].dtype == np.float32
    emission = OPERATIONS["mish"].emission
    assert isinstance(emission, Scalar)
    assert emission.functions == ("softplus", "tanh")


def test_two_operands_are_promoted_and_broadcast() -> None:
    soft = elementwise(
        "soft_distance", "math.sqrt({0} * {0} + {1} * {1} + {one})", lambda x, y: np.sqrt(x * x + y * y + 1.0),
        (lambda x, y, r: x / r, lambda x, y, r: y / r), analytic=True,
    )  # fmt: skip
    check_op("soft_distance")
    graph = ga.Graph("g")
    x = graph.input("x", ("n", 1), "int32")
    graph.output("r", soft(x, np.arange(3.0)))
    assert graph.variable("r").shape == (ga.Graph("s").size("n"), 3)


def test_function_is_its_own_reference_and_its_source_stands_alone() -> None:
    build = elementwise(
        "leaky", function=leaky, partials=(lambda x, y: np.where(x > 0.0, 1.0, SLOPE),), domain=((0.5, 2.0),)
    )
    check_op("leaky")
    graph = ga.Graph("g")
    graph.output("y", build(graph.input("x", "n")))
    np.testing.assert_array_equal(interpret(graph, [-2.0, 3.0])["y"], [-0.5, 3.0])
    assert "SLOPE" not in USER_FUNCTIONS["user_leaky"]
    module: dict[str, Any] = {}
    exec(USER_FUNCTIONS["user_leaky"], module)
    compiled = numba.njit(module["user_leaky"])
    assert [compiled(-2.0), compiled(3.0)] == [-0.5, 3.0]
    assert OPERATIONS["leaky"].emission == Scalar("user_leaky({0})", ("user_leaky",))


def test_a_compiled_function_will_do() -> None:
    @numba.njit
    def cubed_root(x: float, y: float) -> float:
        total = x
        for _ in range(3):
            total = total + math.cos(y) * np.sin(x)
        return total

    elementwise(
        "cubed_root", function=cubed_root,
        partials=(lambda x, y, r: 1.0 + 3.0 * np.cos(y) * np.cos(x), lambda x, y, r: -3.0 * np.sin(y) * np.sin(x)),
    )  # fmt: skip
    check_op("cubed_root")
    assert "njit" not in USER_FUNCTIONS["user_cubed_root"]
    assert "float" not in USER_FUNCTIONS["user_cubed_root"]


def test_no_derivative_with_a_reason() -> None:
    elementwise("steps", "np.floor({0} * {two})", lambda x: np.floor(x * 2.0), NotDifferentiable("it is a staircase"))
    check_op("steps")


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"name": "sin", "expression": "{0}"}, GraphError, "`sin` exists already"),
        ({"name": "two words", "expression": "{0}"}, GraphError, "can not name an operation"),
        ({"name": "f"}, ArgumentError, "either an expression or a function"),
        ({"name": "f", "expression": "{0}", "function": leaky}, ArgumentError, "either an expression or a function"),
        ({"name": "f", "expression": "{0} + {2}"}, ArgumentError, "without gaps"),
        ({"name": "f", "expression": "1.0"}, ArgumentError, "without gaps"),
        ({"name": "f", "expression": "{bessel}({0})"}, ArgumentError, "no function of the vector mathematics"),
        ({"name": "f", "expression": "{0} +"}, ArgumentError, "not a Python expression"),
        ({"name": "f", "expression": "{0}", "reference": None}, ArgumentError, "has no reference"),
        ({"name": "f", "expression": "{0}", "partials": ()}, ArgumentError, "differ in number"),
        ({"name": "f", "function": lambda x: x}, ArgumentError, "written with `def`"),
        ({"name": "f", "function": lambda *x: x}, ArgumentError, "a fixed number of plain parameters"),
        ({"name": "f", "function": math.sin}, ArgumentError, "can not be read"),
    ],
)
def test_what_elementwise_refuses(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        elementwise(**{"reference": np.sin, "partials": (lambda x, y: 1.0,), **arguments})
    assert words in str(caught.value)
    assert "f" not in OPERATIONS


def test_a_function_may_not_use_other_globals() -> None:
    def limited(x: float) -> float:
        return min(max(x, LIMITS[0]), LIMITS[1])

    with pytest.raises(ArgumentError, match="uses the global `LIMITS`"):
        elementwise("limited", function=limited, partials=(lambda x, y: 1.0,))


def test_wrong_number_of_operands() -> None:
    build = elementwise("same", "{0}", lambda x: x, (lambda x, y: 1.0,))
    graph = ga.Graph("g")
    x = graph.input("x")
    with pytest.raises(ArgumentError, match="`same` takes 1 operands"):
        build(x, x)


# ---------------------------------------------------------------------- derivatives by hand


def log_cosh(x: Any) -> Any:
    return np.log(np.cosh(x))


def test_rules_replace_the_derivative_in_both_modes() -> None:
    build = custom_derivative(
        "log_cosh",
        log_cosh,
        jvp=lambda args, tangents, out: tangents[0] * np.tanh(args[0]),
        vjp=lambda args, out, cotangent: cotangent * np.tanh(args[0]),
    )
    check_op("log_cosh")
    graph = ga.Graph("g")
    x = graph.input("x", "n")
    graph.output("L", (build(x) * x).sum())
    check_derivatives(graph, [0.3, 1.0, -2.0])
    # The rule works where the function's own derivative is inf/inf.
    assert interpret(ga.transform.jvp(graph, of="L"), [800.0], [1.0])["L_dot"] == math.inf
    assert "cosh" not in [n.op for n in ga.transform.grad(graph).nodes]


def test_operations_that_are_not_elementwise_batch_too() -> None:
    build = custom_derivative(
        "normalised",
        lambda x, w: (x * w) / (x * w).sum(),
        jvp=lambda args, tangents, out: tangents[0] * args[1] + tangents[1] * args[0],
        vjp=lambda args, out, cotangent: (cotangent * args[1], cotangent * args[0]),
    )
    graph = ga.Graph("g")
    x, w = graph.input("x", "n"), graph.input("w", "n")
    graph.output("y", build(build(x, w), w))
    values = np.array([1.0, 2.0, 4.0]), np.array([0.5, 1.0, 3.0])
    forward = interpret(ga.transform.jacobian(graph, "x", mode="forward"), *values)["dy_dx"]
    reverse = interpret(ga.transform.jacobian(graph, "x", mode="reverse"), *values)["dy_dx"]
    np.testing.assert_allclose(forward, np.diag(values[1] ** 2), rtol=1e-15)
    np.testing.assert_allclose(reverse, forward, rtol=1e-15)


def test_a_linear_operation_applied_to_tangents_is_batched_as_its_own_operations() -> None:
    """The rule applies the operation to its tangent, so that Jacobians batch the operation itself."""

    def centred(x: Any) -> Any:
        return x - 2.0 * x.sum()

    build = custom_derivative(
        "centred",
        centred,
        jvp=lambda args, tangents, out: build(tangents[0]),
        vjp=lambda args, out, cotangent: build(cotangent),
    )
    check_op("centred")
    graph = ga.Graph("g")
    graph.output("y", build(graph.input("x", "n")))
    for mode in ("forward", "reverse"):
        jacobian = interpret(ga.transform.jacobian(graph, mode=mode), np.arange(3.0))["dy_dx"]
        np.testing.assert_array_equal(jacobian, np.eye(3) - 2.0)


def test_emission_by_the_functions_own_operations() -> None:
    build = custom_derivative("twice", lambda x: x + x, vjp=lambda args, out, cotangent: 2.0 * cotangent)
    graph = ga.Graph("g")
    graph.output("y", build(graph.input("x", "n")))
    graph.freeze()
    assert [n.op for n in inline(graph).nodes] == ["input", "add"]
    assert interpret(graph, [1.0, 2.0])["y"].tolist() == interpret(inline(graph), [1.0, 2.0])["y"].tolist()


def test_sizes_are_checked_and_shapes_may_change() -> None:
    build = custom_derivative(
        "weighted",
        lambda x, w: (x * w).sum(),
        vjp=lambda args, out, cotangent: (cotangent * args[1], None),
    )
    graph = ga.Graph("g")
    graph.output("y", build(graph.input("x", "n"), graph.input("w", "m")))
    assert graph.variable("y").shape == ()
    with pytest.raises(ShapeError, match="`weighted`"):
        interpret(graph, [1.0, 2.0], [1.0])
    assert interpret(ga.transform.grad(graph, "x"), [1.0, 2.0], [3.0, 4.0])["dy_dx"].tolist() == [3.0, 4.0]
    with pytest.raises(DifferentiationError, match="does not depend on `w`"):
        ga.transform.grad(graph, "w")


def test_one_rule_serves_one_mode() -> None:
    only_vjp = custom_derivative("only_vjp", lambda x: x, vjp=lambda args, out, cotangent: cotangent)
    only_jvp = custom_derivative("only_jvp", lambda x: x, jvp=lambda args, tangents, out: tangents[0])
    graph = ga.Graph("g")
    x = graph.input("x")
    graph.output("y", only_vjp(x))
    graph.output("z", only_jvp(x))
    assert interpret(ga.transform.grad(graph, of="y"), 1.0) == {"dy_dx": 1.0}
    assert interpret(ga.transform.jvp(graph, of="z"), 1.0, 1.0)["z_dot"] == 1.0
    with pytest.raises(DifferentiationError, match="`only_vjp` has no rule for forward mode") as caught:
        ga.transform.jvp(graph, of="y")
    assert "test_custom_ops.py" in str(caught.value)
    with pytest.raises(DifferentiationError, match="`only_jvp` has no rule for reverse mode"):
        ga.transform.grad(graph, of="z")


@pytest.mark.parametrize(
    ("fn", "rules", "words"),
    [
        (lambda x: x, {}, "has no rule"),
        (lambda *x: x[0], {"vjp": lambda a, y, ct: ct}, "a fixed number of plain parameters"),
        (lambda: 1.0, {"vjp": lambda a, y, ct: ct}, "a fixed number of plain parameters"),
    ],
)
def test_what_custom_derivative_refuses(fn: Any, rules: dict[str, Any], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        custom_derivative("refused", fn, **rules)
    assert "refused" not in OPERATIONS


def test_answers_of_the_wrong_form() -> None:
    pair = custom_derivative("pair", lambda x: (x, x), vjp=lambda a, y, ct: ct)
    wrong_count = custom_derivative("wrong_count", lambda x, w: x * w, vjp=lambda a, y, ct: (ct,))
    wrong_shape = custom_derivative("wrong_shape", lambda x: x.sum(), vjp=lambda a, y, ct: np.zeros(7) + ct)
    graph = ga.Graph("g")
    x = graph.input("x", 3)
    with pytest.raises(ArgumentError, match="answers one variable"):
        pair(x)
    graph.output("y", wrong_count(x, x).sum())
    graph.output("z", wrong_shape(x))
    with pytest.raises(ArgumentError, match="2 cotangents"):
        ga.transform.grad(graph, of="y")
    with pytest.raises(ShapeError, match="the vjp rule of `wrong_shape`"):
        ga.transform.grad(graph, of="z")


# ---------------------------------------------------------------------- compiled


def test_both_kinds_are_compiled() -> None:
    slope = elementwise(
        "slope", function=leaky, partials=(lambda x, y: np.where(x > 0.0, 1.0, SLOPE),), domain=((0.5, 2.0),)
    )
    bell = elementwise("bell", "{exp}(-{0} * {0})", lambda x: np.exp(-x * x), (lambda x, y: -2.0 * x * y,))
    check_op("slope", compiled=compile_graph)
    check_op("bell", compiled=compile_graph)
    squared = custom_derivative("squared", lambda x: x * x, vjp=lambda args, out, cotangent: 2.0 * args[0] * cotangent)
    graph = ga.Graph("g")
    x = graph.input("x", "n")
    graph.output("y", (slope(bell(x)) * squared(slope(x))).sum())
    values = np.array([-1.0, 0.5, 2.0])
    gradient = ga.transform.value_and_grad(graph)
    expected = interpret(gradient, values)
    for name, got in zip(expected, compile_graph(gradient)(values), strict=True):
        np.testing.assert_allclose(got, expected[name], rtol=1e-13)
