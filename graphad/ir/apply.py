"""A graph applied inside another, and parts of a graph replaced."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from graphad.errors import ArgumentError, ShapeError, describe
from graphad.ir import sizes
from graphad.ir.bodies import extent_parameters
from graphad.ir.graph import Graph, Node, keep, rebuild
from graphad.ir.sizes import Extent, Size
from graphad.ir.types import Requirement
from graphad.ir.variable import Variable, common_graph


def apply_graph(graph: Graph, args: tuple[object, ...], kwargs: Mapping[str, object]) -> Any:
    """Copy the nodes of `graph` into the graph of the arguments; see `Graph.__call__`."""
    graph.freeze()
    given = bind_arguments(graph, args, kwargs)
    target = common_graph(tuple(given.values()))
    target._writable()
    values = {name: target.owned(value) for name, value in given.items()}
    bound = match_sizes(graph, values, target)
    new_id = {graph.inputs[name]: value.id for name, value in values.items()}
    for old in sorted(keep(graph, graph.outputs.values()) - set(new_id)):
        node = graph.nodes[old]
        if node.op == "const":
            new_id[old] = target.const(node.param("value").array).id
            continue
        params = extent_parameters(node.params, lambda e: sizes.substitute(e, bound))
        with target.at(target._source or node.source):
            new_id[old] = target.add(node.op, tuple(new_id[a] for a in node.args), params, node.region)
    for requirement in graph.requirements:
        left, right = sizes.substitute(requirement.left, bound), sizes.substitute(requirement.right, bound)
        target.require(requirement._replace(left=left, right=right))
    results = {name: Variable(target, new_id[i]) for name, i in graph.outputs.items()}
    return next(iter(results.values())) if len(results) == 1 else results


def bind_arguments(graph: Graph, args: tuple[object, ...], kwargs: Mapping[str, object]) -> dict[str, object]:
    """The arguments by input name; raises `ArgumentError` for missing, unknown and repeated ones."""
    names = list(graph.inputs)
    signature = f"`{graph.name}({', '.join(names)})`"
    if len(args) > len(names):
        what = f"{signature} takes {len(names)} arguments"
        got = f"{len(args)} by position"
        raise ArgumentError(describe(what, expected=", ".join(names), got=got, fix="leave out the rest"))
    given = dict(zip(names, args, strict=False))
    for name, value in kwargs.items():
        if name not in graph.inputs:
            near = get_close_matches(name, names, 1)
            fix = f"did you mean `{near[0]}`?" if near else "leave it out, or rename it"
            what = f"{signature} has no argument `{name}`"
            raise ArgumentError(describe(what, expected=", ".join(names), got=name, fix=fix))
        if name in given:
            what = f"{signature} got `{name}` twice, by position and by name"
            raise ArgumentError(describe(what, fix="pass it once"))
        given[name] = value
    if missing := [n for n in names if n not in given]:
        what = f"{signature} lacks {', '.join(f'`{n}`' for n in missing)}"
        got = ", ".join(given) if given else "no argument"
        raise ArgumentError(describe(what, expected=", ".join(names), got=got, fix="pass it by position or by name"))
    return {name: given[name] for name in names}


def match_sizes(graph: Graph, values: Mapping[str, Variable], target: Graph) -> dict[str, Extent]:
    """The sizes of `graph` in terms of those of `target`, from the arguments' shapes."""
    bound: dict[str, Extent] = {}
    pairs: list[tuple[str, Extent, Extent]] = []
    for name, value in values.items():
        wanted = graph.nodes[graph.inputs[name]].type
        if wanted.rank != value.ndim or wanted.dtype != value.dtype:
            raise ShapeError(
                describe(f"`{graph.name}`: argument `{name}` does not fit", expected=str(wanted), got=str(value.type))
            )
        pairs.extend((name, w, g) for w, g in zip(wanted.shape, value.shape, strict=True))
    for _, expected, got in pairs:
        if isinstance(expected, Size) and str(expected).isidentifier():
            bound.setdefault(str(expected), got)
    for name, expected, got in pairs:
        if unknown := sizes.names(expected) - set(bound):
            raise ShapeError(describe(f"`{graph.name}`: size {sorted(unknown)} is no axis of an argument"))
        reason = f"`{graph.name}`: argument `{name}` has an axis of another size"
        target.require(Requirement("equal", sizes.substitute(expected, bound), got, reason, target._user_source()))
    return bound


def substitute(graph: Graph, replacements: Mapping[str, object]) -> Graph:
    """A new graph in which inputs are replaced by numbers, arrays or small graphs of the other inputs.

    Arguments:
        replacements: for an input's name a number or an array (the input becomes a constant), or a `Graph` with one
            output whose inputs are named like inputs that remain.

    >>> g = Graph("line")
    >>> a, x = g.input("a"), g.input("x", shape="n")
    >>> g.output("y", a * x)
    >>> print(substitute(g, {"a": 2.0}))
    graph line
      x: float64[n] = input
      %1: float64[] = const 2.0
      %2: float64[n] = mul %1 x
      output y = %2
    """
    for name in replacements:
        if name not in graph.inputs:
            raise ArgumentError(describe(f"`{graph.name}` has no input `{name}`", expected=", ".join(graph.inputs)))
    new = Graph(graph.name)
    new.hints = dict(graph.hints)
    values: dict[str, object] = {}
    for name, node_id in graph.inputs.items():
        if name not in replacements:
            kind = graph.nodes[node_id].type
            with new.at(graph.nodes[node_id].source):
                values[name] = new.input(name, kind.shape, kind.dtype)
    for name, replacement in replacements.items():
        if isinstance(replacement, Graph):
            values[name] = replacement(**{n: values[n] for n in replacement.inputs})
        else:
            values[name] = new.const(replacement, graph.nodes[graph.inputs[name]].type.dtype)
    results = graph(**{name: values[name] for name in graph.inputs})
    named = results if isinstance(results, dict) else {next(iter(graph.outputs)): results}
    for name, variable in named.items():
        new.output(name, variable)
    return new


def replace_nodes(graph: Graph, replacements: Mapping[int, int]) -> Graph:
    """A new graph in which every use of a node is a use of another, earlier node of equal type."""
    for old, by in replacements.items():
        if by >= old or graph.nodes[old].type != graph.nodes[by].type:
            raise ShapeError(
                describe(
                    f"%{old} can not be replaced by %{by}",
                    expected=f"an earlier node of type {graph.nodes[old].type}",
                    got=str(graph.nodes[by].type),
                )
            )
    moved: dict[int, int] = {}

    def redirect(new: Graph, old: int, node: Node, args: tuple[int, ...]) -> int | None:
        if old in replacements:
            return moved[replacements[old]]
        moved[old] = len(new.nodes)
        return None

    return rebuild(graph, redirect)
