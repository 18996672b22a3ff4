"""Pieces of Python text: literals, sizes, indices, element references."""

from __future__ import annotations

import itertools
import keyword
import math
from collections.abc import Iterator, Mapping
from typing import Any

from graphad.ir.sizes import Extent, Size, names
from graphad.loops.ir import Access, Index, Literal, Loop, Operand, Statement, Var
from graphad.loops.schedule import Schedule

LOOP_NAMES = "ijklpqrstuvwxyz"
RESERVED = frozenset(
    [
        *keyword.kwlist,
        "np",
        "math",
        "njit",
        "types",
        "intrinsic",
        "ir",
        "Any",
        "Callable",
        "branching",
        "cache",
        "extending",
        "inspect",
        "range",
        "abs",
        "min",
        "max",
        "round",
        "bool",
        "int",
        "float",
    ]
)

Point = Mapping[int, int]


class Names:
    """Identifiers of one function, no two alike."""

    def __init__(self, taken: frozenset[str] = frozenset()) -> None:
        self.taken = set(RESERVED | taken)

    def new(self, wanted: str) -> str:
        """`wanted`, or `wanted` with underscores where it is taken."""
        while wanted in self.taken:
            wanted += "_"
        self.taken.add(wanted)
        return wanted


def literal(value: bool | int | float, dtype: str) -> str:
    """A number as Numba reads it with the given dtype.

    >>> literal(2.0, "float32"), literal(-1.5, "float64"), literal(float("inf"), "float64"), literal(3, "int64")
    ('np.float32(2.0)', '(-1.5)', 'np.inf', '3')
    """
    if dtype == "bool":
        return str(bool(value))
    if dtype == "int64":
        return "(-9223372036854775807 - 1)" if value == -(2**63) else _signed(str(int(value)))
    if dtype == "int32":
        return f"np.int32({int(value)})"
    number = float(value)
    text = (
        repr(number) if math.isfinite(number) else {"inf": "np.inf", "-inf": "(-np.inf)", "nan": "np.nan"}[str(number)]
    )
    return f"np.float32({text})" if dtype == "float32" else _signed(text)


def _signed(text: str) -> str:
    return f"({text})" if text.startswith("-") else text


