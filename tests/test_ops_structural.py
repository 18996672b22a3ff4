"""Reductions, shapes, indexing and products: values against NumPy, derivatives against each other and differences.

Each case is one function of arrays that runs on NumPy arrays and on graph variables alike. It is built twice, with
literal and with symbolic extents, and taken through both modes, batching and second order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphad as ga
from graphad.errors import ArgumentError, DtypeError, GraphadError, GraphError, IndexRangeError, ShapeError
from graphad.ir.operation import FUNCTIONS, OPERATIONS

Shape = tuple[int, ...]
Function = Callable[..., Any]
RNG_SEED = 7


def at(kind: str, index: Any) -> Function:
    """`x.at[index].kind(v)`, on NumPy arrays by `ufunc.at`."""
    ufunc: Any = {"add": np.add, "multiply": np.multiply, "max": np.maximum, "min": np.minimum}.get(kind)

    def update(x: Any, v: Any) -> Any:
        if isinstance(x, ga.Variable):
            return getattr(x.at[index], kind)(v)
        result = np.array(x)
        if ufunc is None:
            result[index] = v
        elif np.iscomplexobj(result) and kind in ("max", "min"):
            raise TypeError("no complex order")
        else:
            ufunc.at(result, index, v)
        return result

    return update


def published(name: str, reference: Function) -> Function:
    """A graphad function without a NumPy name, and what it means."""
    return lambda *xs, **kw: FUNCTIONS[name](*xs, **kw) if isinstance(xs[0], ga.Variable) else reference(*xs, **kw)


def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims))


def euclidean(x: Any, axis: Any = None) -> Any:
    """The 2-norm; complex differentiable, unlike NumPy's, where the argument is complex."""
    if isinstance(x, np.ndarray) and x.dtype == complex:
        return np.sqrt((x * x).sum(axis=axis))
    return np.linalg.norm(x, axis=axis)


I23 = np.array([[0, 2], [1, 0]])

# name: (function, shapes); complex step where the function takes complex numbers, central differences otherwise
REDUCTIONS: dict[str, tuple[Function, tuple[Shape, ...]]] = {
    "sum": (lambda x: np.sum(x), ((3, 4),)),
    "sum axis keepdims": (lambda x: np.sum(x, axis=-1, keepdims=True), ((3, 4),)),
    "sum two axes": (lambda x: x.sum(axis=(0, -1)), ((2, 3, 4),)),
    "sum no axes": (lambda x: np.sum(x, axis=()), ((3,),)),
    "sum scalar": (lambda x: np.sum(x), ((),)),
    "add.reduce": (lambda x: np.add.reduce(x), ((3, 2),)),
    "prod": (lambda x: np.prod(x, axis=1), ((3, 4),)),
    "prod all": (lambda x: np.prod(x), ((2, 3),)),
    "prod middle": (lambda x: np.prod(x, axis=(0, 2)), ((2, 3, 2),)),
    "mean": (lambda x: np.mean(x, axis=0), ((3, 4),)),
    "mean keepdims": (lambda x: x.mean(axis=(0, 1), keepdims=True), ((3, 4),)),
    "var": (lambda x: x.var(axis=0, ddof=1), ((4, 2),)),
    "std": (lambda x: np.std(x), ((4, 2),)),
    "average": (lambda x, w: np.average(x, axis=1, weights=w), ((2, 3), (3,))),
    "max": (lambda x: np.max(x), ((3, 4),)),
    "max axis": (lambda x: np.max(x, axis=0, keepdims=True), ((3, 4),)),
    "max axes": (lambda x: np.max(x, axis=(0, 2)), ((3, 2, 4),)),
    "min": (lambda x: x.min(axis=1), ((3, 4),)),
    "min axes": (lambda x: np.min(x, axis=(1, 2)), ((3, 2, 4),)),
    "ptp": (lambda x: np.ptp(x, axis=0), ((3, 2),)),
    "logsumexp": (published("logsumexp", logsumexp), ((3, 4),)),
    "logsumexp axis": (lambda x: published("logsumexp", logsumexp)(x, axis=1, keepdims=True), ((3, 4),)),
    "norm": (lambda x: euclidean(x), ((3, 4),)),
    "norm axis": (lambda x: euclidean(x, axis=1), ((3, 4),)),
    "norm 1": (lambda x: np.linalg.norm(x, ord=1, axis=0), ((3, 4),)),
    "norm inf": (lambda x: np.linalg.norm(x, ord=np.inf), ((4,),)),
    "norm -inf": (lambda x: np.linalg.norm(x, ord=-np.inf, axis=0), ((4, 2),)),
    "norm 3": (lambda x: np.linalg.norm(x, ord=3, axis=-1), ((4, 2),)),
    "norm matrix 1": (lambda x: np.linalg.norm(x, 1), ((4, 2),)),
    "norm matrix inf": (lambda x: np.linalg.norm(x, np.inf, keepdims=True), ((4, 2),)),
    "cumsum": (lambda x: np.cumsum(x, axis=1), ((3, 4),)),
    "cumsum flat": (lambda x: np.cumsum(x), ((3, 2),)),
    "cumprod": (lambda x: np.cumprod(x, axis=0), ((3, 2),)),
    "cumprod flat": (lambda x: x.cumprod(), ((2, 2),)),
    "diff": (lambda x: np.diff(x, 2, axis=0), ((5, 2),)),
    "trace": (lambda x: np.trace(x, 1), ((3, 4),)),
    "recurrence": (
        lambda a, b: published("linear_recurrence", OPERATIONS["linear_recurrence"].reference)(a, b, axis=0),
        ((4, 2), (4, 2)),
    ),
}

