"""Plans for the bodies of loops: values of a step that are computed again within the step.

What a step of a reverse sweep takes beside what the loop stores is the peak of one body. Where that is what a budget
lacks, the bodies are planned like graphs of their own, from the innermost to the outermost, all with the same number of
bytes; that number moves until the code fits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from graphad.analysis.cost import graph_flops
from graphad.fitting import Fitting
from graphad.ir.bodies import bodies
from graphad.ir.graph import Graph
from graphad.loops.memory import footprint
from graphad.loops.schedule import schedule
from passes.checkpoint import Checkpoint
from passes.executable import executable
from passes.in_bodies import run_everywhere
from passes.inline import inline

ROUNDS = 7


class Planned(NamedTuple):
    """A graph with plans in its bodies, and the passes that write them down."""

    graph: Graph
    passes: tuple[Checkpoint, ...]
    peak: int


class BodyPlans:
    """The bodies of one optimised graph."""

    def __init__(self, fitting: Fitting, bytes_per_element: int | None = None) -> None:
        self.whole, self.bytes_per_element = fitting, bytes_per_element
        self.fittings: dict[str, Fitting] = {}

    def within(self, limit: int) -> Planned | None:
        """The cheapest plans found with which the code keeps a limit, else those with the smallest peak; None where
        planning bodies does not help.
        """
        present = self.whole.everything.peak
        room = max((self._fitting(body).planner.everything.peak for _, body in _inside(self.whole.given)), default=0)
        low, tried = 0, dict[int, Planned]()
        room -= present - limit
        for _ in range(ROUNDS):
            if room <= low or room in tried:
                break
            found = tried[room] = self._with(room)
            if found.peak <= limit:
                low = room
                higher = [one for one in tried if one > room]
                room = (room + min(higher)) // 2 if higher else room + (limit - found.peak) // 2
            else:
                room = (room + low) // 2 if low else room - max(found.peak - limit, room // 20)
        helpful = [one for one in tried.values() if one.passes and one.peak < present]
        fits = [one for one in helpful if one.peak <= limit]
        if fits:
            return min(fits, key=lambda one: (graph_flops(one.graph, self.whole.sizes), one.peak))
        return min(helpful, key=lambda one: one.peak, default=None)

    def _with(self, room: int) -> Planned:
        """The graph with every body planned for so many bytes where that is possible, else for as few as possible."""
        graph, passes = self.whole.given, list[Checkpoint]()
        for depth in sorted({depth for depth, _ in _inside(graph)}, reverse=True):
            for body in dict.fromkeys(body for at, body in _inside(graph) if at == depth):
                fitting = self._fitting(body)
                planner = fitting.planner
                plan = planner.plan(room) or planner.least
                if plan.peak < planner.everything.peak:
                    passes.append(fitting.written(plan))
                    graph = run_everywhere(passes[-1], graph, {}).freeze()
        taken = footprint(schedule(executable(inline(graph))), self.whole.sizes).peak
        return Planned(graph, tuple(passes), taken)

    def _fitting(self, body: Graph) -> Fitting:
        if body.digest not in self.fittings:
            self.fittings[body.digest] = Fitting(body, self.bytes_per_element, self.whole.sizes)
        return self.fittings[body.digest]


def _inside(graph: Graph, depth: int = 0) -> Iterator[tuple[int, Graph]]:
    """The bodies in a graph with their depths."""
    for node in graph.nodes:
        for _, body in bodies(node.params):
            yield depth, body
            yield from _inside(body, depth + 1)
