"""Shifted accumulation: several sums into one array at different offsets of an inner loop become one.

`g[i] += a; g[i+1] += b` writes each element twice, and the second write must wait for the first. With b kept in a
register for one round, `g[i] += a + b_before` is one write that vectorises; what is left in the registers is added
after the loop. A value for k elements ahead passes through k registers.
"""

from __future__ import annotations

from typing import NamedTuple

from graphad.ir.sizes import Extent
from graphad.loops.axes import Axes
from graphad.loops.ir import Access, Index, Literal, Loop, Operand, Program, Statement, Var, walk
from graphad.loops.place import Storage

FARTHEST = 4

Body = list[Loop | Statement]


class Shifted(NamedTuple):
    """The accumulations of one loop into one array: by offset the statements, and the dimension of the offset."""

    dimension: int
    by_offset: dict[int, list[Statement]]


class Delays:
    """Rewrites the body of a placed program."""

    def __init__(self, program: Program, axes: Axes, storage: dict[Var, Storage]) -> None:
        self.program = program
        self.axes = axes
        self.storage = storage

    def run(self) -> None:
        """Rewrite all inner loops."""
        self.program.body = self._rewritten(self.program.body, ())
        self.program.statements = [statement for statement, _ in walk(self.program.body)]

    def _rewritten(self, body: Body, path: tuple[Loop, ...]) -> Body:
        result: Body = []
        for item in body:
            if not isinstance(item, Loop):
                result.append(item)
                continue
            before, after = self._loop(item, path) if _innermost(item) else ([], [])
            if not _innermost(item):
                item.body = self._rewritten(item.body, (*path, item))
            result += [*before, item, *after]
        return result

    def _loop(self, loop: Loop, path: tuple[Loop, ...]) -> tuple[Body, Body]:
        """Rewrite one loop; answers what goes before and after it."""
        before: Body = []
        after: Body = []
        for found in self._shifted(loop):
            first, last = self._delay(loop, path, found)
            before += first
            after += last
        return before, after

    def _shifted(self, loop: Loop) -> list[Shifted]:
        groups: dict[object, Shifted] = {}
        for statement in loop.body:
            assert isinstance(statement, Statement)
            place = self._offset(statement, loop.axis)
            if place is None:
                continue
            dimension, offset = place
            others = statement.out.substitute(lambda a: Index(((self.axes.find(a), 1),))).indices
            key = (statement.out.var, dimension, others[:dimension], others[dimension + 1 :])
            group = groups.setdefault(key, Shifted(dimension, {}))
            group.by_offset.setdefault(offset, []).append(statement)
        return [g for g in groups.values() if len(g.by_offset) > 1 and max(g.by_offset) - min(g.by_offset) <= FARTHEST]

    def _offset(self, statement: Statement, loop: int) -> tuple[int, int] | None:
        """The dimension of an accumulation that runs along the loop, and its literal offset."""
        out = statement.out
        if statement.kind != "+=" or not self.storage[out.var].is_array:
            return None
        if any(self.axes.unrolled(a) for a in statement.axes):
            return None
        found = [d for d, index in enumerate(out.indices) if loop in map(self.axes.find, index.axes())]
        if len(found) != 1:
            return None
        index = out.indices[found[0]]
        simple = len(index.terms) == 1 and index.terms[0][1] == 1 and isinstance(index.terms[0][0], int)
        return (found[0], index.offset) if simple and isinstance(index.offset, int) else None

    def _delay(self, loop: Loop, path: tuple[Loop, ...], found: Shifted) -> tuple[Body, Body]:
        least = min(found.by_offset)
        target, axes = found.by_offset[least][0].out, found.by_offset[least][0].axes
        kind = "=" if not path and self._covers(loop, found, least) else "+="
        dtype = target.var.dtype
        before: Body = []
        arriving: list[Operand] = []
        moves: Body = []
        registers: dict[int, list[Access]] = {}
        for offset, statements in sorted(found.by_offset.items()):
            values = [self._named(s, (*path, loop)) for s in statements]
            if offset == least:
                arriving += values
                continue
            chain = [self._register(path, dtype) for _ in range(offset - least)]
            registers[offset - least] = chain
            before += [_assign(r, "{0}", [Literal(0.0, dtype)], dtype) for r in chain]
            arriving.append(chain[-1])
            moves += [_assign(chain[k], "{0}", [chain[k - 1]], dtype) for k in range(len(chain) - 1, 0, -1)]
            moves.append(_assign(chain[0], _sum(len(values)), list(values), dtype))
        total = Statement(kind, _sum(len(arriving)), target, arriving, axes, dtype)
        loop.body += [total, *moves]
        return before, self._flush(kind, target, found.dimension, least, registers, loop)

    def _covers(self, loop: Loop, found: Shifted, least: int) -> bool:
        """Whether these are all the sums into a vector and reach each element, so that it need not be zero before."""
        group = [s for statements in found.by_offset.values() for s in statements]
        target = group[0].out.var
        others = [s for s in self.program.statements if s.out.var is target and s not in group]
        reach = self.axes.extent(loop.axis) + max(found.by_offset)
        return len(target.shape) == 1 and not others and least == 0 and reach == target.shape[0]

    def _flush(
        self, kind: str, target: Access, dimension: int, least: int, registers: dict[int, list[Access]], loop: Loop
    ) -> Body:
        """Add what the registers still hold to the elements behind the loop's last."""
        length = self.axes.extent(loop.axis)
        body: Body = []
        for ahead in range(max(registers)):
            held: list[Operand] = [chain[m - ahead - 1] for m, chain in sorted(registers.items()) if m > ahead]
            place: Extent = length + (least + ahead)
            indices = tuple(Index((), place) if d == dimension else i for d, i in enumerate(target.indices))
            out = Access(target.var, indices)
            body.append(Statement(kind, _sum(len(held)), out, held, (), target.var.dtype))
        return body

    def _named(self, statement: Statement, path: tuple[Loop, ...]) -> Access:
        """Turn an accumulation into a value of its own."""
        value = self._register(path, statement.dtype)
        statement.kind, statement.out = "=", value
        return value

    def _register(self, home: tuple[Loop, ...], dtype: str) -> Access:
        var = self.program.variable((), dtype)
        self.storage[var] = Storage(home, (), ())
        return Access(var, ())


def _innermost(loop: Loop) -> bool:
    return not any(isinstance(item, Loop) for item in loop.body)


def _sum(count: int) -> str:
    return " + ".join(f"{{{k}}}" for k in range(count))


def _assign(out: Access, operation: str, inputs: list[Operand], dtype: str) -> Statement:
    return Statement("=", operation, out, inputs, (), dtype)
