"""Dense Jacobians of which most elements are zero: every entry by its own formula, written into zeros.

A sweep for each row or column would compute the zeros as well: of a matrix with three diagonals and n rows n² numbers
instead of 3n. The entries are those of sparse Jacobians (`graphad.ad.entries`).
"""

from __future__ import annotations

from collections.abc import Sequence

import graphad.ad.entry_rules  # noqa: F401  (fills the table of rules)
from graphad.ad import arith, transform
from graphad.ad.entries import Flat, IndirectError, entry_lines
from graphad.analysis.cost import typical_sizes
from graphad.ir import sizes
from graphad.ir.graph import Graph
from graphad.ir.operation import call
from graphad.ir.sizes import Extent
from graphad.ir.types import TensorType
from graphad.ir.variable import Variable
from graphad.ops.gather import scattered
from graphad.ops.shape import reshaped
from graphad.ops.source import filled
from graphad.plan.modes import Alternative, Decision, differentiated

FEWEST = 4096  # elements from which a look at the entries is worth its time
DENSEST = 4  # at most one element in so many may be an entry


def placed_jacobian(graph: Graph, wrt: Sequence[str], of: Sequence[str]) -> tuple[Graph, Decision] | None:
    """The derivative graph of dense Jacobians whose entries are few and have formulas, and the record; else None."""
    bound = typical_sizes(graph)
    pairs = [(output, name) for output in of for name in wrt]
    whole: Extent = 0
    for output, name in pairs:
        whole = whole + _kind(graph, output).elements * graph.nodes[graph.inputs[name]].type.elements
    if sizes.evaluate(whole, bound) < FEWEST:
        return None
    new = graph.copy(f"{graph.name}_jacobian", intern=True)
    new.outputs = {}
    try:
        lines = {p: entry_lines(new, new.inputs[p[1]], graph.outputs[p[0]]) for p in pairs}
    except IndirectError:
        return None
    entries: Extent = 0
    for found in lines.values():
        for line in found:
            entries = entries + line.values.size
    if not all(lines.values()) or DENSEST * sizes.evaluate(entries, bound) > sizes.evaluate(whole, bound):
        return None
    for (output, name), found in lines.items():
        new.output(f"d{output}_d{name}", _placed(new, graph, output, name, found))
    return transform.live(new), _decision(graph, wrt, of, entries, whole)


def _decision(graph: Graph, wrt: Sequence[str], of: Sequence[str], entries: Extent, whole: Extent) -> Decision:
    bound = typical_sizes(graph)
    numbers = [sizes.evaluate(e, bound) for e in (entries, whole)]
    options = (
        Alternative("entries into zeros", str(entries), numbers[0], "entries"),
        Alternative("sweeps", str(whole), numbers[1], "elements"),
    )
    reason = f"{numbers[0]} of {numbers[1]} elements may be different from zero, each by its own formula"
    subject, part = f"d({', '.join(of)})/d({', '.join(wrt)})", differentiated(graph, wrt, of)
    threshold = "" if isinstance(DENSEST * entries - whole, int) else f"sweeps once {DENSEST * entries} > {whole}"
    return Decision(subject, "entries into zeros", options, reason, threshold, part)


def _kind(graph: Graph, output: str) -> TensorType:
    return graph.nodes[graph.outputs[output]].type


def _placed(new: Graph, graph: Graph, output: str, name: str, lines: Sequence[Flat]) -> Variable:
    """Zeros with all entries of a block."""
    row, column = _kind(graph, output), graph.nodes[graph.inputs[name]].type
    zeros = filled(new, (row.elements, column.elements), 0, row.dtype)
    total: Variable | None = None
    for values, rows, columns in lines:
        outside = columns < 0  # no entry here
        kept = call("where", outside, filled(new, (), 0, values.dtype), values)
        there = call("maximum", columns, filled(new, (), 0, "int64"))
        total = arith.add(total, scattered("add", zeros, kept, (rows, there), (0, 1)))
    assert total is not None
    return reshaped(total, (*row.shape, *column.shape))
