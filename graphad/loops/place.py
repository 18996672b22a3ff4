"""Placement: where each variable lives, and along which of its dimensions it needs memory."""

from __future__ import annotations

from dataclasses import dataclass

from graphad.ir.sizes import Extent
from graphad.loops.axes import Axes
from graphad.loops.ir import Access, Index, Loop, Program, Statement, Var, walk


@dataclass(frozen=True)
class Storage:
    """How a variable is kept.

    Arguments:
        home: the loops inside which it lives: every round has its own, so their dimensions need no memory.
        memory: the dimensions that are dimensions of an array.
        unrolled: the dimensions that are written out as names.
        block: the loop over blocks for each point of which there is an element, along a last dimension of its own.
    """

    home: tuple[Loop, ...]
    memory: tuple[int, ...]
    unrolled: tuple[int, ...]
    block: Loop | None = None

    @property
    def is_array(self) -> bool:
        """Whether memory is needed, and not just names."""
        return bool(self.memory) or self.block is not None

    def shape(self, var: Var) -> tuple[Extent, ...]:
        """The extents of the array."""
        return (*(var.shape[d] for d in self.memory), *((self.block.block,) if self.block else ()))


def place(program: Program, axes: Axes) -> dict[Var, Storage]:
    """The storage of every variable of a grouped program.

    A variable's home is the longest common prefix of the loops around its accesses in which every loop is an aligned
    dimension of the variable, or one to which it is private.
    """
    accesses: dict[Var, list[tuple[Access, tuple[Loop, ...]]]] = {}
    for statement, path in walk(program.body):
        for access in _all(statement):
            accesses.setdefault(access.var, []).append((access, path))
    return {var: _store(var, found, axes) for var, found in accesses.items()}


def _all(statement: Statement) -> list[Access]:
    if statement.kind == "call":
        return [statement.out, *(o for o in statement.inputs if isinstance(o, Access))]
    return list(statement.accesses())


def _store(var: Var, found: list[tuple[Access, tuple[Loop, ...]]], axes: Axes) -> Storage:
    if var.fixed:
        return Storage((), var.order, ())
    home: list[Loop] = []
    for level in zip(*(path for _, path in found), strict=False):
        if any(loop is not level[0] for loop in level) or not _own(var, found, level[0].axis, axes):
            break
        home.append(level[0])
    inside = {loop.axis for loop in home}
    memory: list[int] = []
    unrolled: list[int] = []
    for dimension, axis in enumerate(var.axes):
        if axes.unrolled(axis) and all(_static(a.indices[dimension], axes) for a, _ in found):
            unrolled.append(dimension)
        elif axes.find(axis) not in inside:
            memory.append(dimension)
    return Storage(tuple(home), tuple(memory), tuple(unrolled))


def _own(var: Var, found: list[tuple[Access, tuple[Loop, ...]]], loop: int, axes: Axes) -> bool:
    if loop in var.private:
        return True
    return any(all(axes.aligned(a, d) == loop for a, _ in found) for d in range(len(var.shape)))


def _static(index: Index, axes: Axes) -> bool:
    """Whether the index is a number once the unrolled axes are."""
    if not isinstance(index.offset, int):
        return False
    return all(isinstance(a, int) and axes.unrolled(a) and isinstance(c, int) for a, c in index.terms)
