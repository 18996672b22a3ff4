"""The memory of a loop on the tape: registers, and behind them regions for what its steps read and write.

Long loops run in chunks: a region then holds the elements of some thousand steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphad.emit.instructions import WORDS, kernel
from graphad.emit.unrolled import Ids, Unroller
from graphad.ir.types import TensorType

CHUNK = 1 << 15  # words of the regions of a loop, at most where more than one step fits
MOST_STEPS = 1 << 12  # of a chunk
MOST_INSTRUCTIONS = 1 << 23  # of a chunk where more than one step fits: some 15 ms, so that a loop can give up in time
SECONDS = 2e-9  # that an instruction takes
Array = NDArray[Any]
Moves = NDArray[np.uint64]
Types = tuple[TensorType, ...]


class Stream(NamedTuple):
    """What a loop reads or writes at its steps: an element's registers, its type, and the region of the rows."""

    ids: Ids
    kind: TensorType
    place: int


class Memory:
    """The registers and regions of one call."""

    def __init__(self, start: NDArray[np.float64]) -> None:
        self.reals = start.copy()
        self.integers = self.reals.view(np.int64)

    def words(self, kind: TensorType) -> Array:
        """All words, as numbers of a kind."""
        return self.reals if kind.is_float else self.integers

    def fill(self, places: Iterable[int], inputs: Sequence[Ids], kinds: Types, values: Sequence[Any]) -> None:
        """Set the registers of some inputs, which lie one behind the other."""
        for place in places:
            ids = inputs[place]
            if ids.size:
                first = int(ids.flat[0])
                self.words(kinds[place])[first : first + ids.size] = np.reshape(values[place], -1)

    def get(self, ids: Ids, kind: TensorType) -> Array:
        """The value of some registers."""
        return np.array(self.words(kind)[ids], kind.dtype)

    def rows(self, stream: Stream, count: int) -> Array:
        """The first rows of a region."""
        size = stream.ids.size
        return self.words(stream.kind)[stream.place : stream.place + count * size].reshape(count, size)


class Program:
    """Registers, regions and code of a loop while it is prepared."""

    def __init__(self) -> None:
        self.unroller = Unroller()
        self.regions = 0
        self._streams: list[Stream] = []

    def inputs(self, kinds: Types) -> list[Ids]:
        """Registers for inputs of some types."""
        return [self.unroller.fresh(shape_of(kind)) for kind in kinds]

    def stream(self, ids: Sequence[Ids], kinds: Types, rows: int) -> list[Stream]:
        """Regions of some rows; `placed` moves them behind the registers."""
        found = []
        for one, kind in zip(ids, kinds, strict=True):
            found.append(Stream(one, kind, self.regions))
            self.regions += rows * one.size
        return found

    def placed(self, streams: Sequence[Stream]) -> list[Stream]:
        """Streams behind the registers, of which there must be no more."""
        return [s._replace(place=s.place + self.unroller.count) for s in streams]

    def carried(self, results: Sequence[Ids], inputs: Sequence[Ids]) -> list[tuple[Ids, Ids]]:
        """The moves from results to the inputs of the next step; results that are inputs themselves are put aside."""
        taken = np.concatenate([ids.reshape(-1) for ids in inputs]) if inputs else np.zeros(0, np.int64)
        first, then = [], []
        for result, target in zip(results, inputs, strict=True):
            flat, goal = result.reshape(-1), target.reshape(-1)
            if np.array_equal(flat, goal):
                continue
            if np.isin(flat, taken).any():
                aside = self.unroller.fresh(flat.shape)
                first.append((flat, aside))
                flat = aside
            then.append((flat, goal))
        return first + then

    def start(self) -> NDArray[np.float64]:
        """The memory before a call."""
        words = np.zeros(self.unroller.count + self.regions)
        bits = words.view(np.int64)
        for register, value in self.unroller.start.items():
            bits[register] = value
        return words


def moves(reads: Sequence[Stream], writes: Sequence[Stream], between: Sequence[tuple[Ids, Ids]] = ()) -> Moves:
    """Rows of a table: from which word, how much further for each row of a region, to which word, how much further."""
    blocks = [_moved(s.place + np.arange(s.ids.size), s.ids.size, s.ids.reshape(-1), 0) for s in reads]
    blocks += [_moved(s.ids.reshape(-1), 0, s.place + np.arange(s.ids.size), s.ids.size) for s in writes]
    blocks += [_moved(source, 0, target, 0) for source, target in between]
    return np.ascontiguousarray(np.concatenate([np.zeros((0, 4), np.uint64), *blocks]), np.uint64)


def _moved(source: Ids, each: int, target: Ids, other: int) -> Moves:
    table = np.empty((len(source), 4), np.uint64)
    table[:, 0], table[:, 1], table[:, 2], table[:, 3] = source, each, target, other
    return table


def shape_of(kind: TensorType) -> tuple[int, ...]:
    """A shape that is all integers."""
    return tuple([int(str(extent)) for extent in kind.shape])


def steps_at_once(words: int, instructions: int) -> int:
    """How many steps a chunk has whose regions take some words for each, and the code some instructions."""
    return max(1, min(MOST_STEPS, CHUNK // max(1, words), MOST_INSTRUCTIONS // max(1, instructions)))


class Section(NamedTuple):
    """Code with what is moved before and after it."""

    code: NDArray[np.uint32]
    before: Moves
    after: Moves

    @property
    def seconds(self) -> float:
        """About how long a round takes."""
        return SECONDS * (len(self.code) / WORDS + len(self.before) + len(self.after))


class LoopTape:
    """What all loops on the tape share; they may be called from several threads at once.

    Arguments:
        program: what is prepared; once that is done `_finish` is called.
    """

    def __init__(self) -> None:
        self.program = Program()
        self._idle: list[Memory] = []

    @property
    def level(self) -> int:
        """The kernel that it needs."""
        return self.program.unroller.level

    def _finish(self) -> None:
        self._start = self.program.start()

    def _memory(self) -> Memory:
        try:
            return self._idle.pop()
        except IndexError:
            return Memory(self._start)

    def _done(self, memory: Memory) -> None:
        if not self._idle:
            self._idle.append(memory)

    def _run(self, memory: Memory, section: Section, row: int, direction: int, rounds: int) -> int:
        run = kernel(self.level)
        reals, integers = memory.reals, memory.integers
        return int(run(section.code, reals, integers, section.before, section.after, row, direction, rounds))
