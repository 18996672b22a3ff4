"""What the loop decisions came to, as data: for every nest its axes, what it keeps in memory and why, its work."""

from __future__ import annotations

from dataclasses import dataclass

from graphad.ir.sizes import Extent, product
from graphad.loops.control import Scan, Sweep
from graphad.loops.ir import Access, Loop, Statement, Var, walk
from graphad.loops.schedule import Schedule
from graphad.loops.scratch import ITEM_SIZES


@dataclass(frozen=True)
class Stored:
    """An array that a nest writes: its name, its shape in memory, and why it is not kept in registers."""

    name: str
    shape: tuple[Extent, ...]
    reason: str


@dataclass(frozen=True)
class Nest:
    """One outermost loop (or the statements and calls between two of them).

    Arguments:
        axes: the extents of its loops, one entry per loop in order of appearance.
        nesting: how they stand in each other: `n > (k, k)` is a loop over n around two over k.
        statements: how many it has, unrolled ones counted once.
        stored: the arrays that it writes.
        moved: bytes of the arrays that it touches, each counted once, at the hinted sizes.
        operations: elementwise operations and accumulations that it executes at the hinted sizes; of a loop whose
            steps are not known before those of one.
        calls: the whole-array operations in it, loops with what is inside.
    """

    axes: tuple[Extent, ...]
    nesting: str
    statements: int
    stored: tuple[Stored, ...]
    moved: int
    operations: int
    calls: tuple[str, ...]


def summarize(plan: Schedule) -> tuple[Nest, ...]:
    """The nests of a schedule in the order of the code.

    >>> from graphad.ir.graph import Graph
    >>> from graphad.loops.schedule import schedule
    >>> g = Graph("f")
    >>> x = g.input("x", shape="n")
    >>> g.output("y", (x * x).sum())
    >>> (nest,) = summarize(schedule(g))
    >>> nest.axes, nest.statements, nest.stored, nest.moved, nest.operations
    ((n,), 2, (), 8000, 2000)
    """
    groups: list[list[Loop | Statement]] = []
    for item in plan.program.body:
        if isinstance(item, Statement) and groups and isinstance(groups[-1][0], Statement):
            groups[-1].append(item)
        else:
            groups.append([item])
    where = {id(s): k for k, group in enumerate(groups) for s, _ in walk(group)}
    return tuple(_nest(plan, group, where) for group in groups)


def _nest(plan: Schedule, body: list[Loop | Statement], where: dict[int, int]) -> Nest:
    placed = list(walk(body))
    loops = list(dict.fromkeys(loop for _, path in placed for loop in path))
    touched = dict.fromkeys(access.var for s, _ in placed for access in _accesses(s) if _in_memory(plan, access.var))
    written = dict.fromkeys(s.out.var for s, _ in placed if _in_memory(plan, s.out.var))
    calls = [s for s, _ in placed if s.kind == "call"]
    return Nest(
        axes=tuple(plan.axes.extent(loop.axis) for loop in loops),
        nesting=", ".join(_nesting(plan, item) for item in body if isinstance(item, Loop)),
        statements=len(placed),
        stored=tuple(Stored(v.name, _memory(plan, v), _reason(plan, v, where)) for v in written),
        moved=sum(_bytes(plan, var) for var in touched),
        operations=sum(_points(plan, s, path) for s, path in placed if s.kind != "call" and s.operation != "{0}")
        + sum(_points(plan, s, path) for s, path in placed if s.accumulates and s.operation == "{0}")
        + sum(_steps(plan, s) * sum(nest.operations for nest in _inside(plan, s)) for s in calls),
        calls=tuple(_called(plan, s) for s in calls),
    )


def _nesting(plan: Schedule, loop: Loop) -> str:
    inner = [_nesting(plan, item) for item in loop.body if isinstance(item, Loop)]
    text = f"{plan.axes.extent(loop.axis)} by {loop.block}" if loop.block else str(plan.axes.extent(loop.axis))
    text = str(loop.within.block) if loop.within else text
    if not inner:
        return text
    return f"{text} > {inner[0]}" if len(inner) == 1 else f"{text} > ({', '.join(inner)})"


def _inside(plan: Schedule, call: Statement) -> list[Nest]:
    """The nests of the bodies that a call runs."""
    return [nest for one in plan.inner.get(call, ()) for nest in summarize(one)]


def _length(call: Statement) -> Extent | None:
    """The steps of a loop, where they are known before it runs."""
    loop = call.params.get("loop")
    return loop.length if isinstance(loop, (Scan, Sweep)) else None


def _steps(plan: Schedule, call: Statement) -> int:
    length = _length(call)
    return 1 if length is None else plan.axes.estimate(length)


def _called(plan: Schedule, call: Statement) -> str:
    """A whole-array operation; a loop with its length and the loops inside."""
    length = _length(call)
    inner = [part for nest in _inside(plan, call) for part in (nest.nesting, *nest.calls) if part]
    text = call.operation if length is None else f"{call.operation} {length}"
    if not inner:
        return text
    return f"{text} > {inner[0]}" if len(inner) == 1 else f"{text} > ({', '.join(inner)})"


def _accesses(statement: Statement) -> list[Access]:
    if statement.kind == "call":
        return [Access(var, ()) for var in dict.fromkeys(statement.variables())]
    return list(statement.accesses())


def _in_memory(plan: Schedule, var: Var) -> bool:
    return var in plan.storage and plan.storage[var].is_array


def _memory(plan: Schedule, var: Var) -> tuple[Extent, ...]:
    return plan.storage[var].shape(var)


def _reason(plan: Schedule, var: Var, where: dict[int, int]) -> str:
    """Why a variable is an array."""
    if var.role == "output":
        return "result"
    if var.whole:
        return "operand or result of a whole-array operation"
    readers = {where[id(s)] for s, _ in walk(plan.program.body) if any(a.var is var for a in s.reads())}
    writers = {where[id(s)] for s, _ in walk(plan.program.body) if s.out.var is var}
    if readers - writers:
        return f"read in nest {min(readers - writers) + 1}"
    return "read again in the same nest along another loop"


def _bytes(plan: Schedule, var: Var) -> int:
    return plan.axes.estimate(product(var.shape)) * ITEM_SIZES[var.dtype]


def _points(plan: Schedule, statement: Statement, path: tuple[Loop, ...]) -> int:
    unrolled = [plan.axes.extent(a) for a in statement.axes if plan.axes.unrolled(a)]
    looped = [plan.axes.extent(loop.axis) for loop in path if not loop.block]
    return plan.axes.estimate(product((*unrolled, *looped)))
