"""Sums into an element of an array collect in a register where an inner loop does nothing else with that element.

    for i: for j: e[i, j] = exp(x[i, j]); s[i] += e[i, j]                     s[i] might be an element of e: no vectors
    for i: p = 0;  for j: e[i, j] = exp(x[i, j]); p += e[i, j];  s[i] += p

`split_accumulations` does the same before it is known what is stored, for sums to which several statements add. Those
of one statement are looked at here: most of them live in registers anyway.
"""

from __future__ import annotations

from graphad.loops.axes import Axes
from graphad.loops.ir import Access, Loop, Program, Statement, Var, at, walk
from graphad.loops.place import Storage

Path = tuple[Loop, ...]


def collect(program: Program, axes: Axes, storage: dict[Var, Storage]) -> None:
    """Let sums, products and extrema into stored arrays of a placed program collect in registers."""
    for statement, path in list(walk(program.body)):
        if not (statement.accumulates and storage[statement.out.var].is_array):
            continue
        outside = _outside(statement, path, axes, storage)
        if outside < len(path) and _alone(statement, path[outside]):
            _collect(statement, path, outside, program, axes, storage)


def _outside(statement: Statement, path: Path, axes: Axes, storage: dict[Var, Storage]) -> int:
    """How many loops are around those inner ones that stay at one element."""
    moving = {axes.find(a) for a in statement.out.axes()}
    home = storage[statement.out.var].home
    count = len(path)
    while count > len(home) and path[count - 1].axis not in moving:
        count -= 1
    return count


def _alone(statement: Statement, loop: Loop) -> bool:
    """Whether nothing else in a loop touches the array."""
    var = statement.out.var
    return sum(touched is var for s, _ in walk([loop]) for touched in s.variables()) == 1


def _collect(
    statement: Statement, path: Path, outside: int, program: Program, axes: Axes, storage: dict[Var, Storage]
) -> None:
    """Let a statement collect in a register, and add that to the element behind the loop."""
    out = statement.out
    pieces = [a for a in dict.fromkeys(out.axes()) if axes.unrolled(a)]
    program.counter += 1
    extents = tuple(axes.extent(a) for a in pieces)
    register = Var(f"v{program.counter}", extents, statement.dtype, axes=tuple(axes.like(a) for a in pieces))
    storage[register] = Storage(path[:outside], (), tuple(range(len(pieces))))
    statement.out = Access(register, tuple(at(a) for a in pieces))
    kept = tuple(a for a in statement.axes if a in {*out.axes()})
    adding = Statement(statement.kind, "{0}", out, [statement.out], kept, statement.dtype, region=statement.region)
    program.statements.append(adding)
    body = path[outside - 1].body if outside else program.body
    body.insert(body.index(path[outside]) + 1, adding)
