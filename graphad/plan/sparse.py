"""Sparse or dense, and for sparse Jacobians by which method: the costs, the choice, and the record of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphad.ad.entries import IndirectError
from graphad.analysis.cost import graph_flops, typical_sizes
from graphad.analysis.sparsity import jacobian_pattern
from graphad.errors import DifferentiationError, describe
from graphad.ir import sizes
from graphad.ir.graph import Graph
from graphad.ir.sizes import Extent
from graphad.plan.direct import Block, Direct, direct, shape_at
from graphad.plan.modes import Alternative, Decision, Mode
from graphad.plan.swept import Kind, Swept, colored, positions_from, swept

FEWEST = 100_000  # elements of dense Jacobians up to which they stay dense
SPARSEST = 20  # at most one element in so many may be an entry of a sparse one
WASTE = 2  # computed values an entry up to which direct evaluation is taken without a look at colourings
LARGEST = 3000  # nodes of a graph for which methods are compared
LOOK = 4_000_000  # elements of a Jacobian up to which its pattern is found while planning where no formula gives it
VALUE = 4  # operations that a computed value counts as: it is written, read again and put into its place
WORK = "operations"
KINDS: tuple[Kind, Kind] = ("columns", "rows")


class Outcome(NamedTuple):
    """The method, None for a dense result, and what was decided."""

    method: Direct | Swept | None
    decisions: tuple[Decision, ...]


def plan_sparse(
    graph: Graph,
    blocks: Sequence[Block],
    name: str,
    sparse: bool | None,
    mode: Mode | None = None,
    symmetric: Sequence[str] = (),
) -> Outcome:
    """How some blocks of a graph are computed.

    Arguments:
        name: of the derivative graph.
        sparse: what the user demands; None to decide by the density at the sizes' hints.
        mode: sweeps of one kind only.
        symmetric: names of blocks that are symmetric matrices.

    Raises `DifferentiationError` where nothing depends on an input, or an output on none.
    """
    if sparse is None:
        if mode is not None or not _worth_a_look(graph, blocks):
            return Outcome(None, ())
        formula = _direct(graph, blocks, name)
        decision = _density(graph, blocks, formula[0], name)
        if decision.choice == "dense":
            return Outcome(None, (decision,))
        method, decisions = _method(graph, blocks, name, formula, symmetric)
        return Outcome(method, (decision, *decisions))
    if mode is not None:
        kinds: list[Kind] = ["columns" if mode == "forward" else "rows"] * len(blocks)
        asked = Decision(name, f"{mode} sweeps", (), f"mode={mode!r} was asked for")
        return Outcome(swept(graph, blocks, kinds, name), (asked,))
    return Outcome(*_method(graph, blocks, name, _direct(graph, blocks, name), symmetric))


def _direct(graph: Graph, blocks: Sequence[Block], name: str) -> tuple[Direct | None, str]:
    """The formulas of all entries, or why there are none."""
    try:
        return direct(graph, blocks, name), ""
    except IndirectError as error:
        return None, str(error)


# ---------------------------------------------------------------------- sparse or dense


def _worth_a_look(graph: Graph, blocks: Sequence[Block]) -> bool:
    """Whether all sizes are known or hinted at, and dense results would be large."""
    named = set().union(*(sizes.names(e) for b in blocks for e in (b.rows, b.columns)))
    return named <= set(graph.hints) and len(graph.nodes) <= LARGEST and _elements(graph, blocks) > FEWEST


def _elements(graph: Graph, blocks: Sequence[Block]) -> int:
    bound = typical_sizes(graph)
    return sum(int(np.prod(shape_at(b, bound))) for b in blocks)


def _density(graph: Graph, blocks: Sequence[Block], formula: Direct | None, name: str) -> Decision:
    bound, elements = typical_sizes(graph), _elements(graph, blocks)
    whole: Extent = 0
    for block in blocks:
        whole = whole + block.rows * block.columns
    threshold = ""
    entries: Extent = elements
    if formula is not None:
        entries = formula.computed()
    elif elements <= LOOK and not _unknown(graph, blocks, None):
        entries = sum(_pattern(graph, b, bound).nnz for b in blocks)
    found = sizes.evaluate(entries, bound)
    choice = "sparse" if SPARSEST * found <= elements else "dense"
    if formula is not None and not isinstance(SPARSEST * entries - whole, int):
        other = "dense once {} > {}" if choice == "sparse" else "sparse once {} <= {}"
        threshold = other.format(SPARSEST * entries, whole)
    options = (
        Alternative("sparse", str(entries), found, "entries"),
        Alternative("dense", str(whole), elements, "elements"),
    )
    reason = f"{found / elements:.2%} of the elements may be different from zero, at most {1 / SPARSEST:.0%} is sparse"
    return Decision(f"result of {name}", choice, options, reason, threshold)


def _pattern(graph: Graph, block: Block, bound: Mapping[str, int]) -> Any:
    return jacobian_pattern(graph, graph.inputs[block.input], graph.outputs[block.output], {}, bound)


# ---------------------------------------------------------------------- by formulas or by sweeps


def _method(
    graph: Graph, blocks: Sequence[Block], name: str, formula: tuple[Direct | None, str], symmetric: Sequence[str]
) -> tuple[Direct | Swept, tuple[Decision, ...]]:
    straight, why = formula
    by_formula: tuple[Alternative, ...] = ()
    unknown, reason = _unknown(graph, blocks, straight), ""
    if straight is not None:
        _check_dependence(graph, blocks, straight)
        by_formula = (_formulas(graph, straight),)
        if sizes.evaluate(straight.computed(), typical_sizes(graph)) > _elements(graph, blocks):
            straight, unknown = None, _unknown(graph, blocks, None)
        elif unknown:
            return straight, (Decision(name, "direct", by_formula, f"every entry by its own formula; {unknown}"),)
        else:
            computed, entries, longest = _counted(graph, blocks, straight)
            bounds = _bounds(graph, blocks, longest)
            reason = f"every entry by its own formula: {computed} values for {entries} entries"
            if computed <= WASTE * entries or by_formula[0].value <= min(bound.value for bound in bounds):
                return straight, (Decision(name, "direct", (*by_formula, *bounds), reason),)
        why = "formulas would repeat too much"
    ways = [_cheapest_sweeps(graph, block, block.name in symmetric, bool(unknown)) for block in blocks]
    options = tuple(way.option for way in ways)
    if straight is not None and by_formula[0].value <= sum(option.value for option in options):
        return straight, (Decision(name, "direct", (*by_formula, *options), reason),)
    method = swept(graph, blocks, [way.kind for way in ways], name, [way.cost for way in ways])
    reason = f"no direct evaluation: {why}"
    return method, (Decision(name, "coloured sweeps", (*by_formula, *options), reason),)


def _unknown(graph: Graph, blocks: Sequence[Block], straight: Direct | None) -> str:
    """Why nothing can be counted while planning; empty where it can."""
    bound, fixed_by = typical_sizes(graph), positions_from(graph)
    if fixed_by:
        return f"the pattern depends on the values of {', '.join(fixed_by)}"
    if len(graph.nodes) > LARGEST:
        return "the graph is too large to compare"
    if not all(r.holds(bound) for r in graph.requirements):
        return "the hints break what the graph requires of sizes"
    work = sum(max(shape_at(b, bound)) for b in blocks)
    if straight is not None:
        work += sizes.evaluate(straight.computed(), bound)
    return "too many entries to count at the hints" if work > LOOK else ""


def _formulas(graph: Graph, straight: Direct) -> Alternative:
    computed = straight.computed()
    work = graph_flops(straight.graph, typical_sizes(graph)) + VALUE * sizes.evaluate(computed, typical_sizes(graph))
    return Alternative("direct", f"{computed} values", work, WORK)


def _counted(graph: Graph, blocks: Sequence[Block], straight: Direct) -> tuple[int, int, list[tuple[int, int]]]:
    """Values that are computed, entries, and for each block the longest row and column, at the hints."""
    bound = typical_sizes(graph)
    entries, longest = 0, []
    for block, found in zip(blocks, straight.places({}, bound).blocks, strict=True):
        width = shape_at(block, bound)[1]
        places = np.unique(found.rows * max(width, 1) + found.columns)
        entries += len(places)
        row, column = np.divmod(places, max(width, 1))
        longest.append((int(np.bincount(row).max(initial=0)), int(np.bincount(column).max(initial=0))))
    return sizes.evaluate(straight.computed(), bound), entries, longest


def _bounds(graph: Graph, blocks: Sequence[Block], longest: Sequence[tuple[int, int]]) -> tuple[Alternative, ...]:
    """What sweeps cost at least: as many as the longest row or column has entries."""
    found = []
    for place, kind in enumerate(KINDS):
        pairs = zip(blocks, longest, strict=True)
        total = sum(_sweeps_cost(graph, block, kind, lengths[place]) for block, lengths in pairs)
        counts = ", ".join(str(lengths[place]) for lengths in longest)
        found.append(Alternative(f"sweeps by {kind}", f"at least {counts}", total, WORK))
    return tuple(found)


def _sweeps_cost(graph: Graph, block: Block, kind: Kind, number: int) -> int:
    """The operations of a number of sweeps, a value that they write counted as one."""
    made = swept(graph, [block], [kind], "sweeps")
    colors = str(made.graph.nodes[made.graph.inputs[made.seeds[0]]].type.shape[0])
    values: dict[str, int] = {**typical_sizes(graph), colors: number}
    written = number * shape_at(block, values)[kind == "rows"]
    return graph_flops(made.graph, values) + written


class Sweeps(NamedTuple):
    """Which sweeps are cheapest for a block, what one forward and one reverse sweep cost, and the record."""

    kind: Kind
    cost: tuple[float, float]
    option: Alternative


def _cheapest_sweeps(graph: Graph, block: Block, symmetric: bool, unknown: bool) -> Sweeps:
    forward, reverse = (_slope(graph, block, kind) for kind in KINDS)
    cost = (float(forward), float(reverse))
    if unknown:
        option = Alternative("coloured sweeps", "as many as the pattern of the call needs", 0, WORK)
        return Sweeps("symmetric" if symmetric else "both", cost, option)
    pattern = _pattern(graph, block, typical_sizes(graph))
    if symmetric:
        found = colored(pattern, "symmetric")
        text = f"{found.forward} forward sweeps through the gradient, star colouring"
        return Sweeps("symmetric", cost, Alternative("coloured sweeps", text, found.forward * forward, WORK))
    found = colored(pattern, "both", cost)
    kind: Kind = "both" if found.forward and found.reverse else "rows" if found.reverse else "columns"
    text = f"{found.forward} forward and {found.reverse} reverse sweeps"
    work = found.forward * forward + found.reverse * reverse
    return Sweeps(kind, cost, Alternative("coloured sweeps", text, work, WORK))


def _slope(graph: Graph, block: Block, kind: Kind) -> int:
    """What one more sweep costs."""
    return max(_sweeps_cost(graph, block, kind, 2) - _sweeps_cost(graph, block, kind, 1), 1)


def _check_dependence(graph: Graph, blocks: Sequence[Block], straight: Direct) -> None:
    """Raise `DifferentiationError` for an output or an input that has no entry in any block."""
    computed = {b.name: straight.graph.nodes[straight.graph.outputs[b.name]].type.shape for b in blocks}
    empty = {b.name for b in blocks if computed[b.name] == (0,) and b.rows * b.columns != 0}
    for what, ids in (("output", graph.outputs), ("input", graph.inputs)):
        for end in dict.fromkeys(getattr(b, what) for b in blocks):
            if all(b.name in empty for b in blocks if getattr(b, what) == end):
                problem = f"{what} {end} has no part in any of the derivatives"
                fix = "leave it out: its derivatives are zero, also where only `floor` and the like depend on it"
                raise DifferentiationError(describe(problem, source=graph.nodes[ids[end]].source, fix=fix))
