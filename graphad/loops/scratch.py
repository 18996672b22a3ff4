"""Scratch memory: where the temporary arrays lie in one block, those whose lives do not overlap in the same place.

A life is a range of items of the function's body, from the first that touches the array to the last. Slots are given
to the largest array first, at the hinted sizes; arrays of different sizes may share one, as long as the longest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from graphad.ir.sizes import Extent, evaluate, product
from graphad.loops.axes import Axes
from graphad.loops.ir import Loop, Program, Statement, Var, walk
from graphad.loops.parallel import Parallel, Serial
from graphad.loops.place import Storage

ITEM_SIZES = {"bool": 1, "int32": 4, "float32": 4, "int64": 8, "float64": 8}


@dataclass(frozen=True)
class Slot:
    """One part of the scratch block, and the arrays that lie in it one after another."""

    arrays: tuple[Var, ...]
    lengths: tuple[Extent, ...]
    """Bytes of the arrays, each length once."""


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
    needs: Mapping[Statement, list[Slot]] | None = None,
) -> tuple[Slot, ...]:
    """The parts of the scratch block, each with arrays that are never needed at once.

    Arguments:
        needs: the memory that calls work in.
    """
    spans = lives(program.body)
    copied: set[Var] = set()
    for nest in nests:
        if isinstance(nest, Parallel):
            place = program.body.index(nest.loop)
            spans.update({copies: (place, place) for _, copies in (*nest.totals, *nest.private)})
            copied.update(var for var, _ in nest.private)
    pieces = [
        (Slot((v,), (memory_bytes(v, s),)), spans[v])
        for v, s in storage.items()
        if s.is_array and v.role == "temporary" and v.alias is None and v not in copied and v not in program.guests
    ]
    for number, item in enumerate(program.body):
        if isinstance(item, Statement):
            pieces += [(slot, (number, number)) for slot in (needs or {}).get(item, ())]
    pieces.sort(key=lambda piece: -max(axes.estimate(e) for e in piece[0].lengths))
    groups: list[list[tuple[Slot, tuple[int, int]]]] = []
    for piece in pieces:
        free = (g for g in groups if all(_apart(piece[1], other[1]) for other in g))
        group = next(free, None)
        if group is None:
            groups.append([piece])
        else:
            group.append(piece)
    return tuple(_together([slot for slot, _ in group]) for group in groups)


def _together(found: list[Slot]) -> Slot:
    arrays = tuple(v for slot in found for v in slot.arrays)
    return Slot(arrays, tuple(dict.fromkeys(e for slot in found for e in slot.lengths)))


def memory_bytes(var: Var, storage: Storage) -> Extent:
    """The bytes of a stored variable, the pieces of its unrolled dimensions one after another."""
    return product((*storage.shape(var), *(var.shape[d] for d in storage.unrolled))) * ITEM_SIZES[var.dtype]


def block_bytes(found: Iterable[Slot], extents: Mapping[str, int]) -> int:
    """The bytes of the block at given sizes, each slot in whole cache lines and one more.

    >>> from graphad.ir.sizes import Size
    >>> n = Size.name("n")
    >>> block_bytes([Slot((), (8 * n, n * n)), Slot((), (24,))], {"n": 100})
    10240
    """
    return sum(max(evaluate(e, extents) for e in slot.lengths) + 127 & -64 for slot in found)


def _apart(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return a[1] < b[0] or b[1] < a[0]
