"""Sums into several rows of an array get a loop for each row: in one loop no compiler can tell the rows apart.

    for i: for j: r = ...; g[i, j] += r; g[i, j + 1] += r; g[i + 2, j] += r      every store might change the next load
    for i: for j: r[j] = ...;  for j: g[i, j] += r[j] + r[j - 1];  for j: g[i + 2, j] += r[j]        three vector loops

The values in between lie in rows of scratch memory, which stay in the nearest cache; zeros at both ends of such a row
stand for the values that there are not.
"""

from __future__ import annotations

from functools import partial

from graphad.ir.sizes import Extent
from graphad.loops.axes import Axes
from graphad.loops.ir import Access, Index, Literal, Loop, Program, Statement, Var, at, walk
from graphad.loops.place import Storage

Body = list[Loop | Statement]
Path = tuple[Loop, ...]
FARTHEST = 4  # elements between two sums of a row that share a loop


def separate_rows(program: Program, axes: Axes, storage: dict[Var, Storage]) -> None:
    """Rewrite the inner loops of a placed program."""
    program.body = _rewritten(program.body, (), program, axes, storage)
    program.statements = [statement for statement, _ in walk(program.body)]


def _rewritten(body: Body, path: Path, program: Program, axes: Axes, storage: dict[Var, Storage]) -> Body:
    """A body in which every inner loop is followed by those that were taken out of it."""
    result: Body = []
    for item in body:
        if not isinstance(item, Loop):
            result.append(item)
        elif any(isinstance(x, Loop) for x in item.body):
            item.body = _rewritten(item.body, (*path, item), program, axes, storage)
            result.append(item)
        else:
            result += Separation(item, path, program, axes, storage).run() if path else [item]
    return result


