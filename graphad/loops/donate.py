"""Donation: a temporary array that dies where an output is written element by element lives in the output's memory."""

from __future__ import annotations

from dataclasses import dataclass

from graphad.loops.axes import Axes
from graphad.loops.ir import Access, Index, IndexValue, Loop, Operand, Program, Statement, Var, at, walk
from graphad.loops.place import Storage


def donate(program: Program, axes: Axes, storage: dict[Var, Storage]) -> None:
    """Replace such temporaries by the outputs."""
    placed = list(walk(program.body))
    touching: dict[Var, list[int]] = {}
    for place, (statement, _) in enumerate(placed):
        for var in dict.fromkeys(_touched(statement)):
            touching.setdefault(var, []).append(place)
    for output in program.outputs:
        if output.shape:
            found = Donation(placed, touching, axes, storage, output).found()
            if found is not None:
                _replace(program, found, output)
                touching[output] = sorted({*touching[output], *touching.pop(found)})
                del storage[found]


def _touched(statement: Statement) -> list[Var]:
    if statement.kind == "call":
        return [statement.out.var, *(o.var for o in statement.inputs if isinstance(o, Access))]
    return [access.var for access in statement.accesses()]


@dataclass
class Donation:
    """The search for a temporary that can live in one output.

    Arguments:
        placed: all statements in order, with the loops around them.
        touching: for each variable the places of the statements that touch it.
    """

    placed: list[tuple[Statement, tuple[Loop, ...]]]
    touching: dict[Var, list[int]]
    axes: Axes
    storage: dict[Var, Storage]
    output: Var

    def found(self) -> Var | None:
        """The temporary, or None."""
        uses = self.touching.get(self.output, [])
        if len(uses) != 1 or self.placed[uses[0]][0].kind != "=":
            return None
        place = uses[0]
        writer = self.placed[place][0]
        for operand in writer.inputs:
            if isinstance(operand, Access) and self._fits(operand, writer) and self._dies(operand.var, place):
                return operand.var
        return None

    def _fits(self, read: Access, writer: Statement) -> bool:
        """Whether the element read lies where the element written will lie."""
        var = read.var
        storage = self.storage[var]
        same = var.shape == self.output.shape and var.dtype == self.output.dtype
        whole = storage.memory == tuple(range(len(var.shape))) and not storage.home
        return same and whole and not var.fixed and self._place(read) == self._place(writer.out)

    def _place(self, access: Access) -> tuple[Index, ...]:
        return access.substitute(lambda a: at(a if self.axes.unrolled(a) else self.axes.find(a))).indices

    def _dies(self, var: Var, place: int) -> bool:
        """Whether nothing needs the temporary once the output is written: in its nest only the same elements do."""
        path = self.placed[place][1]
        nest = path[0] if path else None
        for number in self.touching.get(var, []):
            statement, around = self.placed[number]
            if statement.accumulates and statement.out.var is var:
                return False
            inside = nest is not None and bool(around) and around[0] is nest
            if inside and not self._same_elements(statement, var, around, path, place):
                return False
            if not inside and number > place:
                return False
        return True

    def _same_elements(
        self, statement: Statement, var: Var, around: tuple[Loop, ...], path: tuple[Loop, ...], place: int
    ) -> bool:
        if around != path or statement.kind == "call":
            return False
        written = self._place(self.placed[place][0].out)
        return all(self._place(a) == written for a in statement.accesses() if a.var is var)


def _replace(program: Program, old: Var, new: Var) -> None:
    for statement in program.statements:
        statement.out = _moved(statement.out, old, new)
        statement.inputs = [_operand(o, old, new) for o in statement.inputs]


def _operand(operand: Operand, old: Var, new: Var) -> Operand:
    if isinstance(operand, Access):
        return _moved(operand, old, new)
    if isinstance(operand, IndexValue):
        return IndexValue(_index(operand.number, old, new), operand.dtype)
    return operand


def _moved(access: Access, old: Var, new: Var) -> Access:
    return Access(new if access.var is old else access.var, tuple(_index(i, old, new) for i in access.indices))


def _index(index: Index, old: Var, new: Var) -> Index:
    terms = tuple((a if isinstance(a, int) else _moved(a, old, new), c) for a, c in index.terms)
    return Index(terms, index.offset)
