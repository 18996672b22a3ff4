"""The layered layout: nothing overlaps, edges lead down, long edges avoid nodes, few crossings, the same each time."""

from __future__ import annotations

from itertools import combinations

import networkx as nx
import numpy as np
import pytest

from graphad.report.layout import Layout, layered

SIZE = (60.0, 30.0)


def random_edges(count: int, most: int, seed: int) -> list[tuple[int, int]]:
    generator = np.random.default_rng(seed)
    edges = [(int(generator.integers(max(0, v - most), v)), v) for v in range(1, count) for _ in range(2)]
    return list(dict.fromkeys(edges))


def boxes_overlap(layout: Layout, a: int, b: int) -> bool:
    p, q = layout.centres[a], layout.centres[b]
    return abs(p.x - q.x) < SIZE[0] and abs(p.y - q.y) < SIZE[1]


@pytest.mark.parametrize(("count", "seed"), [(2, 0), (12, 1), (40, 2), (120, 3)])
def test_nothing_overlaps_and_edges_lead_down(count: int, seed: int) -> None:
    edges = random_edges(count, 12, seed)
    layout = layered([SIZE] * count, edges)
    assert not [pair for pair in combinations(range(count), 2) if boxes_overlap(layout, *pair)]
    for (a, b), route in zip(edges, layout.routes, strict=True):
        assert layout.layers[a] < layout.layers[b]
        assert [p.y for p in route] == sorted(p.y for p in route)
        assert (route[0].x, route[0].y) == (layout.centres[a].x, layout.centres[a].y + SIZE[1] / 2)
        assert abs(route[-1].x - layout.centres[b].x) < SIZE[0] / 2
        assert route[-1].y == layout.centres[b].y - SIZE[1] / 2
    assert all(0 <= p.x <= layout.width and 0 <= p.y <= layout.height for p in layout.centres)
    assert layout == layered([SIZE] * count, edges)


def test_long_edges_go_past_the_nodes_between() -> None:
    edges = random_edges(60, 30, 4)
    layout = layered([SIZE] * 60, edges)
    for route in layout.routes:
        for bend in route[1:-1]:
            inside = [c for c in layout.centres if abs(c.x - bend.x) < SIZE[0] / 2 and abs(c.y - bend.y) <= SIZE[1] / 2]
            assert not inside


def test_layers_are_no_more_than_the_longest_path() -> None:
    edges = random_edges(80, 10, 5)
    layout = layered([SIZE] * 80, edges)
    assert max(layout.layers) == nx.dag_longest_path_length(nx.DiGraph(edges))


def crossings(layout: Layout, edges: list[tuple[int, int]]) -> int:
    """Crossing pairs of edges between the same two layers, counted by their ends."""
    found = 0
    for (a, b), (c, d) in combinations(edges, 2):
        if (layout.layers[a], layout.layers[b]) == (layout.layers[c], layout.layers[d]):
            left = layout.centres[a].x - layout.centres[c].x
            right = layout.centres[b].x - layout.centres[d].x
            found += left * right < 0
    return found


def test_trees_and_ladders_are_drawn_without_crossings() -> None:
    tree = [((v - 1) // 2, v) for v in range(1, 31)]
    generator = np.random.default_rng(0)
    shuffled = [tree[k] for k in generator.permutation(len(tree))]
    for edges in (tree, shuffled):
        assert crossings(layered([SIZE] * 31, edges), edges) == 0
    # Two chains with rungs between them, numbered so that the first order crosses.
    ladder = [e for k in range(10) for e in ((2 * k, 2 * k + 3), (2 * k + 1, 2 * k + 2))]
    assert crossings(layered([SIZE] * 22, ladder), ladder) == 0


def test_a_chain_is_straight() -> None:
    layout = layered([SIZE] * 9, [(k, k + 1) for k in range(8)])
    assert len({round(p.x, 6) for p in layout.centres}) == 1


def test_cycles_loops_and_nothing() -> None:
    layout = layered([SIZE] * 3, [(0, 1), (1, 2), (2, 0), (1, 1)])
    assert sorted(layout.layers) == [0, 1, 2]
    assert layout.routes[3] == ()
    back = layout.routes[2]
    assert back[0].y > back[-1].y
    assert layered([], []).width == 0.0
    assert layered([SIZE], []).centres[0] == (30.0, 15.0)


def test_two_thousand_nodes_take_a_second_or_two() -> None:
    """Bends are limited, so that graphs that are deep and have edges across all of them stay cheap."""
    deep = [(v - 1, v) for v in range(1, 2000)] + [(v, 1999 - v) for v in range(990)]
    layout = layered([SIZE] * 2000, deep)
    assert max(layout.layers) == 1999
    assert all(len(route) >= 2 for route in layout.routes)
