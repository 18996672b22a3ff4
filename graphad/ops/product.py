"""The binary contraction `einsum`, to which every product of arrays comes down."""

from __future__ import annotations

import string
from collections.abc import Iterable
from typing import Any

import numpy as np

from graphad.errors import ShapeError
from graphad.ir.operation import Multilinear, Op, Params, Pattern, Sample, register
from graphad.ir.sizes import Extent
from graphad.ir.types import Requirement, TensorType
from graphad.ir.variable import Variable
from graphad.ops.build import number_dtype
from graphad.ops.extents import agreed, equal

Types = tuple[TensorType, ...]
Args = tuple[Variable, ...]


DISAGREE = "operands disagree about a size"


def free_letters(used: Iterable[str], count: int) -> str:
    """Letters that an expression does not use yet.

    >>> free_letters("ab", 2)
    'cd'
    """
    taken = set(used)
    letters = [letter for letter in string.ascii_letters if letter not in taken][:count]
    if len(letters) < count:
        raise ShapeError(f"more than {len(string.ascii_letters)} letters in one product")
    return "".join(letters)


def _check_letters(types: Types, params: Params) -> None:
    left, right, out = params["left"], params["right"], params["out"]
    for letters, kind in ((left, types[0]), (right, types[1])):
        if len(letters) != kind.rank or len(set(letters)) != len(letters):
            raise ShapeError(f"`{letters}` does not name the {kind.rank} axes of {kind}, each once")
    alone = set(left) ^ set(right)
    if len(set(out)) != len(out) or not alone <= set(out) <= set(left + right):
        raise ShapeError(f"`{left},{right}->{out}`: each letter of one operand only stands in the result, once")


def einsum_type(types: Types, params: Params) -> TensorType:
    """The extents of the letters of `out`."""
    _check_letters(types, params)
    extents: dict[str, Extent] = {}
    for letters, kind in zip((params["left"], params["right"]), types, strict=True):
        for letter, extent in zip(letters, kind.shape, strict=True):
            known = extents.setdefault(letter, extent)
            extents[letter] = agreed(known, extent, f"axis `{letter}`")
    return TensorType(number_dtype(types), tuple(extents[letter] for letter in params["out"]))


def einsum_requires(types: Types, params: Params) -> list[Requirement]:
    """Equal letters have equal extents."""
    left = dict(zip(params["left"], types[0].shape, strict=True))
    pairs = zip(params["right"], types[1].shape, strict=True)
    return [r for letter, e in pairs if letter in left for r in equal(left[letter], e, DISAGREE)]


def contracted(a: Variable, b: Variable, left: str, right: str, out: str) -> Variable:
    """The `einsum` of two operands."""
    return a.graph.apply("einsum", a, b, left=left, right=right, out=out)


def _transpose(ct: Variable, args: Args, position: int, params: Params) -> Variable:
    left, right, out = params["left"], params["right"], params["out"]
    if position == 0:
        return contracted(ct, args[1], out, right, left)
    return contracted(args[0], ct, left, out, right)


def _batch(k: int, args: Args, batched: tuple[bool, ...], params: Params) -> Variable:
    left, right, out = params["left"], params["right"], params["out"]
    new = free_letters(left + right + out, k)
    return contracted(
        args[0], args[1], new + left if batched[0] else left, new + right if batched[1] else right, new + out
    )


def _value(a: Any, b: Any, left: str, right: str, out: str) -> Any:
    return np.einsum(f"{left},{right}->{out}", a, b)


register(
    Op(
        name="einsum",
        arity=2,
        infer=einsum_type,
        reference=_value,
        emission=Pattern("einsum"),
        derivative=Multilinear(_transpose),
        batch=_batch,
        requires=einsum_requires,
        analytic=True,
        cost=2.0,
        samples=(
            Sample(((2, 3), (3, 4)), {"left": "ij", "right": "jk", "out": "ik"}),
            Sample(((2, 3), (3,)), {"left": "ij", "right": "j", "out": "i"}),
            Sample(((3,), (3,)), {"left": "i", "right": "i", "out": ""}),
            Sample(((2, 3, 2), (4, 2, 2)), {"left": "bij", "right": "kjb", "out": "kib"}),
            Sample(((2,), (3,)), {"left": "i", "right": "j", "out": "ji"}),
            Sample(((2, 0), (0, 3)), {"left": "ij", "right": "jk", "out": "ik"}),
            Sample(((1, 1), (1, 2)), {"left": "ij", "right": "jk", "out": "ik"}),
        ),
    )
)
