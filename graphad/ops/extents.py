"""What structural operations share: requirements on sizes, axes checked with the user's line, options refused."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from graphad.errors import ArgumentError, ShapeError, describe
from graphad.ir import sizes
from graphad.ir.sizes import Extent, Size
from graphad.ir.types import Requirement, Shape, never_equal
from graphad.ir.variable import Variable


def never_negative(extent: Extent) -> bool:
    """Whether an extent is at least 0 for all named sizes, as far as its form shows.

    >>> n = Size.name("n")
    >>> never_negative(2 * n + 1), never_negative((n + 1) // 2), never_negative(n - 1)
    (True, True, False)
    """
    if not isinstance(extent, Size):
        return extent >= 0
    return all(
        coefficient > 0 and all(isinstance(atom, str) or _call_never_negative(atom) for atom in monomial)
        for monomial, coefficient in extent.terms
    )


def _call_never_negative(atom: sizes.Call) -> bool:
    left, right = never_negative(atom.left), never_negative(atom.right)
    return (left or right) if atom.function == "max" else left and right


def at_most(left: Extent, right: Extent, reason: str) -> list[Requirement]:
    """The requirement `left <= right`, none where it is evident; terms are moved so that both sides read well."""
    difference = right - left
    if never_negative(difference):
        return []
    if isinstance(difference, int):
        return [Requirement("within", left, right, reason, None)]
    more, less = sizes_of_sign(difference)
    return [Requirement("within", less, more, reason, None)]


def sizes_of_sign(extent: Size) -> tuple[Extent, Extent]:
    """The positive terms and the negated negative terms: `extent` is the first minus the second."""
    more: Extent = 0
    less: Extent = 0
    for monomial, coefficient in extent.terms:
        if coefficient > 0:
            more = more + _term(monomial, coefficient)
        else:
            less = less + _term(monomial, -coefficient)
    return more, less


def _term(monomial: sizes.Monomial, coefficient: int) -> Extent:
    return Size({monomial: coefficient}) if monomial else coefficient


def nonnegative(shape: Shape, reason: str) -> list[Requirement]:
    """The requirement that no extent of a shape is negative."""
    return [r for extent in shape for r in at_most(0, extent, reason)]


def equal(left: Extent, right: Extent, reason: str) -> list[Requirement]:
    """The requirement that two extents are equal, none where they evidently are."""
    return [] if left == right else [Requirement("equal", left, right, reason, None)]


def check_literal(shape: Shape) -> Shape:
    """The shape; raises `ShapeError` where a literal extent is negative."""
    if any(isinstance(e, int) and e < 0 for e in shape):
        raise ShapeError(f"a negative extent in the shape {show(shape)}")
    return shape


def agreed(left: Extent, right: Extent, what: str) -> Extent:
    """One of two extents that must be equal, the literal one where there is one; raises `ShapeError` if they differ."""
    if never_equal(left, right):
        raise ShapeError(f"{what}: {left} and {right} differ")
    return right if isinstance(right, int) else left


def show(shape: Shape) -> str:
    """A shape as Python writes a tuple.

    >>> show((Size.name("n"),)), show((2, 3))
    ('(n,)', '(2, 3)')
    """
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def axis_of(x: Variable, axis: Any, name: str) -> int:
    """An axis of `x` as a number from 0; errors name the function `name`, the shape and the user's line."""
    return axis_in(x, axis, x.ndim, name)


def axis_in(x: Variable, axis: Any, rank: int, name: str) -> int:
    """An axis of an array of `rank` axes made from `x`, as a number from 0."""
    try:
        number = operator.index(axis)
    except TypeError:
        raise ArgumentError(
            describe(f"`{name}`: `axis={axis!r}` is no axis", expected="an integer", source=x.graph._user_source())
        ) from None
    if not -rank <= number < rank:
        raise ShapeError(
            describe(
                f"`{name}`: axis {number} does not exist",
                expected=f"an axis from {-rank} to {rank - 1}" if rank else "no axis: the operand is a scalar",
                got=str(x.type),
                source=x.graph._user_source(),
            )
        )
    return number % rank


def axes_of(x: Variable, axis: Any, name: str) -> tuple[int, ...]:
    """Axes of `x` as a sorted tuple; None means all. Raises `ShapeError` for a repeated or missing axis."""
    if axis is None:
        return tuple(range(x.ndim))
    listed = [axis_of(x, a, name) for a in (axis if isinstance(axis, (tuple, list)) else (axis,))]
    if len(set(listed)) != len(listed):
        raise wrong_shape(x, f"`{name}`: an axis is given twice", got=f"axis={axis}")
    return tuple(sorted(listed))


def refuse(name: str, fix: str = "", **options: Any) -> None:
    """Raise `ArgumentError` for a NumPy option that graphs do not have; None stands for "not given"."""
    for option, value in options.items():
        if value is not None:
            raise ArgumentError(
                describe(f"`{name}`: the option `{option}=` is not supported on variables", got=f"`{value!r}`", fix=fix)
            )


def wrong_shape(x: Variable, problem: str, *, expected: str = "", got: str = "", fix: str = "") -> ShapeError:
    """A `ShapeError` with the user's line."""
    return ShapeError(describe(problem, expected=expected, got=got, source=x.graph._user_source(), fix=fix))


def integers(values: Any) -> tuple[Any, ...]:
    """The values with NumPy's integers turned into Python's; sizes stay."""
    return tuple(v if isinstance(v, Size) else operator.index(v) for v in values)


def batch_shape(k: int, args: Sequence[Variable], batched: Sequence[bool]) -> Shape:
    """The extents of the leading batch axes."""
    return next(a.shape[:k] for a, b in zip(args, batched, strict=True) if b)


def stacked(k: int, args: Sequence[Variable], batched: Sequence[bool]) -> tuple[Variable, ...]:
    """All operands with the batch axes, repeated where they have none."""
    lead = batch_shape(k, args, batched)
    return tuple(
        a if b else a.graph.apply("broadcast_to", a, shape=lead + a.shape) for a, b in zip(args, batched, strict=True)
    )
