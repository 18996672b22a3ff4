"""Means, variances, log-sum-exp and norms: reductions made of others, with care for ranges and singular points."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphad.errors import ArgumentError, describe
from graphad.ir import sizes
from graphad.ir.operation import call, function
from graphad.ir.types import as_dtype
from graphad.ir.variable import Variable
from graphad.ops.arithmetic import square
from graphad.ops.build import astype, promoted_float
from graphad.ops.extents import axes_of, axis_of, refuse
from graphad.ops.reduction import count_nonzero, one_axis, reduce_max, reduce_min, reduce_sum, reduced
from graphad.ops.shape import reshaped
from graphad.ops.source import extent_value


def _floating(x: Any, dtype: object = None) -> Variable:
    (value,) = promoted_float(x)
    return value if dtype is None else astype(value, as_dtype(dtype))


def element_count(x: Variable, axes: tuple[int, ...]) -> Variable:
    """The number of elements along some axes, in the dtype of `x`: a constant where it is literal."""
    return extent_value(x.graph, sizes.product(tuple(x.shape[a] for a in axes)), x.dtype)


@function("mean", np.mean)
def mean(
    x: Any, axis: Any = None, dtype: object = None, out: Any = None, keepdims: Any = False, where: Any = None
) -> Variable:
    """The mean over some axes (all by default); of integers a float64, of no elements NaN.

    >>> import graphad as ga
    >>> g = ga.Graph("demo")
    >>> g.output("m", np.mean(g.input("x", shape=("n", 2)), axis=0))
    >>> ga.interpret(g, [[1.0, 2.0], [3.0, 4.0]])
    {'m': array([2., 3.])}
    """
    refuse("mean", out=out, where=where)
    value = _floating(x, dtype)
    axes = axes_of(value, axis, "mean")
    return reduced("sum", value, axes, keepdims, "mean") / element_count(value, axes)


@function("average", np.average)
def average(
    x: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: Any = False
) -> Variable:
    """The weighted mean; weights have the shape of `x`, or of its one reduced axis."""
    refuse("average", returned=returned or None)
    if weights is None:
        return mean(x, axis, keepdims=keepdims)
    value, weight = promoted_float(x, weights)
    if weight.ndim == 1 and value.ndim > 1:
        along = one_axis(value, axis, "average")
        weight = reshaped(weight, tuple(weight.shape[0] if a == along else 1 for a in range(value.ndim)))
        return reduce_sum(value * weight, along, keepdims=keepdims) / reduce_sum(weight)
    total = reduce_sum(weight, axis, keepdims=keepdims)
    return reduce_sum(value * weight, axis, keepdims=keepdims) / total


@function("var", np.var)
def var(
    x: Any, axis: Any = None, dtype: object = None, out: Any = None, ddof: float = 0, keepdims: Any = False,
    where: Any = None,
) -> Variable:  # fmt: skip
    """The mean of squared distances from the mean, with `count - ddof` in the denominator."""
    refuse("var", out=out, where=where)
    value = _floating(x, dtype)
    axes = axes_of(value, axis, "var")
    centred = value - mean(value, axes, keepdims=True)
    count = element_count(value, axes)
    return reduced("sum", square(centred), axes, keepdims, "var") / (count - ddof if ddof else count)


@function("std", np.std)
def std(
    x: Any, axis: Any = None, dtype: object = None, out: Any = None, ddof: float = 0, keepdims: Any = False,
    where: Any = None,
) -> Variable:  # fmt: skip
    """The square root of the variance; equal elements have no derivative, NaN or infinity."""
    refuse("std", out=out, where=where)
    result: Variable = call("sqrt", var(x, axis, dtype, ddof=ddof, keepdims=keepdims))
    return result


@function("logsumexp")
def logsumexp(x: Any, axis: Any = None, keepdims: Any = False) -> Variable:
    """log Σ exp(x) over some axes (all by default), without overflow.

    The largest element is subtracted first, as a constant for the derivative, which is the softmax. All -inf gives
    -inf, an inf gives inf.

    >>> import graphad as ga
    >>> g = ga.Graph("demo")
    >>> g.output("y", logsumexp(g.input("x", shape="n")))
    >>> ga.interpret(g, [1000.0, 1000.0])
    {'y': array(1000.69314718)}
    """
    value = _floating(x)
    axes = axes_of(value, axis, "logsumexp")
    if not axes:
        return value
    top = call("stop_gradient", reduced("max", value, axes, True, "logsumexp"))
    finite = call("where", call("absolute", top) < np.inf, top, 0.0)
    result: Variable = call("log", reduced("sum", call("exp", value - finite), axes, True, "logsumexp")) + finite
    return result if keepdims else reshaped(result, tuple(e for a, e in enumerate(value.shape) if a not in axes))


# ---------------------------------------------------------------------- norms


@function("norm", np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: Any = False) -> Variable:
    """A norm of vectors (one axis), of matrices (two axes), or of all elements (no axis).

    Arguments:
        ord: None: the 2-norm of all elements; for vectors 2, 1, inf, -inf, 0 or another power; for matrices "fro", 1,
            -1, inf, -inf.

    The 2-norm of zeros has derivative 0 (it has none; 0 is the subgradient of least size).
    Raises `ArgumentError` for norms that need singular values.
    """
    value = _floating(x)
    if ord is None or (ord in ("fro", "f") and (axis is None or np.size(axis) == 2)):
        return _euclidean(value, axis, keepdims)
    axes = tuple(range(value.ndim)) if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
    numbers = tuple(axis_of(value, a, "norm") for a in axes)
    if len(numbers) == 1:
        return _vector_norm(value, ord, numbers[0], keepdims)
    if len(numbers) == 2:
        return _matrix_norm(value, ord, (numbers[0], numbers[1]), keepdims)
    raise ArgumentError(
        describe(
            f"`norm`: ord={ord} is for one axis or two",
            got=f"{len(numbers)} axes",
            source=value.graph._user_source(),
        )
    )


def _euclidean(x: Variable, axis: Any, keepdims: Any) -> Variable:
    axes = axes_of(x, axis, "norm")
    total = reduced("sum", square(x), axes, keepdims, "norm")
    zero = total == 0.0
    guarded: Variable = call("where", zero, 0.0, call("sqrt", call("where", zero, 1.0, total)))
    return guarded


def _vector_norm(x: Variable, order: Any, axis: int, keepdims: Any) -> Variable:
    size: Variable = call("absolute", x)
    if order == 2:
        return _euclidean(x, axis, keepdims)
    if order == np.inf:
        return reduce_max(size, axis, keepdims=keepdims)
    if order == -np.inf:
        return reduce_min(size, axis, keepdims=keepdims)
    if order == 1:
        return reduce_sum(size, axis, keepdims=keepdims)
    if order == 0:
        return astype(count_nonzero(x, axis, keepdims=keepdims), x.dtype)
    if isinstance(order, (int, float)):
        return reduce_sum(size**order, axis, keepdims=keepdims) ** (1.0 / order)
    raise _unknown_order(x, order)


def _matrix_norm(x: Variable, order: Any, axes: tuple[int, int], keepdims: Any) -> Variable:
    if order not in (1, -1, np.inf, -np.inf):
        raise _unknown_order(x, order)
    added, compared = axes if abs(order) == 1 else axes[::-1]
    sums = reduce_sum(call("absolute", x), added, keepdims=True)
    extreme = (reduce_max if order > 0 else reduce_min)(sums, compared, keepdims=True)
    return extreme if keepdims else reshaped(extreme, tuple(e for a, e in enumerate(x.shape) if a not in axes))


def _unknown_order(x: Variable, order: Any) -> ArgumentError:
    return ArgumentError(
        describe(
            f"`norm`: ord={order!r} is not supported",
            expected='None, "fro", 0, 1, 2, inf, -inf or a power for vectors; "fro", 1, -1, inf, -inf for matrices',
            source=x.graph._user_source(),
        )
    )
