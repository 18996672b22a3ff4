"""Large graphs in parts that are drawn as one box: segments of the plan, cut further where they are long.

A long segment is cut in the topological order, where few values are alive.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from graphad.ir.graph import Graph
from graphad.plan.modes import Decision, Plan
from graphad.report.drawing import FAMILIES, Drawing, Mark, family, results_of, segment_of, shortened

MOST = 48  # nodes of a part, more where there would be many parts
PARTS = 20
SHOWN = 4  # operations that a part's label names


@dataclass(frozen=True)
class Group:
    """Nodes that are drawn as one box.

    Arguments:
        key: its name in the page.
        label: what its box says.
        nodes: ids, in order.
        decision: about the segment to which they belong.
    """

    key: str
    label: str
    nodes: tuple[int, ...]
    decision: Decision | None = None


def grouped(graph: Graph, plan: Plan | None = None) -> tuple[Group, ...]:
    """The parts of a graph. Inputs and constants belong to none; they are drawn beside their users.

    Arguments:
        plan: a plan of this graph; nodes of one segment stay together as far as the size of parts allows.
    """
    most = max(MOST, len(graph.nodes) // PARTS)
    inner = [i for i, node in enumerate(graph.nodes) if node.op not in ("input", "const")]
    alive, buckets = _alive(graph, inner), dict[Decision | None, list[int]]()
    decided = _attributed(graph, segment_of(plan, graph))
    for node_id in inner:
        buckets.setdefault(decided.get(node_id), []).append(node_id)
    groups: list[Group] = []
    for decision, nodes in buckets.items():
        parts = _cut(nodes, alive, most)
        for number, part in enumerate(parts, start=1):
            name = decision.subject if decision is not None else "nodes"
            label = name if len(parts) == 1 else f"part {number} of {len(parts)}: {name}"
            groups.append(Group(f"g{len(groups)}", label, tuple(part), decision))
    return tuple(groups)


def overview(graph: Graph, groups: tuple[Group, ...]) -> Drawing:
    """The drawing of a graph's parts: one box each, the inputs, and the values that go between them."""
    owner = {node_id: k for k, group in enumerate(groups) for node_id in group.nodes}
    results = results_of(graph)
    marks = [_mark(graph, group, results) for group in groups]
    inputs = [i for i in graph.inputs.values() if any(i in graph.nodes[v].args for v in owner)]
    for node_id in inputs:
        owner[node_id] = len(marks)
        node = graph.nodes[node_id]
        marks.append(Mark(f"n{node_id}", str(node.param("name")), shortened(str(node.type)), "input"))
    pairs = Counter(
        (owner[a], owner[v])
        for group in groups
        for v in group.nodes
        for a in graph.nodes[v].args
        if a in owner and owner[a] != owner[v]
    )
    families = tuple(name for name in FAMILIES if any(m.family == name for m in marks))
    return Drawing(graph.name, tuple(marks), tuple(pairs), families)


def _mark(graph: Graph, group: Group, results: dict[int, tuple[str, ...]]) -> Mark:
    counted = Counter(graph.nodes[v].op for v in group.nodes)
    often = ", ".join(f"{op} {many}" if many > 1 else op for op, many in counted.most_common(SHOWN))
    more = "" if len(counted) <= SHOWN else ", …"
    count = len(group.nodes)
    decision = group.decision
    outputs = tuple(name for v in group.nodes for name in results.get(v, ()))
    title = f"{group.label}: {count} nodes" + (f"\n{decision.choice}: {decision.reason}" if decision else "")
    detail = shortened(f"{count} node{'s' if count > 1 else ''}: {often}{more}", 44)
    colour = family(decision.choice) if decision else ""
    return Mark(group.key, shortened(group.label, 40), detail, "group", colour, title, outputs[:SHOWN])


def _attributed(graph: Graph, decided: Mapping[int, Decision]) -> dict[int, Decision]:
    """The decision about each node; nodes without one belong to the first of their users that has one."""
    found = dict(decided)
    for node_id in reversed(range(len(graph.nodes))):
        if node_id in found:
            for arg in graph.nodes[node_id].args:
                if arg not in decided:
                    found[arg] = found[node_id]
    return found


def _alive(graph: Graph, inner: list[int]) -> dict[int, int]:
    """For each node how many values are needed behind it: the width of a cut there."""
    last = {i: max(users, default=i) for i, users in enumerate(graph.users())}
    last.update(dict.fromkeys(graph.outputs.values(), len(graph.nodes)))
    ends = Counter(last[i] for i in inner)
    found, gone = {}, 0
    for begun, node_id in enumerate(inner, start=1):
        gone += ends[node_id]
        found[node_id] = begun - gone
    return found


def _cut(run: list[int], alive: dict[int, int], most: int) -> list[list[int]]:
    """Pieces of at most `most` nodes, cut where the fewest values are alive; late cuts win ties."""
    pieces = []
    while len(run) > most:
        place = min(range(most // 2, most), key=lambda k: (alive[run[k]], -k))
        pieces.append(run[: place + 1])
        run = run[place + 1 :]
    return [*pieces, run]
