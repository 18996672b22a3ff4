"""graphad: the checked call that users make, and the kernel behind it with results' arrays made beforehand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import graphad as ga
from benchmarks.peers import sparse
from benchmarks.peers.dialect import graphad_dialect
from benchmarks.problem import Arrays, Entrant, Problem, flat
from graphad.analysis.cost import graph_flops
from graphad.compile import Tier
from graphad.interpret import solve_sizes


def build(problem: Problem, dtype: str = "float64") -> ga.Graph:
    """The graph of a problem's formula; its output is called `y`."""
    graph = ga.Graph(problem.name)
    inputs = [graph.input(name, shape=shape, dtype=dtype) for name, shape in problem.shapes.items()]
    graph.hints.update(problem.hints)
    graph.output("y", problem.formula_of("graphad")(graphad_dialect(graph), *inputs))
    return graph


def derive(problem: Problem, graph: ga.Graph, tier: Tier = "compiled") -> ga.CompiledFunction | ga.SparseFunction:
    """The derivative that a problem asks for."""
    wrt = list(problem.wrt)
    if problem.sparse:
        make = ga.hessian if problem.derivative == "sparse_hessian" else ga.jacobian
        return make(graph, wrt[0], sparse=True, tier=tier)
    if problem.derivative == "batched_jacobian":
        return ga.jacobian(graph, wrt, batch="n", sparse=False, tier=tier)
    if problem.derivative == "jacobian":
        return ga.jacobian(graph, wrt, sparse=False, tier=tier)
    scalar = {"value_and_grad": ga.value_and_grad, "grad": ga.grad, "hvp": ga.hvp}
    return scalar[problem.derivative](graph, wrt, tier=tier)


def entrants(problem: Problem, arrays: Arrays) -> Mapping[str, Entrant]:
    """The checked call and the bare kernel."""
    dtype = next(iter(arrays.values())).dtype.name
    function = derive(problem, build(problem, dtype))
    return sparse.calls(function, arrays) if isinstance(function, ga.SparseFunction) else calls(function, arrays)


def value_call(problem: Problem, arrays: Arrays) -> Callable[[], Any] | None:
    """The checked call of the value alone, for problems that ask for a gradient or a product of a scalar."""
    if problem.derivative not in ("value_and_grad", "grad", "hvp") or problem.makers:
        return None
    function = ga.compile(build(problem, next(iter(arrays.values())).dtype.name))
    values = [arrays[name] for name in problem.shapes]
    return lambda: function(*values)


def calls(function: ga.CompiledFunction, arrays: Arrays) -> Mapping[str, Entrant]:
    """Both ways to call a compiled function; the kernel's results are compared as they lie in its arrays."""
    values = tuple(arrays.values())
    names = [*function.graph.inputs]
    extents = solve_sizes(function.graph, {n: v.shape for n, v in zip(names, values, strict=True)})
    flops = graph_flops(function.optimized, extents)
    return {"graphad": Entrant(lambda: function(*values), flat, flops), "graphad bound": bound(function, values)}


def bound(function: ga.CompiledFunction, values: tuple[Any, ...]) -> Entrant:
    """The function on fixed buffers: no checks, no allocation of results."""
    return Entrant(function.bind(*values), lambda returned: [part.copy() for part in flat(returned)])
