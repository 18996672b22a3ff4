"""First sums: the first sum into an array that reaches each element once writes it, and nothing is filled before.

    g = 0;  for i: for j: g[i, j] += a[i] * b[j]          two stores and a load for every element
    for i: for j: g[i, j] = a[i] * b[j]                   one store

Sums of single elements that come before such a sum are put behind it.
"""

from __future__ import annotations

from graphad.ir.sizes import Extent
from graphad.loops.axes import Axes
from graphad.loops.ir import NEUTRAL, Access, Index, Literal, Loop, Program, Statement, Var, walk
from graphad.loops.place import Storage

Path = tuple[Loop, ...]
Body = list[Loop | Statement]
FEW = 4
"""Elements that are worth statements of their own."""


def assign_first(program: Program, axes: Axes, storage: dict[Var, Storage]) -> None:
    """Make first sums assignments in a placed program."""
    _put_behind(program.body, (), axes, storage)
    touches: dict[Var, list[tuple[Access, Statement, Path]]] = {}
    for statement, path in walk(program.body):
        called = [Access(var, ()) for var in statement.variables()]
        for access in called if statement.kind == "call" else statement.accesses():
            touches.setdefault(access.var, []).append((access, statement, path))
    for var, found in touches.items():
        access, statement, path = found[0]
        ready = storage[var].is_array and access is statement.out and statement.accumulates and not program.begun(var)
        if not ready or not _untouched(found, axes, storage[var].home):
            continue
        if _covers(statement, path, axes, storage[var]):
            statement.kind = "="
        elif (rest := _rest(statement, path, axes, storage[var])) is not None:
            _clear(program, path[0], statement, rest)
            statement.kind = "="


def _put_behind(body: Body, path: Path, axes: Axes, storage: dict[Var, Storage]) -> None:
    """Move what only adds to an array behind the item of the same body that reaches each of its elements once."""
    for item in list(body):
        if not isinstance(item, Loop):
            continue
        for statement, inner in list(walk([item], path)):
            var = statement.out.var
            read = any(access.var is var for s, _ in walk([item]) for access in s.reads())
            if read or not (statement.accumulates and storage[var].is_array):
                continue
            if _covers(statement, inner, axes, storage[var]):
                earlier = [x for x in body[: body.index(item)] if any(_touches(s, var) for s, _ in walk([x]))]
                if earlier and all(s.out.var is var and s.kind == statement.kind for s, _ in walk(earlier)):
                    body[:] = [x for x in body if x not in earlier]
                    place = body.index(item) + 1
                    body[place:place] = earlier
        _put_behind(item.body, (*path, item), axes, storage)


def _touches(statement: Statement, var: Var) -> bool:
    return any(touched is var for touched in statement.variables())


def _covers(statement: Statement, path: Path, axes: Axes, storage: Storage) -> bool:
    """Whether a statement reaches every element once."""
    out = statement.out
    reached = [index.axis for index in out.indices]
    known = [a for a in reached if a is not None]
    if len(known) < len(reached) or any(axes.extent(a) != e for a, e in zip(known, out.var.shape, strict=True)):
        return False
    loops = [axes.find(a) for a in known if not axes.unrolled(a)]
    around = [loop.axis for loop in path if loop not in storage.home]
    needed = [c for c in loops if c not in {loop.axis for loop in storage.home}]
    unrolled = {a for a in statement.axes if axes.unrolled(a)}
    return sorted(needed) == sorted(around) and len(set(known)) == len(known) and unrolled <= set(known)


def _rest(statement: Statement, path: Path, axes: Axes, storage: Storage) -> list[Extent] | None:
    """The few elements of a vector that a loop over all others does not reach; None where it is no such loop."""
    out = statement.out
    if len(out.indices) != 1 or len(path) != 1 or storage.home or storage.block or storage.unrolled:
        return None
    terms, start = out.indices[0]
    loop = path[0]
    along = [a for a, c in terms if isinstance(a, int) and axes.find(a) == loop.axis and c == 1]
    if not len(along) == len(terms) == 1 or loop.block or loop.within or not isinstance(start, int):
        return None
    length = axes.extent(loop.axis)
    behind = out.var.shape[0] - length - start
    if not isinstance(behind, int) or min(start, behind) < 0 or start + behind > FEW:
        return None
    return [*range(start), *(length + start + k for k in range(behind))]


def _clear(program: Program, loop: Loop, statement: Statement, places: list[Extent]) -> None:
    """Give some elements their first values before a loop."""
    out, dtype = statement.out, statement.dtype
    value = Literal(NEUTRAL[statement.kind](dtype), dtype)
    made = [Statement("=", "{0}", Access(out.var, (Index((), place),)), [value], (), dtype) for place in places]
    where = program.body.index(loop)
    program.body[where:where] = made
    program.statements.extend(made)


def _untouched(found: list[tuple[Access, Statement, Path]], axes: Axes, home: Path) -> bool:
    """Whether nothing touches an element before the first statement does: others come later in the same rounds."""
    first, statement, path = found[0]
    if any(access is not first for access, other, _ in found if other is statement):
        return False
    for access, _, other in found[1:]:
        for loop, same in zip(path, other, strict=False):
            if loop is not same:
                break
            both = (axes.aligned(first, d) == axes.aligned(access, d) == loop.axis for d in range(len(first.indices)))
            if loop not in home and not any(both):
                return False
    return True
