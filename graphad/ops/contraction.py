"""Products of arrays: einsum of any expression, matmul, dot, inner, outer, tensordot, cross, kron.

All come down to the binary `einsum` operation, or to a multiplication where nothing is summed. With more than two
operands the cheapest order is chosen: exactly for up to five, greedily above.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from graphad.errors import ArgumentError, describe
from graphad.ir import sizes
from graphad.ir.graph import Graph
from graphad.ir.operation import function
from graphad.ir.sizes import Extent
from graphad.ir.types import never_equal
from graphad.ir.variable import Variable
from graphad.ops.build import promoted
from graphad.ops.extents import axis_of, refuse, show, wrong_shape
from graphad.ops.gather import gathered
from graphad.ops.product import contracted, free_letters
from graphad.ops.reduction import reduce_sum
from graphad.ops.shape import common_shape, joined, reshaped, sliced, stretched, summed, transposed, with_ones
from graphad.ops.source import iota

TYPICAL = 100  # what a size without a hint counts as when orders are compared
EXACT = 5  # operands up to which all orders are compared


class Term(NamedTuple):
    """An array whose axes have letters, each once."""

    value: Variable
    letters: str


# ---------------------------------------------------------------------- two operands


def multiplied(a: Term, b: Term, out: str) -> Term:
    """The product of two terms summed over the letters that are not in `out`."""
    a, b = _without_ones(a, b), _without_ones(b, a)
    a, b = _summed_alone(a, b, out), _summed_alone(b, a, out)
    kept = "".join(letter for letter in out if letter in a.letters + b.letters)
    if all(letter in kept for letter in a.letters + b.letters):
        return Term(aligned(a, kept) * aligned(b, kept), kept)
    return Term(contracted(a.value, b.value, a.letters, b.letters, kept), kept)


def _without_ones(term: Term, other: Term) -> Term:
    """Axes of extent 1 dropped that the other term stretches."""
    extents = dict(zip(other.letters, other.value.shape, strict=True))
    keep = [
        i for i, (letter, e) in enumerate(zip(term.letters, term.value.shape, strict=True))
        if not (e == 1 and extents.get(letter, 1) != 1)
    ]  # fmt: skip
    shape = tuple(term.value.shape[i] for i in keep)
    return Term(reshaped(term.value, shape), "".join(term.letters[i] for i in keep))


def _summed_alone(term: Term, other: Term, out: str) -> Term:
    """The sum over letters that stand neither in the other term nor in the result."""
    alone = tuple(i for i, letter in enumerate(term.letters) if letter not in other.letters and letter not in out)
    return Term(summed(term.value, alone), "".join(c for i, c in enumerate(term.letters) if i not in alone))


def aligned(term: Term, out: str) -> Variable:
    """The axes in the order of `out`, with extent 1 for letters that the term lacks."""
    order = sorted(range(len(term.letters)), key=lambda i: out.index(term.letters[i]))
    missing = tuple(i for i, letter in enumerate(out) if letter not in term.letters)
    return with_ones(transposed(term.value, tuple(order)), missing)


def _check_fit(name: str, a: Variable, b: Variable, pairs: Iterable[tuple[Extent, Extent]]) -> None:
    """Raise `ShapeError` naming both shapes where extents that must agree differ."""
    for left, right in pairs:
        if never_equal(left, right):
            raise wrong_shape(
                a,
                f"`{name}`: shapes {show(a.shape)} and {show(b.shape)} do not fit",
                expected="equal extents",
                got=f"{left} and {right}",
            )


@function("matmul", np.matmul, np.linalg.matmul)
def matmul(x: Any, y: Any) -> Variable:
    """The matrix product of the last two axes; axes before them broadcast, vectors are rows or columns.

    >>> import graphad as ga
    >>> g = ga.Graph("demo")
    >>> a, b = g.input("a", shape=("n", 3)), g.input("b", shape=(5, 3, "m"))
    >>> (a @ b).shape, (a @ np.ones(3)).shape
    ((5, n, m), (n,))
    """
    a, b = promoted(x, y)
    if a.ndim == 0 or b.ndim == 0:
        scalar = a if a.ndim == 0 else b
        raise wrong_shape(scalar, "`matmul` takes no scalars", expected="vectors or matrices", fix="use `*`")
    row, column = (-1, -1) if b.ndim == 1 else (-1, -2)
    _check_fit("matmul", a, b, [(a.shape[row], b.shape[column])])
    rank = max(a.ndim, b.ndim, 2) - 2
    batch = free_letters("ijk", rank)
    left = "j" if a.ndim == 1 else batch[rank - (a.ndim - 2) :] + "ij"
    right = "j" if b.ndim == 1 else batch[rank - (b.ndim - 2) :] + "jk"
    common_shape(a, [a.shape[:-2], b.shape[:-2]], f"`matmul`: shapes {show(a.shape)} and {show(b.shape)}")
    out = batch + ("i" if a.ndim > 1 else "") + ("k" if b.ndim > 1 else "")
    return _finished([Term(a, left), Term(b, right)], out)


@function("dot", np.dot)
def dot(x: Any, y: Any, out: Any = None) -> Variable:
    """NumPy's `dot`: the sum over the last axis of `x` and the last but one (or only) of `y`."""
    refuse("dot", out=out)
    a, b = promoted(x, y)
    if a.ndim == 0 or b.ndim == 0:
        return a * b
    return _tensordot("dot", a, b, (a.ndim - 1,), (max(b.ndim - 2, 0),))


