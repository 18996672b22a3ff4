"""The memory of a scheduled program: what is live at each of its items, and the peak that its kernel takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from graphad.ir.sizes import evaluate, product
from graphad.loops.ir import Loop, Statement
from graphad.loops.schedule import Schedule
from graphad.loops.scratch import ITEM_SIZES, Slot, block_bytes, stacked


@dataclass(frozen=True)
class Footprint:
    """The memory of a program at some sizes.

    Arguments:
        block: bytes of the scratch block.
        results: bytes of the output arrays.
        live: for each nest or call the bytes of the arrays that are live, results included.
        items: what these are: "nest" or the name of the whole-array operation.
        around: bytes of the block without what programs inside items need.
        inside: bytes that the programs inside one item need, for the item with the most.
    """

    block: int
    results: int
    live: tuple[int, ...]
    items: tuple[str, ...]
    around: int
    inside: int

    @property
    def peak(self) -> int:
        """Bytes that a call takes besides its arguments: the block and the results."""
        return self.block + self.results


def footprint(plan: Schedule, extents: Mapping[str, int]) -> Footprint:
    """The memory of a schedule at given sizes."""
    program = plan.program
    results = sum(
        evaluate(product(v.shape), extents) * ITEM_SIZES[v.dtype] for v in program.outputs if v.shape
    )
    change = [0] * (len(program.body) + 1)
    for slot in plan.slots:
        size = evaluate(slot.bytes, extents)
        first, last, *_ = slot.life
        change[first] += size
        change[last + 1] -= size
    live = tuple(accumulate(change[:-1], initial=results))[1:]
    own = [slot for slot in plan.slots if slot.life.inner is None]
    of_item: dict[int, list[Slot]] = {}
    for slot in plan.slots:
        if slot.life.inner is not None:
            of_item.setdefault(slot.life.first, []).append(slot)
    inside = max((_packed(found, extents) for found in of_item.values()), default=0)
    around = _packed(own, extents) if of_item else block_bytes(plan.slots, extents)
    items = tuple(map(_kind, program.body))
    return Footprint(block_bytes(plan.slots, extents), results, live, items, around, inside)


def _packed(found: Sequence[Slot], extents: Mapping[str, int]) -> int:
    """The bytes of a block for some of the arrays alone."""
    return block_bytes(stacked([(slot.array, slot.bytes, slot.life) for slot in found], extents), extents)


def _kind(item: Loop | Statement) -> str:
    if isinstance(item, Statement):
        return item.operation if item.kind == "call" else "scalars"
    return "nest"
