"""For each node what computes it at once: loops on the tape where their bodies can be taken apart, else NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np

from graphad.analysis.cost import REPEATED, STEPS
from graphad.emit.loop_tape import TAPES
from graphad.emit.numpy_calls import Call, call_of
from graphad.emit.unrolled import NotUnrolledError
from graphad.ir.graph import Graph, Node, keep
from graphad.ir.operation import lookup

AtHand = Callable[[int, float], bool]
CALL = 1e-6  # seconds of NumPy for one operation
BODIES_KEPT = 256  # bodies that are run step by step


def always(level: int, seconds: float) -> bool:
    """The tape may run what needs the kernel of a level, which is compiled where it is missing."""
    return True


def node_call(node: Node, params: Mapping[str, Any], shapes: tuple[tuple[int, ...], ...], at_hand: AtHand) -> Call:
    """The call of a node.

    Arguments:
        params: the node's parameters, sizes replaced by integers, also in bodies.
        shapes: of the operands.
        at_hand: whether the tape's kernel of a level may be used, for something that takes NumPy so many seconds;
            where not, NumPy runs loops step by step.
    """
    if node.op not in REPEATED and node.op != "cond":
        return call_of(node, params, shapes)
    if node.op in TAPES:
        try:
            tape = TAPES[node.op](**params)
        except NotUnrolledError:
            pass
        else:
            steps = params.get("length", STEPS)
            if at_hand(tape.level, CALL * steps * tape.program.unroller.operations):
                return Call(tape, fresh=True)
    run = partial(_run, at_hand)
    return Call(partial(lookup(node.op).reference, **params, run=run))


def _run(at_hand: AtHand, body: Graph, arrays: Sequence[Any]) -> tuple[Any, ...]:
    return _prepared(body, at_hand).run(arrays)


@lru_cache(maxsize=BODIES_KEPT)
def _prepared(body: Graph, at_hand: AtHand) -> BodyCalls:
    return BodyCalls(body, at_hand)


class BodyCalls:
    """A body whose extents are all integers, as calls in their order: for bodies that the tape can not run.

    >>> import graphad as ga
    >>> g = ga.Graph("double")
    >>> x = g.input("x")
    >>> g.output("y", x + x)
    >>> BodyCalls(g.freeze(), always).run([np.array(2.0)])
    (np.float64(4.0),)
    """

    def __init__(self, body: Graph, at_hand: AtHand) -> None:
        self.known: list[Any] = [None] * len(body.nodes)
        self.inputs = tuple(body.inputs.values())
        self.outputs = tuple(body.outputs.values())
        self.calls: list[tuple[Callable[..., Any], tuple[int, ...], int]] = []
        for node_id in sorted(keep(body, self.outputs)):
            node = body.nodes[node_id]
            if node.op == "const":
                self.known[node_id] = node.param("value").array
            elif node.op != "input":
                shapes = tuple([_literal(body.nodes[a].type) for a in node.args])
                call = node_call(node, dict(node.params), shapes, at_hand)
                self.calls.append((call.function, node.args, node_id))

    def run(self, arrays: Sequence[Any]) -> tuple[Any, ...]:
        """The results, from the inputs in their order."""
        values = self.known.copy()
        for node_id, array in zip(self.inputs, arrays, strict=True):
            values[node_id] = array
        with np.errstate(all="ignore"):
            for function, args, out in self.calls:
                values[out] = function(*[values[a] for a in args])
        return tuple([values[i] for i in self.outputs])


def _literal(kind: Any) -> tuple[int, ...]:
    return tuple([int(str(extent)) for extent in getattr(kind, "shape", ())])
