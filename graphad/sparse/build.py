"""From a graph to a function of sparse Jacobians: which entries, by which method, and the record of the choice."""

from __future__ import annotations

from collections.abc import Sequence

from graphad.ad.entries import IndirectError
from graphad.compile import Tier, compile_graph
from graphad.emit.result import Packing, Record
from graphad.errors import DifferentiationError, describe
from graphad.ir.graph import Graph
from graphad.plan.direct import Block, block_of, direct
from graphad.plan.modes import Plan, fixed
from graphad.sparse.function import SparseFunction
from passes.base import Pass


def jacobian_blocks(graph: Graph, wrt: Sequence[str], of: Sequence[str]) -> list[Block]:
    """The Jacobian of each output with respect to each input."""
    return [block_of(graph, f"d{output}_d{name}", output, name) for output in of for name in wrt]


def hessian_blocks(gradient: Graph, wrt: Sequence[str], of: str) -> list[Block]:
    """The Jacobian of each part of a gradient's graph with respect to each input."""
    return [block_of(gradient, f"d2{of}_d{a}_d{b}", f"d{of}_d{a}", b) for a in wrt for b in wrt]


def sparse_function(
    graph: Graph, blocks: Sequence[Block], packing: Packing, name: str, passes: Sequence[Pass], tier: Tier, threads: int
) -> SparseFunction:
    """The function of some blocks of a graph."""
    try:
        method = direct(graph, blocks, name)
    except IndirectError as error:
        raise DifferentiationError(describe(f"`{name}`: {error}", fix="sparse=False")) from error
    plan = Plan((fixed(name, "direct", "every entry by its own formula"),), graph)
    names = tuple(b.name for b in blocks)
    inner: Packing = names[0] if len(names) == 1 else Record(names)
    return SparseFunction(method, packing, compile_graph(method.graph, inner, plan, passes, tier, threads))
