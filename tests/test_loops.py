"""Loop nests of whole programs: what they compute, and their shape."""

from __future__ import annotations

import numpy as np
import pytest

import graphad as ga
from benchmarks.peers.ours import build
from benchmarks.problems.llsq import PROBLEM as LLSQ
from graphad.ad import transform
from graphad.emit.source import generate
from graphad.interpret import interpret
from graphad.ir.graph import Graph
from graphad.ir.text import from_text
from graphad.loops import axes
from graphad.loops.ir import Loop, Statement, walk
from graphad.loops.schedule import schedule
from graphad.loops.summary import summarize
from passes.inline import inline
from passes.pipeline import run_pipeline
from tests.unjitted import unjitted

RANDOM = np.random.default_rng(7)


def rosenbrock() -> tuple[Graph, dict[str, np.ndarray]]:
    g = Graph("rosenbrock")
    x = g.input("x", "n")
    g.output("f", (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum())
    return g, {"x": RANDOM.normal(size=9)}


def three_point() -> tuple[Graph, dict[str, np.ndarray]]:
    g = Graph("three_point")
    x = g.input("x", "n")
    g.output("f", (np.sin(x[2:]) * x[1:-1] * np.cos(x[:-2])).sum())
    return g, {"x": RANDOM.normal(size=7)}


def five_point() -> tuple[Graph, dict[str, np.ndarray]]:
    g = Graph("five_point")
    u = g.input("u", ("n", "m"))
    laplacian = u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4.0 * u[1:-1, 1:-1]
    g.output("f", (laplacian**2).sum())
    return g, {"u": RANDOM.normal(size=(6, 5))}


def stress() -> tuple[Graph, dict[str, np.ndarray]]:
    g = Graph("stress")
    w, d = g.input("W", ("n", 3)), g.input("D", ("n", "n"))
    difference = w[:, None, :] - w[None, :, :]
    g.output("f", (((difference**2).sum(axis=-1) - d) ** 2).sum())
    return g, {"W": RANDOM.normal(size=(6, 3)), "D": RANDOM.random((6, 6))}


def mixture() -> tuple[Graph, dict[str, np.ndarray]]:
    g = Graph("mixture")
    a, mu, x = g.input("a", "k"), g.input("mu", ("k", 10)), g.input("x", ("n", 10))
    b = a - 0.5 * ((x[:, None, :] - mu) ** 2).sum(axis=-1)
    m = b.max(axis=1, keepdims=True)
    g.output("f", (m[:, 0] + np.log(np.exp(b - m).sum(axis=1))).sum())
    return g, {"a": RANDOM.normal(size=4), "mu": RANDOM.normal(size=(4, 10)), "x": RANDOM.normal(size=(5, 10))}


def network() -> tuple[Graph, dict[str, np.ndarray]]:
    g = Graph("network")
    shapes = {"W1": ("d", "h"), "b1": "h", "W2": ("h", "o"), "b2": "o", "X": ("n", "d"), "Y": ("n", "o")}
    w1, b1, w2, b2, x, y = (g.input(n, s) for n, s in shapes.items())
    g.output("f", ((np.tanh(x @ w1 + b1) @ w2 + b2 - y) ** 2).mean())
    literal = {"d": 3, "h": 4, "o": 2, "n": 5}
    return g, {n: RANDOM.normal(size=tuple(literal[e] for e in s)) for n, s in shapes.items()}


def scattered() -> tuple[Graph, dict[str, np.ndarray]]:
    g = Graph("scattered")
    x, i = g.input("x", ("n", 2)), g.input("i", "m", "int64")
    y = np.exp(x[i, 0]) * x[i, 1]
    g.output("f", (np.cumsum(y) * x.at[i, 1].multiply(y)[0, 1]).sum())
    return g, {"x": RANDOM.normal(size=(5, 2)), "i": np.array([3, 0, 3, -1])}


def convolved() -> tuple[Graph, dict[str, np.ndarray]]:
    g = Graph("convolved")
    x, k = g.input("x", ("b", "n")), g.input("k", "w")
    window = x[:, g.const(np.arange(4)[:, None] + np.arange(3))]
    g.output("f", np.tanh(window @ k).sum())
    return g, {"x": RANDOM.normal(size=(2, 6)), "k": RANDOM.normal(size=3)}


def triangular() -> tuple[Graph, dict[str, np.ndarray]]:
    """Products batched over components, with operands whose axes lie otherwise than the products want them."""
    g = Graph("triangular")
    factor, mean, x = g.input("Q", ("k", "d", "d")), g.input("mu", ("k", "d")), g.input("x", ("n", "d"))
    scaled = np.einsum("kij,nkj->nki", np.tril(factor), x[:, None, :] - mean)
    beta = -0.5 * (scaled**2).sum(axis=2)
    m = beta.max(axis=1, keepdims=True)
    g.output("f", (np.log(np.exp(beta - m).sum(axis=1)) + m[:, 0]).sum())
    return g, {"Q": RANDOM.normal(size=(2, 3, 3)), "mu": RANDOM.normal(size=(2, 3)), "x": RANDOM.normal(size=(4, 3))}


def shifted_thrice() -> tuple[Graph, dict[str, np.ndarray]]:
    """Clones of cheap values that several statements share."""
    g = Graph("shifted_thrice")
    x = g.input("x", "n")
    g.output("f", (np.roll(x, 2) * np.pad(x, (1, 2))[1:-2] * np.flip(x)).sum())
    return g, {"x": RANDOM.normal(size=5)}


BUILDERS = (
    rosenbrock, three_point, five_point, stress, mixture, network, scattered, convolved, triangular, shifted_thrice,
)  # fmt: skip
PROGRAMS = {p.__name__: p for p in BUILDERS}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("derivative", ["value", "grad", "value_and_grad", "hvp", "hessian"])
def test_program(name, derivative):
    graph, arrays = PROGRAMS[name]()
    floating = [n for n in arrays if graph.nodes[graph.inputs[n]].type.is_float]
    if derivative != "value":
        graph = getattr(transform, derivative)(graph, floating)
    if derivative == "hvp":
        arrays |= {f"{n}_dot": np.cos(arrays[n]) for n in floating}
    expected = interpret(graph, **arrays)
    for program in (graph, run_pipeline(graph)[0]):
        got = unjitted(program)(**arrays)
        for output, value in expected.items():
            np.testing.assert_allclose(got[output], value, rtol=1e-10, atol=1e-11, err_msg=f"{output} of\n{program}")


def nests(graph: Graph) -> list[Loop | Statement]:
    return [item for item in schedule(run_pipeline(graph)[0]).program.body if isinstance(item, Loop)]


def test_one_deep_nest_for_value_and_gradient_of_stress_between_the_copies():
    loops = nests(transform.value_and_grad(stress()[0], "W"))
    deep = [any(isinstance(item, Loop) for item in loop.body) for loop in loops]
    assert deep == [False, True, False]


def test_one_nest_for_value_and_gradient_of_rosenbrock():
    assert len(nests(transform.value_and_grad(rosenbrock()[0]))) == 1


def test_summary_of_a_network_names_what_is_stored_and_why():
    plan = schedule(run_pipeline(transform.value_and_grad(network()[0]))[0])
    nests_ = summarize(plan)
    assert sum(len(nest.calls) for nest in nests_) == 6
    reasons = {stored.reason for nest in nests_ for stored in nest.stored}
    assert reasons == {"result", "operand or result of a whole-array operation"}
    first_loop = next(nest for nest in nests_ if nest.axes)
    assert [str(e) for e in first_loop.axes] == ["n", "h"]
    # b1 is read, the product read, tanh written: 1000 + 10^6 + 10^6 numbers of 8 bytes
    assert first_loop.moved == 8 * (1000 + 2 * 10**6)


def test_summary_of_stress_stores_only_copies_and_results():
    plan = schedule(run_pipeline(transform.value_and_grad(stress()[0], "W"))[0])
    deep = next(nest for nest in summarize(plan) if len(nest.axes) == 2)
    assert deep.operations > 10 * 1000**2
    assert all(stored.name.startswith("df_dW") for stored in deep.stored)


def test_operands_of_products_are_laid_out_and_not_copied():
    plan = schedule(run_pipeline(transform.value_and_grad(triangular()[0]))[0])
    calls = [s for s in plan.program.statements if s.kind == "call"]
    assert len(calls) == 3
    operands = {o.var for call in calls for o in call.inputs}
    copies = [s for s in plan.program.statements if s.out.var in operands and s.operation == "{0}"]
    assert not copies


def test_what_a_product_reads_transposed_is_written_in_order() -> None:
    """Softmax by rows, read by columns: written along the columns it would need a cache line for every element."""
    g = ga.Graph("columns")
    x, w = g.input("x", ("n", "m")), g.input("w", ("n", 8))
    weights = np.exp(x - x.max(axis=1, keepdims=True))
    g.output("y", (weights / weights.sum(axis=1, keepdims=True)).T @ w)
    plan = schedule(inline(g))
    (call,) = [s for s in plan.program.statements if s.kind == "call"]
    operand = next(o.var for o in call.inputs if o.var.role == "temporary")
    assert call.params["turned"] == (True, False)
    assert operand.order == (0, 1)
    arrays = {"x": RANDOM.normal(size=(5, 6)), "w": RANDOM.normal(size=(5, 8))}
    np.testing.assert_allclose(unjitted(g)(**arrays)["y"], interpret(g, **arrays)["y"], rtol=1e-13)


def test_sums_of_rows_are_stored_instead_of_what_follows_from_them() -> None:
    """The reverse sweep of softmax reads the exponentials and the weights; the maxima and the sums give the rest."""
    g = ga.Graph("attention")
    x, v = g.input("x", ("n", "n")), g.input("v", ("n", 8))
    weights = np.exp(x - x.max(axis=1, keepdims=True))
    y = (weights / weights.sum(axis=1, keepdims=True)) @ v
    g.output("y", (y * y).sum())
    graph = run_pipeline(transform.value_and_grad(g, ["x", "v"]))[0]
    plan = schedule(inline(graph))
    squares = {var for var, s in plan.storage.items() if len(s.memory) == 2 and var.shape[0] == var.shape[1]}
    made = [s for s in plan.program.statements if s.out.var in squares and s.out.var.role == "temporary"]
    assert [s.operation for s in made if s.kind != "call"] == ["{exp}({0})", "{0} / {1}"]
    assert sum(s.kind == "call" for s in made) == 1
    arrays = {"x": RANDOM.normal(size=(8, 8)), "v": RANDOM.normal(size=(8, 8))}
    for name, value in interpret(graph, **arrays).items():
        np.testing.assert_allclose(unjitted(graph)(**arrays)[name], value, rtol=1e-12)


FLOAT32_SUMS = {
    "one loop": lambda x: (x * x).sum(),
    "two loops": lambda x: (x[:1000, None] * x[None, 1000:3000]).sum(),
    "a sum in each row": lambda x: np.exp((x[:1000, None] * x[None, 1000:3000]).mean(axis=1)).sum(),
    "several sums": lambda x: np.std(x) + x.mean() * np.abs(x).sum(),
}


@pytest.mark.parametrize("name", FLOAT32_SUMS)
def test_sums_of_float32_keep_their_digits(name: str) -> None:
    formula = FLOAT32_SUMS[name]
    graph = ga.Graph("sums")
    x = graph.input("x", shape="n", dtype="float32")
    graph.output("y", formula(x))
    at = np.random.default_rng(3).random(1_000_000).astype(np.float32)
    found = ga.compile(graph)(at)
    assert found.dtype == np.float32
    assert abs(found / formula(at.astype(np.float64)) - 1.0) < 4e-7


def cumulative(maximum: bool) -> ga.Graph:
    """In each row a cumulative product, sums over rows and over columns of it, and a maximum."""
    g = ga.Graph("cumulative")
    a, w = g.input("a", ("n", "m")), g.input("w", "m")
    p = np.cumprod(a, axis=1) * w
    g.output("rows", np.log1p((p * p).sum(axis=1)))
    g.output("columns", p.sum(axis=0))
    if maximum:
        g.output("largest", p.max())
    g.output("total", p.sum())
    return g


@pytest.mark.parametrize("rows", [0, 1, 63, 64, 130])
def test_serial_loops_run_in_blocks_of_the_loop_around_them(rows: int) -> None:
    graph = cumulative(maximum=rows > 0)
    (nest,) = [n for n in summarize(schedule(inline(graph))) if "by 64" in n.nesting]
    assert "> 64" in nest.nesting
    a, w = RANDOM.normal(size=(rows, 5)), RANDOM.normal(size=5)
    found, expected = unjitted(graph)(a=a, w=w), interpret(graph, a=a, w=w)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-13)


