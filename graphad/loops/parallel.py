"""Nests that run in several threads: blocks of the rounds of an outermost loop, one block for each thread.

The rounds must be free of order between them. What they collect, each block collects for itself, and the blocks are
added in their order afterwards; arrays of which every round has its own exist once for each block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from graphad.ir.sizes import Extent, product
from graphad.loops.axes import Axes
from graphad.loops.ir import Loop, Program, Statement, Var, walk
from graphad.loops.place import Storage
from graphad.loops.strip import unordered

LEAST_WORK = 500_000
"""Operations of a nest from which threads pay: making one costs as much as 50,000 of them."""
FUNCTION = 12  # operations that a call of the vector mathematics counts for
DIVISION = 4
COPY = 4  # operations that filling and adding an element costs
SMALL = 50  # a loop of a smaller part of all operations is not worth a function


@dataclass(frozen=True)
class Parallel:
    """An outermost loop of which the rounds may run side by side.

    Arguments:
        loop: the loop.
        extent: its rounds.
        work: its operations, an expression in the sizes.
        totals: what all rounds collect, with the copies that the blocks have of it: one each, for arrays one less.
        private: the arrays of a single round, with the copies, one for each block.
    """

    loop: Loop
    extent: Extent
    work: Extent
    totals: tuple[tuple[Var, Var], ...]
    private: tuple[tuple[Var, Var], ...]


@dataclass(frozen=True)
class Serial:
    """An outermost loop that runs in one thread, and why."""

    loop: Loop
    extent: Extent
    reason: str


def parallelize(
    program: Program, axes: Axes, storage: dict[Var, Storage], threads: int
) -> tuple[Parallel | Serial, ...]:
    """Decide about every outermost loop; nothing for one thread. The copies get their storage."""
    if threads == 1:
        return ()
    works = {item: _work(item, axes) for item in program.body if isinstance(item, Loop)}
    small = sum(axes.estimate(work) for work in works.values()) // SMALL
    return tuple(
        Serial(loop, axes.extent(loop.axis), "it is short beside the others")
        if axes.estimate(work) < small
        else _decided(loop, work, program, axes, storage, threads)
        for loop, work in works.items()
    )


def _decided(
    loop: Loop, work: Extent, program: Program, axes: Axes, storage: dict[Var, Storage], threads: int
) -> Parallel | Serial:
    extent = axes.extent(loop.axis)
    if not unordered(loop, axes, storage):
        return Serial(loop, extent, "its rounds depend on each other")
    totals = list(dict.fromkeys(s.out.var for s in _collecting(loop, axes, storage)))
    arrays = [v for v in totals if storage[v].is_array]
    size = sum(axes.estimate(product(storage[v].shape(v))) for v in arrays)
    if COPY * threads * size > axes.estimate(work):
        names = ", ".join(v.name for v in arrays)
        return Serial(loop, extent, f"a copy of {names} for every thread would cost as much as it saves")
    private = [v for v, s in storage.items() if s.is_array and loop in s.home]
    return Parallel(
        loop,
        extent,
        work,
        tuple((v, _copies(program, v, storage, threads - storage[v].is_array)) for v in totals),
        tuple((v, _copies(program, v, storage, threads)) for v in private),
    )


def _collecting(loop: Loop, axes: Axes, storage: dict[Var, Storage]) -> Iterator[Statement]:
    """The statements of a loop that add to what several of its rounds share."""
    for statement, _ in walk([loop]):
        var = statement.out.var
        own = any(axes.aligned(statement.out, d) == loop.axis for d in range(len(statement.out.indices)))
        if statement.accumulates and loop not in storage[var].home and not own:
            yield statement


def _copies(program: Program, var: Var, storage: dict[Var, Storage], count: int) -> Var:
    """An array of `count` copies of a variable, the unrolled dimensions in dimensions of their own."""
    kept = storage[var]
    shape = (count, *(var.shape[d] for d in kept.unrolled), *kept.shape(var))
    copies = program.variable(shape, var.dtype, f"{var.name}_blocks")
    storage[copies] = Storage((), tuple(range(len(shape))), ())
    return copies


def _work(loop: Loop, axes: Axes) -> Extent:
    """The operations of a loop."""
    total: Extent = 0
    for statement, path in walk([loop]):
        total = total + _operations(statement, path, axes)
    return total


def _operations(statement: Statement, path: tuple[Loop, ...], axes: Axes) -> Extent:
    unrolled = [axes.extent(a) for a in statement.axes if axes.unrolled(a)]
    looped = [axes.extent(loop.axis) for loop in path if not loop.block]
    weight = 1 + FUNCTION * len(statement.functions) + DIVISION * ("/" in statement.operation)
    return product((*unrolled, *looped)) * weight
