"""Scratch memory: where the temporary arrays lie in one block; those whose lives do not overlap may share bytes.

A life is a range of items of the function's body, from the first that touches the array to the last. Arrays are placed
at the hinted sizes, the largest or the longest-lived first, each into the smallest gap in which it fits; the better of
these packings is taken. It says which arrays lie above which, so at other sizes too arrays that live at once are apart.

Reference: Y. Pisarchyk, J. Lee, Efficient memory management for deep neural net inference, arXiv:2001.03288 (2020).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graphad.ir.sizes import Extent, Size, evaluate, names, product
from graphad.loops.axes import Axes
from graphad.loops.ir import Access, Loop, Program, Statement, Var, walk
from graphad.loops.parallel import Parallel, Serial
from graphad.loops.place import Storage

ITEM_SIZES = {"bool": 1, "int32": 4, "float32": 4, "int64": 8, "float64": 8}
Life = tuple[int, int]


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
    if statement.kind == "call":
        found = [statement.out.var, *(o.var for o in statement.inputs if isinstance(o, Access))]
    else:
        found = [access.var for access in statement.accesses()]
    return [root(var) for var in found]


def root(var: Var) -> Var:
    """The variable that owns the memory of an alias."""
    while var.alias is not None:
        var = var.alias
    return var


def lives(body: list[Loop | Statement]) -> dict[Var, Life]:
    """For every variable the numbers of the first and the last item that touch it."""
    found: dict[Var, Life] = {}
    for number, item in enumerate(body):
        for statement, _ in walk([item]):
            for var in touched(statement):
                found[var] = (found.get(var, (number, number))[0], number)
    return found


def slots(
    program: Program, axes: Axes, storage: dict[Var, Storage], nests: tuple[Parallel | Serial, ...] = ()
) -> tuple[Slot, ...]:
    """The places of all arrays of the scratch block, lower ones first."""
    spans = lives(program.body)
    copied: set[Var] = set()
    for nest in nests:
        if isinstance(nest, Parallel):
            place = program.body.index(nest.loop)
            spans.update({copies: (place, place) for _, copies in (*nest.totals, *nest.private)})
            copied.update(var for var, _ in nest.private)
    arrays = [v for v, s in storage.items() if s.is_array and not v.external and v.alias is None and v not in copied]
    lengths = [memory_bytes(v, storage[v]) for v in arrays]
    hints = {name: axes.estimate(Size.name(name)) for length in lengths for name in names(length)}
    return stacked(arrays, [spans[v] for v in arrays], lengths, hints)


def stacked(
    arrays: Sequence[Var], spans: Sequence[Life], lengths: Sequence[Extent], hints: Mapping[str, int]
) -> tuple[Slot, ...]:
    """Places for arrays of some lives and bytes, packed at the hinted sizes."""
    offsets = packed(spans, [_lines(evaluate(length, hints)) for length in lengths])
    order = sorted(range(len(arrays)), key=lambda k: (offsets[k], spans[k], k))
    place = {k: number for number, k in enumerate(order)}
    result: list[Slot] = []
    for number, k in enumerate(order):
        below = [j for j in order[:number] if _together(spans[j], spans[k])]
        implied = {a for j in below for a in result[place[j]].above}
        above = tuple(place[j] for j in below if place[j] not in implied)
        result.append(Slot(arrays[k], lengths[k], above, spans[k]))
    return tuple(result)


def packed(spans: Sequence[Life], lengths: Sequence[int]) -> list[int]:
    """Offsets at which arrays of some lives and lengths lie apart where they live at once.

    >>> packed([(0, 1), (1, 2), (2, 3)], [64, 128, 64])
    [0, 64, 0]
    """
    numbers = range(len(spans))
    orders = (
        sorted(numbers, key=lambda k: (-lengths[k], spans[k])),
        sorted(numbers, key=lambda k: (spans[k][0] - spans[k][1], -lengths[k])),
        sorted(numbers, key=lambda k: (spans[k][0], -lengths[k])),
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
            if not _together(spans[j], spans[k]):
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
    >>> block_bytes([Slot(a, 8 * n, (), (0, 1)), Slot(b, 24, (0,), (1, 1))], {"n": 100})
    960
    """
    return max(ends(found, extents), default=0)


def _lines(count: int) -> int:
    """Whole cache lines, and one more: equal distances modulo a page would make loads wait for stores."""
    return count + 127 & -64


def _together(a: Life, b: Life) -> bool:
    return a[0] <= b[1] and b[0] <= a[1]
