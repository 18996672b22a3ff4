"""Rewrite expressions into cheaper, more exact or more stable ones: a table of patterns and their replacements.

All rewrites hold for real numbers; in floating-point numbers they are exact, or their result is nearer to the exact
one (`log(1 + x)`), also where the expression as written overflows (`log(sum(exp(x)))`). Signs of zeros are not kept,
and log(sum(exp(x))) over an axis that turns out to be empty is an error, not -inf: there is no maximum to subtract.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphad.ir.graph import Graph, Node
from graphad.ops.extents import at_most
from passes.base import Pass
from passes.rewrite import ANY, Rewrite, Rewriter, Rule, Structural, apply_rewrites, dispatch
from passes.shape_rewrites import (
    broadcast_of,
    cast_of,
    reduction_of_broadcast,
    reduction_of_one,
    reduction_of_reduction,
    reshape_of,
    slice_of,
    strip_broadcasts,
    sum_of_negative,
    sum_of_product,
    transpose_of,
)

REDUCTIONS = ("sum", "prod", "max", "min", "any", "all")


def stable_log_sum_exp(rewriter: Rewriter, node: Node) -> int | None:
    """log sum exp(x) as m + log sum exp(x - m), with m the maximum (0 where that is infinite)."""
    nodes = rewriter.nodes
    inner = nodes[node.args[0]]
    total = nodes[inner.args[0]] if inner.op == "reshape" else inner
    if total.op != "sum" or nodes[total.args[0]].op != "exp":
        return None
    exponent = nodes[total.args[0]].args[0]
    if is_shifted(rewriter, exponent) or not nonempty(rewriter, exponent, total):
        return None
    top, shifted = shift_by_maximum(rewriter, exponent, total.param("axes"))
    logarithm = rewriter.make("log", rewriter.make("sum", rewriter.make("exp", shifted), axes=total.param("axes")))
    result = rewriter.make("add", top, logarithm)
    return rewriter.make("reshape", result, shape=node.type.shape) if inner.op == "reshape" else result


def stable_softmax(rewriter: Rewriter, node: Node) -> int | None:
    """exp(x) / sum(exp(x)) with the maximum subtracted from x: what differentiating log(sum(exp(x))) leaves."""
    nodes = rewriter.nodes
    for numerator, factor in (node.args, node.args[::-1])[: 1 if node.op == "div" else 2]:
        above, below = nodes[numerator], without_reshapes(rewriter, nodes[factor])
        if node.op == "mul":
            below = without_reshapes(rewriter, nodes[below.args[0]]) if below.op == "reciprocal" else node
        if above.op != "exp" or below.op != "sum" or nodes[below.args[0]].key != above.key:
            continue
        (x,), axes = above.args, below.param("axes")
        kept = tuple(1 if a in axes else e for a, e in enumerate(above.type.shape))
        shape = nodes[factor].type.shape
        if (1,) * (len(kept) - len(shape)) + shape != kept or is_shifted(rewriter, x):
            continue
        if not nonempty(rewriter, x, below):
            continue
        power = rewriter.make("exp", shift_by_maximum(rewriter, x, axes)[1])
        total = rewriter.make("reshape", rewriter.make("sum", power, axes=axes), shape=kept)
        other = total if node.op == "div" else rewriter.make("reciprocal", total)
        return rewriter.fitted(rewriter.make(node.op, power, other), node.type)
    return None


def without_reshapes(rewriter: Rewriter, node: Node) -> Node:
    """What lies behind reshapes."""
    while node.op == "reshape":
        node = rewriter.nodes[node.args[0]]
    return node


def quotient(rewriter: Rewriter, node: Node) -> int | None:
    """x * (1/y) as x / y, where 1/y has no other use and as many elements as the result."""
    for x, inverse in (node.args, node.args[::-1]):
        below = rewriter.nodes[inverse]
        if below.op == "reciprocal" and below.type.shape == node.type.shape and rewriter.used_once(inverse):
            return rewriter.make("div", x, below.args[0])
    return None


def shift_by_maximum(rewriter: Rewriter, x: int, axes: tuple[int, ...]) -> tuple[int, int]:
    """The maximum m of x over some axes, 0 where it is infinite or NaN and without derivative; and x - m."""
    kind = rewriter.nodes[x].type
    maximum = rewriter.make("stop_gradient", rewriter.make("max", x, axes=axes))
    finite = rewriter.make("less", rewriter.make("abs", maximum), rewriter.const(float("inf"), kind.dtype))
    top = rewriter.make("where", finite, maximum, rewriter.const(0.0, kind.dtype))
    kept = rewriter.make("reshape", top, shape=tuple(1 if a in axes else e for a, e in enumerate(kind.shape)))
    return top, rewriter.make("sub", x, kept)


def nonempty(rewriter: Rewriter, x: int, reduction: Node) -> bool:
    """Whether the axes of x that are reduced hold an element; for symbolic sizes this becomes a requirement."""
    extents = [rewriter.nodes[x].type.shape[a] for a in reduction.param("axes")]
    if 0 in extents:
        return False
    line = (reduction.source.filename, reduction.source.line) if reduction.source else None
    for extent in extents:
        wanted = at_most(1, extent, "log of a sum of exponentials over an empty axis")
        rewriter.required.extend(r._replace(source=line) for r in wanted)
    return True


def is_shifted(rewriter: Rewriter, exponent: int) -> bool:
    """Whether something made from a maximum has been subtracted already."""
    node = rewriter.nodes[exponent]
    if node.op != "sub":
        return False
    below = rewriter.nodes[node.args[1]]
    while below.op in ("reshape", "broadcast_to", "where", "stop_gradient", "transpose"):
        below = rewriter.nodes[below.args[1 if below.op == "where" else 0]]
    return below.op == "max"


TABLE: tuple[Rewrite, ...] = (
    # stability
    Rule("log1p", "log(1 + x)", "log1p(x)", "1 + x loses the digits of a small x"),
    Rule("log1p_minus", "log(1 - x)", "log1p(-x)", "1 - x loses the digits of a small x"),
    Rule("expm1", "exp(x) - 1", "expm1(x)", "exp(x) - 1 cancels for small x"),
    Rule("expm1_plus", "exp(x) + -1", "expm1(x)", "exp(x) - 1 cancels for small x"),
    Rule("softplus", "log1p(exp(x))", "softplus(x)", "exp(x) overflows where the result is about x"),
    Rule("logaddexp", "log(exp(x) + exp(y))", "logaddexp(x, y)", "exp overflows where the result is moderate"),
    Rule("sigmoid", "reciprocal(1 + exp(x))", "sigmoid(-x)", "one stable function instead of three operations"),
    Rule("sigmoid_ratio", "exp(x) / (1 + exp(x))", "sigmoid(x)", "inf / inf for large x"),
    Rule("sigmoid_complement", "1 - sigmoid(x)", "sigmoid(-x)", "1 - y cancels where y is close to 1"),
    Rule("log_sigmoid", "log(sigmoid(x))", "-softplus(-x)", "sigmoid(x) underflows where the result is about x"),
    Rule("log_exp", "log(exp(x))", "x", "exp(x) overflows and underflows; its logarithm does not"),
    Structural("log_sum_exp", ("log",), stable_log_sum_exp, "exp(x) overflows where the result is about max(x)"),
    Structural("softmax", ("div", "mul"), stable_softmax, "inf / inf for large x", heads=frozenset({"exp"})),
    # arithmetic
    Rule("square", "x * x", "square(x)", "one operand to read"),
    Rule("twice", "x + x", "2 * x", "exact; lets constants merge"),
    Rule("reciprocal", "1 / x", "reciprocal(x)", "one form for both"),
    Structural("quotient", ("mul",), quotient, "one rounding instead of two", heads=frozenset({"reciprocal"})),
    Rule("neg_neg", "-(-x)", "x", "exact"),
    Rule("neg_sub", "-(x - y)", "y - x", "exact"),
    Rule("add_neg", "x + -y", "x - y", "exact"),
    Rule("sub_neg", "x - -y", "x + y", "exact"),
    Rule("mul_neg_neg", "(-x) * (-y)", "x * y", "exact"),
    Rule("div_neg_neg", "(-x) / (-y)", "x / y", "exact"),
    Rule("square_neg", "square(-x)", "square(x)", "exact"),
    Rule("square_abs", "square(abs(x))", "square(x)", "exact"),
    Rule("abs_neg", "abs(-x)", "abs(x)", "exact"),
    Rule("abs_abs", "abs(abs(x))", "abs(x)", "exact"),
    Rule("abs_square", "abs(square(x))", "square(x)", "a square is not negative"),
    Rule("sqrt_square", "sqrt(square(x))", "abs(x)", "the square overflows and underflows"),
    Rule("cos_neg", "cos(-x)", "cos(x)", "cos is even"),
    Rule("relu_relu", "relu(relu(x))", "relu(x)", "exact"),
    Rule("minimum_same", "minimum(x, x)", "x", "exact"),
    Rule("maximum_same", "maximum(x, x)", "x", "exact"),
    Rule("where_same", "where(c, x, x)", "x", "both branches are one"),
    Rule("not_not", "logical_not(logical_not(x))", "x", "exact"),
    # shapes
    Structural("transpose", ("transpose",), transpose_of, "two permutations are one; the identity is none"),
    Structural("reshape", ("reshape",), reshape_of, "only the last shape counts"),
    Structural("broadcast", ("broadcast_to",), broadcast_of, "only the last shape counts"),
    Structural("slice", ("slice",), slice_of, "a slice of a slice is one; a full one is none"),
    Structural("cast", ("cast",), cast_of, "a lossless detour changes nothing"),
    Structural("reduction_of_one", REDUCTIONS, reduction_of_one, "an axis of one element needs no reduction"),
    Structural("reduction_of_broadcast", REDUCTIONS, reduction_of_broadcast, "a sum of n equal terms is n times one"),
    Structural("reduction_of_reduction", REDUCTIONS, reduction_of_reduction, "one reduction over all axes"),
    Structural("sum_of_negative", ("sum",), sum_of_negative, "one negation instead of one a term", frozenset({"neg"})),
    Structural("sum_of_product", ("sum",), sum_of_product, "fewer terms to multiply", frozenset({"einsum"})),
    Structural("strip_broadcasts", (ANY,), strip_broadcasts, "compute before stretching, on fewer elements",
               some=frozenset({"broadcast_to", "reshape"})),
)  # fmt: skip
DISPATCH = dispatch(TABLE)


def simplify(graph: Graph) -> Graph:
    """The graph with the rewrites of `TABLE` applied. Linear in nodes.

    >>> import numpy as np
    >>> g = Graph("f")
    >>> x = g.input("x", shape="n")
    >>> g.output("y", np.log(1.0 + np.exp(x)))
    >>> print(simplify(g))
    graph f
      x: float64[n] = input
      %1: float64[n] = softplus x
      output y = %1
    """
    return apply_rewrites(graph, DISPATCH)


@dataclass(frozen=True)
class Simplify(Pass):
    """Cheaper and more stable forms of expressions."""

    def run(self, graph: Graph) -> Graph:
        """See `simplify`."""
        return simplify(graph)
