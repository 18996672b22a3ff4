"""Every operation of the table through one scaffold, and what is particular about the elementwise ones."""

from __future__ import annotations

import math
import string
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest

import graphad as ga
from graphad.errors import ArgumentError, DtypeError, GraphError, ShapeError
from graphad.interpret import interpret
from graphad.ir.operation import FUNCTIONS, NUMPY_FUNCTIONS, OPERATIONS, NotDifferentiable, Scalar
from graphad.testing import check_op
from graphad.testing.cases import cases

# Fixed when the tests are collected: other tests register operations of their own while they run.
TABLE = tuple(OPERATIONS)
NEVER_EVALUATED = ("input", "placeholder")
EXERCISED = tuple(name for name in TABLE if name not in NEVER_EVALUATED and not OPERATIONS[name].of_bodies)
ELEMENTWISE = tuple(name for name in TABLE if OPERATIONS[name].elementwise)


def derivatives(build: Callable[..., Any], *points: float, order: int = 1) -> float:
    """The derivative of some order of a scalar function with respect to its first argument."""
    graph = ga.Graph("f")
    variables = [graph.input(f"x{k}") for k in range(len(points))]
    graph.output("y", build(*variables))
    for _ in range(order):
        graph = ga.transform.grad(graph, "x0")
    return float(next(iter(interpret(graph, *points).values())))


# ---------------------------------------------------------------------- the scaffold


@pytest.mark.parametrize("name", EXERCISED)
def test_operation(name: str) -> None:
    check_op(name)


@pytest.mark.parametrize("name", EXERCISED)
def test_operation_is_exercised(name: str) -> None:
    op = OPERATIONS[name]
    tried = cases(op)
    assert tried, f"`{name}` has no samples: no check runs on it"
    floating = any(a.dtype == np.float64 for case in tried for a in case.arrays)
    if not isinstance(op.derivative, NotDifferentiable) and floating:
        assert any(case.active for case in tried), f"`{name}` has a rule that no case reaches"
    if op.elementwise:
        assert any(a.size == 0 for case in tried for a in case.arrays)
        assert any(a.shape == (1,) for case in tried for a in case.arrays)


def test_what_is_not_exercised_can_not_be_evaluated() -> None:
    for name in NEVER_EVALUATED:
        with pytest.raises(GraphError):
            OPERATIONS[name].reference()


def _python_functions() -> dict[str, Callable[..., Any]]:
    """The vector mathematics by name: the references of the operations that are one call of it."""
    renamed = {"pow": "power", "floordiv": "floor_divide", "fma": "mul_add"}
    called = sorted({f for name in ELEMENTWISE for f in OPERATIONS[name].emission.functions})  # type: ignore[union-attr]
    return {f: OPERATIONS[renamed.get(f, f)].reference for f in called}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_emitted_expression_is_the_reference(name: str) -> None:
    """The expression, run by Python on NumPy scalars, gives what the reference gives."""
    op = OPERATIONS[name]
    emission = op.emission
    assert isinstance(emission, Scalar)
    fields = {field for _, field, _, _ in string.Formatter().parse(emission.expression) if field}
    assert {int(f) for f in fields if f.isdigit()} == set(range(op.arity or 0))
    assert {f for f in fields if not f.isdigit()} <= {*emission.functions, "dtype", "zero", "one", "two", "half"}
    for case in cases(op):
        if any(a.shape != (3,) for a in case.arrays):
            continue
        expected = interpret(case.graph(), *case.arrays)["y"]
        dtype = "bool" if expected.dtype == bool else f"np.{expected.dtype}"
        words = {"dtype": dtype, "zero": f"{dtype}(0)", "one": f"{dtype}(1)", "two": f"{dtype}(2)"}
        for k in range(3):
            operands = {f"x{i}": a[k] for i, a in enumerate(case.arrays)}
            text = emission.expression.format(*operands, **words, **{f: f for f in emission.functions})
            got = eval(text, {"np": np, "math": math, **_python_functions(), **operands})
            np.testing.assert_allclose(got, expected[k], rtol=1e-14)


# ---------------------------------------------------------------------- NumPy's functions

UFUNCS = sorted((f for f in NUMPY_FUNCTIONS if isinstance(f, np.ufunc)), key=lambda f: f.__name__)
KINDS = ("float64", "float32", "int64", "int32")
# Results that graphad deliberately gives in float64: NumPy truncates the reciprocal of an integer.
FLOAT_HERE = {"reciprocal"}
MASK = np.array([True, False, True, False])
REPLACED: dict[str, Any] = {"nan": 1.0, "posinf": 2.0, "neginf": 3.0}


