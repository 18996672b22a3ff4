"""Indices inside the bodies of loops and branches: a graph that runs them, clamped, and says whether one is outside.

Such an index can not be looked at before the loop that makes it runs. So where the structure does not prove that it
lies inside its axis, a loop that makes the indices (and nothing else, once passes have removed what is not needed) runs
in front of the compiled function, with every index moved inside and a truth value that remembers whether one was not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphad.analysis.indices import FIRST_INDEX, UNKNOWN, Interval, intervals, unproven
from graphad.ir.bodies import bodies, copy_nodes, fresh_names, inlined, input_like, with_inputs
from graphad.ir.graph import Graph, Node, keep
from graphad.ir.operation import call
from graphad.ir.sizes import Extent
from graphad.ir.variable import Variable
from graphad.ops.source import extent_value

SWEEPS = ("scan_adjoint", "while_adjoint")


def guarded(graph: Graph) -> tuple[Graph, str | None]:
    """The graph with indices in bodies moved inside, and the name of a further output that says whether one was not.

    The graph itself and None where all indices in bodies are proved to be inside, or there are none.

    >>> import graphad as ga
    >>> g = ga.Graph("pick")
    >>> x, k = g.input("x", shape="n"), g.input("k", dtype="int64")
    >>> g.output("inside", ga.fori_loop(0, "n", lambda i, s: s + x[i], 0.0, graph=g))
    >>> guarded(g)[1] is None
    True
    >>> g.output("maybe", ga.fori_loop(0, "n", lambda i, s: s + x[i + k], 0.0, graph=g))
    >>> h, name = guarded(g)
    >>> [bool(ga.interpret(h, [1.0, 2.0], k)[name]) for k in (-1, 1)]
    [False, True]
    """
    if not any(_indexes(body) for node in graph.nodes for _, body in bodies(node.params)):
        return graph, None
    new = Graph(graph.name)
    new.hints = dict(graph.hints)
    moved = {i: input_like(new, name, graph, i).id for name, i in graph.inputs.items()}
    flag = _Guard(graph, new, moved, {}, clamp=False).walk()
    if flag is None:
        return graph, None
    for name, node_id in graph.outputs.items():
        new.output(name, Variable(new, moved[node_id]))
    (name,) = fresh_names(new, ["outside"])
    new.output(name, flag)
    new.requirements = list(graph.requirements)
    return new.freeze(), name


def _indexes(body: Graph) -> bool:
    """Whether a body or one inside it has an operation with indices."""
    return any(node.op in FIRST_INDEX or any(_indexes(b) for _, b in bodies(node.params)) for node in body.nodes)


def _guarded_body(body: Graph, inputs: Sequence[Interval]) -> Graph | None:
    """A body with its indices moved inside and a last result, whether one was not; None without such indices."""
    new = Graph(body.name)
    moved = {i: input_like(new, name, body, i).id for name, i in body.inputs.items()}
    known = dict(zip(body.inputs.values(), inputs, strict=True))
    flag = _Guard(body, new, moved, known, clamp=True).walk()
    if flag is None:
        return None
    for name, node_id in body.outputs.items():
        new.output(name, Variable(new, moved[node_id]))
    new.output(fresh_names(new, ["outside"])[0], flag)
    new.requirements = list(dict.fromkeys([*body.requirements, *new.requirements]))
    return new.freeze()


class _Guard:
    """Copies a graph node by node.

    Arguments:
        moved: the inputs in the new graph; all other nodes are added.
        known: what is known about integers among the inputs.
        clamp: whether the graph is a body: outside of bodies indices are checked by `index_checks`.
    """

    def __init__(
        self, graph: Graph, new: Graph, moved: dict[int, int], known: Mapping[int, Interval], *, clamp: bool
    ) -> None:
        self.graph, self.new, self.moved, self.clamp = graph, new, moved, clamp
        self.known = intervals(graph, known)
        self.flag: Variable | None = None
        self.places: dict[int, dict[int, int]] = {}  # for nodes whose results have moved, where they are

    def walk(self) -> Variable | None:
        """Copy what the outputs need; whether an index is outside."""
        for node_id in sorted(keep(self.graph, self.graph.outputs.values()) - set(self.moved)):
            node = self.graph.nodes[node_id]
            with self.new.at(node.source):
                if any(bodies(node.params)):
                    self.moved[node_id] = self._with_bodies(node_id, node)
                elif node.op == "item" and node.args[0] in self.places:
                    place = self.places[node.args[0]][node.param("index")]
                    self.moved[node_id] = self.new.add("item", (self.moved[node.args[0]],), (("index", place),))
                elif self.clamp and (doubtful := unproven(self.graph, self.known, node)):
                    self.moved[node_id] = self._indexed(node, doubtful)
                else:
                    copy_nodes(self.graph, self.new, self.moved, [node_id])
        return self.flag

    def _note(self, outside: Variable) -> None:
        self.flag = outside if self.flag is None else self.flag | outside

    def _operands(self, node: Node) -> list[Variable]:
        return [Variable(self.new, self.moved[a]) for a in node.args]

    def _indexed(self, node: Node, doubtful: Sequence[tuple[int, Extent]]) -> int:
        operands = self._operands(node)
        for position, extent in doubtful:
            index = operands[position]
            self._note(_outside(index, extent))
            last = extent_value(self.new, extent) - 1
            operands[position] = call("maximum", call("minimum", index, last), 0)
        return self.new.add(node.op, tuple([v.id for v in operands]), node.params, node.region)

    # ------------------------------------------------------------------ bodies

    def _with_bodies(self, node_id: int, node: Node) -> int:
        operands, params = self._operands(node), dict(node.params)
        params.pop("progress", None)  # what only looks at indices is silent
        known = [self.known[a] for a in node.args]
        if node.op == "cond":
            return self._branch(node_id, node, operands, known)
        count, carries = len(params["body"].inputs), params["carries"]
        inputs = [UNKNOWN if k < carries else known[k] for k in range(count)]
        body = _guarded_body(params["body"], inputs)
        if node.op in SWEEPS:
            return self._sweep(node, params, operands, inputs, body)
        if body is None:
            return self.new.apply(node.op, *operands, **params).id
        result, self.places[node_id] = _flagged_loop(self.new, node.op, params, body, operands)
        self._note(self.new.apply("item", result, index=carries))
        return result.id

    def _sweep(
        self, node: Node, params: dict[str, Any], operands: list[Variable], inputs: list[Interval], body: Graph | None
    ) -> int:
        """A sweep with its indices moved inside; its loop, run forward, tells whether one was not."""
        if body is not None:
            names = {"scan_adjoint": "scan", "while_adjoint": "while_loop"}
            loop = {k: v for k, v in params.items() if k in ("body", "carries", "xs", "length", "reverse", "test")}
            if node.op == "scan_adjoint":
                loop["checkpoint"] = None
            forward, _ = _flagged_loop(self.new, names[node.op], loop, body, operands[: len(inputs)])
            self._note(self.new.apply("item", forward, index=params["carries"]))
            params["body"] = _without_last(body)
        seeds = [UNKNOWN] * (len(params["adjoint"].inputs) - len(inputs))
        adjoint = _guarded_body(params["adjoint"], [*inputs, *seeds])
        if adjoint is not None:
            params["adjoint"] = _without_last(adjoint)
        return self.new.apply(node.op, *operands, **params).id

    def _branch(self, node_id: int, node: Node, operands: list[Variable], known: list[Interval]) -> int:
        branches = [node.param("on_true"), node.param("on_false")]
        found = [_guarded_body(branch, known[1:]) for branch in branches]
        if found == [None, None]:
            return self.new.apply(node.op, *operands, **dict(node.params)).id
        yes, no = [_always_inside(b) if f is None else f for b, f in zip(branches, found, strict=True)]
        result = self.new.apply("cond", *operands, on_true=yes, on_false=no)
        count = len(branches[0].outputs)
        self.places[node_id] = {k: k for k in range(count)}
        self._note(self.new.apply("item", result, index=count))
        return result.id


def _outside(index: Variable, extent: Extent) -> Variable:
    found = (index < 0) | (index >= extent_value(index.graph, extent))
    result: Variable = call("any", found) if found.ndim else found
    return result


def _flagged_loop(
    new: Graph, op: str, params: Mapping[str, Any], body: Graph, operands: Sequence[Variable]
) -> tuple[Variable, dict[int, int]]:
    """A loop that carries, behind its other carries, whether an index was outside; where its results are."""
    carries = params["carries"]
    step = Graph(body.name)
    named = list(body.inputs.items())
    first = [input_like(step, name, body, i) for name, i in named[:carries]]
    before = step.input(fresh_names(body, ["outside_before"])[0], (), "bool")
    rest = [input_like(step, name, body, i) for name, i in named[carries:]]
    *values, flag = inlined(body, step, [*first, *rest])
    names = list(body.outputs)
    for name, value in zip(names[:carries], values[:carries], strict=True):
        step.output(name, value)
    step.output(names[-1], before | flag)
    for name, value in zip(names[carries:-1], values[carries:], strict=True):
        step.output(name, value)
    changed = {**params, "body": step.freeze(), "carries": carries + 1}
    if "test" in params:
        test: Graph = params["test"]
        kinds = {name: step.variable(name).type for name in step.inputs}
        own = dict(zip([name for name in step.inputs if name != before.node.param("name")], test.inputs, strict=True))
        changed["test"] = with_inputs(test, kinds, own)
    start = new.const(False)
    result = new.apply(op, *operands[:carries], start, *operands[carries:], **changed)
    return result, {k: k + (k >= carries) for k in range(len(names) - 1)}


def _always_inside(branch: Graph) -> Graph:
    new = branch.copy()
    new.output(fresh_names(new, ["outside"])[0], new.const(False))
    return new.freeze()


def _without_last(body: Graph) -> Graph:
    new = body.copy()
    new.outputs.popitem()
    return with_inputs(new, {name: body.variable(name).type for name in body.inputs})
