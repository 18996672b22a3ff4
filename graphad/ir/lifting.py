"""Bodies while they are written: variables of the graph around a body become inputs of the body when they are used.

What depends on nothing (constants, counters, sizes, and stretched ones) is made again inside instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from graphad.errors import GraphError, describe
from graphad.ir.bodies import fresh_names, input_like
from graphad.ir.graph import Graph
from graphad.ir.variable import Variable

MADE_AGAIN = frozenset({"const", "iota", "size_of"})
STRETCHES = frozenset({"broadcast_to", "reshape", "cast"})
DEPTH = 8
OPEN: ContextVar[OpenBody | None] = ContextVar("OPEN", default=None)


class OpenBody(Graph):
    """A body under construction.

    Arguments:
        name: of the body.
        outer: the graph around it, which may be a body itself.
        purpose: what the body is of, for messages: `scan`, `while_loop`.

    `lifted` has the variables of the outer graph that the body uses, by the names of its inputs.
    """

    def __init__(self, name: str, outer: Graph, purpose: str) -> None:
        super().__init__(name)
        self.outer: Graph | None = outer
        self.purpose = purpose
        self.lifted: dict[str, Variable] = {}
        self._inside: dict[int, Variable] = {}

    @contextmanager
    def open(self) -> Iterator[None]:
        """Within the context the function that makes the body runs."""
        token = OPEN.set(self)
        try:
            yield
        finally:
            OPEN.reset(token)

    def close(self) -> None:
        """The function that builds the body has returned: from now on its variables are of no use elsewhere."""
        self.outer = None

    def lift(self, variable: Variable) -> Variable:
        """The variable inside the body that stands for one of the outer graph."""
        known = self._inside.get(variable.id)
        if known is None:
            again = self._again(variable, DEPTH)
            known = self._input(variable) if again is None else again
            self._inside[variable.id] = known
        return known

    def _input(self, variable: Variable) -> Variable:
        node = variable.node
        (name,) = fresh_names(self, [str(node.param("name")) if node.op == "input" else "outer"])
        inside = input_like(self, name, variable.graph, variable.id)
        self.lifted[name] = variable
        return inside

    def _again(self, variable: Variable, depth: int) -> Variable | None:
        """A copy of a value that depends on nothing; None for any other."""
        node = variable.node
        if node.op == "const":
            return self.const(node.param("value").array)
        if node.op in MADE_AGAIN:
            return self.variable(self.add(node.op, (), node.params))
        if node.op not in STRETCHES or depth == 0:
            return None
        inner = self._again(Variable(variable.graph, node.args[0]), depth - 1)
        return None if inner is None else self.variable(self.add(node.op, (inner.id,), node.params))


def innermost(graph: Graph) -> Graph:
    """The body that is being made inside a graph, the graph itself where there is none."""
    body = OPEN.get()
    return body if body is not None and inside(body, graph) else graph


def inside(inner: Graph, outer: Graph) -> bool:
    """Whether one graph is a body, under construction, of the other or of one of its bodies."""
    here: Graph | None = inner
    while isinstance(here, OpenBody):
        here = here.outer
        if here is outer:
            return True
    return False


def adopted(graph: Graph, variable: Variable) -> Variable:
    """What stands in `graph` for a variable of another graph.

    A variable of a graph around is lifted; one of a body inside stays as it is, and the operation goes there. Raises
    `GraphError` for any other.
    """
    if inside(variable.graph, graph):
        return variable
    if isinstance(graph, OpenBody) and inside(graph, variable.graph):
        assert graph.outer is not None
        return graph.lift(graph.outer.owned(variable))
    source = graph._user_source()
    body = next((g for g in (variable.graph, graph) if isinstance(g, OpenBody) and g.outer is None), None)
    if body is not None:
        raise GraphError(
            describe(
                f"a variable of the body `{body.name}` of a `{body.purpose}` is used outside it",
                got=str(variable) if body is variable.graph else f"`{body.name}` beside {variable}",
                source=source,
                fix="return it from the function: what a body computes comes out as a result",
            )
        )
    raise GraphError(
        describe(
            f"a variable of graph `{variable.graph.name}` is used in graph `{graph.name}`",
            got=str(variable),
            source=source,
            fix=f"apply the other graph here: `{variable.graph.name}(...)` with this graph's variables",
        )
    )
