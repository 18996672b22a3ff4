"""What the user says about memory: values that the reverse sweep shall store, or compute again.

A mark is the region of a node, a negative number: -1 to store it, a lower one to compute it again. Regions go through
all passes, and the plan for memory reads them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from graphad.errors import ArgumentError, describe
from graphad.ir.graph import Graph
from graphad.ir.variable import Variable

SAVE, RECOMPUTE = -1, -2
SEEN_THROUGH = frozenset({"reshape", "transpose", "broadcast_to", "slice", "stop_gradient"})
UNMARKED = frozenset({"input", "const", "placeholder", "iota", "size_of"})

F = TypeVar("F", bound=Callable[..., Any])


def save(x: Variable) -> Variable:
    """Mark a value: the reverse sweep reads it from memory, it is never computed again. Answers `x`.

    >>> import graphad as ga
    >>> g = ga.Graph("f")
    >>> x = g.input("x", shape=3)
    >>> g.output("y", save(x * x).sum())
    """
    return _marked(x, SAVE, "save")


def recompute(x: Variable) -> Variable:
    """Mark a value: it is not stored for the reverse sweep, which computes it again. Answers `x`.

    >>> import graphad as ga
    >>> import numpy as np
    >>> g = ga.Graph("f")
    >>> x = g.input("x", shape=3)
    >>> g.output("y", np.exp(recompute(np.sin(x))).sum())
    >>> ga.grad(g, tier="interpreted")(np.zeros(3))
    array([1., 1., 1.])
    """
    return _marked(x, RECOMPUTE, "recompute")


def checkpoint(function: F) -> F:
    """Wrap a function of variables: of what it computes only its results are stored for the reverse sweep.

    Everything inside is computed again there, also what it reads of variables outside. Wrapped functions nest.

    >>> import graphad as ga
    >>> import numpy as np
    >>> g = ga.Graph("f")
    >>> x, w = g.input("x", shape=3), g.input("w", shape=3)
    >>> layer = checkpoint(lambda x: np.tanh(w * np.sin(x)))
    >>> g.output("y", layer(layer(x)).sum())
    >>> ga.grad(g, "x", tier="interpreted")(np.zeros(3), np.ones(3))
    array([1., 1., 1.])
    """

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        graphs = {id(v.graph): (v.graph, len(v.graph.nodes)) for v in _variables((args, kwargs))}
        result = function(*args, **kwargs)
        for graph, first in graphs.values():
            _mark_inside(graph, first, {v.id for v in _variables(result) if v.graph is graph})
        return result

    return wrapped  # type: ignore[return-value]


def _mark_inside(graph: Graph, first: int, results: set[int]) -> None:
    """Mark the nodes from `first` on, but not those that the results are or show."""
    shown = set(results)
    for node_id in range(len(graph.nodes) - 1, first - 1, -1):
        node = graph.nodes[node_id]
        if node_id in shown:
            if node.op in SEEN_THROUGH:
                shown.update(node.args)
        elif node.op not in UNMARKED and node.region == 0:
            graph.nodes[node_id] = node._replace(region=RECOMPUTE)


def _variables(tree: Any) -> list[Variable]:
    if isinstance(tree, Variable):
        return [tree]
    if isinstance(tree, dict):
        return [v for part in tree.values() for v in _variables(part)]
    return [v for part in tree for v in _variables(part)] if isinstance(tree, (tuple, list)) else []


def _marked(x: Variable, mark: int, name: str) -> Variable:
    if not isinstance(x, Variable):
        raise ArgumentError(
            describe(f"`{name}` takes a variable of a graph", got=type(x).__name__, fix="mark what an operation made")
        )
    x.graph._writable()
    node_id = x.id
    while x.graph.nodes[node_id].op in SEEN_THROUGH:
        node_id = x.graph.nodes[node_id].args[0]
    node = x.graph.nodes[node_id]
    if node.op not in UNMARKED:
        x.graph.nodes[node_id] = node._replace(region=mark)
    return x