def test_scans_along_the_outer_loop_stay_in_order() -> None:
    g = ga.Graph("both")
    a = g.input("a", ("n", "m"))
    g.output("y", np.cumprod(np.cumsum(a, axis=0), axis=1))
    x = RANDOM.normal(size=(130, 4))
    np.testing.assert_allclose(unjitted(g)(a=x)["y"], np.cumprod(np.cumsum(x, axis=0), axis=1), rtol=1e-12)


def test_sums_into_several_rows_have_loops_of_their_own() -> None:
    graph, _ = five_point()
    plan = schedule(inline(run_pipeline(transform.grad(graph, ["u"]))[0]))
    outer = [item for item in plan.program.body if isinstance(item, Loop)][-1]
    inner = [item for item in outer.body if isinstance(item, Loop)]
    assert [len(loop.body) for loop in inner[1:]] == [1] * 3  # the middle row's three sums share a loop
    assert not any(s.accumulates for s in inner[0].body if isinstance(s, Statement))
    assert ".fill(" not in generate(inline(run_pipeline(transform.grad(graph, ["u"]))[0])).source


def stencil(rank: int, far: int) -> ga.Graph:
    """Squares of sums of what is up to `far` elements away along each axis, and of products of neighbours."""
    g = ga.Graph("stencil")
    u = g.input("u", ("n", "m", "k")[:rank])
    inner = (slice(far, -far),) * rank
    total = u[inner]
    for axis in range(rank):
        for step in range(1, far + 1):
            for start in (far - step, far + step):
                place = list(inner)
                place[axis] = slice(start, start - 2 * far or None)
                total = total + float(1 + axis + start) * u[tuple(place)]
    g.output("f", (total * total).sum() + (u[1:] * u[:-1]).sum())
    return g


