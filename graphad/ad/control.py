"""Which rules differentiate the operations with bodies; `forward` and `reverse` ask here."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphad.ad.branch import pull_cond, push_cond
from graphad.ad.loop import Values, push_loop
from graphad.ad.sweep import pull_loop, pull_sweep, push_sweep
from graphad.errors import DifferentiationError, describe
from graphad.ir.graph import Graph, Node
from graphad.ir.variable import Variable

Push = Callable[[Graph, Node, Sequence[Variable], Values], "list[Variable | None]"]
Pull = Callable[[Graph, Node, Sequence[Variable], Values, Sequence[bool], bool], "list[Variable | None]"]


def _push_unwind(graph: Graph, node: Node, operands: Sequence[Variable], tangents: Values) -> list[Variable | None]:
    raise _on_tape(node)


def _pull_unwind(
    graph: Graph, node: Node, operands: Sequence[Variable], cotangents: Values, wanted: Sequence[bool], guarded: bool
) -> list[Variable | None]:
    raise _on_tape(node)


def _on_tape(node: Node) -> DifferentiationError:
    return DifferentiationError(
        describe(
            "an optimized reverse sweep of a `while_loop` is not differentiated again",
            source=node.source,
            fix="differentiate the graph from which it was made: `hvp`, `hessian`, `grad` of `ga.transform.grad`",
        )
    )


RULES: dict[str, tuple[Push, Pull]] = {
    "scan": (push_loop, pull_loop),
    "while_loop": (push_loop, pull_loop),
    "cond": (push_cond, pull_cond),
    "scan_adjoint": (push_sweep, pull_sweep),
    "while_adjoint": (push_sweep, pull_sweep),
    "unwind": (_push_unwind, _pull_unwind),
}


def push_bodies(graph: Graph, node: Node, tangents: Values) -> list[Variable | None]:
    """The tangents of the results of a node with bodies, for tangents of its operands."""
    return RULES[node.op][0](graph, node, [Variable(graph, a) for a in node.args], tangents)


def pull_bodies(
    graph: Graph, node: Node, cotangents: Values, wanted: Sequence[bool], *, guarded: bool
) -> list[Variable | None]:
    """The cotangents of the operands of a node with bodies, for cotangents of its results."""
    return RULES[node.op][1](graph, node, [Variable(graph, a) for a in node.args], cotangents, wanted, guarded)
