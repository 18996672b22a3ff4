"""Derivatives of `cond`: the branch of the same predicate with the derivatives of both bodies."""

from __future__ import annotations

from collections.abc import Sequence

from graphad.ad import arith
from graphad.ad.flow import body_flow
from graphad.ad.forward import push_forward
from graphad.ad.loop import Values, ordered
from graphad.ad.reverse import pull_back
from graphad.ir.bodies import fresh_names, input_like
from graphad.ir.graph import Graph, Node
from graphad.ir.variable import Variable
from graphad.ops.control import results_of


def push_cond(graph: Graph, node: Node, operands: Sequence[Variable], tangents: Values) -> list[Variable | None]:
    """Tangents of the results of a branch, None where neither body moves one."""
    branches = node.param("on_true"), node.param("on_false")
    moving = [k for k, t in enumerate(tangents[1:]) if t is not None]
    reached = _either(branches)
    results = [k for k, mask in enumerate(reached) if any(mask >> p & 1 for p in moving)]
    answer: list[Variable | None] = [None] * len(reached)
    if not results:
        return answer
    yes, no = [_tangents(branch, moving, results) for branch in branches]
    given = [t for t in tangents[1:] if t is not None]
    found = results_of(graph.apply("cond", *operands, *given, on_true=yes, on_false=no))
    for k, value in zip(results, found, strict=True):
        answer[k] = value
    return answer


def _either(branches: Sequence[Graph]) -> list[int]:
    """For each result the operands from which a derivative flows to it in one of the bodies."""
    return [a | b for a, b in zip(*map(body_flow, branches), strict=True)]


def _tangents(branch: Graph, moving: Sequence[int], results: Sequence[int]) -> Graph:
    new = branch.copy(f"{branch.name}_jvp")
    new.outputs = {}
    inputs, outputs = list(branch.inputs.items()), list(branch.outputs.items())
    dots = [f"{inputs[k][0]}_dot" for k in moving]
    names = fresh_names(branch, dots)
    seeds = {inputs[k][1]: input_like(new, name, new, inputs[k][1]) for k, name in zip(moving, names, strict=True)}
    targets = [outputs[k][1] for k in results]
    for k, tangent in zip(results, push_forward(new, seeds, targets), strict=True):
        new.output(outputs[k][0], arith.materialized(tangent, Variable(new, outputs[k][1])))
    return ordered(new, [*branch.inputs, *names])


def pull_cond(
    graph: Graph, node: Node, operands: Sequence[Variable], cotangents: Values, wanted: Sequence[bool], guarded: bool
) -> list[Variable | None]:
    """Cotangents of the operands of a branch, None where neither body gives one."""
    branches = node.param("on_true"), node.param("on_false")
    given = [k for k, c in enumerate(cotangents) if c is not None]
    reached = 0
    for k, mask in enumerate(_either(branches)):
        reached |= mask if k in given else 0
    asked = [k for k in range(len(operands) - 1) if wanted[k + 1] and reached >> k & 1]
    answer: list[Variable | None] = [None] * len(operands)
    if not asked:
        return answer
    yes, no = [_cotangents(branch, given, asked, guarded=guarded) for branch in branches]
    seeds = [c for c in cotangents if c is not None]
    found = results_of(graph.apply("cond", *operands, *seeds, on_true=yes, on_false=no))
    for k, value in zip(asked, found, strict=True):
        answer[k + 1] = value
    return answer


def _cotangents(branch: Graph, given: Sequence[int], asked: Sequence[int], *, guarded: bool) -> Graph:
    new = branch.copy(f"{branch.name}_vjp")
    new.outputs = {}
    inputs, outputs = list(branch.inputs.items()), list(branch.outputs.items())
    names = fresh_names(branch, [f"{outputs[k][0]}_bar" for k in given])
    seeds: dict[int, Variable] = {}
    for k, name in zip(given, names, strict=True):
        seed, target = input_like(new, name, new, outputs[k][1]), outputs[k][1]
        seeds[target] = seeds[target] + seed if target in seeds else seed
    targets = [inputs[k][1] for k in asked]
    found = pull_back(new, seeds, targets, guarded=guarded)
    for name, target, value in zip(
        fresh_names(new, [f"{inputs[k][0]}_bar" for k in asked]), targets, found, strict=True
    ):
        new.output(name, arith.materialized(value, Variable(new, target)))
    return ordered(new, [*branch.inputs, *names])
