"""Cuts of a graph between its inputs and outputs: nodes that all paths share, and minimum vertex cuts between them.

Reference: L. Ford, D. Fulkerson, Maximal flow through a network (1956), with shortest augmenting paths (J. Edmonds,
R. Karp, 1972); a vertex of the graph is an edge of the network, as wide as its elements.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from graphad.ad.transform import independent
from graphad.analysis.active import active_nodes
from graphad.analysis.cost import typical_sizes
from graphad.ir import sizes
from graphad.ir.graph import Graph
from graphad.ir.types import TupleType

Cut = tuple[int, ...]


def cuts(graph: Graph, sources: Sequence[int], targets: Sequence[int]) -> list[Cut]:
    """Cuts from the sources to the targets, both included.

    Every node through which all paths go; between two such nodes a minimum vertex cut, where it is narrower than both.
    Widths are numbers of elements at the sizes' hints.
    """
    active, at = active_nodes(graph, sources, targets), typical_sizes(graph)
    chain = [tuple(sorted(v for v in active if v in sources)), *_shared(graph, active, sources, targets)]
    found: list[Cut] = []
    for before, after in zip(chain, [*chain[1:], None], strict=True):
        found.append(before)
        if after is not None:
            narrow = minimum_cut(graph, active, before, after, at)
            if width(graph, narrow, at) < min(width(graph, before, at), width(graph, after, at)):
                found.append(narrow)
    return found


def width(graph: Graph, cut: Sequence[int], at: Mapping[str, int]) -> int:
    """The elements of a cut."""
    return sum(sizes.evaluate(graph.nodes[v].type.elements, at) for v in cut)


def _shared(graph: Graph, active: Sequence[int], sources: Sequence[int], targets: Sequence[int]) -> list[Cut]:
    """The nodes that all paths share, each a cut, and the targets.

    Behind a node of the list the live nodes are those that a later node or an output still needs; where there is one
    only, all paths go through it, whatever the order.
    """
    inside, last = set(active), dict.fromkeys(active, -1)
    for node_id in active:
        for arg in graph.nodes[node_id].args:
            if arg in inside:
                last[arg] = node_id
    for target in targets:
        last[target] = len(graph.nodes)
    end = tuple(sorted(set(targets)))
    live = {node_id for node_id in active if node_id in sources}
    found: list[Cut] = []
    for node_id in active:
        live = {v for v in live if last[v] > node_id} | {node_id} if node_id not in live else live
        now = tuple(sorted(v for v in live if last[v] > node_id))
        if len(now) == 1 and isinstance(graph.nodes[now[0]].type, TupleType):
            continue
        if len(now) == 1 and node_id not in sources and now != end and max(sources) <= node_id:
            found.append(now)
    return [*dict.fromkeys(found), end]


def minimum_cut(graph: Graph, active: Sequence[int], before: Cut, after: Cut, at: Mapping[str, int]) -> Cut:
    """The narrowest set of nodes through which all paths from `before` to `after` go, ends included."""
    inside = _between(graph, active, before, after)
    room: dict[tuple[int, int], dict[tuple[int, int], int]] = {}

    def edge(tail: tuple[int, int], head: tuple[int, int], capacity: int) -> None:
        room.setdefault(tail, {})[head] = capacity
        room.setdefault(head, {}).setdefault(tail, 0)

    start, end = (-1, 0), (-1, 1)
    wide = 1 + sum(width(graph, (v,), at) for v in inside if not isinstance(graph.nodes[v].type, TupleType))
    for v in inside:
        # A loop between its operands and its results is not cut.
        edge((v, 0), (v, 1), wide if isinstance(graph.nodes[v].type, TupleType) else width(graph, (v,), at))
        for arg in graph.nodes[v].args:
            if arg in inside and v not in before:
                edge((arg, 1), (v, 0), wide)
    for v in before:
        edge(start, (v, 0), wide)
    for v in after:
        edge((v, 1), end, wide)
    near = _saturated(room, start, end)
    return tuple(v for v in sorted(inside) if (v, 0) in near and (v, 1) not in near)


def _between(graph: Graph, active: Sequence[int], before: Cut, after: Cut) -> set[int]:
    """The nodes on paths, ends included."""
    below = set(before)
    for v in active:
        if v not in below and any(a in below for a in graph.nodes[v].args):
            below.add(v)
    inside: set[int] = set()
    stack = [v for v in after if v in below]
    while stack:
        v = stack.pop()
        if v not in inside:
            inside.add(v)
            stack.extend(a for a in graph.nodes[v].args if a in below and v not in before)
    return inside


def _saturated(
    room: dict[tuple[int, int], dict[tuple[int, int], int]], start: tuple[int, int], end: tuple[int, int]
) -> set[tuple[int, int]]:
    """Send as much as possible from start to end; what can still be reached then."""
    while True:
        came: dict[tuple[int, int], tuple[int, int]] = {start: start}
        queue = deque([start])
        while queue and end not in came:
            here = queue.popleft()
            for there, left in room[here].items():
                if left > 0 and there not in came:
                    came[there] = here
                    queue.append(there)
        if end not in came:
            return set(came)
        path, here = [], end
        while here != start:
            path.append((came[here], here))
            here = came[here]
        amount = min(room[tail][head] for tail, head in path)
        for tail, head in path:
            room[tail][head] -= amount
            room[head][tail] += amount


def check_dependence(graph: Graph, wrt: Sequence[str], of: Sequence[str]) -> None:
    """Raise `DifferentiationError` where an output does not depend on an input."""
    for output in of:
        for name in wrt:
            target = graph.outputs[output]
            if target not in active_nodes(graph, [graph.inputs[name]], [target]):
                raise independent(output, [name], graph.nodes[target].source)
