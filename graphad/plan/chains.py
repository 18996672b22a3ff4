"""The cheapest way to multiply a chain of local Jacobians, with tangents and adjoints as alternatives to products.

Reference: U. Naumann, Optimal Jacobian accumulation is NP-complete, Math. Prog. 112 (2008); S. Maertens and U. Naumann,
Jacobian chain products with tangents and adjoints, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple


class Factor(NamedTuple):
    """One segment of a chain, the first is next to the inputs.

    Arguments:
        inputs, outputs: elements on both sides.
        tangent, adjoint: the cost of one tangent and of one adjoint through the segment.
        forward, reverse: the cost to accumulate its Jacobian from all unit tangents or all unit adjoints.
    """

    inputs: int
    outputs: int
    tangent: int
    adjoint: int
    forward: int
    reverse: int

    @staticmethod
    def of(outputs: int, inputs: int, edges: int) -> Factor:
        """A factor whose local graph has as many edges: each sweep costs one multiplication an edge."""
        return Factor(inputs, outputs, edges, edges, edges * inputs, edges * outputs)


@dataclass(frozen=True)
class Tree:
    """How the Jacobian of the segments `first` to `last` (included) is made.

    `how` is "forward" or "reverse" for one segment's unit tangents or unit adjoints; "multiply" for the product of both
    parts; "tangent" where the columns of `left` (the inner part) are pushed through the remaining segments, "adjoint"
    where the rows of `right` (the outer part) are pulled through the first ones.
    """

    how: Literal["forward", "reverse", "multiply", "tangent", "adjoint"]
    first: int
    last: int
    cost: int
    left: Tree | None = None
    right: Tree | None = None

    @cached_property
    def uniform(self) -> str:
        """ "forward" or "reverse" where the tree is that mode as a whole, else an empty string."""
        if self.how in ("forward", "reverse"):
            return self.how
        part, mode = (self.left, "forward") if self.how == "tangent" else (self.right, "reverse")
        return mode if self.how != "multiply" and part is not None and part.uniform == mode else ""


def all_forward(factors: Sequence[Factor]) -> int:
    """The cost of forward mode as a whole."""
    return factors[0].forward + factors[0].inputs * sum(f.tangent for f in factors[1:])


def all_reverse(factors: Sequence[Factor]) -> int:
    """The cost of reverse mode as a whole."""
    return factors[-1].reverse + factors[-1].outputs * sum(f.adjoint for f in factors[:-1])


def best_tree(factors: Sequence[Factor], scale: int = 1) -> Tree:
    """The cheapest tree of a chain, by dynamic programming over its parts; ties go to fewer products.

    Arguments:
        scale: the cost of one multiplication of a product of Jacobians.

    >>> best_tree([Factor.of(1, 100, 200), Factor.of(100, 1, 200)]).how
    'multiply'
    """
    count = len(factors)
    tangents, adjoints = [0], [0]
    for factor in factors:
        tangents.append(tangents[-1] + factor.tangent)
        adjoints.append(adjoints[-1] + factor.adjoint)
    best: dict[tuple[int, int], Tree] = {}
    for i, factor in enumerate(factors):
        mode: Literal["forward", "reverse"] = "forward" if factor.forward < factor.reverse else "reverse"
        best[i, i] = Tree(mode, i, i, min(factor.forward, factor.reverse))
    for length in range(1, count):
        for i in range(count - length):
            best[i, i + length] = _best_split(factors, best, tangents, adjoints, i, i + length, scale)
    return best[0, count - 1]


def _best_split(
    factors: Sequence[Factor],
    best: dict[tuple[int, int], Tree],
    tangents: Sequence[int],
    adjoints: Sequence[int],
    i: int,
    j: int,
    scale: int,
) -> Tree:
    found: Tree | None = None
    # A part that waits for nothing is accumulated in both modes, whichever is the cheaper alone.
    for k in range(i, j):
        inner, outer = best[i, k], best[k + 1, j]
        pushed = inner if k > i else Tree("forward", i, i, factors[i].forward)
        pulled = outer if k + 1 < j else Tree("reverse", j, j, factors[j].reverse)
        products = scale * factors[j].outputs * factors[k].outputs * factors[i].inputs
        tangent_cost = factors[i].inputs * (tangents[j + 1] - tangents[k + 1])
        adjoint_cost = factors[j].outputs * (adjoints[k + 1] - adjoints[i])
        inner_cost, outer_cost = min(inner.cost, pushed.cost), min(outer.cost, pulled.cost)
        options = (
            Tree("tangent", i, j, inner_cost + tangent_cost, pushed if pushed.cost <= inner.cost else inner),
            Tree("adjoint", i, j, outer_cost + adjoint_cost, None, pulled if pulled.cost <= outer.cost else outer),
            Tree("multiply", i, j, inner.cost + outer.cost + products, inner, outer),
        )
        for option in options:
            if found is None or option.cost < found.cost:
                found = option
    assert found is not None
    return found
