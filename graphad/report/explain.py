"""The text of `fn.explain()`: what goes in and out, what was decided and why, what the passes did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from graphad.analysis.cost import graph_flops, typical_sizes
from graphad.ir.graph import Graph
from graphad.plan.modes import Decision
from graphad.report.tables import as_text

if TYPE_CHECKING:
    from graphad.compile import CompiledFunction


def explain(function: CompiledFunction, *, passes: bool = False, width: int = 100) -> str:
    """The report of a compiled function.

    Arguments:
        passes: show nodes and floating-point operations around each pass.
        width: of the text, in characters.
    """
    sections = [(function.name, _header(function)), ("plan", _plan_table(function.plan.decisions))]
    if function.graph.size_names or function.graph.requirements:
        sections.append(("sizes, taken from the arguments of each call", _sizes_table(function.graph)))
    if passes:
        sections.append(("passes", _passes_table(function)))
    return "\n\n".join(f"{title}\n{as_text(content, width)}" for title, content in sections) + "\n"


def _table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def _header(function: CompiledFunction) -> Table:
    graph, optimized = function.graph, function.optimized
    table = _table("argument or result", "type", "declared at")
    for name, node_id in graph.inputs.items():
        node = graph.nodes[node_id]
        table.add_row(Text(name), Text(str(node.type)), Text(str(node.source or "")))
    for name, node_id in graph.outputs.items():
        node = graph.nodes[node_id]
        table.add_row(Text(f"-> {name}"), Text(str(node.type)), Text(str(node.source or "")))
    sizes = ", ".join(f"{n}={v}" for n, v in typical_sizes(graph).items())
    at = f" at {sizes}" if sizes else ""
    table.add_section()
    flops = f"{graph_flops(optimized):,} flops{at}"
    table.add_row(Text("after passes"), Text(f"{len(optimized.nodes)} nodes"), Text(flops))
    return table


def _plan_table(decisions: tuple[Decision, ...]) -> Table:
    table = _table("decision", "choice", "alternatives", "reason")
    for decision in decisions:
        costs = "\n".join(f"{a.choice}: {a.cost} = {a.value} {a.unit}" for a in decision.alternatives)
        reason = decision.reason + (f"; {decision.threshold}" if decision.threshold else "")
        table.add_row(Text(decision.subject), Text(decision.choice), Text(costs or "-"), Text(reason))
    return table


def _sizes_table(graph: Graph) -> Table:
    table = _table("size or requirement", "hint", "why")
    for name in graph.size_names:
        table.add_row(Text(name), Text(str(graph.hints.get(name, "none"))), Text(""))
    seen: set[str] = set()
    for requirement in graph.requirements:
        relation = "==" if requirement.kind == "equal" else "<="
        text = f"{requirement.left} {relation} {requirement.right}"
        if text not in seen:
            seen.add(text)
            table.add_row(Text(text), Text(""), Text(requirement.reason))
    return table


def _passes_table(function: CompiledFunction) -> Table:
    numbers = ("nodes", "-> nodes", "flops", "-> flops", "ms")
    table = _table("pass", *numbers, right=numbers)
    for s in function.statistics:
        counts = (f"{s.nodes_before:,}", f"{s.nodes_after:,}", f"{s.flops_before:,}", f"{s.flops_after:,}")
        table.add_row(Text(s.name), *map(Text, counts), Text(f"{1000 * s.seconds:.2f}"))
    return table
