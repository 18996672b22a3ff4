"""Evaluate what is constant, and drop arithmetic with 0 and 1.

`x*0` stays: NaN and infinity in x must reach the result. (Derivatives fold their zeros while they are built.)
`x + 0` is dropped although it would turn -0.0 into 0.0: signs of zeros are not kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphad.ir.graph import Graph, Node
from graphad.ir.operation import OPERATIONS
from graphad.ir.sizes import Size
from passes.base import Pass
from passes.rewrite import ANY, CONSTANT, Rewrite, Rewriter, Rule, Structural, apply_rewrites, dispatch

LARGEST = 1024  # elements of a result that is stored instead of computed
# Better as operations: a stretched constant is one number, and a later use may need only that.
KEPT = frozenset({"broadcast_to", "iota", "const", "input", "placeholder"})


def evaluated(rewriter: Rewriter, node: Node) -> int | None:
    """The result of a node on constants, if it is small and its parameters hold no symbolic size."""
    if node.op in KEPT or OPERATIONS[node.op].of_bodies or not all(rewriter.nodes[a].op == "const" for a in node.args):
        return None
    elements = node.type.elements
    if not isinstance(elements, int) or elements > LARGEST or _symbolic(node.params):
        return None
    arrays = [rewriter.nodes[a].param("value").array for a in node.args]
    with np.errstate(all="ignore"):
        result = np.asarray(OPERATIONS[node.op].reference(*arrays, **dict(node.params)))
    if result.dtype.name != node.type.dtype or result.shape != node.type.shape:
        return None
    return rewriter.const(result, node.type.dtype)


def _symbolic(value: Any) -> bool:
    return isinstance(value, Size) or (isinstance(value, tuple) and any(map(_symbolic, value)))


def merged_factors(rewriter: Rewriter, node: Node) -> int | None:
    """c·(d·x) as (c·d)·x, where c·d is neither infinite nor too small to be exact."""
    outer, inner = _factor(rewriter, node)
    if outer is None or rewriter.nodes[inner].op != "mul":
        return None
    second, x = _factor(rewriter, rewriter.nodes[inner])
    if second is None:
        return None
    product = outer * second
    if node.type.is_float:
        limits = np.finfo(node.type.dtype)
        if not (product == 0.0 and 0.0 in (outer, second)) and not limits.tiny <= abs(product) <= limits.max:
            return None
    elif not np.iinfo(node.type.dtype).min <= product <= np.iinfo(node.type.dtype).max:
        return None
    return rewriter.fitted(rewriter.make("mul", rewriter.const(product, node.type.dtype), x), node.type)


def _factor(rewriter: Rewriter, node: Node) -> tuple[float | int | None, int]:
    """The constant factor of a product and the other operand."""
    left, right = node.args
    if (value := rewriter.number(left)) is not None:
        return value, right
    return rewriter.number(right), left


def signed_factor(rewriter: Rewriter, node: Node) -> int | None:
    """c·(-x) and -(c·x) as (-c)·x."""
    product = node if node.op == "mul" else rewriter.nodes[node.args[0]]
    if product.op != "mul":
        return None
    value, x = _factor(rewriter, product)
    if value is None or not math.isfinite(value):
        return None
    if node.op == "mul":
        if rewriter.nodes[x].op != "neg":
            return None
        x = rewriter.nodes[x].args[0]
    return rewriter.fitted(rewriter.make("mul", rewriter.const(-value, node.type.dtype), x), node.type)


def quotient_by_power(rewriter: Rewriter, node: Node) -> int | None:
    """x / c as x·(1/c) where c is a power of two, for which both are exact."""
    value = rewriter.number(node.args[1])
    if value is None or not math.isfinite(value) or abs(math.frexp(value)[0]) != 0.5 or not 1e-30 < abs(value) < 1e30:
        return None
    return rewriter.fitted(
        rewriter.make("mul", node.args[0], rewriter.const(1.0 / value, node.type.dtype)), node.type
    )


def chosen(rewriter: Rewriter, node: Node) -> int | None:
    """`where` with a constant condition."""
    condition = rewriter.number(node.args[0])
    if condition is None:
        return None
    return rewriter.fitted(node.args[1 if condition else 2], node.type)


def truth(rewriter: Rewriter, node: Node) -> int | None:
    """`and` and `or` with a constant operand."""
    for value, other in (node.args, node.args[::-1]):
        known = rewriter.number(value)
        if known is not None and node.type.dtype == rewriter.nodes[other].type.dtype:
            neutral = bool(known) == (node.op == "logical_and")
            return rewriter.fitted(other if neutral else value, node.type)
    return None


NUMBER = frozenset({CONSTANT})

TABLE: tuple[Rewrite, ...] = (
    Structural("evaluate", (ANY,), evaluated, "constant", every=frozenset({"const"})),
    Rule("add_zero", "x + 0", "x", "exact but for the sign of zero"),
    Rule("sub_zero", "x - 0", "x", "exact"),
    Rule("zero_sub", "0 - x", "-x", "exact but for the sign of zero"),
    Rule("mul_one", "x * 1", "x", "exact"),
    Rule("mul_minus_one", "x * -1", "-x", "exact"),
    Rule("div_one", "x / 1", "x", "exact"),
    Rule("div_minus_one", "x / -1", "-x", "exact"),
    Rule("power_zero", "power(x, 0)", "1", "also of NaN, as IEEE 754 has it"),
    Rule("power_one", "power(x, 1)", "x", "exact"),
    Rule("power_two", "power(x, 2)", "square(x)", "a product instead of a function"),
    Rule("power_minus_one", "power(x, -1)", "reciprocal(x)", "a quotient instead of a function"),
    Rule("integer_power_one", "integer_power(x, 1)", "x", "exact"),
    Rule("integer_power_two", "integer_power(x, 2)", "square(x)", "a product instead of a loop"),
    Rule("guarded_mul_one", "guarded_mul(x, 1)", "x", "exact"),
    Rule("guarded_mul_minus_one", "guarded_mul(x, -1)", "-x", "exact"),
    Structural("merged_factors", ("mul",), merged_factors, "one product instead of two", heads=NUMBER | {"mul"}),
    Structural("signed_factor", ("mul", "neg"), signed_factor, "the constant takes the sign",
               some=frozenset({"mul", "neg"})),
    Structural("quotient_by_power", ("div",), quotient_by_power, "a product is four times faster", heads=NUMBER),
    Structural("chosen", ("where",), chosen, "one branch is never taken", heads=NUMBER),
    Structural("truth", ("logical_and", "logical_or"), truth, "neutral or deciding operand", heads=NUMBER),
)  # fmt: skip
DISPATCH = dispatch(TABLE)


def fold(graph: Graph) -> Graph:
    """The graph with constants evaluated and neutral arithmetic dropped. Linear in nodes.

    >>> g = Graph("f")
    >>> x = g.input("x")
    >>> g.output("y", x * (g.const(2.0) * 0.5) + 0.0)
    >>> print(fold(g))
    graph f
      x: float64[] = input
      output y = x
    """
    return apply_rewrites(graph, DISPATCH)


@dataclass(frozen=True)
class Fold(Pass):
    """Constant folding and neutral elements."""

    def run(self, graph: Graph) -> Graph:
        """See `fold`."""
        return fold(graph)
