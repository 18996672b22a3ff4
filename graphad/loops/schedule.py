"""The order of the loop decisions: from a graph to nests with storage."""

from __future__ import annotations

from dataclasses import dataclass

from graphad.ir.graph import Graph
from graphad.loops import patterns
from graphad.loops.axes import Axes
from graphad.loops.clear import clear_ahead
from graphad.loops.delays import Delays
from graphad.loops.donate import donate
from graphad.loops.first import assign_first
from graphad.loops.fuse import fuse
from graphad.loops.interchange import interchange
from graphad.loops.ir import Program, Var
from graphad.loops.layout import straighten
from graphad.loops.lower import lower
from graphad.loops.parallel import Parallel, Serial, parallelize
from graphad.loops.place import Storage, place
from graphad.loops.recompute import Recomputation
from graphad.loops.registers import hoist_loads, split_accumulations
from graphad.loops.rows import separate_rows
from graphad.loops.scratch import Slot, slots
from graphad.loops.strip import strip_mine
from graphad.loops.widen import widen

assert patterns  # imported for its rules


@dataclass(frozen=True)
class Schedule:
    """A program whose loops are decided.

    Arguments:
        axes: its axes.
        storage: where its variables live.
        slots: its scratch memory.
        threads: how many a call uses.
        nests: for more than one thread, what was decided about each outermost loop.
    """

    program: Program
    axes: Axes
    storage: dict[Var, Storage]
    slots: tuple[Slot, ...]
    threads: int = 1
    nests: tuple[Parallel | Serial, ...] = ()


ROUNDS = 8


def schedule(graph: Graph, threads: int = 1) -> Schedule:
    """Lower a graph and decide its loops, of which large ones run in `threads` threads."""
    program = lower(graph)
    axes = Axes(program)
    split_accumulations(program, axes)
    hoist_loads(program, axes)
    straighten(program, axes)
    for _ in range(ROUNDS):
        program.body = fuse(program, axes)
        storage = place(program, axes)
        if not Recomputation(program, axes, storage).run():
            break
    else:
        program.body = fuse(program, axes)
        storage = place(program, axes)
    interchange(program.body, axes, storage)
    separate_rows(program, axes, storage)
    Delays(program, axes, storage).run()
    assign_first(program, axes, storage)
    if threads == 1:
        clear_ahead(program, axes, storage)
    donate(program, axes, storage)
    widen(program, axes, storage)
    strip_mine(program, axes, storage)
    nests = parallelize(program, axes, storage, threads)
    return Schedule(program, axes, storage, slots(program, axes, storage, nests), threads, nests)
