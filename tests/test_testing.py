"""The checkers themselves: a planted mistake fails its own check and no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import graphad as ga
from graphad.interpret import interpret
from graphad.ir.graph import Graph
from graphad.ir.operation import FUNCTIONS, OPERATIONS, Custom, Elementwise, Linear, Multilinear, Op, register
from graphad.ir.types import TensorType
from graphad.testing import check_derivatives, check_op, failures


@pytest.fixture
def plant() -> Iterator[Callable[..., Op]]:
    """Registers a changed copy of an operation for one test."""
    planted: list[str] = []

    def make(name: str, **changes: Any) -> Op:
        planted.append(f"planted_{name}")
        return register(replace(OPERATIONS[name], name=planted[-1], **changes))

    yield make
    for name in planted:
        del OPERATIONS[name]


def checks_failed(op: Op) -> set[str]:
    return {failure.check for failure in failures(op)}


def stop(x: Any) -> Any:
    return FUNCTIONS["stop_gradient"](x)


def test_a_copy_without_mistake_passes(plant: Callable[..., Op]) -> None:
    check_op(plant("tanh"))
    check_op(plant("einsum"))


def test_wrong_partial_fails_the_jvp_check(plant: Callable[..., Op]) -> None:
    wrong = plant("sin", derivative=Elementwise((lambda a, y: 0.99999999 * np.cos(a),)))
    assert checks_failed(wrong) == {"jvp"}
    by_differences = plant("cos", derivative=Elementwise((lambda a, y: 1e-5 - np.sin(a),)), analytic=False)
    assert checks_failed(by_differences) == {"jvp"}


def test_wrong_transpose_fails_the_transpose_check(plant: Callable[..., Op]) -> None:
    wrong = plant("neg", derivative=Custom(lambda args, t, y, p: -t[0], lambda args, y, ct, p: (ct * -1.00001,)))
    assert checks_failed(wrong) == {"transpose"}
    linear = plant("cumsum", derivative=Linear(lambda ct, args, position, params: ct))
    assert checks_failed(linear) == {"transpose"}


def test_wrong_second_derivative_fails_the_second_order_check(plant: Callable[..., Op]) -> None:
    frozen = plant("tanh", derivative=Elementwise((lambda a, y: stop(1.0 - y * y),)))
    assert checks_failed(frozen) == {"second order"}


def test_a_rule_that_confuses_equal_operands_fails_its_check(plant: Callable[..., Op]) -> None:
    def slope(a: Any, b: Any, y: Any) -> Any:
        return b if a.id != b.id else 0.5 * b

    wrong = plant("mul", derivative=Elementwise((slope, lambda a, b, y: a)))
    assert checks_failed(wrong) == {"same operand"}


def test_wrong_dtype_fails_the_value_and_float32_checks(plant: Callable[..., Op]) -> None:
    doubled = plant("sin", infer=lambda types, params: TensorType("float64", types[0].shape))
    assert checks_failed(doubled) == {"float32"}
    shapeless = plant("sum", infer=lambda types, params: TensorType("float64", ()))
    assert "value" in checks_failed(shapeless)


def test_swallowed_nan_fails_the_special_numbers_check(plant: Callable[..., Op]) -> None:
    wrong = plant("sin", reference=lambda x: np.where(np.isnan(x), np.zeros_like(x), np.sin(x)))
    assert checks_failed(wrong) == {"special numbers"}


def test_missing_operand_in_a_multilinear_rule_fails(plant: Callable[..., Op]) -> None:
    rule = OPERATIONS["einsum"].derivative
    assert isinstance(rule, Multilinear)
    wrong = plant(
        "einsum", derivative=Multilinear(lambda ct, args, k, p: rule.transpose(ct, args, k, p) * (1.0 if k else 2.0))
    )
    assert "transpose" in checks_failed(wrong)
    assert "jvp" not in checks_failed(wrong)


def test_the_message_names_operation_check_and_case(plant: Callable[..., Op]) -> None:
    wrong = plant("exp", derivative=Elementwise((lambda a, y: 2.0 * y,)))
    with pytest.raises(AssertionError) as caught:
        check_op(wrong)
    assert "operation `planted_exp` fails" in str(caught.value)
    assert "jvp, planted_exp(float64[3]): AssertionError: tangent against a complex step: error" in str(caught.value)


# ---------------------------------------------------------------------- compiled functions


def interpreted(graph: Graph) -> Callable[..., Any]:
    """The interpreter in the clothes of a compiler: one output as itself, several as a tuple."""

    def run(*args: Any) -> Any:
        found = tuple(interpret(graph, *args).values())
        return found if len(found) > 1 else found[0]

    return run


@pytest.mark.parametrize("name", ["sin", "where", "add", "sum", "gather", "cast", "iota", "polygamma"])
def test_compiled_functions_are_compared(name: str) -> None:
    check_op(name, compiled=interpreted)


def test_a_wrong_compiled_function_fails_only_its_check() -> None:
    def wrong(graph: Graph) -> Callable[..., Any]:
        run = interpreted(graph)
        return lambda *args: tuple(1.00001 * r for r in run(*args))

    assert {f.check for f in failures("sin", compiled=wrong)} == {"compiled"}


def test_a_compiled_function_that_swallows_nan_fails() -> None:
    def wrong(graph: Graph) -> Callable[..., Any]:
        run = interpreted(graph)
        return lambda *args: tuple(map(np.nan_to_num, r)) if isinstance(r := run(*args), tuple) else np.nan_to_num(r)

    assert {f.check for f in failures("sin", compiled=wrong)} == {"compiled"}


# ---------------------------------------------------------------------- graphs


def wave() -> Graph:
    graph = Graph("wave")
    x, a = graph.input("x", "n"), graph.input("a")
    graph.output("y", np.sin(a * x) * x[::-1])
    graph.output("z", (x * x).sum() + a)
    return graph


def test_derivatives_of_a_graph() -> None:
    check_derivatives(wave(), [0.3, 0.5, 1.0], 0.7, compiled=interpreted)
    check_derivatives(wave(), [0.3, 0.5, 1.0], 0.7, wrt="a", of="y", order=1)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (Elementwise((lambda a, y: 0.99 * np.cos(a),)), "tangent of `y` against differences"),
        (Elementwise((lambda a, y: stop(np.cos(a)),)), "second derivative of `x`"),
        (
            Custom(lambda args, t, y, p: t[0] * np.cos(args[0]), lambda args, y, ct, p: (ct * 1.01 * np.cos(args[0]),)),
            "not the transpose of forward mode",
        ),
    ],
)
def test_a_wrong_rule_in_a_graph_is_found(plant: Callable[..., Op], rule: Any, message: str) -> None:
    plant("sin", derivative=rule)
    graph = ga.Graph("wrong")
    x = graph.input("x", "n")
    graph.output("y", graph.apply("planted_sin", x) * x)
    with pytest.raises(AssertionError, match=message):
        check_derivatives(graph, [0.3, 0.5, 1.0])
