"""Accumulation through registers, and loads taken out of inner loops.

Both add small statements that the grouping then places: `p += t` inside and `sum[i] += p` outside instead of
`sum[i] += t` in the innermost loop; `a = x[i]` outside a loop over j instead of a load at every j.
"""

from __future__ import annotations

from graphad.loops.axes import Axes
from graphad.loops.ir import Access, Index, Program, Statement, Var, at


def split_accumulations(program: Program, axes: Axes) -> None:
    """Split each accumulation at its trailing run of loops that the target does not have."""
    count = {var: len(found) for var, found in program.writers().items()}
    for statement in list(program.statements):
        if not statement.accumulates:
            continue
        kept = {axes.find(a) for a in statement.out.axes()}
        loops = axes.loops(statement)
        lead = len(loops)
        while lead and loops[lead - 1] not in kept:
            lead -= 1
        in_memory = statement.out.var.fixed and statement.out.var.shape
        alone = count[statement.out.var] == 1 and not in_memory
        written_out = any(axes.unrolled(a) for a in {*statement.axes} - {*statement.out.axes()})
        if in_memory and lead == len(loops) and written_out:
            _split(program, axes, statement, set())
            continue
        if lead == len(loops) or (alone and all(c in kept for c in loops[:lead])):
            continue
        _split(program, axes, statement, set(loops[lead:]))


def _split(program: Program, axes: Axes, statement: Statement, tail: set[int]) -> None:
    used = set(statement.out.axes())
    kept = [a for a in statement.axes if (a in used if axes.unrolled(a) else axes.find(a) not in tail)]
    partial, access, moved = temporary(program, axes, kept, statement.dtype)
    final = Statement(
        kind=statement.kind,
        operation="{0}",
        out=statement.out.substitute(lambda a: at(moved[a])),
        inputs=[Access(partial, tuple(at(moved[a]) for a in kept))],
        axes=tuple(moved.values()),
        dtype=statement.dtype,
        after=statement.after,
        region=statement.region,
        node=statement.node,
    )
    statement.out, statement.after = access, ()
    program.statements.append(final)


def temporary(program: Program, axes: Axes, kept: list[int], dtype: str) -> tuple[Var, Access, dict[int, int]]:
    """A variable along some axes, its access along them, and further axes of the same classes for a statement."""
    var = Var(f"v{_next(program)}", tuple(axes.extent(a) for a in kept), dtype)
    var.axes = tuple(axes.like(a) for a in kept)
    moved = {a: axes.like(a) for a in kept}
    return var, Access(var, tuple(at(a) for a in kept)), moved


def _next(program: Program) -> int:
    program.counter += 1
    return program.counter


def hoist_loads(program: Program, axes: Axes) -> None:
    """Make loads that do not change with the innermost loop statements of the loops around it."""
    made: dict[object, Var] = {}
    for statement in list(program.statements):
        if statement.kind == "call":
            continue
        loops = axes.loops(statement)
        if _against_layout(statement, axes, loops):
            continue
        for position, operand in enumerate(statement.inputs):
            if loops and isinstance(operand, Access) and _hoistable(operand, axes, loops):
                statement.inputs[position] = _load(program, axes, statement, operand, made)


def _against_layout(statement: Statement, axes: Axes, loops: list[int]) -> bool:
    """Whether the statement fills an array across its layout: its loops are better exchanged, with nothing between."""
    out = statement.out
    if not (loops and out.var.fixed and out.indices and statement.kind == "="):
        return False
    return loops[-1] not in {axes.find(a) for a in out.indices[-1].axes()} and bool(list(out.indices[-1].axes()))


def _hoistable(access: Access, axes: Axes, loops: list[int]) -> bool:
    if access.var.role not in ("input", "constant") or not access.indices:
        return False
    if any(not isinstance(atom, int) for index in access.indices for atom, _ in index.terms):
        return False
    return loops[-1] not in {axes.find(a) for a in access.axes()}


def _load(program: Program, axes: Axes, reader: Statement, access: Access, made: dict[object, Var]) -> Access:
    used = list(dict.fromkeys(access.axes()))
    loops = {axes.find(a) for a in used if not axes.unrolled(a)}
    inner = max((axes.rank_of[c] for c in loops), default=-1)
    extra = tuple(c for c in axes.loops(reader) if axes.rank_of[c] < inner and c not in loops)
    unrolled = {a: k for k, a in enumerate(a for a in used if axes.unrolled(a))}

    def canonical(axis: int) -> Index:
        return at(-1 - unrolled[axis]) if axis in unrolled else at(axes.find(axis))

    key = (access.var, access.substitute(canonical).indices, extra, reader.region)
    var = made.get(key)
    if var is None:
        var, _, moved = temporary(program, axes, used, access.var.dtype)
        var.private = frozenset(extra)
        program.statements.append(
            Statement(
                kind="=",
                operation="{0}",
                out=Access(var, tuple(at(moved[a]) for a in used)),
                inputs=[access.substitute(lambda a: at(moved[a]))],
                axes=tuple(moved.values()),
                dtype=access.var.dtype,
                extra=extra,
                region=reader.region,
            )
        )
        made[key] = var
    return Access(var, tuple(at(a) for a in used))
