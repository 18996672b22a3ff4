"""Derivatives of loops: a loop of duals in forward mode, a reverse sweep in reverse mode, and both of sweeps.

A sweep A(x, v) = J(x)ᵀ v is described by the loop whose Jacobian J it applies. With the loop of duals
D(x, w) = (f(x), J(x) w), its derivatives are sweeps again:

    the tangent of A(x, v) along (x', v')   is the x part of the sweep of D at (x, x') for cotangents (v', v)
    the cotangent of v for a cotangent w    is J(x) w, which D computes
    the cotangent of x for a cotangent w    is the x part of the sweep of D at (x, w) for cotangents (0, v)

The first holds because d(J(x)ᵀ v) = Jᵀ v' + d(Jᵀ) v, and these are the two terms that reverse mode adds up in D. So
derivatives of any order need no further kinds of loops, and keep their schedules of checkpoints.

Reference: Griewank and Walther, Evaluating Derivatives, 2nd ed., SIAM 2008, sections 5.1 and 12.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from graphad.ad import arith
from graphad.ad.flow import loop_state
from graphad.ad.forward import push_forward
from graphad.ir.bodies import fresh_names, input_like, with_inputs
from graphad.ir.graph import Graph, Node
from graphad.ir.sizes import Extent
from graphad.ir.variable import Variable
from graphad.ops.control import results_of
from graphad.ops.listening import Progress, parameter

Values = Sequence[Variable | None]


@dataclass(frozen=True)
class Loop:
    """A `scan`, or with a test a `while_loop`: everything but the operands."""

    body: Graph
    carries: int
    xs: int = 0
    length: Extent = 0
    reverse: bool = False
    checkpoint: tuple[Any, ...] | None = None
    test: Graph | None = None
    progress: Progress = ()

    @staticmethod
    def of(node: Node) -> Loop:
        """The loop of a node, or the one of which it is the reverse sweep."""
        params = dict(node.params)
        progress = params.get("progress", ())
        if "test" in params:
            return Loop(params["body"], params["carries"], test=params["test"], progress=progress)
        schedule = params["checkpoint"] if node.op == "scan" else params["schedule"]
        return Loop(
            params["body"], params["carries"], params["xs"], params["length"], params["reverse"], schedule,
            progress=progress,
        )  # fmt: skip

    @property
    def constants(self) -> range:
        """The positions of the constants among the operands."""
        return range(self.carries + self.xs, len(self.body.inputs))

    def apply(self, graph: Graph, operands: Sequence[Variable]) -> list[Variable]:
        """The results of the loop."""
        if self.test is not None:
            node = graph.apply(
                "while_loop", *operands, body=self.body, carries=self.carries, test=self.test,
                **parameter(self.progress),
            )  # fmt: skip
        else:
            node = graph.apply(
                "scan", *operands, body=self.body, carries=self.carries, xs=self.xs, length=self.length,
                reverse=self.reverse, checkpoint=self.checkpoint, **parameter(self.progress),
            )  # fmt: skip
        return results_of(node)


# ---------------------------------------------------------------------- forward


@dataclass(frozen=True)
class Dual:
    """A loop of duals.

    Arguments:
        loop: its carries are the old ones and then their tangents; so are its stacked operands, constants and ys.
        inputs: the positions of the old loop's operands that have tangents.
        results: the positions of the old loop's results that have tangents.
    """

    old: Loop
    loop: Loop
    inputs: tuple[int, ...]
    results: tuple[int, ...]

    def operands(self, primals: Sequence[Variable], tangents: Values) -> list[Variable]:
        """The operands of the loop of duals; zeros for tangents that are None."""
        found: list[Variable] = []
        for part in self._parts(len(primals)):
            found += [primals[k] for k in part]
            found += [arith.materialized(tangents[k], primals[k]) for k in part if k in self.inputs]
        return found

    def primals(self, values: Sequence[Any]) -> list[Any]:
        """From values for all operands of the loop of duals, those for the old loop's operands."""
        found: list[Any] = []
        place = 0
        for part in self._parts(len(self.old.body.inputs)):
            found += values[place : place + len(part)]
            place += len(part) + sum(k in self.inputs for k in part)
        return found

    def spread(self, wanted: Sequence[bool]) -> list[bool]:
        """For the operands of the loop of duals whether they are wanted: as said for the old ones, no tangents."""
        found: list[bool] = []
        for part in self._parts(len(wanted)):
            found += [*[wanted[k] for k in part], *[False for k in part if k in self.inputs]]
        return found

    def _parts(self, count: int) -> tuple[range, range, range]:
        carries, middle = self.old.carries, self.old.carries + self.old.xs
        return range(carries), range(carries, middle), range(middle, count)

    def tangents(self, results: Sequence[Variable]) -> list[Variable | None]:
        """From the results of the loop of duals the tangents of the old loop's results."""
        where = self._places()
        return [results[where[k]] if k in where else None for k in range(len(self.old.body.outputs))]

    def seeds(self, primal: Values, tangent: Values) -> list[Variable | None]:
        """Cotangents of the results of the loop of duals from those of values and of tangents."""
        found: list[Variable | None] = [None] * len(self.loop.body.outputs)
        where, new = self._places(), 0
        for k in range(len(self.old.body.outputs)):
            if k == self.old.carries:
                new += sum(r < self.old.carries for r in self.results)
            found[new] = primal[k]
            new += 1
            if k in where:
                found[where[k]] = tangent[k]
        return found

    def _places(self) -> dict[int, int]:
        """For results with tangents the places of those among the results of the loop of duals."""
        carries, count = self.old.carries, len(self.old.body.outputs)
        first = [k for k in self.results if k < carries]
        later = [k for k in self.results if k >= carries]
        start = carries + len(first) + (count - carries)
        return {**{k: carries + n for n, k in enumerate(first)}, **{k: start + n for n, k in enumerate(later)}}


