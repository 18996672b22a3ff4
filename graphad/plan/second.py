"""In which order of the modes a Hessian is made, or multiplied by vectors: by the operations of what comes out.

All orders are derived and simplified, and their operations counted at the sizes' hints, for graphs of up to 200 nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from graphad.ad import transform
from graphad.ad.second import NESTINGS, Nesting
from graphad.analysis.active import active_nodes
from graphad.analysis.cost import TYPICAL, graph_flops
from graphad.errors import ArgumentError, describe
from graphad.ir.graph import Graph
from graphad.ir.sizes import Extent
from graphad.plan.jacobians import Planned, planned_jacobian
from graphad.plan.modes import Alternative, Decision, Plan, differentiated, elements

Simplify = Callable[[Graph], Graph]
LARGEST = 200  # nodes of a graph whose orders are all derived and simplified: each takes as long as the usual one
USUAL: Nesting = "forward over reverse"
WORTH = 0.9  # another order than the usual one has to need fewer operations than this share of its


def planned_hvp(
    graph: Graph,
    wrt: Sequence[str],
    of: str,
    simplify: Simplify,
    *,
    mode: str | None = None,
    vectors: Extent | None = None,
    value: bool = False,
    gradient: bool = False,
) -> Planned:
    """The graph of a Hessian times vectors, as `transform.hvp` makes it, and which order of modes was taken.

    Arguments:
        simplify: what is done to a derived graph before its operations are counted.
        mode: what the user demands; None to choose.

    Raises `ArgumentError` for a mode that there is not.
    """
    asked = partial(transform.hvp, graph, wrt, of, vectors=vectors, value=value, gradient=gradient)
    makers: dict[str, Callable[[], Graph]] = {nesting: partial(asked, nesting=nesting) for nesting in NESTINGS}
    makers["dense"] = partial(asked, nesting="dense")
    what = f"Hessian of {of} times {'vector' if vectors is None else f'{vectors} vectors'}"
    return _cheapest(graph, wrt, of, what, makers, simplify, mode)


def planned_hessian(
    graph: Graph, wrt: Sequence[str], of: str, simplify: Simplify, mode: str | None = None
) -> Planned:
    """The graph of a dense Hessian and which order of modes was taken; arguments as for `planned_hvp`.

    Besides the orders of the two modes there is the Jacobian of the gradient as it is planned: by rows, by elimination
    or composed of segments.
    """
    makers: dict[str, Callable[[], Graph]] = {
        nesting: partial(transform.hessian, graph, wrt, of, nesting) for nesting in NESTINGS
    }
    planned = None if mode in makers or len(graph.nodes) > LARGEST else _planned(graph, wrt, of, simplify)
    if planned is not None:
        makers[planned[0]] = lambda: planned[1]
    return _cheapest(graph, wrt, of, f"d2{of}/d({', '.join(wrt)})2", makers, simplify, mode)


def _planned(graph: Graph, wrt: Sequence[str], of: str, simplify: Simplify) -> tuple[str, Graph] | None:
    """The planned Jacobian of the gradient, where it is no uniform mode, and its name."""
    first = simplify(transform.grad(graph, wrt, of))
    slopes = [f"d{of}_d{name}" for name in wrt]
    for slope in slopes:
        for name in wrt:
            if not active_nodes(first, [first.inputs[name]], [first.outputs[slope]]):
                return None
    derived, plan = planned_jacobian(first, wrt, slopes)
    choice = plan.decisions[0].choice
    if choice in ("forward", "reverse"):
        return None
    renamed = derived.copy(f"{graph.name}_hessian")
    renamed.outputs = {
        f"d2{of}_d{a}_d{b}": derived.outputs[f"dd{of}_d{a}_d{b}"] for a in wrt for b in wrt
    }
    return f"{choice} over reverse", renamed.freeze()


def _cheapest(
    graph: Graph,
    wrt: Sequence[str],
    of: str,
    subject: str,
    makers: dict[str, Callable[[], Graph]],
    simplify: Simplify,
    mode: str | None,
) -> Planned:
    ends = elements(graph, [graph.inputs[n] for n in wrt]), elements(graph, [graph.outputs[of]])
    part = differentiated(graph, wrt, [of])

    def record(choice: str, options: tuple[Alternative, ...], reason: str) -> Plan:
        return Plan((Decision(subject, choice, options, reason, "", part, *ends),), graph)

    if mode is not None:
        if mode not in makers:
            expected = ", ".join(f'"{name}"' for name in makers) + " or None"
            fix = "name one of these, or leave out `mode`"
            raise ArgumentError(describe(f"mode={mode!r}", expected=expected, fix=fix))
        return makers[mode](), record(mode, (), f"mode={mode!r} was asked for")
    if len(graph.nodes) > LARGEST:
        return makers[USUAL](), record(USUAL, (), f"more than {LARGEST} nodes: other orders are not counted")
    derived = {name: make() for name, make in makers.items()}
    costs = {name: graph_flops(simplify(one)) for name, one in derived.items()}
    best = min(costs, key=lambda name: (costs[name], name != USUAL))
    if costs[best] >= WORTH * costs[USUAL]:
        best = USUAL
    options = tuple(Alternative(name, "operations after passes", cost, "operations") for name, cost in costs.items())
    least = min(costs.values())
    reason = "fewest operations" if costs[best] == least else f"within a tenth of the fewest operations, {least}"
    guessed = [f"{name}={TYPICAL}" for name in derived[best].size_names if name not in graph.hints]
    assumed = f" ({', '.join(guessed)} assumed; `hint=` says better)" if guessed else ""
    return derived[best], record(best, options, reason + assumed)