class Separation:
    """The rewriting of one inner loop inside others."""

    def __init__(self, loop: Loop, path: Path, program: Program, axes: Axes, storage: dict[Var, Storage]) -> None:
        self.loop = loop
        self.path = path
        self.program = program
        self.axes = axes
        self.storage = storage
        self.statements = [s for s in loop.body if isinstance(s, Statement)]
        self.rows: list[tuple[Access, Var]] = []
        self.margin = 0

    def run(self) -> Body:
        """The loop without its sums into several rows, then the loops of these; before it the ends of stored rows."""
        sums: dict[Var, list[Statement]] = {}
        for statement in self.statements:
            if self._row_sum(statement):
                sums.setdefault(statement.out.var, []).append(statement)
        taken = [s for var, found in sums.items() if self._worth(var, found) for s in found]
        groups = self._groups([s for s in taken if self._in_register(s)])
        self.margin = max((self._reach(group)[2] for group in groups), default=0)
        loops: Body = [self._row_loop(group) for group in groups]
        loops += [Loop(self.loop.axis, [s]) for s in taken if not self._in_register(s)]
        self.loop.body = [s for s in self.loop.body if s not in taken]
        self.loop.body += self._filled()
        return [*self._ends(), *([self.loop] if self.loop.body else []), *loops]

    def _row_sum(self, statement: Statement) -> bool:
        """Whether a statement adds a value to an element of a stored array that the loop runs along, step by step."""
        out = statement.out
        along = [d for d, i in enumerate(out.indices) if self.loop.axis in map(self.axes.find, i.axes())]
        if along != [len(out.indices) - 1] or any(self.axes.unrolled(a) for a in statement.axes):
            return False
        last = out.indices[-1]
        steps = [c for _, c in last.terms] == [1] and isinstance(last.offset, int)
        plain = statement.kind == "+=" and statement.operation == "{0}" and isinstance(statement.inputs[0], Access)
        return steps and plain and self.storage[out.var].is_array

    def _worth(self, var: Var, found: list[Statement]) -> bool:
        """Whether several rows are added to, nothing else touches them here, and all values can be stored."""
        touching = [s for s in self.statements if any(a.var is var for a in s.accesses())]
        several = len({self._row(s) for s in found}) > 1
        return several and len(touching) == len(found) and all(self._storable(s) for s in found)

    def _row(self, statement: Statement) -> tuple[Index, ...]:
        return statement.out.substitute(lambda a: at(self.axes.find(a))).indices[:-1]

    def _groups(self, sums: list[Statement]) -> list[list[Statement]]:
        """The sums that share a loop, by their offsets: those into one row, near each other."""
        groups: list[list[Statement]] = []
        for statement in sorted(sums, key=_offset):
            for group in groups:
                near = _offset(statement) - _offset(group[0]) <= FARTHEST
                if near and group[0].out.var is statement.out.var and self._row(group[0]) == self._row(statement):
                    group.append(statement)
                    break
            else:
                groups.append([statement])
        return groups

    def _storable(self, statement: Statement) -> bool:
        """Whether the value of a sum can be had in another loop: it lives outside, or is one number of each round."""
        return self._in_register(statement) or self.storage[_value(statement).var].home != (*self.path, self.loop)

    def _in_register(self, statement: Statement) -> bool:
        storage = self.storage[_value(statement).var]
        own = storage.home == (*self.path, self.loop) and not storage.is_array and not storage.unrolled
        return own and self.axes.aligned_on(_value(statement), self.loop.axis) is not None

    def _row_loop(self, group: list[Statement]) -> Loop:
        """The loop that adds to one row all that goes there."""
        start, length, _ = self._reach(group)
        axis = self.axes.new(length)
        inputs = [
            Access(self._stored(statement), (Index(((axis, 1),), self.margin + start - _offset(statement)),))
            for statement in group
        ]
        first = group[0]
        out = Access(first.out.var, (*first.out.indices[:-1], Index(((axis, 1),), start)))
        operation = " + ".join(f"{{{k}}}" for k in range(len(group)))
        others = [a for a in first.axes if self.axes.find(a) != self.loop.axis]
        return Loop(self.axes.find(axis), [Statement("+=", operation, out, [*inputs], (*others, axis), first.dtype)])

    def _reach(self, group: list[Statement]) -> tuple[int, Extent, int]:
        """Where the loop of a row starts, its length, and how far it reads beyond the ends of the values.

        It goes from end to end of the row where that is not much farther: then the first sum can be an assignment.
        """
        least, most = _offset(group[0]), _offset(group[-1])
        length = self.axes.extent(self.loop.axis)
        row = group[0].out.var.shape[-1]
        behind = row - length - most
        if isinstance(behind, int) and 0 <= behind <= FARTHEST and least <= FARTHEST:
            return 0, row, max(most, behind + most - least)
        return least, length + (most - least), most - least

    def _stored(self, statement: Statement) -> Var:
        """The row of scratch memory with the values that a sum adds, a margin at both ends."""
        value = _value(statement)
        for known, row in self.rows:
            if known.var is value.var:
                return row
        length = self.axes.extent(self.loop.axis) + 2 * self.margin
        row = self.program.variable((), value.var.dtype)
        row.shape, row.axes = (length,), (self.axes.new(length),)
        self.storage[row] = Storage(self.path, (0,), ())
        self.rows.append((value, row))
        return row

    def _filled(self) -> Body:
        """The values of the rows, where the loop computes them."""
        body: Body = []
        for value, row in self.rows:
            axis = self.axes.like(self.loop.axis)
            moved = value.substitute(partial(self._renamed, axis))
            out = Access(row, (Index(((axis, 1),), self.margin),))
            body.append(Statement("=", "{0}", out, [moved], tuple(dict.fromkeys(moved.axes())), row.dtype))
        return body

    def _renamed(self, new: int, axis: int) -> Index:
        return at(new if self.axes.find(axis) == self.loop.axis else axis)

    def _ends(self) -> Body:
        """Zeros at both ends of the rows."""
        length = self.axes.extent(self.loop.axis)
        places: list[Extent] = [*range(self.margin), *(length + self.margin + k for k in range(self.margin))]
        return [
            Statement("=", "{0}", Access(row, (Index((), place),)), [Literal(0.0, row.dtype)], (), row.dtype)
            for _, row in self.rows
            for place in places
        ]


def _value(statement: Statement) -> Access:
    (value,) = statement.inputs
    assert isinstance(value, Access)
    return value


def _offset(statement: Statement) -> int:
    offset = statement.out.indices[-1].offset
    assert isinstance(offset, int)
    return offset