def dual(loop: Loop, seeded: Iterable[int]) -> Dual:
    """The loop of duals for tangents of some operands."""
    state, _ = loop_state(loop.body, loop.carries)
    chosen = sum(1 << k for k in seeded)
    moving = {k for k, mask in enumerate(state) if mask & chosen}
    inputs = tuple([k for k in range(len(loop.body.inputs)) if (k in moving if k < loop.carries else chosen >> k & 1)])
    new = loop.body.copy()
    new.outputs = {}
    names = list(loop.body.inputs)
    dots = dict(zip(inputs, fresh_names(loop.body, [f"{names[k]}_dot" for k in inputs]), strict=True))
    ids = list(loop.body.inputs.values())
    seeds = {ids[k]: input_like(new, dots[k], new, ids[k]) for k in inputs}
    targets = list(loop.body.outputs.values())
    found = push_forward(new, seeds, targets)
    tangents: dict[int, Variable] = {}
    for k, (target, tangent) in enumerate(zip(targets, found, strict=True)):
        if k in moving or (k >= loop.carries and tangent is not None):
            tangents[k] = arith.materialized(tangent, Variable(new, target))
    outputs = list(loop.body.outputs)
    for part in (range(loop.carries), range(loop.carries, len(outputs))):
        for k in part:
            new.output(outputs[k], Variable(new, targets[k]))
        for k, name in zip(part, fresh_names(new, [f"{outputs[k]}_dot" for k in part]), strict=True):
            if k in tangents:
                new.output(name, tangents[k])
    middle = loop.carries + loop.xs
    order: list[str] = []
    for part in (range(loop.carries), range(loop.carries, middle), range(middle, len(names))):
        order += [names[k] for k in part] + [dots[k] for k in part if k in dots]
    body = ordered(new, order)
    count = sum(k < loop.carries for k in inputs)
    test = None if loop.test is None else _widened(loop.test, body, order)
    changed = replace(
        loop, body=body, carries=loop.carries + count, test=test,
        xs=loop.xs + sum(loop.carries <= k < middle for k in inputs),
    )  # fmt: skip
    return Dual(loop, changed, inputs, tuple(tangents))


def ordered(graph: Graph, names: Sequence[str]) -> Graph:
    """A finished body: inputs in this order, without what no output needs."""
    return with_inputs(graph, {name: graph.variable(name).type for name in names})


def _widened(test: Graph, body: Graph, order: Sequence[str]) -> Graph:
    """The test of a loop with the inputs of another body; it goes on reading its own."""
    inner = [name for name in order if name in body.inputs]
    own = dict(zip(test.inputs, test.inputs, strict=True))
    assert set(own) <= set(inner)
    return with_inputs(test, {name: body.variable(name).type for name in inner}, own)


def push_loop(graph: Graph, node: Node, operands: Sequence[Variable], tangents: Values) -> list[Variable | None]:
    """Tangents of the results of a loop."""
    moved = dual(Loop.of(node), [k for k, t in enumerate(tangents) if t is not None])
    return moved.tangents(moved.loop.apply(graph, moved.operands(operands, tangents)))
