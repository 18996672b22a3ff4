"""Arithmetic on tangents and cotangents, with zeros and ones folded while the graph is built.

A derivative value is a variable, or None for zero; the constant rule keeps derivative graphs small from the start.
"""

from __future__ import annotations

import numpy as np

from graphad.ir.operation import call
from graphad.ir.types import Shape
from graphad.ir.variable import Variable
from graphad.ops.build import astype


def add(left: Variable | None, right: Variable | None) -> Variable | None:
    """Sum of two derivative values."""
    if left is None or right is None:
        return left if right is None else right
    return left.graph.apply("add", left, right)


def scale(value: Variable, partial: Variable | float, *, guarded: bool = False) -> Variable | None:
    """A derivative value times a partial derivative; None where the partial is zero.

    With `guarded`, a zero value stays zero whatever the partial: behind a `where` the branch not taken must not
    turn 0·inf into NaN.
    """
    if isinstance(partial, (int, float)):
        if partial == 0.0:
            return None
        if partial == 1.0:
            return value
        if partial == -1.0:
            return value.graph.apply("neg", value)
        return value.graph.apply("mul", value, value.graph.const(float(partial), value.dtype))
    guarded = guarded and not _finite_constant(partial)
    return value.graph.apply("guarded_mul" if guarded else "mul", value, astype(partial, value.dtype))


def _finite_constant(partial: Variable) -> bool:
    """Whether no element can turn a zero into NaN, for all that is known now."""
    node = partial.node
    return node.op == "const" and bool(np.all(np.isfinite(node.param("value").array)))


def zeros(like: Variable) -> Variable:
    """A derivative of zeros for a variable of floating dtype."""
    zero = like.graph.const(0.0, like.dtype)
    return zero if like.shape == () else like.graph.apply("broadcast_to", zero, shape=like.shape)


def materialized(value: Variable | None, like: Variable) -> Variable:
    """The value in the shape of `like`; zeros for None."""
    if value is None:
        return zeros(like)
    return value if value.shape == like.shape else broadcast_to(value, like.shape)


def broadcast_to(value: Variable, shape: Shape) -> Variable:
    """The value stretched to a shape."""
    return value if value.shape == shape else value.graph.apply("broadcast_to", value, shape=shape)


def unbroadcast(value: Variable, shape: Shape) -> Variable:
    """The sum over the axes along which an operand of `shape` was stretched to the value's shape."""
    if value.shape == shape:
        return value
    lead = value.ndim - len(shape)
    stretched = tuple(a for a in range(lead, value.ndim) if shape[a - lead] == 1 and value.shape[a] != 1)
    axes = tuple(range(lead)) + stretched
    summed = value.graph.apply("sum", value, axes=axes) if axes else value
    return call("reshape", summed, shape) if stretched else summed
