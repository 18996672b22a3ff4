"""Updates in place: a copy of which some elements are then changed lives where the original does, unless that is read.

`x.at[i].set(v)` is a copy of `x` and a statement that changes one element of it. In the step of a loop the copy costs
as much as the array is long, however little changes. So what else reads the original comes first, where it can
(`read_first`, before loops are made), and copies of originals that nobody reads afterwards are not made
(`spare_copies`, when the order is known).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from graphad.loops.axes import Axes
from graphad.loops.donate import known_inside, replaced
from graphad.loops.ir import Access, Loop, Program, Statement, Var, at, walk
from graphad.loops.place import Storage
from graphad.loops.registers import temporary


class Copy(NamedTuple):
    """A statement that copies all of an array, and the two variables."""

    statement: Statement
    old: Var
    new: Var


class Place(NamedTuple):
    """A statement, its number in the order of all, and the loops around it, outermost first."""

    statement: Statement
    number: int
    path: tuple[Loop, ...]


def read_first(program: Program, axes: Axes) -> None:
    """Let those who read what is copied come before those who change the copy.

    Elements that are read together with something that the change makes are taken to a temporary variable before it.
    """
    for copy in list(_copies(program)):
        _keep_old(program, axes, copy)
        readers = [
            (access, s) for s in program.statements if s is not copy.statement
            for access in s.reads() if access.var is copy.old
        ]  # fmt: skip
        for update in [s for s in program.statements if s is not copy.statement and copy.new in s.written]:
            behind = _behind(program, update)
            update.overwrites += tuple([(a, s) for a, s in readers if id(s) not in behind])


def _keep_old(program: Program, axes: Axes, copy: Copy) -> None:
    """Take what is read behind a change to temporary variables, where that is less than the whole array."""
    updates = [s for s in program.statements if s is not copy.statement and copy.new in s.written]
    behind = set().union(*[_behind(program, update) for update in updates])
    changed = {var for s in program.statements if id(s) in behind for var in s.written}
    for reader in [s for s in program.statements if id(s) in behind and s.kind != "call"]:
        for position, operand in enumerate(reader.inputs):
            if not isinstance(operand, Access) or operand.var is not copy.old:
                continue
            used = list(dict.fromkeys(operand.axes()))
            inner = [access.var for access in operand.reads() if access is not operand]
            if len(used) < len(copy.old.shape) and changed.isdisjoint(inner):
                reader.inputs[position] = _taken(program, axes, reader, operand, used)


def _taken(program: Program, axes: Axes, reader: Statement, read: Access, used: list[int]) -> Access:
    """A temporary variable with the elements that a statement reads."""
    var, out, moved = temporary(program, axes, used, read.var.dtype)
    program.statements.append(
        Statement(
            "=", "{0}", out.substitute(lambda a: at(moved[a])), [read.substitute(lambda a: at(moved[a]))],
            tuple(moved.values()), read.var.dtype, region=reader.region,
        )
    )  # fmt: skip
    return Access(var, tuple(at(a) for a in used))


def _behind(program: Program, first: Statement) -> set[int]:
    """The statements that must come behind one: those that read what it changes, and so on."""
    found = {id(first)}
    changed = set(first.written)
    while True:
        more = [
            s for s in program.statements if id(s) not in found
            and (any(a.var in changed for a in s.reads()) or any(id(b) in found for b in s.after)
                 or any(id(b) in found for _, b in s.overwrites))
        ]  # fmt: skip
        if not more:
            return found
        found |= {id(s) for s in more}
        changed |= {var for s in more for var in s.written}


def _copies(program: Program) -> Iterator[Copy]:
    """The copies of arrays that this program owns, or carries, to such arrays."""
    writers = program.writers()
    for statement in program.statements:
        if statement.kind != "=" or statement.operation != "{0}" or statement.after:
            continue
        (operand,) = statement.inputs
        if not isinstance(operand, Access) or operand.indices != statement.out.indices or not operand.indices:
            continue
        old, new = operand.var, statement.out.var
        alike = old.shape == new.shape and old.dtype == new.dtype and old.layout == new.layout
        changed = any(s is not statement for s in writers[new]) and not _summed_up(program, old, writers.get(old, ()))
        if alike and changed and _owned(program, old) and _owned(program, new) and _may_follow(program, old, new):
            yield Copy(statement, old, new)


def _summed_up(program: Program, var: Var, writers: Sequence[Statement]) -> bool:
    """Whether a variable is nothing but a sum from zero: with another writer nobody would see that it begins there."""
    return bool(writers) and all(s.accumulates for s in writers) and not program.begun(var)


def _owned(program: Program, var: Var) -> bool:
    return var.role in ("temporary", "state") and var not in program.guests and var.alias is None


def _may_follow(program: Program, old: Var, new: Var) -> bool:
    """Whether one variable may take the memory of another as far as the carried values and inner loops go."""
    if known_inside(program, new):
        return False
    if any(state.next is old for state in program.states):
        return False
    if old.role == "state" and all(state.now is not old for state in program.states):
        return False
    following = [state.now for state in program.states if state.next is new]
    return following in ([], [old])


def spare_copies(program: Program, axes: Axes, storage: dict[Var, Storage]) -> None:
    """Let copies live where the originals do, if nothing reads those after the first change."""
    while (found := _spared(program, axes, storage)) is not None:
        _drop(program.body, found.statement)
        program.statements.remove(found.statement)
        replaced(program, found.new, found.old)
        storage.pop(found.new, None)
        for state in program.states:
            if state.next is found.new:
                state.next = found.old


def _spared(program: Program, axes: Axes, storage: dict[Var, Storage]) -> Copy | None:
    copies = [copy for copy in _copies(program) if _alike(copy, axes, storage)]
    if not copies:
        return None
    places = [Place(s, number, path) for number, (s, path) in enumerate(walk(program.body))]
    items = {id(item): k for k, item in enumerate(program.body)}
    return next((copy for copy in copies if _dead(copy, places, axes, items)), None)


def _alike(copy: Copy, axes: Axes, storage: dict[Var, Storage]) -> bool:
    """Whether both are arrays of the function that are stored in the same way, and all of one is copied."""
    old, new = storage.get(copy.old), storage.get(copy.new)
    whole = all(axes.aligned(copy.statement.out, d) is not None for d in range(len(copy.old.shape)))
    return whole and old is not None and old == new and old.is_array and not old.home


def _dead(copy: Copy, places: list[Place], axes: Axes, items: dict[int, int]) -> bool:
    """Whether nobody reads or changes the original after the first change of the copy."""
    made = next(place for place in places if place.statement is copy.statement)
    others = [place for place in places if place.statement is not copy.statement]
    updates = [place for place in others if copy.new in place.statement.written]
    touching = [place for place in others if copy.old in place.statement.variables()]
    if any(copy.old in place.statement.written and not _ahead(place, made, items) for place in touching):
        return False
    return all(_before(reader, update, copy, axes, items) for reader in touching for update in updates)


def _item(place: Place, items: dict[int, int]) -> int:
    return items[id(place.path[0] if place.path else place.statement)]


def _ahead(one: Place, other: Place, items: dict[int, int]) -> bool:
    """Whether a statement has run to its end before another begins."""
    return _item(one, items) < _item(other, items)


def _before(reader: Place, update: Place, copy: Copy, axes: Axes, items: dict[int, int]) -> bool:
    """Whether a statement reads each element of the original before another changes it in the copy."""
    if _ahead(reader, update, items):
        return True
    if reader.statement is update.statement or _ahead(update, reader, items) or reader.number > update.number:
        return False
    shared = [a.axis for a, b in zip(reader.path, update.path, strict=False) if a is b]
    if any(loop.block or loop.within for loop in (*reader.path, *update.path)):
        return False
    reads = [access for access in reader.statement.accesses() if access.var is copy.old]
    out = update.statement.out
    return all(
        any(axes.aligned(read, d) == axes.aligned(out, d) == axis for d in range(len(out.indices)))
        for axis in shared for read in reads
    )  # fmt: skip


def _drop(body: list[Loop | Statement], statement: Statement) -> None:
    """Take a statement out of loops, with loops in which nothing else stands."""
    for item in list(body):
        if isinstance(item, Loop):
            _drop(item.body, statement)
        if item is statement or (isinstance(item, Loop) and not item.body):
            body.remove(item)
