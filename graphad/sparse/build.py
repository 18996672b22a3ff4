"""From a graph to a function of sparse Jacobians: which blocks there are, and the function behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from graphad.compile import Tier, compile_graph
from graphad.emit.result import Packing, Record
from graphad.ir.graph import Graph
from graphad.plan.direct import Block, Direct, block_of
from graphad.plan.modes import Decision, Plan, differentiated, elements
from graphad.plan.swept import Swept
from graphad.sparse.function import SparseFunction
from passes.base import Pass


def jacobian_blocks(graph: Graph, wrt: Sequence[str], of: Sequence[str]) -> list[Block]:
    """The Jacobian of each output with respect to each input."""
    return [block_of(graph, f"d{output}_d{name}", output, name) for output in of for name in wrt]


def hessian_blocks(gradient: Graph, wrt: Sequence[str], of: str) -> list[Block]:
    """The Jacobian of each part of a gradient's graph with respect to each input."""
    return [block_of(gradient, f"d2{of}_d{a}_d{b}", f"d{of}_d{a}", b) for a in wrt for b in wrt]


def sparse_function(
    graph: Graph,
    method: Direct | Swept,
    decisions: tuple[Decision, ...],
    packing: Packing,
    passes: Sequence[Pass],
    tier: Tier,
    threads: int,
) -> SparseFunction:
    """The function of the blocks of a method; `graph` is the one that was differentiated."""
    wrt, of = ([*dict.fromkeys(b.input for b in method.blocks)], [*dict.fromkeys(b.output for b in method.blocks)])
    last = replace(
        decisions[-1],
        nodes=differentiated(graph, wrt, of),
        inputs=elements(graph, [graph.inputs[n] for n in wrt]),
        outputs=elements(graph, [graph.outputs[n] for n in of]),
    )
    decisions = (*decisions[:-1], last)
    names = tuple(b.name for b in method.blocks)
    inner: Packing = names[0] if len(names) == 1 else Record(names)
    values = compile_graph(method.graph, inner, Plan(decisions, graph), passes, tier, threads)
    return SparseFunction(method, packing, values)
