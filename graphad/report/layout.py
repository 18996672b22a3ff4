"""Layered layout of directed graphs: layers, few crossings, coordinates.

Nodes of a layer stand side by side; edges lead downwards from layer to layer. The steps are those of Sugiyama: cycles
are broken, nodes get layers, long edges get bends (one chain of them for all long edges of a node), the layers are
ordered by barycentres, and coordinates come from least squares with distances kept: isotonic regression by layer.

References: K. Sugiyama, S. Tagawa, M. Toda, Methods for visual understanding of hierarchical system structures, IEEE
Trans. SMC 11 (1981); W. Barth, M. Jünger, P. Mutzel, Simple and efficient bilayer cross counting, GD 2002.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

SWEEPS = 12  # through all layers, for order and again for coordinates
BENDS = 12_000  # of long edges; the longest edges beyond that get none
LARGE = 2500  # nodes and bends; half of the sweeps beyond it
INFINITE = float("inf")
NARROW = 8.0  # the width of a bend
STRAIGHT = 8.0  # how much more an edge between two bends wants to be vertical
CENTRE = 0.03  # the pull towards the middle, which keeps long graphs from drifting
ROUNDS = 3  # of straightening


class Point(NamedTuple):
    """A place: x to the right, y down."""

    x: float
    y: float


@dataclass(frozen=True)
class Layout:
    """Where everything goes.

    Arguments:
        width, height: of the whole.
        centres: of the nodes.
        layers: the layer of each node, 0 at the top.
        routes: for each edge its points, from the lower border of its source to the upper border of its target.
        curved: the points of routes are those of Bézier curves, rather than corners.
    """

    width: float
    height: float
    centres: tuple[Point, ...]
    layers: tuple[int, ...]
    routes: tuple[tuple[Point, ...], ...]
    curved: bool = False


def layered(
    sizes: Sequence[tuple[float, float]],
    edges: Sequence[tuple[int, int]],
    gaps: tuple[float, float] = (18.0, 34.0),
) -> Layout:
    """A layered layout of a directed graph.

    Arguments:
        sizes: width and height of each node.
        edges: pairs of node numbers. Cycles and repeated edges are allowed; one from a node to itself gets no points.
        gaps: between nodes of a layer, and between layers.

    >>> layered([(10.0, 10.0)] * 3, [(0, 1), (0, 2), (1, 2)]).layers
    (0, 1, 2)
    """
    net = _Net(sizes, edges)
    net.order()
    x = _coordinates(net, gaps[0])
    tops, total = [], 0.0
    for layer in net.rows:
        tops.append(total)
        total += max((sizes[v][1] for v in layer if v < net.count), default=0.0) + gaps[1]
    height = max(total - gaps[1], 0.0)
    bottoms = [top - gaps[1] for top in tops[1:]] + [height]
    middle = [(tops[layer] + bottoms[layer]) / 2 for layer in net.layer]
    left = min((x[v] - net.width[v] / 2 for v in range(len(x))), default=0.0)
    right = max((x[v] + net.width[v] / 2 for v in range(len(x))), default=0.0)
    places = [Point(x[v] - left, middle[v]) for v in range(len(x))]
    routes = _routes(net, places, sizes, edges, tops, bottoms)
    return Layout(right - left, height, tuple(places[: net.count]), tuple(net.layer[: net.count]), routes)


class _Net:
    """Nodes and bends in layers, with edges between neighbouring layers only (but for edges that have no bends).

    Attributes:
        count: how many are nodes; the rest are bends.
        layer, width: of nodes and bends.
        rows: nodes and bends of each layer, in order; place: the position of each in its row.
        above, below: neighbours in the layers next to it.
        paths: for each edge the bends that it goes through, from its upper end.
    """

    def __init__(self, sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]]) -> None:
        self.count = len(sizes)
        self.width = [width for width, _ in sizes]
        downward = [(a, b) for a, b in _acyclic(self.count, edges)]
        self.layer = _layers(self.count, downward)
        self.above: list[list[int]] = [[] for _ in sizes]
        self.below: list[list[int]] = [[] for _ in sizes]
        self.paths: list[tuple[int, ...]] = [()] * len(edges)
        self._bend(downward)
        self.rows: list[list[int]] = [[] for _ in range(max(self.layer, default=-1) + 1)]
        for v in self._depth_first():
            self.rows[self.layer[v]].append(v)
        self.place = [0] * len(self.layer)
        self._number()

    def _bend(self, downward: Sequence[tuple[int, int]]) -> None:
        """Give long edges bends; all long edges of one node share a chain as far as they go."""
        span = [self.layer[b] - self.layer[a] for a, b in downward]
        left, chains = BENDS, dict[int, list[int]]()
        for k in sorted(range(len(downward)), key=lambda k: (span[k], k)):
            a, b = downward[k]
            chain = chains.setdefault(a, [])
            missing = span[k] - 1 - len(chain)
            if a == b or missing > left:
                continue
            for _ in range(missing):
                last = chain[-1] if chain else a
                chain.append(self._new_bend(self.layer[last] + 1))
                self._join(last, chain[-1])
            left -= max(missing, 0)
            self.paths[k] = tuple(chain[: span[k] - 1])
            self._join(self.paths[k][-1] if self.paths[k] else a, b)

    def _new_bend(self, layer: int) -> int:
        self.layer.append(layer)
        self.width.append(NARROW)
        self.above.append([])
        self.below.append([])
        return len(self.layer) - 1

    def _join(self, a: int, b: int) -> None:
        if b not in self.below[a][-8:]:  # repeated edges follow each other
            self.below[a].append(b)
            self.above[b].append(a)

    def _depth_first(self) -> list[int]:
        """Nodes and bends with what hangs together side by side: the first order."""
        found: dict[int, None] = {}
        for start in sorted(range(len(self.layer)), key=lambda v: (self.layer[v], v)):
            stack = [start]
            while stack:
                v = stack.pop()
                if v not in found:
                    found[v] = None
                    stack.extend(reversed(self.below[v]))
        return list(found)

    def order(self) -> None:
        """Order the layers so that few edges cross."""
        best, fewest = [list(row) for row in self.rows], self.crossings()
        sweeps = SWEEPS if len(self.layer) <= LARGE else SWEEPS // 2
        for sweep in range(2 * sweeps):
            if not fewest:
                break
            down = sweep % 2 == 0
            for row in self.rows if down else reversed(self.rows):
                self._sort(row, self.above if down else self.below)
            for row in self.rows:
                self._swap(row)
            crossings = self.crossings()
            if crossings < fewest:
                best, fewest = [list(row) for row in self.rows], crossings
        self.rows = best
        self._number()

    def _sort(self, row: list[int], neighbours: list[list[int]]) -> None:
        """Sort a layer by the mean position of each node's neighbours; who has none stays where it is."""
        place = self.place
        key = {v: sum(place[w] for w in neighbours[v]) / len(neighbours[v]) for v in row if neighbours[v]}
        moving = iter(sorted((v for v in row if v in key), key=lambda v: (key[v], place[v])))
        row[:] = [next(moving) if v in key else v for v in row]
        for position, v in enumerate(row):
            place[v] = position

    def _swap(self, row: list[int]) -> None:
        """Exchange neighbours in a layer where their edges then cross less often."""
        place = self.place
        ends = {v: [sorted(place[w] for w in side[v]) for side in (self.above, self.below)] for v in row}
        for position in range(len(row) - 1):
            a, b = row[position], row[position + 1]
            now = sum(_inversions(left, right) for left, right in zip(ends[a], ends[b], strict=True))
            if now and now > sum(_inversions(left, right) for left, right in zip(ends[b], ends[a], strict=True)):
                row[position], row[position + 1] = b, a
                place[a], place[b] = position + 1, position

    def _number(self) -> None:
        for row in self.rows:
            for position, v in enumerate(row):
                self.place[v] = position

    def crossings(self) -> int:
        """The number of crossing pairs of edges between neighbouring layers."""
        place, total = self.place, 0
        for row in self.rows:
            seen: list[int] = []
            for v in row:
                ends = sorted(place[w] for w in self.below[v])
                total += sum(len(seen) - bisect_right(seen, end) for end in ends)
                for end in ends:
                    insort(seen, end)
        return total


