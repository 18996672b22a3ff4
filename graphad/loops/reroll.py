"""Straight code cut into parts: repeated stretches become loops, the rest blocks of bounded length.

A stretch repeats where the same instructions come again and again, each with operands of the same kind: an operand is
computed in the same round, or in the round before, or is read from memory at a place given by the round. Results that
are needed elsewhere get a slot of the frame, those of a loop a run of slots, one for each round. So places are linear
in the round wherever the program was written as a loop; otherwise a table holds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from graphad.loops.straight import Code

BLOCK = 1000  # instructions of one function: the cost of LLVM is more than linear in its length
FEWEST_ROUNDS = 8
WINDOWS = (4, 16, 64, 256)  # lengths by which repetition is looked for
SMALLEST_GAIN = 64  # instructions that a loop must save
MOST_OPERANDS = 3
TRIMMINGS = 8
MOST_ROUNDS_BACK = 4
MOST_TRIMMED = 3  # rounds at either end of a loop, each time

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """Instructions `start` to `start + period·rounds`, `period` of them in each round; a block has one round."""

    start: int
    period: int
    rounds: int = 1

    @property
    def stop(self) -> int:
        """The instruction after the last."""
        return self.start + self.period * self.rounds


@dataclass(frozen=True)
class Plan:
    """A cut program.

    Arguments:
        parts: in order, covering all instructions.
        slots: for each instruction its slot, -1 where no other part or round needs the result.
        size: of the frame; it begins with the scalar arguments and the addresses of the array arguments.
        units: for each instruction a number that is the same within a block or a round.
        runs: for each wanted sequence of results the slot of its first element and the step to the next.
        copies: sequences that have to be brought together: where the copy begins, and the slots of the elements.
        carried: for each instruction and operand of a loop how many rounds before it was computed; 0 for all others.
    """

    parts: tuple[Part, ...]
    slots: Integers
    size: int
    units: Integers
    operands: Integers
    carried: Integers
    runs: tuple[tuple[int, int], ...] = ()
    copies: tuple[tuple[int, Integers], ...] = ()

    def slot(self, instruction: int) -> int:
        """The slot of an instruction's result."""
        return int(self.slots[instruction])


def plan_program(code: Code, scalars: list[bool], results: list[int], sequences: Sequence[Sequence[int]] = ()) -> Plan:
    """Cut a program.

    Arguments:
        scalars: for each argument whether it is one number, not an array.
        results: the instructions whose results are read outside.
        sequences: instructions whose results are read as arrays.
    """
    count = len(code.names)
    operands, kinds = _tables(code, scalars)
    parts = _parts(_signatures(code, kinds), operands, kinds)
    units = np.zeros(count, np.int64)
    for part in parts:
        units[part.start : part.stop] = part.start + np.arange(part.period * part.rounds) // part.period
    carried = np.zeros(operands.shape, np.int64)
    for part in parts:
        if part.rounds > 1:
            _carry(part, operands, kinds, carried)
    wanted = [*results, *(i for sequence in sequences for i in sequence)]
    slots, size = _slots(parts, operands, kinds, units, carried, wanted, len(scalars))
    runs: list[tuple[int, int]] = []
    copies: list[tuple[int, Integers]] = []
    for sequence in sequences:
        places = slots[list(sequence)]
        run = linear(places)
        if run is None:
            run = (size, 1)
            copies.append((size, places))
            size += len(places)
        runs.append(run)
    return Plan(tuple(parts), slots, size, units, operands, carried, tuple(runs), tuple(copies))


# Kinds of operands: none, a value (an instruction's result or a scalar argument), a constant, then arrays by argument.
NONE, VALUE, CONSTANT, ARRAY = 0, 1, 2, 3


def _tables(code: Code, scalars: list[bool]) -> tuple[Integers, Integers]:
    """Operands in a table, three to an instruction, and their kinds; leaf k is -1-k."""
    leaf_kinds = [
        CONSTANT if isinstance(leaf, float) else VALUE if scalars[leaf[0]] else ARRAY + leaf[0] for leaf in code.leaves
    ]
    count = len(code.names)
    operands = np.zeros((count, MOST_OPERANDS), np.int64)
    lengths = np.fromiter(map(len, code.operands), np.int64, count)
    flat = np.fromiter((o for operand in code.operands for o in operand), np.int64, int(lengths.sum()))
    filled = np.arange(MOST_OPERANDS) < lengths[:, None]
    operands[filled] = flat
    table = np.array([*leaf_kinds, VALUE], np.int64)
    kinds = np.where(operands >= 0, VALUE, table[np.clip(-1 - operands, 0, len(leaf_kinds))])
    kinds[~filled] = NONE
    return operands, kinds


def _signatures(code: Code, kinds: Integers) -> Integers:
    """One number for each instruction: its name and the kinds of its operands."""
    numbers: dict[str, int] = {}
    names = np.fromiter((numbers.setdefault(n, len(numbers)) for n in code.names), np.int64, len(code.names))
    rows = np.column_stack([names, kinds])
    return np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


# ---------------------------------------------------------------------- finding repetition


