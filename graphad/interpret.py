"""The oracle: a graph evaluated node by node with the NumPy references of its operations. Slow and plain."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphad.errors import IndexRangeError, ShapeError, Source, describe
from graphad.ir import sizes
from graphad.ir.apply import bind_arguments
from graphad.ir.bodies import extent_parameters
from graphad.ir.graph import Graph, keep
from graphad.ir.operation import lookup
from graphad.ir.sizes import Extent, Size
from graphad.ir.verify import check_sizes


def interpret(graph: Graph, *args: Any, **kwargs: Any) -> dict[str, NDArray[Any]]:
    """Evaluate a graph with NumPy.

    Arguments: the inputs, by position or by name; converted to the declared dtypes.
    Returns a dictionary from output names to new arrays.

    >>> g = Graph("sum")
    >>> x = g.input("x", shape="n")
    >>> g.output("total", x.sum())
    >>> interpret(g, [1.0, 2.0, 3.5])
    {'total': array(6.5)}
    """
    graph.freeze()
    check_sizes(graph)
    given = bind_arguments(graph, args, kwargs)
    arrays = {
        name: np.asarray(value, dtype=graph.nodes[graph.inputs[name]].type.dtype) for name, value in given.items()
    }
    shapes = {name: array.shape for name, array in arrays.items()}
    bound = solve_sizes(graph, shapes)
    return evaluate(graph, {graph.inputs[n]: a for n, a in arrays.items()}, bound, graph.outputs)


def evaluate(
    graph: Graph, values: Mapping[int, NDArray[Any]], bound: Mapping[str, int], targets: Mapping[str, int]
) -> dict[str, NDArray[Any]]:
    """Values of some nodes for values of others; `bound` gives the named sizes."""
    found = Prepared(graph, values, bound, tuple(targets.values())).run(values)
    return dict(zip(targets, map(np.array, found), strict=True))


class Prepared:
    """Some nodes of a graph, ready to be evaluated many times for values of others.

    Arguments:
        given: the nodes whose values are given at each run.
        bound: the named sizes.
        targets: the nodes whose values are wanted.
    """

    def __init__(self, graph: Graph, given: Iterable[int], bound: Mapping[str, int], targets: Sequence[int]) -> None:
        self.nodes = graph.nodes
        self.given = tuple(given)
        self.targets = targets
        self.steps: list[tuple[int, Callable[..., Any], tuple[int, ...], dict[str, Any]]] = []
        here = set(self.given)
        for node_id in sorted(keep(graph, targets)):
            if node_id not in here:
                node = graph.nodes[node_id]
                params = dict(extent_parameters(node.params, lambda e: sizes.evaluate(e, bound)))
                self.steps.append((node_id, lookup(node.op).reference, node.args, params))

    def run(self, values: Mapping[int, Any]) -> tuple[Any, ...]:
        """The values of the targets: arrays, and tuples of arrays for nodes with several results."""
        known: dict[int, Any] = dict(values)
        with np.errstate(all="ignore"):
            for node_id, reference, args, params in self.steps:
                try:
                    result = reference(*[known[a] for a in args], **params)
                except IndexRangeError as error:
                    raise _located(error, self.nodes[node_id].source) from None
                known[node_id] = result if type(result) is tuple else np.asarray(result)
        return tuple([known[i] for i in self.targets])


def _located(error: IndexRangeError, source: Source | None) -> IndexRangeError:
    """An error with the user's line; that of the innermost body is the one that says most."""
    text = str(error)
    if source is None or "\n  at: " in text:
        return error
    before, fix, after = text.partition("\n  fix: ")
    return IndexRangeError(f"{before}\n  at: {source}{fix}{after}")


@lru_cache(maxsize=256)
def prepared_body(body: Graph) -> Prepared:
    """A body whose extents are all integers, ready to be run."""
    return Prepared(body, body.inputs.values(), {}, tuple(body.outputs.values()))


