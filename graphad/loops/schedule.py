"""The order of the loop decisions: from a graph to nests with storage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from graphad.ir.graph import Graph
from graphad.loops import control, patterns
from graphad.loops.axes import Axes
from graphad.loops.clear import clear_ahead
from graphad.loops.collect import collect
from graphad.loops.delays import Delays
from graphad.loops.donate import donate, update_in_place
from graphad.loops.first import assign_first
from graphad.loops.fuse import fuse
from graphad.loops.in_place import read_first, spare_copies
from graphad.loops.interchange import interchange
from graphad.loops.ir import Program, Statement, Var
from graphad.loops.layout import straighten
from graphad.loops.lower import lower
from graphad.loops.orders import order_dimensions
from graphad.loops.parallel import Parallel, Serial, parallelize
from graphad.loops.place import Storage, place
from graphad.loops.recompute import Recomputation
from graphad.loops.registers import hoist_loads, split_accumulations
from graphad.loops.rows import separate_rows
from graphad.loops.scratch import Life, Slot, memory_bytes, slots
from graphad.loops.strip import strip_mine
from graphad.loops.widen import widen

assert patterns  # these two are imported for their rules
assert control


@dataclass(frozen=True)
class Schedule:
    """A program whose loops are decided.

    Arguments:
        axes: its axes.
        storage: where its variables live.
        slots: its scratch memory.
        threads: how many a call uses.
        nests: for more than one thread, what was decided about each outermost loop.
        inner: the schedules of the programs inside its calls, in their order.
    """

    program: Program
    axes: Axes
    storage: dict[Var, Storage]
    slots: tuple[Slot, ...]
    threads: int = 1
    nests: tuple[Parallel | Serial, ...] = ()
    inner: Mapping[Statement, tuple[Schedule, ...]] = field(default_factory=dict)

    def everywhere(self) -> Iterator[Schedule]:
        """This schedule and all those inside."""
        yield self
        for schedules in self.inner.values():
            for one in schedules:
                yield from one.everywhere()

    @property
    def repeats(self) -> bool:
        """Whether there are loops, whose steps may be run again."""
        return any(not isinstance(s.params["loop"], control.Branch) for one in self.everywhere() for s in one.inner)


ROUNDS = 8


def schedule(graph: Graph, threads: int = 1) -> Schedule:
    """Lower a graph and decide its loops, of which large ones run in `threads` threads."""
    return arranged(lower(graph), threads)


def arranged(program: Program, threads: int = 1) -> Schedule:
    """Decide the loops of a program, those of the programs inside first."""
    inner = {s: tuple(arranged(body) for body in s.bodies) for s in program.statements if s.bodies}
    axes = Axes(program)
    split_accumulations(program, axes)
    hoist_loads(program, axes)
    straighten(program, axes)
    read_first(program, axes)
    for _ in range(ROUNDS):
        program.body = fuse(program, axes)
        storage = place(program, axes)
        if not Recomputation(program, axes, storage).run():
            break
    else:
        program.body = fuse(program, axes)
        storage = place(program, axes)
    interchange(program.body, axes, storage)
    order_dimensions(program, axes, storage)
    separate_rows(program, axes, storage)
    Delays(program, axes, storage).run()
    collect(program, axes, storage)
    assign_first(program, axes, storage)
    if threads == 1:
        clear_ahead(program, axes, storage)
    donate(program, axes, storage)
    spare_copies(program, axes, storage)
    update_in_place(program, axes, storage)
    widen(program, axes, storage)
    strip_mine(program, axes, storage)
    nests = parallelize(program, axes, storage, threads)
    found = slots(program, axes, storage, nests, _needs(inner))
    return Schedule(program, axes, storage, found, threads, nests, inner)


def _needs(inner: Mapping[Statement, tuple[Schedule, ...]]) -> dict[Statement, list[tuple[int, Slot]]]:
    """The memory that the programs inside calls work in, and for all of them that of the carried values' copies."""
    found: dict[Statement, list[tuple[int, Slot]]] = {}
    for statement, schedules in inner.items():
        needs = found.setdefault(statement, [])
        for number, one in enumerate(schedules):
            needs += [(number, slot) for slot in one.slots]
            for state in one.program.states:
                storage = one.storage[state.now]
                pair = dict.fromkeys([state.now, state.next])
                own = [v for v in pair if storage.is_array and not (storage.natural and v is state.now)]
                needs += [(-1, Slot(v, memory_bytes(v, storage), (), Life(0, 0))) for v in own]
    return found
