"""The Python function in front of a kernel: what it takes, converts, refuses; nothing is written too early."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any, get_args

import numpy as np
import pytest
from numba import njit
from numpy.typing import NDArray

import graphad as ga
from graphad.compile import CompiledFunction, Tier
from graphad.emit.call import MISSING
from graphad.errors import ArgumentError, DtypeError, GraphadError, IndexRangeError, ShapeError
from graphad.ir.operation import FUNCTIONS, OPERATIONS
from tests.concurrency import in_threads


@pytest.fixture(scope="module", params=get_args(Tier))
def tier(request: pytest.FixtureRequest) -> Tier:
    """What runs the functions: everything on this page holds for every tier."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def weighted(tier: Tier) -> CompiledFunction:
    """Value and gradient of Σ w·(A x)², with a float32-free, two-array, one-scalar signature."""
    g = ga.Graph("weighted")
    a, x, w = g.input("A", shape=("m", "n")), g.input("x", shape="n"), g.input("w")
    g.output("y", w * ((a * x).sum(axis=1) ** 2).sum())
    return ga.value_and_grad(g, wrt="x", tier=tier)


@pytest.fixture(scope="module")
def doubled(tier: Tier) -> CompiledFunction:
    """2 x of a float32 array."""
    g = ga.Graph("doubled")
    x = g.input("x", shape=("n", 2), dtype="float32")
    g.output("y", x + x)
    return ga.compile(g, tier=tier)


@pytest.fixture(scope="module")
def picked(tier: Tier) -> CompiledFunction:
    """Σ x[i]·s, with an index array and an integer scalar."""
    g = ga.Graph("picked")
    x, i = g.input("x", shape="n"), g.input("i", shape="k", dtype="int64")
    s = g.input("s", dtype="int64")
    g.output("y", (x[i] * s).sum())
    return ga.value_and_grad(g, wrt="x", tier=tier)


A = np.array([[1.0, 2.0], [3.0, -1.0], [0.5, 0.0]])
X = np.array([0.3, -0.7])
W = 1.5


def expected() -> tuple[float, NDArray[Any]]:
    return float(W * ((A @ X) ** 2).sum()), 2 * W * A.T @ (A @ X)


def check(result: Any) -> None:
    value, gradient = expected()
    np.testing.assert_allclose(result[0], value, rtol=1e-14)
    np.testing.assert_allclose(result[1], gradient, rtol=1e-14)


# ---------------------------------------------------------------------- what is taken


def test_positions_and_names(weighted: CompiledFunction) -> None:
    check(weighted(A, X, W))
    check(weighted(A, w=W, x=X))
    check(weighted(w=W, x=X, A=A))


def unaligned(array: NDArray[Any]) -> NDArray[Any]:
    """The array one byte off its alignment."""
    raw = np.zeros(array.nbytes + 1, np.uint8)[1:]
    raw[:] = np.frombuffer(array.tobytes(), np.uint8)
    result = raw.view(array.dtype).reshape(array.shape)
    assert not result.flags.aligned
    return result


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    result = array.copy()
    result.flags.writeable = False
    return result


class Subclass(np.ndarray[Any, Any]):
    """An array with a name of its own."""


FORMS: dict[str, Any] = {
    "Fortran order": np.asfortranarray,
    "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "reversed": lambda a: a[::-1].copy()[::-1],
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "unaligned": unaligned,
    "read-only": read_only,
    "subclass": lambda a: a.view(Subclass),
    "transposed twice": lambda a: np.ascontiguousarray(a.T).T,
}


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_other_memory_layouts_give_the_same(weighted: CompiledFunction, form: str) -> None:
    a, x = FORMS[form](A), FORMS[form](X)
    before = a.tobytes(), x.tobytes()
    check(weighted(a, x, W))
    assert (a.tobytes(), x.tobytes()) == before
    assert type(weighted(a, x, W)[1]) is np.ndarray


