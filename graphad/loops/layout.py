"""Layout: inputs that an inner loop reads with a stride are copied once so that it reads them in order, and outputs
that an inner loop accumulates with a stride are gathered in order and copied at the end.

A short trailing axis (coordinates) is written out, so an array of points becomes one array per coordinate and the
loop over points vectorises: structure of arrays.
"""

from __future__ import annotations

from typing import TypeVar

from graphad.loops.axes import Axes
from graphad.loops.ir import Access, Index, Operand, Program, Statement, Var, at


def straighten(program: Program, axes: Axes) -> None:
    """Copy inputs that are read with a stride in an inner loop more than once an element."""
    copies: dict[tuple[Var, int], Var] = {}
    first: list[Statement] = []
    for statement in list(program.statements):
        if statement.kind == "call":
            continue
        for position, operand in enumerate(statement.inputs):
            inner = _strided(statement, operand, axes)
            if inner is None or not isinstance(operand, Access):
                continue
            key = (operand.var, inner)
            if key not in copies:
                copies[key], made = _copy(program, axes, operand, inner)
                first.append(made)
            order = _order(len(operand.indices), inner)
            statement.inputs[position] = Access(copies[key], tuple(operand.indices[d] for d in order))
    program.statements[:0] = first
    for var in list(program.outputs):
        _gather_in_order(program, axes, var)


def _strided(statement: Statement, operand: Operand, axes: Axes) -> int | None:
    """The dimension along which the innermost loop reads, where it is not the last and elements are read again."""
    if not isinstance(operand, Access) or operand.var.role not in ("input", "constant"):
        return None
    loops = axes.loops(statement)
    if len(loops) < 2:
        return None
    if any(not isinstance(a, int) for index in operand.indices for a, _ in index.terms):
        return None
    used = {axes.find(a) for a in operand.axes() if not axes.unrolled(a)}
    if loops[-1] not in used or used == set(loops):
        return None
    return _along(operand, loops[-1], axes)


def _along(access: Access, loop: int, axes: Axes) -> int | None:
    """The one dimension that a loop runs along, unless it is the last."""
    found = [d for d, index in enumerate(access.indices) if loop in {axes.find(a) for a in index.axes()}]
    if len(found) != 1 or found[0] == len(access.indices) - 1:
        return None
    return found[0] if len(access.indices[found[0]].terms) == 1 else None


def _order(rank: int, inner: int) -> list[int]:
    return [d for d in range(rank) if d != inner] + [inner]


def _copy(program: Program, axes: Axes, access: Access, inner: int) -> tuple[Var, Statement]:
    """A variable with the inner dimension last, and the statement that fills it from an input."""
    var, moved = _ordered(program, axes, access, inner)
    return var, _transfer(Access(access.var, moved), Access(var, _picked(moved, inner)), read_first=True)


def _gather_in_order(program: Program, axes: Axes, var: Var) -> None:
    """Accumulate an output in another variable where the innermost loops would go through it with a stride."""
    writers = [s for s in program.statements if s.out.var is var]
    if var.whole or not any(s.accumulates for s in writers):
        return
    found = [_along(s.out, loops[-1], axes) for s in writers if len(loops := axes.loops(s)) > 1]
    inner = next((d for d in found if d is not None), None)
    if inner is None:
        return
    other, moved = _ordered(program, axes, writers[0].out, inner)
    for statement in program.statements:
        if statement.out.var is var:
            statement.out = Access(other, _picked(statement.out.indices, inner))
        for position, operand in enumerate(statement.inputs):
            if isinstance(operand, Access) and operand.var is var:
                statement.inputs[position] = Access(other, _picked(operand.indices, inner))
    transfer = _transfer(Access(var, moved), Access(other, _picked(moved, inner)), read_first=False)
    transfer.region = max(s.region for s in writers)
    program.statements.append(transfer)


def _ordered(program: Program, axes: Axes, access: Access, inner: int) -> tuple[Var, tuple[Index, ...]]:
    """A variable like that of an access with dimension `inner` last, and further axes in the source's order."""
    source = access.var
    program.counter += 1
    var = Var(f"{source.name}_{program.counter}", _picked(source.shape, inner), source.dtype)
    classes = [_class(access, d, axes) for d in range(len(source.shape))]
    var.axes = tuple(axes.like(classes[d]) for d in _order(len(classes), inner))
    return var, tuple(at(axes.like(c)) for c in classes)


def _class(access: Access, dimension: int, axes: Axes) -> int:
    """The axis that stands for a dimension: the one that runs along it from end to end, else the variable's own."""
    axis = access.indices[dimension].axis
    own = access.var.axes[dimension]
    return own if axis is None or axes.extent(axis) != access.var.shape[dimension] else axis


T = TypeVar("T")


def _picked(values: tuple[T, ...], inner: int) -> tuple[T, ...]:
    return tuple(values[d] for d in _order(len(values), inner))


def _transfer(source: Access, other: Access, *, read_first: bool) -> Statement:
    """The copy between a variable and the one in another order."""
    read, written = (source, other) if read_first else (other, source)
    axes = tuple(a for index in source.indices for a in index.axes())
    return Statement("=", "{0}", written, [read], axes, source.var.dtype)