def test_rows_of_a_few_numbers_are_cleared_with_the_others() -> None:
    """Points of a curve and their neighbours; planes of two rows of points."""
    g = ga.Graph("curve")
    p, q = g.input("p", ("m", 2)), g.input("q", ("m", "n", 2))
    g.output("f", ((p[1:] - p[:-1]) ** 2).sum() + (np.sin(q[1:]) * q[:-1]).sum())
    graph = run_pipeline(transform.grad(g))[0]
    arrays = {"p": RANDOM.normal(size=(5, 2)), "q": RANDOM.normal(size=(5, 4, 2))}
    for name, value in interpret(graph, **arrays).items():
        np.testing.assert_allclose(unjitted(graph)(**arrays)[name], value, rtol=1e-13)


@pytest.mark.parametrize(("rank", "far"), [(2, 1), (2, 2), (3, 1)])
def test_rows_of_stencils_are_cleared_ahead_at_every_size(rank: int, far: int) -> None:
    graph = run_pipeline(transform.value_and_grad(stencil(rank, far), ["u"]))[0]
    run = unjitted(graph)
    for extra in (0, 1, 2, 9):
        u = RANDOM.normal(size=[2 * far + extra + axis for axis in range(rank)])
        for name, value in interpret(graph, u=u).items():
            np.testing.assert_allclose(run(u=u)[name], value, rtol=1e-12, atol=1e-12)


