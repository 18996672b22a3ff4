"""Equal terms written out one by one become one term over an axis: Σ of f(x[0]), f(x[1]), … is the sum of f(x).

A program that adds (or stacks) hundreds of scalar expressions of one form costs as many nodes as there are, in every
pass, in the derivative and in the compiler. Rolled back, it is what the user would have written with arrays: elements
at places that are linear in the term become a slice, others a gather, different constants an array. Before
differentiation this is cheapest, and the derivative is rolled as well. The order of a sum changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from graphad.ir.graph import Graph, Node, keep, rebuild
from graphad.ir.operation import OPERATIONS, Scalar
from passes.base import Pass, use_counts
from passes.dead import remove_dead

FEWEST = 16  # terms from which a group is rolled: with fewer, unrolled code is as good
LARGEST = 96  # operations of one term


class Term(NamedTuple):
    """A scalar expression taken apart.

    Arguments:
        form: what equal terms share: operations with places of their operands, and the kinds of their leaves.
        leaves: what differs: ids of nodes.
    """

    form: tuple[Any, ...]
    leaves: tuple[int, ...]


class Element(NamedTuple):
    """One element of a vector: the node of the vector, and the place."""

    vector: int
    place: int


@dataclass(frozen=True)
class Group:
    """Terms of one form, in order."""

    terms: tuple[Term, ...]


def roll_terms(graph: Graph) -> Graph:
    """The graph with sums and stacks of equal terms rolled; itself where there are none.

    >>> g = Graph("f")
    >>> x = g.input("x", shape=40)
    >>> g.output("y", sum((x[i + 1] * x[i] for i in range(39)), start=g.const(0.0)))
    >>> print(roll_terms(g))
    graph f
      x: float64[40] = input
      %1: float64[] = const 0.0
      %2: float64[39] = slice x {sizes=(39,), starts=(1,), steps=(1,)}
      %3: float64[39] = slice x {sizes=(39,), starts=(0,), steps=(1,)}
      %4: float64[39] = mul %2 %3
      %5: float64[] = sum %4 {axes=(0,)}
      %6: float64[] = add %1 %5
      output y = %6
    """
    if len(graph.nodes) < FEWEST:
        return graph
    finder = _Finder(graph)
    found = finder.find()
    if not found:
        return graph

    def replace(new: Graph, old: int, node: Node, args: tuple[int, ...]) -> int | None:
        plan = found.get(old)
        return None if plan is None else _Builder(graph, new, translation).build(node, plan)

    translation: dict[int, int] = {}

    def noting(new: Graph, old: int, node: Node, args: tuple[int, ...]) -> int | None:
        result = replace(new, old, node, args)
        translation[old] = len(new.nodes) if result is None else result
        return result

    # The nodes between a sum and its terms are left out: they are not needed, and nothing stands in their place.
    live = sorted(keep(graph, graph.outputs.values()) - finder.inner(found))
    return remove_dead(rebuild(graph, noting, live=live))


Plan = list[Group | int]  # groups, and ids of terms that stay as they are; of a stack in order


class _Finder:
    """The search for groups."""

    def __init__(self, graph: Graph) -> None:
        self.nodes = graph.nodes
        self.uses = use_counts(graph)
        self.depths: list[int] = []

    def find(self) -> dict[int, Plan]:
        """For the root of each sum and for each stack what it is made of."""
        found: dict[int, Plan] = {}
        for root, leaves in self._sums().items():
            if len(leaves) >= FEWEST and (plan := self._grouped(leaves, ordered=False)) is not None:
                found[root] = plan
        for node_id, node in enumerate(self.nodes):
            if node.op == "concatenate" and len(node.args) >= FEWEST and node.type.rank == 1:
                scalars = [self._unstacked(a) for a in node.args]
                if None not in scalars:
                    plan = self._grouped([s for s in scalars if s is not None], ordered=True)
                    if plan is not None:
                        found[node_id] = plan
        return found

    def inner(self, found: dict[int, Plan]) -> set[int]:
        """Additions inside the sums that are rolled."""
        inside: set[int] = set()
        for root in found:
            stack = [root] if self.nodes[root].op == "add" else []
            while stack:
                for arg in self.nodes[stack.pop()].args:
                    if self._continues(arg):
                        inside.add(arg)
                        stack.append(arg)
        return inside

    def _continues(self, node_id: int) -> bool:
        node = self.nodes[node_id]
        return node.op == "add" and self.uses[node_id] == 1 and not node.type.shape and node.type.is_float

    def _sums(self) -> dict[int, list[int]]:
        """For every scalar addition that is no operand of another one: all its terms, in order."""
        inside = {a for n in self.nodes if n.op == "add" and not n.type.shape for a in n.args if self._continues(a)}
        sums: dict[int, list[int]] = {}
        for root, node in enumerate(self.nodes):
            if node.op != "add" or node.type.shape or not node.type.is_float or root in inside:
                continue
            leaves: list[int] = []
            stack = list(reversed(node.args))
            while stack:
                found = stack.pop()
                if self._continues(found):
                    stack.extend(reversed(self.nodes[found].args))
                else:
                    leaves.append(found)
            sums[root] = leaves
        return sums

    def _unstacked(self, node_id: int) -> int | None:
        """The scalar behind an array of one element."""
        node = self.nodes[node_id]
        if node.op == "reshape" and node.type.shape == (1,) and not self.nodes[node.args[0]].type.shape:
            return node.args[0]
        return None

    def _grouped(self, leaves: Sequence[int], *, ordered: bool) -> Plan | None:
        """Terms by form: all of a sum's, or of a stack those that follow each other; None where nothing is gained."""
        terms = [(leaf, self.term(leaf)) for leaf in leaves]
        runs: list[list[tuple[int, Term | None]]] = []
        by_form: dict[Any, list[tuple[int, Term | None]]] = {}
        for leaf, term in terms:
            form = None if term is None else term.form
            run = by_form.get(form) if not ordered else runs[-1] if runs and _form(runs[-1]) == form else None
            if run is None:
                run = by_form[form] = []
                runs.append(run)
            run.append((leaf, term))
        plan: Plan = []
        for run in runs:
            members = tuple(term for _, term in run if term is not None)
            if len(members) >= FEWEST and members[0].form[0]:
                plan.append(Group(members))
            else:
                plan.extend(leaf for leaf, _ in run)
        return plan if any(isinstance(p, Group) for p in plan) else None

    # ------------------------------------------------------------------ terms

    def term(self, root: int) -> Term | None:
        """The expression at a scalar taken apart; None where it is too large."""
        if self._depth(root) > LARGEST:  # most states of a recurrence are, and need not be walked to see it
            return None
        order: list[int] = []
        places: dict[int, int] = {}
        stack = [(root, False)]
        while stack:
            node_id, ready = stack.pop()
            if node_id in places:
                continue
            inside = self._elementwise(node_id)
            if ready or not inside:
                places[node_id] = len(order)
                order.append(node_id)
                if len(order) > LARGEST:
                    return None
                continue
            stack.append((node_id, True))
            stack.extend((a, False) for a in reversed(self.nodes[node_id].args))
        steps: list[Any] = []
        leaves: list[int] = []
        for node_id in order:
            node = self.nodes[node_id]
            if self._elementwise(node_id):
                steps.append((node.op, node.params, node.region, tuple(places[a] for a in node.args)))
                continue
            steps.append(self._kind(node_id))
            leaves.append(node_id)
        operations = any(len(step) == 4 for step in steps)
        return Term((operations, tuple(steps)), tuple(leaves))

    def _depth(self, node_id: int) -> int:
        """The operations on the longest path inside an expression."""
        if not self.depths:
            for place, node in enumerate(self.nodes):
                inside = self._elementwise(place)
                self.depths.append(1 + max([self.depths[a] for a in node.args], default=0) if inside else 0)
        return self.depths[node_id]

    def _elementwise(self, node_id: int) -> bool:
        node = self.nodes[node_id]
        if node.type.shape or not node.args:
            return False
        op = OPERATIONS.get(node.op)
        return op is not None and isinstance(op.emission, Scalar)

    def _kind(self, node_id: int) -> tuple[Any, ...]:
        node = self.nodes[node_id]
        if node.op == "const":
            return ("const", node.type.dtype)
        element = element_of(self.nodes, node_id)
        if element is not None:
            return ("element", element.vector)
        return ("scalar", node_id)  # the same in all terms: stacking different ones would cost what rolling saves


