"""Kernels without a compiler: called as compiled ones are, so that the same function stands in front of them."""

from __future__ import annotations

from graphad.emit.call import Kernel
from graphad.emit.source import Generated
from graphad.emit.stepwise import Stepwise
from graphad.ir.graph import Graph


def interpreted_kernel(graph: Graph) -> Kernel:
    """The kernel of a graph that NumPy runs."""
    run = Stepwise(graph.freeze())
    generated = Generated(
        source="", function=graph.name, kernel=graph.name, inputs=tuple(graph.inputs), constants=(), arrays=run.arrays,
        scalars=run.scalars, slots=(),
    )  # fmt: skip
    return Kernel(run, run, (), generated, __name__)
