"""How a dense Jacobian is made: row by row, composed of segments, or forward or reverse as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from graphad.ad import arith, transform
from graphad.analysis.cost import typical_sizes
from graphad.analysis.rows import Mixed, Rows, Source, rows_of
from graphad.errors import ArgumentError, DifferentiationError, describe
from graphad.ir.graph import Graph
from graphad.ir.types import as_shape
from graphad.ir.variable import Variable
from graphad.plan.cuts import check_dependence
from graphad.plan.eliminate import SECONDS, eliminated_jacobian
from graphad.plan.maps import batched_rows, find_rows, place, scattered
from graphad.plan.modes import Decision, Mode, Plan, choose_mode, differentiated, elements
from graphad.plan.placed import placed_jacobian
from graphad.plan.segments import Compositions, composed_jacobian, decisions

Planned = tuple[Graph, Plan]
Blocks = dict[tuple[str, str], Variable]
LARGEST = 3000  # nodes; finding cuts takes time with their square, and long scalar programs have none


def planned_jacobian(
    graph: Graph,
    wrt: Sequence[str],
    of: Sequence[str],
    mode: Mode | None = None,
    force: Mapping[str, Mode] | None = None,
    seconds: float = SECONDS,
) -> Planned:
    """The derivative graph of dense Jacobians and what was decided about it.

    A map is differentiated row by row, a graph of few scalars by vertex elimination; what has few entries, each with a
    formula, is written into zeros. Otherwise the graph is composed of segments where that saves more than a tenth of
    the multiplications of the better uniform mode, or where `force` names modes of segments; else forward or reverse as
    a whole by the number of sweeps, or as `mode` says.

    Arguments:
        seconds: the limit of annealing where elimination orders are compared; 0 leaves it out.

    Raises `ArgumentError` where both `mode` and `force` are given, or `force` names no segment.
    """
    if mode is not None and force:
        raise ArgumentError(describe("`mode` and `force` are both given", fix="`mode` is for the graph as a whole"))
    free = mode is None and not force and len(graph.nodes) <= LARGEST
    if free:
        check_dependence(graph, wrt, of)
    rows = find_rows(graph, wrt, of) if free else None
    if rows is not None:
        return _dense(graph, wrt, of, rows, seconds)
    eliminated = eliminated_jacobian(graph, wrt, of, seconds) if free else None
    if eliminated is not None:
        return eliminated.graph, Plan((eliminated.decision,), graph)
    placed = placed_jacobian(graph, wrt, of) if free else None
    if placed is not None:
        return placed[0], Plan((placed[1],), graph)
    decision = choose_mode(graph, wrt, of, mode)
    if force or free:
        compositions = Compositions(graph, wrt, of, force)
        composition, threshold = compositions.at(typical_sizes(graph)), compositions.threshold()
        if force or composition.pays:
            found = decisions(graph, composition, wrt, of, "" if force else threshold)
            return composed_jacobian(graph, composition, wrt, of), Plan(found, graph)
        if "composed" in threshold:
            decision = replace(decision, threshold=threshold)
    uniform: Mode = "forward" if decision.choice == "forward" else "reverse"
    return transform.jacobian(graph, wrt, of, uniform), Plan((decision,), graph)


def batched_jacobian(
    graph: Graph,
    wrt: Sequence[str],
    of: Sequence[str],
    batch: object,
    mode: Mode | None = None,
    seconds: float = SECONDS,
) -> Planned:
    """The Jacobian of each point along an axis: outputs `dy_dx` of shape (points, of y's point, of x's point).

    Arguments:
        batch: the extent that numbers the points, as in shapes. An input without it is shared by all points.
        mode: "forward" or "reverse" for one point as a whole.
        seconds: as for `planned_jacobian`.

    Raises `DifferentiationError` where a point of an output depends on other points of an input.
    """
    (size,) = as_shape((batch,))
    rows = rows_of(graph, wrt, of, size)
    if isinstance(rows, Mixed):
        raise _dependent_points(graph, size, rows.node, rows.reason)
    for source in rows.sources.values():
        if source.origin is not None and source.origin != source.node and size in graph.nodes[source.origin].type.shape:
            raise _dependent_points(graph, size, source.node, "a point reads elements of others")
    new, parts, decided = _local(graph, wrt, of, rows, mode, seconds)
    for output in of:
        rank = rows.graph.nodes[rows.graph.outputs[output]].type.rank
        for name in wrt:
            blocks = [
                parts[output, key] if source.node == source.origin else scattered(new, source, parts[output, key], rank)
                for key, source in _held(graph, rows, output, name)
            ]
            new.output(f"d{output}_d{name}", _total(graph, output, name, blocks))
    return transform.live(new), Plan(decided, graph)


def _dense(graph: Graph, wrt: Sequence[str], of: Sequence[str], rows: Rows, seconds: float) -> Planned:
    """The dense Jacobians of a map."""
    new, parts, decided = _local(graph, wrt, of, rows, None, seconds)
    for output in of:
        for name in wrt:
            held = _held(graph, rows, output, name)
            blocks = [place(new, rows, output, source, parts[output, key]) for key, source in held]
            new.output(f"d{output}_d{name}", _total(graph, output, name, blocks))
    return transform.live(new), Plan(decided, graph)


def _held(graph: Graph, rows: Rows, output: str, name: str) -> list[tuple[str, Source]]:
    """The inputs of the row graph that hold elements of an input on which an output's row depends."""
    used = [(key, rows.sources[key]) for key in rows.wrt([output])]
    return [(key, source) for key, source in used if source.origin == graph.inputs[name]]


def _local(
    graph: Graph, wrt: Sequence[str], of: Sequence[str], rows: Rows, mode: Mode | None, seconds: float
) -> tuple[Graph, Blocks, tuple[Decision, ...]]:
    """An open copy of a graph with the Jacobian of each row in it, by output and input of the row graph."""
    new = graph.copy(f"{graph.name}_jacobian")
    new.outputs = {}
    groups: dict[tuple[str, ...], list[str]] = {}
    for output in of:
        groups.setdefault(tuple(rows.wrt([output])), []).append(output)
    blocks: Blocks = {}
    decided: list[Decision] = []
    for keys, outputs in groups.items():
        derived, inner = planned_jacobian(rows.graph, keys, outputs, mode, seconds=seconds)
        found = batched_rows(new, rows, derived)
        blocks |= {(o, k): found[f"d{o}_d{k}"] for o in outputs for k in keys}
        subject, reason = f"rows of {', '.join(outputs)}", "each row depends on its own row of the inputs"
        part = differentiated(graph, wrt, outputs)
        ends = elements(graph, [graph.inputs[n] for n in wrt]), elements(graph, [graph.outputs[n] for n in outputs])
        decided.append(Decision(subject, f"{rows.size} rows", (), reason, "", part, *ends))
        decided += [
            replace(d, subject=f"one row, {d.subject}", within=d.within or inner.graph) for d in inner.decisions
        ]
    return new, blocks, tuple(decided)


def _total(graph: Graph, output: str, name: str, blocks: Sequence[Variable]) -> Variable:
    total: Variable | None = None
    for block in blocks:
        total = arith.add(total, block)
    if total is None:
        raise transform.independent(output, [name], graph.nodes[graph.outputs[output]].source)
    return total


def _dependent_points(graph: Graph, size: object, node: int, reason: str) -> DifferentiationError:
    return DifferentiationError(
        describe(
            f"batch={str(size)!r}: {reason}",
            expected=f"every point along an axis of extent {size} by itself",
            source=graph.nodes[node].source,
            fix="leave out `batch`, or name the axis whose points are independent",
        )
    )
