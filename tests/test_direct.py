"""The call as machine code: it takes what is plainly right, and hands everything else on."""

from __future__ import annotations

import gc
import sys
from typing import Any

import numpy as np
import pytest

import graphad as ga
from graphad.compile import compile_graph
from graphad.emit.call import make_call
from graphad.errors import ArgumentError, DtypeError, IndexRangeError, ShapeError
from tests.concurrency import in_threads

DTYPES = ("float64", "float32", "int64", "int32", "bool")


def everything() -> ga.CompiledFunction:
    """Scalars and arrays of all dtypes in, and out in the same order."""
    g = ga.Graph("everything")
    n = g.size("n")
    for dtype in DTYPES:
        scalar = g.input(f"s_{dtype}", dtype=dtype)
        array = g.input(f"a_{dtype}", shape=(n, 2 * n - 1), dtype=dtype)
        g.output(f"out_s_{dtype}", scalar)
        g.output(f"out_a_{dtype}", array[::-1])
    return ga.compile(g)


FUNCTION = everything()


def arguments() -> dict[str, Any]:
    numbers = {"float64": 0.1, "float32": 0.1, "int64": -(2**62), "int32": -(2**31), "bool": True}
    found: dict[str, Any] = {}
    for dtype in DTYPES:
        found[sys.intern(f"s_{dtype}")] = numbers[dtype]
        found[sys.intern(f"a_{dtype}")] = np.arange(15).reshape(3, 5).astype(dtype)
    return found


def check_result(result: Any, given: dict[str, Any]) -> None:
    for dtype in DTYPES:
        scalar, array = getattr(result, f"out_s_{dtype}"), getattr(result, f"out_a_{dtype}")
        assert type(scalar) is np.dtype(dtype).type
        assert scalar == np.dtype(dtype).type(given[f"s_{dtype}"])
        assert array.dtype == dtype
        np.testing.assert_array_equal(array, given[f"a_{dtype}"][::-1])


