"""Gradients whose reverse loop has to wait: local partials in place of intermediate values.

Where an elementwise part of a gradient's graph has few inputs and one result, and the cotangent of the result waits for
a sum over all elements, the values from which the reverse sweep makes its partials lie in memory in between. The
partials of the result by the inputs can be made in the loop of the values instead: then only these are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphad.ad import transform
from graphad.ad.reverse import Contribution, Shortcut, Shortcuts
from graphad.analysis.active import active_nodes
from graphad.analysis.cost import VIEWS
from graphad.ir.graph import Graph, Node, keep
from graphad.ir.operation import NotDifferentiable, Scalar, lookup
from graphad.ir.variable import Variable
from graphad.plan.compose import Segment, sweep_nodes
from graphad.plan.elimination import candidates
from graphad.plan.jacobians import LARGEST, Planned
from graphad.plan.linearize import Local, accumulated, linearized, multiplied
from graphad.plan.modes import Alternative, Decision, Plan, uniform

Users = list[list[int]]
FEWEST = 4  # nodes of a cluster
DEAR = 4.0  # operations an element from which a value is rather kept than computed again
UNIT = "arrays kept"


@dataclass(frozen=True)
class Cluster:
    """Elementwise nodes of one shape that lead to one result.

    Arguments:
        result: the last of them.
        inside: all of them, in order.
        leaves: what they read and is differentiated.
        kept: the values that the reverse sweep keeps.
    """

    result: int
    inside: tuple[int, ...]
    leaves: tuple[int, ...]
    kept: tuple[int, ...]


def clusters(graph: Graph, wrt: Sequence[str], of: str) -> list[Cluster]:
    """The clusters with fewer inputs than values that the reverse sweep keeps."""
    active = active_nodes(graph, [graph.inputs[n] for n in wrt], [graph.outputs[of]])
    users, carried, taken = graph.users(), set(active), set[int]()
    found: list[Cluster] = []
    for result in reversed(active):
        if result in taken or not _elementwise(graph.nodes[result]):
            continue
        inside = _cone(graph, result, carried, users)
        taken |= inside
        leaves = sorted({a for v in inside for a in graph.nodes[v].args if a in carried and a not in inside})
        if len(inside) < FEWEST or not leaves:
            continue
        cluster = Cluster(result, tuple(sorted(inside)), tuple(leaves), _kept(graph, result, inside, leaves))
        if len(cluster.leaves) < len(cluster.kept):
            found.append(cluster)
    return found


def _elementwise(node: Node) -> bool:
    op = lookup(node.op)
    return op.elementwise and node.type.rank > 0 and not isinstance(op.derivative, NotDifferentiable)


def _cone(graph: Graph, result: int, carried: set[int], users: Users) -> set[int]:
    """The elementwise nodes of the result's type from which nothing leads past the result."""
    inside = {result}
    for v in range(result - 1, -1, -1):
        node = graph.nodes[v]
        if v in carried and users[v] and node.type == graph.nodes[result].type and _elementwise(node):
            after = [u for u in users[v] if u in carried]
            if after and all(u in inside for u in after) and v not in graph.outputs.values():
                inside.add(v)
    return inside


def _kept(graph: Graph, result: int, inside: set[int], leaves: Sequence[int]) -> tuple[int, ...]:
    """The values inside that a reverse sweep reads and that are too dear to be computed again."""
    scratch, _ = sweep_nodes(graph, Segment(tuple(leaves), (result,)), "reverse")
    stack = [a for node in scratch.nodes[len(graph.nodes) :] for a in node.args if a in inside and a != result]
    found: set[int] = set()
    seen: set[int] = set()
    while stack:
        v = stack.pop()
        if v in seen:
            continue
        seen.add(v)
        emission = lookup(graph.nodes[v].op).emission
        if isinstance(emission, Scalar) and (emission.functions or lookup(graph.nodes[v].op).cost >= DEAR):
            found.add(v)
        else:
            stack.extend(a for a in graph.nodes[v].args if a in inside)
    return tuple(sorted(found))


def waits(graph: Graph, cotangent: Variable, result: int) -> bool:
    """Whether a cotangent needs sums, or anything else over all elements, of a result."""
    for v in sorted(keep(graph, [cotangent.id])):
        node = graph.nodes[v]
        if v > result and not lookup(node.op).elementwise and node.op not in VIEWS and result in keep(graph, [v]):
            return True
    return False


def planned_gradient(graph: Graph, wrt: Sequence[str], of: str, *, with_value: bool) -> Planned:
    """The gradient's graph, as `transform.grad` or `transform.value_and_grad` gives it, and what was decided."""
    subject, reason = f"d{of}/d({', '.join(wrt)})", "one scalar output: one reverse sweep gives every element"
    plan = uniform(subject, "reverse", reason, graph, wrt, [of])
    found = clusters(graph, wrt, of) if len(graph.nodes) <= LARGEST else []
    taken: list[Cluster] = []

    def shortcuts(new: Graph) -> Shortcuts:
        return {cluster.result: _shortcut(new, cluster, taken) for cluster in found}

    derived = transform.gradient(graph, wrt, of, with_value=with_value, shortcuts=shortcuts if found else None)
    return derived, Plan((*plan.decisions, *(_decision(graph, cluster) for cluster in taken)), graph)


def _shortcut(new: Graph, cluster: Cluster, taken: list[Cluster]) -> Shortcut:
    def run(cotangent: Variable, guarded: bool) -> dict[int, Contribution] | None:
        if not waits(new, cotangent, cluster.result):
            return None
        tangents = linearized(new, cluster.leaves, [cluster.result], cluster.inside)
        if tangents is None:
            return None
        order = min(candidates(tangents.linear, "refined", 0.0), key=lambda c: c.refined).order
        partials = accumulated(tangents, order, cotangent.dtype)
        taken.append(cluster)
        found: dict[int, Contribution] = {}
        for (_, leaf), local in partials.items():
            product = multiplied(new, Local(cotangent, None, guarded), local, cotangent.dtype)
            if isinstance(product.value, Variable):
                found[cluster.leaves[leaf]] = Contribution(product.value, product.guarded)
        return found

    return run


def _decision(graph: Graph, cluster: Cluster) -> Decision:
    names = {i: name for name, i in graph.inputs.items()}
    leaves = ", ".join(names.get(v, f"%{v}") for v in cluster.leaves)
    options = (
        Alternative("reverse", "intermediate values", len(cluster.kept), UNIT),
        Alternative("local partials", "one for each input", len(cluster.leaves), UNIT),
    )
    reason = f"the reverse loop waits for all elements: {len(cluster.leaves)} arrays in memory, not {len(cluster.kept)}"
    subject = f"cluster: {leaves} -> %{cluster.result}"
    return Decision(subject, "local partials", options, reason, "", cluster.inside)
