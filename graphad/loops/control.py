"""Loops and branches: a whole-array operation with the programs of its bodies inside.

A body's inputs are bound to views of the variables around it: what is stacked is read in place at the number of the
step, which is a size inside the body; what comes from outside is read where it lies. A carried value is a pair of
variables, `now` and `next`, or one that is updated in place (`State`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from graphad.ir.graph import Graph, Node
from graphad.ir.sizes import Extent, Size
from graphad.ir.types import TensorType
from graphad.loops.axes import UNROLL_UP_TO
from graphad.loops.ir import Access, Index, Program, State, Var, at
from graphad.loops.lower import (
    UNROLL_ALWAYS,
    Lowering,
    Pending,
    drop_unread,
    fill,
    own_variable,
    pattern,
)
from graphad.loops.running import added, placed, sum_onto, variables
from graphad.loops.views import View, number, whole
from graphad.ops.listening import Progress, backwards
from graphad.ops.sweep import carry_step


@dataclass(frozen=True)
class Carried:
    """A value that a loop carries: its variable in the body, and one outside that holds its first and last value."""

    now: Var
    memory: Var


@dataclass(frozen=True)
class Scan:
    """`for step in range(length)`, or backwards; its body is the only program. `progress` is what it tells."""

    carried: tuple[Carried, ...]
    length: Extent
    step: str
    reverse: bool
    progress: Progress = ()


@dataclass(frozen=True)
class Tape:
    """What a loop leaves of each step.

    Arguments:
        place: a variable that holds the tape's address and the number of its records.
        values: what a record holds, one value behind the other: the variables of these in the body.
    """

    place: Var
    values: tuple[Var, ...]


@dataclass(frozen=True)
class While:
    """Two programs: the test, which sets `holds`, and the body, of which the tape takes something."""

    carried: tuple[Carried, ...]
    holds: Var
    tape: Tape | None
    progress: Progress = ()


@dataclass(frozen=True)
class Branch:
    """Two programs, of which the predicate chooses one."""

    predicate: View


@dataclass(frozen=True)
class Sweep:
    """The steps of a scan backwards, from few stored states; the programs are the primal step and its adjoint.

    Arguments:
        primal: the values carried by the scan; `carried`: by the sweep.
        step: the size that is the element's number in the adjoint; `forward`: in the primal step.
        reverse: whether the scan itself ran backwards.
        schedule: `("every", k)` or `("binomial", snapshots)`.
        snapshots: stored states, one array per carried value; `places`: the step at which each was stored.
    """

    primal: tuple[Carried, ...]
    carried: tuple[Carried, ...]
    length: Extent
    step: str
    forward: str
    reverse: bool
    schedule: tuple[str, int]
    snapshots: tuple[Var, ...]
    places: Var
    progress: Progress = ()


@dataclass(frozen=True)
class Unwind:
    """One body, run for each record of a tape, the last one first."""

    carried: tuple[Carried, ...]
    tape: Tape
    progress: Progress = ()


Loop: TypeAlias = Scan | While | Branch | Sweep | Unwind


@pattern("item")
def item(low: Lowering, node_id: int, node: Node) -> View:
    """One of several results."""
    results = low.results[node.args[0]]
    assert not isinstance(results, (View, Pending)), "items are taken of several results"
    index: int = node.param("index")
    return results[index]


@pattern("scan")
def scan(low: Lowering, node_id: int, node: Node) -> tuple[View, ...]:
    """One body, run once for each element of the stacked operands."""
    body, carries, length = node.param("body"), node.param("carries"), node.param("length")
    views = [low.view(a) for a in node.args]
    step = _step_name(low)
    states = _states(low, body, range(carries))
    stacked = [_element(v, step) for v in views[carries : carries + node.param("xs")]]
    inner = _body(low, body, [*map(whole, states), *stacked, *views[carries + node.param("xs") :]], states)
    found = list(body.outputs.values())
    arrays = [_result(low, body, i, length) for i in found[carries:]]
    _finish(low, inner, dict(enumerate(states)), _elements(arrays, step, carries))
    carried = _carried(low, states, views[:carries])
    loop = Scan(carried, length, step, node.param("reverse"), _progress(node))
    return _call(low, "scan", views[carries:], carried, arrays, [], (inner.program,), loop)


@pattern("while_loop")
def while_loop(low: Lowering, node_id: int, node: Node) -> tuple[View, ...]:
    """A test and a body on the same carried values; the tapes of all that it records lie beside each other."""
    body, carries = node.param("body"), node.param("carries")
    kept = list(body.outputs.values())[carries:]
    views = [low.view(a) for a in node.args]
    states = _states(low, body, range(carries))
    operands = [*map(whole, states), *views[carries:]]
    test, holds = _test(low, node.param("test"), operands, states)
    inner = _body(low, body, operands, states)
    tape = _tape(low, [body.nodes[i].type for i in kept]) if kept else None
    written = {carries + k: whole(var) for k, var in enumerate(tape.values if tape else ())}
    _finish(low, inner, dict(enumerate(states)), written)
    settle(states, (test.program, inner.program))
    carried = _carried(low, states, views[:carries])
    loop, programs = While(carried, holds, tape, _progress(node)), (test.program, inner.program)
    results = [tape.place] if tape else []
    answer = _call(low, "while_loop", views[carries:], carried, results, [holds], programs, loop)
    return (*answer[:carries], *answer[carries:] * len(kept))


@pattern("cond")
def cond(low: Lowering, node_id: int, node: Node) -> tuple[View, ...]:
    """Two programs that write the same results."""
    graphs: tuple[Graph, Graph] = (node.param("on_true"), node.param("on_false"))
    predicate, *views = [low.view(a) for a in node.args]
    results = [_result(low, graphs[0], i) for i in graphs[0].outputs.values()]
    programs = []
    for graph in graphs:
        inner = _body(low, graph, views, [])
        _finish(low, inner, {}, {k: whole(var) for k, var in enumerate(results)})
        programs.append(inner.program)
    return _call(low, "cond", [predicate, *views], (), results, [], tuple(programs), Branch(predicate))


@pattern("scan_adjoint")
def scan_adjoint(low: Lowering, node_id: int, node: Node) -> tuple[View, ...]:
    """The primal step, run again from stored states, and its adjoint, whose carried values are cotangents and sums."""
    body, adjoint, carries, xs = (node.param(n) for n in ("body", "adjoint", "carries", "xs"))
    wrt_carries, of_ys, wrt_xs, wrt_constants = (
        len(node.param(n)) for n in ("wrt_carries", "of_ys", "wrt_xs", "wrt_constants")
    )
    length: Extent = node.param("length")
    views = [low.view(a) for a in node.args]
    constants = len(views) - carries - xs - wrt_carries - of_ys - wrt_constants
    bars = carries + xs + constants
    step, forward = _step_name(low), f"{_step_name(low)}_again"
    primal = _states(low, body, range(carries))
    fixed = views[carries + xs : bars]
    first = _body(
        low, carry_step(body, carries),
        [*map(whole, primal), *[_element(v, forward) for v in views[carries : carries + xs]], *fixed], primal,
    )  # fmt: skip
    _finish(low, first, dict(enumerate(primal)), {})
    inputs = len(adjoint.inputs)
    states = _states(low, adjoint, [*range(bars, bars + wrt_carries), *range(inputs - wrt_constants, inputs)])
    seen = [_element(v, step) for v in [*views[carries : carries + xs], *views[bars + wrt_carries :][:of_ys]]]
    second = _body(
        low, adjoint,
        [*map(whole, primal), *seen[:xs], *fixed, *map(whole, states[:wrt_carries]), *seen[xs:],
         *map(whole, states[wrt_carries:])], [*primal, *states],
    )  # fmt: skip
    found = list(adjoint.outputs.values())
    carried_at = [*range(wrt_carries), *range(wrt_carries + wrt_xs, len(found))]
    arrays = [_result(low, adjoint, i, length) for i in found[wrt_carries : wrt_carries + wrt_xs]]
    _finish(low, second, dict(zip(carried_at, states, strict=True)), _elements(arrays, step, wrt_carries))
    settle(primal, (first.program, second.program))
    carried = _carried(low, states, [*views[bars : bars + wrt_carries], *views[len(views) - wrt_constants :]])
    again = _carried(low, primal, views[:carries])
    schedule = _schedule(node.param("schedule"))
    capacity = _capacity(schedule, length)
    snapshots = [low.program.variable((capacity, *s.shape), s.dtype, f"{s.name}_stored", whole=True) for s in primal]
    places = low.program.variable((capacity,), "int64", "stored_at", whole=True)
    loop = Sweep(
        again, carried, length, step, forward, node.param("reverse"), schedule, tuple(snapshots), places,
        backwards(_progress(node)),
    )  # fmt: skip
    memory = [*(c.memory for c in again), *snapshots, places]
    outside = [*views[carries:bars], *views[bars + wrt_carries : len(views) - wrt_constants]]
    programs = (first.program, second.program)
    answer = _call(low, "scan_adjoint", outside, carried, arrays, memory, programs, loop)
    sums = answer[wrt_carries:][:wrt_constants]
    return (*answer[:wrt_carries], *answer[wrt_carries + wrt_constants :], *sums)


@pattern("unwind")
def unwind(low: Lowering, node_id: int, node: Node) -> tuple[View, ...]:
    """One body, run once for each record that a loop has left."""
    body, carries, xs = node.param("body"), node.param("carries"), node.param("xs")
    views, taken = [low.view(a) for a in node.args], [low.graph.nodes[a] for a in node.args[carries : carries + xs]]
    loop = low.graph.nodes[taken[0].args[0]]
    first, results = loop.param("carries"), list(loop.param("body").outputs.values())
    tape = _tape(low, [loop.param("body").nodes[i].type for i in results[first:]], views[carries])
    states = _states(low, body, range(carries))
    elements = [whole(tape.values[one.param("index") - first]) for one in taken]
    inner = _body(low, body, [*map(whole, states), *elements, *views[carries + xs :]], states)
    _finish(low, inner, dict(enumerate(states)), {})
    carried = _carried(low, states, views[:carries])
    told = Unwind(carried, tape, _progress(node))
    return _call(low, "unwind", views[carries:], carried, [], [], (inner.program,), told)


def _tape(low: Lowering, kinds: Sequence[TensorType], found: View | None = None) -> Tape:
    """A tape for records of these types; with `found` the one that it is a view of."""
    if found is None:
        place = low.program.variable((2,), "int64", "records", whole=True)
    else:
        assert isinstance(found.operand, Access), "a tape has a place"
        place = found.operand.var
    values = [low.program.variable(kind.shape, kind.dtype, f"kept_{k}", whole=True) for k, kind in enumerate(kinds)]
    return Tape(place, tuple(values))


# ---------------------------------------------------------------------- bodies


def _progress(node: Node) -> Progress:
    """What a loop tells, if anything."""
    found: Progress = dict(node.params).get("progress", ())
    return found


def _step_name(low: Lowering) -> str:
    return f"step__{low.depth + 1}"


def _states(low: Lowering, body: Graph, positions: Sequence[int]) -> list[Var]:
    """The variables of carried values, named like the inputs of the body."""
    found = list(body.inputs.items())
    kinds = [(found[k][0], body.nodes[found[k][1]].type) for k in positions]
    return [low.program.variable(kind.shape, kind.dtype, name, "state") for name, kind in kinds]


def _element(view: View, step: str) -> View:
    """What a step sees of a stacked operand."""
    rank = len(view.shape) - 1
    return view.moved([Index((), Size.name(step)), *(at(p) for p in range(rank))], view.shape[1:])


def _elements(arrays: Sequence[Var], step: str, first: int) -> dict[int, View]:
    """What a step writes of stacked results, by the position of the output."""
    return {first + k: _element(whole(var), step) for k, var in enumerate(arrays)}


def _result(low: Lowering, body: Graph, node_id: int, *lead: Extent) -> Var:
    kind = body.nodes[node_id].type
    return low.program.variable((*lead, *kind.shape), kind.dtype, whole=True)


def _carried(low: Lowering, states: Sequence[Var], starts: Sequence[View]) -> tuple[Carried, ...]:
    """The states with variables that begin as copies of `starts`, which the loop itself works on where it can."""
    found = []
    for now, start in zip(states, starts, strict=True):
        memory = low.program.variable(now.shape, now.dtype, whole=True)
        fill(low, whole(memory), start)
        found.append(Carried(now, memory))
    return tuple(found)


def _body(low: Lowering, graph: Graph, views: Sequence[View], states: Sequence[Var]) -> Lowering:
    """The nodes of a body lowered, its inputs being views of variables around it."""
    outer = low.program
    program = Program(
        graph.name, constants=outer.constants, extents=outer.extents, hints=outer.hints, counter=outer.counter
    )
    inner = Lowering(graph, program, low.depth + 1)
    for node_id, view in zip(graph.inputs.values(), views, strict=True):
        inner.results[node_id] = view
        program.guests.update(variables(view))
    program.guests.difference_update(states)
    inner.run()
    return inner


def _test(low: Lowering, graph: Graph, views: Sequence[View], states: Sequence[Var]) -> tuple[Lowering, Var]:
    """The test of a loop, and the variable that it sets."""
    inner = _body(low, graph, views, states)
    holds = low.program.variable((), "bool", "holds", whole=True)
    _finish(low, inner, {}, {0: whole(holds)})
    return inner, holds


def _finish(low: Lowering, inner: Lowering, states: dict[int, Var], targets: dict[int, View]) -> None:
    """Write the outputs of a body: to variables around it, or as the next values of what is carried."""
    found = list(inner.graph.outputs.values())
    program = inner.program
    for position, target in targets.items():
        _write(inner, found[position], target)
    sums = {position: now for position, now in states.items() if sum_onto(inner, found[position], now) is not None}
    for position, now in states.items():
        if position not in sums:
            program.states.append(State(now, _next(inner, found[position], now)))
    for position, now in sums.items():
        program.states.append(State(now, added(inner, found[position], now) or _next(inner, found[position], now)))
    drop_unread(program)
    low.program.counter = program.counter


def _write(inner: Lowering, node_id: int, target: View) -> None:
    """Write a result of a body to a variable around it; a sum of several terms adds up there."""
    assert isinstance(target.operand, Access), "results are written"
    var, pending = target.operand.var, inner.pending(node_id)
    inner.program.guests.add(var)
    if pending is None and placed(inner, node_id, target):
        return
    if pending is None or not target.shape:
        fill(inner, target, inner.view(node_id))
        return
    zero = fill(inner, target, number(0.0, pending.dtype, target.shape))
    for contribution in pending.contributions:
        place = target.moved(contribution.target, contribution.value.shape).operand
        assert isinstance(place, Access), "a variable at other places"
        inner.accumulate(var, "+=", contribution.value, place.indices, after=(zero,))


def _next(inner: Lowering, node_id: int, now: Var) -> Var:
    """The variable that is the next value of `now`."""
    var = own_variable(inner, node_id)
    if var is None:
        var = inner.program.variable(now.shape, now.dtype)
        fill(inner, whole(var), inner.view(node_id))
    var.role, var.name = "state", f"{now.name}_next"
    return var


def _call(
    low: Lowering,
    operation: str,
    views: Sequence[View],
    carried: Sequence[Carried],
    results: Sequence[Var],
    memory: Sequence[Var],
    bodies: tuple[Program, ...],
    loop: Loop,
) -> tuple[View, ...]:
    """The statement of a loop; answers what it carried, then its other results.

    Arguments:
        views: what its bodies read of the variables around it.
        memory: what it needs besides its results; what begins as a copy of something is there when the loop begins.
    """
    operands = dict.fromkeys(var for view in views for var in variables(view))
    for var in operands:
        var.whole = True
    filled = {s.out.var for s in low.program.statements if s.kind == "="}
    answer = [*(c.memory for c in carried), *results]
    first, *others = [*answer, *memory]
    begun = [var for var in (*answer, *memory) if var in filled]
    statement = low.call(operation, first, [*operands, *begun], loop=loop)
    statement.results, statement.bodies = tuple(others), bodies
    return tuple(whole(var) for var in answer)


# ---------------------------------------------------------------------- storage of what is carried


def settle(states: Sequence[Var], programs: Sequence[Program]) -> None:
    """Carried values that several programs read are numbers of their own only where all of these would have it so."""
    for var in states:
        extents = [e for e in var.shape if isinstance(e, int) and UNROLL_ALWAYS < e <= UNROLL_UP_TO]
        if extents or not all(_fixed_places(var, program) for program in programs):
            var.whole = True


def _fixed_places(var: Var, program: Program) -> bool:
    """Whether a program reads and writes a variable at places that are known along its short dimensions."""
    partners = {var, *(s.next for s in program.states if s.now is var)}
    accesses = [a for s in program.statements for a in s.accesses() if a.var in partners]
    short = [d for d, extent in enumerate(var.shape) if isinstance(extent, int) and extent <= UNROLL_ALWAYS]
    return all(_known(a.indices[d], program) for a in accesses for d in short)


def _known(index: Index, program: Program) -> bool:
    if not isinstance(index.offset, int):
        return False
    lengths = [program.extents[a] for a, c in index.terms if isinstance(a, int) and isinstance(c, int)]
    return len(lengths) == len(index.terms) and all(isinstance(e, int) and e <= UNROLL_ALWAYS for e in lengths)


def _schedule(asked: tuple[Any, ...] | None) -> tuple[str, int]:
    """A schedule of few states as it is; every state where all are asked for, or nobody decided."""
    kind, count = ("every", 1) if asked is None or len(asked) == 1 else asked
    return kind, max(1, count)


def _capacity(schedule: tuple[str, int], length: Extent) -> Extent:
    """The states that a sweep stores at most."""
    kind, count = schedule
    return count if kind == "binomial" else (length + (count - 1)) // count + count
