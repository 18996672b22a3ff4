"""Kernels without a compiler: called as compiled ones are, so that the same function stands in front of them."""

from __future__ import annotations

from graphad.emit.call import Kernel
from graphad.emit.source import Generated
from graphad.emit.stepwise import Stepwise
from graphad.emit.tape import Tape, is_scalar_program
from graphad.ir.graph import Graph


def interpreted_kernel(graph: Graph) -> Kernel:
    """The kernel of a graph of scalars that the tape runs, or of any other that NumPy runs."""
    graph.freeze()
    run: Tape | Stepwise = Tape(graph) if is_scalar_program(graph) else Stepwise(graph)
    generated = Generated(
        source="", function=graph.name, kernel=graph.name, inputs=tuple(graph.inputs), constants=(), arrays=run.arrays,
        scalars=run.scalars, slots=(),
    )  # fmt: skip
    return Kernel(run, run, (), generated, __name__)


def runner(kernel: Kernel) -> str:
    """What runs a kernel of `interpreted_kernel`, in words."""
    return "NumPy, node by node" if isinstance(kernel.function, Stepwise) else "the tape, instruction by instruction"