@function("inner", np.inner)
def inner(x: Any, y: Any) -> Variable:
    """The sum over the last axes of both."""
    a, b = promoted(x, y)
    if a.ndim == 0 or b.ndim == 0:
        return a * b
    return _tensordot("inner", a, b, (a.ndim - 1,), (b.ndim - 1,))


@function("vdot", np.vdot)
def vdot(x: Any, y: Any) -> Variable:
    """The sum of the products of all elements."""
    a, b = promoted(x, y)
    return _tensordot("vdot", reshaped(a, (a.size,)), reshaped(b, (b.size,)), (0,), (0,))


@function("vecdot", np.vecdot, np.linalg.vecdot)
def vecdot(x: Any, y: Any, axis: int = -1) -> Variable:
    """The sum of products along one axis, the others broadcast."""
    a, b = promoted(x, y)
    along = axis_of(a, axis, "vecdot"), axis_of(b, axis, "vecdot")
    _check_fit("vecdot", a, b, [(a.shape[along[0]], b.shape[along[1]])])
    return reduce_sum(a * b, axis)


@function("outer", np.outer)
def outer(x: Any, y: Any, out: Any = None) -> Variable:
    """All products of an element of `x` and an element of `y`: a matrix."""
    refuse("outer", out=out)
    a, b = promoted(x, y)
    return reshaped(a, (a.size, 1)) * reshaped(b, (1, b.size))


@function("tensordot", np.tensordot, np.linalg.tensordot)
def tensordot(x: Any, y: Any, axes: Any = 2) -> Variable:
    """The sum over pairs of axes.

    Arguments:
        axes: a number (that many last axes of `x` with the first of `y`), or two lists of axes.
    """
    a, b = promoted(x, y)
    if isinstance(axes, (tuple, list)):
        left, right = (tuple(e) if isinstance(e, (tuple, list)) else (e,) for e in axes)
    else:
        count = operator.index(axes)
        if not 0 <= count <= min(a.ndim, b.ndim):
            got = f"axes={count} of {show(a.shape)} and {show(b.shape)}"
            raise wrong_shape(a, "`tensordot`: more axes than the arrays have", got=got)
        left, right = tuple(range(a.ndim - count, a.ndim)), tuple(range(count))
    if len(left) != len(right):
        raise wrong_shape(a, "`tensordot`: as many axes of one as of the other", got=f"{left} and {right}")
    lefts = tuple(axis_of(a, e, "tensordot") for e in left)
    return _tensordot("tensordot", a, b, lefts, tuple(axis_of(b, e, "tensordot") for e in right))


