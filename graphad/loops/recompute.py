"""Recomputation: cheap values that another nest needs are computed there again instead of being stored.

A load costs as much as an addition, and an array that is not written at all costs nothing. A clone is pinned to its
reader, or grouping would merge the two computations back into one.
"""

from __future__ import annotations

from collections.abc import Callable

from graphad.loops.axes import Axes
from graphad.loops.ir import Access, Index, Literal, Loop, Operand, Program, Statement, Var, at, walk
from graphad.loops.lower import drop_unread
from graphad.loops.place import Storage
from graphad.loops.registers import temporary

DEPTH = 6


class Recomputation:
    """One round: what is stored now, and where statements stand."""

    def __init__(self, program: Program, axes: Axes, storage: dict[Var, Storage]) -> None:
        self.program = program
        self.axes = axes
        self.storage = storage
        self.writers = program.writers()
        self.paths = {id(s): path for s, path in walk(program.body)}
        self.made: dict[object, tuple[Var, list[int]]] = {}

    def run(self) -> bool:
        """Clone what is worth it; answers whether anything changed."""
        targets = {v for v, s in self.storage.items() if s.is_array and not v.fixed and self._cheap(v)}
        # In the order of the code: a clone that several share stands beside the first of them.
        for statement, _ in list(walk(self.program.body)):
            for position, operand in enumerate(statement.inputs):
                if isinstance(operand, Access) and operand.var in targets and self._worth(statement, operand):
                    path = self.paths[id(statement)]
                    if not self._available(operand.var, path, 0):
                        continue
                    statement.inputs[position] = self._clone(statement, operand)
        if self.made:
            drop_unread(self.program)
        return bool(self.made)

    def _cheap(self, var: Var) -> bool:
        found = self.writers.get(var, [])
        if len(found) != 1 or found[0].kind != "=" or found[0].functions:
            return False
        writer = found[0]
        plain = all(index.axis is not None for index in writer.out.indices)
        return plain and "/" not in writer.operation and "sqrt" not in writer.operation

    def _available(self, var: Var, path: tuple[Loop, ...], depth: int) -> bool:
        """Whether the inputs of a cheap variable can be had inside some loops without storing anything new."""
        return all(self._ready(o, path, depth) for o in self.writers[var][0].inputs)

    def _ready(self, operand: Operand, path: tuple[Loop, ...], depth: int) -> bool:
        if not isinstance(operand, Access):
            return True
        if any(not isinstance(a, int) for index in operand.indices for a, _ in index.terms):
            return False
        var = operand.var
        storage = self.storage.get(var)
        if var.fixed or storage is None or storage.home == path[: len(storage.home)]:
            return True
        return depth < DEPTH and self._cheap(var) and self._available(var, path, depth + 1)

    def _worth(self, reader: Statement, read: Access) -> bool:
        """The reader stands in another nest, and the value changes with every one of its loops."""
        writer = self.writers[read.var][0]
        if self.paths[id(reader)] == self.paths[id(writer)]:
            return False
        changing = {self.axes.find(a) for a in read.axes() if not self.axes.unrolled(a)}
        return changing == set(self.axes.loops(reader))

    def _clone(self, reader: Statement, read: Access) -> Access:
        used = list(dict.fromkeys(read.axes()))
        key = (tuple(id(loop) for loop in self.paths[id(reader)]), read.var, self._canonical(read))
        known = self.made.get(key)
        if known is not None:
            return Access(known[0], tuple(at(a) for a in used))
        writer = self.writers[read.var][0]
        place = {index.axis: read.indices[d] for d, index in enumerate(writer.out.indices)}
        var, _, moved = temporary(self.program, self.axes, used, read.var.dtype)

        def there(axis: int) -> Index:
            return place[axis].substitute(lambda a: at(moved[a]))

        clone = Statement(
            kind="=",
            operation=writer.operation,
            out=Access(var, tuple(at(moved[a]) for a in used)),
            inputs=[_moved(o, there) for o in writer.inputs],
            axes=tuple(moved.values()),
            dtype=writer.dtype,
            extra=reader.extra,
            pin=reader,
            node=writer.node,
        )
        var.private = frozenset(reader.extra)
        self.program.statements.append(clone)
        self.made[key] = (var, used)
        return Access(var, tuple(at(a) for a in used))

    def _canonical(self, read: Access) -> tuple[Index, ...]:
        unrolled = [a for a in dict.fromkeys(read.axes()) if self.axes.unrolled(a)]
        return read.substitute(lambda a: at(-1 - unrolled.index(a)) if a in unrolled else at(self.axes.find(a))).indices


def _moved(operand: Operand, change: Callable[[int], Index]) -> Operand:
    if isinstance(operand, Access):
        return operand.substitute(change)
    return operand if isinstance(operand, Literal) else operand._replace(number=operand.number.substitute(change))
