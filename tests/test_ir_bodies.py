"""Graphs as parameters of nodes: text, sizes, hashes, verification, interpretation; schedules of reverse sweeps."""

import pickle

import numpy as np
import pytest

from graphad.errors import DtypeError, ShapeError, TextError, VerificationError
from graphad.interpret import interpret
from graphad.ir.graph import Graph
from graphad.ir.text import from_text, to_text
from graphad.ir.types import TensorType, TupleType
from graphad.ir.verify import verify
from graphad.ops.schedules import actions, advances, repetitions

TEXT = """graph outer
  c: float64[m] = input
  xs: float64[n] = input
  k: float64[m] = input
  %3: (float64[m], float64[n]) = scan c xs k {body=graph(f), carries=1, checkpoint=None, length=n, reverse=False, xs=1}
    graph f
      c: float64[m] = input
      x: float64[] = input
      k: float64[m] = input
      %3: float64[m] = mul c x
      %4: float64[m] = add %3 k
      %5: float64[] = sum c {axes=(0,)}
      %6: int64[] = size_of {size=n}
      %7: float64[] = cast %6 {dtype='float64'}
      %8: float64[] = add %5 %7
      output c_new = %4
      output y = %8
  %4: float64[m] = item %3 {index=0}
  %5: float64[n] = item %3 {index=1}
  output last = %4
  output ys = %5"""


def test_text_comes_back_with_bodies_below_their_nodes():
    graph = from_text(TEXT)
    assert to_text(graph) == TEXT
    assert pickle.loads(pickle.dumps(graph.freeze())) == graph
    assert verify(graph) is graph
    changed = from_text(TEXT.replace("mul c x", "add c x")).freeze()
    assert changed.digest != graph.digest
    assert changed != graph


def test_text_that_does_not_hold_the_body():
    with pytest.raises(TextError, match="the graphs f are expected below, not"):
        from_text("\n".join(TEXT.splitlines()[:5] + TEXT.splitlines()[-4:]))


def test_sizes_of_bodies_are_those_of_the_graph_around_them():
    graph = from_text(TEXT).freeze()
    around = Graph("around")
    c, xs, k = around.input("c", "q+1"), around.input("xs", "r"), around.input("k", "q+1")
    for name, value in graph(c, xs, k).items():
        around.output(name, value)
    body = next(n for n in around.nodes if n.op == "scan").param("body")
    assert str(body.nodes[body.inputs["c"]].type) == "float64[q+1]"
    assert str(next(n for n in body.nodes if n.op == "size_of").param("size")) == "r"
    verify(around)
    values = interpret(around, [1.0, 2.0], [1.0, 2.0, 3.0], [0.1, 0.2])
    np.testing.assert_allclose(values["last"], [7.0, 14.0])
    np.testing.assert_allclose(values["ys"], [6.0, 6.3, 9.9])


def test_a_length_of_zero():
    values = interpret(from_text(TEXT), [1.0, 2.0], [], [0.1, 0.2])
    np.testing.assert_array_equal(values["last"], [1.0, 2.0])
    assert values["ys"].shape == (0,)


def test_a_size_that_nothing_has_is_found_inside_a_body():
    counted = "int64[z] = iota {dtype='int64', size=z}\n      %7: float64[z]"
    text = TEXT.replace("int64[] = size_of {size=n}\n      %7: float64[]", counted)
    graph = from_text(text.replace("%8: float64[] = add %5 %7", "%8: float64[] = sum %7 {axes=(0,)}"))
    with pytest.raises(VerificationError, match="size `z` is no size of an input"):
        verify(graph)


def test_operands_that_the_body_does_not_take():
    body = from_text(TEXT).nodes[3].param("body")
    graph = Graph("f")
    x = graph.input("x", "n")
    loop = {"body": body, "carries": 1, "xs": 1, "length": graph.size("n"), "reverse": False, "checkpoint": None}
    with pytest.raises(ShapeError, match="3 operands expected, 2 given"):
        graph.apply("scan", x, x, **loop)
    with pytest.raises(DtypeError, match=r"operand 2: float64\[m\] expected, got int64\[n\]"):
        graph.apply("scan", x, x, x.astype("int64"), **loop)


def test_a_type_of_several_results():
    pair = TupleType((TensorType("float64", (3,)), TensorType("int64", ())))
    assert (pair.dtype, pair.shape, pair.rank, pair.is_float) == ("tuple", (), 0, False)
    assert pickle.loads(pickle.dumps(pair)) == pair
    assert pair != TupleType(pair.items[:1])


# Griewank and Walther's table, in /docs the formula r·n - C(s + r, s + 1).
REVOLVE = (
    (50, 3, 180), (50, 5, 122), (100, 3, 490), (100, 5, 316), (100, 10, 222), (1000, 5, 6284), (1000, 10, 3636),
    (1000, 20, 2747),
)  # fmt: skip


@pytest.mark.parametrize(("steps", "snapshots", "again"), REVOLVE)
def test_binomial_schedules_run_the_fewest_steps(steps, snapshots, again):
    assert advances(("binomial", snapshots), steps) == again
    assert repetitions(steps, snapshots) >= 1


@pytest.mark.parametrize("schedule", [("all",), ("every", 3), ("every", 100), ("binomial", 1), ("binomial", 4)])
def test_schedules_take_each_adjoint_step_once_from_its_state(schedule):
    for length in (0, 1, 2, 7, 20):
        here, stored, done = 0, set(), []
        for kind, step in actions(schedule, length):
            if kind == "store":
                stored.add(step)
            elif kind == "load":
                assert step in stored
                here = step
            elif kind == "drop":
                stored.remove(step)
            assert here == step
            here += kind == "advance"
            done += [step] * (kind == "adjoint")
            if schedule[0] == "binomial":
                assert len(stored) <= schedule[1]
        assert done == list(reversed(range(length)))
        assert not stored
