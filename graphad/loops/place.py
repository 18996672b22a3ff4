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

    @property
    def natural(self) -> bool:
        """Whether the variable is one array of all its dimensions in their order."""
        return not self.unrolled and self.block is None and self.memory == tuple(range(len(self.memory)))

    def shape(self, var: Var) -> tuple[Extent, ...]:
        """The extents of the array."""
        return (*(var.shape[d] for d in self.memory), *((self.block.block,) if self.block else ()))


def place(program: Program, axes: Axes) -> dict[Var, Storage]:
    """The storage of every variable of a grouped program.

    A variable's home is the longest common prefix of the loops around its accesses in which every loop is an aligned
    dimension of the variable, or one to which it is private. Both variables of a state are kept alike.
    """
    pairs = {state.next: state.now for state in program.states}
    accesses: dict[Var, list[tuple[Access, tuple[Loop, ...]]]] = {}
    for statement, path in walk(program.body):
        for access in _all(statement):
            accesses.setdefault(pairs.get(access.var, access.var), []).append((access, path))
    for state in program.states:
        accesses.setdefault(state.now, [])
        state.now.whole = state.next.whole = state.now.whole or state.next.whole
    storage = {var: _store(var, found, axes) for var, found in accesses.items()}
    return storage | {follower: storage[now] for follower, now in pairs.items()}


def _all(statement: Statement) -> list[Access]:
    if statement.kind == "call":
        return [Access(var, ()) for var in statement.variables()]
    return list(statement.accesses())


def _store(var: Var, found: list[tuple[Access, tuple[Loop, ...]]], axes: Axes) -> Storage:
    if var.fixed:
        return Storage((), var.order, ())
    home: list[Loop] = []
    paths = [] if var.role == "state" else [path for _, path in found]
    for level in zip(*paths, strict=False):
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
