"""Sums into several rows of an array get a loop each: in one loop no compiler can tell the rows apart.

    for i: for j: r = ...; g[i, j] += r; g[i + 2, j] += r          every store might change what is loaded next
    for i: for j: r[j] = ...;  for j: g[i, j] += r[j];  for j: g[i + 2, j] += r[j]          three vector loops

The values in between lie in rows of scratch memory, which stay in the nearest cache.
"""

from __future__ import annotations

from graphad.loops.axes import Axes
from graphad.loops.ir import Access, Index, Loop, Program, Statement, Var, at
from graphad.loops.place import Storage

Body = list[Loop | Statement]


def separate_rows(program: Program, axes: Axes, storage: dict[Var, Storage]) -> None:
    """Rewrite the inner loops of a placed program."""
    program.body = Separation(axes, storage).rewritten(program.body, ())


class Separation:
    """The rewriting of one program."""

    def __init__(self, axes: Axes, storage: dict[Var, Storage]) -> None:
        self.axes = axes
        self.storage = storage

    def rewritten(self, body: Body, path: tuple[Loop, ...]) -> Body:
        """A body in which every inner loop is followed by those that were taken out of it."""
        result: Body = []
        for item in body:
            result.append(item)
            if not isinstance(item, Loop):
                continue
            if any(isinstance(x, Loop) for x in item.body):
                item.body = self.rewritten(item.body, (*path, item))
            elif path:
                result += self._separated(item, path)
        return result

    def _separated(self, loop: Loop, path: tuple[Loop, ...]) -> Body:
        """Take sums out of a loop; answers their own loops."""
        sums: dict[Var, list[Statement]] = {}
        for statement in loop.body:
            assert isinstance(statement, Statement)
            if self._row_sum(statement, loop):
                sums.setdefault(statement.out.var, []).append(statement)
        taken = [s for var, found in sums.items() if self._worth(var, found, loop, path) for s in found]
        for statement in taken:
            self._store(statement, loop, path)
        loop.body = [s for s in loop.body if s not in taken]
        return [Loop(loop.axis, [statement]) for statement in taken]

    def _row_sum(self, statement: Statement, loop: Loop) -> bool:
        """Whether a statement adds one value to an element of a stored array that the loop runs along."""
        out = statement.out
        along = [d for d, index in enumerate(out.indices) if loop.axis in map(self.axes.find, index.axes())]
        plain = statement.kind == "+=" and statement.operation == "{0}" and isinstance(statement.inputs[0], Access)
        unrolled = any(self.axes.unrolled(a) for a in statement.axes)
        return plain and not unrolled and along == [len(out.indices) - 1] and self.storage[out.var].is_array

    def _worth(self, var: Var, found: list[Statement], loop: Loop, path: tuple[Loop, ...]) -> bool:
        """Whether several rows are added to, nothing else touches them here, and all values can be stored."""
        rows = {self._classes(s.out)[:-1] for s in found}
        touching = [s for s in loop.body if isinstance(s, Statement) and any(a.var is var for a in s.accesses())]
        return len(rows) > 1 and len(touching) == len(found) and all(self._storable(s, loop, path) for s in found)

    def _classes(self, access: Access) -> tuple[Index, ...]:
        return access.substitute(lambda a: at(self.axes.find(a))).indices

    def _storable(self, statement: Statement, loop: Loop, path: tuple[Loop, ...]) -> bool:
        (value,) = statement.inputs
        assert isinstance(value, Access)
        storage = self.storage[value.var]
        if storage.home != (*path, loop):
            return True
        accesses = [a for s in loop.body if isinstance(s, Statement) for a in s.accesses() if a.var is value.var]
        dimension = self.axes.aligned_on(value, loop.axis)
        aligned = dimension is not None and all(self.axes.aligned(a, dimension) == loop.axis for a in accesses)
        return aligned and not storage.is_array and not storage.unrolled

    def _store(self, statement: Statement, loop: Loop, path: tuple[Loop, ...]) -> None:
        """Keep the value of a sum in a row of memory, from the loop that computes it to its own."""
        (value,) = statement.inputs
        assert isinstance(value, Access)
        dimension = self.axes.aligned_on(value, loop.axis)
        if self.storage[value.var].home == (*path, loop) and dimension is not None:
            self.storage[value.var] = Storage(path, (dimension,), ())