def test_read_only_views_of_one_element(weighted: CompiledFunction) -> None:
    a, x = np.broadcast_to(np.float64(2.0), (3, 2)), np.broadcast_to(1.0, (2,))
    np.testing.assert_allclose(weighted(a, x, 1.0)[0], 3 * 16.0)


TWOS = [2, 2.0, np.float64(2.0), np.float32(2.0), np.int32(2), np.array(2.0), read_only(np.array(2.0))]


@pytest.mark.parametrize("w", TWOS)
def test_scalars(weighted: CompiledFunction, w: Any) -> None:
    np.testing.assert_allclose(weighted(A, X, w)[0], expected()[0] * 2 / W, rtol=1e-14)


@pytest.mark.parametrize("s", [3, np.int64(3), np.int32(3), np.uint8(3), np.array(3)])
def test_integer_scalars(picked: CompiledFunction, s: Any) -> None:
    value, gradient = picked(np.arange(4.0), np.array([1, -1, 1]), s)
    assert value == 15.0
    assert gradient.tolist() == [0.0, 6.0, 0.0, 3.0]


def test_empty_arrays(weighted: CompiledFunction, picked: CompiledFunction) -> None:
    value, gradient = weighted(np.zeros((0, 2)), X, W)
    assert value == 0.0
    assert gradient.tolist() == [0.0, 0.0]
    value, gradient = picked(np.zeros(0), np.zeros(0, np.int64), 1)
    assert value == 0.0
    assert gradient.shape == (0,)


def test_results_are_numpy_values_of_the_declared_dtype(tier: Tier) -> None:
    g = ga.Graph("kinds")
    x = g.input("x", shape="n", dtype="float32")
    g.output("total", x.sum())
    g.output("largest", x.argmax())
    g.output("positive", (x > 0).all())
    g.output("both", x + x)
    total, largest, positive, both = f = ga.compile(g, tier=tier)(np.array([1, 3, 2], np.float32))
    assert (type(total), type(largest), type(positive)) == (np.float32, np.int64, np.bool_)
    assert (float(total), int(largest), bool(positive)) == (6.0, 1, True)
    assert both.dtype == np.float32
    assert f._fields == ("total", "largest", "positive", "both")
    assert pickle.loads(pickle.dumps(f)).total == 6.0


def test_results_are_fresh(weighted: CompiledFunction) -> None:
    first = weighted(A, X, W)[1]
    second = weighted(A, 2 * X, W)[1]
    assert not np.shares_memory(first, second)
    np.testing.assert_allclose(first, expected()[1])


def test_non_finite_values_propagate(doubled: CompiledFunction) -> None:
    x = np.array([[np.nan, np.inf], [-np.inf, 1.0]], np.float32)
    np.testing.assert_array_equal(doubled(x), x + x)


# ---------------------------------------------------------------------- sizes


def test_sizes_that_are_expressions() -> None:
    g = ga.Graph("sized")
    g.input("a", shape=("2*n+1",))
    b, c = g.input("b", shape=("n", "m")), g.input("c", shape=("n*m",))
    d = g.input("d", shape=("(m+1)//2",))
    g.output("y", b.sum() + c.sum() + d.sum())
    f = ga.compile(g)
    assert f(np.ones(7), np.ones((3, 5)), np.ones(15), np.ones(3)) == 33.0
    for shapes in [(8, (3, 5), 15, 3), (7, (3, 5), 14, 3), (7, (3, 5), 15, 2), (7, (2, 5), 10, 3)]:
        with pytest.raises(ShapeError, match="wrong size of axis 0"):
            f(*[np.ones(s) for s in shapes])


def test_a_size_that_stands_only_in_an_expression() -> None:
    g = ga.Graph("shifted")
    x = g.input("x", shape="2*n-1")
    g.output("y", x + ga.arange(2 * g.size("n") - 1, graph=g))
    f = ga.compile(g)
    assert f(np.zeros(5)).tolist() == [0, 1, 2, 3, 4]
    for length in (4, 0):
        with pytest.raises(ShapeError, match="no size `n` gives axis 0 of `x` its length"):
            f(np.zeros(length))


