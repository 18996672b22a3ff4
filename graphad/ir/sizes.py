"""Symbolic sizes: integer expressions in named sizes, kept in one canonical form.

A size is an `int` or a `Size`: a polynomial with integer coefficients whose atoms are names, floor
quotients, minima and maxima. Equal polynomials are equal sizes, so `(n + 1) - 1` is `n`.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias, Union

from graphad.errors import ShapeError, describe

Extent: TypeAlias = Union[int, "Size"]


class Call(NamedTuple):
    """An atom that is no name: `floordiv`, `min` or `max` of two extents."""

    function: str
    left: Extent
    right: Extent

    def __str__(self) -> str:
        if self.function == "floordiv":
            return f"{_operand(self.left)}//{_operand(self.right)}"
        return f"{self.function}({self.left}, {self.right})"


Atom: TypeAlias = str | Call
Monomial: TypeAlias = tuple[Atom, ...]


def _operand(extent: Extent) -> str:
    text = str(extent)
    return text if text.isidentifier() or text.isdigit() else f"({text})"


def _atom_key(atom: Atom) -> str:
    return str(atom)


class Size:
    """An integer expression in named sizes; immutable, hashable, compared by canonical form.

    >>> n, m = Size.name("n"), Size.name("m")
    >>> (n + 1) * m - m == n * m
    True
    >>> str((n + 1) // 2 - n + 3), ((n + 1) // 2).evaluate({"n": 6})
    ('-n+(n+1)//2+3', 3)
    """

    __slots__ = ("_hash", "_names", "_text", "terms")
    terms: tuple[tuple[Monomial, int], ...]

    def __init__(self, terms: Mapping[Monomial, int]) -> None:
        self.terms = tuple(sorted(((m, c) for m, c in terms.items() if c), key=lambda t: (-len(t[0]), str(t[0]))))
        self._hash = hash(self.terms)
        self._text: str | None = None
        self._names: frozenset[str] | None = None

    @staticmethod
    def name(name: str) -> Size:
        """The size called `name`, a Python identifier."""
        if not name.isidentifier():
            raise ShapeError(describe(f"`{name}` can not name a size", expected="a Python identifier such as `n`"))
        return Size({(name,): 1})

    @staticmethod
    def parse(text: str) -> Extent:
        """Read an expression such as `"n-1"`, `"n*m"`, `"(n+1)//2"` or `"min(n, m)"`."""
        try:
            return _from_ast(ast.parse(text.strip(), mode="eval").body, text)
        except SyntaxError as error:
            raise _unreadable(text) from error

    def __add__(self, other: Extent) -> Extent:
        if not _is_extent(other):
            return NotImplemented
        total = dict(self.terms)
        for monomial, coefficient in _terms(other):
            total[monomial] = total.get(monomial, 0) + coefficient
        return _made(total)

    __radd__ = __add__

    def __neg__(self) -> Extent:
        return _made({m: -c for m, c in self.terms})

    def __sub__(self, other: Extent) -> Extent:
        return self + (-other) if _is_extent(other) else NotImplemented

    def __rsub__(self, other: Extent) -> Extent:
        return (-self) + other if _is_extent(other) else NotImplemented

    def __mul__(self, other: Extent) -> Extent:
        if not _is_extent(other):
            return NotImplemented
        product: dict[Monomial, int] = {}
        for left, a in self.terms:
            for right, b in _terms(other):
                monomial = tuple(sorted(left + right, key=_atom_key))
                product[monomial] = product.get(monomial, 0) + a * b
        return _made(product)

    __rmul__ = __mul__

    def __floordiv__(self, other: Extent) -> Extent:
        return floordiv(self, other) if _is_extent(other) else NotImplemented

    def __rfloordiv__(self, other: Extent) -> Extent:
        return floordiv(other, self)

    def __mod__(self, other: Extent) -> Extent:
        return self - floordiv(self, other) * other if _is_extent(other) else NotImplemented

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Size) and self._hash == other._hash and self.terms == other.terms)

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[object, ...]:
        return (Size, (dict(self.terms),))

    def __str__(self) -> str:
        if self._text is None:
            text = "".join(_term_text(m, c) for m, c in self.terms)
            self._text = text.removeprefix("+")
        return self._text

    __repr__ = __str__

    def names(self) -> frozenset[str]:
        """The named sizes that the expression uses."""
        if self._names is None:
            found: set[str] = set()
            for monomial, _ in self.terms:
                for atom in monomial:
                    found |= {atom} if isinstance(atom, str) else names(atom.left) | names(atom.right)
            self._names = frozenset(found)
        return self._names

    def evaluate(self, sizes: Mapping[str, int]) -> int:
        """The integer value for given sizes."""
        total = 0
        for monomial, coefficient in self.terms:
            for atom in monomial:
                coefficient *= sizes[atom] if isinstance(atom, str) else _evaluate_call(atom, sizes)
            total += coefficient
        return total

    def substitute(self, sizes: Mapping[str, Extent]) -> Extent:
        """The expression with named sizes replaced by other extents."""
        total: Extent = 0
        for monomial, coefficient in self.terms:
            product: Extent = coefficient
            for atom in monomial:
                product = product * _substitute_atom(atom, sizes)
            total = total + product
        return total


def _is_extent(value: object) -> bool:
    """Whether a value is an integer or a size; a graph variable, which is neither, does the arithmetic itself."""
    return isinstance(value, (int, Size)) or (hasattr(value, "__index__") and not hasattr(value, "graph"))


def _terms(extent: Extent) -> tuple[tuple[Monomial, int], ...]:
    return extent.terms if isinstance(extent, Size) else (((), int(extent)),)


def _made(terms: dict[Monomial, int]) -> Extent:
    live = {m: c for m, c in terms.items() if c}
    if not live:
        return 0
    if len(live) == 1 and () in live:
        return live[()]
    return Size(live)


def _term_text(monomial: Monomial, coefficient: int) -> str:
    sign = "-" if coefficient < 0 else "+"
    factors = [_factor_text(atom, alone=len(monomial) == 1 and coefficient == 1) for atom in monomial]
    if abs(coefficient) != 1 or not factors:
        factors.insert(0, str(abs(coefficient)))
    return sign + "*".join(factors)


def _factor_text(atom: Atom, *, alone: bool) -> str:
    return f"({atom})" if isinstance(atom, Call) and atom.function == "floordiv" and not alone else str(atom)


def _evaluate_call(call: Call, sizes: Mapping[str, int]) -> int:
    left, right = evaluate(call.left, sizes), evaluate(call.right, sizes)
    if call.function == "floordiv":
        return left // right
    return min(left, right) if call.function == "min" else max(left, right)


def _substitute_atom(atom: Atom, sizes: Mapping[str, Extent]) -> Extent:
    if isinstance(atom, str):
        return sizes.get(atom, Size({(atom,): 1}))
    left, right = substitute(atom.left, sizes), substitute(atom.right, sizes)
    return {"floordiv": floordiv, "min": minimum, "max": maximum}[atom.function](left, right)


def names(extent: Extent) -> frozenset[str]:
    """The named sizes of an extent; none for an integer."""
    return extent.names() if isinstance(extent, Size) else frozenset()


def linear(extent: Size, name: str) -> tuple[Extent, Extent] | None:
    """Slope and constant of an extent that is linear in a size, else None.

    >>> linear(2 * Size.name("n") + 1, "n")
    (2, 1)
    """
    at0, at1, at2 = (extent.substitute({name: k}) for k in (0, 1, 2))
    slope = at1 - at0
    return (slope, at0) if slope != 0 and at2 - at1 == slope else None


def evaluate(extent: Extent, sizes: Mapping[str, int]) -> int:
    """The integer value of an extent for given sizes."""
    return extent.evaluate(sizes) if isinstance(extent, Size) else extent


def substitute(extent: Extent, sizes: Mapping[str, Extent]) -> Extent:
    """The extent with named sizes replaced by other extents."""
    return extent.substitute(sizes) if isinstance(extent, Size) else extent


def floordiv(left: Extent, right: Extent) -> Extent:
    """`left // right`, without the terms that a number divides.

    >>> n, m = Size.name("n"), Size.name("m")
    >>> floordiv(2 * n + 1, 2), floordiv(4 * n + m + 3, 2)
    (n, 2*n+(m+3)//2)
    """
    if isinstance(right, int):
        if right == 0:
            raise ShapeError(describe(f"size `{left}//0` divides by zero"))
        if all(c % right == 0 for _, c in _terms(left)):
            return _made({m: c // right for m, c in _terms(left)})
        if isinstance(left, int):
            return left // right
        whole = {m: c // right for m, c in left.terms if m and c % right == 0}
        if whole:
            return _made(whole) + floordiv(_made({m: c for m, c in left.terms if m not in whole}), right)
    elif isinstance(left, Size) and (quotient := _exact_quotient(left, right)) is not None:
        return quotient
    return Size({(Call("floordiv", left, right),): 1})


def _exact_quotient(left: Size, right: Size) -> Extent | None:
    if len(right.terms) != 1:
        return 1 if left == right else None
    ((divisor, scale),) = right.terms
    quotient: dict[Monomial, int] = {}
    for monomial, coefficient in left.terms:
        rest = list(monomial)
        for atom in divisor:
            if atom not in rest:
                return None
            rest.remove(atom)
        if coefficient % scale:
            return None
        quotient[tuple(rest)] = coefficient // scale
    return _made(quotient)


def minimum(left: Extent, right: Extent) -> Extent:
    """The smaller of two extents; decided now where their difference is constant."""
    difference = left - right
    if isinstance(difference, int):
        return left if difference <= 0 else right
    return Size({(Call("min", left, right),): 1})


def maximum(left: Extent, right: Extent) -> Extent:
    """The larger of two extents; decided now where their difference is constant."""
    difference = left - right
    if isinstance(difference, int):
        return left if difference >= 0 else right
    return Size({(Call("max", left, right),): 1})


def product(extents: tuple[Extent, ...]) -> Extent:
    """The product of extents, 1 for none."""
    total: Extent = 1
    for extent in extents:
        total = total * extent
    return total


def as_extent(value: object) -> Extent:
    """An extent from an integer, a `Size` or text such as `"n-1"`."""
    if isinstance(value, Size):
        return value
    if isinstance(value, str):
        value = Size.parse(value)
        if isinstance(value, Size):
            return value
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ShapeError(describe(f"`{value!r}` is no size", expected="an integer, a name or an expression"))
    number = int(value.__index__())
    if number < 0:
        raise ShapeError(describe(f"`{number}` is no size", expected="0 or more"))
    return number


def _unreadable(text: str) -> ShapeError:
    return ShapeError(
        describe(f"can not read the size `{text}`", expected="names, integers, + - * //, min(a, b), max(a, b)")
    )


def _from_ast(node: ast.expr, text: str) -> Extent:
    if isinstance(node, ast.Name):
        return Size.name(node.id)
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_from_ast(node.operand, text)
    if isinstance(node, ast.BinOp):
        left, right = _from_ast(node.left, text), _from_ast(node.right, text)
        if isinstance(node.op, ast.Add):
            return left + right
        if isinstance(node.op, ast.Sub):
            return left - right
        if isinstance(node.op, ast.Mult):
            return left * right
        if isinstance(node.op, ast.FloorDiv):
            return floordiv(left, right)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) == 2:
        two = {"min": minimum, "max": maximum}.get(node.func.id)
        if two is not None:
            return two(_from_ast(node.args[0], text), _from_ast(node.args[1], text))
    raise _unreadable(text)
