"""Gradients in less memory: forward values that are computed again when the reverse sweep needs them.

The pass writes a schedule of `graphad.plan` down as a graph: nodes in the order of its runs, and a second run of a
node as a copy. From the turn on every stretch between two products is a *region* of its own: neither are nodes of
different regions merged, nor does a loop of one region begin before the region before it has ended.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphad.analysis.cost import typical_sizes
from graphad.ir.graph import Graph, Node
from graphad.plan.memory import MemoryPlan
from graphad.plan.tasks import GraphTasks, by_level, graph_tasks
from passes.base import Pass
from passes.executable import executable
from passes.inline import inline


def scheduled(tasks: GraphTasks, steps: tuple[int, ...]) -> Graph:
    """The graph that runs its tasks in the order of a schedule."""
    return Writer(tasks).run(steps)


class Writer:
    """The new graph under construction: for each task its last run, and the views made of it."""

    def __init__(self, tasks: GraphTasks) -> None:
        self.tasks = tasks
        self.old = tasks.graph
        self.new = Graph(self.old.name)
        self.new.hints, self.new.requirements = dict(self.old.hints), list(self.old.requirements)
        self.runs: dict[int, int] = {}
        self.views: dict[tuple[int, tuple[int, ...]], int] = {}
        self.region = 0

    def run(self, steps: tuple[int, ...]) -> Graph:
        """Write all steps, then the outputs."""
        for name, node_id in self.old.inputs.items():
            self.new.inputs[name] = self._view(node_id)
        called, first = False, self._first_call(steps)
        results: dict[int, int] = {}
        for number, step in enumerate(steps):
            node_id = self.tasks.nodes[step]
            fused = self.tasks.problem.tasks[step].fused
            if fused and called and number > first:
                self.region += 1
            called = not fused
            node = self.old.nodes[node_id]
            self.runs[step] = self._append(node, tuple(self._value(a) for a in node.args))
            results.setdefault(node_id, self.runs[step])
        for name, node_id in self.old.outputs.items():
            self.new.outputs[name] = results[node_id] if node_id in results else self._view(node_id)
        return self.new

    def _first_call(self, steps: tuple[int, ...]) -> int:
        """The last call before the first backward task: what is fused behind it shares a loop with that task."""
        tasks, turn = self.tasks.problem.tasks, self.tasks.problem.turn
        begun = next((number for number, step in enumerate(steps) if step >= turn), len(steps))
        calls = [number for number in range(begun) if not tasks[steps[number]].fused]
        return calls[-1] if calls else -1

    def _value(self, node_id: int) -> int:
        task = self.tasks.task_of.get(node_id)
        return self._view(node_id) if task is None else self.runs[task]

    def _view(self, node_id: int) -> int:
        """A node that takes no memory, of the last runs of what it shows."""
        node = self.old.nodes[node_id]
        args = tuple(self._value(a) for a in node.args)
        key = (node_id, args)
        if key not in self.views:
            self.views[key] = self._append(node, args)
        return self.views[key]

    def _append(self, node: Node, args: tuple[int, ...]) -> int:
        region = self.region if node.args else 0  # numbers belong to no region
        return self.new._append(node._replace(args=args, region=region))


@dataclass(frozen=True)
class Checkpoint(Pass):
    """Write a schedule down.

    Arguments:
        plan: a schedule of the tasks that `graph_tasks` makes of the graph; None: as the nodes stand.
        digest: of the graph that was planned; other graphs are left alone.
        levels: whether the nodes were planned in the order of their levels.
        sizes: for the body of a loop the named sizes of the graph around it.
    """

    plan: MemoryPlan | None = None
    digest: str = ""
    levels: bool = False
    sizes: tuple[tuple[str, int], ...] = ()

    def run(self, graph: Graph) -> Graph:
        """See `scheduled`."""
        if self.plan is None or graph.digest != self.digest:
            return graph
        whole = executable(inline(graph))
        at = typical_sizes(graph, dict(self.sizes))
        return scheduled(graph_tasks(by_level(whole, at) if self.levels else whole, at), self.plan.steps)