def test_single_elements_are_added_behind_the_sum_that_fills() -> None:
    """Cross-entropy: -1 at the label of each row, and probabilities everywhere; nothing is filled or cleared before."""
    g = ga.Graph("labels")
    z, y = g.input("z", ("n", "k")), g.input("y", "n", dtype="int64")
    largest = z.max(axis=1, keepdims=True)
    total = np.log(np.exp(z - largest).sum(axis=1)) + largest[:, 0]
    g.output("loss", (total - np.take_along_axis(z, y[:, None], axis=1)[:, 0]).sum())
    graph = run_pipeline(transform.grad(g, ["z"]))[0]
    source = generate(inline(graph)).source
    assert "_fill(dloss_dz" not in source
    assert " = 0.0\n            dloss_dz" not in source
    assert source.index("dloss_dz[i, j] = ") < source.index("dloss_dz[i, v", source.index("def labels"))
    arrays = {"z": RANDOM.normal(size=(4, 3)), "y": np.array([0, 2, -1, 1])}
    for name, value in interpret(graph, **arrays).items():
        np.testing.assert_allclose(unjitted(graph)(**arrays)[name], value, rtol=1e-12)


def test_what_a_loop_reads_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sum of one element stays in front of a loop that fills the array and reads it."""
    monkeypatch.setattr(axes, "UNROLL_UP_TO", -1)
    monkeypatch.setattr(axes, "UNROLL_ALWAYS", -1)
    g = ga.Graph("complete")
    c = g.input("c", 3)
    total = 1.0 + np.zeros_like(c).at[np.array([0])].add(np.ones(1))
    g.output("d", 1.0 + total * 2.0)
    np.testing.assert_array_equal(unjitted(g)(c=np.zeros(3))["d"], [5.0, 3.0, 3.0])


SHARED = """graph shared
  require 1 <= n: 'a slice'
  u: float64[n] = input
  a: float64[n] = input
  %2: float64[n-1] = slice u {sizes=(n-1,), starts=(0,), steps=(1,)}
  %3: float64[] = const 1.0
  %4: float64[n] = embed %2 {shape=(n,), starts=(0,), steps=(1,)}
  %5: float64[n] = add a %4
  %6: float64[n] = add %3 %4
  %7: float64[n-1] = square %2
  %8: float64[n] = embed %7 {shape=(n,), starts=(1,), steps=(1,)}
  %9: float64[n] = add %6 %8
  output second = %9
  output first = %5
