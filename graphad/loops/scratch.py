"""Scratch memory: where the temporary arrays lie in one block; those whose lives do not overlap may share bytes.

A life is a range of items of the function's body, from the first that touches the array to the last. Arrays are placed
at the hinted sizes, the largest or the longest-lived first, each into the smallest gap in which it fits; the better of
these packings is taken. It says which arrays lie above which, so at other sizes too arrays that live at once are apart.

Reference: Y. Pisarchyk, J. Lee, Efficient memory management for deep neural net inference, arXiv:2001.03288 (2020).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from graphad.ir.sizes import Extent, Size, evaluate, names, product
from graphad.loops.axes import Axes
from graphad.loops.ir import Loop, Program, Statement, Var, walk
from graphad.loops.parallel import Parallel, Serial
from graphad.loops.place import Storage

ITEM_SIZES = {"bool": 1, "int32": 4, "float32": 4, "int64": 8, "float64": 8}


class Life(NamedTuple):
    """The first and the last item of a body that need an array.

    Arguments:
        program: for an array of a program inside the item that number; of all of its programs -1.
        inner: its life in that program.
    """

    first: int
    last: int
    program: int = -1
    inner: Life | None = None


@dataclass(frozen=True)
class Slot:
    """An array's place in the block.

    Arguments:
        array: the variable.
        bytes: of the array.
        above: the numbers of the places (earlier in the list) behind whose ends it begins; none: at the beginning.
        life: the first and the last item of the body that need it.
    """

    array: Var
    bytes: Extent
    above: tuple[int, ...]
    life: Life


def touched(statement: Statement) -> list[Var]:
    """The variables whose elements a statement reads or writes, an alias as what it stands for."""
    return [root(var) for var in statement.variables()]


def root(var: Var) -> Var:
    """The variable that owns the memory of an alias."""
    while var.alias is not None:
        var = var.alias
    return var


def lives(body: list[Loop | Statement]) -> dict[Var, tuple[int, int]]:
    """For every variable the numbers of the first and the last item that touch it."""
    found: dict[Var, tuple[int, int]] = {}
    for number, item in enumerate(body):
        for statement, _ in walk([item]):
            for var in touched(statement):
                found[var] = (found.get(var, (number, number))[0], number)
    return found


def slots(
    program: Program,
    axes: Axes,
    storage: dict[Var, Storage],
    nests: tuple[Parallel | Serial, ...] = (),
    needs: Mapping[Statement, list[tuple[int, Slot]]] | None = None,
) -> tuple[Slot, ...]:
    """The places of all arrays of the scratch block, lower ones first.

    Arguments:
        needs: the memory that calls work in, with the number of the program inside to which it belongs, -1 for all.
    """
    spans = lives(program.body)
    copied: set[Var] = set()
    for nest in nests:
        if isinstance(nest, Parallel):
            place = program.body.index(nest.loop)
            spans.update({copies: (place, place) for _, copies in (*nest.totals, *nest.private)})
            copied.update(var for var, _ in nest.private)
    pieces = [
        (v, memory_bytes(v, stored), Life(*spans[v]))
        for v, stored in storage.items()
        if stored.is_array and v.role == "temporary" and v.alias is None and v not in copied and v not in program.guests
    ]
    for number, item in enumerate(program.body):
        if isinstance(item, Statement):
            for inside, slot in (needs or {}).get(item, ()):
                pieces.append((slot.array, slot.bytes, Life(number, number, inside, slot.life)))
    hints = {name: axes.estimate(Size.name(name)) for _, length, _ in pieces for name in names(length)}
    return stacked(pieces, hints)


def stacked(pieces: Sequence[tuple[Var, Extent, Life]], hints: Mapping[str, int]) -> tuple[Slot, ...]:
    """Places for arrays of some bytes and lives, packed at the hinted sizes."""
    spans = [span for *_, span in pieces]
    offsets = packed(spans, [_lines(evaluate(length, hints)) for _, length, _ in pieces])
    order = sorted(range(len(pieces)), key=lambda k: (offsets[k], spans[k].first, k))
    place = {k: number for number, k in enumerate(order)}
    result: list[Slot] = []
    for number, k in enumerate(order):
        below = [j for j in order[:number] if together(spans[j], spans[k])]
        implied = {a for j in below for a in result[place[j]].above}
        above = tuple(place[j] for j in below if place[j] not in implied)
        result.append(Slot(*pieces[k][:2], above, spans[k]))
    return tuple(result)


def packed(spans: Sequence[Life], lengths: Sequence[int]) -> list[int]:
    """Offsets at which arrays of some lives and lengths lie apart where they live at once.

    >>> packed([Life(0, 1), Life(1, 2), Life(2, 3)], [64, 128, 64])
    [128, 0, 128]
    """
    numbers = range(len(spans))
    orders = (
        sorted(numbers, key=lambda k: (-lengths[k], spans[k].first, spans[k].last)),
        sorted(numbers, key=lambda k: (spans[k].first - spans[k].last, -lengths[k])),
        sorted(numbers, key=lambda k: (spans[k].first, -lengths[k])),
    )
    tried = [_fitted(order, spans, lengths) for order in orders]
    return min(tried, key=lambda offsets: max((offsets[k] + lengths[k] for k in numbers), default=0))


def _fitted(order: Sequence[int], spans: Sequence[Life], lengths: Sequence[int]) -> list[int]:
    """Each array in the smallest gap between those placed before that live at the same time, else above them."""
    offsets = [0] * len(spans)
    placed: list[int] = []  # by offset
    for k in order:
        end, best, gap = 0, -1, -1
        for j in placed:
            if not together(spans[j], spans[k]):
                continue
            room = offsets[j] - end
            if room >= lengths[k] and (best < 0 or room < gap):
                best, gap = end, room
            end = max(end, offsets[j] + lengths[j])
        offsets[k] = end if best < 0 else best
        placed.append(k)
        placed.sort(key=offsets.__getitem__)
    return offsets


def memory_bytes(var: Var, storage: Storage) -> Extent:
    """The bytes of a stored variable, the pieces of its unrolled dimensions one after another."""
    return product((*storage.shape(var), *(var.shape[d] for d in storage.unrolled))) * ITEM_SIZES[var.dtype]


def ends(found: Sequence[Slot], extents: Mapping[str, int]) -> list[int]:
    """For each place the byte behind its end, at given sizes."""
    result: list[int] = []
    for slot in found:
        start = max((result[k] for k in slot.above), default=0)
        result.append(start + _lines(evaluate(slot.bytes, extents)))
    return result


def block_bytes(found: Sequence[Slot], extents: Mapping[str, int]) -> int:
    """The bytes of the block at given sizes, each array in whole cache lines and one more.

    >>> from graphad.ir.sizes import Size
    >>> n = Size.name("n")
    >>> a, b = Var("a", (n,), "float64"), Var("b", (3,), "float64")
    >>> block_bytes([Slot(a, 8 * n, (), Life(0, 1)), Slot(b, 24, (0,), Life(1, 1))], {"n": 100})
    1024
    """
    return max(ends(found, extents), default=0)


def _lines(count: int) -> int:
    """Whole cache lines, and one more: equal distances modulo a page would make loads wait for stores."""
    return count + 127 & -64


def together(a: Life, b: Life) -> bool:
    """Whether two arrays are needed at the same time; programs inside an item take turns many times."""
    if a.last < b.first or b.last < a.first:
        return False
    if a.inner is None or b.inner is None or a.program != b.program:
        return True
    return together(a.inner, b.inner)
