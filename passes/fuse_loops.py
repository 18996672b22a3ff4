"""Loops of one length that share operands become one loop, and branches of one predicate one branch.

So a loop and the loop of its duals, or a loop and the forward half of its own reverse sweep, run each step once: what
they have in common is found afterwards, as equal carries (pass `loop_parts`) and as equal nodes of the body (`cse`).
A loop that runs until a test fails is merged with another one only where the tests are shown to be equal; what unwinds
its tapes, always.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from graphad.ir.bodies import fresh_names, has_bodies, inlined, input_like
from graphad.ir.graph import Frozen, Graph, Node
from graphad.ops.listening import parameter, together
from passes.base import Pass
from passes.dead import remove_dead
from passes.loop_slots import ROLES, slots_of, value_numbers

FUSED = ("scan", "while_loop", "cond", "unwind")


def fuse_loops(graph: Graph) -> Graph:
    """The graph with loops merged that do not wait for each other; itself where there are none.

    >>> import graphad as ga
    >>> from passes.loop_parts import reduce_loops
    >>> g = ga.Graph("f")
    >>> x = g.input("x", shape="n")
    >>> for k in (1.0, 2.0):
    ...     g.output(f"y{k:.0f}", ga.scan(lambda total, v: (total + v, None), k * x.sum(), x)[0])
    >>> [node.op for node in fuse_loops(g).nodes].count("scan")
    1
    """
    if not has_bodies(graph):
        return graph
    while (pair := _pair(graph)) is not None:
        graph = remove_dead(_merged(graph, *pair))
    return graph


def _pair(graph: Graph) -> tuple[int, int] | None:
    """Two nodes that can be merged and are worth it, the first such pair."""
    groups: dict[Any, list[int]] = {}
    for node_id, node in enumerate(graph.nodes):
        if node.op in FUSED:
            groups.setdefault(_kind(graph, node), []).append(node_id)
    waits = _waiting(graph, [i for group in groups.values() for i in group])
    for group in groups.values():
        for place, left in enumerate(group):
            for right in group[place + 1 :]:
                apart = not waits[right] >> left & 1
                if apart and _related(graph, left, right):
                    return left, right
    return None


def _kind(graph: Graph, node: Node) -> Any:
    """What two nodes must have in common."""
    if node.op == "unwind":
        tape = graph.nodes[node.args[node.param("carries")]]
        return node.op, tape.args[0], node.region
    if node.op == "scan":
        return node.op, node.param("length"), node.param("reverse"), node.region
    return (node.op, node.args[0], node.region) if node.op == "cond" else (node.op, node.region)


def _waiting(graph: Graph, loops: Sequence[int]) -> dict[int, int]:
    """For each loop those that it waits for, as bits by node id."""
    named = set(loops)
    masks: list[int] = []
    for node in graph.nodes:
        mask = 0
        for arg in node.args:
            mask |= masks[arg] | (1 << arg if arg in named else 0)
        masks.append(mask)
    return {i: masks[i] for i in loops}


def _related(graph: Graph, left: int, right: int) -> bool:
    one, other = graph.nodes[left], graph.nodes[right]
    if one.op in ("cond", "unwind"):
        return True
    shared = {a for a in one.args if graph.nodes[a].op != "const"}.intersection(other.args)
    if one.op == "scan":
        return bool(shared)
    return _tests_agree(graph, one, other)


def _tests_agree(graph: Graph, one: Node, other: Node) -> bool:
    """Whether two loops always stop at the same step: their tests are equal if equal carries stay equal."""
    args, params = _joined(one, other)
    body, test = dict(params)["body"], _both_tests(one, other)
    inputs, outputs = list(body.inputs.values()), list(body.outputs.values())
    carries = one.param("carries") + other.param("carries")
    groups: dict[int, Any] = dict(enumerate(args))
    while True:
        numbers = value_numbers(body, {inputs[k]: groups[k] for k in groups})
        finer = {k: (groups[k], numbers[outputs[k]]) if k < carries else groups[k] for k in groups}
        names = {key: n for n, key in enumerate(dict.fromkeys(finer.values()))}
        if len(names) == len(set(groups.values())):
            break
        groups = {k: names[finer[k]] for k in groups}
    found = value_numbers(test, {i: groups[k] for k, i in enumerate(test.inputs.values())})
    yes, no = test.outputs.values()
    return found[yes] == found[no]


def _both_tests(one: Node, other: Node) -> Graph:
    places = _places(one, other)
    return _union(one.param("test"), other.param("test"), places, places, [[0], [0]])


# ---------------------------------------------------------------------- merging


def _places(one: Node, other: Node) -> list[tuple[int, int]]:
    """The inputs of the merged bodies: which of the two nodes, and the input's position there."""
    slots = (slots_of(one), slots_of(other))
    kept = [(ROLES.index(slots[side].role(k)), side, k) for side in (0, 1) for k in range(slots[side].count)]
    return [(side, k) for _, side, k in sorted(kept)]