def test_requirements_are_checked() -> None:
    g = ga.Graph("pairs")
    x, y = g.input("x", shape="n"), g.input("y", shape="m")
    g.output("z", x[2:] + y)
    f = ga.compile(g)
    assert f(np.ones(5), np.ones(3)).tolist() == [2, 2, 2]
    with pytest.raises(ShapeError, match=r"expected: n-2 == m"):
        f(np.ones(5), np.ones(4))
    with pytest.raises(ShapeError):
        f(np.ones(1), np.ones(0))


# ---------------------------------------------------------------------- out=


def test_out_is_written_and_returned(weighted: CompiledFunction) -> None:
    out = np.full(2, np.nan)
    result = weighted(A, X, W, out=out)
    assert result[1] is out
    check(result)
    for given in ({"dy_dx": out}, (None, out), {}):
        check(weighted(A, X, W, out=given))


def test_out_for_several_arrays() -> None:
    g = ga.Graph("parts")
    x = g.input("x", shape="n")
    g.output("a", x + 1.0)
    g.output("b", x * 2.0)
    f = ga.compile(g)
    a, b = np.empty(3), np.empty(3)
    result = f(np.arange(3.0), out=(a, b))
    assert result.a is a
    assert result.b is b
    assert a.tolist() == [1, 2, 3]
    assert b.tolist() == [0, 2, 4]
    half = f(np.arange(3.0), out={"b": b})
    assert half.b is b
    assert half.a is not a
    with pytest.raises(ArgumentError, match="out `b` overlaps out `a`"):
        f(np.arange(3.0), out=(a, a))
    with pytest.raises(ArgumentError, match="out is ndarray"):
        f(np.arange(3.0), out=a)


BAD_OUT: dict[str, tuple[Any, type[GraphadError], str]] = {
    "shape": (np.empty(3), ShapeError, r"out `dy_dx` has the wrong shape\n  expected: \(2,\)\n  got: \(3,\)"),
    "rank": (np.empty((2, 1)), ShapeError, "wrong shape"),
    "dtype": (np.empty(2, np.float32), DtypeError, "wrong dtype\n  expected: float64\n  got: float32"),
    "strided": (np.empty(4)[::2], ArgumentError, "out `dy_dx` is not C-contiguous"),
    "read-only": (read_only(np.empty(2)), ArgumentError, "is not writeable"),
    "unaligned": (unaligned(np.empty(2)), ArgumentError, "is not aligned"),
    "list": ([0.0, 0.0], ArgumentError, "is no array"),
    "name": ({"dy_dw": np.empty(2)}, ArgumentError, "out has no array `dy_dw`"),
    "scalar": ({"y": np.empty(())}, ArgumentError, "a scalar is returned, not written"),
    "count": ((np.empty(2),), ArgumentError, "out has 1 entries"),
}


@pytest.mark.parametrize("case", BAD_OUT)
def test_bad_out(weighted: CompiledFunction, case: str) -> None:
    out, kind, message = BAD_OUT[case]
    with pytest.raises(kind, match=message):
        weighted(A, X, W, out=out)


def test_out_may_not_overlap_an_argument(weighted: CompiledFunction) -> None:
    x = X.copy()
    row = A.copy()
    for arguments, out in [((A, x, W), x), ((row, X, W), row[0]), ((A, x, W), x[:])]:
        with pytest.raises(ArgumentError, match="overlaps the argument"):
            weighted(*arguments, out=out)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(row, A)


