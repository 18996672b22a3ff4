"""Reverse mode of loops: the parts that a sweep concerns, its body, and the derivatives of sweeps.

See `graphad.ad.loop` for what the derivatives of sweeps are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphad.ad import arith
from graphad.ad.expand import expanded, stored_carries
from graphad.ad.flow import body_flow, loop_state
from graphad.ad.forward import push_forward
from graphad.ad.loop import Loop, Values, dual, ordered
from graphad.ad.reverse import pull_back
from graphad.errors import DifferentiationError, describe
from graphad.ir.bodies import fresh_names, input_like
from graphad.ir.graph import Graph, Node
from graphad.ir.variable import Variable
from graphad.ops.control import results_of
from graphad.ops.listening import parameter


@dataclass(frozen=True)
class Parts:
    """Which parts of a loop a reverse sweep concerns: positions of carries, ys, stacked operands, constants."""

    wrt_carries: tuple[int, ...]
    of_ys: tuple[int, ...]
    wrt_xs: tuple[int, ...]
    wrt_constants: tuple[int, ...]

    def seeds(self, loop: Loop) -> tuple[int, ...]:
        """The positions of the loop's results whose cotangents the sweep takes, in order."""
        return self.wrt_carries + tuple([loop.carries + k for k in self.of_ys])

    def places(self, loop: Loop) -> tuple[int, ...]:
        """For each result of the sweep the position of the operand whose cotangent it is."""
        xs = tuple([loop.carries + k for k in self.wrt_xs])
        return self.wrt_carries + xs + tuple([loop.constants[k] for k in self.wrt_constants])


def parts_of(loop: Loop, given: Sequence[bool], wanted: Sequence[bool]) -> Parts:
    """The parts between results with cotangents and operands whose cotangents are wanted."""
    state, results = loop_state(loop.body, loop.carries)
    steps = body_flow(loop.body)
    asked = sum(1 << k for k, one in enumerate(wanted) if one)
    ys = [k for k in range(loop.carries, len(results)) if given[k] and results[k] & asked]
    needed = {k for k in range(loop.carries) if given[k]} | set(_carries_in(loop, [steps[k] for k in ys]))
    while more := set(_carries_in(loop, [steps[k] for k in needed])) - needed:
        needed |= more
    inner = [k for k in sorted(needed) if state[k] & asked]
    reached = 0
    for k in (*inner, *ys):
        reached |= steps[k]
    middle = loop.carries + loop.xs
    found = [k for k in range(loop.carries, len(wanted)) if wanted[k] and reached >> k & 1]
    return Parts(
        tuple(inner), tuple([k - loop.carries for k in ys]), tuple([k - loop.carries for k in found if k < middle]),
        tuple([k - middle for k in found if k >= middle]),
    )  # fmt: skip


def _carries_in(loop: Loop, masks: Sequence[int]) -> list[int]:
    return [k for k in range(loop.carries) if any(mask >> k & 1 for mask in masks)]


def adjoint_of(loop: Loop, parts: Parts, *, guarded: bool = False) -> Graph:
    """The body of the reverse sweep; its inputs and outputs are described at `scan_adjoint`."""
    body = loop.body
    new = body.copy(f"{body.name}_adjoint")
    new.outputs = {}
    outputs = list(body.outputs.items())
    bars = fresh_names(body, [f"{outputs[k][0]}_bar" for k in parts.seeds(loop)])
    seeds: dict[int, Variable] = {}
    for k, name in zip(parts.seeds(loop), bars, strict=True):
        seed, target = input_like(new, name, new, outputs[k][1]), outputs[k][1]
        seeds[target] = seeds[target] + seed if target in seeds else seed
    names = [list(body.inputs)[k] for k in parts.places(loop)]
    targets = [body.inputs[name] for name in names]
    found = pull_back(new, seeds, targets, guarded=guarded)
    values = [arith.materialized(v, Variable(new, t)) for v, t in zip(found, targets, strict=True)]
    cut = len(targets) - len(parts.wrt_constants)
    sums = fresh_names(new, [f"{name}_sum" for name in names[cut:]])
    for k, name in enumerate(sums, start=cut):
        total = input_like(new, name, new, targets[k])
        value = arith.add(total, found[k])
        values[k] = arith.materialized(value, total)
    for name, value in zip(fresh_names(new, [f"{name}_bar" for name in names]), values, strict=True):
        new.output(name, value)
    return ordered(new, [*body.inputs, *bars, *sums])


