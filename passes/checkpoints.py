"""Reverse sweeps of loops get their schedules, and those that store something for every step become two plain loops.

The first runs the loop forward and stacks what `graphad.plan.sweeps.stored_nodes` says; the second runs backwards and
reads it. Being loops like others, they are merged with the loop itself, which then runs once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graphad.analysis.cost import typical_sizes
from graphad.ir.bodies import copy_nodes, fresh_names, inlined, input_like
from graphad.ir.graph import Frozen, Graph, Node, rebuild
from graphad.ir.variable import Variable
from graphad.ops.sweep import carry_step
from graphad.plan.sweeps import LIMIT, decided, stored_nodes
from passes.base import Pass
from passes.dead import remove_dead
from passes.in_bodies import in_bodies


def schedule_sweeps(graph: Graph, limit: int = LIMIT, around: Mapping[str, int] | None = None) -> Graph:
    """The graph with every sweep decided, innermost first, and expanded where it stores something for every step.

    Arguments:
        limit: bytes at the hints up to which something is stored for every step.
        around: values of the named sizes, for a body.
    """
    bound = typical_sizes(graph, around)
    graph = in_bodies(graph, lambda body: schedule_sweeps(body, limit, bound))
    where: dict[int, dict[int, int]] = {}
    changed: list[int] = []

    def replace(new: Graph, old: int, node: Node, args: tuple[int, ...]) -> int | None:
        if node.op == "item" and node.args[0] in where:
            return new.add("item", args, (("index", where[node.args[0]][node.param("index")]),))
        if node.op != "scan_adjoint":
            return None
        schedule = decided(node, bound, limit)
        if schedule[0] in ("all", "carries"):
            changed.append(old)
            stored = stored_nodes(node, bound, dear=schedule[0] == "all")
            result, where[old] = _expanded(new, node, args, stored)
            return result
        if node.param("schedule") is None:
            changed.append(old)
            return new.add(node.op, args, _with(node.params, schedule=schedule), node.region)
        return None

    new = rebuild(graph, replace)
    return remove_dead(new) if changed else graph


def _with(params: Frozen, **changes: object) -> Frozen:
    return tuple(sorted({**dict(params), **changes}.items()))


def _expanded(new: Graph, node: Node, args: tuple[int, ...], stored: Sequence[int]) -> tuple[int, dict[int, int]]:
    """The two loops: the second one's node, and for the sweep's results their numbers among its results."""
    params = dict(node.params)
    count, carries, xs = len(params["body"].inputs), params["carries"], params["xs"]
    first, middle, last = (len(params[name]) for name in ("wrt_carries", "of_ys", "wrt_constants"))
    kept: list[int] = []
    if stored:
        body = _forward_body(params["body"], params["adjoint"], carries, stored)
        forward = new.add("scan", args[:count], _scan(params, body, carries, xs), node.region)
        kept = [new.add("item", (forward,), (("index", carries + k),)) for k in range(len(stored))]
    seeds, bars, sums = args[count : count + first], args[count + first : count + first + middle], args[-last:]
    state = seeds + (sums if last else ())
    elements = (*args[carries : carries + xs], *kept, *bars)
    body = _reverse_body(node, stored)
    loop = _scan({**params, "reverse": not params["reverse"]}, body, len(state), len(elements))
    result = new.add("scan", (*state, *elements, *args[carries + xs : count]), loop, node.region)
    inner = len(params["wrt_xs"])
    places = {k: k for k in range(first)} | {first + k: len(state) + k for k in range(inner)}
    return result, places | {first + inner + k: first + k for k in range(last)}


def _scan(params: Mapping[str, object], body: Graph, carries: int, xs: int) -> Frozen:
    loop = {"body": body, "carries": carries, "xs": xs, "length": params["length"], "reverse": params["reverse"]}
    return tuple(sorted({**loop, "checkpoint": None}.items()))


def _forward_body(body: Graph, adjoint: Graph, carries: int, stored: Sequence[int]) -> Graph:
    """The loop's step, which also answers what is stored."""
    new = Graph(body.name)
    inputs = [input_like(new, name, body, node_id) for name, node_id in body.inputs.items()]
    step = carry_step(body, carries)
    for name, value in zip(step.outputs, inlined(step, new, inputs) if carries else [], strict=True):
        new.output(name, value)
    moved = dict(zip(adjoint.inputs.values(), [v.id for v in inputs], strict=False))
    copy_nodes(adjoint, new, moved, stored)
    for name, node_id in zip(fresh_names(new, [f"kept_{k}" for k in range(len(stored))]), stored, strict=True):
        new.output(name, Variable(new, moved[node_id]))
    return new.freeze()


def _reverse_body(node: Node, stored: Sequence[int]) -> Graph:
    """The adjoint step, which reads what is stored."""
    adjoint: Graph = node.param("adjoint")
    named = list(adjoint.inputs.items())
    count, carries, xs = len(node.param("body").inputs), node.param("carries"), node.param("xs")
    first, last = len(node.param("wrt_carries")), len(node.param("wrt_constants"))
    end = len(named) - last
    new = Graph(adjoint.name)
    moved: dict[int, int] = {}

    def take(part: Sequence[tuple[str, int]]) -> None:
        for name, node_id in part:
            moved[node_id] = input_like(new, name, adjoint, node_id).id

    take(named[count : count + first])
    take(named[end:])
    take(named[carries : carries + xs])
    take(list(zip(fresh_names(adjoint, [f"kept_{k}" for k in range(len(stored))]), stored, strict=True)))
    take(named[count + first : end])
    take(named[carries + xs : count])
    outputs = list(adjoint.outputs.items())
    copy_nodes(adjoint, new, moved, [node_id for _, node_id in outputs])
    inner = len(node.param("wrt_xs"))
    for name, node_id in (*outputs[:first], *outputs[first + inner :], *outputs[first : first + inner]):
        new.output(name, Variable(new, moved[node_id]))
    return new.freeze()


@dataclass(frozen=True)
class Checkpoints(Pass):
    """Decide what sweeps store.

    Arguments:
        limit: bytes, at the sizes' hints, up to which something is stored for every step of a loop.
    """

    limit: int = LIMIT

    def run(self, graph: Graph) -> Graph:
        """See `schedule_sweeps`."""
        return schedule_sweeps(graph, self.limit)