def _parts(signatures: Integers, operands: Integers, kinds: Integers) -> list[Part]:
    loops: list[Part] = []
    taken = np.zeros(len(signatures), bool)
    for start, period, length in _candidates(signatures):
        free = _free(taken, start, start + length)
        loop = _loop(free[0], period, free[1] - free[0], operands, kinds)
        if loop is not None:
            loops.append(loop)
            taken[loop.start : loop.stop] = True
    parts: list[Part] = []
    at = 0
    for loop in [*_trimmed(sorted(loops, key=lambda p: p.start), operands, kinds), Part(len(signatures), 0)]:
        while at < loop.start:
            length = min(BLOCK, loop.start - at)
            parts.append(Part(at, length))
            at += length
        if loop.period:
            parts.append(loop)
            at = loop.stop
    return parts


def _candidates(signatures: Integers) -> list[tuple[int, int, int]]:
    """Start, period and length of periodic stretches, the longest first, the shorter period first."""
    found: list[tuple[int, int, int]] = []
    for window in WINDOWS:
        if len(signatures) < 2 * window:
            break
        gaps = _gaps(signatures, window)
        edges = np.flatnonzero(np.diff(gaps, prepend=-1, append=-1))
        starts, lengths, periods = edges[:-1], np.diff(edges), gaps[edges[:-1]]
        long = (periods > 0) & (lengths + periods + window - 1 >= FEWEST_ROUNDS * periods)
        found.extend(
            (int(s), int(p), int(n + p + window - 1))
            for s, n, p in zip(starts[long], lengths[long], periods[long], strict=True)
        )
    kept = [c for c in found if c[2] - c[1] >= SMALLEST_GAIN]
    return sorted(kept, key=lambda c: (-c[2], c[1], c[0]))


def _gaps(signatures: Integers, window: int) -> Integers:
    """For each place the distance to the next place where the same `window` signatures begin, 0 where there is none."""
    hashes = signatures.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(1)
    length = 1
    while length < window:  # doubling: the hash of 2n signatures from the hashes of n and n
        hashes = (hashes[:-length] * np.uint64(0xBF58476D1CE4E5B9)) ^ (hashes[length:] + np.uint64(length))
        hashes ^= hashes >> np.uint64(29)
        length *= 2
    order = np.argsort(hashes, kind="stable")
    same = hashes[order[1:]] == hashes[order[:-1]]
    gaps = np.zeros(len(hashes), np.int64)
    gaps[order[:-1][same]] = (order[1:] - order[:-1])[same]
    return gaps


def _free(taken: NDArray[np.bool_], start: int, stop: int) -> tuple[int, int]:
    """The longest part of an interval that is not taken."""
    busy = np.flatnonzero(taken[start:stop])
    edges = np.concatenate([[-1], busy, [stop - start]])
    widest = int(np.argmax(np.diff(edges)))
    return start + int(edges[widest]) + 1, start + int(edges[widest + 1])


def _loop(start: int, period: int, length: int, operands: Integers, kinds: Integers) -> Part | None:
    """The longest loop in a periodic stretch: rounds whose operands come from their own round alike."""
    start += _phase(start, period, length, operands, kinds)
    rounds = length // period - 1
    if rounds < FEWEST_ROUNDS:
        return None
    shape = (rounds, period, MOST_OPERANDS)
    stop = start + rounds * period
    first = (start + period * np.arange(rounds))[:, None, None]
    relative = operands[start:stop].reshape(shape) - first
    local = (relative >= 0) & (kinds[start:stop].reshape(shape) == VALUE)
    middle = rounds // 2
    alike = (local == local[middle]) & (~local | (relative == relative[middle]))
    good = alike.all(axis=(1, 2))
    edges = np.flatnonzero(np.diff(np.concatenate([[False], good, [False]])))
    if not len(edges):
        return None
    widest = int(np.argmax(edges[1::2] - edges[::2]))
    begin, end = int(edges[2 * widest]), int(edges[2 * widest + 1])
    if end - begin < FEWEST_ROUNDS or (end - begin - 1) * period < SMALLEST_GAIN:
        return None
    return Part(start + begin * period, period, end - begin)


def _trimmed(loops: list[Part], operands: Integers, kinds: Integers) -> list[Part]:
    """The loops without the few rounds at their ends that keep places from being linear in the round.

    What one loop loses is no longer a place of that loop for the others, so this is repeated.
    """
    for _ in range(TRIMMINGS):
        homes = -2 - np.arange(len(operands))
        for number, loop in enumerate(loops):
            places = number * 2**32 + np.arange(loop.period)
            homes[loop.start : loop.stop] = np.tile(places, loop.rounds)
        shorter = [_ends_cut(loop, operands, kinds, homes) for loop in loops]
        if shorter == loops:
            break
        loops = shorter
    return loops


