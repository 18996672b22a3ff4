"""Updates of arrays that loops carry: in place where nothing needs the old array, and right where something does."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphad as ga
from graphad.ad import transform
from graphad.interpret import interpret
from tests.unjitted import unjitted

Body = Callable[[Any, Any], Any]


def program(body: Body, shape: Any = "n", start: int = 1) -> ga.Graph:
    """A loop over the first axis whose state is one array."""
    g = ga.Graph("updates")
    x = g.input("x", shape=shape)
    g.output("y", (ga.fori_loop(start, "n", body, x) ** 2).sum())
    return g


def by_hand(step: Callable[[Any, int], None], x: Any, start: int = 1) -> Any:
    """The same loop in NumPy, which changes its array."""
    x = x.copy()
    for i in range(start, len(x)):
        step(x, i)
    return (x**2).sum()


def complex_steps(function: Callable[[Any], Any], x: Any) -> Any:
    e = 1e-30
    found = np.zeros(x.shape)
    for place in np.ndindex(*x.shape):
        moved = x.astype(complex)
        moved[place] += 1j * e
        found[place] = function(moved).imag / e
    return found


def in_loops(source: str) -> list[str]:
    """The lines of a kernel that stand in loops inside loops over steps."""
    lines, found, depth = source.splitlines(), list[str](), -1
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if depth >= 0 and indent <= depth:
            depth = -1
        if depth < 0 and re.match(r"\s*for step\w* in", line):
            depth = indent
        elif depth >= 0 and re.match(r"\s*for \w+ in range\((n|m)\)|\s*_fill", line):
            found.append(line)
    return found


def rule_of_recurrence(x: Any, i: Any) -> Any:
    return x[i - 1] * 0.9 + np.sin(x[i - 1]) * x[i]


def row(u: Any, i: Any) -> Any:
    return u[i] + np.sin(u[i - 1][::-1]) * u[i - 1]


def set_(x: Any, i: int) -> None:
    x[i] = rule_of_recurrence(x, i)


def add_(x: Any, i: int) -> None:
    x[i] += np.cos(x[i - 1])
    x[i - 1] += x[i] * 0.5


def several(i: Any, x: Any) -> Any:
    """The old x[i] is read together with the new one."""
    y = x.at[i].set(x[i - 1] ** 2)
    z = y.at[i - 1].add(x[i] * y[i])
    return z.at[i].multiply(1.5)


def several_(x: Any, i: int) -> None:
    old = x[i]
    x[i] = x[i - 1] ** 2
    x[i - 1] += old * x[i]
    x[i] *= 1.5


def rows_(u: Any, i: int) -> None:
    u[i] = row(u, i)
    u[i, 0] += 1.0
    u[i - 1] += u[i] * 0.1


def window_(x: Any, i: int) -> None:
    x[i] = rule_of_recurrence(x, i)
    first = x[0] * x[i]
    x[0] = first
    x[1:4:2] = x[2:4] * 0.9


def grid_(u: Any, i: int) -> None:
    for j in range(1, u.shape[1]):
        u[i, j] = u[i, j - 1] * np.sin(u[i - 1, j])


CASES: dict[str, tuple[Body, Callable[[Any, int], None], Any]] = {
    "set": (lambda i, x: x.at[i].set(rule_of_recurrence(x, i)), set_, "n"),
    "add": (lambda i, x: (y := x.at[i].add(np.cos(x[i - 1]))).at[i - 1].add(y[i] * 0.5), add_, "n"),
    "window": (
        lambda i, x: (z := (y := x.at[i].set(rule_of_recurrence(x, i))).at[0].set(y[0] * y[i])).at[1:4:2].set(
            z[2:4] * 0.9
        ),
        window_, "n",
    ),
    "several": (several, several_, "n"),
    "rows": (
        lambda i, u: (v := u.at[i, :].set(row(u, i)).at[i, 0].add(1.0)).at[i - 1, :].add(v[i] * 0.1),
        rows_, ("n", "m"),
    ),
    "nested": (
        lambda i, u: ga.fori_loop(1, "m", lambda j, u: u.at[i, j].set(u[i, j - 1] * np.sin(u[i - 1, j])), u),
        grid_, ("n", "m"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_steps_change_what_they_carry_and_copy_nothing(name: str) -> None:
    body, step, shape = CASES[name]
    g = program(body, shape)
    x = np.random.default_rng(1).normal(size=(6, 5)[: len(shape) if isinstance(shape, tuple) else 1])
    f = ga.value_and_grad(g)
    value, gradient = f(x)
    np.testing.assert_allclose(value, by_hand(step, x), rtol=1e-12)
    np.testing.assert_allclose(gradient, complex_steps(lambda x: by_hand(step, x), x), rtol=1e-11, atol=1e-13)
    for function in (ga.compile(g), f):
        kernel = function.source[function.source.index("_kernel(") :]
        whole = [line for line in in_loops(kernel) if "(n)" in line or "_fill" in line]
        assert not whole, kernel
        assert "_next_space" not in kernel
    plain = unjitted(f.optimized)(x=x)
    np.testing.assert_allclose(plain["dy_dx"], gradient, rtol=1e-12)


@pytest.mark.parametrize("name", ["set", "add", "several", "window"])
def test_the_memory_of_a_gradient_is_proportional_to_the_array(name: str) -> None:
    f = ga.value_and_grad(program(CASES[name][0]))
    counts = []
    for n in (1_000, 10_000, 100_000):
        f(np.full(n, 0.1))
        counts.append(f.scratch_bytes(n=n))
    assert counts[-1] <= 8 * 100_000 * 9
    assert counts[2] <= 10.1 * counts[1] <= 10.1 * 10.1 * counts[0]


def test_a_number_of_steps_that_is_not_known_needs_no_more() -> None:
    """The tape of a loop that fills an array has a few numbers for each step."""
    g = ga.Graph("until")
    x, k = g.input("x", shape="n"), g.input("k", dtype="int64")
    g.output("y", (ga.fori_loop(1, k, CASES["set"][0], x) ** 2).sum())
    f = ga.value_and_grad(g, "x")
    at = np.random.default_rng(2).normal(size=7)
    value, gradient = f(at, 7)
    np.testing.assert_allclose(value, by_hand(set_, at), rtol=1e-12)
    np.testing.assert_allclose(gradient, complex_steps(lambda x: by_hand(set_, x), at), rtol=1e-11)
    kernel = f.source[f.source.index("_kernel(") :]
    record = re.search(r"record = (.*)", kernel)
    assert record is not None
    assert "n" not in record.group(1)
    assert "_next_space" not in kernel


KEPT: dict[str, Any] = {
    "a sum of the old array": lambda i, x: x.at[i].set(x[i - 1] * 2.0) * 0.5 + x.sum() * 0.1,
    "the old array as a factor": lambda i, x: (y := x.at[i].set(np.sin(x[i - 1]))) + 0.1 * x[::-1] * y,
    "changes side by side": lambda i, x: x.at[i].set(x[i - 1] * 2.0) + 0.3 * x.at[i - 1].set(np.sin(x[i])),
    "an index from the new array": lambda i, x: (y := x.at[i].set(x[i - 1] + 0.1)).at[i].add(
        x[np.minimum(np.abs(y[i] * 2.0).astype("int64"), 3)]
    ),
    "a whole reversed": lambda i, x: x.at[::-1].set(x * 1.01).at[i].add(0.1),
    "places in an array": lambda i, x: x.at[[0, 2, 1, 0]].add(x[[1, 1, 3, 2]] * 0.2),
}


@pytest.mark.parametrize("name", KEPT)
def test_what_needs_the_old_array_has_it(name: str) -> None:
    g = program(KEPT[name])
    x = np.random.default_rng(3).normal(size=6)
    derived = transform.value_and_grad(g)
    expected = interpret(derived, x=x)
    value, gradient = ga.value_and_grad(g)(x)
    np.testing.assert_allclose(value, expected["y"], rtol=1e-12)
    np.testing.assert_allclose(gradient, expected["dy_dx"], rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("checkpoint", ["all", "carries", ("every", 3), 2])
@pytest.mark.parametrize("name", ["several", "a sum of the old array"])
def test_all_schedules(name: str, checkpoint: Any) -> None:
    body = CASES[name][0] if name in CASES else KEPT[name]
    g = ga.Graph("updates")
    x = g.input("x", shape="n")
    g.output("y", (ga.fori_loop(1, "n", body, x, checkpoint=checkpoint) ** 2).sum())
    at = np.random.default_rng(5).normal(size=7)
    expected = interpret(transform.value_and_grad(g), x=at)
    value, gradient = ga.value_and_grad(g)(at)
    np.testing.assert_allclose(value, expected["y"], rtol=1e-12)
    np.testing.assert_allclose(gradient, expected["dy_dx"], rtol=1e-11, atol=1e-13)


def test_carries_that_exchange_and_results_of_every_step() -> None:
    g = ga.Graph("exchange")
    x, z = g.input("x", shape="n"), g.input("z", shape="n")

    def step(state: Any, k: Any) -> Any:
        a, b, _ = state
        return (b.at[k].set(a[k] * 2.0), a.at[k].add(b[k]), a), a

    (a, b, before), rows = ga.scan(step, (x, z, z), np.array([2, 0, 1, 2]))
    g.output("y", (a * b * before).sum() + (rows**3).sum())
    at = {name: np.random.default_rng(4).normal(size=3) for name in ("x", "z")}
    expected = interpret(transform.value_and_grad(g, ["x", "z"]), **at)
    for function in (unjitted(transform.value_and_grad(g, ["x", "z"])),):
        for name, value in function(**at).items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-12)
    value, gradient = ga.value_and_grad(g)(*at.values())
    np.testing.assert_allclose(value, expected["y"], rtol=1e-12)
    np.testing.assert_allclose(gradient.x, expected["dy_dx"], rtol=1e-12)
    np.testing.assert_allclose(gradient.z, expected["dy_dz"], rtol=1e-12)


# ---------------------------------------------------------------------- random steps


def random_body(seed: int) -> Body:
    """Some updates one after another, each of a version of the array by elements of any earlier ones."""
    random = np.random.default_rng(seed)
    plan = [
        (int(random.integers(4)), int(random.integers(3)), *random.integers(0, 9, 3).tolist())
        for _ in range(random.integers(1, 5))
    ]
    last = int(random.integers(3))

    def body(i: Any, x: Any) -> Any:
        versions = [x]
        for kind, which, first, second, third in plan:
            read = versions[first % len(versions)][i - second % 2] * 0.7 + np.sin(
                versions[second % len(versions)][(i + third) % 4]
            )
            # Mostly the newest version is changed, now and then an older one.
            base = versions[-1] if third else versions[which % len(versions)]
            place = base.at[i - which % 2]
            versions.append([place.set, place.add, place.multiply, place.set][kind](read))
        return versions[-1] if last else versions[-1] + 0.1 * versions[len(versions) // 2]

    return body


@pytest.mark.parametrize("seed", range(40))
def test_random_steps(seed: int) -> None:
    g = program(random_body(seed))
    x = np.random.default_rng(seed).uniform(-0.9, 0.9, size=6)
    derived = transform.value_and_grad(g)
    expected = interpret(derived, x=x)
    for name, value in unjitted(derived)(x=x).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-11, atol=1e-13)
    if seed < 10:
        value, gradient = ga.value_and_grad(g)(x)
        np.testing.assert_allclose(value, expected["y"], rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(gradient, expected["dy_dx"], rtol=1e-11, atol=1e-13)


def both_ways(graph: ga.Graph, **point: Any) -> None:
    """The compiled function does what the graph says."""
    found = ga.compile(graph)(**point)
    wanted = interpret(graph, **point)
    for value, name in zip(found, graph.outputs, strict=True):
        np.testing.assert_allclose(value, wanted[name], rtol=1e-12, atol=1e-15)


def test_a_sum_from_zero_that_an_inner_loop_goes_on_with_begins_at_zero_in_every_step() -> None:
    g = ga.Graph("turned")
    k, q, a = g.input("k", "m"), g.input("q"), g.input("a", "m")

    def step(state: Any, _: Any) -> tuple[Any, None]:
        inner = ga.fori_loop(0, 2, lambda i, c: 0.3 * np.sin(c) * c + q, k)
        return inner[::-1] * 0.6, None

    g.output("loss", np.tanh(ga.scan(step, a, length=3)[0]).sum())
    both_ways(transform.grad(g, ["k", "q"]), k=np.array([0.3, -0.8]), q=0.4, a=np.array([0.1, 0.2]))


def test_what_a_branch_reads_by_name_keeps_its_name() -> None:
    g = ga.Graph("branch")
    a, rows, q = g.input("a", "m"), g.input("rows", ("n", "m")), g.input("q")

    def step(state: Any, row: Any) -> tuple[Any, Any]:
        new = row[::-1] * 0.4
        chosen = ga.cond(new.sum() > 0.7, lambda v: np.sin(v), lambda v: v * q, new)
        return new, (new, chosen.sum())

    last, (news, sums) = ga.scan(step, a, rows)
    g.output("loss", np.tanh(last).sum() + np.sin(news).sum() + (sums * sums).sum())
    g.output("news", news)
    both_ways(g, a=np.ones(2), rows=np.array([[0.1, 0.2], [3.0, 0.5], [-1.0, 0.3]]), q=0.4)
    both_ways(transform.value_and_grad(g, ["rows", "q"], "loss"),
              a=np.ones(2), rows=np.array([[0.1, 0.2], [3.0, 0.5], [-1.0, 0.3]]), q=0.4)  # fmt: skip
