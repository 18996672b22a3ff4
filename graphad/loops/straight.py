"""Big scalar programs: large sets of scalar operations are taken out of the statements and become straight code.

Numba's front end needs milliseconds for a statement. A region of many scalar operations becomes one whole-array
operation `straight` instead: a program of elementary instructions on a frame of memory, printed for LLVM.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from graphad.ir.graph import Graph, Node
from graphad.ir.operation import Scalar, lookup
from graphad.loops.ir import Access, Index, Literal, Operand, Var
from graphad.loops.reroll import plan_program
from graphad.loops.views import View, affine

if TYPE_CHECKING:
    from graphad.loops.lower import Lowering

# Scalar operations of one region from which it becomes straight code. Measured: docs/big-graphs.md.
STRAIGHT_FROM = 200
STACK_FROM = 8  # numbers that are stacked by straight code, not by a statement each

BINARY = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.BitAnd: "and", ast.BitOr: "or",
          ast.BitXor: "xor"}  # fmt: skip
COMPARISONS = {ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge", ast.Eq: "eq", ast.NotEq: "ne"}
TRUTHS = frozenset({"lt", "le", "gt", "ge", "eq", "ne", "and", "or", "xor", "not", "truth"})
CALLS = {"abs": "abs", "math.sqrt": "sqrt", "np.floor": "floor", "np.ceil": "ceil", "np.trunc": "trunc",
         "np.rint": "rint"}  # fmt: skip
# Elementary functions that straight code calls; the emitter knows where each comes from.
FUNCTIONS = frozenset(
    [
        "sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh",
        "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "pow", "cbrt", "hypot", "erf", "erfc",
        "sigmoid", "sigmoid_tail", "sigmoid_of_tail", "softplus", "logaddexp", "lgamma", "digamma", "maximum",
        "minimum", "floordiv", "remainder", "fma",
    ]
)  # fmt: skip


class Step(NamedTuple):
    """One instruction of a template: operands are numbers of earlier steps, `-1-k` for operand k, or constants."""

    name: str
    operands: tuple[int | float, ...]


Template = tuple[Step, ...]


class UnsupportedError(Exception):
    """An expression that straight code can not hold."""


@dataclass
class Code:
    """A straight program: instruction by instruction its name and its operands.

    An operand `o >= 0` is the result of instruction o; `-1-k` is leaf k: an element of an argument, or a constant.
    """

    dtype: str
    names: list[str] = field(default_factory=list)
    operands: list[tuple[int, ...]] = field(default_factory=list)
    leaves: list[tuple[int, int] | float] = field(default_factory=list)  # (argument, element) or a constant


@dataclass
class Region:
    """Scalar operations without a way out and back in, in the order of their ids.

    `stacks` are concatenations of single numbers that the region's code makes as well, with these numbers.
    """

    dtype: str
    nodes: list[int]
    stacks: dict[int, list[int]] = field(default_factory=dict)


class Partition(NamedTuple):
    """The regions of a graph that become straight code, and the order in which nodes and regions are lowered."""

    regions: dict[int, Region]  # by the position in `order` at which they stand
    order: list[int]  # node ids; -1 for a region
    owner: dict[int, int]  # the region (its position) of each of its nodes
    done: set[int]  # nodes that regions make besides their own, and what only these read

    def results(self, graph: Graph, position: int) -> list[int]:
        """The nodes of a region that are read outside, in order."""
        found = {n for n in graph.outputs.values() if self.owner.get(n) == position}
        for node_id, node in enumerate(graph.nodes):
            if self.owner.get(node_id) != position and node_id not in self.done:
                found.update(a for a in node.args if self.owner.get(a) == position)
        return sorted(found)


def partition(graph: Graph) -> Partition | None:
    """The big regions of scalar operations; None where there is none.

    Nodes get levels: a path that leaves a region for other operations comes back at a higher level, so the scalar
    operations of one level can be executed together.
    """
    if len(graph.nodes) < STRAIGHT_FROM:
        return None
    dtype = _dtype(graph)
    inside, levels = _levels(graph, dtype)
    counts: dict[int, int] = {}
    for node_id, level in enumerate(levels):
        if inside[node_id]:
            counts[level] = counts.get(level, 0) + 1
    big = {level for level, count in counts.items() if count >= STRAIGHT_FROM}
    if not big:
        return None
    ordinary: dict[int, list[int]] = {}
    scalars: dict[int, list[int]] = {}
    for node_id, level in enumerate(levels):
        (scalars if inside[node_id] else ordinary).setdefault(level, []).append(node_id)
    found = Partition({}, [], {}, set())
    position: dict[int, int] = {}
    for level in range(max(levels) + 1):
        found.order.extend(ordinary.get(level, ()))
        members = scalars.get(level, [])
        if level not in big:
            found.order.extend(members)
            continue
        found.owner.update(dict.fromkeys(members, len(found.order)))
        position[level] = len(found.order)
        found.regions[len(found.order)] = Region(dtype, members)
        found.order.append(-1)
    _add_stacks(graph, found, levels, position)
    return found


def _add_stacks(graph: Graph, found: Partition, levels: list[int], position: dict[int, int]) -> None:
    """Let regions make the concatenations of numbers that they compute most of."""
    users = [0] * len(graph.nodes)
    for node in graph.nodes:
        for arg in node.args:
            users[arg] += 1
    for node_id in graph.outputs.values():
        users[node_id] += 1
    for node_id, node in enumerate(graph.nodes):
        if node.op != "concatenate" or node.type.rank != 1 or len(node.args) < STACK_FROM:
            continue
        scalars = [_number(graph, a) for a in node.args]
        level = max((levels[s] for s in scalars if s in found.owner), default=-1)
        if level not in position or any(s < 0 or levels[s] > level for s in scalars):
            continue
        region = found.regions[position[level]]
        if node.type.dtype != region.dtype:
            continue
        region.stacks[node_id] = scalars
        found.done.add(node_id)
        for arg in node.args:
            users[arg] -= 1
    for stack in [n for n in found.done if graph.nodes[n].op == "concatenate"]:
        found.done.update(a for a in graph.nodes[stack].args if not users[a] and graph.nodes[a].op == "reshape")


def _number(graph: Graph, node_id: int) -> int:
    """The scalar behind an array of one element, or a constant of one; -1 for any other array."""
    node = graph.nodes[node_id]
    if node.op == "const" and node.type.shape == (1,):
        return node_id
    one = node.op == "reshape" and node.type.shape == (1,) and not graph.nodes[node.args[0]].type.shape
    return node.args[0] if one else -1


def _dtype(graph: Graph) -> str:
    single = sum(node.type.dtype == "float32" for node in graph.nodes)
    return "float32" if 2 * single > len(graph.nodes) else "float64"


def _levels(graph: Graph, dtype: str) -> tuple[list[bool], list[int]]:
    """For each node whether straight code can hold it, and its level."""
    inside: list[bool] = []
    levels: list[int] = []
    nodes = graph.nodes
    for node in nodes:
        level = 0
        fits = bool(node.args) and not node.type.shape and node.type.dtype in (dtype, "bool")
        for arg in node.args:
            level = max(level, levels[arg])
            fits = fits and (inside[arg] or nodes[arg].type.dtype == dtype)
        if fits:
            operands = tuple([nodes[a].type.dtype for a in node.args])
            fits = template_of(node.op, node.type.dtype, operands) is not None
        if not fits:
            level = max((levels[a] + inside[a] for a in node.args), default=0)
        inside.append(fits)
        levels.append(level)
    return inside, levels


# ---------------------------------------------------------------------- expressions as instructions


@cache
def template_of(op: str, dtype: str, operands: tuple[str, ...]) -> Template | None:
    """The instructions of an elementwise operation; None where its expression needs more than straight code has."""
    emission = lookup(op).emission
    if not isinstance(emission, Scalar) or not set(emission.functions) <= FUNCTIONS:
        return None
    numbers = {"zero": "0.0", "one": "1.0", "two": "2.0", "half": "0.5", "dtype": "real" if dtype != "bool" else "bool"}
    text = emission.expression.format(*[f"_{k}" for k in range(len(operands))], **numbers,
                                      **{f: f"f_{f}" for f in emission.functions})  # fmt: skip
    steps: list[Step] = []
    reader = _Reader(steps, operands)
    try:
        result = reader.read(ast.parse(text, mode="eval").body)
    except UnsupportedError:
        return None
    if not (isinstance(result, int) and result == len(steps) - 1 >= 0):
        return None
    return tuple(steps)


class _Reader:
    """Turns one expression into steps."""

    def __init__(self, steps: list[Step], dtypes: Sequence[str]) -> None:
        self.steps = steps
        self.dtypes = dtypes

    def truth(self, operand: int | float) -> bool:
        """Whether an operand is a truth value."""
        if isinstance(operand, float):
            return False
        return self.dtypes[-1 - operand] == "bool" if operand < 0 else self.steps[operand].name in TRUTHS

    def step(self, name: str, *operands: int | float) -> int:
        """A further step; its operands must be of the right kind."""
        logical = name in ("and", "or", "xor", "not")
        for place, operand in enumerate(operands):
            if self.truth(operand) != (logical or name == "real" or (name == "select" and place == 0)):
                raise UnsupportedError(name)
        self.steps.append(Step(name, operands))
        return len(self.steps) - 1

    def read(self, node: ast.expr) -> int | float:
        """The operand that an expression comes to."""
        if isinstance(node, ast.Name) and node.id[1:].isdigit():
            return -1 - int(node.id[1:])
        if isinstance(node, ast.Constant) and type(node.value) is float:
            return node.value
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "np.pi":
            return math.pi
        if isinstance(node, ast.BinOp) and type(node.op) in BINARY:
            return self.step(BINARY[type(node.op)], self.read(node.left), self.read(node.right))
        if isinstance(node, ast.UnaryOp):
            return self._unary(node)
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in COMPARISONS:
            return self.step(COMPARISONS[type(node.ops[0])], self.read(node.left), self.read(node.comparators[0]))
        if isinstance(node, ast.IfExp):
            return self.step("select", self.read(node.test), self.read(node.body), self.read(node.orelse))
        if isinstance(node, ast.Call) and not node.keywords:
            return self._call(ast.unparse(node.func), [self.read(a) for a in node.args])
        raise UnsupportedError(ast.unparse(node))

    def _unary(self, node: ast.UnaryOp) -> int | float:
        inside = self.read(node.operand)
        if isinstance(node.op, ast.USub):
            return -inside if isinstance(inside, float) else self.step("neg", inside)
        if isinstance(node.op, ast.Not):
            return self.step("not", inside)
        raise UnsupportedError(ast.unparse(node))

    def _call(self, name: str, operands: list[int | float]) -> int | float:
        if name.startswith("f_"):
            return self.step(name[2:], *operands)
        if name == "real" and len(operands) == 1:
            return self.step("real", operands[0]) if self.truth(operands[0]) else operands[0]
        if name in CALLS and len(operands) == 1:
            return self.step(CALLS[name], operands[0])
        raise UnsupportedError(name)


# ---------------------------------------------------------------------- lowering


def lower_region(low: Lowering, region: Region, results: Sequence[int]) -> None:
    """Lower a region to one call; its results become elements of the frame."""
    builder = _Builder(low, region)
    places = builder.build()
    wanted = [places[node_id] for node_id in results]
    stacks = [[builder.number(s, places) for s in scalars] for scalars in region.stacks.values()]
    plan = plan_program(builder.code, [v.shape == () for v in builder.arguments], wanted, stacks)
    frame = low.program.variable((max(plan.size, 1),), region.dtype, whole=True)
    for var in builder.arguments:
        if var.shape:
            var.whole = True
    low.call("straight", frame, builder.arguments, plan=plan, code=builder.code)
    for node_id, place in zip(results, wanted, strict=True):
        element = View(Access(frame, (Index((), plan.slot(place)),)), ())
        if low.graph.nodes[node_id].type.dtype == "bool":
            element = low.compute((), "bool", "{0} != {1}", [element, View(Literal(0.0, region.dtype), ())])
        low.results[node_id] = element
    for node_id, (first, step) in zip(region.stacks, plan.runs, strict=True):
        low.results[node_id] = View(Access(frame, (affine(0, first, step),)), low.graph.nodes[node_id].type.shape)


class _Builder:
    """Writes the code of one region."""

    def __init__(self, low: Lowering, region: Region) -> None:
        self.low = low
        self.region = region
        self.code = Code(region.dtype)
        self.arguments: list[Var] = []
        self.known: dict[Var, int] = {}
        self.leaves: dict[object, int] = {}
        self.outside: dict[int, int] = {}

    def build(self) -> dict[int, int]:
        """Fill the code; the instruction that computes each node."""
        places: dict[int, int] = {}
        nodes, names, operands = self.low.graph.nodes, self.code.names, self.code.operands
        for node_id in self.region.nodes:
            node = nodes[node_id]
            args = []
            for arg in node.args:
                place = places.get(arg)
                args.append(self.leaf(arg) if place is None else place)
            template = template_of(node.op, node.type.dtype, tuple([nodes[a].type.dtype for a in node.args]))
            assert template is not None, "a region holds nothing else"
            first = len(names)
            for step in template:
                names.append(step.name)
                operands.append(tuple([self._operand(o, first, args) for o in step.operands]))
            places[node_id] = len(names) - 1
        return places

    def _operand(self, operand: int | float, first: int, args: list[int]) -> int:
        if isinstance(operand, float):
            return self._leaf(operand)
        return args[-1 - operand] if operand < 0 else first + operand

    def number(self, node_id: int, places: dict[int, int]) -> int:
        """The instruction whose result is a node, also of a node outside."""
        place = places.get(node_id)
        if place is None:
            self.code.names.append("copy")
            self.code.operands.append((self.leaf(node_id),))
            place = places[node_id] = len(self.code.names) - 1
        return place

    def leaf(self, node_id: int) -> int:
        """The operand that a node outside the region is."""
        found = self.outside.get(node_id)
        if found is None:
            found = self.outside[node_id] = self._read(self.low.view(node_id).operand, self.low.graph.nodes[node_id])
        return found

    def _read(self, operand: Operand, node: Node) -> int:
        if isinstance(operand, Literal):
            return self._leaf(float(operand.value))
        if isinstance(operand, Access) and not operand.var.shape:
            return self._leaf((self._argument(operand.var), 0))
        if isinstance(operand, Access) and operand.var.layout is None and operand.var.alias is None:
            element = _element(operand)
            if element is not None and operand.var.dtype == self.region.dtype:
                return self._leaf((self._argument(operand.var), element))
        copy = self.low.compute((), node.type.dtype, "{0}", [View(operand, ())]).operand
        assert isinstance(copy, Access)
        return self._leaf((self._argument(copy.var), 0))

    def _argument(self, var: Var) -> int:
        if var not in self.known:
            self.known[var] = len(self.arguments)
            self.arguments.append(var)
        return self.known[var]

    def _leaf(self, leaf: tuple[int, int] | float) -> int:
        # 0.0 and -0.0 are equal, and NaN is not equal to itself: constants are told apart by their text.
        key = leaf if isinstance(leaf, tuple) else leaf.hex()
        found = self.leaves.get(key)
        if found is None:
            found = self.leaves[key] = -1 - len(self.code.leaves)
            self.code.leaves.append(leaf)
        return found


def _element(access: Access) -> int | None:
    """The place of an element in memory, where it is known now."""
    place = 0
    for position, index in enumerate(access.indices):
        extent = access.var.shape[position]
        if not isinstance(index.offset, int) or index.terms or (position and not isinstance(extent, int)):
            return None
        place = place * (int(str(extent)) if position else 1) + index.offset
    return place
