"""What users write around loops and branches: states of any form, bounds, numbers, and what messages call them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import graphad as ga


class Pair(NamedTuple):
    left: Any
    right: Any


def both_tiers(graph: ga.Graph, *args: Any) -> Any:
    """The result of a graph, interpreted and compiled."""
    results = [ga.compile(graph, tier=tier)(*args) for tier in ("interpreted", "compiled")]
    np.testing.assert_allclose(results[1], results[0], rtol=1e-14, atol=1e-15)
    return results[0]


# ---------------------------------------------------------------------- bounds


@pytest.mark.parametrize("bounds", [(-3, 2), (-5, -2), (2, -1), (-1, -1), (np.int64(-2), 1), (3, "n"), (-2, "n-3")])
def test_counted_loops_begin_and_end_where_python_does(bounds: tuple[Any, Any]) -> None:
    g = ga.Graph("count")
    x, xs = g.input("x"), g.input("xs", shape="n")
    g.output("y", ga.fori_loop(*bounds, lambda i, s: s * x + i, x))
    g.output("sum", xs.sum())
    slope = ga.grad(g, "x", of="y", tier="interpreted")
    for n in (0, 3, 5):
        lower, upper = (eval(b, {"n": n}) if isinstance(b, str) else b for b in bounds)

        def wanted(s: Any, lower: Any = lower, upper: Any = upper) -> Any:
            state = s
            for i in range(lower, upper):
                state = state * s + i
            return state

        assert both_tiers(g, 0.7, np.ones(n))[0] == pytest.approx(wanted(0.7), rel=1e-14)
        assert slope(0.7, np.ones(n)) == pytest.approx(wanted(0.7 + 1e-30j).imag / 1e-30, rel=1e-13)


@pytest.mark.parametrize("bound", [2.0, 1.5, None, True, [1]])
def test_bounds_that_are_no_integers_are_refused(bound: Any) -> None:
    x = ga.Graph("g").input("x")
    for bounds in ((0, bound), (bound, 3)):
        with pytest.raises(ga.DtypeError, match=r"`fori_loop`: `(lower|upper)` is no integer"):
            ga.fori_loop(*bounds, lambda i, s: s + i, x)


@pytest.mark.parametrize("length", [-1, 2.0, True, np.int64(-3), [4]])
def test_lengths_that_are_no_numbers_of_steps_are_refused(length: Any) -> None:
    x = ga.Graph("g").input("x")
    with pytest.raises(ga.ShapeError, match=r"`scan`: length=.* is no number of steps"):
        ga.scan(lambda s, _: (s, None), x, length=length)


@pytest.mark.parametrize("loop", [
    lambda x: ga.scan(lambda s, _: (s * 1.5, None), x.sum(), length="k")[0],
    lambda x: ga.fori_loop(0, "k", lambda i, s: s * 1.5, x.sum()),
    lambda x: ga.map(lambda v: ga.fori_loop(0, "k", lambda i, s: s * 1.5, v), x),
])  # fmt: skip
def test_a_number_of_steps_that_no_input_gives_is_refused(loop: Callable[[Any], Any]) -> None:
    g = ga.Graph("steps")
    g.output("y", loop(g.input("x", shape="n")))
    for make in (ga.compile, lambda graph: ga.interpret(graph, np.ones(2))):
        with pytest.raises(ga.ShapeError, match="`steps`: the size `k` follows from no input"):
            make(g)


# ---------------------------------------------------------------------- structures


def test_dictionaries_may_come_back_in_another_order() -> None:
    g = ga.Graph("order")
    x = g.input("x")
    start = {"a": x, "inner": ({"c": x, "d": x}, 1)}

    def step(i: Any, s: Any) -> Any:
        (inner, count) = s["inner"]
        return {"inner": ({"d": inner["c"], "c": inner["d"] + s["a"]}, count * 2), "a": s["a"] * 3.0}

    last = ga.fori_loop(0, 2, step, start)
    chosen = ga.cond(x > 0.0, lambda: {"b": x, "a": 2.0 * x}, lambda: {"a": x, "b": 5.0 * x})
    assert list(last) == ["a", "inner"]
    assert list(chosen) == ["b", "a"]
    results = last["a"], last["inner"][0]["c"], last["inner"][0]["d"], last["inner"][1], chosen["a"], chosen["b"]
    for k, result in enumerate(results):
        g.output(f"y{k}", result)
    assert both_tiers(g, 1.0) == (9.0, 4.0, 2.0, 4, 2.0, 1.0)
    assert both_tiers(g, -1.0) == (-9.0, -4.0, -2.0, 4, -1.0, -5.0)


def test_keys_are_any_text() -> None:
    g = ga.Graph("keys")
    x = g.input("x")
    keys = ["a b", "a_b", "", "é", "²", 1, "1", "carry", "for"]
    start = {key: x + float(k) for k, key in enumerate(keys)} | {"a": {"b": x}}
    last = ga.fori_loop(0, 2, lambda i, s: {**{k: 2.0 * s[k] for k in keys}, "a": {"b": 3.0 * s["a"]["b"]}}, start)
    for k, key in enumerate(keys):
        g.output(f"y{k}", last[key])
    g.output("last", last["a"]["b"])
    assert both_tiers(g, 1.0) == (*(4.0 * (1.0 + k) for k in range(len(keys))), 9.0)


def test_numbers_in_branches_take_a_common_type_and_numpy_chooses_at_once() -> None:
    g = ga.Graph("numbers")
    x, single = g.input("x"), g.input("single", dtype="float32")
    cases = [(2.5, 1, "float64"), (1, 2, "int64"), (1, 2.5, "float64"), (single, 2.5, "float32"), (3, x, "float64")]
    for k, (yes, no, dtype) in enumerate(cases):
        chosen = ga.cond(x > 0.0, lambda yes=yes: yes, lambda no=no: no)
        assert chosen.dtype == dtype
        g.output(f"y{k}", chosen)
    assert ga.cond(np.bool_(False), lambda: 1, lambda: 2) == 2
    with pytest.raises(ga.DtypeError, match="`result` has one type"):
        ga.cond(x > 0.0, lambda: x, lambda: True)
    assert both_tiers(g, 1.0, 4.0) == (2.5, 1, 1.0, 4.0, 3.0)
    assert both_tiers(g, -1.0, 4.0) == (1.0, 2, 2.5, 2.5, -1.0)


# ---------------------------------------------------------------------- messages


@pytest.mark.parametrize(("make", "message"), [
    (lambda x: ga.scan(lambda c, v: ((c[0], x), None), (x.sum(), 0.0), x), r"`scan`: `carry\[1\]` changes its type"),
    (lambda x: ga.fori_loop(0, 2, lambda i, c: {"a": c["a"][None]}, {"a": x}),
     r"`fori_loop`: `carry\['a'\]` changes its type"),
    (lambda x: ga.fori_loop(0, (x > 0.0).astype("int64").sum(), lambda i, c: Pair(c[0], c[1][None]), Pair(x, x)),
     r"`fori_loop`: `carry.right` changes its type"),
    (lambda x: ga.while_loop(lambda c: c[0] < 1.0, lambda c: [c[0], "text"], [x.sum(), x]),
     r"`while_loop`: `carry\[1\]`, a result of `body`, is no variable"),
    (lambda x: ga.map(lambda v: v, {"a": x, "b": x.sum()}), r"`map`: `xs\['b'\]` is a scalar"),
    (lambda x: ga.map(lambda v: {"a": v, "b": "text"}, x), r"`map`: `y\['b'\]`, a result of `body`, is no variable"),
    (lambda x: ga.fori_loop(0, 2, lambda i, c: None, x), r"expected: \*\n  got: None"),
    (lambda x: ga.cond(x.sum() > 0.0, lambda: (x, x), lambda: (x, x.sum())), r"`cond`: `result\[1\]` has one type"),
    (lambda x: ga.fori_loop(0, 2, lambda i, c: c, x, checkpoint=0), "`fori_loop`: checkpoint=0 is no schedule"),
])  # fmt: skip
def test_messages_name_what_was_called_and_where_it_is_wrong(make: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(ga.GraphadError, match=message):
        make(ga.Graph("g").input("x", shape="n"))
