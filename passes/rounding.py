"""In graphs with loops it is decided here which sums round together with a product, and which quotients are products.

Left to the compiler, `a*b + c` rounds once or twice and `a/d` becomes `a*(1/d)` or not, as the lines around would have
it, and a step that is run again would not give the bits that it gave before. What is chosen here depends on the step
alone, and is chosen before its schedule:

* A sum of numbers or short arrays with a product is `mul_add`, `mul_sub` or `sub_mul`, with one rounding.
* Quotients share the reciprocal of a divisor that several of them have, that is the same in all rounds of a loop, or
  that has fewer axes than the quotient.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from math import isfinite, prod
from typing import NamedTuple

import numpy as np

from graphad.ir.bodies import bodies
from graphad.ir.graph import Frozen, Graph, Node, keep, rebuild
from passes.base import Pass
from passes.cse import COMMUTATIVE
from passes.dead import remove_dead

LOOPS = frozenset({"scan", "while_loop", "scan_adjoint", "while_adjoint"})
PRODUCTS = frozenset({"mul", "square"})
QUOTIENTS = frozenset({"div", "reciprocal"})
SHORT = 16  # elements that stay in registers; the time of longer arrays is that of their memory


class Choices(NamedTuple):
    """What is chosen for the nodes of a graph: for sums the operand that is fused; quotients that become products."""

    fused: Mapping[int, int]
    products: frozenset[int]


NONE = Choices({}, frozenset())


def choices(
    graph: Graph, core: AbstractSet[int] = frozenset(), fixed: AbstractSet[int] = frozenset(),
    known: AbstractSet[int] = frozenset(), given: Choices = NONE,
) -> Choices:  # fmt: skip
    """The choices for a graph.

    Arguments:
        core: nodes whose choices depend on each other only.
        fixed: inputs that are the same in all rounds of the loop whose body the graph is.
        known: nodes for which `given` says all.
    """
    others = [i for i in range(len(graph.nodes)) if i not in known and i not in core]
    within, beyond = _counts(graph, core), _counts(graph, others)
    products, fused = set(given.products), dict(given.fused)
    shared = {*fixed, *(graph.nodes[i].args[1] for i in products)}
    for node_id in [*sorted(core - known), *others]:
        node = graph.nodes[node_id]
        uses, divisions = within if node_id in core else beyond
        if node.op == "div" and node.type.is_float:
            if node.args[1] in shared or divisions[node.args[1]] > 1 or _serves_more(graph, node):
                products.add(node_id)
                shared.add(node.args[1])
        elif places := [k for k, a in enumerate(node.args) if _fits(graph, node, a, products)]:
            fused[node_id] = min(places, key=lambda k: uses[node.args[k]])
    return Choices(fused, frozenset(products))


def _counts(graph: Graph, inside: Iterable[int]) -> tuple[Counter[int], Counter[int]]:
    """How many of some nodes have each node as an operand, and as a divisor."""
    nodes = [graph.nodes[i] for i in inside]
    return Counter(a for n in nodes for a in n.args), Counter(n.args[-1] for n in nodes if n.op in QUOTIENTS)


def _serves_more(graph: Graph, node: Node) -> bool:
    """Whether the reciprocal of a quotient's divisor is a constant, or serves several of its elements."""
    divisor = graph.nodes[node.args[1]]
    if divisor.op != "const" or divisor.type.rank:
        return divisor.type.rank < node.type.rank
    value = abs(float(divisor.param("value").scalar))
    return isfinite(value) and value > 4.0 * float(np.finfo(divisor.type.dtype).tiny)


def _fits(graph: Graph, node: Node, operand: int, products: set[int]) -> bool:
    """Whether a node is a short sum of floats, and an operand of it a product."""
    if node.op not in ("add", "sub") or not (graph.nodes[operand].op in PRODUCTS or operand in products):
        return False
    shape = [extent for extent in node.type.shape if isinstance(extent, int)]
    short = len(shape) == node.type.rank and prod(shape) <= SHORT
    return short and node.type.is_float and graph.nodes[operand].type == node.type


# ---------------------------------------------------------------------- the graph with what was chosen


