"""Properties of every graph, on random ones."""

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graphad.ad import transform
from graphad.emit import nests
from graphad.interpret import interpret
from graphad.ir.graph import Graph
from graphad.ir.text import from_text, to_text
from graphad.ir.verify import verify
from graphad.loops import axes, parallel
from passes.base import Pass
from passes.cse import CommonSubexpressions
from passes.dead import DeadCode
from passes.fold import Fold
from passes.mirror import Mirror
from passes.pipeline import run_pipeline
from passes.shift import Shift
from passes.simplify import Simplify
from tests.strategies import STEPS_WITH_INTEGERS, cases
from tests.unjitted import unjitted

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
PASSES: tuple[Pass, ...] = (CommonSubexpressions(), DeadCode(), Fold(), Mirror(), Shift(), Simplify())


def after_pipeline(graph: Graph) -> Callable[..., dict[str, Any]]:
    after, _ = run_pipeline(graph)
    return lambda **arrays: interpret(after, **arrays)


def all_loops(graph: Graph) -> Callable[..., dict[str, Any]]:
    """Generated code in which no axis is written out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(axes, "UNROLL_UP_TO", -1)
        patch.setattr(axes, "UNROLL_ALWAYS", -1)
        return unjitted(graph)


def in_blocks(graph: Graph) -> Callable[..., dict[str, Any]]:
    """Generated code in which every loop that may runs in three blocks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nests, "LEAST_WORK", 0)
        patch.setattr(parallel, "COPY", 0)
        patch.setattr(parallel, "SMALL", 10**9)
        return unjitted(graph, threads=3)


# Ways to run a graph: each maps a graph to a function from arrays by name to outputs by name.
COMPILERS: list[Callable[[Graph], Callable[..., dict[str, Any]]]] = [after_pipeline, unjitted, all_loops, in_blocks]


def assert_same(expected: dict[str, Any], got: dict[str, Any], shown: Graph) -> None:
    """Outputs agree to rounding, in the scale of each output."""
    assert list(expected) == list(got)
    for name, value in expected.items():
        assert value.shape == got[name].shape
        assert value.dtype == got[name].dtype
        scale = 1.0 + np.max(np.abs(value), initial=0.0)
        np.testing.assert_allclose(got[name], value, rtol=1e-10, atol=1e-11 * scale, err_msg=f"{name} of\n{shown}")


@QUICK
@given(cases(steps=STEPS_WITH_INTEGERS))
def test_text_pickle_and_dag_round_trip(case):
    graph = case.graph
    again = from_text(to_text(graph))
    assert to_text(again) == to_text(graph)
    for copy in (again, pickle.loads(pickle.dumps(graph)), Graph.from_dag(graph.dag)):
        assert verify(copy) == graph
        assert copy.digest == graph.digest
    assert_same(interpret(graph, **case.arrays), interpret(again, **case.arrays), graph)


@QUICK
@given(cases(steps=STEPS_WITH_INTEGERS), st.lists(st.sampled_from(PASSES), min_size=1, max_size=5))
def test_every_order_of_passes_keeps_values(case, order):
    before = to_text(case.graph)
    after, _ = run_pipeline(case.graph, order)
    assert to_text(case.graph) == before
    assert_same(interpret(case.graph, **case.arrays), interpret(after, **case.arrays), case.graph)


@QUICK
@given(cases())
def test_passes_keep_derivatives(case):
    direct = transform.grad(case.graph, of="L")
    after, _ = run_pipeline(case.graph)
    for other in (transform.grad(after, of="L"), run_pipeline(direct)[0]):
        assert_same(interpret(direct, **case.arrays), interpret(other, **case.arrays), case.graph)


@QUICK
@given(cases(steps=STEPS_WITH_INTEGERS), st.integers(0, 2**32 - 1))
def test_forward_is_the_transpose_of_reverse(case, seed):
    generator = np.random.default_rng(seed)
    tangents = {f"{n}_dot": generator.normal(size=a.shape) for n, a in case.arrays.items()}
    forward = transform.jvp(case.graph, of="L")
    reverse = transform.vjp(case.graph, of="L")
    pushed = interpret(forward, **case.arrays, **tangents)
    pulled = interpret(reverse, **case.arrays, L_bar=0.7)
    products = [np.sum(pulled[f"{n}_bar"] * tangents[f"{n}_dot"]) for n in case.arrays]
    scale = sum(np.sum(np.abs(pulled[f"{n}_bar"] * tangents[f"{n}_dot"])) for n in case.arrays)
    np.testing.assert_allclose(0.7 * pushed["L_dot"], sum(products), rtol=1e-10, atol=1e-12 + 1e-12 * scale)


@pytest.mark.parametrize("compiler", COMPILERS, ids=lambda c: c.__name__)
@QUICK
@given(case=cases(steps=STEPS_WITH_INTEGERS))
def test_compiled_is_interpreted(compiler, case):
    assert_same(interpret(case.graph, **case.arrays), compiler(case.graph)(**case.arrays), case.graph)


@pytest.mark.parametrize("one", PASSES, ids=lambda p: p.name)
@QUICK
@given(case=cases())
def test_a_pass_leaves_its_own_result_alone(one, case):
    once = one.run(case.graph)
    assert to_text(one.run(once)) == to_text(once)