def _inversions(left: Sequence[int], right: Sequence[int]) -> int:
    """The pairs of ends, both lists sorted, where the one of the left node lies to the right."""
    return sum(bisect_left(right, end) for end in left)


def _acyclic(count: int, edges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The edges, with those turned round that close a cycle in a depth-first search."""
    if all(a < b for a, b in edges):
        return list(edges)
    after: list[list[int]] = [[] for _ in range(count)]
    for a, b in edges:
        after[a].append(b)
    finished: dict[int, int] = {}  # in the order of completion: topological, reversed
    entered: set[int] = set()
    for start in range(count):
        stack = [(start, iter(after[start]))] if start not in entered else []
        entered.add(start)
        while stack:
            v, rest = stack[-1]
            following = next((w for w in rest if w not in entered), None)
            if following is None:
                finished[v] = len(finished)
                stack.pop()
            else:
                entered.add(following)
                stack.append((following, iter(after[following])))
    return [(a, b) if finished[a] >= finished[b] else (b, a) for a, b in edges]


def _layers(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """Longest paths from above; then nodes move down where that makes edges shorter."""
    above: list[list[int]] = [[] for _ in range(count)]
    below: list[list[int]] = [[] for _ in range(count)]
    for a, b in dict.fromkeys(edges):
        if a != b:
            below[a].append(b)
            above[b].append(a)
    waiting, ready, layer = [len(a) for a in above], [v for v in range(count) if not above[v]], [0] * count
    order: list[int] = []
    for v in ready:
        order.append(v)
        for w in below[v]:
            layer[w] = max(layer[w], layer[v] + 1)
            waiting[w] -= 1
            if not waiting[w]:
                ready.append(w)
    for v in reversed(order):
        if below[v] and len(below[v]) >= len(above[v]):
            layer[v] = min(layer[w] for w in below[v]) - 1
    return layer


def _coordinates(net: _Net, gap: float) -> list[float]:
    """x of nodes and bends: each as near to the mean of its neighbours as the order and the distances allow."""
    x = [0.0] * len(net.layer)
    for row in net.rows:
        at = 0.0
        for v in row:
            x[v] = at + net.width[v] / 2
            at += net.width[v] + gap
        for v in row:
            x[v] -= (at - gap) / 2
    for sweep in range(SWEEPS if len(net.layer) > LARGE else 2 * SWEEPS):
        near = (net.above, net.below, net.above)[sweep % 3 if sweep < SWEEPS else 1 - sweep % 2]
        both = sweep >= SWEEPS // 2
        for row in net.rows if near is net.above else reversed(net.rows):
            _settle(net, row, x, [net.above, net.below] if both else [near], gap)
    chains = _chains(net)
    for _ in range(ROUNDS):
        for chain in chains:
            _straighten(net, chain, x, gap)
    return x


def _chains(net: _Net) -> list[list[int]]:
    """Sequences of neighbours that should stand below each other: bends of one edge, and nodes in single file."""
    after: dict[int, int] = {}
    for v, below in enumerate(net.below):
        bends = [w for w in below if v >= net.count and w >= net.count]
        if bends or (len(below) == 1 and len(net.above[below[0]]) == 1):
            after[v] = (bends or below)[0]
    inner, chains = set(after.values()), []
    for v in after:
        if v not in inner:
            chain = [v]
            while chain[-1] in after:
                chain.append(after[chain[-1]])
            chains.append(chain)
    return sorted(chains, key=len, reverse=True)


def _straighten(net: _Net, chain: Sequence[int], x: list[float], gap: float) -> None:
    """Give runs of a chain one x, as long as the neighbours leave room for it."""
    run: list[int] = []
    low, high = -INFINITE, INFINITE
    for v in chain:
        left, right = _room(net, v, x, gap)
        if max(low, left) > min(high, right):
            _align(run, x, low, high)
            run, low, high = [], -INFINITE, INFINITE
        run.append(v)
        low, high = max(low, left), min(high, right)
    _align(run, x, low, high)


def _align(run: Sequence[int], x: list[float], low: float, high: float) -> None:
    common = min(max(sum(x[v] for v in run) / len(run), low), high)
    for v in run:
        x[v] = common


def _room(net: _Net, v: int, x: list[float], gap: float) -> tuple[float, float]:
    """The least and the largest x that the neighbours in its layer leave to a node."""
    row, position = net.rows[net.layer[v]], net.place[v]
    low, high = -INFINITE, INFINITE
    if position:
        before = row[position - 1]
        low = x[before] + (net.width[before] + net.width[v]) / 2 + gap
    if position + 1 < len(row):
        behind = row[position + 1]
        high = x[behind] - (net.width[behind] + net.width[v]) / 2 - gap
    return min(low, x[v]), max(high, x[v])


def _settle(net: _Net, row: Sequence[int], x: list[float], sides: Sequence[list[list[int]]], gap: float) -> None:
    """Least squares for one layer: the wishes of its nodes, with distances kept.

    Subtracting the distances makes it isotonic regression, which pooling adjacent violators solves exactly.
    """
    pools: list[tuple[float, float, int]] = []  # mean, weight, how many
    shift, shifts = 0.0, []
    for position, v in enumerate(row):
        if position:
            before = row[position - 1]
            shift += (net.width[before] + net.width[v]) / 2 + gap
        shifts.append(shift)
        wish, weight = _wish(net, v, x, sides)
        pool = (wish - shift, weight, 1)
        while pools and pools[-1][0] >= pool[0]:
            mean, heavy, many = pools.pop()
            pool = ((mean * heavy + pool[0] * pool[1]) / (heavy + pool[1]), heavy + pool[1], many + pool[2])
        pools.append(pool)
    flat = (mean for mean, _, many in pools for _ in range(many))
    for v, mean, shift in zip(row, flat, shifts, strict=True):
        x[v] = mean + shift


def _wish(net: _Net, v: int, x: list[float], sides: Sequence[list[list[int]]]) -> tuple[float, float]:
    """Where a node would stand best, and how much it matters."""
    total, weight = 0.0, CENTRE
    for side in sides:
        for w in side[v]:
            pull = STRAIGHT if v >= net.count and w >= net.count else 2.0 if v >= net.count or w >= net.count else 1.0
            total, weight = total + pull * x[w], weight + pull
    return total / weight, weight


def _routes(
    net: _Net,
    places: Sequence[Point],
    sizes: Sequence[tuple[float, float]],
    edges: Sequence[tuple[int, int]],
    tops: Sequence[float],
    bottoms: Sequence[float],
) -> tuple[tuple[Point, ...], ...]:
    """The points of the edges; those that enter a node spread over the middle of its border in the order of origin."""
    entering: dict[int, list[int]] = {}
    for k, (a, b) in enumerate(edges):
        if a != b:
            entering.setdefault(b, []).append(k)
    offset = [0.0] * len(edges)
    for b, arriving in entering.items():
        origin = {k: places[net.paths[k][-1] if net.paths[k] else edges[k][0]].x for k in arriving}
        for rank, k in enumerate(sorted(arriving, key=lambda k: (origin[k], k)), start=1):
            offset[k] = sizes[b][0] * 0.7 * (rank / (len(arriving) + 1) - 0.5)
    routes: list[tuple[Point, ...]] = []
    for k, (a, b) in enumerate(edges):
        upward = net.layer[a] > net.layer[b]
        inner = [Point(places[v].x, y) for v in net.paths[k] for y in (tops[net.layer[v]], bottoms[net.layer[v]])]
        side = -1.0 if upward else 1.0
        start = Point(places[a].x, places[a].y + side * sizes[a][1] / 2)
        end = Point(places[b].x + offset[k], places[b].y - side * sizes[b][1] / 2)
        routes.append(() if a == b else (start, *(reversed(inner) if upward else inner), end))
    return tuple(routes)
