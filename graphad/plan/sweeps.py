"""What the reverse sweep of a loop stores: the schedules there are, their bytes and steps, and which is taken.

"all" stores the fewest bytes with which no dear operation runs twice: a minimum cut in the adjoint body. "carries"
stores the state before each step and runs the step again; "values" stores what saves the most operations for its bytes,
more than the state and less than "all". All cost bytes in proportion to the steps; where those
exceed `LIMIT`, the binomial schedule stores as many states as fit.

Reference: A. Griewank and A. Walther, Algorithm 799: Revolve, ACM TOMS 26 (2000).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import isqrt
from typing import Any, NamedTuple

from graphad.ad.expand import frontier, stored_carries
from graphad.analysis.cost import REPEATED, VIEWS, node_flops, type_bytes
from graphad.ir import sizes
from graphad.ir.graph import Graph, Node, keep, rebuild
from graphad.ir.sizes import Extent
from graphad.ops.schedules import advances, extra_steps
from graphad.plan.modes import Alternative, Decision
from graphad.plan.saving import knapsack
from graphad.plan.tasks import state_bytes

STORING = frozenset({"all", "carries", "values"})  # schedules that store something for every step
LIMIT = 1 << 30  # bytes, at the sizes' hints, up to which a sweep stores something for every step
MORE = 4  # times the bytes of the state that a tape may take for each step
DEAR = 8  # operations for each element of a result from which on it is better stored than computed again


class Candidate(NamedTuple):
    """A schedule, the bytes that it stores at its peak, and the steps that it runs beyond the first sweep."""

    schedule: tuple[Any, ...]
    bytes: int
    steps: int


class Step(NamedTuple):
    """The adjoint body of a sweep, seen from what its loop can store in every step.

    Arguments:
        adjoint: the body.
        carries: its inputs that the loop carries.
        inside: the nodes that may be stored or run again, `dear` those of them that are dear to run again.
        targets: what the sweep reads.
        live: the nodes that the forward sweep can make and that are needed at all.
    """

    adjoint: Graph
    carries: tuple[int, ...]
    inside: tuple[int, ...]
    dear: tuple[int, ...]
    targets: frozenset[int]
    live: frozenset[int]


def step_of(node: Node, bound: Mapping[str, int]) -> Step:
    """The adjoint body of a `scan_adjoint` at given sizes."""
    adjoint: Graph = node.param("adjoint")
    carries = tuple(adjoint.inputs.values())[: node.param("carries")]
    known, wanted = frontier(node)
    moving = _moving(adjoint, known, carries, bound)
    live = keep(adjoint, wanted)
    inside = tuple(sorted(live & moving))
    dear = tuple(i for i in inside if i not in carries and _dear(adjoint, i, bound))
    targets = _without_tuples(adjoint, wanted & moving)
    return Step(adjoint, carries, inside, dear, frozenset(targets), frozenset(live))


def stored_nodes(node: Node, bound: Mapping[str, int], schedule: Sequence[Any] = ("all",)) -> tuple[int, ...]:
    """The nodes of the adjoint body whose values a sweep stores for every step.

    Arguments:
        node: a `scan_adjoint`.
        bound: the named sizes, for bytes.
        schedule: "all": what is dear to compute again; "carries": only these; "values" says itself which.
    """
    if schedule[0] == "values":
        return tuple(schedule[1])
    if schedule[0] == "carries":
        return stored_carries(node)
    return _dear_ones(node, tuple(sorted(bound.items())))


@lru_cache(maxsize=64)  # who decides on a schedule and who carries it out both ask
def _dear_ones(node: Node, sizes_: tuple[tuple[str, int], ...]) -> tuple[int, ...]:
    step = step_of(node, dict(sizes_))
    return _least_bytes(step, step.dear, dict(sizes_))


def recorded(node: Node, bound: Mapping[str, int]) -> tuple[str, tuple[int, ...]]:
    """What a `while_adjoint` puts on tapes for each step: what "all" stores, or "carries", and the nodes.

    Nobody knows for how many steps, so "all" may take a few times the bytes of the carries and no more. At least one
    value is recorded, which tells the number of steps.
    """
    adjoint: Graph = node.param("adjoint")
    carries = stored_carries(node)
    if not carries:
        own = list(adjoint.inputs.values())[: len(node.param("body").inputs)]
        return "carries", (min(own, key=lambda i: sizes.evaluate(type_bytes(adjoint.nodes[i].type), bound)),)
    stored = stored_nodes(node, bound)
    fits = _bytes(node, stored, bound) <= MORE * _bytes(node, carries, bound)
    return ("all", stored) if fits else ("carries", carries)


def stored_values(node: Node, bound: Mapping[str, int]) -> tuple[tuple[Any, ...], ...]:
    """Schedules between "all" and "carries": for a dozen amounts of memory the values that save the most operations."""
    step = step_of(node, bound)
    items = {
        i: (_count(step.adjoint, i, bound), sizes.evaluate(node_flops(step.adjoint, i), bound)) for i in step.dear
    }
    ends = {stored_nodes(node, bound, (kind,)) for kind in ("all", "carries")}
    found = dict.fromkeys(_least_bytes(step, tuple(kept), bound) for kept in knapsack(items))
    return tuple(("values", stored) for stored in found if stored not in ends)


def step_flops(node: Node, stored: Sequence[int], bound: Mapping[str, int]) -> int:
    """The operations of a step that run because some nodes are stored: what the loop makes besides its step, and what
    the sweep makes again of what it reads.
    """
    step, body = step_of(node, bound), node.param("body")
    again = keep(step.adjoint, step.targets, stored)
    known = _alike(step.adjoint, body)
    besides = {i for i in keep(step.adjoint, stored) if i not in known}
    return sum(sizes.evaluate(node_flops(step.adjoint, i), bound) for i in (*sorted(again), *sorted(besides)))


def _alike(adjoint: Graph, body: Graph) -> set[int]:
    """The nodes of an adjoint body that the step makes in any case."""
    place: dict[int, int] = dict(zip(adjoint.inputs.values(), body.inputs.values(), strict=False))
    made = {(node.op, node.args, node.params): i for i, node in enumerate(body.nodes) if node.op != "input"}
    for i, node in enumerate(adjoint.nodes):
        args = tuple(place.get(a, -1) for a in node.args)
        if i not in place and (found := made.get((node.op, args, node.params))) is not None:
            place[i] = found
    return set(place)


def _count(graph: Graph, node_id: int, bound: Mapping[str, int]) -> int:
    return max(1, sizes.evaluate(type_bytes(graph.nodes[node_id].type), bound))


def _least_bytes(step: Step, kept: Sequence[int], bound: Mapping[str, int]) -> tuple[int, ...]:
    """The nodes with the fewest bytes from which all targets can be made without running what is kept: a minimum cut.

    Arguments:
        kept: dear nodes that do not run again; carries do not in any case.
    """
    import networkx as nx  # here, because its import takes 0.1 s that most programs need not spend

    flow: nx.DiGraph[object] = nx.DiGraph()
    flow.add_nodes_from(("source", "sink"))
    for node_id in step.inside:
        node = step.adjoint.nodes[node_id]
        if node.op in REPEATED:  # its results are stored, not the node
            flow.add_edge((node_id, "in"), (node_id, "out"))
        else:
            flow.add_edge((node_id, "in"), (node_id, "out"), capacity=_count(step.adjoint, node_id, bound))
        if node_id in kept or node_id in step.carries:
            flow.add_edge("source", (node_id, "in"))
        for arg in node.args:
            if (arg, "out") in flow:
                flow.add_edge((arg, "out"), (node_id, "in"))
        if node_id in step.targets:
            flow.add_edge((node_id, "out"), "sink")
    _, (near, _) = nx.minimum_cut(flow, "source", "sink")
    return tuple(i for i in step.inside if (i, "in") in near and (i, "out") not in near)


def _moving(adjoint: Graph, known: set[int], carries: Sequence[int], bound: Mapping[str, int]) -> set[int]:
    """The known nodes that a sweep does not have for nothing: those made of carries, and dear ones made of elements."""
    moving = set(carries)
    for node_id in sorted(known):
        node = adjoint.nodes[node_id]
        if any(a in moving for a in node.args) or (node.args and _dear(adjoint, node_id, bound)):
            moving.add(node_id)
    return moving


def _without_tuples(adjoint: Graph, wanted: set[int]) -> set[int]:
    """Nodes with several results replaced by those of their results that are read."""
    several = {i for i in wanted if adjoint.nodes[i].op in REPEATED}
    items = {i for i, node in enumerate(adjoint.nodes) if node.op == "item" and node.args[0] in several}
    return (wanted - several) | items


def _dear(adjoint: Graph, node_id: int, bound: Mapping[str, int]) -> bool:
    node = adjoint.nodes[node_id]
    if node.op in REPEATED:
        return True
    if node.op in VIEWS:
        return False
    flops = sizes.evaluate(node_flops(adjoint, node_id), bound)
    return flops >= DEAR * max(1, sizes.evaluate(node.type.elements, bound))


# ---------------------------------------------------------------------- schedules


def candidates(node: Node, bound: Mapping[str, int]) -> tuple[Candidate, ...]:
    """The schedules for a `scan_adjoint`, from the fastest to the smallest, at given sizes.

    Steps of adjoint steps are counted, but for "all", which runs none again.
    """
    steps = max(1, sizes.evaluate(node.param("length"), bound))
    state = state_bytes(node, bound)
    found = [
        Candidate(("all",), steps * _bytes(node, stored_nodes(node, bound), bound), 0),
        Candidate(("carries",), steps * _bytes(node, stored_nodes(node, bound, ("carries",)), bound), steps),
    ]
    snapshots = steps // 2
    while snapshots >= 1:
        again = extra_steps(steps, snapshots)
        found.append(Candidate(("binomial", snapshots), snapshots * state, steps + again))
        snapshots //= 2
    stretch = isqrt(steps)
    kept = (-(-steps // stretch) + stretch) * state
    again = advances(("every", stretch), steps)
    found.append(Candidate(("every", stretch), kept, steps + again))
    return tuple(sorted(dict.fromkeys(found), key=lambda one: (one.steps, one.bytes)))


def _stored(node: Node, stored: Sequence[int]) -> Extent:
    """The bytes of some nodes of the adjoint body, an expression in the named sizes."""
    adjoint: Graph = node.param("adjoint")
    return sum([type_bytes(adjoint.nodes[i].type) for i in stored], 0)


def _bytes(node: Node, stored: Sequence[int], bound: Mapping[str, int]) -> int:
    return sizes.evaluate(_stored(node, stored), bound)


def decided(
    node: Node, bound: Mapping[str, int], limit: int = LIMIT, sure: Mapping[str, int] | None = None
) -> tuple[Any, ...]:
    """The schedule of a sweep: its own if it needs one; else "all" or "carries" where they store up to `limit`; else a
    binomial one.

    Arguments:
        bound: the named sizes.
        limit: bytes.
        sure: the named sizes with which the limit has to be exceeded; None: `bound`. A size without a hint is 1 here,
            so that no guess leads to a schedule that runs steps again.
    """
    if not stored_carries(node):  # a linear loop: whatever was asked for, nothing needs to be stored
        return ("carries",)
    if node.param("schedule") is not None:
        return tuple(node.param("schedule"))
    least = bound if sure is None else sure
    for schedule in (("all",), ("carries",)):
        if _stored_bytes(node, stored_nodes(node, bound, schedule), least) <= limit:
            return schedule
    return ("binomial", max(1, limit // max(1, state_bytes(node, bound))))


def _stored_bytes(node: Node, stored: Sequence[int], bound: Mapping[str, int]) -> int:
    """What a sweep stores for all steps."""
    return sizes.evaluate(node.param("length"), bound) * _bytes(node, stored, bound)


def with_schedule(graph: Graph, node_id: int, schedule: tuple[Any, ...]) -> Graph:
    """The graph with a schedule set for one of its `scan_adjoint` nodes."""

    def replace(new: Graph, old: int, node: Node, args: tuple[int, ...]) -> int | None:
        if old != node_id:
            return None
        params = tuple(sorted({**dict(node.params), "schedule": schedule}.items()))
        return new.add(node.op, args, params, node.region)

    return rebuild(graph, replace)


# ---------------------------------------------------------------------- the record


def sweep_decision(
    node: Node,
    bound: Mapping[str, int],
    limit: int = LIMIT,
    sure: Mapping[str, int] | None = None,
    budgeted: tuple[Any, ...] | None = None,
) -> Decision:
    """What a reverse sweep stores and why: the record for a plan. Sweeps in its bodies are decided already.

    Arguments:
        node: a `scan_adjoint` or a `while_adjoint`.
        bound: the named sizes.
        limit, sure: as for `decided`.
        budgeted: the schedule that a memory budget took, if one did.
    """
    name = f"sweep of `{node.param('body').name}`"
    if node.op == "while_adjoint":
        choice, kept = recorded(node, bound)
        reason = f"on a tape that grows: {_stored(node, kept)} bytes for each step, of which nobody knows the number"
        return Decision(name, choice, (), reason)
    chosen = budgeted or decided(node, bound, limit, sure)
    steps = sizes.evaluate(node.param("length"), bound)
    schedules = dict.fromkeys([("all",), ("carries",), chosen])
    alternatives = tuple([_alternative(node, schedule, bound) for schedule in schedules])
    if budgeted is not None:
        reason = "fewest operations found within the memory budget"
    elif node.param("schedule") is not None:
        asked = chosen[1] if chosen[0] == "binomial" else chosen
        reason = f"checkpoint={asked!r} was asked for"
    elif chosen[0] in ("all", "carries") and _guessed(node, chosen, bound, limit):
        names = ", ".join(sorted(name for name in bound if sure is not None and bound[name] != sure.get(name)))
        reason = f"how large {names} is nobody said (`hint=`, `checkpoint=`): no step is run again on a guess"
    elif chosen[0] in ("all", "carries"):
        reason = f"at most {limit:,} bytes for {steps:,} steps"
    else:
        reason = f"anything for each of {steps:,} steps takes more than {limit:,} bytes; so many states fit"
    return Decision(name, schedule_text(chosen), alternatives, reason)


def _guessed(node: Node, schedule: tuple[Any, ...], bound: Mapping[str, int], limit: int) -> bool:
    """Whether a schedule would store more than a limit if sizes without hints were typical ones."""
    return _stored_bytes(node, stored_nodes(node, bound, schedule), bound) > limit


def _alternative(node: Node, schedule: tuple[Any, ...], bound: Mapping[str, int]) -> Alternative:
    """What a schedule stores, as a candidate of a decision."""
    length = node.param("length")
    steps = sizes.evaluate(length, bound)
    if schedule[0] in STORING:
        kept = length * _stored(node, stored_nodes(node, bound, schedule))
        return Alternative(schedule_text(schedule), str(kept), sizes.evaluate(kept, bound), "bytes")
    states = schedule[1] if schedule[0] == "binomial" else -(-steps // schedule[1]) + schedule[1]
    count = min(states, steps) * state_bytes(node, bound)
    return Alternative(schedule_text(schedule), str(count), count, "bytes")


def schedule_text(schedule: tuple[Any, ...]) -> str:
    """A schedule in words.

    >>> schedule_text(("all",)), schedule_text(("every", 4)), schedule_text(("binomial", 20))
    ('all', 'every 4 steps', 'at most 20 states')
    """
    if schedule[0] == "values":
        return f"{len(schedule[1])} values of each step"
    if schedule[0] == "every":
        return f"every {schedule[1]} steps"
    return f"at most {schedule[1]} states" if schedule[0] == "binomial" else str(schedule[0])