SHAPES: dict[str, tuple[Function, tuple[Shape, ...]]] = {
    "reshape": (lambda x: np.reshape(x, (4, 3)), ((3, 4),)),
    "reshape -1": (lambda x: x.reshape(-1, 2), ((3, 4),)),
    "reshape F": (lambda x: np.reshape(x, (2, 6), order="F"), ((3, 4),)),
    "ravel": (lambda x: np.ravel(x), ((3, 4),)),
    "transpose": (lambda x: np.transpose(x, (2, 0, 1)), ((2, 3, 4),)),
    "T": (lambda x: x.T, ((2, 3, 4),)),
    "mT": (lambda x: x.mT, ((2, 3, 4),)),
    "diagonal method": (lambda x: x.diagonal(1, 1, 2), ((2, 3, 4),)),
    "swapaxes": (lambda x: x.swapaxes(0, -1), ((2, 3, 4),)),
    "moveaxis": (lambda x: np.moveaxis(x, (0, 1), (-1, 0)), ((2, 3, 4),)),
    "expand squeeze": (lambda x: np.squeeze(np.expand_dims(x, (0, 2)), 0), ((2, 3),)),
    "broadcast_to": (lambda x: np.broadcast_to(x[:, None], (2, 3, 4)), ((3,),)),
    "concatenate": (lambda x, y: np.concatenate([x, y, x], axis=1), ((2, 3), (2, 1))),
    "concatenate flat": (lambda x, y: np.concatenate([x, y], axis=None), ((2, 3), (2,))),
    "stack": (lambda x, y: np.stack([x, y], axis=-1), ((2, 3), (2, 3))),
    "vstack": (lambda x, y: np.vstack([x, y]), ((3,), (3,))),
    "hstack": (lambda x, y: np.hstack([x, y]), ((2, 3), (2, 1))),
    "column_stack": (lambda x, y: np.column_stack([x, y]), ((3,), (3, 2))),
    "split": (lambda x: np.split(x, 3, axis=1)[1], ((2, 6),)),
    "split at": (lambda x: np.split(x, [1, 3])[1], ((5,),)),
    "pad": (lambda x: np.pad(x, ((1, 2), (0, 3))), ((2, 3),)),
    "pad value": (lambda x: np.pad(x, 1, constant_values=2.5), ((2, 3),)),
    "pad edge": (lambda x: np.pad(x, (2, 1), mode="edge"), ((3, 2),)),
    "pad wrap": (lambda x: np.pad(x, (2, 1), mode="wrap"), ((3,),)),
    "pad reflect": (lambda x: np.pad(x, (2, 1), mode="reflect"), ((4,),)),
    "pad symmetric": (lambda x: np.pad(x, (2, 1), mode="symmetric"), ((4,),)),
    "roll": (lambda x: np.roll(x, 2, axis=0), ((5, 2),)),
    "roll back flat": (lambda x: np.roll(x, -1), ((2, 3),)),
    "flip": (lambda x: np.flip(x), ((2, 3),)),
    "rot90": (lambda x: np.rot90(x, 3), ((2, 3),)),
    "tile": (lambda x: np.tile(x, (2, 1, 3)), ((2, 2),)),
    "repeat": (lambda x: np.repeat(x, 3, axis=0), ((2, 3),)),
    "repeat flat": (lambda x: x.repeat(2), ((2, 3),)),
    "diag of matrix": (lambda x: np.diag(x, -1), ((3, 4),)),
    "diag of vector": (lambda x: np.diag(x, 1), ((3,),)),
    "diagonal": (lambda x: np.diagonal(x, 1, 2, 0), ((3, 2, 4),)),
    "tril": (lambda x: np.tril(x, 1), ((3, 4),)),
    "triu": (lambda x: np.triu(x, -1), ((2, 3, 4),)),
    "meshgrid": (lambda x, y: np.meshgrid(x, y)[0] * np.meshgrid(x, y)[1], ((3,), (2,))),
    "full_like": (lambda x: x * np.full_like(x, 3.0) + np.ones_like(x), ((3, 2),)),
}

