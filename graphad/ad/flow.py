"""On which inputs a result depends so that a derivative can flow: one walk with sets of inputs as bits of integers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from graphad.ir.graph import Frozen, Graph, Node
from graphad.ir.operation import Bodies, Elementwise, Linear, NotDifferentiable, Params, Projection, lookup

Masks = tuple[int, ...]  # one set of operands or inputs for each result


def flow(graph: Graph, seeds: Mapping[int, int], count: int | None = None) -> dict[int, int]:
    """For the nodes to which a derivative flows from some nodes, from which: sets of bits.

    Arguments:
        seeds: nodes with the bits that stand for them.
        count: how many of the nodes are looked at; None for all.

    A node with several results has the bits of all of them; which of them has which, its `item`s say.
    """
    found: dict[int, int] = dict(seeds)
    several: dict[int, Masks] = {}
    for node_id, node in enumerate(graph.nodes[:count]):
        if not any(a in found for a in node.args):
            continue
        rule = lookup(node.op).derivative
        if isinstance(rule, Bodies):
            several[node_id] = _through(node, found)
            mask = _union(several[node_id])
        elif isinstance(rule, Projection):
            mask = several[node.args[0]][node.param("index")]
        elif node.type.is_float and not isinstance(rule, NotDifferentiable):
            mask = _union([found.get(a, 0) for a in _operands(node)])
        else:
            continue
        if mask or node_id in found:
            found[node_id] = found.get(node_id, 0) | mask
    return found


def _operands(node: Node) -> Sequence[int]:
    """The operands of a node that have a derivative."""
    rule = lookup(node.op).derivative
    if isinstance(rule, Elementwise):
        return [a for a, partial in zip(node.args, rule.partials, strict=True) if partial is not None]
    if isinstance(rule, Linear) and rule.operands is not None:
        return [node.args[k] for k in rule.operands]
    return node.args


def _union(masks: Sequence[int]) -> int:
    total = 0
    for mask in masks:
        total |= mask
    return total


def _through(node: Node, found: Mapping[int, int]) -> Masks:
    """The sets of the results of a node with bodies."""
    operands = [found.get(a, 0) for a in node.args]
    return tuple([_chosen(mask, operands) for mask in dependencies(node.op, node.params)])


def _chosen(mask: int, sets: Sequence[int]) -> int:
    """The union of those sets that a mask names."""
    return _union([one for k, one in enumerate(sets) if mask >> k & 1])


def body_flow(body: Graph) -> Masks:
    """For each output of a body the inputs from which a derivative flows to it."""
    seeds = {i: 1 << k for k, i in enumerate(body.inputs.values()) if body.nodes[i].type.is_float}
    found = flow(body, seeds)
    return tuple([found.get(i, 0) for i in body.outputs.values()])


@lru_cache(maxsize=1024)
def dependencies(op: str, params: Frozen) -> Masks:
    """For each result of an operation with bodies the operands from which a derivative flows to it."""
    return RULES[op](dict(params))


def closure(steps: Sequence[int], carries: Sequence[int]) -> list[int]:
    """What the state of a loop can depend on before any step.

    Arguments:
        steps: for each carry what its next value depends on.
        carries: for each carry the bit that stands for it.

    >>> closure([0b011, 0b010], [0b001, 0b010])
    [3, 2]
    """
    state = list(carries)
    while True:
        grown = [old | _carried(step, state, carries) for old, step in zip(state, steps, strict=True)]
        if grown == state:
            return state
        state = grown


def _carried(mask: int, state: Sequence[int], carries: Sequence[int]) -> int:
    """A set with the carries in it replaced by what they depend on."""
    return mask | _union([one for bit, one in zip(carries, state, strict=True) if mask & bit])


def loop_state(body: Graph, carries: int) -> tuple[list[int], Masks]:
    """For the state at any step, and for all results of a step, the operands of the loop they depend on."""
    masks = body_flow(body)
    floats = [body.nodes[i].type.is_float for i in body.inputs.values()]
    bits = [1 << k if floats[k] else 0 for k in range(carries)]
    state = closure(masks[:carries], bits)
    return state, tuple([_carried(mask, state, bits) for mask in masks])


def _loop(params: Params) -> Masks:
    body, carries = params["body"], params["carries"]
    state, results = loop_state(body, carries)
    return (*state, *results[carries:])


def _cond(params: Params) -> Masks:
    pairs = zip(body_flow(params["on_true"]), body_flow(params["on_false"]), strict=True)
    return tuple([(yes | no) << 1 for yes, no in pairs])  # the predicate is the first operand


def _sweep(params: Params) -> Masks:
    """Of the results of a reverse sweep: cotangents of carries, those of stacked operands, sums."""
    body, adjoint, carries = params["body"], params["adjoint"], params["carries"]
    state, _ = loop_state(body, carries)
    count, total = len(body.inputs), len(adjoint.inputs)
    first, last = len(params["wrt_carries"]), len(params["wrt_constants"])
    bits = [1 << k for k in (*range(count, count + first), *range(total - last, total))]
    own = [1 << k for k in range(carries)]
    masks = [_carried(mask, state, own) for mask in body_flow(adjoint)]
    end = len(masks) - last
    back = closure([*masks[:first], *masks[end:]], bits)
    middle = [_carried(mask, back, bits) for mask in masks[first:end]]
    return (*back[:first], *middle, *back[first:])


RULES: dict[str, Callable[[Params], Masks]] = {
    "scan": _loop,
    "while_loop": _loop,
    "cond": _cond,
    "scan_adjoint": _sweep,
    "while_adjoint": _sweep,
    "unwind": _loop,
}
