"""Where a graph is cut for a dense Jacobian, what each segment costs in both modes, and the cheapest composition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from graphad.ad import arith
from graphad.ad.transform import Names, independent, live, select_inputs, select_outputs
from graphad.analysis.active import active_nodes
from graphad.analysis.cost import node_multiplications, typical_sizes
from graphad.errors import ArgumentError, describe
from graphad.ir import sizes
from graphad.ir.graph import Graph
from graphad.ir.operation import Elementwise, lookup
from graphad.ir.types import TupleType
from graphad.plan.chains import Factor, Tree, best_tree
from graphad.plan.compose import Composer, Segment, direct_block, sweep_nodes
from graphad.plan.modes import Alternative, Decision, Mode, between, elements

FORBIDDEN = 10**18  # the cost of what `force` rules out
MOST = 40  # segments of a chain; the widest cuts are given up first
UNIT = "multiplications"


@dataclass(frozen=True)
class Composition:
    """A graph cut into segments and the way in which their Jacobians are made and multiplied.

    `forward` and `reverse` are the multiplications of either mode for the graph as a whole.
    """

    segments: tuple[Segment, ...]
    factors: tuple[Factor, ...]
    tree: Tree
    forward: int
    reverse: int

    @property
    def multiplications(self) -> int:
        """The predicted multiplications of all products and sweeps; local partials are not counted."""
        return self.tree.cost

    @property
    def pays(self) -> bool:
        """Whether it saves more than a tenth of the better uniform mode."""
        return 10 * self.tree.cost < 9 * min(self.forward, self.reverse)


def cuts(graph: Graph, sources: Sequence[int], targets: Sequence[int]) -> list[tuple[int, ...]]:
    """Cuts from the sources to the targets, both included: every node that all paths share, and narrow live sets.

    Behind a node of the list the live nodes are those that a later node or an output still needs. Where there is one
    only, all paths go through it, whatever the order. Between two such nodes a live set is a cut where it is narrower
    than both.
    """
    active, at = active_nodes(graph, sources, targets), typical_sizes(graph)
    inside, last = set(active), dict.fromkeys(active, -1)
    for node_id in active:
        for arg in graph.nodes[node_id].args:
            if arg in inside:
                last[arg] = node_id
    for target in targets:
        last[target] = len(graph.nodes)
    live = {node_id for node_id in active if node_id in sources}
    found: list[tuple[int, ...]] = [tuple(sorted(live))]
    between: list[tuple[int, ...]] = []
    for node_id in active:
        live = {v for v in live if last[v] > node_id} | {node_id} if node_id not in live else live
        now = tuple(sorted(v for v in live if last[v] > node_id))
        if now in (found[-1], tuple(sorted(set(targets)))) or max(sources) > node_id:
            continue
        if any(isinstance(graph.nodes[v].type, TupleType) for v in now):
            continue  # a loop between its operands and its results is not cut
        between.append(now)
        if len(now) == 1:
            found += [*_narrowest(graph, found[-1], between[:-1], now, at), now]
            between = []
    end = tuple(sorted(set(targets)))
    return [*found, *_narrowest(graph, found[-1], between, end, at), end]


def width(graph: Graph, cut: Sequence[int], at: Mapping[str, int]) -> int:
    """The elements of a cut."""
    return sum(sizes.evaluate(graph.nodes[v].type.elements, at) for v in cut)


def _narrowest(
    graph: Graph,
    before: tuple[int, ...],
    inner: Sequence[tuple[int, ...]],
    after: tuple[int, ...],
    at: Mapping[str, int],
) -> list[tuple[int, ...]]:
    if not inner:
        return []
    best = min(inner, key=lambda cut: width(graph, cut, at))
    narrow = width(graph, best, at) < min(width(graph, before, at), width(graph, after, at))
    return [best] if narrow else []


def segments_of(graph: Graph, sources: Sequence[int], targets: Sequence[int]) -> tuple[Segment, ...]:
    """The chain of segments; elementwise ones that touch are one."""
    at, chain = typical_sizes(graph), cuts(graph, sources, targets)
    while len(chain) > MOST + 1:
        chain.remove(max(chain[1:-1], key=lambda cut: width(graph, cut, at)))
    active = active_nodes(graph, sources, targets)
    found: list[Segment] = []
    for before, after in pairwise(chain):
        kind = _kind(graph, active, before, after)
        if kind == "diagonal" and found and found[-1].kind == "diagonal":
            before = found.pop().sources
        found.append(Segment(before, after, kind))
    return tuple(found)


def _kind(graph: Graph, active: Sequence[int], before: tuple[int, ...], after: tuple[int, ...]) -> str:
    if len(before) > 1 or len(after) > 1:
        return "general"
    shape = graph.nodes[before[0]].type.shape
    inside = [v for v in active if before[0] < v <= after[0]]
    if all(isinstance(lookup(graph.nodes[v].op).derivative, Elementwise) for v in inside) and all(
        graph.nodes[v].type.shape == shape for v in inside
    ):
        return "diagonal"
    if len(inside) == 1 and direct_block(graph.copy(), graph.nodes[inside[0]], before[0]) is not None:
        return "direct"
    return "general"


def sweep_cost(graph: Graph, segment: Segment, mode: Mode) -> int:
    """The multiplications of one tangent or one adjoint through a segment, at the hints."""
    at = typical_sizes(graph)
    if segment.kind == "diagonal":
        return width(graph, segment.sources, at)
    scratch, moved = sweep_nodes(graph, segment, mode)
    return sum(node_multiplications(scratch, v, at) for v in moved)


def compose(
    graph: Graph, wrt: Sequence[str], of: Sequence[str], force: Mapping[str, Mode] | None = None
) -> Composition:
    """The cheapest composition by the cost model.

    Arguments:
        wrt, of: names of inputs and outputs.
        force: modes of segments, by `"segment 1"` and so on.
    """
    sources, targets = [graph.inputs[n] for n in wrt], [graph.outputs[n] for n in of]
    check_dependence(graph, wrt, of)
    segments, at = segments_of(graph, sources, targets), typical_sizes(graph)
    names = [f"segment {i}" for i in range(1, len(segments) + 1)]
    for name, mode in (force or {}).items():
        if name not in names or mode not in ("forward", "reverse"):
            got = f"{{{name!r}: {mode!r}}}"
            raise ArgumentError(describe("force=", expected=f'{", ".join(names)}: "forward" or "reverse"', got=got))
    factors = []
    for name, segment in zip(names, segments, strict=True):
        inner, outer = width(graph, segment.sources, at), width(graph, segment.targets, at)
        tangent, adjoint = sweep_cost(graph, segment, "forward"), sweep_cost(graph, segment, "reverse")
        free = segment.kind == "direct"
        factor = Factor(inner, outer, tangent, adjoint, 0 if free else tangent * inner, 0 if free else adjoint * outer)
        forced = (force or {}).get(name)
        if forced == "forward":
            factor = factor._replace(adjoint=FORBIDDEN, reverse=FORBIDDEN)
        if forced == "reverse":
            factor = factor._replace(tangent=FORBIDDEN, forward=FORBIDDEN)
        factors.append(factor)
    whole = Segment(segments[0].sources, segments[-1].targets)
    forward = width(graph, whole.sources, at) * sweep_cost(graph, whole, "forward")
    reverse = width(graph, whole.targets, at) * sweep_cost(graph, whole, "reverse")
    return Composition(segments, tuple(factors), best_tree(factors), forward, reverse)


def check_dependence(graph: Graph, wrt: Sequence[str], of: Sequence[str]) -> None:
    """Raise `DifferentiationError` where an output does not depend on an input."""
    for output in of:
        for name in wrt:
            target = graph.outputs[output]
            if target not in active_nodes(graph, [graph.inputs[name]], [target]):
                raise independent(output, [name], graph.nodes[target].source)


def composed_jacobian(graph: Graph, composition: Composition, wrt: Names = None, of: Names = None) -> Graph:
    """Dense Jacobians as planned: outputs `dy_dx` of shape `y.shape + x.shape`, as those of `transform.jacobian`."""
    inputs, outputs = select_inputs(graph, wrt), select_outputs(graph, of)
    new = graph.copy(f"{graph.name}_jacobian")
    new.outputs = {}
    blocks = Composer(new, composition.segments).jacobian(composition.tree)
    for output in outputs:
        for name in inputs:
            row, column = graph.outputs[output], graph.inputs[name]
            shape = graph.nodes[row].type.shape + graph.nodes[column].type.shape
            block = blocks.get((row, column))
            if block is None:
                block = new.const(0.0, graph.nodes[row].type.dtype)
            new.output(f"d{output}_d{name}", arith.broadcast_to(block, shape))
    return live(new)


def decisions(graph: Graph, composition: Composition, wrt: Sequence[str], of: Sequence[str]) -> tuple[Decision, ...]:
    """The record: the composition among the uniform modes, then each segment with its costs."""
    total = composition.multiplications
    options = (
        Alternative("forward", "whole graph", composition.forward, UNIT),
        Alternative("reverse", "whole graph", composition.reverse, UNIT),
        Alternative("composed", "the segments below", total, UNIT),
    )
    reason = f"fewest {UNIT}: {formula(composition.tree)}"
    if composition.pays is False:
        reason = f"segments were forced: {formula(composition.tree)}"
    subject = f"d({', '.join(of)})/d({', '.join(wrt)})"
    ends = [elements(graph, cut) for cut in (composition.segments[0].sources, composition.segments[-1].targets)]
    found = [Decision(subject, "composed", options, reason, inputs=ends[0], outputs=ends[1])]
    modes = _modes(composition.tree)
    labels = {i: name for name, i in graph.inputs.items()} | {i: name for name, i in graph.outputs.items()}
    for index, (segment, factor) in enumerate(zip(composition.segments, composition.factors, strict=True)):
        cuts_of = (segment.sources, segment.targets)
        start, end = (", ".join(labels.get(v, f"%{v}") for v in cut) for cut in cuts_of)
        costs = tuple(
            Alternative(mode, f"{count} x {one}", value, UNIT)
            for mode, count, one, value in (
                ("forward", factor.inputs, factor.tangent, factor.forward),
                ("reverse", factor.outputs, factor.adjoint, factor.reverse),
            )
            if value < FORBIDDEN
        )
        why = {
            "diagonal": "elementwise: one number an element",
            "direct": "one contraction: its Jacobian is the other operand",
            "general": f"{factor.inputs} -> {factor.outputs} elements",
        }[segment.kind]
        part, counts = between(graph, *cuts_of), [elements(graph, cut) for cut in cuts_of]
        found.append(Decision(f"segment {index + 1}: {start} -> {end}", modes[index], costs, why, "", part, *counts))
    return tuple(found)


def formula(tree: Tree) -> str:
    """How segments are combined, the outermost first; `*` a product, `J>` tangents and `<J` adjoints through segments.

    >>> formula(best_tree([Factor.of(1, 100, 200), Factor.of(100, 1, 200)]))
    'J2 * J1'
    """
    if tree.how in ("forward", "reverse"):
        return f"J{tree.first + 1}"
    if tree.how == "multiply":
        assert tree.left is not None
        assert tree.right is not None
        parts = [formula(tree.right), formula(tree.left)]
        return " * ".join(f"({p})" if " " in p else p for p in parts)
    part = tree.left if tree.how == "tangent" else tree.right
    assert part is not None
    first, last = (part.last + 1, tree.last) if tree.how == "tangent" else (tree.first, part.first - 1)
    through = " ".join(f"J{i + 1}" for i in range(last, first - 1, -1))
    return f"{through} > [{formula(part)}]" if tree.how == "tangent" else f"[{formula(part)}] < {through}"


def _modes(tree: Tree) -> dict[int, str]:
    """What happens to each segment."""
    if tree.how in ("forward", "reverse"):
        return {tree.first: tree.how}
    found: dict[int, str] = {}
    for part in (tree.left, tree.right):
        found |= {} if part is None else _modes(part)
    mode = "tangents" if tree.how == "tangent" else "adjoints"
    return {i: found.get(i, mode) for i in range(tree.first, tree.last + 1)}
