"""Clearing just ahead of the sums: an array that a loop sums into row by row is not filled as a whole before.

    g = 0;  for i: g[i] += a; g[i + 2] += b                        every row is written, goes to memory, and comes back
    g[0] = 0; g[1] = 0;  for i: g[i + 2] = 0; g[i] += a; g[i + 2] += b      a row is cleared when it is about to be used
"""

from __future__ import annotations

from graphad.ir.sizes import Extent
from graphad.loops.axes import Axes
from graphad.loops.ir import NEUTRAL, Access, Index, Literal, Loop, Program, Statement, Var, at, walk
from graphad.loops.place import Storage

Body = list[Loop | Statement]
FEW_ROWS = 4


def clear_ahead(program: Program, axes: Axes, storage: dict[Var, Storage]) -> None:
    """Let the loops of a placed program clear the arrays that they sum into row by row."""
    program.body = _cleared(program.body, (), program, axes, storage)
    program.statements = [statement for statement, _ in walk(program.body)]


def _cleared(
    body: Body, path: tuple[Loop, ...], program: Program, axes: Axes, storage: dict[Var, Storage]
) -> Body:
    result: Body = []
    touched: set[Var] = set()
    for item in body:
        found = _accesses(item)
        before: Body = []
        after: Body = []
        if isinstance(item, Loop):
            fresh = [v for v in found if v not in touched and storage[v].home == path and not program.begun(v)]
            for var in fresh:
                rows = _rows(item, found[var], var, axes, storage)
                if rows is not None:
                    first, ahead, last = (
                        [_clearing(var, row, found[var], program, axes) for row in places] for places in rows
                    )
                    before, after = [*before, *first], [*after, *last]
                    item.body[:0] = [] if _assigned(item, found[var], axes) else ahead
            item.body = _cleared(item.body, (*path, item), program, axes, storage)
        touched.update(found)
        result += [*before, item, *after]
    return result


Found = list[tuple[Access, Statement]]


def _assigned(loop: Loop, found: Found, axes: Axes) -> bool:
    """Whether the one sum into the row to clear in a round goes from end to end, so that it can be an assignment."""
    last = max(a.indices[0].offset for a, _ in found if isinstance(a.indices[0].offset, int))
    there = [s for _, s in found if s.out.indices[0].offset == last]
    (path,) = {path for s, path in walk([loop]) if s is there[0]}
    reached = [index.axis for index in there[0].out.indices[1:]]
    known = [a for a in reached if a is not None]
    if len(there) > 1 or [axes.extent(a) for a in known] != [*there[0].out.var.shape[1:]]:
        return False
    if sorted(axes.find(a) for a in known if not axes.unrolled(a)) != sorted(inner.axis for inner in path[1:]):
        return False
    there[0].kind = "="
    return True


def _accesses(item: Loop | Statement) -> dict[Var, Found]:
    """What an item touches; a call touches variables as a whole."""
    found: dict[Var, Found] = {}
    for statement, _ in walk([item]):
        called = [Access(var, ()) for var in statement.variables()]
        for access in called if statement.kind == "call" else statement.accesses():
            found.setdefault(access.var, []).append((access, statement))
    return found


def _rows(
    loop: Loop, found: Found, var: Var, axes: Axes, storage: dict[Var, Storage]
) -> tuple[list[Index], list[Index], list[Index]] | None:
    """The rows to clear before a loop, in each of its rounds, and after it; None where it does not sum row by row."""
    kept = storage[var]
    if kept.memory != tuple(range(len(var.shape))) or kept.block is not None or loop.block:
        return None
    if all(axes.unrolled(a) for a in var.axes[1:]):
        return None
    if not all(s.kind == found[0][1].kind and a is s.out and s.accumulates for a, s in found):
        return None
    leading = [a.indices[0] for a, _ in found]
    along = all(len(i.terms) == 1 and i.terms[0][1] == 1 and isinstance(i.offset, int) for i in leading)
    if not along or any(not isinstance(i.terms[0][0], int) or axes.find(i.terms[0][0]) != loop.axis for i in leading):
        return None
    offsets = [i.offset for i in leading if isinstance(i.offset, int)]
    length = axes.extent(loop.axis)
    rest = var.shape[0] - length - max(offsets)
    if min(offsets) < 0 or not isinstance(rest, int) or not 0 <= rest <= FEW_ROWS or max(offsets) > FEW_ROWS:
        return None
    behind: list[Extent] = [length + (max(offsets) + k) for k in range(rest)]
    return (
        [Index((), k) for k in range(max(offsets))],
        [Index(((axes.like(loop.axis), 1),), max(offsets))],
        [Index((), place) for place in behind],
    )


def _clearing(var: Var, row: Index, found: Found, program: Program, axes: Axes) -> Loop:
    """Loops that give a row its first values."""
    statement = found[0][1]
    inner = [axes.new(extent, level) for level, extent in enumerate(var.shape[1:])]
    value = Literal(NEUTRAL[statement.kind](var.dtype), var.dtype)
    own = tuple(a for a in row.axes())
    out = Access(var, (row, *map(at, inner)))
    made: Loop | Statement = Statement("=", "{0}", out, [value], (*own, *inner), var.dtype)
    for axis in reversed([a for a in inner if not axes.unrolled(a)]):
        made = Loop(axes.find(axis), [made])
    assert isinstance(made, Loop)
    return made