def rounded(graph: Graph, chosen: Choices) -> Graph:
    """The graph with its sums and quotients as chosen.

    >>> g = Graph("f")
    >>> x, y = g.input("x"), g.input("y")
    >>> g.output("z", x / y - x * x / y)
    >>> print(rounded(g, choices(g)))
    graph f
      x: float64[] = input
      y: float64[] = input
      %2: float64[] = reciprocal y
      %3: float64[] = mul x x
      %4: float64[] = mul %3 %2
      %5: float64[] = mul_sub x %2 %4
      output z = %5
    """
    if not chosen.fused and not chosen.products:
        return graph
    reciprocals: dict[int, int] = {}

    def replace(new: Graph, old: int, node: Node, args: tuple[int, ...]) -> int | None:
        if old in chosen.fused:
            return _fused(new, node, args, chosen.fused[old])
        if old not in chosen.products:
            return None
        if args[1] not in reciprocals:
            reciprocals[args[1]] = new.add("reciprocal", args[1:], (), node.region)
        return new.add("mul", (args[0], reciprocals[args[1]]), (), node.region)

    return remove_dead(rebuild(graph, replace))


def _fused(new: Graph, node: Node, args: tuple[int, ...], place: int) -> int:
    """The node for a sum or difference whose operand at `place` is a product."""
    product, other = new.nodes[args[place]], args[1 - place]
    factors = product.args * 2 if product.op == "square" else product.args
    if node.op == "add":
        return new.add("mul_add", (*factors, other), (), node.region)
    if place == 0:
        return new.add("mul_sub", (*factors, other), (), node.region)
    return new.add("sub_mul", (other, *factors), (), node.region)


# ---------------------------------------------------------------------- bodies


def everywhere(graph: Graph, chosen: Choices | None = None) -> Graph:
    """A graph and all bodies in it after their choices; those of the graph itself may be known."""
    own = choices(graph) if chosen is None else chosen
    changed = {i: new for i, node in enumerate(graph.nodes) if (new := _inside(node)) != node.params}

    def replace(new: Graph, old: int, node: Node, args: tuple[int, ...]) -> int | None:
        return new.add(node.op, args, changed[old], node.region) if old in changed else None

    return rounded(rebuild(graph, replace) if changed else graph, own)


def _inside(node: Node) -> Frozen:
    """The parameters of a node with every body done."""
    found, params = dict(bodies(node.params)), dict(node.params)
    done: dict[str, Choices] = {}
    if node.op in LOOPS:
        body = found["body"]
        inputs, moving = len(body.inputs), params["carries"] + params.get("xs", 0)
        core = keep(body, list(body.outputs.values())[: params["carries"]])
        done["body"] = choices(body, core, frozenset(list(body.inputs.values())[moving:]))
        if "adjoint" in found:
            adjoint = found["adjoint"]
            known = _repeated(body, adjoint)
            fixed = frozenset(list(adjoint.inputs.values())[moving:inputs])
            given = _taken_over(body, done["body"], adjoint, known)
            done["adjoint"] = choices(adjoint, fixed=fixed, known=frozenset(known), given=given)
    changed = {name: everywhere(one, done.get(name)).freeze() for name, one in found.items()}
    return tuple([(name, changed.get(name, value)) for name, value in node.params])


def _repeated(body: Graph, adjoint: Graph) -> dict[int, int]:
    """The nodes of an adjoint body that stand in the step's body too, each with a node there."""
    numbers: dict[object, int] = {}
    there = {number: node_id for node_id, number in enumerate(_numbered(body, numbers))}
    return {i: there[n] for i, n in enumerate(_numbered(adjoint, numbers)) if n in there}


def _taken_over(body: Graph, own: Choices, adjoint: Graph, known: Mapping[int, int]) -> Choices:
    """The choices of a step's body for the nodes of its adjoint that are `known`; operands may have changed places."""
    fused: dict[int, int] = {}
    for node_id, there in known.items():
        if there in own.fused:
            product = body.nodes[there].args[own.fused[there]]
            fused[node_id] = next(k for k, a in enumerate(adjoint.nodes[node_id].args) if known[a] == product)
    return Choices(fused, frozenset(i for i, there in known.items() if there in own.products))


def _numbered(graph: Graph, numbers: dict[object, int]) -> list[int]:
    """A number for each node, the same for what computes the same from inputs at the same places."""
    places = {node_id: place for place, node_id in enumerate(graph.inputs.values())}
    found: list[int] = []
    for node_id, node in enumerate(graph.nodes):
        args = tuple([found[a] for a in node.args])
        operands = tuple(sorted(args)) if node.op in COMMUTATIVE else args
        key = ("input", places[node_id]) if node_id in places else (node.op, operands, node.params, node.type)
        found.append(numbers.setdefault(key, len(numbers)))
    return found


@dataclass(frozen=True)
class Rounding(Pass):
    """Decide how sums and quotients round in graphs that have loops."""

    whole = True
    final = True

    def run(self, graph: Graph) -> Graph:
        """See `choices`; graphs without loops are left to the compiler."""
        return everywhere(graph) if any(node.op in LOOPS for node in graph.nodes) else graph
