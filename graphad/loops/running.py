"""Running sums of loops: what a step only adds to is added to in place.

`total' = total + a + b` becomes `total += a; total += b`, without a second array. Where a term is the stacked result of
an inner loop, that loop adds its elements itself, and the stacked result needs no memory.
"""

from __future__ import annotations

from collections.abc import Iterator

from graphad.ir.graph import Node
from graphad.loops.ir import Access, IndexValue, Operand, Statement, Var, at
from graphad.loops.lower import Contribution, Lowering, Pending
from graphad.loops.views import View, stretched, whole


def sum_onto(low: Lowering, node_id: int, now: Var) -> list[Contribution] | None:
    """What a step adds to an array that it carries, where it does nothing else to it; else None."""
    if not now.shape:
        return None
    terms = list(_terms(low, node_id))
    others = [c for c in terms if not _is_whole(c, now)]
    return others if len(others) == len(terms) - 1 else None


def added(low: Lowering, node_id: int, now: Var) -> Var | None:
    """The carried array, added to in place, where the step needs its old value for nothing else; else None."""
    others = sum_onto(low, node_id, now)
    if others is None or any(now in variables(c.value) for c in others) or _needed(low, node_id, now):
        return None
    for contribution in others:
        if not _inside(low, contribution, now):
            low.accumulate(now, "+=", contribution.value, contribution.target)
    return now


def _terms(low: Lowering, node_id: int) -> Iterator[Contribution]:
    """The terms of a sum that nobody else reads, as contributions."""
    result, node = low.results[node_id], low.graph.nodes[node_id]
    assert isinstance(result, (View, Pending)), "states are single arrays"
    if low.uses[node_id] == 1 and isinstance(result, Pending):
        yield from result.contributions
    elif low.uses[node_id] == 1 and node.op == "add" and _alike(low, node):
        for arg in node.args:
            yield from _terms(low, arg)
    else:
        view = low.view(node_id)
        yield Contribution(stretched(view, node.type.shape), tuple(at(p) for p in range(node.type.rank)))


def _alike(low: Lowering, node: Node) -> bool:
    return node.type.is_float and all(low.graph.nodes[a].type == node.type for a in node.args)


def _is_whole(contribution: Contribution, now: Var) -> bool:
    return _identical(contribution) and contribution.value == whole(now)


def _identical(contribution: Contribution) -> bool:
    return all(index.axis == p for p, index in enumerate(contribution.target))


def _needed(low: Lowering, node_id: int, now: Var) -> bool:
    """Whether a statement other than those of the sum itself reads the old value."""
    own = {id(s) for s in low.program.statements if s.node in _chain(low, node_id)}
    return any(access.var is now for s in low.program.statements if id(s) not in own for access in s.reads())


def _chain(low: Lowering, node_id: int) -> set[int]:
    """The additions of a sum."""
    node = low.graph.nodes[node_id]
    if low.uses[node_id] != 1 or node.op != "add":
        return set()
    return {node_id}.union(*(_chain(low, a) for a in node.args))


# ---------------------------------------------------------------------- results of inner loops


def placed(low: Lowering, node_id: int, target: View) -> bool:
    """Let an inner loop write its stacked result where it is wanted; answers whether it does."""
    view = low.view(node_id)
    identity = tuple(at(p) for p in range(len(view.shape)))
    found = _stacked(low, Contribution(view, identity)) if low.uses[node_id] == 1 else None
    if found is None:
        return False
    _redirect(*found, target, adding=False)
    return True


def _inside(low: Lowering, contribution: Contribution, now: Var) -> bool:
    """Let the inner loop whose stacked result is a term add that itself; answers whether it does."""
    found = _stacked(low, contribution)
    if found is None:
        return False
    _redirect(*found, whole(now), adding=True)
    found[0].inputs.append(Access(now, ()))
    now.whole = True
    return True


def _stacked(low: Lowering, contribution: Contribution) -> tuple[Statement, Var] | None:
    """The loop of which a term is a stacked result that is read here only, and its variable."""
    if not _identical(contribution) or not isinstance(contribution.value.operand, Access):
        return None
    var = contribution.value.operand.var
    nodes = [k for k, result in low.results.items() if low.graph.nodes[k].op == "item" and result == whole(var)]
    if contribution.value != whole(var) or len(nodes) != 1 or low.uses[nodes[0]] != 1:
        return None
    writers = low.program.writers().get(var, [])
    loop = len(writers) == 1 and writers[0].operation in ("scan", "scan_adjoint") and var not in _begun(writers[0])
    return (writers[0], var) if loop else None


def _begun(call: Statement) -> set[Var]:
    """What is there when a loop begins."""
    return {operand.var for operand in call.inputs if isinstance(operand, Access)}


def _redirect(call: Statement, old: Var, target: View, *, adding: bool) -> None:
    """Write to other places what a loop writes to a variable, or add it there."""
    assert isinstance(target.operand, Access), "a variable"
    new = target.operand.var
    if call.out.var is old:
        call.out = Access(new, ())
    call.results = tuple(new if var is old else var for var in call.results)
    for body in call.bodies:
        if old not in body.guests:
            continue
        body.guests = (body.guests - {old}) | {new}
        if adding and any(s.out.var is old and s.kind == "+=" for s in body.statements):
            # A first statement made zeros.
            body.statements = [s for s in body.statements if s.out.var is not old or s.kind == "+="]
        for statement in body.statements:
            if old in statement.written and statement.bodies:
                _redirect(statement, old, target, adding=adding)
            elif statement.out.var is old:
                place = target.moved(statement.out.indices, ()).operand
                assert isinstance(place, Access), "a variable"
                statement.out = place
                statement.kind, statement.after = ("+=", ()) if adding else (statement.kind, statement.after)


def variables(view: View) -> Iterator[Var]:
    """The variables that a view reads."""
    yield from (access.var for access in _reads(view.operand))


def _reads(operand: Operand) -> Iterator[Access]:
    if isinstance(operand, Access):
        yield from operand.reads()
    elif isinstance(operand, IndexValue):
        for atom, _ in operand.number.terms:
            if isinstance(atom, Access):
                yield from atom.reads()