def test_nothing_is_written_before_the_checks(weighted: CompiledFunction, picked: CompiledFunction) -> None:
    marked = np.full(2, 7.0)
    bad: list[tuple[Any, ...]] = [(A, X, "1"), (A.astype(np.float32), X, W), (A, X[:1], W), (A, X), (A, [1.0, 2.0], W)]
    for arguments in bad:
        with pytest.raises(GraphadError):
            weighted(*arguments, out=marked)
    out = np.full(4, 7.0)
    with pytest.raises(IndexRangeError):
        picked(np.arange(4.0), np.array([0, 4]), 1, out=out)
    assert marked.tolist() == [7.0, 7.0]
    assert out.tolist() == [7.0] * 4


# ---------------------------------------------------------------------- indices


def test_negative_indices_count_from_the_end(picked: CompiledFunction) -> None:
    assert picked(np.arange(4.0), np.array([-1, -4, 3]), 1)[0] == 6.0


@pytest.mark.parametrize("index", [4, -5, 2**62, -(2**62), 2**63 - 1, -(2**63)])
def test_indices_out_of_range(picked: CompiledFunction, index: int) -> None:
    with pytest.raises(IndexRangeError, match=rf"index {index} is outside axis 0\n  expected: -4 <= index < 4"):
        picked(np.arange(4.0), np.array([0, index]), 1)


def test_indices_into_an_empty_axis(picked: CompiledFunction) -> None:
    with pytest.raises(IndexRangeError, match="no index: the axis is empty"):
        picked(np.zeros(0), np.array([0]), 1)


def test_indices_read_through_indices(tier: Tier) -> None:
    g = ga.Graph("nested")
    x, i = g.input("x", shape="n"), g.input("i", shape="k", dtype="int64")
    j = g.input("j", shape="l", dtype="int64")
    g.output("y", x[i[j]].sum())
    f = ga.compile(g, tier=tier)
    x_, i_ = np.arange(5.0), np.array([4, 7, 0])
    assert f(x_, i_, np.array([0, 2])) == 4.0
    with pytest.raises(IndexRangeError, match="index 7 is outside axis 0"):
        f(x_, i_, np.array([0, 1]))
    with pytest.raises(IndexRangeError, match="index 3 is outside axis 0"):
        f(x_, i_, np.array([0, 3]))
    with pytest.raises(IndexRangeError):
        f(x_, i_, np.array([10**12]))


@pytest.fixture
def own_operation() -> Iterator[Callable[..., Any]]:
    """An operation that indexes inside: 2 x[i]."""
    yield ga.custom_derivative(
        "picking_twice", lambda x, i: x[i] * 2.0, vjp=lambda args, out, ct: (args[0] * 0.0 + ct.sum(), None)
    )
    del OPERATIONS["picking_twice"], FUNCTIONS["picking_twice"]


def test_indices_inside_an_operation_of_the_users_own(own_operation: Callable[..., Any], tier: Tier) -> None:
    g = ga.Graph("own")
    x, i = g.input("x", shape="n"), g.input("i", shape="k", dtype="int64")
    g.output("y", own_operation(x, i).sum())
    f = ga.compile(g, tier=tier)
    assert f(np.arange(4.0), np.array([3, -1])) == 12.0
    with pytest.raises(IndexRangeError, match="index 4 is outside axis 0"):
        f(np.arange(4.0), np.array([4]))


def test_scattered_indices(tier: Tier) -> None:
    g = ga.Graph("scattered")
    x, i, v = g.input("x", shape="n"), g.input("i", shape="k", dtype="int32"), g.input("v", shape="k")
    g.output("y", x.at[i].add(v))
    f = ga.compile(g, tier=tier)
    assert f(np.zeros(3), np.array([2, -3, 2], np.int32), np.ones(3)).tolist() == [1, 0, 2]
    with pytest.raises(IndexRangeError, match="`scatter_add`: index -4"):
        f(np.zeros(3), np.array([-4], np.int32), np.ones(1))


# ---------------------------------------------------------------------- as an object


