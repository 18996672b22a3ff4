"""The memory of a scheduled program: what is live at each of its items, and the peak that its kernel takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

from graphad.ir.sizes import evaluate, product
from graphad.loops.ir import Loop, Statement
from graphad.loops.schedule import Schedule
from graphad.loops.scratch import ITEM_SIZES, block_bytes


@dataclass(frozen=True)
class Footprint:
    """The memory of a program at some sizes.

    Arguments:
        block: bytes of the scratch block.
        results: bytes of the output arrays.
        live: for each nest or call the bytes of the arrays that are live, results included.
        items: what these are: "nest" or the name of the whole-array operation.
    """

    block: int
    results: int
    live: tuple[int, ...]
    items: tuple[str, ...]

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
    return Footprint(block_bytes(plan.slots, extents), results, live, tuple(map(_kind, program.body)))


def _kind(item: Loop | Statement) -> str:
    if isinstance(item, Statement):
        return item.operation if item.kind == "call" else "scalars"
    return "nest"
