"""Reductions over axes: sum, prod, max, min, any, all, argmax, argmin.

The primitives remove the axes; the builder functions put axes of extent 1 back where `keepdims` asks for them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphad.errors import DtypeError, ShapeError, describe
from graphad.ir import sizes
from graphad.ir.operation import (
    Custom,
    Linear,
    NotDifferentiable,
    Op,
    Params,
    Pattern,
    Sample,
    call,
    function,
    register,
)
from graphad.ir.types import Requirement, Shape, TensorType, as_dtype
from graphad.ir.variable import Variable
from graphad.ops.build import INTEGER_VALUED, astype, promoted
from graphad.ops.extents import at_most, axes_of, axis_of, refuse
from graphad.ops.shape import (
    flipped,
    inverse,
    joined,
    reshaped,
    sliced,
    stretched,
    summed,
    transposed,
    with_ones,
)
from graphad.ops.source import filled, iota_along

Types = tuple[TensorType, ...]
Args = tuple[Variable, ...]
Axes = tuple[int, ...]


# ---------------------------------------------------------------------- typing


def without(shape: Shape, axes: Axes) -> Shape:
    """A shape without some of its axes."""
    return tuple(e for a, e in enumerate(shape) if a not in axes)


def _check_axes(kind: TensorType, axes: Axes) -> None:
    if not axes or list(axes) != sorted(set(axes)) or not 0 <= axes[0] <= axes[-1] < kind.rank:
        raise ShapeError(f"axes {axes} are no sorted selection of the {kind.rank} axes")


def number_reduction_type(types: Types, params: Params) -> TensorType:
    """A number per position of the remaining axes."""
    _check_axes(types[0], params["axes"])
    if types[0].dtype == "bool":
        raise DtypeError("a number expected, got bool")
    return TensorType(types[0].dtype, without(types[0].shape, params["axes"]))


def extremum_type(types: Types, params: Params) -> TensorType:
    """Like `number_reduction_type`; an empty axis has no extremum."""
    result = number_reduction_type(types, params)
    if any(types[0].shape[a] == 0 for a in params["axes"]):
        raise ShapeError("an empty axis has no largest and no smallest element")
    return result


def extremum_requires(types: Types, params: Params) -> list[Requirement]:
    """The reduced axes are not empty."""
    axes = params["axes"] if "axes" in params else (params["axis"],)
    reason = "an empty axis has no largest and no smallest element"
    return [r for a in axes for r in at_most(1, types[0].shape[a], reason)]


def truth_reduction_type(types: Types, params: Params) -> TensorType:
    """A truth value per position of the remaining axes."""
    _check_axes(types[0], params["axes"])
    if types[0].dtype != "bool":
        raise DtypeError(f"truth values expected, got {types[0].dtype}")
    return TensorType("bool", without(types[0].shape, params["axes"]))


def position_type(types: Types, params: Params) -> TensorType:
    """A position per element of the remaining axes."""
    extremum_type(types, {"axes": (params["axis"],)})
    return TensorType("int64", without(types[0].shape, (params["axis"],)))


# ---------------------------------------------------------------------- derivatives


def spread(value: Variable, shape: Shape, axes: Axes) -> Variable:
    """A reduced value repeated along the axes that were reduced from `shape`."""
    if axes == tuple(range(len(axes))):  # broadcasting puts leading axes there by itself
        return stretched(value, shape)
    return stretched(with_ones(value, axes), shape)


def first_extremum(x: Variable, axes: Axes, position_op: str) -> Variable:
    """A mask of the shape of `x`: true at the first extremal element (the first NaN where there is one)."""
    if len(axes) == 1:
        found = x.graph.apply(position_op, x, axis=axes[0])
        here = iota_along(x.graph, x.shape, axes[0])
        return here == with_ones(found, axes)
    flat, order, moved = flattened_last(x, axes)
    mask = first_extremum(flat, (flat.ndim - 1,), position_op)
    return transposed(reshaped(mask, moved), inverse(order))


def flattened_last(x: Variable, axes: Axes) -> tuple[Variable, Axes, Shape]:
    """The reduced axes as one last axis; also the permutation and the permuted shape that undo it."""
    kept = tuple(a for a in range(x.ndim) if a not in axes)
    order = kept + axes
    moved = transposed(x, order)
    size = sizes.product(moved.shape[len(kept) :])
    return reshaped(moved, (*moved.shape[: len(kept)], size)), order, moved.shape


def extremum_rule(position_op: str) -> Custom:
    """The derivative flows to the first extremal element only."""

    def jvp(args: Args, tangents: tuple[Variable | None, ...], out: Variable, params: Params) -> Variable | None:
        (x,), (tangent,) = args, tangents
        if tangent is None:
            return None
        mask = first_extremum(x, params["axes"], position_op)
        return summed(call("where", mask, tangent, 0.0), params["axes"])

    def vjp(args: Args, out: Variable, ct: Variable, params: Params) -> tuple[Variable]:
        (x,) = args
        mask = first_extremum(x, params["axes"], position_op)
        return (call("where", mask, spread(ct, x.shape, params["axes"]), 0.0),)

    return Custom(jvp, vjp, selects=True)


def others_product(x: Variable, axes: Axes) -> Variable:
    """For each element the product of the others over some axes: exact where elements are zero.

    A running product from the left without the element times one from the right.
    """
    flat, order, moved = flattened_last(x, axes)
    axis = flat.ndim - 1
    left = _running_before(flat, axis)
    right = flipped(_running_before(flipped(flat, axis), axis), axis)
    return transposed(reshaped(left * right, moved), inverse(order))


def _running_before(x: Variable, axis: int) -> Variable:
    return x.graph.apply("cumprod", shifted(x, axis, 1), axis=axis)


def shifted(x: Variable, axis: int, fill: Any) -> Variable:
    """Element i is that of i-1; the first is `fill`. Right also for an axis without elements."""
    edge = filled(x.graph, (*x.shape[:axis], 1, *x.shape[axis + 1 :]), fill, x.dtype)
    return sliced(joined((edge, x), axis), axis, 0, x.shape[axis])


def _prod_jvp(args: Args, tangents: tuple[Variable | None, ...], out: Variable, params: Params) -> Variable | None:
    (tangent,) = tangents
    return None if tangent is None else summed(tangent * others_product(args[0], params["axes"]), params["axes"])


def _prod_vjp(args: Args, out: Variable, ct: Variable, params: Params) -> tuple[Variable]:
    (x,) = args
    return (spread(ct, x.shape, params["axes"]) * others_product(x, params["axes"]),)


# ---------------------------------------------------------------------- records


def reduction_batch(name: str) -> Any:
    """Batching rule: the axes move behind the batch axes."""

    def batch(k: int, args: Args, batched: tuple[bool, ...], params: Params) -> Variable:
        return args[0].graph.apply(name, args[0], axes=tuple(a + k for a in params["axes"]))

    return batch


REDUCED = (
    Sample(((4,),), {"axes": (0,)}),
    Sample(((2, 3),), {"axes": (0,)}),
    Sample(((2, 3, 4),), {"axes": (0, 2)}),
    Sample(((2, 3),), {"axes": (0, 1)}),
    Sample(((1, 3),), {"axes": (0,)}),
    Sample(((2, 0),), {"axes": (0,)}),
)
EMPTY = (Sample(((0, 3),), {"axes": (0,)}), Sample(((0,),), {"axes": (0,)}))


def _truth(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
    return tuple(Sample(s.shapes, s.params, ("bool",)) for s in samples)


register(
    Op(
        name="sum",
        arity=1,
        infer=number_reduction_type,
        reference=lambda x, axes: np.sum(x, axis=axes, dtype=x.dtype),
        emission=Pattern("sum"),
        derivative=Linear(lambda ct, args, position, params: spread(ct, args[0].shape, params["axes"])),
        batch=reduction_batch("sum"),
        analytic=True,
        samples=REDUCED + EMPTY,
    )
)
register(
    Op(
        name="prod",
        arity=1,
        infer=number_reduction_type,
        reference=lambda x, axes: np.prod(x, axis=axes, dtype=x.dtype),
        emission=Pattern("prod"),
        derivative=Custom(_prod_jvp, _prod_vjp),
        batch=reduction_batch("prod"),
        analytic=True,
        samples=REDUCED + EMPTY,
    )
)
register(
    Op(
        name="max",
        arity=1,
        infer=extremum_type,
        reference=lambda x, axes: np.max(x, axis=axes),
        emission=Pattern("max"),
        derivative=extremum_rule("argmax"),
        batch=reduction_batch("max"),
        requires=extremum_requires,
        samples=REDUCED,
    )
)
register(
    Op(
        name="min",
        arity=1,
        infer=extremum_type,
        reference=lambda x, axes: np.min(x, axis=axes),
        emission=Pattern("min"),
        derivative=extremum_rule("argmin"),
        batch=reduction_batch("min"),
        requires=extremum_requires,
        samples=REDUCED,
    )
)
register(
    Op(
        name="any",
        arity=1,
        infer=truth_reduction_type,
        reference=lambda x, axes: np.any(x, axis=axes),
        emission=Pattern("any"),
        derivative=NotDifferentiable(INTEGER_VALUED),
        batch=reduction_batch("any"),
        samples=_truth(REDUCED + EMPTY),
    )
)
register(
    Op(
        name="all",
        arity=1,
        infer=truth_reduction_type,
        reference=lambda x, axes: np.all(x, axis=axes),
        emission=Pattern("all"),
        derivative=NotDifferentiable(INTEGER_VALUED),
        batch=reduction_batch("all"),
        samples=_truth(REDUCED + EMPTY),
    )
)
POSITIONS = (
    Sample(((4,),), {"axis": 0}),
    Sample(((2, 3, 4),), {"axis": 1}),
    Sample(((3, 1),), {"axis": 1}),
    Sample(((0, 2),), {"axis": 1}),
)
for _name, _reference in (("argmax", np.argmax), ("argmin", np.argmin)):
    register(
        Op(
            name=_name,
            arity=1,
            infer=position_type,
            reference=_reference,
            emission=Pattern(_name),
            derivative=NotDifferentiable(INTEGER_VALUED),
            batch=lambda k, args, batched, params, name=_name: args[0].graph.apply(  # type: ignore[misc]
                name, args[0], axis=params["axis"] + k
            ),
            requires=extremum_requires,
            samples=POSITIONS,
        )
    )


# ---------------------------------------------------------------------- builder functions


def reduced(name: str, x: Variable, axis: Any, keepdims: Any, shown: str = "") -> Variable:
    """Apply a reduction over `axis`; with `keepdims` the axes stay with extent 1."""
    axes = axes_of(x, axis, shown or name)
    result = x.graph.apply(name, x, axes=axes) if axes else x
    return with_ones(result, axes) if keepdims else result


def accumulator(x: Any, dtype: object) -> Variable:
    """The operand in the dtype in which NumPy accumulates: truth values and int32 as int64."""
    (value,) = promoted(x)
    if dtype is not None:
        return astype(value, as_dtype(dtype))
    return astype(value, "int64") if value.dtype in ("bool", "int32") else value


@function("sum", np.sum)
def reduce_sum(
    x: Any, axis: Any = None, dtype: object = None, out: Any = None, keepdims: Any = False, initial: Any = None,
    where: Any = None,
) -> Variable:  # fmt: skip
    """The sum over some axes (all by default). Truth values and int32 are added as int64, as NumPy does.

    Arguments:
        axis: an axis, a tuple of axes, or None for all; `()` for none.
        dtype: to which the operand is converted first.
        keepdims: keep the axes with extent 1.

    >>> import graphad as ga
    >>> x = ga.Graph("demo").input("x", shape=("n", 3))
    >>> np.sum(x, axis=0, keepdims=True).shape
    (1, 3)
    """
    refuse("sum", out=out, initial=initial, where=where)
    return reduced("sum", accumulator(x, dtype), axis, keepdims)


@function("prod", np.prod)
def reduce_prod(
    x: Any, axis: Any = None, dtype: object = None, out: Any = None, keepdims: Any = False, initial: Any = None,
    where: Any = None,
) -> Variable:  # fmt: skip
    """The product over some axes (all by default); its derivative is exact also where elements are zero."""
    refuse("prod", out=out, initial=initial, where=where)
    return reduced("prod", accumulator(x, dtype), axis, keepdims)


@function("max", np.max, np.amax)
def reduce_max(
    x: Any, axis: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None, where: Any = None
) -> Variable:
    """The largest element over some axes (all by default); NaN where there is one.

    The derivative belongs to the first of equal elements. Raises `ShapeError` for an empty axis.
    """
    refuse("max", out=out, initial=initial, where=where)
    (value,) = promoted(x)
    return reduced("any" if value.dtype == "bool" else "max", value, axis, keepdims, "max")


@function("min", np.min, np.amin)
def reduce_min(
    x: Any, axis: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None, where: Any = None
) -> Variable:
    """The smallest element over some axes (all by default); NaN where there is one.

    The derivative belongs to the first of equal elements. Raises `ShapeError` for an empty axis.
    """
    refuse("min", out=out, initial=initial, where=where)
    (value,) = promoted(x)
    return reduced("all" if value.dtype == "bool" else "min", value, axis, keepdims, "min")


@function("any", np.any)
def reduce_any(x: Any, axis: Any = None, out: Any = None, keepdims: Any = False, where: Any = None) -> Variable:
    """Whether some element is true (not zero) over some axes (all by default)."""
    refuse("any", out=out, where=where)
    return reduced("any", truth(x), axis, keepdims)


@function("all", np.all)
def reduce_all(x: Any, axis: Any = None, out: Any = None, keepdims: Any = False, where: Any = None) -> Variable:
    """Whether all elements are true (not zero) over some axes (all by default)."""
    refuse("all", out=out, where=where)
    return reduced("all", truth(x), axis, keepdims)


def truth(x: Any) -> Variable:
    """Truth values: numbers are true where they are not zero."""
    (value,) = promoted(x)
    return value if value.dtype == "bool" else value != 0


@function("count_nonzero", np.count_nonzero)
def count_nonzero(x: Any, axis: Any = None, *, keepdims: Any = False) -> Variable:
    """The number of elements that are not zero over some axes (all by default): int64."""
    return reduce_sum(truth(x), axis, keepdims=keepdims)


@function("argmax", np.argmax)
def argmax(x: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> Variable:
    """The first position of the largest element along an axis: int64. Without an axis a position in the flat array."""
    refuse("argmax", out=out)
    return _position("argmax", x, axis, keepdims)


@function("argmin", np.argmin)
def argmin(x: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> Variable:
    """The first position of the smallest element along an axis: int64. Without an axis a position in the flat array."""
    refuse("argmin", out=out)
    return _position("argmin", x, axis, keepdims)


def _position(name: str, x: Any, axis: Any, keepdims: Any) -> Variable:
    (value,) = promoted(x)
    if value.dtype == "bool":
        value = astype(value, "int64")
    if axis is not None:
        number = axis_of(value, axis, name)
        result = value.graph.apply(name, value, axis=number)
        return with_ones(result, (number,)) if keepdims else result
    result = value.graph.apply(name, reshaped(value, (value.size,)), axis=0)
    return reshaped(result, (1,) * value.ndim) if keepdims else result


@function("ptp", np.ptp)
def ptp(x: Any, axis: Any = None, out: Any = None, keepdims: Any = False) -> Variable:
    """The largest minus the smallest element over some axes (all by default)."""
    refuse("ptp", out=out)
    return reduce_max(x, axis, keepdims=keepdims) - reduce_min(x, axis, keepdims=keepdims)


def one_axis(x: Variable, axis: Any, name: str) -> int:
    """The one axis that a function works along; raises `ShapeError` where `axis` is a tuple."""
    if isinstance(axis, (tuple, list)):
        raise ShapeError(describe(f"`{name}` works along one axis", got=f"axis={axis}", source=x.graph._user_source()))
    return axis_of(x, axis, name)