def _tensordot(name: str, a: Variable, b: Variable, left: tuple[int, ...], right: tuple[int, ...]) -> Variable:
    _check_fit(name, a, b, [(a.shape[i], b.shape[j]) for i, j in zip(left, right, strict=True)])
    letters = free_letters("", a.ndim + b.ndim - len(right))
    own = letters[: a.ndim]
    rest = iter(letters[a.ndim :])
    other = "".join(own[left[right.index(j)]] if j in right else next(rest) for j in range(b.ndim))
    out = "".join(c for i, c in enumerate(own) if i not in left)
    out += "".join(c for j, c in enumerate(other) if j not in right)
    return multiplied(Term(a, own), Term(b, other), out).value


@function("cross", np.cross, np.linalg.cross)
def cross(x: Any, y: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Variable:
    """The vector product of vectors of three components along an axis (the last by default); others broadcast."""
    a, b = promoted(x, y)
    axisa, axisb, axisc = (axisa, axisb, axisc) if axis is None else (axis, axis, axis)
    a, b = _last(a, axis_of(a, axisa, "cross")), _last(b, axis_of(b, axisb, "cross"))
    if a.shape[-1] != 3 or b.shape[-1] != 3:
        got = f"{show(a.shape)} and {show(b.shape)}"
        raise wrong_shape(a, "`cross` takes vectors of three components", expected="a literal extent of 3", got=got)
    u = [sliced(a, a.ndim - 1, i, 1) for i in range(3)]
    v = [sliced(b, b.ndim - 1, i, 1) for i in range(3)]
    parts = (u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0])
    result = joined(parts, parts[0].ndim - 1)
    place = axis_of(result, axisc, "cross")
    order = list(range(result.ndim - 1))
    order.insert(place, result.ndim - 1)
    return transposed(result, tuple(order))


def _last(x: Variable, axis: int) -> Variable:
    return transposed(x, (*(a for a in range(x.ndim) if a != axis), axis))


@function("kron", np.kron)
def kron(x: Any, y: Any) -> Variable:
    """The Kronecker product: blocks of `y`, one for each element of `x`."""
    a, b = promoted(x, y)
    rank = max(a.ndim, b.ndim)
    left, right = ((1,) * (rank - v.ndim) + v.shape for v in (a, b))
    wide = tuple(e for extent in left for e in (extent, 1))
    narrow = tuple(e for extent in right for e in (1, extent))
    final = tuple(p * q for p, q in zip(left, right, strict=True))
    return reshaped(reshaped(a, wide) * reshaped(b, narrow), final)


# ---------------------------------------------------------------------- einsum


@function("einsum", np.einsum)
def einsum(subscripts: Any, *arrays: Any, out: Any = None, optimize: Any = None, dtype: Any = None) -> Variable:
    """Sums of products in Einstein's notation: implicit results, `...`, repeated letters, any number of operands.

    Arguments:
        subscripts: NumPy's notation, such as "ij,jk->ik".
        optimize: accepted and ignored: the cheapest order is always taken, sizes counted by their hints.

    >>> import graphad as ga
    >>> g = ga.Graph("demo")
    >>> a, b = g.input("a", shape=("n", 3)), g.input("b", shape=(3, "m"))
    >>> np.einsum("ij,jk->k", a, b).shape, np.einsum("ij,ij", a, a).shape, np.einsum("...i->...", a).shape
    ((m,), (), (n,))
    """
    refuse("einsum", out=out, dtype=dtype)
    if not isinstance(subscripts, str):
        raise ArgumentError(describe("`einsum` takes its subscripts as text first", got=repr(subscripts)))
    values = promoted(*arrays)
    letters, result = parse(subscripts, values)
    terms = [_once(Term(value, text), subscripts) for value, text in zip(values, letters, strict=True)]
    _check_letters(subscripts, terms)
    return _finished(terms, result)