@pytest.mark.parametrize("ufunc", UFUNCS, ids=lambda f: f.__name__)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_numpy_function_has_numpy_types_and_values(ufunc: np.ufunc) -> None:
    rows = [(a,) for a in KINDS] if ufunc.nin == 1 else [(a, b) for a in KINDS for b in KINDS]
    if ufunc.__name__ == "matmul" or ufunc.signature is not None:
        pytest.skip("not elementwise")
    for kinds in rows:
        arrays = [np.array(v, kind) for v, kind in zip(([1, 2, 3], [2, 1, 1]), kinds, strict=False)]
        try:
            expected = ufunc(*arrays)
        except TypeError:
            graph = ga.Graph("g")
            with pytest.raises(DtypeError):
                ufunc(*[graph.input(f"x{k}", 3, a.dtype) for k, a in enumerate(arrays)])
            continue
        graph = ga.Graph("g")
        result = ufunc(*[graph.input(f"x{k}", 3, a.dtype) for k, a in enumerate(arrays)])
        if ufunc.__name__ in FLOAT_HERE:
            expected = ufunc(*[np.asarray(a, float) if a.dtype.kind == "i" else a for a in arrays])
        wanted = expected if isinstance(expected, tuple) else (expected,)
        for k, variable in enumerate(result if isinstance(result, tuple) else (result,)):
            graph.output(f"y{k}", variable)
        for got, want in zip(interpret(graph, *arrays).values(), wanted, strict=True):
            assert got.dtype == want.dtype, f"{ufunc.__name__}{kinds}"
            np.testing.assert_allclose(got, want, rtol=1e-6 if got.dtype == np.float32 else 1e-14)