def sweep(
    graph: Graph,
    loop: Loop,
    operands: Sequence[Variable],
    cotangents: Values,
    wanted: Sequence[bool],
    *,
    guarded: bool = False,
) -> list[Variable | None]:
    """Cotangents of the operands of a loop for cotangents of its results; None where there is none."""
    parts = parts_of(loop, [c is not None for c in cotangents], wanted)
    answer: list[Variable | None] = [None] * len(operands)
    places = parts.places(loop)
    if not places:
        return answer
    given = [arith.materialized(cotangents[k], operands[k]) for k in parts.wrt_carries]
    given += [bar for k in parts.of_ys if (bar := cotangents[loop.carries + k]) is not None]
    sums = [arith.zeros(operands[loop.constants[k]]) for k in parts.wrt_constants]
    node = _sweep_node(graph, loop, parts, adjoint_of(loop, parts, guarded=guarded), [*operands, *given, *sums])
    for k, value in zip(places, results_of(node), strict=True):
        answer[k] = value
    return answer


def _sweep_node(
    graph: Graph, loop: Loop, parts: Parts, adjoint: Graph, operands: Sequence[Variable]
) -> Variable:
    if loop.test is not None:
        return graph.apply(
            "while_adjoint", *operands, test=loop.test, body=loop.body, adjoint=adjoint, carries=loop.carries,
            wrt_carries=parts.wrt_carries, wrt_constants=parts.wrt_constants, **parameter(loop.progress),
        )  # fmt: skip
    return graph.apply(
        "scan_adjoint", *operands, body=loop.body, adjoint=adjoint, carries=loop.carries, xs=loop.xs,
        length=loop.length, reverse=loop.reverse, schedule=loop.checkpoint, wrt_carries=parts.wrt_carries,
        of_ys=parts.of_ys, wrt_xs=parts.wrt_xs, wrt_constants=parts.wrt_constants, **parameter(loop.progress),
    )  # fmt: skip


# ---------------------------------------------------------------------- derivatives of sweeps


@dataclass(frozen=True)
class Sweep:
    """A node that is the reverse sweep of a loop.

    Arguments:
        loop: of which it is the sweep.
        places: for each result the position of that operand of the loop whose cotangent it is.
        seeds: the positions of results of the loop whose cotangents are operands, in order.
        sums: the number of sums, which are the last operands and the last results.
    """

    loop: Loop
    places: tuple[int, ...]
    seeds: tuple[int, ...]
    sums: int

    @staticmethod
    def of(node: Node) -> Sweep:
        """The sweep that a node is."""
        loop, params = Loop.of(node), dict(node.params)
        named = ("wrt_carries", "of_ys", "wrt_xs", "wrt_constants")
        parts = Parts(*[params.get(name, ()) for name in named])
        return Sweep(loop, parts.places(loop), parts.seeds(loop), len(parts.wrt_constants))

    @property
    def count(self) -> int:
        """The number of the loop's own operands."""
        return len(self.loop.body.inputs)

    def cotangents(self, operands: Values) -> list[Variable | None]:
        """For all results of the loop what stands among the operands (or their tangents) for it; None for others."""
        found: list[Variable | None] = [None] * len(self.loop.body.outputs)
        for k, value in zip(self.seeds, operands[self.count :], strict=False):
            found[k] = value
        return found

    def wanted(self) -> list[bool]:
        """For the loop's operands whether their cotangents are results."""
        return [k in self.places for k in range(self.count)]


