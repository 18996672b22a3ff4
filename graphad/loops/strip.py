"""Strip-mining: a loop around serial ones runs in blocks, with its points innermost, where they are one vector.

    for i: p = 1;  for j: p = p * a[i, j]          each product waits for the one before
    for each block of i:  for i: p[i] = 1;  for j:  for i: p[i] = p[i] * a[i, j]          points do not wait

What a round of the loop has for itself gets one element for each point of the block. The loop must be free of order
between its rounds: they share sums only, and arrays of which each round has its own elements.
"""

from __future__ import annotations

from collections.abc import Iterator

from graphad.loops.axes import Axes
from graphad.loops.ir import Access, Loop, Program, Statement, Var, walk
from graphad.loops.place import Storage

BLOCK = 64
Body = list[Loop | Statement]


def strip_mine(program: Program, axes: Axes, storage: dict[Var, Storage]) -> None:
    """Run the outermost loops of a scheduled program in blocks where a loop in them is serial."""
    for position, item in enumerate(program.body):
        if isinstance(item, Loop) and _serial_inside(item) and unordered(item, axes, storage):
            program.body[position] = Strip(item, program, axes, storage).block
    program.statements = [statement for statement, _ in walk(program.body)]


def _serial_inside(loop: Loop) -> bool:
    """Whether a scan runs along an inner loop."""
    return any(s.kind == "scan" for s, path in walk(loop.body) if path)


def unordered(loop: Loop, axes: Axes, storage: dict[Var, Storage]) -> bool:
    """Whether the rounds of a loop may run side by side."""
    kinds: dict[Var, set[str]] = {}
    shared: dict[Var, list[tuple[Access, Statement]]] = {}
    for statement, _ in walk([loop]):
        if statement.kind == "call":
            return False
        for access in statement.accesses():
            if loop not in storage[access.var].home:
                shared.setdefault(access.var, []).append((access, statement))
                written = access is statement.out or access is statement.carry
                kinds.setdefault(access.var, set()).update({statement.kind} if written else {"read"})
    return all(
        found == {"read"} or _commuting(found) or _own_elements(shared[var], loop.axis, axes)
        for var, found in kinds.items()
    )


def _commuting(kinds: set[str]) -> bool:
    return len(kinds) == 1 and kinds <= {"+=", "*=", "max=", "min=", "|=", "&="}


def _own_elements(accesses: list[tuple[Access, Statement]], loop: int, axes: Axes) -> bool:
    """Whether every round touches elements of its own: one dimension is the loop in all accesses."""
    rank = len(accesses[0][0].indices)
    return any(all(axes.aligned(access, d) == loop for access, _ in accesses) for d in range(rank))


class Strip:
    """One loop in blocks. `block` is the loop over them."""

    def __init__(self, loop: Loop, program: Program, axes: Axes, storage: dict[Var, Storage]) -> None:
        self.loop = loop
        self.program = program
        self.axes = axes
        self.storage = storage
        self.block = Loop(loop.axis, [], block=BLOCK)
        self.block.body = self._distributed(loop.body, (self.block,))
        self._place()

    def _distributed(self, body: Body, path: tuple[Loop, ...]) -> Body:
        """The points of the block inside every run of statements, and inside every loop."""
        result: Body = []
        for item in body:
            if isinstance(item, Loop):
                item.body = self._distributed(item.body, (*path, item))
                result.append(item)
                continue
            if not (result and isinstance(result[-1], Loop) and result[-1].within is self.block):
                result.append(Loop(self.loop.axis, [], within=self.block))
            points = result[-1]
            assert isinstance(points, Loop)
            points.body.append(item)
        return [x for item in result for x in (item, *self._after(item, path))]

    def _after(self, item: Loop | Statement, path: tuple[Loop, ...]) -> Iterator[Statement]:
        """Sums over the points of a block collect in registers, and are added after the loop."""
        if not isinstance(item, Loop) or item.within is not self.block:
            return
        for statement in item.body:
            assert isinstance(statement, Statement)
            out = statement.out
            if statement.accumulates and self.storage[out.var].memory and not self._varies(out):
                self.program.counter += 1
                partial = Var(f"v{self.program.counter}", (), statement.dtype)
                self.storage[partial] = Storage(path, (), ())
                statement.out = Access(partial, ())
                yield Statement(statement.kind, "{0}", out, [statement.out], statement.axes, statement.dtype)

    def _varies(self, access: Access) -> bool:
        """Whether an element depends on the point, or on what is written out."""
        return any(self.axes.unrolled(a) or self.axes.find(a) == self.loop.axis for a in access.axes())

    def _place(self) -> None:
        """New homes: the block instead of the round, with an element for every point unless one loop has all uses."""
        paths: dict[Var, list[tuple[Loop, ...]]] = {}
        for statement, path in walk([self.block]):
            for access in statement.accesses():
                paths.setdefault(access.var, []).append(path)
        for var, found in paths.items():
            storage = self.storage[var]
            if self.loop not in storage.home:
                continue
            home = tuple(self.block if loop is self.loop else loop for loop in storage.home)
            points = found[0][-1]
            if all(path[-1] is points for path in found) and found[0][:-1] == home and not storage.memory:
                self.storage[var] = Storage((*home, points), (), storage.unrolled)
            else:
                self.storage[var] = Storage(home, storage.memory, storage.unrolled, self.block)
