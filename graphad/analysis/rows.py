"""The graph of one row of a map: what is computed for every point along an axis by itself.

A map is a graph in which row i of every output depends on row i of the inputs, on what all rows share, and on elements
that row i selects (by an index array or a slice). Its Jacobian is one small Jacobian for each row; which mode is cheap
is a matter of one row's inputs and outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from graphad.analysis.active import active_nodes
from graphad.analysis.row_forms import RowForm, RowsMix, row_form
from graphad.ir.graph import Graph, Node
from graphad.ir.operation import lookup
from graphad.ir.sizes import Extent

FEW = 16
SELECTIONS = frozenset({"slice", "reshape", "transpose", "broadcast_to", "gather"})


class Source(NamedTuple):
    """An input of the row graph.

    Arguments:
        node: what it stands for in the whole graph.
        axis: the axis of that node that numbers the rows; None where all rows share the node.
        origin: the input with respect to which is differentiated, where the node holds elements of it; else None.
    """

    node: int
    axis: int | None
    origin: int | None


@dataclass(frozen=True)
class Rows:
    """A map taken apart.

    Arguments:
        graph: of one row, with the outputs of the whole graph.
        size: the number of rows.
        sources: by name of its inputs what they are.
        axes: by name of its outputs the axis that numbers the rows in the whole graph.
        apart: whether each row computes all that carries derivatives, but for a few scalars; else rows share results of
            operations.
    """

    graph: Graph
    size: Extent
    sources: Mapping[str, Source]
    axes: Mapping[str, int]
    apart: bool

    def wrt(self, of: Sequence[str]) -> list[str]:
        """The inputs of the row graph through which some outputs depend on differentiated inputs."""
        targets = [self.graph.outputs[n] for n in of]
        named = {self.graph.inputs[n]: n for n, source in self.sources.items() if source.origin is not None}
        return [named[i] for i in active_nodes(self.graph, list(named), targets) if i in named]


class Mixed(NamedTuple):
    """Why a graph is no map: the node that mixes rows, and how."""

    node: int
    reason: str


def rows_of(graph: Graph, wrt: Sequence[str], of: Sequence[str], size: Extent) -> Rows | Mixed:
    """The graph of one of `size` rows, or why there is none.

    Arguments:
        wrt, of: names of inputs and outputs.
        size: an extent; rows are numbered by the first axis of this extent.

    >>> g = Graph("norms")
    >>> x = g.input("x", shape=("n", 2))
    >>> g.output("y", (x * x).sum(axis=1))
    >>> print(rows_of(g, ["x"], ["y"], g.nodes[0].type.shape[0]).graph)
    graph norms
      x: float64[2] = input
      %1: float64[2] = mul x x
      %2: float64[] = sum %1 {axes=(0,)}
      output y = %2
    """
    return _Taker(graph, [graph.inputs[n] for n in wrt], size).taken(of)


class _Taker:
    """Takes one row out of a graph, node by node.

    Attributes:
        row: the graph of one row under construction.
        known: for nodes that carry derivatives the id in the row graph, and the axis that numbers the rows, or None.
        selected: nodes that hold elements of one differentiated input, and that input.
    """

    def __init__(self, graph: Graph, wrt: Sequence[int], size: Extent) -> None:
        self.graph, self.wrt, self.size = graph, set(wrt), size
        self.row = Graph(graph.name)
        self.row.hints = dict(graph.hints)
        self.known: dict[int, tuple[int, int | None]] = {}
        self.selected: dict[int, int] = {}
        self.sources: dict[str, Source] = {}
        self._passive: dict[tuple[int, int | None], int] = {}

    def taken(self, of: Sequence[str]) -> Rows | Mixed:
        """The rows, or the first node that mixes them."""
        targets = [self.graph.outputs[n] for n in of]
        for node_id in active_nodes(self.graph, sorted(self.wrt), targets):
            try:
                self.known[node_id] = self._taken(node_id)
            except RowsMix as mix:
                return Mixed(node_id, str(mix))
        axes: dict[str, int] = {}
        for name, target in zip(of, targets, strict=True):
            found, axis = self.known.get(target, (-1, None))
            if axis is None:
                return Mixed(target, f"output `{name}` has no axis that numbers {self.size} rows")
            self.row.output(name, self.row.variable(found))
            axes[name] = axis
        apart = all(axis is not None or v in self.selected or self._scalars(v) for v, (_, axis) in self.known.items())
        return Rows(self.row.freeze(), self.size, self.sources, axes, apart)

    def _scalars(self, node_id: int) -> bool:
        """Whether a node has a few elements, each made from a few others."""
        node = self.graph.nodes[node_id]
        few = isinstance(node.type.elements, int) and node.type.elements <= FEW
        return few and (lookup(node.op).elementwise or node.op in SELECTIONS)

    def _taken(self, node_id: int) -> tuple[int, int | None]:
        """The node in the row graph, and the axis that numbers its rows; raises `RowsMix`."""
        node = self.graph.nodes[node_id]
        if node_id in self.wrt:
            self.selected[node_id] = node_id
            return self._source(node_id, self._first_axis(node), node_id)
        moved = [a for a in node.args if a in self.known]
        if node.op in SELECTIONS and node.args[0] in self.selected and moved == [node.args[0]]:
            self.selected[node_id] = self.selected[node.args[0]]
        axis = self._first_axis(node)
        holds = node_id in self.selected and axis is not None
        form = self._form(node)
        if holds and not isinstance(form, RowForm) and node.op != "broadcast_to":
            return self._source(node_id, axis, self.selected[node_id])
        if isinstance(form, RowsMix):
            raise form
        return self._added(node, self._passive_form(node) if form is None else form)

    def _form(self, node: Node) -> RowForm | RowsMix | None:
        """How the operation works on one row of differentiated operands; None where all rows share them."""
        axes = tuple([self.known[a][1] if a in self.known else None for a in node.args])
        if all(a is None for a in axes):
            return None
        try:
            return self._form_of(node, axes)
        except RowsMix as mix:
            return mix

    def _passive_form(self, node: Node) -> RowForm | None:
        """How the operation works on one row of other operands; None where it does not work on rows."""
        axes = tuple([None if a in self.known else self._first_axis(self.graph.nodes[a]) for a in node.args])
        if all(a is None for a in axes):
            return None
        try:
            return self._form_of(node, axes)
        except RowsMix:
            return None

    def _form_of(self, node: Node, axes: tuple[int | None, ...]) -> RowForm:
        return row_form(node, tuple([self.graph.nodes[a].type for a in node.args]), axes, self.size)

    def _added(self, node: Node, form: RowForm | None) -> tuple[int, int | None]:
        self.row.set_source(node.source)
        if form is None:
            args = [self._arg(a, None) for a in node.args]
            return self.row.add(node.op, tuple(args), node.params), None
        args = []
        for arg, wanted, dropped in zip(node.args, form.axes, form.dropped, strict=True):
            row = self._arg(arg, wanted)
            if dropped is not None:
                shape = self.row.nodes[row].type.shape
                row = self.row.add("reshape", (row,), (("shape", shape[:dropped] + shape[dropped + 1 :]),))
            args.append(row)
        params = tuple(sorted(form.params.items()))
        return self.row.add(node.op, tuple(args), params), form.axis

    def _arg(self, node_id: int, axis: int | None) -> int:
        """An operand in the row graph: its row along an axis, or as a whole."""
        if node_id in self.known:
            found, have = self.known[node_id]
            if have != axis:
                raise RowsMix(f"`{self.graph.nodes[node_id].op}` has a result that all rows share, read row by row")
            return found
        if (node_id, axis) not in self._passive:
            node = self.graph.nodes[node_id]
            if node.op == "const" and axis is None:
                self._passive[node_id, axis] = self.row.const(node.param("value").array).id
            else:
                self._passive[node_id, axis] = self._source(node_id, axis, None)[0]
        return self._passive[node_id, axis]

    def _source(self, node_id: int, axis: int | None, origin: int | None) -> tuple[int, int | None]:
        node = self.graph.nodes[node_id]
        name = f"row{len(self.row.nodes)}"
        if origin is not None:
            name = str(self.graph.nodes[origin].param("name")) + ("" if origin == node_id else "_row")
        while name in self.row.inputs or (name in self.graph.inputs and origin != self.graph.inputs[name]):
            name += "_"
        shape = node.type.shape if axis is None else node.type.shape[:axis] + node.type.shape[axis + 1 :]
        self.row.set_source(node.source)
        self.sources[name] = Source(node_id, axis, origin)
        return self.row.input(name, shape, node.type.dtype).id, axis

    def _first_axis(self, node: Node) -> int | None:
        return next((a for a, extent in enumerate(node.type.shape) if extent == self.size), None)