INDEXING: dict[str, tuple[Function, tuple[Shape, ...]]] = {
    "integer": (lambda x: x[1], ((3, 4),)),
    "negative": (lambda x: x[-1, -2], ((3, 4),)),
    "slice": (lambda x: x[1:, :-1], ((3, 4),)),
    "step": (lambda x: x[::2, 1::2], ((5, 4),)),
    "reversed": (lambda x: x[::-1], ((3, 4),)),
    "reversed step": (lambda x: x[::-2], ((6,),)),
    "reversed bounds": (lambda x: x[-2:0:-1], ((5,),)),
    "none ellipsis": (lambda x: x[..., None, 0], ((3, 4),)),
    "middle ellipsis": (lambda x: x[0, ..., 1:], ((2, 3, 4),)),
    "array": (lambda x: x[[2, 0, 2]], ((3, 4),)),
    "negative array": (lambda x: x[np.array([-1, 0, -2])], ((3, 4),)),
    "two arrays": (lambda x: x[[0, 2], [1, 1]], ((3, 4),)),
    "broadcast arrays": (lambda x: x[np.array([[0], [2]]), [1, 3]], ((3, 4),)),
    "array and slice": (lambda x: x[1:, I23], ((3, 4),)),
    "apart": (lambda x: x[[0, 1], :, [2, 0]], ((2, 3, 4),)),
    "integer apart": (lambda x: x[0, :, [2, 0]], ((2, 3, 4),)),
    "side by side": (lambda x: x[:, [0, 1], [2, 0]], ((2, 3, 4),)),
    "none and array": (lambda x: x[:, None, [0, 2], None], ((2, 3),)),
    "arrays around none": (lambda x: x[[0, 1], None, [0, 2]], ((2, 3),)),
    "mask": (lambda x: x[np.array([True, False, True])], ((3, 2),)),
    "matrix mask": (lambda x: x[np.array([[True, False], [False, True], [True, True]])], ((3, 2),)),
    "empty array": (lambda x: x[np.array([], dtype=int)], ((3, 2),)),
    "take": (lambda x: np.take(x, I23, axis=1), ((2, 3),)),
    "take flat": (lambda x: np.take(x, [5, -1]), ((2, 3),)),
    "take_along_axis": (lambda x: np.take_along_axis(x, np.array([[2, 0], [-1, 1]]), axis=1), ((2, 3),)),
    "take_along broadcast": (lambda x: np.take_along_axis(x, np.array([[1, 0]]), axis=1), ((2, 3),)),
    "set integer": (at("set", 1), ((3, 2), (2,))),
    "set slice": (at("set", (slice(1, None), slice(None, None, 2))), ((3, 4), (2, 2))),
    "set reversed": (at("set", slice(None, None, -1)), ((3,), (3,))),
    "set all": (lambda x, v: at("set", ...)(x, v) * x, ((3, 2), (2,))),
    "set array": (at("set", [2, 0]), ((3, 2), (2, 2))),
    "set repeated": (at("set", [1, 0, 1]), ((3, 2), (3, 2))),
    "set mixed": (at("set", (slice(1, 3), [0, 2])), ((4, 3), (2, 2))),
    "set apart": (at("set", (0, slice(None), [2, 0])), ((2, 3, 4), (2, 3))),
    "set none": (at("set", (None, [0, 2])), ((3,), (1, 2))),
    "add scalar": (at("add", (1, -1)), ((3, 2), ())),
    "add slice": (at("add", slice(1, None)), ((3, 2), (2,))),
    "add repeated": (at("add", [1, 0, 1]), ((3, 2), (3, 2))),
    "add step": (at("add", (slice(None, None, 2), [1, 1])), ((4, 3), (2, 2))),
    "multiply repeated": (at("multiply", [1, 0, 1]), ((3, 2), (3, 2))),
    "multiply slice": (at("multiply", slice(0, 2)), ((3, 2), (2,))),
    "max repeated": (at("max", [1, 0, 1]), ((3, 2), (3, 2))),
    "max slice": (at("max", slice(0, 2)), ((3, 2), (2,))),
    "min repeated": (at("min", [1, 0, 1, 1]), ((3, 2), (4, 2))),
}

