"""Compiled functions against the interpreter."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from graphad.ad import transform
from graphad.interpret import interpret
from graphad.ir.graph import Graph
from graphad.ir.operation import Op
from graphad.testing.cases import SPECIAL, Case, cases
from graphad.testing.compare import Array, close, require

Compile: TypeAlias = Callable[[Graph], Callable[..., Any]]

COMPILED = 1e-12  # functions differ by some ulp, sums in their order
SINGLE = 1e-5  # float32


def check_compiled(op: Op, compiled: Compile) -> None:
    """Value and cotangents of a compiled graph are those of the interpreter; also in float32 and at special numbers.

    Elementwise operations are compiled once with a named size and called with several, and once with operands that
    broadcast.
    """
    listed = cases(op)
    if not op.elementwise:
        for case in listed:
            compare(*_program(case, None), compiled, [case.arrays])
        return
    seen: set[str] = set()
    for case in listed:
        kinds = f"{case.params} {[a.dtype for a in case.arrays]}"
        shapes = {a.shape for a in case.arrays}
        if kinds in seen or shapes != {(3,)}:
            if len(shapes) > 1 and case.arrays[0].size:
                compare(*_program(case, None), compiled, [case.arrays])
            continue
        seen.add(kinds)
        graph, count = _program(case, "n")
        compare(graph, count, compiled, [tuple(np.resize(a, n) for a in case.arrays) for n in (3, 1, 0, 9)])
        if all(a.dtype == np.float64 for a in case.arrays) and "dtype" not in case.params:
            rows = zip(*itertools.product(SPECIAL, repeat=len(case.arrays)), strict=True)
            single = Case(op, {}, tuple(a.astype(np.float32) for a in case.arrays), case.wiring, case.active)
            compare(*_program(single, "n"), compiled, [single.arrays], SINGLE)
            special = Case(op, case.params, case.arrays, case.wiring, ())
            compare(*_program(special, "n"), compiled, [tuple(np.array(row) for row in rows)])


def _program(case: Case, size: str | None) -> tuple[Graph, int]:
    """Value and cotangents of a case in one graph, and how many of its inputs are seeds; `size` names the one axis."""
    graph = Graph(f"check_{case.op.name}")
    shapes = [a.shape if size is None else (size,) for a in case.arrays]
    inputs = [graph.input(f"x{k}", s, a.dtype) for k, (s, a) in enumerate(zip(shapes, case.arrays, strict=True))]
    graph.output("y", graph.apply(case.op.name, *[inputs[k] for k in case.wiring], **case.params))
    return (transform.vjp(graph, case.names, "y"), 1) if case.active else (graph.freeze(), 0)


def compare(
    graph: Graph, seeds: int, compiled: Compile, calls: Sequence[Sequence[Array]], tolerance: float = COMPILED
) -> None:
    """Call a compiled graph and compare all its outputs with the interpreter's; appends `seeds` cotangents."""
    function = compiled(graph)
    for arrays in calls:
        given = list(arrays)
        if seeds:
            found = graph.nodes[list(graph.inputs.values())[-1]].type
            literal = tuple(e for e in found.shape if isinstance(e, int))
            shape = literal if len(literal) == found.rank else arrays[0].shape
            given.append(np.linspace(0.5, 1.5, math.prod(shape)).reshape(shape).astype(found.dtype))
        expected, got = interpret(graph, *given), _named(function(*given), graph)
        for name, value in expected.items():
            result = np.asarray(got[name])
            require(result.dtype == value.dtype, f"compiled `{name}` has another dtype", value.dtype, result.dtype)
            close(result, value, tolerance, f"compiled `{name}` of shape {result.shape}")


def _named(result: Any, graph: Graph) -> Mapping[str, Any]:
    """What a compiled function answered, by the names of the outputs."""
    if isinstance(result, Mapping):
        return result
    return dict(zip(graph.outputs, result if len(graph.outputs) > 1 else (result,), strict=True))
