"""Loops of few rounds, by the hints of sizes: their last rounds run on vectors too, with a mask.

Left to itself LLVM runs a loop of 14 rounds once on eight numbers, and then six times on one. Masks cost something, so
long loops go without, and so does every loop on processors that have no registers for masks.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from llvmlite import (  # type: ignore[import-untyped]
    binding,
    ir,
)

from graphad.emit.vecmath.registry import FUNCTIONS

FEW, FULL = range(5, 64), 8  # rounds with which a mask pays, unless vectors are full
WORK = 32  # operations of a round from which on it pays; any function counts as so many
SHORT = frozenset(f"{name}{kind}" for name in ("maximum", "minimum") for kind in ("", "_f32"))
MASKS = ("avx512vl", "sve")
OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv,
}  # fmt: skip


@cache
def has_masks() -> bool:
    """Whether this processor has registers for masks."""
    features = binding.get_host_cpu_features()
    return any(features.get(name) for name in MASKS)


def is_short(loop: ast.For, hints: Mapping[str, int]) -> bool:
    """Whether a mask pays in a loop: a round does much, and there are few rounds as far as hints tell.

    >>> (loop,) = ast.parse("for i in range(2 * b):\\n    v[i] = exp(w[i])").body
    >>> [is_short(loop, {"b": b}) for b in (7, 8, 700)], is_short(loop, {})
    ([True, False, False], False)
    """
    assert isinstance(loop.iter, ast.Call)
    bounds = [_value(bound, hints) for bound in loop.iter.args]
    if None in bounds:
        return False
    rounds = len(range(*[bound for bound in bounds if bound is not None]))
    return rounds in FEW and rounds % FULL != 0 and _work(loop) >= WORK


def _work(loop: ast.For) -> int:
    """The operations of a round; 0 where there are loops inside."""
    work = 0
    for node in (node for statement in loop.body for node in ast.walk(statement)):
        match node:
            case ast.For() | ast.While():
                return 0
            case ast.Call(func=ast.Name(id=name)) if name in FUNCTIONS - SHORT:
                work += WORK
            case ast.BinOp() | ast.Call(func=ast.Name()):
                work += 1
    return work


def _value(node: ast.expr, hints: Mapping[str, int]) -> int | None:
    match node:
        case ast.Constant(value=int(number)):
            return number
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(number))):
            return -number
        case ast.Name(id=name):
            return hints.get(name)
        case ast.BinOp(left=left, op=operation, right=right) if type(operation) in OPERATORS:
            values = _value(left, hints), _value(right, hints)
            if values[0] is None or values[1] is None:
                return None
            return OPERATORS[type(operation)](values[0], values[1])
    return None


class _LoopMark(ir.MDValue):  # type: ignore[misc]
    """A loop's own node, which begins with itself, as LLVM wants it."""

    def descr(self, buf: list[str]) -> None:
        """Write the node's text."""
        operands = ", ".join(node.get_reference() for node in (self, *self.operands))
        buf += (f"distinct !{{ {operands} }}", "\n")


def mask(module: ir.Module, branch: Any) -> None:
    """Have the loop masked that a branch closes."""
    wish = module.add_metadata(["llvm.loop.vectorize.predicate.enable", ir.Constant(ir.IntType(1), 1)])
    branch.set_metadata("llvm.loop", _LoopMark(module, [wish], str(len(module.metadata))))