PRODUCTS: dict[str, tuple[Function, tuple[Shape, ...]]] = {
    "matmul": (lambda a, b: a @ b, ((2, 3), (3, 4))),
    "matrix vector": (lambda a, b: a @ b, ((2, 3), (3,))),
    "vector matrix": (lambda a, b: a @ b, ((3,), (3, 4))),
    "vectors": (lambda a, b: a @ b, ((3,), (3,))),
    "batched": (lambda a, b: np.matmul(a, b), ((5, 2, 3), (5, 3, 4))),
    "batch broadcast": (lambda a, b: np.matmul(a, b), ((5, 1, 2, 3), (4, 3, 2))),
    "batch vector": (lambda a, b: np.matmul(a, b), ((5, 2, 3), (3,))),
    "constant": (lambda a: a @ np.arange(6.0).reshape(3, 2), ((2, 3),)),
    "gram": (lambda a: a.T @ a, ((2, 3),)),
    "dot": (lambda a, b: np.dot(a, b), ((2, 3), (4, 3, 2))),
    "dot vectors": (lambda a, b: a.dot(b), ((3,), (3,))),
    "dot scalar": (lambda a, b: np.dot(a, b), ((), (3,))),
    "inner": (lambda a, b: np.inner(a, b), ((2, 3), (4, 3))),
    "vdot": (lambda a, b: published("vdot", lambda p, q: p.ravel() @ q.ravel())(a, b), ((2, 3), (3, 2))),
    "outer": (lambda a, b: np.outer(a, b), ((2, 3), (4,))),
    "tensordot 1": (lambda a, b: np.tensordot(a, b, 1), ((2, 3), (3, 4))),
    "tensordot 0": (lambda a, b: np.tensordot(a, b, 0), ((2,), (3, 4))),
    "tensordot axes": (lambda a, b: np.tensordot(a, b, ([0, 2], [1, 0])), ((2, 3, 4), (4, 2, 5))),
    "cross": (lambda a, b: np.cross(a, b), ((2, 3), (2, 3))),
    "cross axis": (lambda a, b: np.cross(a, b, axis=0), ((3, 2), (3, 2))),
    "kron": (lambda a, b: np.kron(a, b), ((2, 3), (2, 2))),
    "einsum implicit": (lambda a, b: np.einsum("ij,jk", a, b), ((2, 3), (3, 4))),
    "einsum order": (lambda a, b: np.einsum("ba, cb -> ac", a, b), ((2, 3), (4, 2))),
    "einsum trace": (lambda a: np.einsum("ii", a), ((3, 3),)),
    "einsum diagonal": (lambda a: np.einsum("iji->ij", a), ((3, 2, 3),)),
    "einsum sum": (lambda a: np.einsum("ijk->j", a), ((2, 3, 4),)),
    "einsum elementwise": (lambda a, b: np.einsum("ij,ij->ij", a, b), ((2, 3), (2, 3))),
    "einsum alone": (lambda a, b: np.einsum("ij,k->j", a, b), ((2, 3), (4,))),
    "einsum ellipsis": (lambda a, b: np.einsum("...ij,...jk->...ik", a, b), ((5, 2, 3), (3, 2))),
    "einsum ellipsis implicit": (lambda a, b: np.einsum("i...,i", a, b), ((3, 2), (3,))),
    "einsum one": (lambda a, b: np.einsum("ij,ij->i", a, b), ((2, 3), (2, 1))),
    "einsum three": (lambda a, b, c: np.einsum("ij,jk,kl->il", a, b, c), ((2, 3), (3, 4), (4, 2))),
    "einsum four": (lambda a, b, c: np.einsum("i,ij,jk,k", a, b, c, c[0] * 2.0), ((2,), (2, 3), (3, 3))),
    "einsum six": (
        lambda a, b, c: np.einsum("ij,jk,kl,lm,mn,no->io", a, b, c, a, b, c),
        ((2, 2), (2, 2), (2, 2)),
    ),
    "einsum repeated across": (lambda a, b: np.einsum("ii,ij->j", a, b), ((3, 3), (3, 2))),
}

CASES = {**REDUCTIONS, **SHAPES, **INDEXING, **PRODUCTS}
# literal shapes are part of these functions
LITERAL_ONLY = {
    "reshape", "reshape F", "broadcast_to", "expand squeeze", "cross", "cross axis", "set none", "matrix mask",
    "einsum one", "take_along broadcast", "batch broadcast",
}  # fmt: skip


def built(function: Function, shapes: tuple[Shape, ...], symbolic: bool) -> ga.Graph:
    """A graph of a function; equal extents share a symbolic size, extents of 1 stay literal."""
    graph = ga.Graph("case")
    inputs = []
    for i, shape in enumerate(shapes):
        extents = tuple(f"n{e}" if symbolic and e != 1 else e for e in shape)
        inputs.append(graph.input(f"x{i}", shape=extents))
    graph.output("y", function(*inputs))
    return graph


def arrays(shapes: tuple[Shape, ...], seed: int = RNG_SEED) -> list[np.ndarray[Any, Any]]:
    random = np.random.default_rng(seed)
    return [random.uniform(0.5, 2.0, shape) * random.choice([-1.0, 1.0], shape) for shape in shapes]


def directional(function: Function, xs: list[Any], ts: list[Any]) -> tuple[Any, float]:
    """The derivative along `ts`: a complex step where the function takes complex numbers, a difference otherwise."""
    try:
        stepped = function(*[x + 1e-30j * t for x, t in zip(xs, ts, strict=True)])
        if np.iscomplexobj(stepped) and not np.array_equal(stepped.imag, np.zeros_like(stepped.imag)):
            return stepped.imag / 1e-30, 1e-12
    except TypeError:
        pass
    h = 1e-5
    up, down = (function(*[x + s * h * t for x, t in zip(xs, ts, strict=True)]) for s in (1, -1))
    return (np.asarray(up) - np.asarray(down)) / (2 * h), 1e-7


ORDERED = ("max", "min", "norm", "ptp")  # their complex continuation is not the derivative


def uses_order(name: str) -> bool:
    return name.split()[0] in ORDERED and name not in ("norm", "norm axis")


@pytest.mark.parametrize("name", CASES)
def test_value_is_numpys(name: str) -> None:
    function, shapes = CASES[name]
    xs = arrays(shapes)
    before = [x.copy() for x in xs]
    expected = np.asarray(function(*xs))
    for symbolic in (False, True):
        if symbolic and name in LITERAL_ONLY:
            continue
        graph = built(function, shapes, symbolic)
        (result,) = ga.interpret(graph, *xs).values()
        assert result.shape == expected.shape
        assert result.dtype == expected.dtype
        np.testing.assert_allclose(result, expected, rtol=1e-13, atol=1e-14)
    for x, kept in zip(xs, before, strict=True):
        np.testing.assert_array_equal(x, kept)


