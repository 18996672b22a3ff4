"""First sums: the first sum into an array that reaches each element once writes it, and nothing is filled before.

    g = 0;  for i: for j: g[i, j] += a[i] * b[j]          two stores and a load for every element
    for i: for j: g[i, j] = a[i] * b[j]                   one store

Sums of single elements that come before such a sum are put behind it.
"""

from __future__ import annotations

from graphad.loops.axes import Axes
from graphad.loops.ir import Access, Loop, Program, Statement, Var, walk
from graphad.loops.place import Storage

Path = tuple[Loop, ...]
Body = list[Loop | Statement]


def assign_first(program: Program, axes: Axes, storage: dict[Var, Storage]) -> None:
    """Make first sums assignments in a placed program."""
    _put_behind(program.body, (), axes, storage)
    touches: dict[Var, list[tuple[Access, Statement, Path]]] = {}
    for statement, path in walk(program.body):
        called = [statement.out, *(o for o in statement.inputs if isinstance(o, Access))]
        for access in called if statement.kind == "call" else statement.accesses():
            touches.setdefault(access.var, []).append((access, statement, path))
    for var, found in touches.items():
        access, statement, path = found[0]
        ready = storage[var].is_array and access is statement.out and statement.accumulates and not program.begun(var)
        if ready and _covers(statement, path, axes, storage[var]) and _untouched(found, axes, storage[var].home):
            statement.kind = "="


def _put_behind(body: Body, path: Path, axes: Axes, storage: dict[Var, Storage]) -> None:
    """Move what only adds to an array behind the item of the same body that reaches each of its elements once."""
    for item in list(body):
        if not isinstance(item, Loop):
            continue
        for statement, inner in list(walk([item], path)):
            var = statement.out.var
            if not (statement.accumulates and storage[var].is_array):
                continue
            if _covers(statement, inner, axes, storage[var]):
                earlier = [x for x in body[: body.index(item)] if any(_touches(s, var) for s, _ in walk([x]))]
                if earlier and all(s.out.var is var and s.kind == statement.kind for s, _ in walk(earlier)):
                    body[:] = [x for x in body if x not in earlier]
                    place = body.index(item) + 1
                    body[place:place] = earlier
        _put_behind(item.body, (*path, item), axes, storage)


def _touches(statement: Statement, var: Var) -> bool:
    if statement.kind == "call":
        return var in statement.variables()
    return any(access.var is var for access in statement.accesses())


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
