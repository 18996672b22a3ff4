"""Donation: a temporary array that dies where an output is written element by element lives in the output's memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from graphad.loops.axes import Axes
from graphad.loops.ir import Access, Index, IndexValue, Loop, Operand, Program, Statement, Var, at, walk
from graphad.loops.place import Storage


def donate(program: Program, axes: Axes, storage: dict[Var, Storage]) -> None:
    """Replace such temporaries by the outputs."""
    uses = Uses(program)
    for output in program.outputs:
        if output.shape:
            found = Donation(uses, axes, storage, output).found()
            if found is not None and not known_inside(program, found):
                replaced(program, found, output)
                uses.moved(found, output)
                del storage[found]


def update_in_place(program: Program, axes: Axes, storage: dict[Var, Storage]) -> None:
    """Let a step write what it carries where it read it, if it needs no element again after that."""
    for state in program.states:
        now, following = state.now, state.next
        if now is following or not storage[now].is_array or not now.shape or known_inside(program, following):
            continue
        if Donation(Uses(program), axes, storage, following).replaces(now):
            replaced(program, following, now)
            del storage[following]
            state.next = now


def known_inside(program: Program, var: Var) -> bool:
    """Whether the body of a loop or branch reads a variable where it lies, by its name, which must then stay."""
    return any(var in body.guests for statement in program.statements for body in statement.bodies)


class Uses:
    """All statements in order with the loops around them, and for each variable the places of those that touch it."""

    def __init__(self, program: Program) -> None:
        self.placed = list(walk(program.body))
        self.places: dict[Var, list[int]] = {}
        for place, (statement, _) in enumerate(self.placed):
            for var in dict.fromkeys(statement.variables()):
                self.places.setdefault(var, []).append(place)

    def moved(self, old: Var, new: Var) -> None:
        """One variable has been replaced by another."""
        self.places[new] = sorted({*self.places.get(new, ()), *self.places.pop(old, ())})


class Donation:
    """The search for a temporary that can live in one output."""

    def __init__(self, uses: Uses, axes: Axes, storage: dict[Var, Storage], output: Var) -> None:
        self.axes = axes
        self.storage = storage
        self.output = output
        self.placed = uses.placed
        self.places = uses.places

    def found(self) -> Var | None:
        """The temporary, or None."""
        uses = self.places.get(self.output, [])
        if len(uses) != 1 or self.placed[uses[0]][0].kind != "=":
            return None
        place = uses[0]
        writer = self.placed[place][0]
        for operand in writer.inputs:
            if isinstance(operand, Access) and self._fits(operand, writer) and self._dies(operand.var, place):
                return operand.var
        return None

    def replaces(self, now: Var) -> bool:
        """Whether the output may lie where `now` lies, which is read up to the statement that writes the output."""
        touching = self.places.get(self.output, [])
        writers = [(k, self.placed[k][0]) for k in touching if self.output in self.placed[k][0].written]
        if len(writers) != 1 or writers[0][1].kind != "=":
            return False
        place, writer = writers[0]
        last = max(self.places.get(now, ()), default=-1)
        return last <= place and self._covers(writer) and self._dies(now, place)

    def _covers(self, writer: Statement) -> bool:
        """Whether a statement writes all elements, each once."""
        return all(self.axes.aligned(writer.out, d) is not None for d in range(len(writer.out.indices)))

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
        """Whether nothing needs the temporary once the output is written, and before that only the same elements do."""
        path = self.placed[place][1]
        nest = path[0] if path else None
        for number in self.places.get(var, ()):
            statement, around = self.placed[number]
            if statement.accumulates and statement.out.var is var:
                return False
            inside = nest is not None and bool(around) and around[0] is nest
            if inside and not self._same_elements(statement, var, around, path, place):
                return False
            if number > place:
                return False
        return True

    def _same_elements(
        self, statement: Statement, var: Var, around: tuple[Loop, ...], path: tuple[Loop, ...], place: int
    ) -> bool:
        if around != path or statement.kind == "call":
            return False
        written = self._place(self.placed[place][0].out)
        return all(self._place(a) == written for a in statement.accesses() if a.var is var)


def replaced(program: Program, old: Var, new: Var) -> None:
    """Put one variable in the place of another, everywhere in a program."""
    for statement in program.statements:
        statement.out = _moved(statement.out, old, new)
        statement.inputs = [_operand(o, old, new) for o in statement.inputs]
        statement.results = tuple([new if var is old else var for var in statement.results])
        if "loop" in statement.params:
            statement.params["loop"] = _remembered(statement.params["loop"], old, new)


def _remembered(loop: Any, old: Var, new: Var) -> Any:
    """A loop whose carried values begin and end in another variable."""
    changes = {
        name: tuple([replace(one, memory=new) if one.memory is old else one for one in getattr(loop, name)])
        for name in ("carried", "primal") if hasattr(loop, name)
    }  # fmt: skip
    return replace(loop, **changes)


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
