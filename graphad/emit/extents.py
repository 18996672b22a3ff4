"""Sizes in generated Python text: taken from the lengths of axes, compared, required."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphad.interpret import solve_linear
from graphad.ir import sizes
from graphad.ir.sizes import Extent, Size
from graphad.ir.types import Requirement, Shape

SIZE_PREFIX = "__s_"


def local_sizes(names: Sequence[str]) -> dict[str, Extent]:
    """The variables that hold named sizes.

    >>> local_sizes(["n"])
    {'n': __s_n}
    """
    return {name: Size.name(f"{SIZE_PREFIX}{name}") for name in names}


def text(extent: Extent, bound: Mapping[str, Extent]) -> str:
    """An extent as an expression of variables.

    >>> text(2 * Size.name("n") + 1, local_sizes(["n"]))
    '2*__s_n+1'
    """
    return str(sizes.substitute(extent, dict(bound)))


def tuple_text(shape: Shape, bound: Mapping[str, Extent]) -> str:
    """A shape as a tuple of expressions."""
    return "(" + "".join(f"{text(e, bound)}, " for e in shape) + ")"


def solve_lines(axes: Sequence[tuple[Extent, str]], bound: dict[str, Extent]) -> tuple[list[str], list[str]] | None:
    """Lines that find the sizes which stand nowhere alone, and the conditions on them; None where one line is too few.

    Arguments:
        axes: extents, and the variables that hold the lengths which they have.
        bound: the sizes that are known already; gets the others.
    """
    lines: list[str] = []
    conditions: list[str] = []
    for extent, target in axes:
        unknown = sorted(sizes.names(extent) - set(bound))
        if not unknown:
            continue
        if len(unknown) > 1 or not isinstance(extent, Size):
            return None
        known = {n: e for n, e in bound.items() if n != unknown[0]}
        at0, at1 = (sizes.substitute(extent, {**known, unknown[0]: i}) for i in (0, 1))
        if not (isinstance(at0, int) and isinstance(at1, int)) or solve_linear(extent, unknown[0], at1, {}) != 1:
            return None
        size = f"{SIZE_PREFIX}{unknown[0]}"
        bound[unknown[0]] = Size.name(size)
        lines.append(f"{size} = ({target} - {at0}) // {at1 - at0}")
        conditions.append(f"{size} >= 0")
    return lines, conditions


def requirement_conditions(requirements: Sequence[Requirement], bound: Mapping[str, Extent]) -> list[str]:
    """What a graph demands of its sizes, each condition once."""
    conditions: dict[str, None] = {}
    for requirement in requirements:
        relation = "==" if requirement.kind == "equal" else "<="
        conditions[f"{text(requirement.left, bound)} {relation} {text(requirement.right, bound)}"] = None
    return list(conditions)
