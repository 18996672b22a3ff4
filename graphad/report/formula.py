"""Nodes as formulas that people read: infix operators, calls, numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from graphad.ir.graph import Graph, Node


class Infix(NamedTuple):
    """How an operation is written between its operands; a higher rank binds more tightly."""

    sign: str
    rank: int


INFIX: Mapping[str, Infix] = {
    "add": Infix(" + ", 1), "sub": Infix(" - ", 1), "mul": Infix("*", 2), "div": Infix("/", 2), "power": Infix("**", 4),
    "less": Infix(" < ", 0), "less_equal": Infix(" <= ", 0), "greater": Infix(" > ", 0),
    "greater_equal": Infix(" >= ", 0), "equal": Infix(" == ", 0), "not_equal": Infix(" != ", 0),
}  # fmt: skip
ATOM = 5


def formula(graph: Graph, node_id: int, names: Mapping[int, str]) -> str:
    """The formula of a node in terms of the nodes that have names, constants and inputs.

    Arguments:
        names: what to write for some nodes instead of their own formula.

    >>> import numpy as np
    >>> g = Graph("demo")
    >>> x, y = g.input("x"), g.input("y")
    >>> z = -(x - y) * x / (x * y)
    >>> formula(g, z.id, {})
    '-(x - y)*x/(x*y)'
    """
    return _write(graph, node_id, names)[0]


def one_step(graph: Graph, node_id: int, names: Mapping[int, str]) -> str:
    """The formula of a node whose operands are all written by name (constants as numbers)."""
    others = {i: name for i, name in names.items() if i != node_id}
    return formula(graph, node_id, others)


def _write(graph: Graph, node_id: int, names: Mapping[int, str]) -> tuple[str, int]:
    """Text and rank of a node."""
    if node_id in names:
        return names[node_id], ATOM
    node = graph.nodes[node_id]
    if node.op == "input":
        return str(node.param("name")), ATOM
    if node.op == "const":
        return number(node), ATOM
    operands = [_write(graph, a, names) for a in node.args]
    if (infix := INFIX.get(node.op)) is not None:
        (left, left_rank), (right, right_rank) = operands
        left = left if left_rank >= infix.rank else f"({left})"
        return f"{left}{infix.sign}{right if right_rank > infix.rank else f'({right})'}", infix.rank
    if node.op == "neg":
        text, rank = operands[0]
        return f"-{text if rank >= 2 else f'({text})'}", 2
    if node.op == "square":
        text, rank = operands[0]
        return f"{text if rank == ATOM else f'({text})'}**2", 4
    if node.op == "cast":
        return operands[0]
    return f"{node.op}({', '.join(text for text, _ in operands)})", ATOM


def number(node: Node) -> str:
    """A constant as a short number, or its dtype and shape."""
    constant = node.param("value")
    if constant.scalar is None:
        return str(node.type)
    value = constant.scalar
    return f"{value:g}" if isinstance(value, float) else str(value)
