"""The graph: frozen nodes in topological order, named inputs and outputs, and its networkx view.

A node's id is its position, and its operands have smaller ids, so the order of ids is a topological order and no
pass has to sort. The networkx DAG is an index made from the operands on first use; making it eagerly would cost
three times the rest of building (8 µs and 1 kB a node).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from keyword import iskeyword
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from graphad.errors import ArgumentError, DtypeError, GraphError, ShapeError, Source, describe
from graphad.ir import sizes
from graphad.ir.constant import Constant, number_constant
from graphad.ir.operation import lookup
from graphad.ir.sizes import Size
from graphad.ir.types import Requirement, TensorType, as_dtype, as_shape
from graphad.ir.variable import Variable
from graphad.ir.views import view

if TYPE_CHECKING:
    import networkx as nx

PACKAGE = str(Path(__file__).resolve().parents[1])
DEMO = str(Path(PACKAGE) / "demo")
HIDDEN = (PACKAGE, str(Path(PACKAGE).parent / "passes"), str(Path(np.__file__).parent), "<__array_function__")

FIX_SHAPES = "reshape or slice an operand; only axes of literal size 1 are stretched"
FIX_DTYPES = "convert an operand with `astype`"

Frozen = tuple[tuple[str, Any], ...]


class Node(NamedTuple):
    """One operation applied.

    `args` are node ids in the order of the operands, `params` the static parameters sorted by name, `source` the
    user's line, `region` a number that keeps recomputed copies apart: nodes of different regions are never merged.
    The line is no part of a node's `key`.
    """

    op: str
    args: tuple[int, ...]
    params: Frozen
    type: TensorType
    source: Source | None = None
    region: int = 0

    @property
    def key(self) -> tuple[str, tuple[int, ...], Frozen, int]:
        """What makes two nodes the same computation (the type follows from it)."""
        return (self.op, self.args, self.params, self.region)

    def on(self, args: tuple[int, ...]) -> Node:
        """The same operation on other operands (of the same types); `_replace` takes five times as long."""
        return tuple.__new__(Node, (self[0], args, self[2], self[3], self[4], self[5]))

    def param(self, name: str) -> Any:
        """The parameter called `name`."""
        for key, value in self.params:
            if key == name:
                return value
        raise GraphError(describe(f"operation `{self.op}` has no parameter `{name}`"))


class Graph:
    """A static graph of array operations.

    Arguments:
        name: shown in messages and drawings, and the name of the generated function.
        intern: merge equal nodes when they are built (otherwise the `cse` pass merges them).

    A graph is open while it is being built and freezes at its first use (compiling, differentiating, applying).

    >>> g = Graph("square")
    >>> x = g.input("x", shape="n")
    >>> g.output("y", x * x)
    >>> print(g)
    graph square
      x: float64[n] = input
      %1: float64[n] = mul x x
      output y = %1
    """

    def __init__(self, name: str = "graph", *, intern: bool = False) -> None:
        if not name.isidentifier() or iskeyword(name):
            raise GraphError(describe(f"`{name}` can not name a graph", expected="a Python identifier, no keyword"))
        self.name = name
        self.nodes: list[Node] = []
        self.inputs: dict[str, int] = {}
        self.outputs: dict[str, int] = {}
        self.hints: dict[str, int] = {}
        self.requirements: list[Requirement] = []
        self.frozen = False
        self._interned: dict[Any, int] | None = {} if intern else None
        self._source: Source | None = None
        self._inferred: dict[Any, tuple[TensorType, tuple[Requirement, ...]]] = {}
        self._dag: nx.DiGraph[int] | None = None
        self._constants: dict[Constant, int] = {}
        self._digest = ""
        self._hash = 0

    # ------------------------------------------------------------------ building

    def input(
        self, name: str, shape: object = (), dtype: object = "float64", *, hint: int | Mapping[str, int] | None = None
    ) -> Variable:
        """Declare an input.

        Arguments:
            name: a Python identifier; the name of the argument of compiled functions.
            shape: extents: integers, names such as `"n"`, expressions such as `"n-1"`; `()` for a scalar.
            dtype: float64, float32, int64, int32 or bool.
            hint: typical values of the named sizes, for the cost model: a dictionary, or one integer for all.
        """
        self._writable()
        if not (isinstance(name, str) and name.isidentifier()) or iskeyword(name):
            raise GraphError(describe(f"`{name}` can not name an input", expected="a Python identifier, no keyword"))
        if name in self.inputs:
            raise GraphError(describe(f"input `{name}` is declared twice", fix="choose another name"))
        kind = TensorType(as_dtype(dtype), as_shape(shape))
        named = sorted(set().union(*(sizes.names(e) for e in kind.shape))) if kind.shape else []
        if hint is not None:
            self.hints.update(hint if isinstance(hint, Mapping) else dict.fromkeys(named, hint))
        self.inputs[name] = len(self.nodes)
        return self._variable(self._append(Node("input", (), (("name", name),), kind, self._user_source())))

    def const(self, value: object, dtype: object = None) -> Variable:
        """A constant from a number or an array; equal constants of a graph are one node."""
        self._writable()
        if type(value) is float and type(dtype) is str and value:
            constant = number_constant(value, as_dtype(dtype))
        else:
            constant = Constant(np.array(value, dtype=None if dtype is None else as_dtype(dtype)))
        known = self._constants.get(constant)
        if known is None:
            known = self._append(Node("const", (), (("value", constant),), constant.type, self._user_source()))
            self._constants[constant] = known
        return self._variable(known)

    def output(self, name: str, variable: object) -> None:
        """Name a result. Outputs keep the order in which they are named; a name is used once."""
        self._writable()
        if not (isinstance(name, str) and name.isidentifier()):
            raise GraphError(describe(f"`{name}` can not name an output", expected="a Python identifier"))
        if name in self.outputs:
            raise GraphError(describe(f"output `{name}` is named twice", fix="choose another name"))
        owned = self.owned(variable)
        if owned.graph is not self:
            problem = f"output `{name}` of `{self.name}` is a variable of the body `{owned.graph.name}`"
            raise GraphError(describe(problem, source=self._user_source(), fix="return it from the body's function"))
        self.outputs[name] = owned.id

    def apply(self, op: str, *args: Variable, **params: Any) -> Variable:
        """Apply an operation by name: the way in which every builder function makes its node."""
        frozen = tuple(sorted(params.items()))
        ids = [a.id for a in args if a.graph is self]
        if len(ids) < len(args):
            owned = [self.owned(a) for a in args]
            inner = next((a.graph for a in owned if a.graph is not self), self)
            if inner is not self:  # the body of a loop, in which an operand of this graph is used
                return inner.apply(op, *args, **params)
            ids = [a.id for a in owned]
        return self._variable(self.add(op, tuple(ids), frozen))

    def add(self, op: str, args: tuple[int, ...], params: Frozen = (), region: int = 0) -> int:
        """Add a node by ids, infer its type, and return its id. `apply` is the form for variables."""
        self._writable()
        key = (op, args, params, region)
        if self._interned is not None and (known := self._interned.get(key)) is not None:
            return known
        nodes = self.nodes
        types = tuple([nodes[a].type for a in args])
        signature = (op, types, params)
        source = self._source or self._user_source()
        inferred = self._inferred.get(signature)
        if inferred is None:
            inferred = self._infer(op, types, params, source)
            self._inferred[signature] = inferred
        self.requirements.extend(inferred[1])
        node_id = self._append(Node(op, args, params, inferred[0], source, region))
        if self._interned is not None:
            self._interned[key] = node_id
        return node_id

    def require(self, requirement: Requirement) -> None:
        """Record what the sizes of a call must satisfy; refuse at once what can not hold."""
        difference = requirement.left - requirement.right
        source = Source(*requirement.source) if requirement.source else None
        if isinstance(difference, int):
            if difference == 0 or (requirement.kind == "within" and difference < 0):
                return
            relation = "==" if requirement.kind == "equal" else "<="
            raise ShapeError(
                describe(
                    requirement.reason, expected=f"{requirement.left} {relation} {requirement.right}", source=source
                )
            )
        self.requirements.append(requirement)

    def owned(self, variable: object) -> Variable:
        """The argument if it is a variable of this graph; a number or an array becomes a constant.

        In the body of a loop, variables of the graph around it are owned as well.
        """
        if not isinstance(variable, Variable):
            return self.const(variable)
        if variable.graph is self:
            return variable
        from graphad.ir.lifting import adopted

        return adopted(self, variable)

    def variable(self, node: int | str) -> Variable:
        """The variable of a node id, an input's name or an output's name."""
        if isinstance(node, str):
            found = self.inputs.get(node, self.outputs.get(node))
            if found is None:
                known = ", ".join(f"`{n}`" for n in [*self.inputs, *self.outputs])
                raise GraphError(describe(f"graph `{self.name}` has no `{node}`", expected=f"one of {known}"))
            node = found
        return self._variable(node)

    @contextmanager
    def at(self, source: Source | None) -> Iterator[None]:
        """Within the context, nodes get this line as theirs (rules of a derivative point to the primal's line)."""
        before, self._source = self._source, source
        try:
            yield
        finally:
            self._source = before

    def set_source(self, source: Source | None) -> None:
        """Give the following nodes this line; None returns to the user's own line. `at` is the scoped form."""
        self._source = source

    def copy(self, name: str | None = None, *, intern: bool = False) -> Graph:
        """An open copy with the same nodes, ids, inputs and outputs; nodes are shared, so this is cheap.

        Arguments:
            intern: merge equal nodes that are added from now on, with each other and with those that are there.
        """
        new = Graph(name or self.name, intern=intern)
        new.nodes = list(self.nodes)
        new.inputs, new.outputs = dict(self.inputs), dict(self.outputs)
        new.hints, new.requirements = dict(self.hints), list(self.requirements)
        new._constants = dict(self._constants)
        if new._interned is not None:
            for node_id, node in enumerate(self.nodes):
                new._interned.setdefault(node.key, node_id)
        return new

    def __call__(self, *args: object, **kwargs: object) -> Any:
        """Apply the graph inside another: arguments are that graph's variables, by position or by name.

        Returns the output variable, or a dictionary of them where there are several. Named sizes become the sizes
        of the arguments.
        """
        from graphad.ir.apply import apply_graph

        return apply_graph(self, args, kwargs)

    # ------------------------------------------------------------------ reading

    def freeze(self) -> Graph:
        """Close the graph to further building; returns itself. Idempotent."""
        if not self.frozen:
            if not self.outputs:
                raise GraphError(
                    describe(f"graph `{self.name}` has no output", fix='name one: `g.output("y", variable)`')
                )
            self.frozen = True
        return self

    @property
    def size_names(self) -> tuple[str, ...]:
        """The named sizes of the inputs, in order of appearance."""
        found: dict[str, None] = {}
        for node_id in self.inputs.values():
            for extent in self.nodes[node_id].type.shape:
                found.update(dict.fromkeys(sorted(sizes.names(extent))))
        return tuple(found)

    def size(self, name: str) -> Size:
        """The size called `name`, to be used in shapes."""
        return Size.name(name)

    def users(self) -> list[list[int]]:
        """For each node the ids of the nodes that use it, one entry a use."""
        users: list[list[int]] = [[] for _ in self.nodes]
        for node_id, node in enumerate(self.nodes):
            for arg in node.args:
                users[arg].append(node_id)
        return users

    @property
    def dag(self) -> nx.DiGraph[int]:
        """The networkx DAG: node ids with the attribute `node`; edges from operand to user with `positions`.

        A view for reading: made on first use, renewed when the graph has grown, frozen against changes.
        """
        if self._dag is None or len(self._dag) != len(self.nodes):
            from graphad.ir.dag import to_dag

            self._dag = to_dag(self)
        return self._dag

    @staticmethod
    def from_dag(dag: nx.DiGraph[int]) -> Graph:
        """The graph of a DAG as `dag` makes it, also after node ids have been relabelled or nodes removed.

        Raises `GraphError` where the DAG has a cycle or lacks a node's attribute.
        """
        from graphad.ir.dag import from_dag

        return from_dag(dag)

    @property
    def digest(self) -> str:
        """A hash of the structure, the same in every process: names, types, operations; not lines."""
        from graphad.ir.equal import digest

        if not self.frozen:
            return digest(self)
        self._digest = self._digest or digest(self)  # graphs are parameters of loops, which are hashed often
        return self._digest

    def __eq__(self, other: object) -> bool:
        from graphad.ir.equal import equal

        return isinstance(other, Graph) and equal(self, other)

    def __hash__(self) -> int:
        from graphad.ir.equal import quick_hash

        self._hash = self._hash or quick_hash(self.freeze())
        return self._hash

    def __str__(self) -> str:
        from graphad.ir.text import to_text

        return to_text(self)

    def __repr__(self) -> str:
        kinds = ", ".join(f"{n}: {self.nodes[i].type}" for n, i in self.inputs.items())
        return f"<graph {self.name}({kinds}) -> {', '.join(self.outputs)}; {len(self.nodes)} nodes>"

    # ------------------------------------------------------------------ drawing

    def draw(self, path: str | os.PathLike[str], *, layout: str | None = None) -> Path:
        """Write a drawing of the graph, and return its path; an existing file is replaced.

        Arguments:
            path: ending in `.svg`; in `.dot`, a text for Graphviz; or in `.html`, a page to click through.
            layout: "dot" for Graphviz's, "layered" for the built-in one; None takes dot for up to 300 nodes if it is
                installed.

        Raises `ArgumentError` for another ending or layout, and where the folder does not exist.
        """
        return Path(view("draw_graph", self, path, layout))

    def _repr_html_(self) -> str:
        return str(view("graph_html", self))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_dag": None, "_inferred": {}, "_digest": "", "_hash": 0}

    # ------------------------------------------------------------------ inside

    def _append(self, node: Node) -> int:
        self.nodes.append(node)
        return len(self.nodes) - 1

    def _variable(self, node_id: int) -> Variable:
        return Variable(self, node_id)

    def _index_constants(self) -> None:
        self._constants = {n.param("value"): i for i, n in enumerate(self.nodes) if n.op == "const"}

    def _writable(self) -> None:
        if self.frozen:
            raise GraphError(
                describe(
                    f"graph `{self.name}` is in use and can not grow",
                    source=self._user_source(),
                    fix="finish building before compiling, or continue on `g.copy()`",
                )
            )

    def _user_source(self) -> Source | None:
        if self._source is not None:
            return self._source
        frame = sys._getframe(1)
        while frame is not None and _hidden(frame.f_code.co_filename):
            frame = frame.f_back  # type: ignore[assignment]
        return Source(frame.f_code.co_filename, frame.f_lineno) if frame is not None else None

    def _infer(
        self, name: str, types: tuple[TensorType, ...], params: Frozen, source: Source | None
    ) -> tuple[TensorType, tuple[Requirement, ...]]:
        op = lookup(name)
        try:
            if op.arity is not None and len(types) != op.arity:
                raise ShapeError(f"{op.arity} operands expected, {len(types)} given")
            result = op.infer(types, dict(params))
            wanted = tuple(op.requires(types, dict(params))) if op.requires else ()
        except (ShapeError, DtypeError) as error:
            fix = FIX_SHAPES if isinstance(error, ShapeError) else FIX_DTYPES
            given = ", ".join(map(str, types))
            raise type(error)(describe(f"`{name}`: {error}", got=given, source=source, fix=fix)) from None
        kept: list[Requirement] = []
        for requirement in wanted:
            stated = requirement._replace(source=source, reason=f"`{name}`: {requirement.reason}")
            if isinstance(requirement.left - requirement.right, int):
                self.require(stated)
            else:
                kept.append(stated)
        return result, tuple(kept)


def expect_graph(value: object) -> Graph:
    """The value if it is a graph, frozen.

    Raises `ArgumentError` for anything else.
    """
    if isinstance(value, Graph):
        return value.freeze()
    fix = "`ga.trace(function, x=shape, ...)` makes a graph of a Python function"
    if isinstance(value, Variable):
        fix = f"name the variable as an output of its graph `{value.graph.name}`, and pass the graph"
    what = "a graph is differentiated and compiled, nothing else"
    raise ArgumentError(describe(what, expected="a graphad.Graph", got=type(value).__name__, fix=fix))


@cache
def _hidden(filename: str) -> bool:
    """Whether a file's lines are no user's: those of graphad (but its demo's), its passes and NumPy."""
    started = filename.startswith("<frozen ") or os.path.basename(filename) == "graphad"  # the command's own script
    return started or (filename.startswith(HIDDEN) and not filename.startswith(DEMO))


def keep(graph: Graph, ids: Iterable[int], there: Container[int] = ()) -> set[int]:
    """The nodes that the given nodes need, themselves included, beside those that are there."""
    needed: set[int] = set()
    stack = list(ids)
    while stack:
        node_id = stack.pop()
        if node_id not in needed and node_id not in there:
            needed.add(node_id)
            stack.extend(graph.nodes[node_id].args)
    return needed


def rebuild(
    graph: Graph,
    replace: Callable[[Graph, int, Node, tuple[int, ...]], int | None],
    *,
    live: Sequence[int] | None = None,
) -> Graph:
    """A new graph made node by node: the one loop on which passes are written.

    `replace(new, old_id, node, args)` gets each node in order with its operands' new ids, may add nodes to `new`,
    and answers the new id, or None to take the node over as it is. Nodes outside `live` (default: all) are dropped.
    Inputs are always kept, in their order.
    """
    new = Graph(graph.name)
    new.hints, new.requirements = dict(graph.hints), list(graph.requirements)
    new._inferred = graph._inferred  # what a rule answers depends on no graph
    wanted = range(len(graph.nodes)) if live is None else sorted({*live, *graph.inputs.values()})
    new_id = [-1] * len(graph.nodes)
    count = len(new.requirements)
    nodes = new.nodes
    alike = True  # so far every node has kept its id, so operands need no translation
    for old in wanted:
        node = graph.nodes[old]
        args = node.args if alike else tuple([new_id[a] for a in node.args])
        new._source = node.source
        result = replace(new, old, node, args)
        if result is None:
            result = len(nodes)
            nodes.append(node if args is node.args or args == node.args else node.on(args))
            if node.op == "const":
                new._constants.setdefault(node.param("value"), result)
        new_id[old] = result
        alike = alike and result == old
    new.set_source(None)
    del new.requirements[count:]
    new.inputs = {name: new_id[i] for name, i in graph.inputs.items()}
    new.outputs = {name: new_id[i] for name, i in graph.outputs.items()}
    return new