def parse(subscripts: str, values: Sequence[Variable]) -> tuple[list[str], str]:
    """The letters of each operand and of the result, with letters of their own for the axes behind `...`."""
    text = subscripts.replace(" ", "")
    inputs, arrow, result = text.partition("->")
    operands = inputs.split(",")
    graph = values[0]
    if len(operands) != len(values):
        got = f"{len(operands)} terms for {len(values)} operands"
        raise wrong_shape(graph, f'`einsum("{subscripts}")`: one term for each operand', got=got)
    plain = "".join(operands).replace("...", "")
    if not all(c.isascii() and c.isalpha() for c in plain + result.replace("...", "")):
        raise wrong_shape(graph, f'`einsum("{subscripts}")` can not be read', expected="letters, commas, ... and ->")
    hidden = [v.ndim - len(o.replace("...", "")) for o, v in zip(operands, values, strict=True)]
    for letters, value, rest in zip(operands, values, hidden, strict=True):
        if rest < 0 or (rest > 0 and "..." not in letters):
            problem = f'`einsum("{subscripts}")`: `{letters}` does not name the axes of an operand'
            raise wrong_shape(value, problem, got=str(value.type))
    most = max((h for o, h in zip(operands, hidden, strict=True) if "..." in o), default=0)
    dots = free_letters(plain + result, most)
    listed = [o.replace("...", dots[most - h :]) if "..." in o else o for o, h in zip(operands, hidden, strict=True)]
    if not arrow:
        return listed, dots + "".join(c for c in sorted(set(plain)) if plain.count(c) == 1)
    final = result.replace("...", dots)
    if len(set(final)) != len(final) or set(final) - set("".join(listed)) or (dots and "..." not in result):
        expected = "each letter once, from the operands, and ... where an operand has it"
        raise wrong_shape(graph, f'`einsum("{subscripts}")`: the result `{result}` is not possible', expected=expected)
    return listed, final


def _once(term: Term, subscripts: str) -> Term:
    """The diagonal over letters that an operand has more than once."""
    for letter in sorted(set(term.letters), key=term.letters.index):
        axes = tuple(i for i, c in enumerate(term.letters) if c == letter)
        if len(axes) == 1:
            continue
        value = term.value
        _check_fit(f'einsum("{subscripts}")', value, value, [(value.shape[axes[0]], value.shape[a]) for a in axes[1:]])
        counter = iota(value.graph, value.shape[axes[0]])
        picked = gathered(value, (counter,) * len(axes), axes)
        term = Term(picked, letter + "".join(c for c in term.letters if c != letter))
    return term


def _check_letters(subscripts: str, terms: Sequence[Term]) -> None:
    known: dict[str, tuple[Extent, Variable]] = {}
    for term in terms:
        for letter, extent in zip(term.letters, term.value.shape, strict=True):
            before, owner = known.setdefault(letter, (extent, term.value))
            if 1 not in (before, extent):
                _check_fit(f'einsum("{subscripts}")', owner, term.value, [(before, extent)])
            if before == 1:
                known[letter] = (extent, term.value)


def _finished(terms: Sequence[Term], out: str) -> Variable:
    """The product of all terms in the cheapest order, its axes in the order of `out`."""
    if len(terms) == 1:
        (only,) = terms
        term = _summed_alone(only, Term(only.value, ""), out)
        return aligned(term, out)
    extents = _numbers(terms)
    tree = _cheapest(terms, out, extents) if len(terms) <= EXACT else _greedy(terms, out, extents)
    product = _multiply_out(tree, terms, out)
    shape = tuple(_widest(terms, letter) for letter in out)
    return stretched(aligned(product, out), shape)


