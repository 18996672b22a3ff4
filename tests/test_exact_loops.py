"""Gradients of loops do not depend, bit for bit, on what was stored: the same step rounds alike wherever it is run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphad as ga
from graphad.emit.source import generate
from graphad.ir.graph import Graph
from graphad.plan.sweeps import extra_steps
from passes.inline import inline
from passes.pipeline import run_pipeline
from tests.exact_sums import ROUNDED_ONCE, multiply_add
from tests.unjitted import _own_text, namespace

T = ga.transform
SCHEDULES = ["all", "carries", ("every", 4), 2, 5]


def bits(result: Any) -> bytes:
    """All numbers of a result as they lie in memory."""
    return b"".join(np.asarray(leaf).tobytes() for leaf in leaves(result))


def leaves(result: Any) -> list[Any]:
    return [leaf for part in result for leaf in leaves(part)] if isinstance(result, tuple) else [result]


def check_schedules(build: Callable[[Any], Graph], arguments: dict[str, Any], *, jit: bool = False) -> None:
    """Every schedule gives the same bits; the value is that of the function alone."""
    expected = None
    for checkpoint in SCHEDULES:
        graph = build(checkpoint)
        function = ga.value_and_grad(graph, of="loss", tier="compiled")
        found = function(**arguments)
        expected = expected or bits(found)
        assert bits(found) == expected, checkpoint
        assert bits(ga.compile(graph, tier="compiled")(**arguments)) == bits(found[0])
        if jit:
            by_numba = zip(leaves(function.jit(*arguments.values())), leaves(found), strict=True)
            # Numba hands a float32 to Python as a float.
            assert bits(tuple(np.asarray(a, np.asarray(b).dtype) for a, b in by_numba)) == expected, checkpoint


# ---------------------------------------------------------------------- ten thousand steps of Lorenz

STEPS, SNAPSHOTS = 10_000, 20
LORENZ = {"s": np.array([1.0, 1.0, 1.0]), "p": np.array([10.0, 28.0, 8 / 3]), "dt": 1e-3}


def runge_kutta(stack: Callable[..., Any], s: Any, p: Any, dt: Any) -> Any:
    def slope(s: Any) -> Any:
        x, y, z = s[0], s[1], s[2]
        return stack([p[0] * (y - x), x * (p[1] - z) - y, x * y - p[2] * z])

    k1 = slope(s)
    k2 = slope(s + dt / 2 * k1)
    k3 = slope(s + dt / 2 * k2)
    k4 = slope(s + dt * k3)
    return s + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def lorenz(checkpoint: Any, dtype: str = "float64") -> Graph:
    g = ga.Graph("lorenz")
    s, p, dt = g.input("s", 3, dtype), g.input("p", 3, dtype), g.input("dt", (), dtype)
    times = g.input("times", "n", dtype, hint=STEPS)
    last, _ = ga.scan(
        lambda s, t: (runge_kutta(np.stack, s, p, dt), None), s, length=times.shape[0], graph=g, checkpoint=checkpoint
    )
    g.output("loss", ((last - 1.0) ** 2).sum())
    return g


def lorenz_function(checkpoint: Any) -> ga.CompiledFunction:
    return ga.value_and_grad(lorenz(checkpoint), list(LORENZ), of="loss", tier="compiled")


def by_complex_step() -> np.ndarray:
    """The gradient by all seven inputs, from a loop in NumPy over seven copies at once."""
    point = np.concatenate([np.ravel(v) for v in LORENZ.values()])
    moved = point + 1e-30j * np.eye(7)
    s, p, dt = moved[:, :3].T, moved[:, 3:6].T, moved[:, 6]
    for _ in range(STEPS):
        s = runge_kutta(np.array, s, p, dt)
    return ((s - 1.0) ** 2).sum(axis=0).imag / 1e-30


def test_lorenz_with_twenty_states() -> None:
    times = np.zeros(STEPS)
    everything, little = lorenz_function("all"), lorenz_function(SNAPSHOTS)
    found = little(**LORENZ, times=times)
    assert bits(found) == bits(everything(**LORENZ, times=times))
    assert bits(found) == bits(little.jit(*LORENZ.values(), times))
    np.testing.assert_allclose(np.hstack(leaves(found)[1:]), by_complex_step(), rtol=1e-9)


def test_lorenz_takes_the_memory_of_its_states() -> None:
    everything, little = lorenz_function("all"), lorenz_function(SNAPSHOTS)
    lengths = (100, STEPS, 1_000_000)
    assert len({little.scratch_bytes(n=n) for n in lengths}) == 1
    assert little.scratch_bytes(n=STEPS) < 2_000
    assert everything.scratch_bytes(n=STEPS) > 24 * STEPS


def test_lorenz_runs_as_many_steps_again_as_the_formula_says() -> None:
    """Counted in the generated text, run as Python."""
    graph = run_pipeline(T.value_and_grad(lorenz(SNAPSHOTS), list(LORENZ), "loss"))[0].freeze()
    generated = generate(inline(graph))
    text, again = _own_text(generated), "            for again in range(at, to):\n"
    assert text.count(again) == 1
    known = namespace()
    known["COUNTED"] = counted = [0]
    exec(text.replace(again, f"{again}                COUNTED[0] += 1\n"), known)
    known[generated.function](LORENZ["s"], LORENZ["p"], np.float64(LORENZ["dt"]), np.zeros(STEPS))
    assert counted[0] == extra_steps(STEPS, SNAPSHOTS) == 37_976


def test_lorenz_within_a_budget() -> None:
    free = lorenz_function(None)
    small = ga.value_and_grad(lorenz(None), list(LORENZ), of="loss", tier="compiled", memory_budget="4 kB")
    assert small.plan.memory.sweeps[0].extra > 0
    times = np.zeros(STEPS)
    assert bits(small(**LORENZ, times=times)) == bits(free(**LORENZ, times=times))


# ---------------------------------------------------------------------- steps of all kinds


MADE: list[Callable[[Any, Any, float], Any]] = [
    lambda a, b, c: a + c * b, lambda a, b, c: a * b, lambda a, b, c: a - b, lambda a, b, c: a * b - b * c,
    lambda a, b, c: a / (b * b + 1.5), lambda a, b, c: np.tanh(a) / (1.0 + a * a), lambda a, b, c: np.sqrt(a * a + c),
    lambda a, b, c: np.exp(-(a * a)) * b, lambda a, b, c: (a * b).sum() * c if (a * b).ndim else a / 3.0,
    lambda a, b, c: a[::-1] * b if a.ndim else a * a + b,
]  # fmt: skip
"""What a random step computes of two values and a number."""


def random_step(seed: int) -> Callable[[list[Any], Any, list[Any]], tuple[list[Any], Any]]:
    """A step of a few operations, in which products, quotients and functions are read several times."""

    def step(state: list[Any], x: Any, outside: list[Any]) -> tuple[list[Any], Any]:
        random = np.random.default_rng(seed)
        values = [*state, x, *outside]

        def some(of: list[Any]) -> Any:
            return of[int(random.integers(len(of)))]

        for _ in range(int(random.integers(4, 12))):
            values.append(some(MADE)(some(values), some(values), float(np.round(random.uniform(0.2, 0.9), 2))))
        pairs = [(narrowed(some(values[len(state) :]), s), narrowed(some(values), s)) for s in state]
        new = [0.6 * np.tanh(s + t) + 0.3 * u / (1.0 + s * s) for s, (t, u) in zip(state, pairs, strict=True)]
        return new, narrowed(values[-1], x)

    return step


def narrowed(value: Any, like: Any) -> Any:
    while value.ndim > like.ndim:
        value = value[0]
    return value


def random_loop(seed: int, dtype: str, shape: Any) -> Callable[[Any], Graph]:
    def build(checkpoint: Any) -> Graph:
        g = ga.Graph("random")
        state, xs = [g.input("a", shape, dtype), g.input("b", (), dtype)], g.input("xs", "n", dtype)
        outside = [g.input("q", (), dtype), g.input("p", shape, dtype)]
        step = random_step(seed)
        last, ys = ga.scan(lambda s, x: step(s, x, outside), state, xs, checkpoint=checkpoint)
        every = sum(v.sum() for v in [*state, *outside])
        g.output("loss", sum(np.tanh(v).sum() for v in last) + (ys * ys).sum() + every)
        return g

    return build


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("dtype", "shape"), [("float64", ()), ("float32", ()), ("float64", 3), ("float32", 2)])
def test_random_steps(dtype: str, shape: Any, seed: int) -> None:
    random = np.random.default_rng(seed)
    shapes = {"a": shape, "b": (), "xs": 17, "q": (), "p": shape}
    arguments = {name: np.asarray(random.normal(size=size), dtype)[()] for name, size in shapes.items()}
    check_schedules(random_loop(seed, dtype, shape), arguments, jit=seed == 0)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_multiply_adds_round_once_where_the_processor_can(dtype: str) -> None:
    """`mul_add`, `mul_sub` and `sub_mul` against exact fractions, where rounding leaves little of the sum."""
    g = ga.Graph("sums")
    kind: Any = np.dtype(dtype).type

    def step(c: Any, x: Any) -> Any:
        return 0.5 * c + x[2], (x[0] * x[1] + x[2], x[0] * x[1] - x[2], x[2] - x[0] * x[1])

    _, sums = ga.scan(step, g.input("c", (), dtype), g.input("xs", ("n", 3), dtype))
    for name, one in zip("abc", sums, strict=True):
        g.output(name, one)
    x, y = np.random.default_rng(0).uniform(-1, 1, (2, 200)).astype(dtype)
    z = np.where(np.arange(200) % 2 == 0, -x * y, x * y)
    arguments = kind(0.3), np.stack([x, y, z], axis=1)
    rows = arguments[1].tolist()
    once = [
        (multiply_add(a, b, c, kind), multiply_add(a, b, -c, kind), multiply_add(-a, b, c, kind)) for a, b, c in rows
    ]
    twice = [x * y + z, x * y - z, z - x * y]
    assert all(np.count_nonzero(s != t) > 50 for s, t in zip(np.array(once, dtype).T, twice, strict=True))
    compiled, interpreted = (ga.compile(g, tier=tier) for tier in ("compiled", "interpreted"))
    for got in (compiled(*arguments), compiled.jit(*arguments)):
        np.testing.assert_array_equal(got, np.array(once, dtype).T if ROUNDED_ONCE else twice)
    np.testing.assert_array_equal(interpreted(*arguments), twice)


def test_a_step_of_hundreds_of_operations() -> None:
    """Such steps are programs of their own, with an assembler of their own."""

    def build(checkpoint: Any) -> Graph:
        g = ga.Graph("large")
        a, b, k = g.input("a"), g.input("b"), g.input("k")

        def step(state: Any, _: Any) -> Any:
            x, y = state
            for i in range(40):
                x, y = x + 0.01 * y * k - 0.003 * i * x * y, y - 0.02 * x * x + x * y / (1.0 + k * k) * 0.01
            return (x, y), x * y / (1.0 + k * k)

        (x, y), ys = ga.scan(step, (a, b), length=30, graph=g, checkpoint=checkpoint)
        g.output("loss", x * x + y + ys.sum())
        return g

    assert "PROGRAM_1" in ga.grad(build("all"), of="loss", tier="compiled").source
    check_schedules(build, {"a": 0.3, "b": 0.4, "k": 0.5}, jit=True)


def test_loops_in_loops() -> None:
    def build(checkpoint: Any) -> Graph:
        g = ga.Graph("nested")
        a, k, xs = g.input("a"), g.input("k"), g.input("xs", "n")

        def step(s: Any, x: Any) -> Any:
            inner = ga.fori_loop(0, 4, lambda _, v: v + 0.1 * v * k / (1.0 + v * v) - x * v / (1.0 + k * k), s)
            return inner * x + s / (1.0 + s * s), None

        last, _ = ga.scan(step, a, xs, checkpoint=checkpoint)
        g.output("loss", last * last + last * k)
        return g

    check_schedules(build, {"a": 0.3, "k": 0.4, "xs": np.linspace(0.2, 0.9, 11)})


def test_second_derivatives() -> None:
    """Sweeps of sweeps keep the schedule."""
    found = set()
    for checkpoint in SCHEDULES:
        g = random_loop(1, "float64", ())(checkpoint)
        function = ga.hvp(g, ["a", "b", "q"], of="loss", tier="compiled")
        arguments = {"a": 0.3, "b": -0.4, "q": 0.7, "p": 0.2, "xs": np.linspace(-1.0, 1.0, 9)}
        found.add(bits(function(**arguments, a_dot=1.0, b_dot=0.5, q_dot=-0.25)))
    assert len(found) == 1


def test_a_while_loop_has_the_value_of_the_function_alone() -> None:
    g = ga.Graph("until")
    a, k = g.input("a"), g.input("k")

    def step(s: Any) -> Any:
        return s[0] + 0.1 * s[1] * s[0], s[1] * k + s[0] / (1.0 + k * k)

    x, y = ga.while_loop(lambda s: s[0] * s[0] + s[1] < 50.0, step, (a, a))
    g.output("loss", x * y + x * x)
    function = ga.value_and_grad(g, tier="compiled")
    found = function(0.4, 1.01)
    assert bits(found[0]) == bits(ga.compile(g, tier="compiled")(0.4, 1.01))
    assert bits(found) == bits(function.jit(0.4, 1.01))
    np.testing.assert_allclose(
        np.hstack(leaves(found)[1:]), np.hstack(list(ga.interpret(T.grad(g), a=0.4, k=1.01).values())), rtol=1e-12
    )
