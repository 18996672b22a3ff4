"""Checks of one operation, made from its record. They are independent: one wrong rule fails one check.

References: W. Squire and G. Trapp, Using complex variables to estimate derivatives of real functions, SIAM Review 40
(1998), for the complex step; Griewank and Walther, Evaluating Derivatives, 2nd ed., SIAM 2008, section 3.2, for the
identity of inner products.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphad.ad import transform
from graphad.errors import DifferentiationError, describe
from graphad.interpret import interpret
from graphad.ir.operation import NotDifferentiable, Op, lookup
from graphad.testing.cases import SPECIAL, Case, cases, shared_case
from graphad.testing.compare import Array, close, difference, require, require_transposed
from graphad.testing.compiled import Compile, check_compiled
from graphad.testing.graphs import DIFFERENCES, second_order

COMPLEX_STEP = 1e-30
EXACT = 1e-12  # complex steps and identities in float64
SINGLE = 1e-5  # float32
SINGLE_DIFFERENCES = 1e-3


class Failure(NamedTuple):
    """One check that did not pass."""

    check: str
    case: str
    message: str


def _all_arrays(case: Case, active: Sequence[Array]) -> list[Array]:
    arrays = list(case.arrays)
    for k, array in zip(case.active, active, strict=True):
        arrays[k] = array
    return arrays


def check_value(case: Case) -> None:
    """The interpreted value has the inferred type and is that of the reference; operands are not changed."""
    before = [a.copy() for a in case.arrays]
    graph = case.graph()
    kind = graph.variable("y").type
    got = interpret(graph, *case.arrays)["y"]
    require(got.dtype == kind.dtype, "the reference answers another dtype than the typing rule", kind.dtype, got.dtype)
    require(got.shape == kind.shape, "the reference answers another shape than the typing rule", kind.shape, got.shape)
    close(got, case.reference(case.arrays), EXACT, "value")
    for old, new in zip(before, case.arrays, strict=True):
        require(np.array_equal(old, new, equal_nan=old.dtype.kind == "f"), "an operand was changed", old, new)


def check_jvp(case: Case) -> None:
    """The tangent is the directional derivative of the reference: a complex step, or differences where not analytic."""
    if not case.active:
        if isinstance(case.op.derivative, NotDifferentiable):
            _expect_no_derivative(case)
        return
    directions = case.directions()
    got = _tangent(case, directions)
    if case.op.analytic:
        steps = [case.arrays[k] + 1j * COMPLEX_STEP * d for k, d in zip(case.active, directions, strict=True)]
        expected = case.reference(_all_arrays(case, steps)).imag / COMPLEX_STEP
        close(got, expected, EXACT, "tangent against a complex step")
        return
    at = [case.arrays[k] for k in case.active]
    (expected,) = difference(lambda active: [case.reference(_all_arrays(case, active))], at, directions)
    close(got, expected, SINGLE_DIFFERENCES if case.single else DIFFERENCES, "tangent against differences")


def _tangent(case: Case, directions: Sequence[Array]) -> Array:
    pushed = transform.jvp(case.graph(), case.names, "y")
    return interpret(pushed, *case.arrays, *directions)["y_dot"]


def _expect_no_derivative(case: Case) -> None:
    floating = [f"x{k}" for k, array in enumerate(case.arrays) if array.dtype.kind == "f"]
    if not floating:
        return
    try:
        transform.jvp(case.graph(), floating, "y")
    except DifferentiationError:
        return
    raise AssertionError(describe("an operation without derivative has a tangent", got=str(case)))


def check_transpose(case: Case) -> None:
    """⟨v, J t⟩ = ⟨Jᵀ v, t⟩; cotangents have the operands' types."""
    if not case.active:
        return
    directions = case.directions()
    tangent = _tangent(case, directions)
    cotangent = np.asarray(case.rng().uniform(-1.0, 1.0, tangent.shape), tangent.dtype)
    pulled = interpret(transform.vjp(case.graph(), case.names, "y"), *case.arrays, cotangent)
    bars = [pulled[f"{name}_bar"] for name in case.names]
    for bar, k in zip(bars, case.active, strict=True):
        got, expected = (bar.dtype, bar.shape), (case.arrays[k].dtype, case.arrays[k].shape)
        require(got == expected, f"cotangent of operand {k} has another type", expected, got)
    require_transposed([cotangent], [tangent], bars, directions, SINGLE if case.single else EXACT)


def check_second_order(case: Case) -> None:
    """Forward over reverse is the derivative of the reverse derivative, and equals reverse over forward."""
    if not case.active or case.single or any(case.arrays[k].size == 0 for k in case.active):
        return
    second_order(case.graph(), case.arrays, case.names, ["y"], case.directions(), case.rng())


