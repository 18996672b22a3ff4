"""A sweep as two plain loops: one runs forward and stores what the other, which runs backwards, reads.

Of a scan the first loop stacks it; a `while_loop` puts it on tapes, since nobody knows how many steps there will be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphad.ir.bodies import copy_nodes, fresh_names, inlined, input_like
from graphad.ir.graph import Frozen, Graph, Node, keep
from graphad.ir.variable import Variable
from graphad.ops.listening import backwards, parameter
from graphad.ops.sweep import carry_step


def frontier(node: Node) -> tuple[set[int], set[int]]:
    """Of a sweep's adjoint body the nodes that the forward sweep can make, and those of them that the other reads."""
    adjoint: Graph = node.param("adjoint")
    known = _known(adjoint, len(node.param("body").inputs))
    live = keep(adjoint, adjoint.outputs.values())
    wanted = {a for i in live for a in adjoint.nodes[i].args if i not in known and a in known}
    return known, wanted | {i for i in adjoint.outputs.values() if i in known}


def stored_carries(node: Node) -> tuple[int, ...]:
    """The carries, as inputs of the adjoint body, that a sweep needs from every step."""
    adjoint: Graph = node.param("adjoint")
    carries = list(adjoint.inputs.values())[: node.param("carries")]
    return tuple(sorted(keep(adjoint, frontier(node)[1]).intersection(carries)))


def _known(adjoint: Graph, own: int) -> set[int]:
    """The nodes that depend on the loop's own operands only, so that the forward sweep can make them."""
    seeds = set(list(adjoint.inputs.values())[own:])
    known: set[int] = set()
    for node_id, node in enumerate(adjoint.nodes):
        if node_id not in seeds and node.op != "placeholder" and known.issuperset(node.args):
            known.add(node_id)
    return known


def expanded(new: Graph, node: Node, args: tuple[int, ...], stored: Sequence[int]) -> tuple[int, dict[int, int]]:
    """Add the two loops: the second one's node, and for the sweep's results their numbers among its results.

    Arguments:
        args: the operands of the sweep in the open graph `new`.
        stored: nodes of the adjoint body that the forward loop makes.
    """
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
    back = {**params, "reverse": not params["reverse"], "progress": backwards(params.get("progress", ()))}
    loop = _scan(back, body, len(state), len(elements))
    result = new.add("scan", (*state, *elements, *args[carries + xs : count]), loop, node.region)
    inner = len(params["wrt_xs"])
    places = {k: k for k in range(first)} | {first + k: len(state) + k for k in range(inner)}
    return result, places | {first + inner + k: first + k for k in range(last)}


def unwound(new: Graph, node: Node, args: tuple[int, ...], stored: Sequence[int]) -> int:
    """Add a loop that records and one that unwinds its tapes: the latter, whose results are those of the sweep.

    Arguments:
        node: a `while_adjoint`; `args` are its operands in the open graph `new`.
        stored: nodes of the adjoint body that the first loop makes, at least one: it tells the number of steps.
    """
    params = dict(node.params)
    count, carries = len(params["body"].inputs), params["carries"]
    progress = params.get("progress", ())
    body = _forward_body(params["body"], params["adjoint"], carries, stored)
    recording = {"body": body, "carries": carries, "test": params["test"], **parameter(progress)}
    loop = new.add("while_loop", args[:count], tuple(sorted(recording.items())), node.region)
    tapes = [new.add("item", (loop,), (("index", carries + k),)) for k in range(len(stored))]
    back = {
        "body": _reverse_body(node, stored), "carries": len(args) - count, "xs": len(tapes),
        **parameter(backwards(progress)),
    }  # fmt: skip
    operands = (*args[count:], *tapes, *args[carries:count])
    return new.add("unwind", operands, tuple(sorted(back.items())), node.region)


def _scan(params: Mapping[str, Any], body: Graph, carries: int, xs: int) -> Frozen:
    loop = {"body": body, "carries": carries, "xs": xs, "length": params["length"], "reverse": params["reverse"]}
    return tuple(sorted({**loop, "checkpoint": None, **parameter(params.get("progress", ()))}.items()))


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
    params = dict(node.params)
    count, carries, xs = len(params["body"].inputs), params["carries"], params.get("xs", 0)
    first, last = len(params["wrt_carries"]), len(params["wrt_constants"])
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
    inner = len(params.get("wrt_xs", ()))
    for name, node_id in (*outputs[:first], *outputs[first + inner :], *outputs[first : first + inner]):
        new.output(name, Variable(new, moved[node_id]))
    return new.freeze()