def test_threads(weighted: CompiledFunction) -> None:
    wrong: list[int] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(200):
            a, x = rng.normal(size=(4, 3)), rng.normal(size=3)
            value, gradient = weighted(a, x, 2.0)
            same = np.allclose(gradient, 4 * a.T @ (a @ x)) and np.isclose(value, 2 * ((a @ x) ** 2).sum())
            if not same:
                wrong.append(seed)

    in_threads(work, 4)
    assert wrong == []


def test_threads_that_compile_at_once() -> None:
    g = ga.Graph("raced")
    x = g.input("x", shape="n")
    g.output("y", (x * x * x).sum())
    results: list[float] = []
    threads = [threading.Thread(target=lambda: results.append(float(ga.compile(g)(np.arange(3.0))))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [9.0] * 4


def test_pickle_and_copy(weighted: CompiledFunction) -> None:
    for other in (pickle.loads(pickle.dumps(weighted)), copy.deepcopy(weighted)):
        check(other(A, X, W))
        assert other.graph == weighted.graph
        assert other.source == weighted.source
        assert other.recipe.plan == weighted.recipe.plan


def test_jit_inside_compiled_code(weighted: CompiledFunction) -> None:
    inner = weighted.jit

    @njit
    def descend(a: Any, x: Any, w: float) -> Any:
        for _ in range(200):
            _, gradient = inner(a, x, w)
            x = x - 0.02 * gradient
        return x

    assert np.abs(descend(A, X, W)).max() < 1e-2
    check(inner(A, X, W))


def test_signature_and_repr(weighted: CompiledFunction) -> None:
    assert repr(weighted) == f"<{weighted.recipe.tier} weighted_value_and_grad(A, x, w, *, out=None)>"
    assert repr(MISSING) == "<missing>"
    assert "def weighted_value_and_grad" in weighted.source
    assert "graphad" not in weighted.source.split('"""', 2)[2]


@pytest.mark.parametrize("name", ["out", "__x"])
def test_reserved_names(name: str) -> None:
    g = ga.Graph("reserved")
    x = g.input(name)
    g.output("y", x + 1.0)
    with pytest.raises(ArgumentError, match=f"an input can not be called `{name}`"):
        ga.compile(g)


def test_names_that_the_function_also_uses() -> None:
    g = ga.Graph("kernel")
    n, np_, kernel = g.input("n", shape="n"), g.input("np"), g.input("kernel", shape="n")
    g.output("empty", n * np_ + kernel)
    assert ga.compile(g)(np.ones(2), 3.0, np.ones(2)).tolist() == [4, 4]


@pytest.mark.parametrize("name", ["type", "min", "max", "float", "int", "isinstance", "slow", "given", "count"])
def test_inputs_may_be_called_like_what_the_function_uses(name: str) -> None:
    g = ga.Graph("named")
    x = g.input(name, shape="min(n,m)")
    w, i = g.input("w", shape=("n", "m")), g.input("bool", dtype="int64")
    g.output("y", x * 2.0 + w.sum() + i)
    function = ga.compile(g)
    for rows, columns in [(2, 3), (4, 1)]:
        given = {name: np.ones(min(rows, columns)), "w": np.ones((rows, columns)), "bool": 1}
        expected = np.full(min(rows, columns), 3.0 + rows * columns)
        np.testing.assert_array_equal(function(*given.values()), expected)
        np.testing.assert_array_equal(function(**given), expected)


def test_a_size_that_only_a_slice_names_is_refused() -> None:
    g = ga.Graph("cut")
    x = g.input("x", shape=5)
    g.output("y", x[: g.size("k")])
    for run in (lambda: ga.compile(g, tier="interpreted"), lambda: ga.interpret(g, np.ones(5))):
        with pytest.raises(ShapeError, match="the size `k` follows from no input"):
            run()


def test_a_number_beyond_the_floats_is_refused(weighted: CompiledFunction) -> None:
    with pytest.raises(DtypeError, match="an integer too large"):
        weighted(A, X, 10**400)
