"""Checks of the derivatives of a graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphad.ad import transform
from graphad.errors import DifferentiationError
from graphad.interpret import interpret
from graphad.ir.graph import Graph
from graphad.ir.variable import Variable
from graphad.testing.compare import Array, close, difference, require_transposed
from graphad.testing.compiled import Compile, compare

DIFFERENCES = 1e-7  # fourth-order central differences
TWO_WAYS = 1e-10  # the same derivative from two orders of modes


def check_derivatives(
    graph: Graph,
    *args: Any,
    wrt: transform.Names = None,
    of: transform.Names = None,
    order: int = 2,
    tolerance: float = 1e-6,
    compiled: Compile | None = None,
    seed: int = 0,
) -> None:
    """Test the derivatives of a graph at given arguments, in random directions.

    Arguments:
        args: the inputs, in their order; floating inputs in float64.
        wrt, of: inputs and outputs to differentiate; default: all of floating dtype.
        order: 1 for jvp against differences and vjp against jvp, 2 for second derivatives as well.
        tolerance: for differences, relative to the largest element.
        compiled: as in `check_op`; value, jvp and vjp are compared with the interpreter.
        seed: of the random directions.

    Raises `AssertionError` saying which derivative is wrong. The graph has to be smooth within steps of 1e-3.

    >>> g = Graph("wave")
    >>> x = g.input("x", shape="n")
    >>> g.output("y", np.sin(x) * x[::-1])
    >>> check_derivatives(g, [0.1, 0.7, 2.0])
    """
    names, outputs = transform.select_inputs(graph, wrt), transform.select_outputs(graph, of)
    arrays = [np.asarray(a, graph.nodes[i].type.dtype) for a, i in zip(args, graph.inputs.values(), strict=True)]
    places = [list(graph.inputs).index(name) for name in names]
    rng = np.random.default_rng(seed)
    directions = [rng.uniform(0.5, 1.0, arrays[k].shape).astype(arrays[k].dtype) for k in places]
    pushed, pulled = transform.jvp(graph, names, outputs), transform.vjp(graph, names, outputs)

    def values(active: Sequence[Array]) -> list[Array]:
        given = list(arrays)
        for place, array in zip(places, active, strict=True):
            given[place] = array
        found = interpret(graph, *given)
        return [found[name] for name in outputs]

    forward = interpret(pushed, *arrays, *directions)
    tangents = [forward[f"{name}_dot"] for name in outputs]
    expected = difference(values, [arrays[k] for k in places], directions)
    for name, got, wanted in zip(outputs, tangents, expected, strict=True):
        size = float(np.max(np.abs(forward[name]), initial=0.0))
        close(got, wanted, tolerance, f"tangent of `{name}` against differences", size)
    seeds = [np.asarray(rng.uniform(-1.0, 1.0, t.shape), t.dtype) for t in tangents]
    reverse = interpret(pulled, *arrays, *seeds)
    require_transposed(seeds, tangents, [reverse[f"{name}_bar"] for name in names], directions, TWO_WAYS)
    if order > 1:
        second_order(graph, arrays, names, outputs, directions, rng)
    if compiled is not None:
        for derived, given in ((graph, arrays), (pushed, [*arrays, *directions]), (pulled, [*arrays, *seeds])):
            compare(derived, 0, compiled, [given])


def second_order(
    graph: Graph,
    arrays: Sequence[Array],
    names: Sequence[str],
    outputs: Sequence[str],
    directions: Sequence[Array],
    rng: np.random.Generator,
) -> None:
    """Compare H t for the Hessian H of ⟨v, outputs⟩ from two compositions of modes and from differences."""
    pulled = transform.vjp(graph, names, outputs)
    values = interpret(graph, *arrays)
    seeds = [np.asarray(rng.uniform(0.5, 1.0, values[o].shape), values[o].dtype) for o in outputs]
    places = [list(graph.inputs).index(name) for name in names]

    def gradient(active: Sequence[Array]) -> list[Array]:
        given = list(arrays)
        for place, array in zip(places, active, strict=True):
            given[place] = array
        found = interpret(pulled, *given, *seeds)
        return [found[f"{name}_bar"] for name in names]

    at = [arrays[k] for k in places]
    expected = difference(gradient, at, directions)
    # Differences of a gradient that cancels are as exact as its parts, so the gradient's size counts too.
    sizes = [float(np.max(np.abs(g), initial=0.0)) for g in gradient(at)]
    contracted = _contracted(graph, names, outputs)
    forward = [_push_gradient(pulled, names, name, [*arrays, *seeds, *directions]) for name in names]
    reverse = [_pull_contracted(contracted, name, [*arrays, *directions, *seeds]) for name in names]
    for name, f, r, e, size in zip(names, forward, reverse, expected, sizes, strict=True):
        whole, other = (np.zeros_like(e) if found is None else found for found in (f, r))
        close(whole, e, DIFFERENCES, f"second derivative of `{name}`, forward over reverse against differences", size)
        close(other, whole, TWO_WAYS, f"second derivative of `{name}`, reverse over forward", size)


def _push_gradient(pulled: Graph, names: Sequence[str], name: str, arrays: Sequence[Array]) -> Array | None:
    """The tangent of one cotangent; None where it is zero everywhere."""
    try:
        pushed = transform.jvp(pulled, names, f"{name}_bar")
    except DifferentiationError:
        return None
    return interpret(pushed, *arrays)[f"{name}_bar_dot"]


def _pull_contracted(contracted: Graph, name: str, arrays: Sequence[Array]) -> Array | None:
    """The gradient of ⟨v, J t⟩ with respect to one input; None where it is zero everywhere."""
    try:
        gradient = transform.grad(contracted, name, "total")
    except DifferentiationError:
        return None
    return interpret(gradient, *arrays)[f"dtotal_d{name}"]


def _contracted(graph: Graph, names: Sequence[str], outputs: Sequence[str]) -> Graph:
    """The graph of ⟨v, J t⟩, with tangents t and then cotangents v as further inputs."""
    pushed = transform.jvp(graph, names, outputs)
    new = Graph("contracted")
    given: dict[str, Variable] = {}
    for name, node_id in pushed.inputs.items():
        kind = pushed.nodes[node_id].type
        given[name] = new.input(name, kind.shape, kind.dtype)
    results = pushed(**given)
    total: Any = 0.0
    for name in outputs:
        tangent = results[f"{name}_dot"]
        seed = new.input(f"{name}_bar", tangent.shape, tangent.dtype)
        total = (seed * tangent).sum() + total
    new.output("total", total)
    return new.freeze()
