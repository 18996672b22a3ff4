"""Numbers and arrays while a kernel is translated: their kinds, conversions and operators, by Numba's rules."""

from __future__ import annotations

import ast
from collections.abc import Sequence, Set
from typing import Any, NamedTuple

from llvmlite import ir  # type: ignore[import-untyped]

SIZE = ir.IntType(64)
FLAGS = ("contract", "nsz", "arcp")
"""What the compiler may do with arithmetic; in loops, whose steps may be run again, only what always gives the same."""
EXACT = ("nsz",)
FLOATS = ("float32", "float64")
ARITHMETIC = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.BitAnd: "and", ast.BitOr: "or",
              ast.BitXor: "xor"}  # fmt: skip
COMPARISON = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
INSTRUCTIONS = {"add": ("fadd", "add"), "sub": ("fsub", "sub"), "mul": ("fmul", "mul"), "div": ("fdiv", ""),
                "and": ("", "and_"), "or": ("", "or_"), "xor": ("", "xor")}  # fmt: skip


class UntranslatedError(Exception):
    """Something that is no part of the kernels' language."""


class Kind(NamedTuple):
    """The LLVM types of a number in a register and in memory."""

    register: Any
    memory: Any


class Argument(NamedTuple):
    """What a kernel takes: a number where the rank is 0, else a C-ordered array."""

    dtype: str
    rank: int


class Scalar(NamedTuple):
    """A number, of one of graphad's dtypes."""

    kind: str
    value: Any


class Array(NamedTuple):
    """A C-ordered array: the address of its first element, its lengths, and who may own its memory (None: anybody)."""

    dtype: str
    data: Any
    shape: tuple[Any, ...]
    owners: frozenset[str] | None = None


KINDS = {
    "bool": Kind(ir.IntType(1), ir.IntType(8)), "int32": Kind(ir.IntType(32), ir.IntType(32)),
    "int64": Kind(SIZE, SIZE), "float32": Kind(ir.FloatType(), ir.FloatType()),
    "float64": Kind(ir.DoubleType(), ir.DoubleType()),
}  # fmt: skip


def is_float(kind: str) -> bool:
    """Whether numbers of a kind are floats."""
    return kind in FLOATS


def constant(number: bool | int | float) -> Scalar:
    """A Python number."""
    kind = {bool: "bool", int: "int64", float: "float64"}[type(number)]
    return Scalar(kind, ir.Constant(KINDS[kind].register, number))


def common(left: str, right: str) -> str:
    """The kind in which two numbers are combined: integers in int64, a float with an integer in float64."""
    if is_float(left) or is_float(right):
        return left if left == right else "float64"
    return "bool" if left == right == "bool" else "int64"


def cast(builder: Any, number: Scalar, kind: str) -> Any:
    """The LLVM value of a number in another kind."""
    own, value = number
    register = KINDS[kind].register
    if own == kind:
        return value
    if kind == "bool":
        zero = ir.Constant(value.type, 0)
        return builder.fcmp_unordered("!=", value, zero) if is_float(own) else builder.icmp_signed("!=", value, zero)
    if is_float(kind):
        if is_float(own):
            return (builder.fpext if kind == "float64" else builder.fptrunc)(value, register)
        return (builder.uitofp if own == "bool" else builder.sitofp)(value, register)
    if is_float(own):
        return builder.fptosi(value, register)
    if own == "bool":
        return builder.zext(value, register)
    return (builder.sext if kind == "int64" else builder.trunc)(value, register)


def operated(builder: Any, operation: str, left: Scalar, right: Scalar, flags: Sequence[str]) -> Scalar:
    """An arithmetical operation on two numbers."""
    kind = common(left.kind, right.kind)
    if kind == "bool" and operation not in ("and", "or", "xor"):
        kind = "int64"
    if operation == "div" and not is_float(kind):
        kind = "float64"
    real, whole = INSTRUCTIONS[operation]
    values = [cast(builder, number, kind) for number in (left, right)]
    if is_float(kind):
        if not real:
            raise UntranslatedError(f"{operation} of floats")
        return Scalar(kind, getattr(builder, real)(*values, flags=flags))
    return Scalar(kind, getattr(builder, whole)(*values))


