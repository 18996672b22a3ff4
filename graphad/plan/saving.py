"""Which forward values to save and which to compute again: minimum cuts, and a knapsack over what is dear.

With a set of tasks that must not run again, the least bytes to save are a minimum cut between these and what the
backward tasks read. The dear tasks that run again are chosen by a knapsack: the most cost kept for the bytes. A task is
dear if it is a call, or if it costs as much for its bytes as the cheapest call does. In the parts of
a chain, where few tasks stand, an integer program adds choices (`graphad.plan.exact_saving`).

Reference: H. He, min-cut recomputation (TorchInductor's partitioner) and its memory budget, 2023 and 2024.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from graphad.plan.exact_saving import exact_choices
from graphad.plan.memory import Problem

LEVELS = 12
RESOLUTION = 400


class Saving(NamedTuple):
    """Values to save, their bytes, and the cost of running the others again that backward tasks need."""

    saved: frozenset[int]
    bytes: int
    extra: int


def savings(
    problem: Problem, region: Collection[int], wanted: Collection[int], free: Collection[int] = (), *,
    exact: bool = False,
) -> list[Saving]:  # fmt: skip
    """The good choices for some forward tasks, from saving all that is wanted to running all of them again.

    Arguments:
        region: the forward tasks that may be saved.
        wanted: those that backward tasks read.
        free: values that are there in any case.
        exact: whether an integer program adds choices, where the tasks are few.
    """
    inside = [t for t in sorted(region) if t not in free]
    targets = [t for t in sorted(wanted) if t not in free]
    marked = {t for t in inside if problem.tasks[t].mark == "recompute"}
    forced = {t for t in inside if problem.tasks[t].mark == "save"}
    dear = {t for t in inside if t not in marked and _dear(problem, t)}
    cheap = minimum_cut(problem, inside, targets, dear | forced)
    found = [_saving(problem, frozenset(set(targets) - marked) | forced, inside, targets), cheap]
    candidates = [t for t in sorted(dear - forced) if t in cheap.saved or t in _needed(problem, inside, cheap)]
    for kept in knapsack({t: (problem.tasks[t].bytes, problem.tasks[t].cost) for t in candidates}):
        found.append(minimum_cut(problem, inside, targets, kept | forced))
    if exact:
        choices = exact_choices(problem, inside, targets, found[0].bytes, forced)
        found += [_saving(problem, saved, inside, targets) for saved in choices]
    return _front(found)


def saved_within(problem: Problem, budget: float) -> Saving:
    """The cheapest choice whose saved bytes are at most a fraction of what saving everything wanted takes."""
    forward = range(problem.turn)
    wanted = {a for task in problem.tasks[problem.turn :] for a in task.args if a < problem.turn}
    options = savings(problem, forward, wanted)
    whole = sum(problem.tasks[t].bytes for t in wanted)
    return min((o for o in options if o.bytes <= budget * whole), key=lambda o: (o.extra, o.bytes))


def minimum_cut(
    problem: Problem, inside: list[int], wanted: Iterable[int], banned: Collection[int]
) -> Saving:
    """The fewest bytes to save so that all wanted values can be had without running a banned task again."""
    import networkx as nx

    tasks, members = problem.tasks, set(inside)
    targets = list(wanted)
    flow: nx.DiGraph[object] = nx.DiGraph()
    flow.add_nodes_from(("source", "sink"))
    for t in inside:
        flow.add_edge((t, "in"), (t, "out"), **({} if tasks[t].mark == "recompute" else {"capacity": tasks[t].bytes}))
        if t in banned:
            flow.add_edge("source", (t, "in"))
        for arg in tasks[t].args:
            if arg in members:
                flow.add_edge((arg, "out"), (t, "in"))
    for t in targets:
        flow.add_edge((t, "out"), "sink")
    _, (near, _) = nx.minimum_cut(flow, "source", "sink")
    saved = frozenset(t for t in inside if (t, "in") in near and (t, "out") not in near)
    return _saving(problem, saved, inside, targets)


def _saving(problem: Problem, saved: frozenset[int], inside: list[int], wanted: Iterable[int]) -> Saving:
    rerun = closure(problem, wanted, saved, set(inside))
    return Saving(saved, sum(problem.tasks[t].bytes for t in saved), sum(problem.tasks[t].cost for t in rerun))


def closure(problem: Problem, wanted: Iterable[int], there: Collection[int], inside: Collection[int]) -> set[int]:
    """The tasks that must run so that the wanted values are there, from those that are."""
    found: set[int] = set()
    stack = [t for t in wanted if t not in there]
    while stack:
        task = stack.pop()
        if task not in found and task in inside:
            found.add(task)
            stack.extend(a for a in problem.tasks[task].args if a not in there)
    return found


def _dear(problem: Problem, t: int) -> bool:
    task = problem.tasks[t]
    return not task.fused or task.cost >= problem.price * max(task.bytes, 1)


def _needed(problem: Problem, inside: list[int], saving: Saving) -> set[int]:
    """The saved values and what they are made from."""
    return closure(problem, saving.saved, (), set(inside))


def knapsack(items: Mapping[int, tuple[int, int]]) -> list[set[int]]:
    """Sets of items to keep: for a dozen capacities those with the most cost in all, the largest first.

    Arguments:
        items: the bytes and the cost of each.

    >>> knapsack({0: (1, 5), 1: (2, 1)})[:2]
    [{0, 1}, {0}]
    """
    total = sum(size for size, _ in items.values())
    unit = max(total / RESOLUTION, 1.0)
    best: list[tuple[float, frozenset[int]]] = [(0.0, frozenset())] * (RESOLUTION + 1)
    for item, (count, value) in items.items():
        size = min(round(count / unit), RESOLUTION)
        for room in range(RESOLUTION, size - 1, -1):
            offered = best[room - size][0] + value
            if offered > best[room][0]:
                best[room] = (offered, best[room - size][1] | {item})
    top = min(RESOLUTION, round(total / unit))
    rooms = {round(top * k / LEVELS) for k in range(LEVELS)} | {round(top * k / 10) for k in range(10)} | {top}
    return [set(kept) for kept in dict.fromkeys(best[room][1] for room in sorted(rooms, reverse=True))]


def _front(found: list[Saving]) -> list[Saving]:
    """The choices that no other beats in both bytes and cost, the most bytes first."""
    kept: list[Saving] = []
    for option in sorted(set(found), key=lambda s: (s.bytes, s.extra, sorted(s.saved))):
        if not kept or option.extra < kept[-1].extra:
            kept.append(option)
    return kept[::-1]
