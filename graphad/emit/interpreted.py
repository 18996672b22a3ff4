"""Kernels without a compiler: called as compiled ones are, so that the same function stands in front of them."""

from __future__ import annotations

from graphad.emit.call import AnyKernel, Kernel
from graphad.emit.instructions import is_compiled, is_loaded, kernel
from graphad.emit.source import Generated
from graphad.emit.stepwise import Stepwise
from graphad.emit.switching import COMPILING, in_background
from graphad.emit.tape import Tape, is_scalar_program, level_for
from graphad.ir.graph import Graph

LOADING = 0.3  # seconds until a process has the kernel of the tape: most of it is the start of Numba

_asked_for: set[int] = set()


def interpreted_kernel(graph: Graph) -> Kernel:
    """The kernel of a graph of scalars that the tape runs, or of any other that NumPy runs."""
    graph.freeze()
    return _kernel(graph, Tape(graph) if is_scalar_program(graph) else Stepwise(graph))


def immediate_kernel(graph: Graph) -> Kernel:
    """The same, but where the kernel of the tape would have to be compiled, a thread does that, and NumPy runs."""
    graph.freeze()
    if is_scalar_program(graph) and at_hand(level_for(graph), LOADING):
        return _kernel(graph, Tape(graph))
    return _kernel(graph, Stepwise(graph, at_hand=at_hand))


def at_hand(level: int, seconds: float) -> bool:
    """Whether the tape's kernel of a level can run at once what takes NumPy some seconds.

    Where the kernel would have to be compiled, a thread does that; it is loaded where that takes no longer than NumPy.
    """
    if is_loaded(level):
        return True
    if seconds < LOADING and is_compiled(level):
        return False
    # Loading means waiting for whoever compiles at present.
    if COMPILING.acquire(blocking=False):
        try:
            if is_compiled(level):
                kernel(level)
                return True
        finally:
            COMPILING.release()
    if level not in _asked_for:
        _asked_for.add(level)
        in_background(lambda: kernel(level), "graphad compiles the kernel of the tape")
    return False


def _kernel(graph: Graph, run: Tape | Stepwise) -> Kernel:
    generated = Generated(
        source="", function=graph.name, kernel=graph.name, inputs=tuple(graph.inputs), constants=(), arrays=run.arrays,
        scalars=run.scalars, slots=(),
    )  # fmt: skip
    return Kernel(run, run, (), generated, __name__)


def runner(kernel_: AnyKernel) -> str:
    """What runs a kernel that is not compiled, in words."""
    return "NumPy, node by node" if isinstance(kernel_.function, Stepwise) else "the tape, instruction by instruction"