def _form(run: Sequence[tuple[int, Term | None]]) -> Any:
    term = run[0][1]
    return None if term is None else term.form


def element_of(nodes: Sequence[Node], node_id: int) -> Element | None:
    """The vector and the literal place of a scalar that is `x[3]`; None for any other."""
    node = nodes[node_id]
    if node.op != "reshape" or node.type.shape:
        return None
    inner = nodes[node.args[0]]
    if inner.op != "slice" or inner.type.shape != (1,) or nodes[inner.args[0]].type.rank != 1:
        return None
    (place,) = inner.param("starts")
    return Element(inner.args[0], place) if isinstance(place, int) and place >= 0 else None


class _Builder:
    """Writes rolled groups into the new graph."""

    def __init__(self, graph: Graph, new: Graph, translation: dict[int, int]) -> None:
        self.nodes = graph.nodes
        self.new = new
        self.translation = translation

    def build(self, node: Node, plan: Plan) -> int:
        """The node that stands for a sum or a stack."""
        if node.op == "add":
            parts = [self._total(p) if isinstance(p, Group) else self.translation[p] for p in plan]
            total = parts[0]
            for part in parts[1:]:
                total = self.new.add("add", (total, part))
            return total
        pieces = [self._vector(p) if isinstance(p, Group) else self._single(p) for p in plan]
        if len(pieces) == 1:
            return pieces[0]
        return self.new.add("concatenate", tuple(pieces), (("axis", 0),))

    def _total(self, group: Group) -> int:
        return self.new.add("sum", (self._vector(group),), (("axes", (0,)),))

    def _vector(self, group: Group) -> int:
        """All terms of a group as one array."""
        count = len(group.terms)
        values: list[int] = []
        leaf = 0
        for step in group.terms[0].form[1]:
            if len(step) == 4:
                op, params, region, places = step
                values.append(self.new.add(op, tuple([values[p] for p in places]), params, region))
                continue
            column = [term.leaves[leaf] for term in group.terms]
            values.append(self._leaf(step[0], column))
            leaf += 1
        result = values[-1]
        if not self.new.nodes[result].type.shape:
            result = self.new.add("broadcast_to", (result,), (("shape", (count,)),))
        return result

    def _leaf(self, kind: str, column: Sequence[int]) -> int:
        """One operand of all terms: a scalar where it is the same, an array otherwise."""
        if len(set(column)) == 1:
            return self.translation[column[0]]
        if kind == "const":
            values = [self.nodes[c].param("value").array for c in column]
            return self.new.const(np.array(values), self.nodes[column[0]].type.dtype).id
        return self._elements([e for c in column if (e := element_of(self.nodes, c)) is not None])

    def _elements(self, elements: Sequence[Element]) -> int:
        vector = self.translation[elements[0].vector]
        places = np.array([e.place for e in elements], np.int64)
        steps = np.diff(places)
        if (steps == steps[0]).all() and steps[0] != 0:
            window = (("sizes", (len(places),)), ("starts", (int(places[0]),)), ("steps", (int(steps[0]),)))
            return self.new.add("slice", (vector,), window)
        return self.new.add("gather", (vector, self.new.const(places).id), (("axes", (0,)),))

    def _single(self, scalar: int) -> int:
        return self.new.add("reshape", (self.translation[scalar],), (("shape", (1,)),))


@dataclass(frozen=True)
class Roll(Pass):
    """Roll sums and stacks of equal terms."""

    def run(self, graph: Graph) -> Graph:
        """See `roll_terms`."""
        return roll_terms(graph)
