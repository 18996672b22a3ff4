"""The logistic function of x and of -x come from one value, the tail of x: what a derivative needs is stored once.

The derivative of σ(x) is σ(x) σ(-x): with 1 - σ(x) it would lose its digits where σ(x) is near 1. The tail, the smaller
of both with the sign of x, is one dear value from which either takes two additions. So reverse sweeps, which store the
fewest bytes of dear values, find that they need one array where σ(x) and the product were two. In the end a tail that
no loop stores becomes one or two functions again: in one and the same step both cost no more than it.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphad.ir.graph import Graph, Node, keep, rebuild
from passes.base import Pass

FLOATS = ("float32", "float64")


def make_tails(graph: Graph) -> Graph:
    """The graph with the logistic function as a function of tails; itself where it has none.

    >>> g = Graph("f")
    >>> x = g.input("x")
    >>> y = g.apply("sigmoid", x)
    >>> g.output("slope", y * g.apply("sigmoid", -x))
    >>> print(make_tails(g))
    graph f
      x: float64[] = input
      %1: float64[] = sigmoid_tail x
      %2: float64[] = sigmoid_of_tail %1
      %3: float64[] = neg x
      %4: float64[] = neg %1
      %5: float64[] = sigmoid_of_tail %4
      %6: float64[] = mul %2 %5
      output slope = %6
    """
    if all(node.op != "sigmoid" for node in graph.nodes):
        return graph
    tails: dict[tuple[int, int], int] = {}

    def replace(new: Graph, old: int, node: Node, args: tuple[int, ...]) -> int | None:
        if node.op != "sigmoid" or node.type.dtype not in FLOATS:
            return None
        (x,) = args
        turned = new.nodes[x].op == "neg"
        if turned:
            (x,) = new.nodes[x].args
        place = (x, node.region)
        if place not in tails:
            tails[place] = new.add("sigmoid_tail", (x,), (), node.region)
        tail = new.add("neg", (tails[place],), (), node.region) if turned else tails[place]
        return new.add("sigmoid_of_tail", (tail,), (), node.region)

    return rebuild(graph, replace)


def unmake_tails(graph: Graph) -> Graph:
    """The graph without the tails of which nothing but logistic functions is made; itself where there are none.

    >>> g = Graph("f")
    >>> x = g.input("x")
    >>> g.output("y", g.apply("sigmoid", -x))
    >>> after = unmake_tails(make_tails(g))
    >>> [after.nodes[i].op for i in sorted(keep(after, after.outputs.values()))]
    ['input', 'neg', 'sigmoid']
    """
    inside = _inside(graph)
    if not inside:
        return graph

    def replace(new: Graph, old: int, node: Node, args: tuple[int, ...]) -> int | None:
        if old not in inside:
            return None
        (tail,), turned = args, new.nodes[args[0]].op == "neg"
        if turned:
            (tail,) = new.nodes[tail].args
        (x,) = new.nodes[tail].args
        return new.add("sigmoid", (new.add("neg", (x,), (), node.region) if turned else x,), (), node.region)

    return rebuild(graph, replace)


def _inside(graph: Graph) -> set[int]:
    """The logistic functions of tails of which nothing else is made."""
    live = sorted(keep(graph, graph.outputs.values()))
    users: dict[int, list[int]] = {i: [] for i in live}
    for i in live:
        for arg in graph.nodes[i].args:
            users[arg].append(i)
    outputs, found = set(graph.outputs.values()), set[int]()
    for tail in live:
        if graph.nodes[tail].op == "sigmoid_tail":
            turned = [i for i in users[tail] if graph.nodes[i].op == "neg"]
            made = [i for one in (tail, *turned) for i in users[one] if i not in turned]
            if outputs.isdisjoint((tail, *turned)) and all(graph.nodes[i].op == "sigmoid_of_tail" for i in made):
                found.update(made)
    return found


@dataclass(frozen=True)
class Tails(Pass):
    """Logistic functions as functions of tails, or back again.

    Arguments:
        back: where tails are not stored.
    """

    back: bool = False

    def run(self, graph: Graph) -> Graph:
        """See `make_tails` and `unmake_tails`."""
        return unmake_tails(graph) if self.back else make_tails(graph)
