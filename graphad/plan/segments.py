"""Where a graph is cut for a dense Jacobian, what each segment costs in both modes, and the cheapest composition."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from graphad.ad import arith
from graphad.ad.transform import Names, live, select_inputs, select_outputs
from graphad.analysis.active import active_nodes
from graphad.analysis.cost import multiplications, typical_sizes
from graphad.errors import ArgumentError, describe
from graphad.ir import sizes
from graphad.ir.graph import Graph
from graphad.ir.operation import Elementwise, lookup
from graphad.ir.sizes import Extent
from graphad.plan.chains import Factor, Tree, best_tree
from graphad.plan.compose import Composer, Segment, direct_block, sweep_nodes
from graphad.plan.cuts import check_dependence, cuts, width
from graphad.plan.eliminate import with_local
from graphad.plan.modes import Alternative, Decision, Mode, between, elements

FORBIDDEN = 10**18  # the cost of what `force` rules out
TRACED = 12  # segments of a chain, at most, for which it is found where the choice would be another one
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


class Costs(NamedTuple):
    """What a segment costs, as expressions in the named sizes: elements on both sides, one tangent, one adjoint."""

    inputs: Extent
    outputs: Extent
    tangent: Extent
    adjoint: Extent

    def factor(self, segment: Segment, at: Mapping[str, int]) -> Factor:
        """The factor of a chain at some sizes."""
        inner, outer, tangent, adjoint = (sizes.evaluate(extent, at) for extent in self)
        forward, reverse = tangent * inner, adjoint * outer
        if segment.kind == "direct":
            forward = reverse = 0
        if segment.local is not None:
            forward = reverse = segment.local.multiplications
        return Factor(inner, outer, tangent, adjoint, forward, reverse)


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


def costs_of(graph: Graph, segment: Segment) -> Costs:
    """What a segment costs in both modes."""
    ends = elements(graph, segment.sources), elements(graph, segment.targets)
    if segment.kind == "diagonal":
        return Costs(*ends, ends[0], ends[0])
    sweeps: list[Extent] = []
    for mode in ("forward", "reverse"):
        scratch, moved = sweep_nodes(graph, segment, mode)
        total: Extent = 0
        for node_id in moved:
            total = total + multiplications(scratch, node_id)
        sweeps.append(total)
    return Costs(*ends, *sweeps)


class Compositions:
    """The compositions of a graph at different sizes, cut where it is narrow at the hints.

    Arguments:
        wrt, of: names of inputs and outputs.
        force: modes of segments, by `"segment 1"` and so on.
    """

    def __init__(
        self, graph: Graph, wrt: Sequence[str], of: Sequence[str], force: Mapping[str, Mode] | None = None
    ) -> None:
        check_dependence(graph, wrt, of)
        sources, targets = [graph.inputs[n] for n in wrt], [graph.outputs[n] for n in of]
        self.graph = graph
        found = segments_of(graph, sources, targets)
        self.names = [f"segment {i}" for i in range(1, len(found) + 1)]
        self.force = dict(force or {})
        pairs = zip(self.names, found, strict=True)
        self.segments = tuple(s if name in self.force else with_local(graph, s) for name, s in pairs)
        for name, mode in self.force.items():
            if name not in self.names or mode not in ("forward", "reverse"):
                got = f"{{{name!r}: {mode!r}}}"
                expected = f'{", ".join(self.names)}: "forward" or "reverse"'
                raise ArgumentError(describe("force=", expected=expected, got=got))
        self.costs = [costs_of(graph, segment) for segment in self.segments]
        self.whole = costs_of(graph, Segment(self.segments[0].sources, self.segments[-1].targets))

    def at(self, values: Mapping[str, int]) -> Composition:
        """The cheapest composition at some sizes."""
        factors = []
        for name, segment, costs in zip(self.names, self.segments, self.costs, strict=True):
            factor = costs.factor(segment, values)
            if self.force.get(name) == "forward":
                factor = factor._replace(adjoint=FORBIDDEN, reverse=FORBIDDEN)
            if self.force.get(name) == "reverse":
                factor = factor._replace(tangent=FORBIDDEN, forward=FORBIDDEN)
            factors.append(factor)
        inner, outer, tangent, adjoint = (sizes.evaluate(extent, values) for extent in self.whole)
        return Composition(self.segments, tuple(factors), best_tree(factors), inner * tangent, outer * adjoint)

    def choice(self, values: Mapping[str, int]) -> str:
        """What is done at some sizes: "composed", or the uniform mode with fewer sweeps."""
        if self.at(values).pays:
            return "composed"
        columns, rows = (sizes.evaluate(extent, values) for extent in self.whole[:2])
        return "forward" if columns < rows else "reverse"

    def threshold(self) -> str:
        """At which sizes the choice would be another one, the others at their hints; empty where it never is."""
        if len(self.segments) > TRACED:
            return ""
        at = typical_sizes(self.graph)

        def of(name: str) -> str:
            return flips(name, at[name], lambda value: self.choice({**at, name: value}))

        return "; ".join(part for part in map(of, self.graph.size_names) if part)


def compose(
    graph: Graph, wrt: Sequence[str], of: Sequence[str], force: Mapping[str, Mode] | None = None
) -> Composition:
    """The cheapest composition at the hints; see `Compositions`."""
    return Compositions(graph, wrt, of, force).at(typical_sizes(graph))


def flips(name: str, value: int, choice: Callable[[int], str], most: int = 1 << 20) -> str:
    """Between which values of a size a choice stays, and what it is beyond.

    >>> flips("m", 100, lambda m: "reverse" if m < 30 else "composed" if m < 500 else "forward")
    'composed while 30 <= m < 500, then forward; below reverse'
    """
    here = choice(value)

    def border(inside: int, outside: int) -> int:
        while abs(outside - inside) > 1:
            middle = (inside + outside) // 2
            inside, outside = (middle, outside) if choice(middle) == here else (inside, middle)
        return inside

    low = high = value
    while high < most and choice(high * 2) == here:
        high *= 2
    above = None if high >= most else border(high, high * 2) + 1
    while low > 1 and choice(low // 2) == here:
        low //= 2
    below = None if low <= 1 else border(low, low // 2)
    if above is None and below is None:
        return ""
    limits = name if below is None else f"{below} <= {name}"
    text = f"{here} while {limits}" if above is None else f"{here} while {limits} < {above}, then {choice(above)}"
    return text if below is None else f"{text}; below {choice(below - 1)}"


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


def decisions(
    graph: Graph, composition: Composition, wrt: Sequence[str], of: Sequence[str], threshold: str = ""
) -> tuple[Decision, ...]:
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
    found = [Decision(subject, "composed", options, reason, threshold, inputs=ends[0], outputs=ends[1])]
    modes = _modes(composition.tree)
    labels = {i: name for name, i in graph.inputs.items()} | {i: name for name, i in graph.outputs.items()}
    for index, (segment, factor) in enumerate(zip(composition.segments, composition.factors, strict=True)):
        cuts_of = (segment.sources, segment.targets)
        start, end = (", ".join(labels.get(v, f"%{v}") for v in cut) for cut in cuts_of)
        why = {
            "diagonal": "elementwise: one number an element",
            "direct": "one contraction: its Jacobian is the other operand",
            "general": f"{factor.inputs} -> {factor.outputs} elements",
        }[segment.kind]
        choice = modes[index]
        if segment.local is not None and choice in ("forward", "reverse"):
            choice, why = segment.local.how, f"{why}: few scalars"
        part, counts = between(graph, *cuts_of), [elements(graph, cut) for cut in cuts_of]
        costs = _sweep_costs(segment, factor)
        found.append(Decision(f"segment {index + 1}: {start} -> {end}", choice, costs, why, "", part, *counts))
    return tuple(found)


def _sweep_costs(segment: Segment, factor: Factor) -> tuple[Alternative, ...]:
    """What it costs to accumulate the Jacobian of a segment, in the ways that there are."""
    free = segment.kind == "direct"
    options = [
        (mode, f"{count} x {one}", 0 if free else count * one)
        for mode, count, one in (
            ("forward", factor.inputs, factor.tangent),
            ("reverse", factor.outputs, factor.adjoint),
        )
        if one < FORBIDDEN
    ]
    if segment.local is not None:
        options.append((segment.local.how, "scalars", segment.local.multiplications))
    return tuple(Alternative(*option, UNIT) for option in options)


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