def _is_batched(one: Sweep, operands: Sequence[Variable]) -> bool:
    """Whether cotangents have batch axes that the loop itself lacks: its Jacobian does not describe them."""
    results = [one.loop.body.nodes[i].type.rank for i in one.loop.body.outputs.values()]
    stacks = [0 if k < one.loop.carries else 1 for k in one.seeds]
    seeds = zip(one.seeds, stacks, operands[one.count :], strict=False)
    constants = one.places[len(one.places) - one.sums :]
    sums = zip(constants, operands[len(operands) - one.sums :], strict=True)
    return any(v.ndim != results[k] + more for k, more, v in seeds) or any(v.ndim != operands[k].ndim for k, v in sums)


def _plain(graph: Graph, node: Node) -> list[Variable]:
    """The results of a batched sweep by plain loops."""
    if node.op != "scan_adjoint":
        raise DifferentiationError(
            describe(
                "the Jacobian of a `while_loop` by reverse mode is not differentiated again",
                source=node.source,
                fix="differentiate first: `hessian`, or `jacobian` of a gradient",
            )
        )
    loop, places = expanded(graph, node, node.args, stored_carries(node))
    return [graph.apply("item", Variable(graph, loop), index=places[k]) for k in range(len(places))]


def push_sweep(graph: Graph, node: Node, operands: Sequence[Variable], tangents: Values) -> list[Variable | None]:
    """Tangents of the results of a sweep: the sweep of the loop of duals."""
    one = Sweep.of(node)
    if _is_batched(one, operands):
        given = {v.id: t for v, t in zip(operands, tangents, strict=True) if t is not None}
        return push_forward(graph, given, [v.id for v in _plain(graph, node)])
    primals, moving = operands[: one.count], tangents[: one.count]
    if all(t is None for t in moving):
        found = sweep(graph, one.loop, primals, one.cotangents(tangents), one.wanted())
    else:
        moved = dual(one.loop, [k for k, t in enumerate(moving) if t is not None])
        seeds = moved.seeds(one.cotangents(tangents), one.cotangents(operands))
        found = moved.primals(
            sweep(graph, moved.loop, moved.operands(primals, moving), seeds, moved.spread(one.wanted()))
        )
    results = [found[k] for k in one.places]
    start = len(results) - one.sums
    for k in range(one.sums):
        results[start + k] = arith.add(results[start + k], tangents[len(operands) - one.sums + k])
    return results


def pull_sweep(
    graph: Graph, node: Node, operands: Sequence[Variable], cotangents: Values, wanted: Sequence[bool], guarded: bool
) -> list[Variable | None]:
    """Cotangents of the operands of a sweep: the loop of duals, and its sweep."""
    one = Sweep.of(node)
    if _is_batched(one, operands):
        results = zip(_plain(graph, node), cotangents, strict=True)
        targets = [v.id for v in operands]
        return pull_back(graph, {v.id: c for v, c in results if c is not None}, targets, independent=True)
    primals = operands[: one.count]
    directions: list[Variable | None] = [None] * one.count
    for k, value in zip(one.places, cotangents, strict=True):
        directions[k] = value
    answer: list[Variable | None] = [None] * len(operands)
    moved = dual(one.loop, [k for k, d in enumerate(directions) if d is not None])
    doubled = moved.operands(primals, directions)
    ends = (one.count + len(one.seeds), len(cotangents) - one.sums)
    if any(wanted[one.count : ends[0]]):
        pushed = moved.tangents(moved.loop.apply(graph, doubled))
        answer[one.count : ends[0]] = [pushed[k] for k in one.seeds]
    if any(wanted[: one.count]):
        seeds = moved.seeds([None] * len(one.loop.body.outputs), one.cotangents(operands))
        back = sweep(graph, moved.loop, doubled, seeds, moved.spread(wanted[: one.count]))
        answer[: one.count] = moved.primals(back)
    answer[ends[0] :] = cotangents[ends[1] :]
    return answer


def pull_loop(
    graph: Graph, node: Node, operands: Sequence[Variable], cotangents: Values, wanted: Sequence[bool], guarded: bool
) -> list[Variable | None]:
    """Cotangents of the operands of a loop."""
    return sweep(graph, Loop.of(node), operands, cotangents, wanted, guarded=guarded)
