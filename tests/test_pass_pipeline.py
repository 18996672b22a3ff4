"""The pipeline: statistics, verification after each pass, failures that show the program, users' own passes."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest

from graphad.errors import PassError
from graphad.ir.graph import Graph
from graphad.ir.text import to_text
from graphad.ir.types import TensorType
from passes.base import Pass
from passes.pipeline import DEFAULT, after_passes, run_pipeline


def sample() -> Graph:
    graph = Graph("sample")
    x = graph.input("x", shape="n", hint=10)
    graph.output("y", (np.log(1.0 + np.exp(x)) * np.log(1.0 + np.exp(x)) + 0.0).sum())
    return graph


@dataclass(frozen=True)
class Wrong(Pass):
    """Answers a graph with one node's fields changed."""

    fields: tuple[tuple[str, object], ...]

    def run(self, graph: Graph) -> Graph:
        new = graph.copy()
        new.nodes[-1] = new.nodes[-1]._replace(**dict(self.fields))
        return new


@dataclass(frozen=True)
class Raising(Pass):
    """Raises."""

    def run(self, graph: Graph) -> Graph:
        raise ZeroDivisionError("planned")


@dataclass(frozen=True)
class Renaming(Pass):
    """Drops an output."""

    def run(self, graph: Graph) -> Graph:
        return graph.copy("other")


def test_the_default_pipeline():
    graph = sample()
    before = to_text(graph)
    after, statistics = run_pipeline(graph)
    assert [n.op for n in after.nodes] == ["input", "softplus", "square", "sum"]
    assert to_text(graph) == before
    assert [s.name for s in statistics] == [p.name for p in DEFAULT]
    assert (statistics[0].nodes_before, statistics[-1].nodes_after) == (len(graph.nodes), 4)
    assert statistics[-1].flops_after < statistics[0].flops_before
    for one, following in pairwise(statistics):
        assert (one.nodes_after, one.flops_after) == (following.nodes_before, following.flops_before)


def test_a_second_run_changes_nothing():
    after, _ = run_pipeline(sample())
    again, statistics = run_pipeline(after)
    assert again is after
    assert all(s.nodes_before == s.nodes_after for s in statistics)


def test_no_passes():
    graph = sample()
    assert run_pipeline(graph, ()) == (graph, [])


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (Wrong((("type", TensorType("float64", (7,))),)), "returned a wrong graph: .*float64"),
        (Wrong((("args", (99,)),)), "operand %99 is no earlier node"),
        (Raising(), "raised ZeroDivisionError: planned"),
        (Renaming(), "changed the name, inputs or outputs"),
    ],
    ids=["type", "operand", "raising", "renaming"],
)
def test_a_failing_pass_is_named_and_the_program_shown(one, message):
    with pytest.raises(PassError, match=f"(?s)pass `test_pass_pipeline` {message}|{message}") as error:
        run_pipeline(sample(), [one])
    assert "pass `test_pass_pipeline`" in str(error.value)
    assert to_text(sample()) in str(error.value)
    assert ("after:\n" in str(error.value)) == (not isinstance(one, Raising))


def test_the_last_graph_without_statistics():
    assert after_passes(sample()) == run_pipeline(sample())[0]
    with pytest.raises(PassError, match="planned"):
        after_passes(sample(), (Raising(),))