class Printer:
    """Prints elements of a scheduled program.

    Arguments:
        outer: the printer of the program around it, with which it shares all identifiers.
    """

    def __init__(self, plan: Schedule, names_: Names, outer: Printer | None = None) -> None:
        self.plan = plan
        self.names = names_
        self.sizes: dict[str, str] = outer.sizes if outer else {}
        self.variables: dict[Var, str] = outer.variables if outer else {}
        self.ranks: list[str] = outer.ranks if outer else []
        self.bounds: dict[str, tuple[str, str]] = outer.bounds if outer else {}
        for name in sorted(self._size_names()):
            self.sizes[name] = names_.new(name)
        self.loops = {loop: self._rank(number) for number, loop in enumerate(plan.axes.order)}
        self.blocks: dict[int, tuple[str, str]] = {}
        for item in plan.program.body:
            if isinstance(item, Loop) and item.block and item.axis not in self.blocks:
                self.blocks[item.axis] = self._bounds(self.loops[item.axis])

    def _rank(self, number: int) -> str:
        """The variable of loops that have this many around them in the order of all."""
        while len(self.ranks) <= number:
            place = len(self.ranks)
            self.ranks.append(self.names.new(LOOP_NAMES[place] if place < len(LOOP_NAMES) else f"i{place}"))
        return self.ranks[number]

    def _bounds(self, loop: str) -> tuple[str, str]:
        """The variables of the first point of a block and of the one behind its last."""
        if loop not in self.bounds:
            self.bounds[loop] = (self.names.new(f"{loop}_start"), self.names.new(f"{loop}_end"))
        return self.bounds[loop]

    def _size_names(self) -> set[str]:
        found: set[str] = set()
        for var in self.plan.program.inputs:
            for extent in var.shape:
                found |= names(extent)
        return found

    def extent(self, extent: Extent) -> str:
        """A size as an expression of the function's size variables."""
        if not isinstance(extent, Size):
            return str(extent)
        renamed = extent.substitute({n: Size.name(s) for n, s in self.sizes.items() if n != s})
        return str(renamed)

    def name(self, var: Var) -> str:
        """The identifier of a variable."""
        found = self.variables.get(var)
        if found is None:
            found = self.variables[var] = self.names.new(var.name)
        return found

    def index(self, index: Index, point: Point) -> str:
        """An index at a point of the unrolled axes."""
        constant = index.offset
        parts: list[str] = []
        for atom, coefficient in index.terms:
            if isinstance(atom, int) and atom in point:
                constant = constant + coefficient * point[atom]
                continue
            text = self.loops[self.plan.axes.find(atom)] if isinstance(atom, int) else self.element(atom, point)
            if coefficient == -1:
                parts.append(f"- {text}")
            else:
                parts.append(f"+ {text}" if coefficient == 1 else f"+ ({self.extent(coefficient)}) * {text}")
        if constant != 0 or not parts:
            negative = isinstance(constant, int) and constant < 0
            parts.append(f"- {self.extent(-constant)}" if negative else f"+ {self.extent(constant)}")
        parts.sort(key=lambda p: p.startswith("- "))
        return " ".join(parts).removeprefix("+ ")

    def _place(self, index: Index, point: Point) -> str:
        """An index as it stands in brackets; unsigned where a size is in it, which the compiler takes for any number.

        Numba turns negative indices round, and a loop with such a choice in it is not vectorised.
        """
        text = self.index(index, point)
        sized = isinstance(index.offset, Size) or any(isinstance(c, Size) for _, c in index.terms)
        return f"np.uint64({text})" if sized and index.terms else text

    def element(self, access: Access, point: Point) -> str:
        """A reference to one element."""
        var = access.var
        storage = self.plan.storage[var]
        name = self.name(var)
        if storage.unrolled:
            suffix = "_".join(self.index(access.indices[d], point) for d in storage.unrolled)
            name = self._unrolled_name(var, suffix)
        if not storage.is_array:
            return name
        indices = [self._place(access.indices[d], point) for d in storage.memory]
        if storage.block is not None:
            indices.append(f"{self.loops[storage.block.axis]} - {self.blocks[storage.block.axis][0]}")
        return f"{name}[{', '.join(indices)}]"

    def _unrolled_name(self, var: Var, suffix: str) -> str:
        return f"{self.name(var)}_{suffix}"

    def pieces(self, var: Var) -> Iterator[str]:
        """The names that hold a variable: one, or one per point of its unrolled dimensions."""
        return (name for _, name in self.pieces_at(var))

    def pieces_at(self, var: Var) -> Iterator[tuple[tuple[int, ...], str]]:
        """The names that hold a variable, each with its point of the unrolled dimensions."""
        storage = self.plan.storage[var]
        if not storage.unrolled:
            yield (), self.name(var)
            return
        for point in itertools.product(*(range(int(str(var.shape[d]))) for d in storage.unrolled)):
            yield point, self._unrolled_name(var, "_".join(map(str, point)))

    def memory_shape(self, var: Var) -> list[str]:
        """The extents of the array that holds a variable."""
        return [self.extent(e) for e in self.plan.storage[var].shape(var)]

    def operand(self, operand: Operand, point: Point) -> str:
        """An operand as an atom of an expression."""
        if isinstance(operand, Access):
            return self.element(operand, point)
        if isinstance(operand, Literal):
            return literal(operand.value, operand.dtype)
        text = self.index(operand.number, point)
        text = text if text.isalnum() or text.isidentifier() else f"({text})"
        return text if operand.dtype == "int64" else f"np.{operand.dtype}({text})"

    def expression(self, statement: Statement, point: Point) -> str:
        """The right-hand side of a statement."""
        dtype = statement.dtype
        function_dtype = argument_dtype(statement)
        fields: dict[str, Any] = {
            "dtype": f"np.{dtype}" if dtype != "bool" else "bool",
            "zero": literal(0, dtype),
            "one": literal(1, dtype),
            "two": literal(2, dtype),
            "half": literal(0.5, dtype),
        }
        fields.update({f: function_name(f, function_dtype) for f in statement.functions})
        if statement.carry is not None:
            fields["carry"] = self.element(statement.carry, point)
        operands = [self.operand(o, point) for o in statement.inputs]
        text = statement.operation.format(*operands, **fields)
        if dtype == "int32" and statement.operation not in ("{0}", "{dtype}({0})"):
            return f"np.int32({text})"
        return text

    def points(self, statement: Statement) -> Iterator[dict[int, int]]:
        """The points of the unrolled axes of a statement, in order."""
        unrolled = [a for a in statement.axes if self.plan.axes.unrolled(a)]
        for point in itertools.product(*(range(int(str(self.plan.axes.extent(a)))) for a in unrolled)):
            yield dict(zip(unrolled, point, strict=True))


def _dtype(operand: Operand) -> str:
    return operand.var.dtype if isinstance(operand, Access) else operand.dtype


def argument_dtype(statement: Statement) -> str:
    """The dtype for which the functions of a statement are called: that of its first floating input."""
    kinds = [_dtype(o) for o in statement.inputs]
    return next((k for k in kinds if k.startswith("float")), kinds[0] if kinds else statement.dtype)


def function_name(name: str, dtype: str) -> str:
    """The function of the vector mathematics for a dtype.

    >>> function_name("exp", "float64"), function_name("exp", "float32"), function_name("floordiv", "int64")
    ('exp', 'exp_f32', 'floordiv_int')
    >>> function_name("maximum", "float32")
    'maximum'
    """
    if name in ("maximum", "minimum", "fma"):  # one definition for every dtype
        return name
    return {"float64": name, "float32": f"{name}_f32"}.get(dtype, f"{name}_int")