def _widest(terms: Sequence[Term], letter: str) -> Extent:
    """The extent of a letter: literal where some term has it literal; 1 only where all have."""
    found = [t.value.shape[t.letters.index(letter)] for t in terms if letter in t.letters]
    wide = [e for e in found if e != 1]
    return next((e for e in wide if isinstance(e, int)), wide[0]) if wide else 1


def _numbers(terms: Sequence[Term]) -> dict[str, int]:
    graph: Graph = terms[0].value.graph
    names = sorted({n for t in terms for e in t.value.shape for n in sizes.names(e)})
    typical = {name: graph.hints.get(name, TYPICAL) for name in names}
    numbers: dict[str, int] = {}
    for term in terms:
        for letter, extent in zip(term.letters, term.value.shape, strict=True):
            numbers[letter] = max(numbers.get(letter, 0), sizes.evaluate(extent, typical))
    return numbers


def _kept(letters: frozenset[str], others: Iterable[frozenset[str]], out: str) -> frozenset[str]:
    """The letters of a product that are still needed."""
    return letters & frozenset(out).union(*others)


def _flops(letters: frozenset[str], extents: dict[str, int]) -> int:
    return reduce(operator.mul, (extents[c] for c in sorted(letters)), 1)


def _cheapest(terms: Sequence[Term], out: str, extents: dict[str, int]) -> Any:
    """The order with the fewest multiplications: dynamic programming over subsets of operands."""
    own = [frozenset(t.letters) for t in terms]
    everything = (1 << len(terms)) - 1
    best: dict[int, tuple[int, Any, frozenset[str]]] = {1 << i: (0, i, own[i]) for i in range(len(terms))}
    for subset in sorted(range(1, everything + 1), key=lambda s: (s.bit_count(), s)):
        if subset in best:
            continue
        outside = [own[i] for i in range(len(terms)) if not subset >> i & 1]
        part = (subset - 1) & subset
        while part > subset ^ part:
            (cost_a, tree_a, a), (cost_b, tree_b, b) = best[part], best[subset ^ part]
            cost = cost_a + cost_b + _flops(a | b, extents)
            if subset not in best or cost < best[subset][0]:
                best[subset] = (cost, (tree_b, tree_a), _kept(a | b, outside, out))
            part = (part - 1) & subset
    return best[everything][1]


def _greedy(terms: Sequence[Term], out: str, extents: dict[str, int]) -> Any:
    """Pair by pair, always the cheapest product next; ties go to the first pair."""
    open_: list[tuple[Any, frozenset[str]]] = [(i, frozenset(t.letters)) for i, t in enumerate(terms)]
    while len(open_) > 1:
        pairs = [(_flops(open_[i][1] | open_[j][1], extents), i, j) for j in range(len(open_)) for i in range(j)]
        _, i, j = min(pairs)
        outside = [letters for k, (_, letters) in enumerate(open_) if k not in (i, j)]
        merged = ((open_[i][0], open_[j][0]), _kept(open_[i][1] | open_[j][1], outside, out))
        open_ = [entry for k, entry in enumerate(open_) if k not in (i, j)] + [merged]
    return open_[0][0]


def _multiply_out(tree: Any, terms: Sequence[Term], out: str) -> Term:
    """The product in the order of a tree of operand numbers."""

    def build(node: Any) -> tuple[Term, frozenset[int]]:
        if isinstance(node, int):
            return terms[node], frozenset({node})
        (a, left), (b, right) = build(node[0]), build(node[1])
        inside = left | right
        needed = out + "".join(t.letters for i, t in enumerate(terms) if i not in inside)
        both = a.letters + "".join(c for c in b.letters if c not in a.letters)
        top = out if len(inside) == len(terms) else "".join(c for c in both if c in needed)
        return multiplied(a, b, top), inside

    return build(tree)[0]
