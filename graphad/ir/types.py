"""Types of graph values: a dtype and a shape of integers and symbolic sizes; promotion and broadcasting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from graphad.errors import DtypeError, ShapeError, describe
from graphad.ir import sizes
from graphad.ir.sizes import Extent

Shape = tuple[Extent, ...]

DTYPES = ("bool", "int32", "int64", "float32", "float64")
FLOATS = frozenset({"float32", "float64"})
INTEGERS = frozenset({"int32", "int64"})


class TensorType(NamedTuple):
    """What a node holds: `dtype` is one of `DTYPES`; `shape` has one extent per axis."""

    dtype: str
    shape: Shape

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def is_float(self) -> bool:
        """Whether the value can carry a derivative."""
        return self.dtype in FLOATS

    @property
    def elements(self) -> Extent:
        """The number of elements."""
        return sizes.product(self.shape)

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


class TupleType(TensorType):
    """What a node with several results holds; `item` takes one of them out.

    To a reader who asks only for a tensor it is a scalar of dtype "tuple" without a derivative.

    >>> pair = TupleType((TensorType("float64", (3,)), TensorType("int64", ())))
    >>> str(pair), pair.dtype, pair.shape, pair.is_float
    ('(float64[3], int64[])', 'tuple', (), False)
    """

    __slots__ = ()

    def __new__(cls, items: Iterable[TensorType]) -> TupleType:
        return tuple.__new__(cls, ("tuple", (), tuple(items)))

    @property
    def items(self) -> tuple[TensorType, ...]:
        """The types of the results, in order."""
        items: Any = tuple(self)[-1]
        return tuple(items)

    def __reduce__(self) -> tuple[Any, ...]:
        return (TupleType, (self.items,))

    def __str__(self) -> str:
        return f"({', '.join(map(str, self.items))}{',' if len(self.items) == 1 else ''})"

    __repr__ = __str__


class TapeType(TensorType):
    """A stack of values of one type, as many as a loop has had steps; only `unwind` reads it.

    To a reader who asks only for a tensor it is one of them, without a derivative.

    >>> tape = TapeType(TensorType("float64", (3,)))
    >>> str(tape), tape.is_float, tape == tape.record
    ('tape:float64[3]', False, False)
    """

    __slots__ = ()

    def __new__(cls, record: TensorType) -> TapeType:
        return tuple.__new__(cls, (record.dtype, record.shape, "tape"))

    @property
    def record(self) -> TensorType:
        """The type of one of the values."""
        return TensorType(self.dtype, self.shape)

    @property
    def is_float(self) -> bool:
        """Tapes are made when all is differentiated."""
        return False

    def __reduce__(self) -> tuple[Any, ...]:
        return (TapeType, (self.record,))

    def __str__(self) -> str:
        return f"tape:{self.record}"

    __repr__ = __str__


class Requirement(NamedTuple):
    """What the sizes of one call must satisfy: `left == right` (kind "equal") or `left <= right` (kind "within")."""

    kind: str
    left: Extent
    right: Extent
    reason: str
    source: tuple[str, int] | None

    def holds(self, values: Mapping[str, int]) -> bool:
        """Whether given sizes satisfy the requirement."""
        left, right = sizes.evaluate(self.left, values), sizes.evaluate(self.right, values)
        return left == right if self.kind == "equal" else left <= right


def as_dtype(dtype: object) -> str:
    """The name of a supported dtype from anything that NumPy accepts as one."""
    if type(dtype) is str and dtype in DTYPES:
        return dtype
    try:
        name = np.dtype(dtype).name  # type: ignore[call-overload]
    except TypeError as error:
        raise DtypeError(describe(f"`{dtype!r}` is no dtype", expected=", ".join(DTYPES))) from error
    if name not in DTYPES:
        raise DtypeError(
            describe(f"dtype {name} is not supported", expected=", ".join(DTYPES), fix="convert the data first")
        )
    return str(name)


def as_shape(shape: object) -> Shape:
    """A shape from an extent or a sequence of extents: `3`, `"n"`, `("n", 3)`, `("n-1", "n*m")`."""
    if isinstance(shape, (str, sizes.Size)) or hasattr(shape, "__index__"):
        shape = (shape,)
    if not isinstance(shape, Iterable):
        raise ShapeError(describe(f"`{shape!r}` is no shape", expected='a tuple such as ("n", 3)'))
    return tuple(sizes.as_extent(e) for e in shape)


@cache
def promote(*dtypes: str) -> str:
    """NumPy's common dtype of arrays of these dtypes.

    >>> promote("float32", "int32"), promote("bool", "int32"), promote("float32", "float32")
    ('float64', 'int32', 'float32')
    """
    return as_dtype(np.result_type(*dtypes))


@cache
def as_float(dtype: str) -> str:
    """The dtype in which a function such as `sin` answers for an argument of `dtype`: integers become float64."""
    return dtype if dtype in FLOATS else "float64"


def scalar_dtype(value: bool | int | float, like: str | None) -> str:
    """The dtype of a Python number beside an array of dtype `like`, as NumPy's weak promotion has it.

    >>> scalar_dtype(2, "float32"), scalar_dtype(2.0, "int32"), scalar_dtype(1, "bool")
    ('float32', 'float64', 'int64')
    """
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return like if like is not None and like != "bool" else "int64"
    return like if like in FLOATS else "float64"


def broadcast(shapes: Sequence[Shape]) -> tuple[Shape, tuple[tuple[Extent, Extent], ...]]:
    """The common shape by NumPy's rule, with only a literal 1 stretched.

    Returns the shape and the pairs of extents whose equality is left to run time. Raises `ShapeError` where two
    extents can not be equal.
    """
    rank = max(map(len, shapes), default=0)
    result: list[Extent] = [1] * rank
    unproven: list[tuple[Extent, Extent]] = []
    for shape in shapes:
        for axis, extent in enumerate(shape, start=rank - len(shape)):
            known = result[axis]
            if extent == known or extent == 1:
                continue
            if known == 1:
                result[axis] = extent
                continue
            if never_equal(known, extent):
                raise ShapeError(f"extents {known} and {extent} of axis {axis - rank} do not broadcast")
            unproven.append((known, extent))
            if isinstance(extent, int):
                result[axis] = extent
    return tuple(result), tuple(unproven)


def never_equal(left: Extent, right: Extent) -> bool:
    """Whether two extents differ for all sizes, by a constant other than zero.

    >>> n = sizes.Size.name("n")
    >>> never_equal(n, n + 1), never_equal(n, sizes.Size.name("m"))
    (True, False)
    """
    if left is right or left == right:
        return False
    difference = left - right
    return isinstance(difference, int) and difference != 0
