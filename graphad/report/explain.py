"""The text of `fn.explain()`: what goes in and out, what was decided and why, what the passes did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from graphad.analysis.cost import graph_flops, typical_sizes
from graphad.ir.graph import Graph
from graphad.ir.sizes import evaluate
from graphad.loops.schedule import schedule
from graphad.loops.scratch import ends
from graphad.loops.summary import Nest, summarize
from graphad.plan.modes import Decision
from graphad.report.tables import as_text, table
from passes.inline import inline

if TYPE_CHECKING:
    from graphad.compile import CompiledFunction


def explain(function: CompiledFunction, *, passes: bool = False, loops: bool = False, width: int = 100) -> str:
    """The report of a compiled function.

    Arguments:
        passes: show nodes and floating-point operations around each pass.
        loops: show the loop nests, what each keeps in memory and why, bytes moved and operations.
        width: of the text, in characters.
    """
    sections = [(function.name, _header(function)), ("plan", _plan_table(function.plan.decisions))]
    if function.graph.size_names or function.graph.requirements:
        sections.append(("sizes, taken from the arguments of each call", _sizes_table(function.graph)))
    if passes:
        sections.append(("passes", _passes_table(function)))
    if loops:
        plan = schedule(inline(function.optimized), function.recipe.threads)
        sections.append(("loops, sizes at their hints", _loops_table(summarize(plan))))
        if function.generated.slots:
            sections.append(("scratch memory, kept from call to call", _scratch_table(function)))
    return "\n\n".join(f"{title}\n{as_text(content, width)}" for title, content in sections) + "\n"


def _header(function: CompiledFunction) -> Table:
    graph, optimized = function.graph, function.optimized
    rows = table(["argument or result", "type", "declared at"], [])
    for name, node_id in graph.inputs.items():
        node = graph.nodes[node_id]
        rows.add_row(Text(name), Text(str(node.type)), Text(str(node.source or "")))
    for name, node_id in graph.outputs.items():
        node = graph.nodes[node_id]
        rows.add_row(Text(f"-> {name}"), Text(str(node.type)), Text(str(node.source or "")))
    sizes = ", ".join(f"{n}={v}" for n, v in typical_sizes(graph).items())
    at = f" at {sizes}" if sizes else ""
    rows.add_section()
    flops = f"{graph_flops(optimized):,} flops{at}"
    rows.add_row(Text("after passes"), Text(f"{len(optimized.nodes)} nodes"), Text(flops))
    return rows


def _plan_table(decisions: tuple[Decision, ...]) -> Table:
    rows = table(["decision", "choice", "alternatives", "reason"], [])
    for decision in decisions:
        costs = "\n".join(f"{a.choice}: {a.cost} = {a.value} {a.unit}" for a in decision.alternatives)
        reason = decision.reason + (f"; {decision.threshold}" if decision.threshold else "")
        rows.add_row(Text(decision.subject), Text(decision.choice), Text(costs or "-"), Text(reason))
    return rows


def _sizes_table(graph: Graph) -> Table:
    rows = table(["size or requirement", "hint", "why"], [])
    for name in graph.size_names:
        rows.add_row(Text(name), Text(str(graph.hints.get(name, "none"))), Text(""))
    seen: set[str] = set()
    for requirement in graph.requirements:
        relation = "==" if requirement.kind == "equal" else "<="
        text = f"{requirement.left} {relation} {requirement.right}"
        if text not in seen:
            seen.add(text)
            rows.add_row(Text(text), Text(""), Text(requirement.reason))
    return rows


def _passes_table(function: CompiledFunction) -> Table:
    numbers = ("nodes", "-> nodes", "flops", "-> flops", "ms")
    rows = table(["pass", *numbers], [], right=numbers)
    for s in function.statistics:
        counts = (f"{s.nodes_before:,}", f"{s.nodes_after:,}", f"{s.flops_before:,}", f"{s.flops_after:,}")
        rows.add_row(Text(s.name), *map(Text, counts), Text(f"{1000 * s.seconds:.2f}"))
    return rows


def _loops_table(nests: tuple[Nest, ...]) -> Table:
    numbers = ("statements", "operations", "bytes moved")
    rows = table(["nest", "loops", *numbers, "in memory, and why"], [], right=numbers)
    for number, nest in enumerate(nests, start=1):
        over = nest.nesting or ", ".join(nest.calls) or "-"
        stored = [f"{s.name}[{', '.join(map(str, s.shape))}]: {s.reason}" for s in nest.stored]
        counts = (f"{nest.statements:,}", f"{nest.operations:,}", f"{nest.moved:,}")
        rows.add_row(Text(str(number)), Text(over), *map(Text, counts), Text("\n".join(stored)))
    return rows


def _scratch_table(function: CompiledFunction) -> Table:
    """The places in the scratch block at the hints; the sum counts whole cache lines."""
    rows = table(["at", "bytes", "array"], [], right=("at", "bytes"))
    extents = typical_sizes(function.graph)
    found = ends(function.generated.slots, extents)
    for slot in function.generated.slots:
        start = max((found[k] for k in slot.above), default=0)
        rows.add_row(Text(f"{start:,}"), Text(f"{evaluate(slot.bytes, extents):,}"), Text(slot.array.name))
    rows.add_row(Text(""), Text(f"{function.scratch_bytes():,}"), Text("in all"))
    return rows
