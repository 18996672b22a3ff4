"""Every rewrite of the table fires where it should, keeps values, and stays away where it must."""

import numpy as np
import pytest

from graphad.ad import transform
from graphad.errors import ShapeError
from graphad.interpret import interpret
from graphad.ir.graph import Graph
from graphad.ir.text import to_text
from graphad.ir.variable import Variable
from passes.cse import merge_equal
from passes.pipeline import run_pipeline
from passes.simplify import TABLE, Simplify, simplify

X = np.array([[0.3, -1.2, 2.0], [1.5, 0.7, -0.4]])
n = Graph("sizes").size("n")


def graph_of(build) -> Graph:
    graph = Graph("f")
    graph.output("y", build(graph.input("x", shape=("n", 3)), graph.input("w", shape=(3,))))
    return graph.freeze()


def reduced(op: str, x: Variable, *axes: int) -> Variable:
    return x.graph.apply(op, x, axes=axes)


def apply(op: str, x: Variable, **params) -> Variable:
    return x.graph.apply(op, x, **params)


def stretch(x: Variable, *shape) -> Variable:
    return apply("broadcast_to", x, shape=shape)


def lse(x: Variable) -> Variable:
    return np.log(reduced("sum", np.exp(x), 1))


def scalar(op: str, *args: Variable) -> Variable:
    return args[0].graph.apply(op, *args)


# The rewrite, an expression where it fires, and the operations that are left in the order of the text.
CASES = {
    "log1p": (lambda x, w: np.log(1.0 + x * x), "square log1p"),
    "log1p_minus": (lambda x, w: np.log(1.0 - np.sin(x)), "sin neg log1p"),
    "expm1": (lambda x, w: np.exp(x) - 1.0, "expm1"),
    "expm1_plus": (lambda x, w: -1.0 + np.exp(x), "expm1"),
    "softplus": (lambda x, w: np.log(np.exp(x) + 1.0), "softplus"),
    "logaddexp": (lambda x, w: np.log(np.exp(x) + np.exp(w)), "logaddexp"),
    "sigmoid": (lambda x, w: 1.0 / (1.0 + np.exp(-x)), "sigmoid"),
    "sigmoid_ratio": (lambda x, w: np.exp(x) / (np.exp(x) + 1.0), "sigmoid"),
    "sigmoid_complement": (lambda x, w: 1.0 - 1.0 / (1.0 + np.exp(-x)), "neg sigmoid"),
    "log_sigmoid": (lambda x, w: np.log(1.0 / (1.0 + np.exp(-x))), "neg softplus neg"),
    "log_exp": (lambda x, w: np.log(np.exp(x)), ""),
    "log_sum_exp": (lambda x, w: lse(x), "max stop_gradient abs const less const where reshape sub exp sum log add"),
    "softmax": (
        lambda x, w: np.exp(x) / apply("reshape", reduced("sum", np.exp(x), 1), shape=(n, 1)),
        "max stop_gradient abs const less const where reshape sub exp sum reshape div",
    ),
    "square": (lambda x, w: np.sin(x) * np.sin(x), "sin square"),
    "twice": (lambda x, w: x + x, "const mul"),
    "reciprocal": (lambda x, w: 1.0 / x, "reciprocal"),
    "quotient": (lambda x, w: w * (1.0 / x), "div"),
    "neg_neg": (lambda x, w: np.sin(np.negative(-x)), "sin"),
    "neg_sub": (lambda x, w: -(x - w), "sub"),
    "add_neg": (lambda x, w: -x + w, "sub"),
    "sub_neg": (lambda x, w: x - (-w), "add"),
    "mul_neg_neg": (lambda x, w: (-x) * (-w), "mul"),
    "div_neg_neg": (lambda x, w: (-x) / (-w), "div"),
    "square_neg": (lambda x, w: np.square(-x), "square"),
    "square_abs": (lambda x, w: np.square(abs(x)), "square"),
    "abs_neg": (lambda x, w: abs(-x), "abs"),
    "abs_abs": (lambda x, w: abs(abs(x)), "abs"),
    "abs_square": (lambda x, w: abs(np.square(x)), "square"),
    "sqrt_square": (lambda x, w: np.sqrt(np.square(x)), "abs"),
    "cos_neg": (lambda x, w: np.cos(-x), "cos"),
    "relu_relu": (lambda x, w: scalar("relu", scalar("relu", x)), "relu"),
    "minimum_same": (lambda x, w: np.minimum(x, x), ""),
    "maximum_same": (lambda x, w: np.maximum(x, x), ""),
    "where_same": (lambda x, w: np.where(x < w, x, x), ""),
    "not_not": (lambda x, w: ~~(x < w), "less"),
    "transpose": (lambda x, w: apply("transpose", apply("transpose", x, axes=(1, 0)), axes=(1, 0)), ""),
    "reshape": (lambda x, w: apply("reshape", apply("reshape", x, shape=(3 * n,)), shape=(n, 3)), ""),
    "broadcast": (lambda x, w: stretch(stretch(w, 1, 3), 2, 3), "broadcast_to"),
    "slice": (
        lambda x, w: apply(
            "slice",
            apply("slice", w, starts=(2,), sizes=(3,), steps=(-1,)), starts=(1,), sizes=(2,), steps=(1,),
        ),
        "slice",
    ),
    "cast": (lambda x, w: (x < w).astype("int32").astype("int64").astype("float64"), "less cast"),
    "reduction_of_one": (lambda x, w: reduced("sum", apply("reshape", w, shape=(1, 3)), 0), ""),
    "reduction_of_broadcast": (lambda x, w: reduced("sum", stretch(w, n, 3), 0), "size_of cast mul"),
    "reduction_of_reduction": (lambda x, w: reduced("sum", reduced("sum", x, 0), 0), "sum"),
    "sum_of_negative": (lambda x, w: reduced("sum", -np.sin(x), 0), "sin sum neg"),
    "sum_of_product": (lambda x, w: reduced("sum", np.einsum("ij,kj->ik", np.sin(x), x), 0), "sin sum einsum"),
    "strip_broadcasts": (lambda x, w: stretch(w, n, 3) * x, "mul"),
}  # fmt: skip


