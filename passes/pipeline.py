"""The default passes, and the run of any list of passes with verification after each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import Any, NamedTuple

from graphad.analysis.cost import REPEATED, graph_flops
from graphad.errors import PassError, describe
from graphad.ir.graph import Graph
from graphad.ir.text import to_text
from graphad.ir.types import TensorType
from graphad.ir.verify import verify
from graphad.plan.modes import Decision
from passes.base import Pass
from passes.checkpoints import Checkpoints
from passes.cse import CommonSubexpressions
from passes.dead import DeadCode
from passes.elements import StackElements
from passes.fold import Fold
from passes.fuse_loops import FuseLoops
from passes.hoist import Hoist
from passes.in_bodies import Known, run_everywhere
from passes.loop_parts import LoopParts
from passes.mirror import Mirror
from passes.roll import Roll
from passes.rounding import Rounding
from passes.shift import Shift
from passes.simplify import Simplify
from passes.tails import Tails
from passes.tapes import Tapes

# Twice: merged nodes let more patterns match, and folded constants more nodes merge.
DEFAULT: tuple[Pass, ...] = (
    DeadCode(),
    CommonSubexpressions(),
    LoopParts(),
    StackElements(),
    Roll(),
    Shift(),
    Simplify(),
    Fold(),
    CommonSubexpressions(),
    Mirror(),
    Simplify(),
    Fold(),
    CommonSubexpressions(),
    Hoist(),
    CommonSubexpressions(),
    Tails(),
    LoopParts(),
    Rounding(),
    Checkpoints(),
    Tapes(),
    FuseLoops(),
    CommonSubexpressions(),
    LoopParts(),
    FuseLoops(),  # inside loops that were made one
    CommonSubexpressions(),
    LoopParts(),
    CommonSubexpressions(),
    Tails(back=True),
    DeadCode(),
)

LINES = 400  # of a program in a message


class PassStatistics(NamedTuple):
    """What one pass did: numbers of nodes and floating-point operations (at hinted sizes) around it, and its time."""

    name: str
    nodes_before: int
    nodes_after: int
    flops_before: int
    flops_after: int
    seconds: float


def run_pipeline(graph: Graph, passes: Sequence[Pass] = DEFAULT) -> tuple[Graph, list[PassStatistics]]:
    """Run passes one after the other.

    Arguments:
        passes: in order; a pass may occur several times.

    Returns the last graph and one record per pass; a pass that left the graph alone does not run on it again. Raises
    `PassError` with the program before and after where a pass fails, returns a wrong graph, or changes the name,
    inputs or outputs.

    >>> g = Graph("f")
    >>> x = g.input("x")
    >>> g.output("y", (x + 0.0) * x)
    >>> after, statistics = run_pipeline(g)
    >>> print(after)
    graph f
      x: float64[] = input
      %1: float64[] = square x
      output y = %1
    """
    statistics: list[PassStatistics] = []
    counted: dict[Any, int] = {}  # a pass leaves most nodes alone, and most nodes are alike
    flops = graph_flops(graph, known=counted)
    start = perf_counter()
    for one, after in _stages(graph, passes):
        seconds = perf_counter() - start
        new_flops = flops if after is graph else graph_flops(after, known=counted)
        statistics.append(PassStatistics(one.name, len(graph.nodes), len(after.nodes), flops, new_flops, seconds))
        graph, flops = after, new_flops
        start = perf_counter()
    return graph, statistics


def after_passes(graph: Graph, passes: Sequence[Pass] = DEFAULT) -> Graph:
    """The last graph of `run_pipeline`, without statistics: counting operations takes a fifth of the time."""
    last = graph
    for _, after in _stages(graph, passes):
        last = after
    return last


def _stages(graph: Graph, passes: Sequence[Pass]) -> Iterator[tuple[Pass, Graph]]:
    """Each pass and the graph after it."""
    checked: set[Any] = set()
    known: Known = {}
    idle: set[Pass] = set()  # passes that have nothing to do on the present graph; being pure, they need not run again
    for one in passes:
        after = graph if one in idle else _run(one, graph, checked, known)
        idle = {*idle, one} if after is graph else set()
        yield one, after
        graph = after


def simplified(graph: Graph, passes: Sequence[Pass] = DEFAULT) -> Graph:
    """The frozen graph after the passes, as it is before it is differentiated: without those that come last."""
    return after_passes(graph.freeze(), [one for one in passes if not one.final]).freeze()


def sweeps_of(graph: Graph, passes: Sequence[Pass]) -> tuple[Decision, ...]:
    """What the reverse sweeps of a graph store when these passes run on it."""
    found = checkpoints_of(passes)
    if found is None or not any(node.op in REPEATED for node in graph.nodes):
        return ()
    place, one = found
    return one.decisions(after_passes(graph, passes[:place]))


def checkpoints_of(passes: Sequence[Pass]) -> tuple[int, Checkpoints] | None:
    """The pass that decides what sweeps store, and its place; None where there is none."""
    return next(((k, one) for k, one in enumerate(passes) if isinstance(one, Checkpoints)), None)


def _run(one: Pass, graph: Graph, checked: set[Any], known: Known) -> Graph:
    try:
        after = run_everywhere(one, graph, known)
    except Exception as error:
        raise _failure(one, f"raised {type(error).__name__}: {error}", graph, None) from error
    if after is graph:
        return graph
    try:
        verify(after, checked)
    except Exception as error:
        raise _failure(one, f"returned a wrong graph: {error}", graph, after) from error
    if _signature(after) != _signature(graph):
        raise _failure(one, "changed the name, inputs or outputs of the graph", graph, after)
    return after


def _signature(graph: Graph) -> tuple[str, list[tuple[str, TensorType]], list[tuple[str, TensorType]]]:
    inputs = [(name, graph.nodes[i].type) for name, i in graph.inputs.items()]
    return graph.name, inputs, [(name, graph.nodes[i].type) for name, i in graph.outputs.items()]


def _failure(one: Pass, problem: str, before: Graph, after: Graph | None) -> PassError:
    shown = f"{describe(f'pass `{one.name}` {problem}')}\n\nbefore:\n{program_text(before)}"
    return PassError(shown if after is None else f"{shown}\n\nafter:\n{program_text(after)}")


def program_text(graph: Graph) -> str:
    """A graph as text, the first lines of a long one."""
    lines = to_text(graph).splitlines()
    return "\n".join(lines if len(lines) <= LINES else [*lines[:LINES], f"  ... {len(lines) - LINES} more lines"])