def signed(builder: Any, operator: ast.unaryop, value: Scalar) -> Scalar:
    """A sign or a negation in front of a number."""
    match operator:
        case ast.Not():
            return Scalar("bool", builder.not_(cast(builder, value, "bool")))
        case ast.USub() if is_float(value.kind):
            return Scalar(value.kind, builder.fneg(value.value))
        case ast.USub():
            return Scalar("int64", builder.neg(cast(builder, value, "int64")))
        case ast.Invert() if value.kind in ("int64", "bool"):
            return Scalar(value.kind, builder.not_(value.value))
    raise UntranslatedError(f"{type(operator).__name__} of {value.kind}")


def compared(builder: Any, symbol: str, left: Scalar, right: Scalar, flags: Sequence[str]) -> Scalar:
    """The comparison of two numbers."""
    kind = common(left.kind, right.kind)
    values = [cast(builder, number, kind) for number in (left, right)]
    if is_float(kind):
        compare = builder.fcmp_unordered if symbol == "!=" else builder.fcmp_ordered
        return Scalar("bool", compare(symbol, *values, flags=flags))
    compare = builder.icmp_unsigned if kind == "bool" else builder.icmp_signed
    return Scalar("bool", compare(symbol, *values))


def definition_of(text: str, name: str = "") -> ast.FunctionDef:
    """The definition of a function in a text; the first where no name is given."""
    found = [d for d in ast.parse(text).body if isinstance(d, ast.FunctionDef) and d.name.startswith(name)]
    return found[0]


def varying_names(definition: ast.FunctionDef) -> set[str]:
    """The names that are assigned more than once, arguments and counters included."""
    stored = [a.arg for a in definition.args.args]
    counters = set()
    for node in ast.walk(definition):
        if isinstance(node, ast.For) and isinstance(node.target, ast.Name):
            counters.add(node.target.id)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            stored.append(node.id)
    targets = [n.target.id for n in ast.walk(definition) if isinstance(n, ast.For) and isinstance(n.target, ast.Name)]
    for name in targets:
        stored.remove(name)
    return {name for name in stored if stored.count(name) + (name in counters) > 1}


def summed_products(definition: ast.FunctionDef) -> set[int]:
    """The products, by the ids of their nodes, that are the terms of sums whose order is left to the compiler."""
    calls = [n for n in ast.walk(definition) if isinstance(n, ast.Call) and ast.unparse(n.func) == "_plus"]
    terms = {n.args[1].id for n in calls if isinstance(n.args[1], ast.Name)}
    assigned = [n for n in ast.walk(definition) if isinstance(n, ast.Assign)]
    return {id(n.value) for n in assigned if isinstance(n.targets[0], ast.Name) and n.targets[0].id in terms
            and isinstance(n.value, ast.BinOp) and isinstance(n.value.op, ast.Mult)}  # fmt: skip


def indices_of(node: ast.Subscript) -> list[ast.expr]:
    """The indices of an element."""
    return list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]


def is_natural(node: ast.expr, names: Set[str]) -> bool:
    """Whether an integer is plainly not negative, where those with certain names are not."""
    match node:
        case ast.Constant(value=int(number)):
            return number >= 0
        case ast.Name(id=name):
            return name in names
        case ast.BinOp(left=left, op=ast.Add() | ast.Mult(), right=right):
            return is_natural(left, names) and is_natural(right, names)
        case ast.BinOp(left=left, op=ast.BitAnd(), right=right):
            return is_natural(left, names) or is_natural(right, names)
        case ast.Subscript(value=ast.Attribute(attr="shape")):
            return True
        case ast.Call(func=ast.Attribute(attr="uint64")):
            return True
    return False
