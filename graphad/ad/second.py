"""Second derivatives in any order of the two modes: a Hessian times a vector, or times several.

Reference: B. A. Pearlmutter, Fast exact multiplication by the Hessian, Neural Computation 6 (1994); Griewank and
Walther, section 5.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from graphad.ad import arith
from graphad.ad.batch import batch_nodes
from graphad.ad.forward import push_forward
from graphad.ad.reverse import pull_back
from graphad.ir.graph import Graph
from graphad.ir.variable import Variable

Nesting = Literal["forward over reverse", "reverse over forward", "reverse over reverse"]
NESTINGS: tuple[Nesting, ...] = get_args(Nesting)
Values = list[Variable | None]


def gradients(graph: Graph, inputs: Sequence[int], target: int) -> Values:
    """The gradient of a scalar node, added to an open graph; None where it does not depend on an input."""
    one = graph.const(1.0, graph.nodes[target].type.dtype)
    return pull_back(graph, {target: one}, inputs)


def products(
    graph: Graph,
    nesting: Nesting,
    inputs: Sequence[int],
    target: int,
    first: Values,
    vectors: Sequence[Variable | None],
) -> Values:
    """The Hessian of a scalar node times vectors, added to an open graph; None for zero.

    Arguments:
        first: its gradient, as `gradients` gives it.
        vectors: one for each input, of its type; None for zero.
    """
    tangents = {i: v for i, v in zip(inputs, vectors, strict=True) if v is not None}
    if nesting == "reverse over forward":
        (slope,) = push_forward(graph, tangents, [target])
        return [None for _ in inputs] if slope is None else gradients(graph, inputs, slope.id)
    found = [g for g in first if g is not None]
    if nesting == "forward over reverse":
        rest = iter(push_forward(graph, tangents, [g.id for g in found]))
        return [None if g is None else next(rest) for g in first]
    seeds: dict[int, Variable] = {}
    for g, vector in zip(first, vectors, strict=True):
        if g is not None and vector is not None:
            seed = vector if g.shape == vector.shape else arith.unbroadcast(vector, g.shape)
            total = arith.add(seeds.get(g.id), seed)
            assert total is not None
            seeds[g.id] = total
    return pull_back(graph, seeds, inputs)


def batched_products(
    graph: Graph, nesting: Nesting, inputs: Sequence[int], target: int, first: Values, stacks: Sequence[Variable | None]
) -> Values:
    """Like `products`, for stacks of vectors along leading axes, all of the same extents.

    Arguments:
        stacks: one for each input, of its shape behind the leading axes; None for zeros.
    """
    kinds = [graph.nodes[i].type for i in inputs]
    vectors = [
        None if s is None else graph.apply("placeholder", shape=kind.shape, dtype=kind.dtype)
        for s, kind in zip(stacks, kinds, strict=True)
    ]
    axes, lead = next(
        (s.ndim - k.rank, s.shape[: s.ndim - k.rank]) for s, k in zip(stacks, kinds, strict=True) if s is not None
    )
    results = products(graph, nesting, inputs, target, first, vectors)
    seeds = {v.id: s for v, s in zip(vectors, stacks, strict=True) if v is not None and s is not None}
    batched = iter(batch_nodes(graph, seeds, [r.id for r in results if r is not None], axes))
    return [
        None if r is None else arith.broadcast_to(next(batched), (*lead, *k.shape))
        for r, k in zip(results, kinds, strict=True)
    ]
