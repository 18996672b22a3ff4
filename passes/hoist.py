"""What a loop's steps compute alike goes in front of it: values that depend only on constants from outside.

A value leaves where it took `DEAR` operations or more for each of its elements; what is cheaper, computed again, costs
no memory. So do the values that reverse sweeps share with their loops, which then need not be stored for each step.
Values behind views leave without these, and loops inside loops give to the loop around them first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graphad.analysis.cost import REPEATED, VIEWS, node_flops, typical_sizes
from graphad.analysis.indices import FIRST_INDEX
from graphad.ir.bodies import bodies, copy_nodes, fresh_names, has_bodies, input_like
from graphad.ir.graph import Frozen, Graph, Node, keep, rebuild
from graphad.ir.sizes import evaluate
from graphad.ir.types import TensorType
from graphad.ir.variable import Variable
from graphad.plan.sweeps import DEAR
from passes.base import Pass
from passes.in_bodies import in_bodies

LOOPS = ("scan", "while_loop", "scan_adjoint", "while_adjoint")
# Inner loops may never end and indices may be wrong, in a step that is never run.
STAYING = frozenset({"item", "placeholder", *REPEATED, *FIRST_INDEX})


def hoist(graph: Graph, around: Mapping[str, int] | None = None) -> Graph:
    """The graph with dear values in front of the loops whose steps compute them alike; itself where there are none.

    Arguments:
        around: values of the named sizes, for a body.

    >>> import numpy as np
    >>> import graphad as ga
    >>> g = ga.Graph("decay")
    >>> x, w = g.input("x"), g.input("w")
    >>> g.output("y", ga.fori_loop(0, 10, lambda _, x: x * np.exp(w), x))
    >>> [node.op for node in hoist(g).nodes]
    ['input', 'input', 'iota', 'exp', 'scan', 'item']
    """
    if not has_bodies(graph):
        return graph
    bound = typical_sizes(graph, around)
    graph = in_bodies(graph, lambda body: hoist(body, bound))
    changed: list[int] = []

    def replace(new: Graph, old: int, node: Node, args: tuple[int, ...]) -> int | None:
        if node.op not in LOOPS:
            return None
        found = {name: _leaving(node, body, bound) for name, body in bodies(node.params)}
        if not any(found.values()):
            return None
        changed.append(old)
        return _without(new, node, args, found)

    new = rebuild(graph, replace)
    return new if changed else graph


def _fixed(node: Node) -> list[int]:
    """The places of the operands that are the same in each step, and inputs of all bodies: constants, and carries that
    no step changes.
    """
    params = dict(node.params)
    body: Graph = params["body"]
    pairs = list(zip(body.inputs.values(), list(body.outputs.values())[: params["carries"]], strict=False))
    first = params["carries"] + params.get("xs", 0)
    return [*(k for k, (now, following) in enumerate(pairs) if now == following), *range(first, len(body.inputs))]


def _leaving(node: Node, body: Graph, bound: Mapping[str, int]) -> list[int]:
    """The nodes of a body that go in front of the loop; of a sweep's the carries that no step changes as well."""
    inputs, fixed = list(body.inputs.values()), _fixed(node)
    same = _same(body, [inputs[k] for k in fixed])
    carried = {inputs[k] for k in fixed if k < node.param("carries") and "adjoint" in dict(node.params)}
    live = keep(body, body.outputs.values())
    found: list[int] = []
    waiting = [a for i in sorted(live - same) for a in body.nodes[i].args if a in same]
    waiting += [i for i in body.outputs.values() if i in same and i not in carried]
    seen = set[int]()
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        if one in carried or (body.nodes[one].op not in VIEWS and _is_dear(body, one, bound)):
            found.append(one)
        else:
            waiting.extend(body.nodes[one].args)
    return sorted(found)


def _same(body: Graph, constants: list[int]) -> set[int]:
    """The nodes that have the same value in each step and may be computed before it."""
    same = set(constants)
    for node_id, node in enumerate(body.nodes):
        made = node.op != "input" and node.op not in STAYING and node.region == 0
        if made and same.issuperset(node.args):
            same.add(node_id)
    return same


def _is_dear(body: Graph, node_id: int, bound: Mapping[str, int]) -> bool:
    """Whether a value takes so many operations that it is better kept than made again."""
    left = DEAR * max(1, evaluate(body.nodes[node_id].type.elements, bound))
    waiting, seen = [node_id], {node_id}
    while waiting and left > 0:
        one = waiting.pop()
        left -= evaluate(node_flops(body, one), bound)
        waiting += [a for a in body.nodes[one].args if a not in seen]
        seen.update(body.nodes[one].args)
    return left <= 0


def _without(new: Graph, node: Node, args: tuple[int, ...], found: Mapping[str, list[int]]) -> int:
    """Add the values and the loop without them."""
    params, fixed = dict(node.params), _fixed(node)
    last = len(params["body"].inputs)
    outside: list[int] = []
    for name, leaving in found.items():
        body: Graph = params[name]
        inputs = list(body.inputs.values())
        moved = {inputs[k]: args[k] for k in fixed}
        copy_nodes(body, new, moved, leaving)
        outside += [moved[i] for i in leaving]
    kinds = [new.nodes[i].type for i in outside]
    begun = 0
    for name, leaving in found.items():
        params[name] = _fed(params[name], last, kinds, dict(enumerate(leaving, start=begun)))
        begun += len(leaving)
    whole: Frozen = tuple(sorted(params.items()))
    return new.add(node.op, (*args[:last], *outside, *args[last:]), whole, node.region)


def _fed(body: Graph, place: int, kinds: list[TensorType], leaving: Mapping[int, int]) -> Graph:
    """The body with more inputs.

    Arguments:
        place: of the first new one.
        kinds: their types.
        leaving: for some of their numbers the node that it replaces.
    """
    new = Graph(body.name)
    own: dict[int, int] = {}
    fed: dict[int, int] = {}
    old = list(body.inputs.items())
    for name, node_id in old[:place]:
        own[node_id] = input_like(new, name, body, node_id).id
    for number, (name, kind) in enumerate(zip(fresh_names(body, ["alike"] * len(kinds)), kinds, strict=True)):
        value = new.input(name, kind.shape, kind.dtype)
        if number in leaving:
            fed[leaving[number]] = value.id
    for name, node_id in old[place:]:
        own[node_id] = input_like(new, name, body, node_id).id
    moved = {**own, **fed}
    copy_nodes(body, new, moved, body.outputs.values())
    for name, node_id in body.outputs.items():  # a carry that no step changes leaves a step as it came
        new.output(name, Variable(new, own.get(node_id, moved[node_id])))
    new.requirements = list(dict.fromkeys([*new.requirements, *body.requirements]))
    return new.freeze()


@dataclass(frozen=True)
class Hoist(Pass):
    """Compute in front of loops what all steps compute alike."""

    def run(self, graph: Graph) -> Graph:
        """See `hoist`."""
        return hoist(graph)