@pytest.mark.filterwarnings("ignore:numpy.fix is deprecated:DeprecationWarning")  # newer NumPy, still in use
@pytest.mark.parametrize(
    ("build", "numpy_call"),
    [
        (lambda x: np.clip(x, 0.0, None), lambda x: np.clip(x, 0.0, None)),
        (lambda x: np.clip(x, -1, 1), lambda x: np.clip(x, -1, 1)),
        (lambda x: np.clip(x, a_min=None, a_max=0.5), lambda x: np.clip(x, None, 0.5)),
        (lambda x: x.clip(-0.5, 0.5), lambda x: np.clip(x, -0.5, 0.5)),
        (lambda x: np.round(x, 1), lambda x: np.round(x, 1)),
        (lambda x: np.round(x), lambda x: np.round(x)),
        (lambda x: np.nan_to_num(x / (x - x)), lambda x: np.nan_to_num(x / (x - x))),
        (lambda x: np.nan_to_num(x / (x - x), **REPLACED), lambda x: np.nan_to_num(x / (x - x), **REPLACED)),
        (lambda x: np.where(x > 0, x, 2), lambda x: np.where(x > 0, x, 2)),
        (lambda x: np.where(x > 0, 1, 0.5), lambda x: np.where(x > 0, 1, 0.5)),
        (lambda x: np.where(MASK, x, -x), lambda x: np.where(MASK, x, -x)),
        (lambda x: np.sinc(x), np.sinc),
        (lambda x: 2.0**x, lambda x: 2.0**x),
        (lambda x: x**-2, lambda x: x**-2.0),
        (lambda x: x**np.float64(3.0), lambda x: x**3.0),
        (lambda x: 1.0 // x, lambda x: 1.0 // x),
        (lambda x: 1.0 % x, lambda x: 1.0 % x),
        (lambda x: abs(x), np.abs),
        (lambda x: (x > 0) & ~(x > 1) | (x == 0), lambda x: (x > 0) & ~(x > 1) | (x == 0)),
        (lambda x: (x > 0) ^ (x < 1), lambda x: (x > 0) ^ (x < 1)),
        (lambda x: np.maximum(x > 0, x < -1), lambda x: np.maximum(x > 0, x < -1)),
        (lambda x: (x > 0) + (x > 1), lambda x: (x > 0) + (x > 1)),
        (lambda x: x.astype("int32") * 2, lambda x: x.astype("int32") * 2),
        (lambda x: np.fix(x), np.fix),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_composed_functions_are_numpys(build: Callable[..., Any], numpy_call: Callable[..., Any]) -> None:
    values = np.array([-1.75, -0.25, 0.5, 2.25])
    graph = ga.Graph("g")
    graph.output("y", build(graph.input("x", "n")))
    got, expected = interpret(graph, values)["y"], numpy_call(values)
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(got, expected, rtol=1e-15)


# ---------------------------------------------------------------------- non-smooth points


@pytest.mark.parametrize(
    ("build", "point", "expected"),
    [
        (lambda x: np.abs(x), 0.0, 0.0),
        (lambda x: FUNCTIONS["relu"](x), 0.0, 0.0),
        (lambda x: np.sqrt(x), 0.0, math.inf),
        (lambda x: np.cbrt(x), 0.0, math.inf),
        (lambda x: np.hypot(x, x - 0.0), 0.0, 0.0),
        (lambda x: np.maximum(x, 1.0), 1.0, 1.0),
        (lambda x: np.maximum(1.0, x), 1.0, 0.0),
        (lambda x: np.minimum(x, 1.0), 1.0, 1.0),
        (lambda x: np.minimum(1.0, x), 1.0, 0.0),
        (lambda x: np.clip(x, 0.0, 1.0), 0.0, 1.0),
        (lambda x: np.clip(x, 0.0, 1.0), 1.0, 1.0),
        (lambda x: np.clip(x, 0.0, 1.0), 1.5, 0.0),
        (lambda x: np.sinc(x), 0.0, 0.0),
        (lambda x: x + x**0.0, 0.0, 1.0),
        (lambda x: x**3.5, 0.0, 0.0),
        (lambda x: x**1.5, 0.0, 0.0),
        (lambda x: (-2.0 - x) ** 3.0, 0.0, -12.0),
        (lambda x: FUNCTIONS["stop_gradient"](x) * x, 3.0, 3.0),
        (lambda x: x + np.floor(x), 0.5, 1.0),
    ],
)
def test_derivative_at_special_points(build: Callable[..., Any], point: float, expected: float) -> None:
    assert derivatives(build, point) == expected


@pytest.mark.parametrize(
    "build",
    [
        lambda x: np.where(x > 0.0, np.sqrt(x), 2.0 * x),
        lambda x: np.where(x > 0.0, np.log(x) * x, 2.0 * x),
        lambda x: np.where(x > 0.0, 1.0 / x, 2.0 * x),
        lambda x: np.where(x > 0.0, x**0.3, 2.0 * x),
        lambda x: 2.0 * x + np.maximum(np.log(x * x), -700.0),
        lambda x: 2.0 * x + FUNCTIONS["relu"](-1.0 / (x * x)),
    ],
)
def test_the_branch_not_taken_leaks_no_nan(build: Callable[..., Any]) -> None:
    assert derivatives(build, 0.0) == 2.0
    assert derivatives(build, 0.0, order=2) == 0.0
    graph = ga.Graph("g")
    graph.output("y", build(graph.input("x")))
    assert interpret(ga.transform.jvp(graph), 0.0, 1.0)["y_dot"] == 2.0
    assert interpret(ga.transform.hvp(graph), 0.0, 1.0)["Hv_x"] == 0.0


def test_nan_and_infinity_reach_value_and_derivative() -> None:
    assert math.isnan(derivatives(lambda x: np.maximum(x, 1.0) * x, math.nan))
    assert math.isnan(derivatives(lambda x: np.sin(x), math.inf))
    assert derivatives(lambda x: FUNCTIONS["softplus"](x), math.inf) == 1.0
    assert derivatives(lambda x: FUNCTIONS["softplus"](x), -math.inf) == 0.0
    assert derivatives(lambda x: FUNCTIONS["sigmoid"](x), 1000.0) == 0.0


@pytest.mark.parametrize("both", [math.inf, -math.inf])
def test_logaddexp_shares_its_derivative_at_equal_infinities(both: float) -> None:
    assert derivatives(np.logaddexp, both, both) == 0.5
    assert derivatives(np.logaddexp, 1.0, -math.inf) == 1.0
    assert derivatives(np.logaddexp, -math.inf, 1.0) == 0.0
    assert derivatives(np.logaddexp, 0.3, 0.3, order=2) == pytest.approx(0.25, rel=1e-15)


# ---------------------------------------------------------------------- powers, and high orders


def test_power_slopes_for_exponents_that_are_variables() -> None:
    assert derivatives(lambda b, a: a**b, 2.0, 3.0) == pytest.approx(9.0 * math.log(3.0), rel=1e-15)
    assert derivatives(lambda b, a: a**b, 2.0, 0.0) == 0.0
    assert derivatives(lambda a, b: a**b, 0.0, 0.0) == 0.0
    assert derivatives(lambda a, b: a**b, -2.0, 3.0) == 12.0
    # The mixed second derivative of a**b at b = 0 is 1/a, which a careless guard would lose.
    graph = ga.Graph("power")
    a, b = graph.input("a"), graph.input("b")
    graph.output("y", a**b)
    mixed = ga.transform.grad(ga.transform.grad(graph, "a"), "b")
    assert interpret(mixed, 2.0, 0.0) == {"ddy_da_db": pytest.approx(0.5, rel=1e-15)}


@pytest.mark.parametrize(("exponent", "op"), [(2, "square"), (3, "mul"), (0.5, "sqrt"), (-1, "reciprocal")])
def test_small_constant_exponents_become_products(exponent: float, op: str) -> None:
    graph = ga.Graph("g")
    assert (graph.input("x", "n") ** exponent).node.op == op
    assert "power" not in [n.op for n in graph.nodes]


@pytest.mark.parametrize("point", [0.0, 1e-9, 1e-3, 0.3, 0.499, 0.5, 0.77, 2.5, -0.2])
@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_sinc_is_differentiable_everywhere(point: float, order: int) -> None:
    with mpmath.workdps(60):
        # d^k/dx^k of the integral of cos(pi x t) over t from 0 to 1
        wave = {0: mpmath.cos, 1: lambda z: -mpmath.sin(z), 2: lambda z: -mpmath.cos(z), 3: mpmath.sin}[order % 4]
        exact = mpmath.pi**order * mpmath.quad(lambda t: t**order * wave(mpmath.pi * point * t), [0, 1])
    assert derivatives(np.sinc, point, order=order) == pytest.approx(
        float(exact), rel=1e-12, abs=1e-12 * math.pi**order
    )


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_lgamma_is_differentiable_to_any_order(order: int) -> None:
    exact = float(mpmath.psi(order - 1, mpmath.mpf(1.7)))
    assert derivatives(FUNCTIONS["lgamma"], 1.7, order=order) == pytest.approx(exact, rel=1e-13)


@pytest.mark.parametrize("name", ["exp", "tanh", "sigmoid", "atan", "erf", "softplus", "asinh"])
def test_third_derivatives(name: str) -> None:
    functions = {
        "exp": mpmath.exp,
        "tanh": mpmath.tanh,
        "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
        "atan": mpmath.atan,
        "erf": mpmath.erf,
        "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
        "asinh": mpmath.asinh,
    }
    with mpmath.workdps(40):
        exact = float(mpmath.diff(functions[name], mpmath.mpf(0.7), 3))
    assert derivatives(FUNCTIONS[name], 0.7, order=3) == pytest.approx(exact, rel=1e-12)


# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda x, i, b: np.where(b), ArgumentError, "`where` needs a condition and two values"),
        (lambda x, i, b: -b, DtypeError, "a number expected, got bool"),
        (lambda x, i, b: b - b, DtypeError, "a number expected, got bool"),
        (lambda x, i, b: x & x, DtypeError, "integers or truth values expected, got float64"),
        (lambda x, i, b: i**-1, ArgumentError, "integers to negative integer powers"),
        (lambda x, i, b: np.add(x, x, out=np.zeros(3)), ArgumentError, "`out=`"),
        (lambda x, i, b: np.sin(x, where=[True]), ArgumentError, "`where=`"),
        (lambda x, i, b: FUNCTIONS["polygamma"](i, x), ArgumentError, "a literal order"),
        (lambda x, i, b: FUNCTIONS["polygamma"](-1, x), ArgumentError, "a literal order"),
        (lambda x, i, b: x + np.zeros(4), ShapeError, "do not broadcast"),
        (lambda x, i, b: np.gcd(i, i), GraphError, "`np.gcd` is not supported on variables"),
        (lambda x, i, b: x.graph.apply("add", x, i), DtypeError, "operands of one dtype expected, got float64, int64"),
        (lambda x, i, b: x.graph.apply("where", x, x, x), DtypeError, "a condition of bool expected, got float64"),
    ],
)
def test_bad_operands(build: Callable[..., Any], error: type[Exception], words: str) -> None:
    graph = ga.Graph("g")
    x, i, b = graph.input("x", 3), graph.input("i", 3, "int64"), graph.input("b", 3, "bool")
    with pytest.raises(error) as caught:
        build(x, i, b)
    assert words in str(caught.value)


def test_round_and_divmod_as_of_arrays() -> None:
    g = ga.Graph("rounded")
    x, k = g.input("x", shape=4), g.input("k", shape=3, dtype="int64")
    for number, value in enumerate([x.round(1), *divmod(x, 0.3), *divmod(2.0, x), *divmod(k, 3)]):
        g.output(f"y{number}", value)
    a, i = np.array([1.25, -0.75, 2.0, -3.14]), np.array([-4, 0, 5])
    found = interpret(g, a, i)
    expected = [a.round(1), *divmod(a, 0.3), *divmod(2.0, a), *divmod(i, 3)]
    for got, want in zip(found.values(), expected, strict=True):
        np.testing.assert_array_equal(got, want)