def check_same_operand(case: Case) -> None:
    """The same array for several operands: their contributions add up."""
    shared = shared_case(case)
    if shared is not None:
        check_jvp(shared)
        check_transpose(shared)


def check_float32(case: Case) -> None:
    """In float32 everything stays float32 and agrees with float64."""
    floating = [a.dtype == np.float64 for a in case.arrays]
    if not any(floating) or "dtype" in case.params:
        return
    single = tuple(a.astype(np.float32) if f else a for a, f in zip(case.arrays, floating, strict=True))
    double = tuple(a.astype(np.float64) if f else a for a, f in zip(single, floating, strict=True))
    low = Case(case.op, case.params, single, case.wiring, case.active)
    high = Case(case.op, case.params, double, case.wiring, case.active)
    got, expected = interpret(low.graph(), *single)["y"], interpret(high.graph(), *double)["y"]
    kept = np.float32 if expected.dtype == np.float64 else expected.dtype
    require(got.dtype == kept, "the value of float32 operands has another dtype", kept, got.dtype)
    if expected.dtype == np.float64:
        close(got, expected, SINGLE, "value in float32")
    if not case.active:
        return
    directions = low.directions()
    tangent, exact = _tangent(low, directions), _tangent(high, [d.astype(np.float64) for d in directions])
    require(tangent.dtype == np.float32, "the tangent of float32 operands has another dtype", "float32", tangent.dtype)
    close(tangent, exact, SINGLE, "tangent in float32")
    for bar, exact_bar in zip(_cotangents(low), _cotangents(high), strict=True):
        require(bar.dtype == np.float32, "the cotangent of a float32 operand has another dtype", "float32", bar.dtype)
        close(bar, exact_bar, SINGLE, "cotangent in float32")


def _cotangents(case: Case) -> list[Array]:
    """The cotangents of the operands for a cotangent of ones."""
    seed = np.ones_like(interpret(case.graph(), *case.arrays)["y"])
    pulled = interpret(transform.vjp(case.graph(), case.names, "y"), *case.arrays, seed)
    return [pulled[f"{name}_bar"] for name in case.names]


def check_special(case: Case) -> None:
    """NaN gives NaN, and no special number stops the value or the derivative; values are those of the reference."""
    if not (case.op.elementwise and case.arrays and all(a.dtype == np.float64 for a in case.arrays)):
        return
    if case.arrays[0].shape != (3,) or "dtype" in case.params:
        return
    rng = case.rng()
    arrays = tuple(rng.permutation(np.array(SPECIAL)) for _ in case.arrays)
    special = Case(case.op, case.params, arrays, case.wiring, case.active)
    check_value(special)
    if case.active:
        interpret(transform.vjp(special.graph(), special.names, "y"), *arrays, np.ones(len(SPECIAL)))
    value = interpret(special.graph(), *[np.full(len(SPECIAL), np.nan) for _ in arrays])["y"]
    if value.dtype.kind == "f":
        require(bool(np.isnan(value).all()), "NaN does not stay NaN", "nan", value)


CHECKS: dict[str, Callable[[Case], None]] = {
    "value": check_value,
    "jvp": check_jvp,
    "transpose": check_transpose,
    "second order": check_second_order,
    "same operand": check_same_operand,
    "float32": check_float32,
    "special numbers": check_special,
}


def failures(op: Op | str, *, compiled: Compile | None = None) -> list[Failure]:
    """The checks that an operation does not pass; see `check_op`."""
    record = lookup(op) if isinstance(op, str) else op
    found = [f for case in cases(record) for name, check in CHECKS.items() for f in _run(name, str(case), check, case)]
    if compiled is not None:
        found += _run("compiled", record.name, lambda o: check_compiled(o, compiled), record)
    return found


def _run(name: str, case: str, check: Callable[[Any], None], argument: Any) -> Iterator[Failure]:
    try:
        check(argument)
    except Exception as error:  # whatever a rule raises is that check's failure
        yield Failure(name, case, f"{type(error).__name__}: {error}")


def check_op(op: Op | str, *, compiled: Compile | None = None) -> None:
    """Test an operation by its record.

    Arguments:
        op: a record or its name.
        compiled: turns a graph into a function of its inputs, in their order; what that function answers must agree
            with the interpreter.

    Value and type against the reference; jvp against a complex step (1e-12) or differences; ⟨v, J t⟩ = ⟨Jᵀ v, t⟩;
    second derivatives in two orders of modes and against differences; operands that broadcast, empty ones, the same
    one twice; float32; NaN and infinity. Raises `AssertionError` that lists every check that failed, on which case.

    >>> check_op("tanh")
    """
    found = failures(op, compiled=compiled)
    if found:
        name = op if isinstance(op, str) else op.name
        lines = "\n".join(f"{f.check}, {f.case}: {f.message}" for f in found)
        raise AssertionError(f"operation `{name}` fails {len(found)} checks\n{lines}")
