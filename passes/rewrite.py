"""The engine of `simplify` and `fold`: local rewrites, applied to every node once its operands are in final form.

A rewrite looks at a node and at what lies below it, and makes its replacement with `Rewriter.make`, which applies
the rewrites again to each node it adds. So one walk reaches a fixed point, at a cost linear in nodes.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from graphad.ir.graph import Frozen, Graph, Node, rebuild
from graphad.ir.types import Requirement, Shape, TensorType
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

    @cached_property
    def heads(self) -> frozenset[str]:
        """What must be among the operands for matching to be worth a try: operations, `CONSTANT` for a literal."""
        return frozenset(t.op or CONSTANT for t in self.left.terms if not t.hole)

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


@dataclass(frozen=True)
class Structural:
    """A rewrite that a pattern can not say: `function(rewriter, node)` answers the replacement's id or None.

    `heads` are operations that must be among the operands for the function to be worth a call.
    """

    name: str
    roots: tuple[str, ...]
    function: Callable[[Rewriter, Node], int | None]
    reason: str
    heads: frozenset[str] = frozenset()

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
        self.required: list[Requirement] = []

    def rewrite(self, node: Node) -> int | None:
        """The replacement of a node that is not yet part of the graph, None to leave it as it is."""
        below = {HEADS.get(op := self.nodes[a].op, op) for a in node.args}
        for rule in self.table.get(node.op, self.table[ANY]):
            if rule.heads <= below and (result := rule.apply(self, node)) is not None:
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
        """Whether a node has one use in the graph that is being rewritten."""
        return self.uses.get(node_id, 1) <= 1

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
    fired: list[str] = []
    rewriter: Rewriter | None = None
    counts = [0] * len(graph.nodes)
    for node in graph.nodes:
        for arg in node.args:
            counts[arg] += 1
    for target in graph.outputs.values():
        counts[target] += 1

    def replace(new: Graph, old: int, node: Node, args: tuple[int, ...]) -> int | None:
        nonlocal rewriter
        if rewriter is None:
            rewriter = Rewriter(new, table, fired)
        rewriter.region = node.region
        result = rewriter.rewrite(node if args == node.args else node._replace(args=args))
        landed = len(new.nodes) if result is None else result
        rewriter.uses[landed] = rewriter.uses.get(landed, 0) + counts[old]
        return result

    new = rebuild(graph, replace)
    if not fired or rewriter is None:
        return graph
    new.requirements.extend(rewriter.required)
    return remove_dead(new)