@pytest.fixture
def direct(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Nothing may go to Python while this is in use."""

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("the call went to Python")

    def forbid(function: ga.CompiledFunction) -> None:
        name = function.graph.name
        kept = [o for o in function.__call__.__self__[2] if hasattr(o, "__code__")]
        (checked,) = [o for o in kept if o.__name__ == name]
        monkeypatch.setattr(checked, "__code__", refuse.__code__)

    return forbid


def test_every_dtype_is_taken_without_python(direct: Any) -> None:
    function = everything()
    assert type(function.__call__) is type(len)
    direct(function)
    given = arguments()
    check_result(function(*given.values()), given)
    given |= {"s_float64": np.float64(2.5), "s_float32": np.float32(2.5), "s_bool": False}
    check_result(function(*given.values()), given)
    check_result(function(**given), given)
    check_result(function(*[*given.values()][:3], **dict([*given.items()][:2:-1]), out=None), given)
    with pytest.raises(AssertionError, match="went to Python"):
        function(*[*given.values()][:-1])


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("s_int32", 2**31, DtypeError),
        ("s_int64", 2**63, DtypeError),
        ("s_float64", 1 + 2j, DtypeError),
        ("s_bool", 1, DtypeError),
        ("a_float64", np.zeros((3, 5), np.float32), DtypeError),
        ("a_float64", np.zeros((3, 4)), ShapeError),
        ("a_float64", np.zeros((0, 5)), ShapeError),
        ("a_float64", np.zeros(15), ShapeError),
        ("a_int64", [[1] * 5] * 3, ArgumentError),
        ("a_bool", None, ArgumentError),
    ],
)
def test_what_is_wrong_gets_the_usual_errors(name: str, value: Any, error: type[Exception]) -> None:
    given = arguments() | {name: value}
    with pytest.raises(error):
        FUNCTION(*given.values())


CALLS = ("f(x, x=x)", "f()", "f(out=x)", "f(x, x)", "f(x, y=x)", "f(x, x, out=x)", "f(x, y=1, out=x)")


@pytest.mark.parametrize("call", CALLS)
def test_arguments_that_do_not_match_the_names_are_refused(call: str) -> None:
    with pytest.raises(ArgumentError):
        eval(call, {"f": SQUARE, "x": np.arange(3.0)})


def test_other_layouts_and_names_give_the_same_results() -> None:
    given = arguments()
    given["a_float64"] = np.asfortranarray(given["a_float64"])
    given["a_float32"] = given["a_float32"].astype(">f4")
    given["a_int64"] = np.repeat(given["a_int64"], 2, axis=1)[:, ::2]
    check_result(FUNCTION(*given.values()), given)
    check_result(FUNCTION(**given), given)
    check_result(FUNCTION(*given.values(), out=None), given)


def square() -> ga.CompiledFunction:
    g = ga.Graph("square")
    x = g.input("x", shape="n")
    g.output("y", x * x)
    return ga.compile(g)


SQUARE = square()


def test_out_is_written_and_refused_as_before(direct: Any) -> None:
    x, out = np.arange(4.0), np.empty(4)
    assert SQUARE(x, out=out) is out
    memory = np.arange(8.0)
    for wrong, error in [(memory[:4], None), (memory[3:7], ArgumentError), (np.empty(3), ShapeError),
                         (np.empty(4, np.float32), DtypeError), (np.empty(8)[::2], ArgumentError)]:  # fmt: skip
        if error is None:
            np.testing.assert_array_equal(SQUARE(memory[4:], out=wrong), [16.0, 25.0, 36.0, 49.0])
            continue
        with pytest.raises(error):
            SQUARE(memory[4:], out=wrong)
    with pytest.raises(ArgumentError):
        SQUARE(x, out=x)
    with pytest.raises(ArgumentError, match="no argument `other`"):
        SQUARE(x, other=out)
    function = square()
    direct(function)
    assert function(x, out=out) is out
    assert function(np.empty(0), out=np.empty(0)).shape == (0,)


def test_no_reference_is_lost_or_kept() -> None:
    x, out = np.arange(4.0), np.empty(4)
    given = [*arguments().values()]
    pair = ga.value_and_grad(_sum_of_squares(), wrt=["x"])
    counts = []
    for rounds in (10, 2000):
        for _ in range(rounds):
            SQUARE(x), SQUARE(x, out=out), FUNCTION(*given), pair(x)
        gc.collect()
        counts.append((sys.getrefcount(x), sys.getrefcount(out), sys.getallocatedblocks()))
    assert counts[0][:2] == counts[1][:2]
    assert abs(counts[1][2] - counts[0][2]) < 500


def _sum_of_squares() -> ga.Graph:
    g = ga.Graph("sum_of_squares")
    x = g.input("x", shape="n")
    g.output("y", (x * x).sum())
    return g


def test_nested_results_are_packed() -> None:
    value, gradient = ga.value_and_grad(_sum_of_squares(), wrt=["x"])(np.arange(3.0))
    assert type(value) is np.float64
    assert repr(gradient) == "gradient(x=array([0., 2., 4.]))"


def test_indices_are_checked_before_the_kernel_runs(direct: Any) -> None:
    g = ga.Graph("gathered")
    x, i = g.input("x", shape="n"), g.input("i", shape="m", dtype="int64")
    g.output("y", x[i])
    function = ga.compile(g)
    with pytest.raises(IndexRangeError):
        function(np.arange(3.0), np.array([0, 3]))
    direct(function)
    np.testing.assert_array_equal(function(np.arange(3.0), np.array([2, -3])), [2.0, 0.0])


def test_sizes_are_computed_as_python_does() -> None:
    g = ga.Graph("halves")
    n, m = g.size("n"), g.size("m")
    x, y = g.input("x", shape=n), g.input("y", shape=m)
    g.input("z", shape=((n - 5) // 3 + 4, n * m))
    g.output("p", x.sum() * y)
    function = ga.compile(g)
    for rows, columns in [(0, 3), (1, 2), (4, 1), (6, 2), (9, 0)]:
        z = np.zeros(((rows - 5) // 3 + 4, rows * columns))
        assert function(np.ones(rows), np.ones(columns), z).tolist() == [float(rows)] * columns
        with pytest.raises(ShapeError):
            function(np.ones(rows), np.ones(columns), np.zeros((z.shape[0] + 1, z.shape[1])))


def test_threads_may_call_at_once() -> None:
    x = np.random.default_rng(0).normal(size=20_000)
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(200):
            if not np.array_equal(SQUARE(x + number), (x + number) ** 2):
                wrong.append(number)

    in_threads(work, 4)
    assert not wrong


def test_the_python_function_decides_the_same() -> None:
    path = compile_graph(_sum_of_squares())._path
    python, _ = make_call(path)
    for value in (np.arange(3.0), np.arange(6.0)[::2], np.arange(3), "x", np.zeros((2, 2))):
        answers = []
        for call in (python, compile_graph(_sum_of_squares())):
            try:
                answers.append(repr(call(value)))
            except ga.GraphadError as error:
                answers.append(str(error))
        assert answers[0] == answers[1]