"""


def test_no_output_lies_on_a_temporary_that_is_read_after_it() -> None:
    """Both outputs read one sum; the one that is written first must not take its place."""
    g = from_text(SHARED)
    arrays = {"u": RANDOM.normal(size=5), "a": RANDOM.normal(size=5)}
    for name, value in interpret(g, **arrays).items():
        np.testing.assert_allclose(unjitted(g)(**arrays)[name], value, rtol=1e-13)


def test_parts_that_do_not_change_are_a_choice_by_position() -> None:
    """Three parts along the axis of a running product; none of them is stored."""
    g = ga.Graph("parts")
    a, b = g.input("a", "n"), g.input("b", "n")
    parts = [np.broadcast_to(v[:, None], ("n", size)) for v, size in ((a, 1), (b, "m"), (a * b, 2))]
    g.output("y", np.log1p(np.cumprod(np.concatenate(parts, axis=1), axis=1) ** 2).sum(axis=1))
    g.input("c", "m")
    assert " < (m+1) else " in generate(inline(g)).source
    arrays = {"a": RANDOM.normal(size=5), "b": RANDOM.normal(size=5), "c": RANDOM.normal(size=3)}
    np.testing.assert_allclose(unjitted(g)(**arrays)["y"], interpret(g, **arrays)["y"], rtol=1e-13)


def test_temporary_arrays_lie_as_inner_loops_go_through_them() -> None:
    """Kernels of all pairs of points and centres, kept for the reverse sweep, whose loops have the centres outside."""
    g = ga.Graph("kernels")
    x, c, w = g.input("x", ("n", "d")), g.input("c", ("m", "d")), g.input("w", "m")
    values = np.exp(-0.5 * ((x[:, None] - c[None]) ** 2).sum(axis=-1)) @ w
    g.output("f", (values * values).sum())
    graph = run_pipeline(transform.grad(g, ["c", "w"]))[0]
    plan = schedule(inline(graph))
    large = [(v, s) for v, s in plan.storage.items() if len(s.memory) == 2 and not v.fixed]
    for var, storage in large:
        paths = [path for s, path in walk(plan.program.body) if any(a.var is var for a in s.accesses())]
        assert all(path[1].axis == plan.axes.find(var.axes[storage.memory[-1]]) for path in paths)
    assert large
    arrays = {"x": RANDOM.normal(size=(4, 2)), "c": RANDOM.normal(size=(3, 2)), "w": RANDOM.normal(size=3)}
    for name, value in interpret(graph, **arrays).items():
        np.testing.assert_allclose(unjitted(graph)(**arrays)[name], value, rtol=1e-12)


def test_outer_loops_go_through_arrays_in_order() -> None:
    """Rows of masked softmax: the mask, which two of the four loops read, does not turn the others inside out."""
    g = ga.Graph("masked")
    x, mask = g.input("x", ("a", "b", "n", "m")), g.input("mask", ("n", "m"), dtype="bool")
    scores = np.where(mask, x, -1e9)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    g.output("y", weights / weights.sum(axis=-1, keepdims=True))
    plan = schedule(inline(g))
    (nest,) = summarize(plan)
    assert nest.nesting.startswith("a > b > n > ")
    arrays = {"x": RANDOM.normal(size=(2, 3, 4, 5)), "mask": RANDOM.random((4, 5)) < 0.7}
    np.testing.assert_allclose(unjitted(g)(**arrays)["y"], interpret(g, **arrays)["y"], rtol=1e-13)


def test_the_first_sum_into_an_array_is_an_assignment() -> None:
    g = ga.Graph("ranks")
    a, b = g.input("a", ("n", 3)), g.input("b", (3, "m"))
    c, d = g.input("c", ("n", "m")), g.input("d", ("m", "n"))
    g.output("y", np.einsum("ik,kj->ij", a, b))
    g.output("z", np.einsum("ij,jk->ik", c, d).sum(axis=0))
    source = generate(inline(g)).source
    assert "y[i, j] = " in source
    arrays = {"a": RANDOM.normal(size=(4, 3)), "b": RANDOM.normal(size=(3, 5)), "c": RANDOM.normal(size=(4, 5))}
    arrays["d"] = RANDOM.normal(size=(5, 4))
    for name, value in interpret(g, **arrays).items():
        np.testing.assert_allclose(unjitted(g)(**arrays)[name], value, rtol=1e-13)


COLLECTED = {
    "sums": lambda x: x.sum(axis=1),
    "products": lambda x: x.prod(axis=1),
    "maxima": lambda x: x.max(axis=1),
    "sums of three columns": lambda x: np.stack([x, x * x, np.sin(x)], axis=2).sum(axis=1),
}


@pytest.mark.parametrize("name", COLLECTED)
def test_what_inner_loops_add_to_one_element_collects_in_a_register(name: str) -> None:
    """The exponentials are stored in the same loop, so their array might overlap with that of the sums."""
    g = ga.Graph("rows")
    exponentials = np.exp(g.input("x", ("n", "m")))
    total = COLLECTED[name](exponentials)
    g.output("e", exponentials)
    g.output("y", total / total.sum())  # waits for all of them, so they are stored
    plan = schedule(inline(g))
    sums = [(s, path) for s, path in walk(plan.program.body) if s.accumulates and plan.storage[s.out.var].is_array]
    assert all(path[-1].axis in map(plan.axes.find, s.out.axes()) for s, path in sums)
    assert any(s.accumulates and len(path) == 2 for s, path in walk(plan.program.body))
    arrays = {"x": RANDOM.normal(size=(4, 5))}
    for output, value in interpret(g, **arrays).items():
        np.testing.assert_allclose(unjitted(g)(**arrays)[output], value, rtol=1e-13)


def test_of_two_loops_over_pairs_the_summed_one_is_inside() -> None:
    g = ga.Graph("pairs")
    x = g.input("x", "n")
    g.output("f", np.exp(-((x[:, None] - x[None, :]) ** 2)).sum(axis=0))
    plan = schedule(inline(g))
    (outer,) = (item for item in plan.program.body if isinstance(item, Loop))
    (inner,) = (item for item in outer.body if isinstance(item, Loop))
    (total,) = (s for s in inner.body if isinstance(s, Statement) and s.accumulates)
    assert not plan.storage[total.out.var].is_array


def test_equal_sizes_do_not_turn_a_polynomial_inside_out() -> None:
    """Points and coefficients are both 1000 at their hints; the points stay outside, in blocks."""
    graph = run_pipeline(build(LLSQ))[0]
    gradient = run_pipeline(transform.value_and_grad(graph, ["x"]))[0]
    assert any(nest.nesting.startswith("n by 64") for nest in summarize(schedule(inline(gradient))))
