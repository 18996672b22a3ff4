"""What a pass is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from graphad.ir.graph import Graph


class Pass(ABC):
    """A pure function from graph to graph, written as a frozen dataclass whose fields are its options.

    `run` leaves its argument unchanged and answers a graph with the same name, inputs, outputs and values; it may
    answer its argument itself where there is nothing to do. The name of a pass is that of its file.

    >>> from passes.dead import DeadCode
    >>> DeadCode().name, DeadCode()
    ('dead', DeadCode())
    """

    final: ClassVar[bool] = False
    """Whether what the pass makes is not differentiated any more."""
    whole: ClassVar[bool] = False
    """Whether `run` does the bodies of loops and branches too."""

    @property
    def name(self) -> str:
        """The name shown in statistics and errors."""
        return type(self).__module__.rpartition(".")[2]

    @abstractmethod
    def run(self, graph: Graph) -> Graph:
        """The graph after the pass."""


def use_counts(graph: Graph) -> list[int]:
    """For each node how many operands and outputs are that node."""
    counts = [0] * len(graph.nodes)
    for node in graph.nodes:
        for arg in node.args:
            counts[arg] += 1
    for target in graph.outputs.values():
        counts[target] += 1
    return counts