def operations(graph: Graph) -> str:
    return " ".join(node.op for node in graph.nodes if node.op != "input")


def test_every_rewrite_has_a_case():
    assert list(CASES) == [rewrite.name for rewrite in TABLE]


@pytest.mark.parametrize("name", CASES)
def test_a_rewrite_fires_and_keeps_values(name):
    build, left = CASES[name]
    graph = merge_equal(graph_of(build))
    before = to_text(graph)
    after = simplify(graph)
    assert operations(after) == left, f"\n{before}\n{after}"
    assert to_text(graph) == before
    assert simplify(after) is after
    expected, got = (interpret(g, x=X, w=[0.5, 2.0, -3.0])["y"] for g in (graph, after))
    np.testing.assert_allclose(got, expected, rtol=1e-14)


@pytest.mark.parametrize("name", [r.name for r in TABLE if r.name not in ("not_not", "cast")])
def test_a_rewrite_keeps_derivatives(name):
    graph = graph_of(lambda x, w: CASES[name][0](x, w).sum() + (0.0 * x).sum() + (0.0 * w).sum())
    direct, after = transform.grad(graph), transform.grad(simplify(graph))
    expected, got = (interpret(g, x=X, w=[0.5, 2.0, -3.0]) for g in (direct, after))
    derived = interpret(simplify(direct), x=X, w=[0.5, 2.0, -3.0])
    for key, value in expected.items():
        np.testing.assert_allclose(got[key], value, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(derived[key], value, rtol=1e-12, atol=1e-13)


def test_a_sum_over_axes_of_both_operands_is_contracted():
    graph = Graph("f")
    a, b = graph.input("a", shape=("n", "k", 3)), graph.input("b", shape=("n", 3, "m"))
    graph.output("y", np.einsum("nkj,njm->nkm", a, b).sum(axis=(0, 2)))
    after = simplify(graph)
    assert operations(after) == "sum einsum"
    assert [after.nodes[-1].param(k) for k in ("left", "right", "out")] == ["nkj", "nj", "k"]
    rng = np.random.default_rng(0)
    values = {"a": rng.normal(size=(4, 2, 3)), "b": rng.normal(size=(4, 3, 5))}
    np.testing.assert_allclose(interpret(after, **values)["y"], interpret(graph, **values)["y"], rtol=1e-13)


LEFT_ALONE = {
    "exp of log keeps the domain": lambda x, w: np.exp(np.log(x)),
    "square of sqrt keeps the domain": lambda x, w: np.square(np.sqrt(x)),
    "log of 2 + x": lambda x, w: np.log(2.0 + x),
    "a reduction of a symbolic broadcast can be empty": lambda x, w: reduced("max", stretch(w, n, 3), 0),
    "a cast that loses digits": lambda x, w: x.astype("float32").astype("float64"),
    "x times zero": lambda x, w: x * 0.0,
    "two sines": lambda x, w: np.sin(x) + np.sin(w),
    "a moved axis": lambda x, w: apply("transpose", x, axes=(1, 0)),
}


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_left_alone(name):
    graph = graph_of(LEFT_ALONE[name])
    assert simplify(graph) is graph


def test_a_shared_reciprocal_stays():
    graph = Graph("f")
    x, y = graph.input("x"), graph.input("y")
    r = np.reciprocal(y)
    graph.output("a", x * r)
    graph.output("b", np.sin(r))
    assert simplify(graph) is graph


@pytest.mark.parametrize(
    ("build", "at", "expected"),
    [
        (lambda x: np.log(1.0 + x), 1e-18, 1e-18),
        (lambda x: np.exp(x) - 1.0, 1e-18, 1e-18),
        (lambda x: np.log(1.0 + np.exp(x)), 1000.0, 1000.0),
        (lambda x: np.log(1.0 / (1.0 + np.exp(-x))), -1000.0, -1000.0),
        (lambda x: np.exp(x) / (1.0 + np.exp(x)), 1000.0, 1.0),
        (lambda x: np.log(np.exp(x) + np.exp(2.0 * x)), 1000.0, 2000.0),
        (lambda x: np.sqrt(x * x), 1e200, 1e200),
    ],
)
def test_stability(build, at, expected):
    graph = Graph("f")
    graph.output("y", build(graph.input("x")))
    assert interpret(simplify(simplify(graph)), at)["y"] == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([1000.0, 1000.0], 1000.0 + np.log(2.0)),
        ([-1000.0, -1000.0], -1000.0 + np.log(2.0)),
        ([-np.inf, -np.inf], -np.inf),
        ([np.inf, 0.0], np.inf),
        ([-np.inf, 3.0], 3.0),
        ([np.nan, 0.0], np.nan),
    ],
)
def test_log_sum_exp_of_large_and_infinite_values(row, expected):
    graph = Graph("f")
    graph.output("y", lse(graph.input("x", shape=("n", 2))))
    np.testing.assert_allclose(interpret(simplify(graph), [row])["y"], [expected], rtol=1e-15)


