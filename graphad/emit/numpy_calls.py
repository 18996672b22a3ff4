"""For each node the NumPy call that computes it: what the record's reference does, with the parameters bound."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from graphad.ir.graph import Node
from graphad.ir.operation import lookup
from graphad.ops.shape import positions

CONTRACTED = 20_000  # products in a contraction from which on BLAS is worth rearranging its operands


class Call(NamedTuple):
    """One bound call.

    Arguments:
        function: of the operands' values.
        into: the same with an argument `out`, the array of the result; None where there is no such form.
        fresh: whether the result never shares memory with an operand.
    """

    function: Callable[..., Any]
    into: Callable[..., Any] | None = None
    fresh: bool = False


def call_of(node: Node, params: Mapping[str, Any], shapes: tuple[tuple[int, ...], ...]) -> Call:
    """The call of a node.

    Arguments:
        params: the node's parameters, sizes replaced by integers.
        shapes: of the operands.
    """
    if node.op == "einsum":
        return _contraction(params, shapes)
    bind = BOUND.get(node.op)
    if bind is not None:
        return bind(params)
    reference = function = lookup(node.op).reference
    while hasattr(function, "real"):  # of references that take complex numbers too, and of those behind an import
        function = function.real
    if isinstance(function, np.ufunc):
        return Call(function, function, fresh=True)
    return Call(partial(reference, **params) if params else reference)


# ---------------------------------------------------------------------- faster forms than the references


def _where_into(condition: Any, taken: Any, other: Any, out: Any) -> None:
    np.copyto(out, other)
    np.copyto(out, taken, where=condition)


def _cast(params: Mapping[str, Any]) -> Call:
    dtype = params["dtype"]
    return Call(lambda x: x.astype(dtype), lambda x, out: np.copyto(out, x, casting="unsafe"), fresh=True)


def _reduction(ufunc: np.ufunc, *, keeps_dtype: bool = False) -> Callable[[Mapping[str, Any]], Call]:
    def bind(params: Mapping[str, Any]) -> Call:
        reduce, axes = ufunc.reduce, params["axes"]
        if keeps_dtype:
            return Call(lambda x: reduce(x, axes, x.dtype), lambda x, out: reduce(x, axes, x.dtype, out), fresh=True)
        return Call(lambda x: reduce(x, axes), lambda x, out: reduce(x, axes, None, out), fresh=True)

    return bind


def _reshape(params: Mapping[str, Any]) -> Call:
    shape = params["shape"]
    return Call(lambda x: x.reshape(shape))


def _transpose(params: Mapping[str, Any]) -> Call:
    axes = params["axes"]
    return Call(lambda x: x.transpose(axes))


def _slice(params: Mapping[str, Any]) -> Call:
    place = positions(params["starts"], params["sizes"], params["steps"])
    return Call(lambda x: x[place])


def _embed(params: Mapping[str, Any]) -> Call:
    shape, starts, steps = params["shape"], params["starts"], params["steps"]

    def into(x: Any, out: Any) -> Any:
        out.fill(0)
        out[positions(starts, x.shape, steps)] = x
        return out

    return Call(lambda x: into(x, np.empty(shape, x.dtype)), into, fresh=True)


def _concatenate(params: Mapping[str, Any]) -> Call:
    axis = params["axis"]
    return Call(lambda *xs: np.concatenate(xs, axis), lambda *xs, out: np.concatenate(xs, axis, out=out), fresh=True)


BOUND: Mapping[str, Callable[[Mapping[str, Any]], Call]] = {
    "where": lambda params: Call(np.where, _where_into, fresh=True),
    "cast": _cast,
    "reshape": _reshape,
    "transpose": _transpose,
    "slice": _slice,
    "embed": _embed,
    "concatenate": _concatenate,
    "stop_gradient": lambda params: Call(lambda x: x),
    "sum": _reduction(np.add, keeps_dtype=True),
    "prod": _reduction(np.multiply, keeps_dtype=True),
    "max": _reduction(np.maximum),
    "min": _reduction(np.minimum),
    "any": _reduction(np.logical_or),
    "all": _reduction(np.logical_and),
}


# ---------------------------------------------------------------------- contractions


def _contraction(params: Mapping[str, Any], shapes: tuple[tuple[int, ...], ...]) -> Call:
    """`np.einsum`, or for many products a batched matrix product, whose sums are those of BLAS."""
    left, right, out = params["left"], params["right"], params["out"]
    text = f"{left},{right}->{out}"
    extents = dict(zip(left + right, shapes[0] + shapes[1], strict=True))
    products = np.prod(list(extents.values()), dtype=float)
    summed = [e for letter, e in extents.items() if letter not in out]
    if products < CONTRACTED or not summed:
        return Call(partial(np.einsum, text), fresh=True)
    batch = [c for c in out if c in left and c in right]
    rows = [c for c in out if c in left and c not in right]
    columns = [c for c in out if c in right and c not in left]
    inner = [c for c in left if c not in out]
    order = [[source.index(c) for c in group] for source, group in
             ((left, batch + rows + inner), (right, batch + inner + columns))]  # fmt: skip
    made = [_lengths(extents, groups) for groups in ((batch, rows, inner), (batch, inner, columns))]
    result = tuple(extents[c] for c in batch + rows + columns)
    back = [(batch + rows + columns).index(c) for c in out]

    def multiply(a: Any, b: Any) -> Any:
        first, second = a.transpose(order[0]).reshape(made[0]), b.transpose(order[1]).reshape(made[1])
        return np.matmul(first, second).reshape(result).transpose(back)

    return Call(multiply, fresh=True)


def _lengths(extents: Mapping[str, int], groups: tuple[list[str], ...]) -> tuple[int, ...]:
    return tuple(int(np.prod([extents[c] for c in group], dtype=np.int64)) for group in groups)
