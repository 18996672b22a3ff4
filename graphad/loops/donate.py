"""Donation: a temporary array that dies where an output is written element by element lives in the output's memory."""

from __future__ import annotations

from graphad.loops.axes import Axes
from graphad.loops.ir import Access, Index, IndexValue, Loop, Operand, Program, Statement, Var, at, walk
from graphad.loops.place import Storage


def donate(program: Program, axes: Axes, storage: dict[Var, Storage]) -> None:
    """Replace such temporaries by the outputs."""
    for output in program.outputs:
        if output.shape:
            found = Donation(program, axes, storage, output).found()
            if found is not None:
                _replace(program, found, output)
                del storage[found]


def update_in_place(program: Program, axes: Axes, storage: dict[Var, Storage]) -> None:
    """Let a step write what it carries where it read it, if it needs no element again after that."""
    for state in program.states:
        now, following = state.now, state.next
        if now is following or not storage[now].is_array or not now.shape:
            continue
        if Donation(program, axes, storage, following).replaces(now):
            _replace(program, following, now)
            del storage[following]
            state.next = now


class Donation:
    """The search for a temporary that can live in one output."""

    def __init__(self, program: Program, axes: Axes, storage: dict[Var, Storage], output: Var) -> None:
        self.axes = axes
        self.storage = storage
        self.output = output
        self.placed = list(walk(program.body))

    def found(self) -> Var | None:
        """The temporary, or None."""
        uses = [(k, s) for k, (s, _) in enumerate(self.placed) if self._touches(s, self.output)]
        if len(uses) != 1 or uses[0][1].kind != "=":
            return None
        place, writer = uses[0]
        for operand in writer.inputs:
            if isinstance(operand, Access) and self._fits(operand, writer) and self._dies(operand.var, place):
                return operand.var
        return None

    def replaces(self, now: Var) -> bool:
        """Whether the output may lie where `now` lies, which is read up to the statement that writes the output."""
        writers = [(k, s) for k, (s, _) in enumerate(self.placed) if self.output in s.written]
        if len(writers) != 1 or writers[0][1].kind != "=":
            return False
        place, writer = writers[0]
        last = max((k for k, (s, _) in enumerate(self.placed) if self._touches(s, now)), default=-1)
        return last <= place and self._covers(writer) and self._dies(now, place)

    def _covers(self, writer: Statement) -> bool:
        """Whether a statement writes all elements, each once."""
        return all(self.axes.aligned(writer.out, d) is not None for d in range(len(writer.out.indices)))

    def _touches(self, statement: Statement, var: Var) -> bool:
        return any(touched is var for touched in statement.variables())

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
        for number, (statement, around) in enumerate(self.placed):
            if not self._touches(statement, var):
                continue
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
