"""The engine of `simplify` and `fold`: local rewrites, applied to every node once its operands are in final form.

A rewrite looks at a node and at what lies below it, and makes its replacement with `Rewriter.make`, which applies
the rewrites again to each node it adds. So one walk reaches a fixed point, at a cost linear in nodes, but for rewrites
that wait for a node to lose its other uses: where one of them was refused, another walk follows.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from graphad.ir.graph import Frozen, Graph, Node, rebuild
from graphad.ir.types import Requirement, Shape, TensorType
from passes.base import use_counts
from passes.cse import COMMUTATIVE
from passes.dead import remove_dead

ANY = "*"
CONSTANT = "constant"
HEADS = {"const": CONSTANT, "broadcast_to": CONSTANT}
BINARY = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div"}


class Term(NamedTuple):
    """A part of a pattern: an operation on terms, a literal number (`op` empty), or a named hole (`op` empty)."""

    op: str
    terms: tuple[Term, ...] = ()
    literal: float | None = None
    hole: str = ""


def parse(text: str) -> Term:
    """A pattern from an expression: names are holes, numbers stand for constants, calls for operations.

    >>> parse("log(1 + x)").terms[0].op
    'add'
    """
    return _term(ast.parse(text, mode="eval").body)


def _term(node: ast.expr) -> Term:
    if isinstance(node, ast.Name):
        return Term("", hole=node.id)
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return Term("", literal=float(node.value))
    if isinstance(node, ast.BinOp):
        return Term(BINARY[type(node.op)], (_term(node.left), _term(node.right)))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _term(node.operand)
        return Term("", literal=-inner.literal) if inner.literal is not None else Term("neg", (inner,))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return Term(node.func.id, tuple(_term(a) for a in node.args))
    raise ValueError(f"no pattern: {ast.unparse(node)}")


@dataclass(frozen=True)
class Rule:
    """A rewrite of an expression: `Rule("log1p", "log(1 + x)", "log1p(x)", "1 + x loses the digits of a small x")`."""

    name: str
    pattern: str
    replacement: str
    reason: str

    @cached_property
    def left(self) -> Term:
        """The parsed pattern."""
        return parse(self.pattern)

    @cached_property
    def right(self) -> Term:
        """The parsed replacement."""
        return parse(self.replacement)

    def possible(self, below: tuple[str | float, ...], twice: bool) -> bool:
        """Whether the pattern can match a node whose operands are numbers or results of the operations `below`.

        Arguments:
            twice: whether the node has two operands, and they are one and the same.
        """
        orders = (below, below[::-1]) if self.left.op in COMMUTATIVE else (below,)
        terms = self.left.terms
        if len(terms) == 2 and terms[0].hole and terms[0] == terms[1] and not twice:
            return False
        return any(all(map(_fits, terms, order)) for order in orders)

    @property
    def roots(self) -> tuple[str, ...]:
        """The operations at the root of which the rule can apply."""
        return (self.left.op,)

    def apply(self, rewriter: Rewriter, node: Node) -> int | None:
        """The id of the replacement, None where the rule does not apply."""
        holes = match_operands(rewriter, self.left, node, {})
        if holes is None:
            return None
        result = _build(rewriter, self.right, holes, node)
        return rewriter.fitted(result, node.type)


def _number(node: Node) -> str | float:
    """What a constant is to the choice of rewrites: its number, or just a constant."""
    value = node.params[0][1].scalar
    return value if type(value) is float and value == value else "const"


def _fits(term: Term, below: str | float) -> bool:
    """Whether the result of an operation, or a number, can be what a term stands for."""
    if type(below) is float:
        return not term.op and term.literal in (None, below)
    if term.literal is not None:
        return HEADS.get(str(below)) == CONSTANT
    return not term.op or term.op == below


@dataclass(frozen=True)
class Structural:
    """A rewrite that a pattern can not say: `function(rewriter, node)` answers the replacement's id or None.

    The other fields say when the function is worth a call, by the operations of the operands: those in `heads` must
    be among them, one of `some` must be, and all of them must be in `every`; an empty set asks for nothing.
    """

    name: str
    roots: tuple[str, ...]
    function: Callable[[Rewriter, Node], int | None]
    reason: str
    heads: frozenset[str] = frozenset()
    some: frozenset[str] = frozenset()
    every: frozenset[str] = frozenset()

    def possible(self, below: tuple[str | float, ...], twice: bool) -> bool:
        """Whether the rewrite can apply to a node whose operands are numbers or results of the operations `below`."""
        ops = [op if isinstance(op, str) else "const" for op in below]
        found = {HEADS.get(op, op) for op in ops}
        return (
            self.heads <= found
            and (not self.some or not self.some.isdisjoint(ops))
            and (not self.every or self.every.issuperset(ops))
        )

    def apply(self, rewriter: Rewriter, node: Node) -> int | None:
        """The id of the replacement, None where the rewrite does not apply."""
        return self.function(rewriter, node)


Rewrite = Rule | Structural


class Rewriter:
    """The new graph under construction, and what rewrites may ask about it."""

    def __init__(self, new: Graph, table: Mapping[str, Sequence[Rewrite]], fired: list[str]) -> None:
        self.new = new
        self.nodes = new.nodes
        self.table = table
        self.fired = fired
        self.region = 0
        self.uses: dict[int, int] = {}
        self.shared = False
        self.required: list[Requirement] = []
        self.worth: dict[tuple[Any, ...], tuple[Rewrite, ...]] = {}

    def rewrite(self, node: Node) -> int | None:
        """The replacement of a node that is not yet part of the graph, None to leave it as it is."""
        nodes, args = self.nodes, node.args
        twice = len(args) == 2 and args[0] == args[1]
        below = tuple([n.op if (n := nodes[a]).op != "const" else _number(n) for a in args])
        key = (node.op, twice, below)
        rules = self.worth.get(key)
        if rules is None:
            rules = tuple(r for r in self.table.get(node.op, self.table[ANY]) if r.possible(below, twice))
            self.worth[key] = rules
        for rule in rules:
            if (result := rule.apply(self, node)) is not None:
                self.fired.append(rule.name)
                return result
        return None

    def make(self, op: str, *args: int, **params: Any) -> int:
        """The id of an operation on nodes of the new graph, itself rewritten as far as possible."""
        return self.remake(op, args, tuple(sorted(params.items())))

    def remake(self, op: str, args: tuple[int, ...], params: Frozen) -> int:
        """Like `make`, with parameters as a node has them."""
        node_id = self.new.add(op, args, params, self.region)
        result = self.rewrite(self.nodes[node_id])
        return node_id if result is None else result

    def const(self, value: Any, dtype: str) -> int:
        """The id of a constant."""
        return self.new.const(value, dtype).id

    def number(self, node_id: int) -> bool | int | float | None:
        """The one value of a constant of any shape, also behind `broadcast_to`; None for anything else."""
        node = self.nodes[node_id]
        if node.op == "broadcast_to":
            node = self.nodes[node.args[0]]
        if node.op != "const":
            return None
        array = node.param("value").array
        if array.ndim == 0:
            value: bool | int | float = array.item()
            return value
        if 0 < array.size <= 64 and (array == array.flat[0]).all():
            return array.flat[0].item()  # type: ignore[no-any-return]
        return None

    def used_once(self, node_id: int) -> bool:
        """Whether a node has one use in the graph that is being rewritten; `shared` notes that one had more."""
        once = self.uses.get(node_id, 1) <= 1
        self.shared = self.shared or not once
        return once

    def fitted(self, node_id: int, kind: TensorType) -> int | None:
        """The node stretched to a shape, None where it has another dtype or does not stretch to it."""
        have = self.nodes[node_id].type
        if have == kind:
            return node_id
        if have.dtype != kind.dtype or not stretches(have.shape, kind.shape):
            return None
        return self.make("broadcast_to", node_id, shape=kind.shape)


def stretches(shape: Shape, to: Shape) -> bool:
    """Whether `shape` broadcasts to `to` for certain: every extent equal or a literal 1."""
    if len(shape) > len(to):
        return False
    return all(a in (1, b) for a, b in zip(reversed(shape), reversed(to), strict=False))


def match(rewriter: Rewriter, term: Term, node_id: int, holes: dict[str, int]) -> dict[str, int] | None:
    """The holes of a term filled so that it equals a node, None where that is impossible."""
    if term.hole:
        return holes if holes.setdefault(term.hole, node_id) == node_id else None
    if term.literal is not None:
        value = rewriter.number(node_id)
        return holes if value is not None and type(value) is not bool and value == term.literal else None
    node = rewriter.nodes[node_id]
    return match_operands(rewriter, term, node, holes) if node.op == term.op else None


def match_operands(rewriter: Rewriter, term: Term, node: Node, holes: dict[str, int]) -> dict[str, int] | None:
    """Like `match` for the operands of a node of the term's operation; those of commutative ones in either order."""
    orders = (node.args, node.args[::-1]) if node.op in COMMUTATIVE else (node.args,)
    for args in orders:
        trial: dict[str, int] | None = dict(holes)
        for part, arg in zip(term.terms, args, strict=True):
            trial = match(rewriter, part, arg, trial) if trial is not None else None
        if trial is not None:
            return trial
    return None


