"""The order of a temporary array's dimensions in memory: last the one along which inner loops go through it."""

from __future__ import annotations

from dataclasses import replace

from graphad.loops.axes import Axes
from graphad.loops.ir import Access, Loop, Program, Var, walk
from graphad.loops.place import Storage

Found = list[tuple[Access, tuple[Loop, ...]]]


def order_dimensions(program: Program, axes: Axes, storage: dict[Var, Storage]) -> None:
    """Put the dimensions of temporary arrays in the order that most accesses want; ties leave them as they are."""
    found: dict[Var, Found] = {}
    for statement, path in walk(program.body):
        if statement.kind != "call":
            for access in statement.accesses():
                found.setdefault(access.var, []).append((access, path))
    for var in [v for s in program.statements if s.kind == "call" for v in s.variables()]:
        found.pop(var, None)
    for var, accesses in found.items():
        kept = storage[var]
        if not var.fixed and var.role == "temporary" and len(kept.memory) > 1:
            storage[var] = replace(kept, memory=_ordered(kept.memory, accesses, axes))


def _ordered(memory: tuple[int, ...], accesses: Found, axes: Axes) -> tuple[int, ...]:
    inner = [_innermost(access, path, axes) for access, path in accesses]
    last = max(memory, key=lambda d: (inner.count(d), d == memory[-1]))
    return (*(d for d in memory if d != last), last)


def _innermost(access: Access, path: tuple[Loop, ...], axes: Axes) -> int | None:
    """The dimension along which the innermost loop runs that moves an access."""
    for loop in reversed(path):
        along = [d for d, index in enumerate(access.indices) if loop.axis in map(axes.find, index.axes())]
        if along:
            return along[-1] if len(along) == 1 else None
    return None
