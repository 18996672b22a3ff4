"""Stop the derivative of maxima that only shift: log Σ exp(x − m) + m and exp(x − m) / Σ exp(x − m) with m = max x.

Both expressions have the same value for every m, so the derivative with respect to m is zero; m is there against
overflow. Without this pass the gradient would look for the position of the maximum and add zeros to it.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphad.ir.graph import Graph, Node, rebuild
from passes.base import Pass

VIEWS = frozenset({"reshape", "broadcast_to"})


def stop_shifts(graph: Graph) -> Graph:
    """The graph with `stop_gradient` behind every maximum that only shifts; itself where there is none.

    >>> import numpy as np
    >>> g = Graph("f")
    >>> x = g.input("x", shape="n")
    >>> m = x.max()
    >>> g.output("y", m + np.log(np.exp(x - m).sum()))
    >>> [node.op for node in stop_shifts(g).nodes]
    ['input', 'max', 'stop_gradient', 'sub', 'exp', 'sum', 'log', 'add']
    """
    found = Shifts(graph).found()
    if not found:
        return graph

    def stop(new: Graph, old: int, node: Node, args: tuple[int, ...]) -> int | None:
        if old not in found:
            return None
        return new.add("stop_gradient", (new.add(node.op, args, node.params, node.region),))

    return rebuild(graph, stop)


class Shifts:
    """The maxima of a graph whose derivative cancels."""

    def __init__(self, graph: Graph) -> None:
        self.nodes = graph.nodes
        self.users = graph.users()
        for node_id in graph.outputs.values():
            self.users[node_id].append(-1)  # an output is a use that no pattern covers

    def found(self) -> set[int]:
        """The ids of the maxima."""
        return {i for i, node in enumerate(self.nodes) if node.op == "max" and self._only_shifts(i)}

    def _only_shifts(self, maximum: int) -> bool:
        source, axes = self.nodes[maximum].args[0], self.nodes[maximum].param("axes")
        seen, uses = self._through_views(maximum)
        shifted = [u for u in uses if self._op(u) == "sub" and self._subtracts(u, source, seen)]
        added = set(uses) - set(shifted)
        if not shifted:
            return False
        return all(self._cancels(s, axes, added) for s in set(shifted)) and self._covered(shifted, added)

    def _subtracts(self, use: int, source: int, seen: set[int]) -> bool:
        left, right = self.nodes[use].args
        return left == source and right in seen and self.nodes[use].type.shape == self.nodes[source].type.shape

    def _through_views(self, start: int) -> tuple[set[int], list[int]]:
        """A node with its views, and the uses of any of them that are no views."""
        seen, uses, waiting = {start}, [], [start]
        while waiting:
            for user in self.users[waiting.pop()]:
                if self._is_view(user):
                    seen.add(user)
                    waiting.append(user)
                else:
                    uses.append(user)
        return seen, uses

    def _cancels(self, shifted: int, axes: tuple[int, ...], added: set[int]) -> bool:
        """Whether x − m is used only in exp, whose uses are the two patterns."""
        for exponential in self.users[shifted]:
            if self._op(exponential) != "exp":
                return False
            if not all(self._pattern(u, exponential, axes, added) for u in self.users[exponential]):
                return False
        return bool(self.users[shifted])

    def _pattern(self, use: int, exponential: int, axes: tuple[int, ...], added: set[int]) -> bool:
        if self._op(use) == "sum":
            return self.nodes[use].param("axes") == axes and all(
                self._quotient(u, exponential) or self._logarithm(u, added) for u in self._through_views(use)[1]
            )
        return self._quotient(use, exponential)

    def _quotient(self, use: int, exponential: int) -> bool:
        """Whether the use divides the exponential by a sum of it."""
        if self._op(use) != "div" or self.nodes[use].args[0] != exponential:
            return False
        divisor = self.nodes[use].args[1]
        while self._is_view(divisor):
            divisor = self.nodes[divisor].args[0]
        return self._op(divisor) == "sum" and self.nodes[divisor].args[0] == exponential

    def _logarithm(self, use: int, added: set[int]) -> bool:
        """Whether the use is log, added to m and to nothing else."""
        if self._op(use) != "log":
            return False
        uses = self._through_views(use)[1]
        return bool(uses) and all(u in added and self._op(u) == "add" for u in uses)

    def _covered(self, shifted: list[int], added: set[int]) -> bool:
        """Whether every other use of the maximum adds a logarithm of a sum of the shifted exponentials."""
        logarithms = {u for s in shifted for e in self.users[s] for t in self.users[e] for u in self._logs_of(t)}
        return all(self._op(u) == "add" and any(self._base(a) in logarithms for a in self.nodes[u].args) for u in added)

    def _logs_of(self, total: int) -> list[int]:
        return [u for u in self._through_views(total)[1] if self._op(u) == "log"] if self._op(total) == "sum" else []

    def _base(self, node_id: int) -> int:
        while self._is_view(node_id):
            node_id = self.nodes[node_id].args[0]
        return node_id

    def _is_view(self, node_id: int) -> bool:
        """Whether a node has the elements of its operand, all of them in order, some perhaps repeated."""
        if self._op(node_id) != "slice":
            return self._op(node_id) in VIEWS
        node = self.nodes[node_id]
        return node.type.shape == self.nodes[node.args[0]].type.shape and set(node.param("steps")) <= {1}

    def _op(self, node_id: int) -> str:
        return self.nodes[node_id].op if node_id >= 0 else "output"


@dataclass(frozen=True)
class Shift(Pass):
    """Stop the derivative of maxima that only shift."""

    def run(self, graph: Graph) -> Graph:
        """See `stop_shifts`."""
        return stop_shifts(graph)