def _build(rewriter: Rewriter, term: Term, holes: Mapping[str, int], node: Node) -> int:
    if term.hole:
        return holes[term.hole]
    if term.literal is not None:
        return rewriter.const(term.literal, node.type.dtype)
    return rewriter.make(term.op, *[_build(rewriter, t, holes, node) for t in term.terms])


def dispatch(rewrites: Sequence[Rewrite]) -> dict[str, tuple[Rewrite, ...]]:
    """The rewrites by root operation, in the order of the table; those of every operation under `ANY`."""
    roots = dict.fromkeys(root for rewrite in rewrites for root in rewrite.roots)
    table = {root: tuple(r for r in rewrites if root in r.roots or ANY in r.roots) for root in roots}
    return {ANY: (), **table}


def apply_rewrites(graph: Graph, table: Mapping[str, Sequence[Rewrite]]) -> Graph:
    """The graph with all rewrites applied, without what they leave unused; the graph itself where none applies."""
    changed, again = _walk(graph, table)
    while again:
        changed, again = _walk(changed, table)
    return changed


def _walk(graph: Graph, table: Mapping[str, Sequence[Rewrite]]) -> tuple[Graph, bool]:
    """One walk along the nodes; and whether another may find more, because uses that refused a rewrite may be gone."""
    fired: list[str] = []
    rewriter: Rewriter | None = None
    counts = use_counts(graph)

    def replace(new: Graph, old: int, node: Node, args: tuple[int, ...]) -> int | None:
        nonlocal rewriter
        if rewriter is None:
            rewriter = Rewriter(new, table, fired)
        rewriter.region = node.region
        result = rewriter.rewrite(node if args is node.args else node.on(args))
        landed = len(new.nodes) if result is None else result
        rewriter.uses[landed] = rewriter.uses.get(landed, 0) + counts[old]
        return result

    new = rebuild(graph, replace)
    if not fired or rewriter is None:
        return graph, False
    new.requirements.extend(rewriter.required)
    return remove_dead(new), rewriter.shared