def _joined(one: Node, other: Node) -> tuple[list[int], Frozen]:
    """Operands, without a predicate, and parameters of the merged node."""
    pair = (one, other)
    places = _places(one, other)
    skipped = slots_of(one).skipped
    args = [pair[side].args[k + skipped] for side, k in places]
    params = dict(one.params)
    results = _results(one, other)
    for name in ("body", "on_true", "on_false"):
        if name in params:
            params[name] = _union(one.param(name), other.param(name), places, results, None)
    if "test" in params:
        params["test"] = _union(one.param("test"), other.param("test"), places, results, [[0], []])
    for name in ("carries", "xs"):
        if name in params:
            params[name] = one.param(name) + other.param(name)
    if "checkpoint" in params:
        params["checkpoint"] = one.param("checkpoint") or other.param("checkpoint")
    told = [dict(node.params).get("progress", ()) for node in pair]
    params.update(parameter(together(*told)))
    return args, tuple(sorted(params.items()))


def _results(one: Node, other: Node) -> list[tuple[int, int]]:
    """The results of the merged node: carries of both, then ys of both."""
    slots = (slots_of(one), slots_of(other))
    kept = [(k >= slots[side].carries, side, k) for side in (0, 1) for k in range(len(slots[side].results))]
    return [(side, k) for _, side, k in sorted(kept)]


def _union(
    left: Graph, right: Graph, places: Sequence[tuple[int, int]], results: Sequence[tuple[int, int]],
    chosen: Sequence[Sequence[int]] | None,
) -> Graph:  # fmt: skip
    """One body that does what two do.

    Arguments:
        places: its inputs: which of the two, and the position there.
        results: its outputs in the same way, or `chosen` ones of either.
    """
    pair = (left, right)
    new = Graph(left.name)
    given: dict[tuple[int, int], Any] = {}
    for side, k in places:
        name, node_id = list(pair[side].inputs.items())[k]
        given[side, k] = input_like(new, fresh_names(new, [name])[0], pair[side], node_id)
    values = [inlined(g, new, [given[side, k] for k in range(len(g.inputs))]) for side, g in enumerate(pair)]
    wanted = results if chosen is None else [(side, k) for side in (0, 1) for k in chosen[side]]
    for side, k in wanted:
        name = list(pair[side].outputs)[k]
        new.output(fresh_names(new, [name])[0], values[side][k])
    new.requirements = list(dict.fromkeys(new.requirements))
    return new.freeze()


def _merged(graph: Graph, left: int, right: int) -> Graph:
    """The graph with two nodes merged, in an order in which every node stands behind its operands."""
    one, other = graph.nodes[left], graph.nodes[right]
    args, params = _joined(one, other)
    operands = (*one.args[: slots_of(one).skipped], *args)
    results = _results(one, other)
    new = Graph(graph.name)
    new.hints = dict(graph.hints)
    moved: dict[int, int] = {}
    for target in range(len(graph.nodes)):
        stack = [target]
        while stack:
            node_id = stack[-1]
            node = graph.nodes[node_id]
            needed = operands if node_id in (left, right) else node.args
            waiting = [a for a in needed if a not in moved]
            if waiting:
                stack.extend(reversed(waiting))
                continue
            stack.pop()
            if node_id in moved:
                continue
            new.set_source(node.source)
            if node_id in (left, right):
                moved[left] = moved[right] = new.add(one.op, tuple([moved[a] for a in operands]), params, one.region)
            elif node.op == "item" and node.args[0] in (left, right):
                place = results.index((0 if node.args[0] == left else 1, node.param("index")))
                moved[node_id] = new.add("item", (moved[left],), (("index", place),))
            else:
                moved[node_id] = len(new.nodes)
                new.nodes.append(node.on(tuple([moved[a] for a in node.args])))
    new.set_source(None)
    new._index_constants()
    new.requirements = list(graph.requirements)
    new.inputs = {name: moved[i] for name, i in graph.inputs.items()}
    new.outputs = {name: moved[i] for name, i in graph.outputs.items()}
    return new


@dataclass(frozen=True)
class FuseLoops(Pass):
    """Merge loops that run side by side."""

    def run(self, graph: Graph) -> Graph:
        """See `fuse_loops`."""
        return fuse_loops(graph)
