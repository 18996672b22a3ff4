"""Vertex elimination on linearised computational graphs: orders, and the multiplications that each of them costs.

Eliminating a vertex replaces every pair of an edge into it and an edge out of it by their product on a direct edge.
When all intermediate vertices are gone, the edges from inputs to outputs are the Jacobian. Every order gives the same
Jacobian; forward and reverse mode are two of them.

References: A. Griewank and S. Reese, On the calculation of Jacobian matrices by the Markowitz rule (1991); A. Griewank
and A. Walther, Evaluating Derivatives, 2nd ed., SIAM 2008, chapters 9 and 10.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from graphad.errors import ArgumentError, describe

Rule = Literal["raw", "refined"]
EXACT = 12  # intermediate vertices up to which all orders are compared


class Edge(NamedTuple):
    """A local partial derivative: from an operand to its user.

    `kind` is "unit" for ±1, "constant" for another number, "variable" for what depends on the point.
    """

    source: int
    target: int
    kind: str = "variable"


UNIT, CONSTANT, VARIABLE = 1, 2, 3
KINDS = {"unit": UNIT, "constant": CONSTANT, "variable": VARIABLE}


@dataclass(frozen=True)
class Linearized:
    """A linearised computational graph.

    Arguments:
        vertices: how many; edges go from smaller to larger numbers.
        inputs, outputs: vertices that stay. An output with users needs a copy vertex as the output.
        edges: local partial derivatives. Two edges between the same vertices are one, their sum.

    >>> square = Linearized(3, (0,), (2,), (Edge(0, 1), Edge(0, 1), Edge(1, 2)))
    >>> count(square, forward(square))
    1
    """

    vertices: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    edges: tuple[Edge, ...]

    def __post_init__(self) -> None:
        for edge in self.edges:
            if not 0 <= edge.source < edge.target < self.vertices:
                got = f"{edge.source} -> {edge.target}"
                raise ArgumentError(describe("an edge does not lead to a later vertex", got=got))
            if edge.source in self.outputs:
                what = f"output {edge.source} of a linearised graph has a user"
                raise ArgumentError(describe(what, fix="give the output a vertex of its own, a copy"))

    @property
    def intermediates(self) -> tuple[int, ...]:
        """The vertices to eliminate, in order."""
        fixed = {*self.inputs, *self.outputs}
        return tuple(v for v in range(self.vertices) if v not in fixed)


class Elimination:
    """A linearised graph while vertices are eliminated from it.

    Attributes:
        successors: for every vertex its remaining successors with the kinds of the edges.
        predecessors: for every vertex its remaining predecessors.
    """

    def __init__(self, graph: Linearized) -> None:
        self.successors: list[dict[int, int]] = [{} for _ in range(graph.vertices)]
        self.predecessors: list[dict[int, None]] = [{} for _ in range(graph.vertices)]
        for edge in graph.edges:
            self._add(edge.source, edge.target, KINDS[edge.kind])

    def _add(self, source: int, target: int, kind: int) -> None:
        known = self.successors[source].get(target)
        # A sum of units is 0 or ±2, a constant.
        self.successors[source][target] = kind if known is None else max(known, kind, CONSTANT)
        self.predecessors[target][source] = None

    def eliminate(self, vertex: int) -> tuple[int, int]:
        """Eliminate a vertex; the multiplications that it cost by the raw and by the refined rule."""
        before, after = self.predecessors[vertex], self.successors[vertex]
        refined = 0
        for source in before:
            first = self.successors[source].pop(vertex)
            for target, second in after.items():
                refined += multiplied(first, second)
                self._add(source, target, max(first, second))
        for target in after:
            del self.predecessors[target][vertex]
        raw = len(before) * len(after)
        self.predecessors[vertex], self.successors[vertex] = {}, {}
        return raw, refined

    def markowitz(self, vertex: int) -> int:
        """The product of the numbers of predecessors and successors."""
        return len(self.predecessors[vertex]) * len(self.successors[vertex])

    def fill_in(self, vertex: int) -> int:
        """The edges that eliminating the vertex would add."""
        after = self.successors[vertex]
        return sum(target not in self.successors[source] for source in self.predecessors[vertex] for target in after)


def multiplied(first: int, second: int) -> bool:
    """Whether the refined rule counts a product of two kinds: neither factor ±1, and not both constants."""
    return first != UNIT and second != UNIT and VARIABLE in (first, second)


def count(graph: Linearized, order: Sequence[int], rule: Rule = "raw") -> int:
    """The multiplications of an order.

    Arguments:
        order: every intermediate vertex once.
        rule: "raw" counts all products; "refined" none with a factor ±1 and none of two constants.

    Raises `ArgumentError` where the order is not one of all intermediate vertices.
    """
    if sorted(order) != list(graph.intermediates):
        raise ArgumentError(
            describe("an elimination order holds every intermediate vertex once", got=f"{len(order)} vertices")
        )
    state = Elimination(graph)
    return sum(state.eliminate(v)[rule == "refined"] for v in order)


# ---------------------------------------------------------------------- orders


def forward(graph: Linearized) -> tuple[int, ...]:
    """From the inputs to the outputs: the order of forward mode."""
    return graph.intermediates


def reverse(graph: Linearized) -> tuple[int, ...]:
    """From the outputs to the inputs: the order of reverse mode."""
    return graph.intermediates[::-1]


def markowitz(graph: Linearized) -> tuple[int, ...]:
    """Always the vertex with the smallest product of numbers of predecessors and successors, ties to the last."""
    return _greedy(graph, lambda state, v: (state.markowitz(v),))


def minimum_fill_in(graph: Linearized) -> tuple[int, ...]:
    """Always the vertex whose elimination adds the fewest edges, ties to the last."""
    return _greedy(graph, lambda state, v: (state.fill_in(v),))


def net_change(graph: Linearized) -> tuple[int, ...]:
    """Always the vertex after which the fewest edges are left, then by Markowitz, ties to the last."""

    def score(state: Elimination, vertex: int) -> tuple[int, ...]:
        removed = len(state.predecessors[vertex]) + len(state.successors[vertex])
        return state.fill_in(vertex) - removed, state.markowitz(vertex)

    return _greedy(graph, score)


def relative_markowitz(graph: Linearized) -> tuple[int, ...]:
    """Always the smallest Markowitz product less the inputs below the vertex times the outputs above it, ties last.

    What the vertex costs at least, in whatever order, does not count against it now (Griewank and Walther, 10.3).
    """
    below: list[set[int]] = [{v} if v in graph.inputs else set() for v in range(graph.vertices)]
    above: list[set[int]] = [{v} if v in graph.outputs else set() for v in range(graph.vertices)]
    for edge in sorted(graph.edges, key=lambda e: e.target):
        below[edge.target] |= below[edge.source]
    for edge in sorted(graph.edges, key=lambda e: -e.source):
        above[edge.source] |= above[edge.target]
    least = [len(b) * len(a) for b, a in zip(below, above, strict=True)]
    return _greedy(graph, lambda state, v: (state.markowitz(v) - least[v],))


def _greedy(graph: Linearized, score: Callable[[Elimination, int], tuple[int, ...]]) -> tuple[int, ...]:
    state = Elimination(graph)
    scores = {v: score(state, v) for v in graph.intermediates}
    order: list[int] = []
    while scores:
        vertex = min(scores, key=lambda v: (scores[v], -v))
        del scores[vertex]
        order.append(vertex)
        near = {*state.predecessors[vertex], *state.successors[vertex]}
        state.eliminate(vertex)
        # A score reads edges of neighbours, so it changes up to two edges away.
        far = {w for v in near for w in (*state.predecessors[v], *state.successors[v])}
        for changed in near | far:
            if changed in scores:
                scores[changed] = score(state, changed)
    return tuple(order)


def exact(graph: Linearized, rule: Rule = "raw") -> tuple[int, ...]:
    """An order with the fewest multiplications, from all sets of eliminated vertices.

    What is left depends on which vertices are gone and not on their order, so 2^n sets are compared instead of n!
    orders. Raises `ArgumentError` for more than 12 intermediate vertices.
    """
    vertices = graph.intermediates
    if len(vertices) > EXACT:
        what = "an exact search over elimination orders"
        got = f"{len(vertices)} intermediate vertices"
        raise ArgumentError(describe(what, expected=f"at most {EXACT}", got=got, fix="use `best_order`"))
    best: dict[int, tuple[int, tuple[int, ...]]] = {0: (0, ())}
    for gone in range(1 << len(vertices)):
        spent, order = best[gone]
        for position, vertex in enumerate(vertices):
            if gone >> position & 1:
                continue
            state = Elimination(graph)
            for earlier in order:
                state.eliminate(earlier)
            total = spent + state.eliminate(vertex)[rule == "refined"]
            after = gone | 1 << position
            if after not in best or total < best[after][0]:
                best[after] = total, (*order, vertex)
    return best[(1 << len(vertices)) - 1][1]


class Candidate(NamedTuple):
    """An elimination order, how it was found, and its multiplications by both rules."""

    name: str
    order: tuple[int, ...]
    raw: int
    refined: int


ORDERS: Mapping[str, Callable[[Linearized], tuple[int, ...]]] = {
    "reverse": reverse,
    "forward": forward,
    "Markowitz": markowitz,
    "minimum fill-in": minimum_fill_in,
    "net change of edges": net_change,
    "relative Markowitz": relative_markowitz,
}


def candidates(
    graph: Linearized, rule: Rule = "refined", seconds: float = 1.0, names: Iterable[str] = tuple(ORDERS)
) -> tuple[Candidate, ...]:
    """Orders by the rules of `names`, and one by annealing from the best of them.

    Arguments:
        rule: what annealing makes small.
        seconds: its limit; 0 to leave it out. Its random numbers are the same each time.
    """
    found = [_candidate(graph, name, ORDERS[name](graph)) for name in names]
    if seconds > 0 and len(graph.intermediates) > 1:
        from graphad.plan.annealing import anneal  # here, because Numba's import takes 0.3 s

        start = min(found, key=lambda c: getattr(c, rule))
        found.append(_candidate(graph, "annealing", anneal(graph, start.order, rule, seconds)))
    return tuple(found)


def _candidate(graph: Linearized, name: str, order: tuple[int, ...]) -> Candidate:
    return Candidate(name, order, count(graph, order), count(graph, order, "refined"))