def run_body(body: Graph, arrays: Sequence[Any]) -> tuple[Any, ...]:
    """The results of a body whose extents are all integers, for its inputs in order.

    >>> g = Graph("double")
    >>> x = g.input("x")
    >>> g.output("y", x + x)
    >>> run_body(g.freeze(), [np.array(2.0)])
    (array(4.),)
    """
    ready = prepared_body(body)
    return ready.run(dict(zip(ready.given, arrays, strict=True)))


def solve_sizes(graph: Graph, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """The named sizes from the shapes of the arguments, all requirements checked.

    Raises `ShapeError` for a wrong rank, a wrong extent, two arguments that disagree about a size, and sizes that a
    slice or an operation of the graph excludes.
    """
    bound: dict[str, int] = {}
    owner: dict[str, str] = {}
    checks: list[tuple[str, int, Extent, int]] = []
    declarations = {name: graph.nodes[graph.inputs[name]] for name in shapes}
    for name, shape in shapes.items():
        declared = declarations[name].type.shape
        if len(declared) != len(shape):
            raise ShapeError(
                describe(
                    f"`{graph.name}`: wrong rank of `{name}`",
                    expected=f"{len(declared)} axes: {_show(declared)}",
                    got=f"{len(shape)} axes: {shape}",
                    source=declarations[name].source,
                    fix="reshape the argument, or declare the input with this rank; nothing is broadcast silently",
                )
            )
        for axis, (extent, got) in enumerate(zip(declared, shape, strict=True)):
            checks.append((name, axis, extent, got))
    for name, _, extent, got in sorted(checks, key=lambda c: len(str(c[2]))):
        if isinstance(extent, Size) and len(unknown := sorted(extent.names() - set(bound))) == 1:
            solved = solve_linear(extent, unknown[0], got, bound)
            if solved is not None and solved >= 0:
                bound[unknown[0]], owner[unknown[0]] = solved, name
    for name, axis, extent, got in checks:
        if unbound := sizes.names(extent) - set(bound):
            raise ShapeError(
                describe(
                    f"`{graph.name}`: no size `{min(unbound)}` gives axis {axis} of `{name}` its length",
                    expected=f"{extent} for some {min(unbound)} >= 0",
                    got=str(got),
                    source=declarations[name].source,
                    fix=f"pass a length that {extent} can take, and make `{min(unbound)}` an axis of its own",
                )
            )
        if (value := sizes.evaluate(extent, bound)) != got:
            shared = [f"{s}={bound[s]} by `{owner[s]}`" for s in sorted(sizes.names(extent))]
            raise ShapeError(
                describe(
                    f"`{graph.name}`: wrong size of axis {axis} of `{name}`",
                    expected=f"{extent}" + (f" = {value} ({', '.join(shared)})" if shared else ""),
                    got=f"{got} in shape {shapes[name]}",
                    source=declarations[name].source,
                    fix="pass arrays that agree with the declared shapes; nothing is broadcast silently",
                )
            )
    check_requirements(graph, bound)
    return bound


def check_requirements(graph: Graph, bound: Mapping[str, int]) -> None:
    """Raise `ShapeError` where given sizes break a requirement of the graph."""
    for requirement in graph.requirements:
        if not requirement.holds(bound):
            relation = "==" if requirement.kind == "equal" else "<="
            values = ", ".join(f"{n}={v}" for n, v in bound.items())
            raise ShapeError(
                describe(
                    f"`{graph.name}`: {requirement.reason}",
                    expected=f"{requirement.left} {relation} {requirement.right}",
                    got=values,
                    fix="pass arrays of sizes that the graph allows",
                    source=requirement.source,  # type: ignore[arg-type]
                )
            )


def solve_linear(extent: Size, name: str, value: int, bound: Mapping[str, int]) -> int | None:
    """The integer for which a linear expression in one unknown size takes a value, or None."""
    at0 = extent.substitute({**bound, name: 0})
    at1 = extent.substitute({**bound, name: 1})
    at2 = extent.substitute({**bound, name: 2})
    if not (isinstance(at0, int) and isinstance(at1, int) and isinstance(at2, int)):
        return None
    slope = at1 - at0
    if slope == 0 or at2 - at1 != slope or (value - at0) % slope:
        return None
    return (value - at0) // slope


def _show(shape: tuple[Extent, ...]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
