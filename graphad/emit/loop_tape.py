"""Loops that the kernel of the tape runs: `function(*operands) -> results`, as the references of the operations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphad.emit.loop_memory import MOST_STEPS, Array, LoopTape, Memory, Section, moves, shape_of, steps_at_once
from graphad.ir.bodies import input_types, output_types
from graphad.ir.graph import Graph
from graphad.ops.listening import Progress, backwards, loop_done, step_done
from graphad.ops.schedules import actions
from graphad.ops.sweep import carry_step


class ScanTape(LoopTape):
    """A `scan`.

    >>> import graphad as ga
    >>> g = ga.Graph("sum")
    >>> g.output("new", g.input("sum") + g.input("x"))
    >>> ScanTape(g.freeze(), 1, 1, 3, False)(0.5, np.array([1.0, 2.0, 3.0]))
    (array(6.5),)
    """

    def __init__(
        self, body: Graph, carries: int, xs: int, length: int, reverse: bool, checkpoint: Any = None,
        progress: Progress | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.carries, self.xs, self.length, self.reverse, self.progress = carries, xs, length, reverse, progress
        program, self.kinds, results = self.program, input_types(body), output_types(body)
        self.inputs = program.inputs(self.kinds)
        answer = program.unroller.run(body, self.inputs)
        back = program.carried(answer[:carries], self.inputs[:carries])
        elements = slice(carries, carries + xs)
        self.chunk = steps_at_once(sum(ids.size for ids in (*self.inputs[elements], *answer[carries:])))
        rows = min(length, self.chunk)
        reads = program.stream(self.inputs[elements], self.kinds[elements], rows)
        writes = program.stream(answer[carries:], results[carries:], rows)
        self.reads, self.writes = program.placed(reads), program.placed(writes)
        self.section = Section(program.unroller.code(), moves(self.reads, []), moves([], self.writes, back))
        self._finish()

    def __call__(self, *arrays: Any) -> tuple[Any, ...]:
        """Chunk by chunk."""
        carries, end = self.carries, self.carries + self.xs
        memory = self._memory()
        kept = [*range(carries), *range(end, len(arrays))]
        memory.fill(kept, self.inputs, self.kinds, arrays)
        ys = [np.empty((self.length, *shape_of(s.kind)), s.kind.dtype) for s in self.writes]
        done = 0
        while done < self.length:
            rows = min(self.chunk, self.length - done, _until_told(self.progress, done))
            first = self.length - done - rows if self.reverse else done
            for stream, x in zip(self.reads, arrays[carries:end], strict=True):
                memory.rows(stream, rows)[...] = x[first : first + rows].reshape(rows, stream.ids.size)
            self._run(memory, self.section, rows - 1 if self.reverse else 0, -1 if self.reverse else 1, rows)
            for stream, y in zip(self.writes, ys, strict=True):
                y[first : first + rows] = memory.rows(stream, rows).reshape((rows, *y.shape[1:]))
            done += rows
            step_done(self.progress, done, self.length)
        state = [memory.get(ids, kind) for ids, kind in zip(self.inputs[:carries], self.kinds, strict=False)]
        self._done(memory)
        return (*state, *ys)


def _until_told(progress: Progress | None, done: int) -> int:
    """How many steps a loop runs before it has something to tell."""
    return MOST_STEPS if progress is None else progress[1] - done % progress[1]


class WhileTape(LoopTape):
    """A `while_loop`; its states before each step can be recorded."""

    def __init__(
        self, test: Graph, body: Graph, carries: int, progress: Progress | None = None, recorded: bool = False
    ) -> None:
        super().__init__()
        self.carries, self.progress = carries, progress
        program, self.kinds = self.program, input_types(body)
        self.inputs = program.inputs(self.kinds)
        program.unroller.test(program.unroller.run(test, self.inputs)[0])
        answer = program.unroller.run(body, self.inputs)
        back = program.carried(answer, self.inputs[:carries])
        states = self.inputs[:carries] if recorded else []
        self.chunk = steps_at_once(sum(ids.size for ids in states))
        self.states = program.placed(program.stream(states, self.kinds[: len(states)], self.chunk))
        self.section = Section(program.unroller.code(), moves([], self.states), moves([], [], back))
        self._finish()

    def __call__(self, *arrays: Any) -> tuple[Any, ...]:
        """Chunk by chunk, until the test fails."""
        return self.run(arrays, lambda memory, steps: None)

    def run(self, arrays: Sequence[Any], record: Callable[[Memory, int], None]) -> tuple[Any, ...]:
        """The final state; `record` is called after each chunk with the number of its steps."""
        memory = self._memory()
        memory.fill(range(len(arrays)), self.inputs, self.kinds, arrays)
        trips = 0
        while True:
            rounds = min(self.chunk, _until_told(self.progress, trips))
            done = self._run(memory, self.section, 0, 1, rounds)
            record(memory, done)
            trips += done
            if done < rounds:
                break
            step_done(self.progress, trips, None)
        loop_done(self.progress, trips)
        state = [memory.get(ids, kind) for ids, kind in zip(self.inputs[: self.carries], self.kinds, strict=False)]
        self._done(memory)
        return tuple(state)


class Chunk(NamedTuple):
    """The states before some steps, for each carry a row for each step."""

    steps: int
    rows: list[Array]


class WhileAdjointTape:
    """A `while_adjoint`: forward with every state on a tape, then back along it."""

    def __init__(
        self, test: Graph, body: Graph, adjoint: Graph, carries: int, wrt_carries: tuple[int, ...],
        wrt_constants: tuple[int, ...], progress: Progress | None = None,
    ) -> None:  # fmt: skip
        self.forward = WhileTape(test, body, carries, progress, recorded=True)
        self.carries, self.progress = carries, progress
        self.back = _AdjointSteps(adjoint, carries, len(body.inputs), self.forward.chunk)

    @property
    def level(self) -> int:
        """The kernel that it needs."""
        return max(self.forward.level, self.back.level)

    def __call__(self, *arrays: Any) -> tuple[Any, ...]:
        """Both ways."""
        chunks: list[Chunk] = []

        def record(memory: Memory, steps: int) -> None:
            chunks.append(Chunk(steps, [memory.rows(stream, steps).copy() for stream in self.forward.states]))

        self.forward.run(arrays[: len(self.forward.inputs)], record)
        return self.back.run(arrays, chunks, self.progress)


class _AdjointSteps(LoopTape):
    """The adjoint steps of a `while_loop` from its recorded states."""

    def __init__(self, adjoint: Graph, carries: int, count: int, chunk: int) -> None:
        super().__init__()
        self.carries, self.first = carries, count
        program, self.kinds = self.program, input_types(adjoint)
        self.inputs = program.inputs(self.kinds)
        answer = program.unroller.run(adjoint, self.inputs)
        back = program.carried(answer, self.inputs[count:])
        self.states = program.placed(program.stream(self.inputs[:carries], self.kinds[:carries], chunk))
        self.section = Section(program.unroller.code(), moves(self.states, []), moves([], [], back))
        self._finish()

    def run(self, arrays: Sequence[Any], chunks: list[Chunk], progress: Progress | None) -> tuple[Any, ...]:
        """The cotangents after all steps."""
        memory, total, done = self._memory(), sum(chunk.steps for chunk in chunks), 0
        memory.fill(range(self.carries, len(arrays)), self.inputs, self.kinds, arrays)
        while chunks:
            left, rows = chunks.pop()
            for stream, states in zip(self.states, rows, strict=True):
                memory.rows(stream, left)[...] = states
            while left:
                steps = min(left, _until_told(progress, done))
                self._run(memory, self.section, left - 1, -1, steps)
                left, done = left - steps, done + steps
                step_done(backwards(progress), done, total)
        pairs = zip(self.inputs[self.first :], self.kinds[self.first :], strict=True)
        results = tuple([memory.get(ids, kind) for ids, kind in pairs])
        self._done(memory)
        return results


class ScanAdjointTape(LoopTape):
    """A `scan_adjoint`: the actions of its schedule, stretches of steps at once."""

    def __init__(
        self, body: Graph, adjoint: Graph, carries: int, xs: int, length: int, reverse: bool, schedule: Any,
        wrt_carries: tuple[int, ...], of_ys: tuple[int, ...], wrt_xs: tuple[int, ...], wrt_constants: tuple[int, ...],
        progress: Progress | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.carries, self.length, self.reverse, self.schedule = carries, length, reverse, schedule
        self.progress, self.kinds = progress, input_types(adjoint)
        program, before = self.program, self.program.unroller.count
        self.inputs = program.inputs(self.kinds)
        self.state = slice(before, before + sum(ids.size for ids in self.inputs[:carries]))
        count, first = len(body.inputs), len(wrt_carries)
        ends = count + first, count + first + len(of_ys)
        self.stacked = [*range(carries, carries + xs), *range(ends[0], ends[1])]
        self.seeds = [*range(count, ends[0]), *range(ends[1], len(self.inputs))]
        self.ends = first, len(wrt_xs)
        step = program.unroller.run(carry_step(body, carries), self.inputs[:count]) if carries else []
        forward, ahead = program.unroller.code(), program.carried(step, self.inputs[:carries])
        answer = program.unroller.run(adjoint, self.inputs)
        answers = [*answer[:first], *answer[first + len(wrt_xs) :]]
        back = program.carried(answers, [self.inputs[k] for k in self.seeds])
        code = program.unroller.code()
        elements = [self.inputs[k] for k in self.stacked], tuple([self.kinds[k] for k in self.stacked])
        reads = program.stream(*elements, length)
        middle = slice(first, first + len(wrt_xs))
        writes = program.stream(answer[middle], output_types(adjoint)[middle], length)
        self.reads, self.writes = program.placed(reads), program.placed(writes)
        self.forward = Section(forward, moves(self.reads[:xs], []), moves([], [], ahead))
        self.back = Section(code, moves(self.reads, []), moves([], self.writes, back))
        self._finish()

    def __call__(self, *arrays: Any) -> tuple[Any, ...]:
        """The actions one after the other; states are copies of the registers of the carries."""
        memory, length = self._memory(), self.length
        kept = [k for k in range(len(arrays)) if k not in self.stacked]
        memory.fill(kept, self.inputs, self.kinds, arrays)
        for stream, k in zip(self.reads, self.stacked, strict=True):
            memory.rows(stream, length)[...] = np.reshape(arrays[k], (length, stream.ids.size))
        state = memory.integers[self.state]
        direction = -1 if self.reverse else 1
        stored: dict[int, Array] = {}
        done = 0
        for kind, number, count in self._stretches():
            place = length - 1 - number if self.reverse else number
            if kind == "store":
                stored[number] = state.copy()
            elif kind == "load":
                state[...] = stored[number]
            elif kind == "drop":
                del stored[number]
            elif kind == "advance":
                self._run(memory, self.forward, place, direction, count)
            else:
                self._run(memory, self.back, place, direction, 1)
                done += 1
                step_done(backwards(self.progress), done, length)
        results = self._results(memory)
        self._done(memory)
        return results

    def _stretches(self) -> Iterable[tuple[str, int, int]]:
        """The actions, steps that follow one another as one."""
        first = count = 0
        for kind, number in actions(self.schedule, self.length):
            if kind == "advance" and count and number == first + count:
                count += 1
                continue
            if count:
                yield "advance", first, count
                count = 0
            if kind == "advance":
                first, count = number, 1
            else:
                yield kind, number, 1

    def _results(self, memory: Memory) -> tuple[Any, ...]:
        seeds = [memory.get(self.inputs[k], self.kinds[k]) for k in self.seeds]
        ys = [
            memory.rows(s, self.length).reshape((self.length, *shape_of(s.kind))).astype(s.kind.dtype)
            for s in self.writes
        ]
        cotangents = seeds[: self.ends[0]]
        return (*cotangents, *ys, *seeds[self.ends[0] :])


TAPES: Mapping[str, Callable[..., Any]] = {
    "scan": ScanTape, "while_loop": WhileTape, "scan_adjoint": ScanAdjointTape, "while_adjoint": WhileAdjointTape,
}  # fmt: skip
"""What prepares a loop, by operation, from the operation's parameters."""