def test_log_sum_exp_over_a_symbolic_axis_requires_an_element():
    graph = Graph("f")
    graph.output("y", np.log(reduced("sum", np.exp(graph.input("x", shape="n")), 0)))
    with pytest.raises(ShapeError, match="empty axis"):
        interpret(simplify(graph), np.zeros(0))


def test_the_gradient_of_log_sum_exp_does_not_overflow():
    graph = Graph("f")
    graph.output("y", np.log(reduced("sum", np.exp(graph.input("x", shape="n")), 0)))
    after, _ = run_pipeline(transform.grad(graph))
    np.testing.assert_allclose(interpret(after, [1000.0, 1000.0])["dy_dx"], [0.5, 0.5])


def test_golden():
    graph = Graph("f")
    x = graph.input("x", shape="n")
    graph.output("y", np.log(1.0 + np.exp(np.negative(-x))))
    assert to_text(graph) == (
        "graph f\n  x: float64[n] = input\n  %1: float64[n] = neg x\n  %2: float64[n] = neg %1\n"
        "  %3: float64[n] = exp %2\n  %4: float64[] = const 1.0\n  %5: float64[n] = add %4 %3\n"
        "  %6: float64[n] = log %5\n  output y = %6"
    )
    assert to_text(Simplify().run(graph)) == (
        "graph f\n  x: float64[n] = input\n  %1: float64[n] = softplus x\n  output y = %1"
    )


def test_a_use_that_a_rewrite_removed_no_longer_stands_in_the_way_of_another():
    graph = Graph("f")
    x = graph.input("x", shape="n")
    negative = -x
    graph.output("y", x + negative)
    graph.output("total", negative.sum())
    after = simplify(graph)
    assert [node.op for node in after.nodes] == ["input", "sub", "sum", "neg"]
    assert simplify(after) is after


def test_regions_and_lines_are_inherited():
    graph = Graph("f")
    x = graph.input("x")
    graph.output("y", graph.variable(graph.add("mul", (x.id, x.id), region=4)))
    (_, square) = simplify(graph).nodes
    assert (square.op, square.region) == ("square", 4)
    assert square.source == graph.nodes[1].source