@pytest.mark.parametrize("name", CASES)
def test_modes_agree_with_the_function(name: str) -> None:
    function, shapes = CASES[name]
    xs, ts = arrays(shapes), arrays(shapes, 8)
    graph = built(function, shapes, name not in LITERAL_ONLY)
    if uses_order(name) or name.startswith(("max", "min")):
        real = lambda *a: function(*[np.real(v) for v in a])  # noqa: E731
        expected, tolerance = directional(real, xs, ts)
    else:
        expected, tolerance = directional(function, xs, ts)
    pushed = ga.interpret(ga.transform.jvp(graph), *xs, *ts)
    np.testing.assert_allclose(pushed["y_dot"], expected, rtol=tolerance, atol=tolerance)
    v = arrays((np.shape(expected),), 9)[0]
    pulled = ga.interpret(ga.transform.vjp(graph), *xs, v)
    back = sum(np.sum(pulled[f"x{i}_bar"] * t) for i, t in enumerate(ts))
    np.testing.assert_allclose(back, np.sum(v * pushed["y_dot"]), rtol=1e-12, atol=1e-12)
    for i, x in enumerate(xs):
        assert pulled[f"x{i}_bar"].shape == x.shape


@pytest.mark.parametrize("name", CASES)
def test_jacobians_by_both_modes_are_equal(name: str) -> None:
    function, shapes = CASES[name]
    xs = arrays(shapes)
    graph = built(function, shapes, name not in LITERAL_ONLY)
    forward = ga.interpret(ga.transform.jacobian(graph, mode="forward"), *xs)
    reverse = ga.interpret(ga.transform.jacobian(graph, mode="reverse"), *xs)
    ts = arrays(shapes, 8)
    tangent = ga.interpret(ga.transform.jvp(graph), *xs, *ts)["y_dot"]
    total = np.zeros_like(tangent)
    for i, t in enumerate(ts):
        np.testing.assert_allclose(forward[f"dy_dx{i}"], reverse[f"dy_dx{i}"], rtol=1e-12, atol=1e-13)
        total = total + np.tensordot(forward[f"dy_dx{i}"], t, t.ndim)
    np.testing.assert_allclose(total, tangent, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_second_order(name: str) -> None:
    function, shapes = CASES[name]
    xs, ts = arrays(shapes), arrays(shapes, 8)

    def energy(*args: Any) -> Any:
        y = function(*args)
        return np.sum(np.sin(y) * y)

    graph = built(energy, shapes, name not in LITERAL_ONLY)
    gradient = ga.transform.grad(graph)

    def gradient_at(step: float) -> list[Any]:
        return list(ga.interpret(gradient, *[x + step * t for x, t in zip(xs, ts, strict=True)]).values())

    h = 1e-5
    pushed = ga.interpret(ga.transform.hvp(graph), *xs, *ts)
    for i, (up, down) in enumerate(zip(gradient_at(h), gradient_at(-h), strict=True)):
        np.testing.assert_allclose(pushed[f"Hv_x{i}"], (up - down) / (2 * h), rtol=2e-6, atol=2e-6)


def run(function: Function, *xs: Any, derive: Any = None, shapes: Any = None, **kwargs: Any) -> dict[str, Any]:
    """Interpret a function of arrays as a graph."""
    graph = ga.Graph("case")
    values = [np.asarray(x) for x in xs]
    declared = shapes or [v.shape for v in values]
    given = [graph.input(f"x{i}", s, v.dtype) for i, (v, s) in enumerate(zip(values, declared, strict=True))]
    graph.output("y", function(*given))
    return ga.interpret(derive(graph) if derive else graph, *values, **kwargs)


@pytest.mark.parametrize("zeros", [(), (1,), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("name", ["prod", "cumprod"])
def test_products_with_zeros_have_exact_derivatives(name: str, zeros: tuple[int, ...]) -> None:
    x = np.array([1.5, -2.0, 3.0])
    x[list(zeros)] = 0.0
    function = getattr(np, name)
    jacobian = run(function, x, derive=ga.transform.jacobian)["dy_dx0"]
    for j in range(3):
        stepped = function(x + 1e-30j * (np.arange(3) == j))
        np.testing.assert_allclose(jacobian[..., j], stepped.imag / 1e-30, rtol=1e-14)
    hessian = run(lambda v: function(v).sum(), x, derive=ga.transform.hessian)["d2y_dx0_dx0"]
    np.testing.assert_allclose(hessian, hessian.T)
    if name == "prod":
        assert hessian[0, 1] == x[2]
        assert hessian[0, 2] == x[1]


def test_extrema_give_the_derivative_to_the_first_of_equals() -> None:
    x = np.array([[1.0, 3.0], [3.0, 3.0]])
    np.testing.assert_array_equal(run(np.max, x, derive=ga.transform.grad)["dy_dx0"], [[0, 1], [0, 0]])
    np.testing.assert_array_equal(run(np.min, -x, derive=ga.transform.grad)["dy_dx0"], [[0, 1], [0, 0]])
    columns = run(lambda v: np.max(v, axis=0).sum(), x, derive=ga.transform.grad)["dy_dx0"]
    np.testing.assert_array_equal(columns, [[0, 1], [1, 0]])
    spoilt = np.array([1.0, np.nan, np.nan])
    np.testing.assert_array_equal(run(np.max, spoilt, derive=ga.transform.grad)["dy_dx0"], [0, 1, 0])
    assert np.isnan(run(np.max, spoilt)["y"])


def test_scatter_extrema_give_ties_to_the_array_then_to_the_first_value() -> None:
    x, v = np.array([1.0, 5.0]), np.array([5.0, 2.0, 2.0])
    index = np.array([1, 0, 0])

    def update(a: Any, b: Any) -> Any:
        return a.at[index].max(b) @ np.array([1.0, 10.0])

    found = run(update, x, v, derive=ga.transform.grad)
    np.testing.assert_array_equal(found["dy_dx0"], [0.0, 10.0])
    np.testing.assert_array_equal(found["dy_dx1"], [0.0, 1.0, 0.0])


def test_scatter_multiply_by_zeros_has_exact_first_derivatives() -> None:
    x, v = np.array([2.0, 3.0]), np.array([0.0, 4.0, 0.0, 5.0])
    index = np.array([0, 0, 1, 1])
    found = run(lambda a, b: a.at[index].multiply(b).sum(), x, v, derive=ga.transform.grad)
    np.testing.assert_array_equal(found["dy_dx1"], [8.0, 0.0, 15.0, 0.0])
    np.testing.assert_array_equal(found["dy_dx0"], [0.0, 0.0])


def test_logsumexp_at_infinities() -> None:
    function = FUNCTIONS["logsumexp"]
    low, high = np.full(3, -np.inf), np.array([1.0, np.inf])
    assert run(function, low)["y"] == -np.inf
    assert run(function, high)["y"] == np.inf
    assert np.isnan(run(function, np.array([1.0, np.nan]))["y"])
    mixed = np.array([-np.inf, 700.0, 1000.0])
    np.testing.assert_allclose(run(function, mixed, derive=ga.transform.grad)["dy_dx0"], [0, 0, 1], atol=1e-100)


def test_the_norm_of_zeros_has_derivative_zero() -> None:
    x = np.zeros(3)
    assert run(np.linalg.norm, x)["y"] == 0.0
    np.testing.assert_array_equal(run(np.linalg.norm, x, derive=ga.transform.grad)["dy_dx0"], x)
    np.testing.assert_array_equal(run(np.linalg.norm, x, derive=ga.transform.hessian)["d2y_dx0_dx0"], np.zeros((3, 3)))


@pytest.mark.parametrize("dtype", ["bool", "int32", "int64", "float32"])
@pytest.mark.parametrize(
    "name", ["sum", "prod", "mean", "max", "min", "cumsum", "any", "all", "argmax", "argmin", "count_nonzero"]
)
def test_dtypes_are_numpys(name: str, dtype: str) -> None:
    x = np.array([[1, 0, 3], [2, 2, 0]]).astype(dtype)
    function = getattr(np, name)
    for kwargs in ({}, {"axis": 1}):
        expected = np.asarray(function(x, **kwargs))
        result = run(lambda v, kwargs=kwargs: function(v, **kwargs), x)["y"]
        assert result.dtype == expected.dtype
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (1, 3)])
def test_empty_and_single_axes(shape: Shape) -> None:
    x = np.ones(shape)
    named = tuple("nm"[a] for a in range(len(shape)))
    for function in (np.sum, np.prod, np.cumsum, np.any, np.all, lambda v: v[::-1], lambda v: v.reshape(-1), np.diff):
        expected = function(x)
        for declared in (shape,) if function is np.diff else (shape, named):
            result = run(function, x, shapes=[declared])["y"]
            np.testing.assert_array_equal(result, expected)
    for function in (np.sum, np.prod):
        gradient = run(function, x, derive=ga.transform.grad, shapes=[named])["dy_dx0"]
        np.testing.assert_array_equal(gradient, x)


def test_an_empty_axis_has_no_largest_element() -> None:
    with pytest.raises(ShapeError, match="empty axis"):
        run(np.max, np.zeros(0))
    with pytest.raises(ShapeError, match="empty axis"):
        run(np.max, np.zeros(0), shapes=[("n",)])
    with pytest.raises(ShapeError, match="empty axis"):
        run(np.argmin, np.zeros(0), shapes=[("n",)])


def test_variable_indices() -> None:
    x, i = np.arange(12.0).reshape(4, 3), np.array([3, -1, 0, -4])
    for shapes in (None, [("n", 3), ("m",)]):
        np.testing.assert_array_equal(run(lambda a, k: a[k], x, i, shapes=shapes)["y"], x[i])
        np.testing.assert_array_equal(run(lambda a, k: a[k, 1:], x, i, shapes=shapes)["y"], x[i, 1:])
        expected = x.copy()
        expected[i] = 7.0
        np.testing.assert_array_equal(run(lambda a, k: a.at[k].set(7.0), x, i, shapes=shapes)["y"], expected)
    scalar = np.array(-2)
    np.testing.assert_array_equal(run(lambda a, k: a[k], x, scalar)["y"], x[-2])
    np.testing.assert_array_equal(run(lambda a, k: a[1:, k], x, scalar)["y"], x[1:, -2])
    short = scalar.astype("int32")
    np.testing.assert_array_equal(run(lambda a, k: a.at[k].add(1.0), x, short)["y"][2], x[2] + 1.0)
    with pytest.raises(IndexRangeError, match="axis 0"):
        run(lambda a, k: a[k], x, np.array([4]))
    with pytest.raises(IndexRangeError, match="axis 0"):
        run(lambda a, k: a.at[k].set(0.0), x, np.array([-5]))


def test_a_repeated_variable_index_gives_the_derivative_to_the_last() -> None:
    x, v, i = np.zeros(3), np.array([1.0, 2.0, 3.0]), np.array([1, 0, 1])
    graph = ga.Graph("case")
    a, b, k = graph.input("a", "n"), graph.input("b", "m"), graph.input("k", "m", "int64")
    graph.output("y", (a.at[k].set(b) * np.array([1.0, 10.0, 100.0])).sum())
    found = ga.interpret(ga.transform.grad(graph), x, v, i)
    np.testing.assert_array_equal(found["dy_da"], [0.0, 0.0, 100.0])
    np.testing.assert_array_equal(found["dy_db"], [0.0, 1.0, 10.0])


def test_batched_indices() -> None:
    graph = ga.Graph("case")
    x, i = graph.input("x", (2, 4, 3)), graph.input("i", (2, 5), "int64")
    batch = OPERATIONS["gather"].batch
    assert batch is not None
    for of_x in (True, False):
        graph.output(f"y{int(of_x)}", batch(1, (x, i), (of_x, True), {"axes": (0,)}))
    a = np.arange(24.0).reshape(2, 4, 3)
    k = np.array([[0, 1, 3, 3, 2], [3, 0, 0, 1, 1]])
    with pytest.raises(IndexRangeError):
        ga.interpret(graph, a, k)
    k = k % 2
    found = ga.interpret(graph, a, k)
    np.testing.assert_array_equal(found["y1"], np.stack([a[0][k[0]], a[1][k[1]]]))
    np.testing.assert_array_equal(found["y0"], np.stack([a[k[0]], a[k[1]]]))


def test_symbolic_slices_are_never_clipped() -> None:
    graph = ga.Graph("case")
    x = graph.input("x", "n")
    assert str(x[1:].shape) == "(n-1,)"
    assert str(x[:-1].shape) == "(n-1,)"
    assert x[:5].shape == (5,)
    assert str(x[::2].shape) == "((n+1)//2,)"
    assert str(x[-3:].shape) == "(3,)"
    assert str(x[: graph.size("n") - 1].shape) == "(n-1,)"
    graph.output("y", x[:5])
    np.testing.assert_array_equal(ga.interpret(graph, np.arange(6.0))["y"], np.arange(5.0))
    with pytest.raises(ShapeError, match=r"5 <= n[\s\S]*got: n=4"):
        ga.interpret(graph, np.arange(4.0))


@pytest.mark.parametrize("n", [3, 4, 7])
@pytest.mark.parametrize(
    "bounds",
    [(None, None, 2), (1, None, 3), (None, None, -1), (None, None, -2), (-2, None, -1), (-3, -1, 1), (None, 2, -1)],
)
def test_symbolic_slices_of_many_extents(n: int, bounds: tuple[Any, ...]) -> None:
    x = np.arange(float(n))
    np.testing.assert_array_equal(run(lambda v: v[slice(*bounds)], x, shapes=["n"])["y"], x[slice(*bounds)])


def test_builders_of_filled_arrays() -> None:
    graph = ga.Graph("case")
    graph.input("x", shape=("n", 2))
    for name, args, expected in (
        ("arange", ("n",), np.arange(4)),
        ("arange", (1, "n"), np.arange(1, 4)),
        ("arange", ("n", 0, -1), np.arange(4, 0, -1)),
        ("arange", (1, "2*n", 3), np.arange(1, 8, 3)),
        ("eye", ("n",), np.eye(4)),
        ("eye", ("n", 3, 1), np.eye(4, 3, 1)),
        ("tri", ("n", 3, -1), np.tri(4, 3, -1)),
        ("zeros", (("n", 2),), np.zeros((4, 2))),
        ("ones", ("n",), np.ones(4)),
        ("full", (("n",), 2.5), np.full(4, 2.5)),
    ):
        built_ = FUNCTIONS[name](*args, graph=graph)
        graph.output(f"y{len(graph.outputs)}", built_)
        graph_value = ga.interpret(graph.copy(), np.zeros((4, 2)))[f"y{len(graph.outputs) - 1}"]
        np.testing.assert_array_equal(graph_value, expected)
        assert graph_value.dtype == expected.dtype
    for name, size in (("arange", 4), ("eye", 3), ("tri", 3), ("zeros", (2, 3)), ("ones", 2)):
        literal = FUNCTIONS[name](size)
        assert isinstance(literal, np.ndarray)
        np.testing.assert_array_equal(literal, getattr(np, name)(size))
    with pytest.raises(ArgumentError, match="needs a graph"):
        FUNCTIONS["arange"](graph.size("n"))


def test_einsum_takes_the_cheapest_order() -> None:
    graph = ga.Graph("chain")
    a = graph.input("a", ("n", "n"), hint=1000)
    v = graph.input("v", "n")
    graph.output("y", np.einsum("ij,jk,kl,l->i", a, a, a, v))
    outs = [n.type.rank for n in graph.nodes if n.op == "einsum"]
    assert outs == [1, 1, 1]


ERRORS: dict[str, tuple[Function, type[GraphadError], str]] = {
    "out": (lambda x: np.sum(x, out=np.zeros(3)), ArgumentError, "out="),
    "axis": (lambda x: np.sum(x, axis=2), ShapeError, "axis 2 does not exist"),
    "axis twice": (lambda x: np.sum(x, axis=(0, -2)), ShapeError, "given twice"),
    "axis kind": (lambda x: np.sum(x, axis="n"), ArgumentError, "is no axis"),
    "reshape": (lambda x: x.reshape(5, 2), ShapeError, "elements"),
    "reshape -1": (lambda x: x.reshape(5, -1), ShapeError, "-1"),
    "reshape -1 -1": (lambda x: x.reshape(-1, -1), ShapeError, "one extent"),
    "squeeze": (lambda x: np.squeeze(x, 0), ShapeError, "extent 1"),
    "transpose": (lambda x: np.transpose(x, (0, 0)), ShapeError, "permutation"),
    "broadcast": (lambda x: np.broadcast_to(x, (4, 4)), ShapeError, "broadcast"),
    "concatenate": (lambda x: np.concatenate([x, x[:, :2]]), ShapeError, "axis 1: 4 and 2"),
    "stack": (lambda x: np.stack([x, x[0]]), ShapeError, "one shape"),
    "split": (lambda x: np.split(x, 2), ShapeError, "divide"),
    "pad mode": (lambda x: np.pad(x, 1, mode="mean"), ArgumentError, "mode"),
    "repeats": (lambda x: np.repeat(x, [1, 2, 3], axis=0), ArgumentError, "one number"),
    "index": (lambda x: x[3], IndexRangeError, "index 3 leaves axis 0"),
    "negative index": (lambda x: x[0, -5], IndexRangeError, "index -5 leaves axis 1"),
    "index array": (lambda x: x[[0, 3]], IndexRangeError, "index 3 leaves axis 0"),
    "too many": (lambda x: x[0, 0, 0], IndexRangeError, "too many indices"),
    "two ellipses": (lambda x: x[..., ...], ArgumentError, "more than one"),
    "float index": (lambda x: x[1.0], DtypeError, "no integer"),
    "float array": (lambda x: x[np.array([0.5])], DtypeError, "no integers"),
    "float variable": (lambda x: x[x[0, 0]], DtypeError, "no integer"),
    "mask": (lambda x: x[x > 0], GraphError, "np.where"),
    "mask set": (lambda x: x.at[x > 0].set(0.0), GraphError, "np.where"),
    "mask shape": (lambda x: x[np.array([True, False])], ShapeError, "mask"),
    "index shapes": (lambda x: x[[0, 1], [0, 1, 2]], ShapeError, "index arrays"),
    "variable bound": (lambda x: x[: np.argmax(x)], GraphError, "size"),
    "step": (lambda x: x[::0], ArgumentError, "step"),
    "values": (lambda x: x.at[0].set(np.ones(3)), ShapeError, "values do not fit"),
    "float into int": (lambda x: np.argmax(x, axis=0).at[0].set(0.5), DtypeError, "integers"),
    "matmul": (lambda x: x @ np.ones((3, 2)), ShapeError, r"\(3, 4\) and \(3, 2\)"),
    "matmul batch": (lambda x: x @ np.ones((2, 4, 1)) @ np.ones((3, 1, 1)), ShapeError, "matmul"),
    "matmul scalar": (lambda x: np.matmul(x, 2.0), ShapeError, "scalars"),
    "dot": (lambda x: np.dot(x, x), ShapeError, "`dot`"),
    "tensordot": (lambda x: np.tensordot(x, x, 3), ShapeError, "more axes"),
    "cross": (lambda x: np.cross(x, x), ShapeError, "three components"),
    "einsum fit": (lambda x: np.einsum("ij,jk", x, x), ShapeError, "4 and 3"),
    "einsum rank": (lambda x: np.einsum("ijk", x), ShapeError, "name the axes"),
    "einsum result": (lambda x: np.einsum("ij->k", x), ShapeError, "not possible"),
    "einsum terms": (lambda x: np.einsum("ij,jk->ik", x), ShapeError, "one term"),
    "norm": (lambda x: np.linalg.norm(x, 2), ArgumentError, "ord=2"),
    "norm nuclear": (lambda x: np.linalg.norm(x, "nuc"), ArgumentError, "nuc"),
    "diag": (lambda x: np.diag(x[None]), ShapeError, "vector or a matrix"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_name_what_is_wrong(name: str) -> None:
    function, kind, text = ERRORS[name]
    x = ga.Graph("case").input("x", (3, 4))
    with pytest.raises(kind, match=text) as caught:
        function(x)
    if kind is not ArgumentError:
        assert "test_ops_structural.py" in str(caught.value)


def test_run_time_checks_of_constant_indices_on_symbolic_axes() -> None:
    graph = ga.Graph("case")
    x = graph.input("x", "n")
    graph.output("y", x[[0, 4, -2]])
    np.testing.assert_array_equal(ga.interpret(graph, np.arange(5.0))["y"], [0.0, 4.0, 3.0])
    with pytest.raises(ShapeError, match="index leaves axis 0"):
        ga.interpret(graph, np.arange(4.0))