def _ends_cut(loop: Part, operands: Integers, kinds: Integers, homes: Integers) -> Part:
    """A loop without first and last rounds that read elsewhere than the others; never more than a few."""
    shape = (loop.rounds, loop.period, MOST_OPERANDS)
    own = operands[loop.start : loop.stop].reshape(shape)
    value = (kinds[loop.start : loop.stop].reshape(shape) == VALUE).all(axis=0)
    relative = own - (loop.start + loop.period * np.arange(loop.rounds))[:, None, None]
    handed = _distances(relative, loop.period) > 0  # handed over from round to round, wherever that began
    local = relative[loop.rounds // 2] >= 0
    columns = own[:, value & ~handed & ~local]
    if not columns.shape[1]:
        return loop
    home = np.where(columns >= 0, homes[columns], -1)
    middle = loop.rounds // 2
    steps = np.diff(columns, axis=0)
    bad = (home[1:] != home[:-1]) | (steps != steps[middle])
    near = np.zeros(len(bad), bool)
    near[:MOST_TRIMMED], near[len(bad) - MOST_TRIMMED :] = True, True
    counted = bad[:, ~bad[~near].any(axis=0)].any(axis=1)  # a place that jumps in the middle needs a table anyway
    lead = int(np.max(np.flatnonzero(counted[:MOST_TRIMMED]), initial=-1)) + 1
    tail = int(np.max(np.flatnonzero(counted[::-1][:MOST_TRIMMED]), initial=-1)) + 1
    rounds = loop.rounds - lead - tail
    return Part(loop.start + lead * loop.period, loop.period, rounds) if rounds >= FEWEST_ROUNDS else loop


def _phase(start: int, period: int, length: int, operands: Integers, kinds: Integers) -> int:
    """Where rounds should begin so that few operands come from the round before."""
    if period > BLOCK or length < period:
        return 0
    middle = start + (length // period // 2) * period
    places = np.arange(period)
    distance = (middle + places)[:, None] - operands[middle : middle + period]
    near = (kinds[middle : middle + period] == VALUE) & (distance < period) & (distance > 0)
    place, back = np.broadcast_to(places[:, None], near.shape)[near], distance[near]
    # An operand `back` instructions before `place` is in another round if the boundary lies in (place - back, place].
    crossed = np.zeros(period + 1, np.int64)
    low = place - back + 1
    np.add.at(crossed, np.maximum(low, 0), 1)
    np.add.at(crossed, place + 1, -1)
    wrapped = low < 0
    np.add.at(crossed, low[wrapped] + period, 1)
    np.add.at(crossed, np.full(int(wrapped.sum()), period), -1)
    return int(np.argmin(np.cumsum(crossed[:period])))


# ---------------------------------------------------------------------- values between parts


def _carry(part: Part, operands: Integers, kinds: Integers, carried: Integers) -> None:
    """Note which operands of a loop are results of a round before, and of which."""
    shape = (part.rounds, part.period, MOST_OPERANDS)
    own = operands[part.start : part.stop].reshape(shape)
    relative = own - (part.start + part.period * np.arange(part.rounds))[:, None, None]
    value = kinds[part.start : part.stop].reshape(shape)[0] == VALUE
    carried[part.start : part.stop].reshape(shape)[:] = np.where(value, _distances(relative, part.period), 0)


def _distances(relative: Integers, period: int) -> Integers:
    """How many rounds before each operand was computed, from places relative to the round; 0 where that varies."""
    usual = relative[len(relative) // 2]
    distances = np.where(usual < 0, -(usual // period), 0)
    distances[distances > MOST_ROUNDS_BACK] = 0
    for back in range(1, MOST_ROUNDS_BACK + 1):
        varies = (relative[back:] != usual).any(axis=0)
        distances[(distances == back) & varies] = 0
    return distances


def _slots(
    parts: list[Part], operands: Integers, kinds: Integers, units: Integers, carried: Integers,
    results: list[int], arguments: int,
) -> tuple[Integers, int]:  # fmt: skip
    """Slots of the instructions, and how many there are with those of the arguments."""
    needed = np.zeros(len(units), bool)
    needed[results] = True
    far = (kinds == VALUE) & (operands >= 0) & (units[operands] != units[:, None])
    handed = carried > 0
    for part in parts:
        if part.rounds > 1:  # the first rounds take their values from memory
            rows = handed[part.start : part.stop].reshape(part.rounds, part.period, MOST_OPERANDS)
            rows &= np.arange(part.rounds)[:, None, None] >= carried[part.start : part.start + part.period]
    needed[operands[far & ~handed]] = True
    slots = np.full(len(units), -1, np.int64)
    size = arguments
    for part in parts:
        wanted = needed[part.start : part.stop].reshape(part.rounds, part.period)
        for place in np.flatnonzero(wanted.any(axis=0)):
            if part.rounds > 1 and not wanted[:-1, place].any():
                slots[part.start + (part.rounds - 1) * part.period + place] = size
                size += 1
                continue
            slots[part.start + place : part.stop : part.period] = size + np.arange(part.rounds)
            size += part.rounds
    return slots, size


def linear(places: Integers) -> tuple[int, int] | None:
    """First place and step of places that are linear in the round, else None.

    >>> linear(np.array([7, 5, 3])), linear(np.array([1, 2, 4]))
    ((7, -2), None)
    """
    steps = np.diff(places)
    if len(steps) and not (steps == steps[0]).all():
        return None
    return int(places[0]), int(steps[0]) if len(steps) else 0
