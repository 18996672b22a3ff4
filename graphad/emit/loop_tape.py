"""Loops that the kernel of the tape runs: `function(*operands) -> results`, as the references of the operations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from graphad.emit.loop_memory import MOST_STEPS, Array, LoopTape, Memory, Section, moves, shape_of, steps_at_once
from graphad.ir.bodies import input_types, output_types
from graphad.ir.graph import Graph
from graphad.ops.listening import Progress, backwards, loop_done, step_done
from graphad.ops.patience import expect
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
        progress: Progress = (),
    ) -> None:  # fmt: skip
        super().__init__()
        self.carries, self.xs, self.length, self.reverse, self.progress = carries, xs, length, reverse, progress
        program, self.kinds, results = self.program, input_types(body), output_types(body)
        self.inputs = program.inputs(self.kinds)
        answer = program.unroller.run(body, self.inputs)
        back = program.carried(answer[:carries], self.inputs[:carries])
        elements = slice(carries, carries + xs)
        self.chunk = steps_at_once(
            sum(ids.size for ids in (*self.inputs[elements], *answer[carries:])), program.unroller.length
        )
        rows = min(length, self.chunk)
        reads = program.stream(self.inputs[elements], self.kinds[elements], rows)
        writes = program.stream(answer[carries:], results[carries:], rows)
        self.reads, self.writes = program.placed(reads), program.placed(writes)
        self.section = Section(program.unroller.code(), moves(self.reads, []), moves([], self.writes, back))
        self._finish()

    def __call__(self, *arrays: Any) -> tuple[Any, ...]:
        """Chunk by chunk."""
        expect(self.length * self.section.seconds)
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


def _until_told(progress: Progress, done: int) -> int:
    """How many steps a loop runs before it has something to tell."""
    return min([every - done % every for _, every in progress], default=MOST_STEPS)


class WhileTape(LoopTape):
    """A `while_loop`; what its steps answer behind the carries is stacked."""

    def __init__(self, test: Graph, body: Graph, carries: int, progress: Progress = ()) -> None:
        super().__init__()
        self.carries, self.progress = carries, progress
        program, self.kinds, results = self.program, input_types(body), output_types(body)
        self.inputs = program.inputs(self.kinds)
        program.unroller.test(program.unroller.run(test, self.inputs)[0])
        answer = program.unroller.run(body, self.inputs)
        back = program.carried(answer[:carries], self.inputs[:carries])
        self.chunk = steps_at_once(sum(ids.size for ids in answer[carries:]), program.unroller.length)
        self.writes = program.placed(program.stream(answer[carries:], results[carries:], self.chunk))
        self.section = Section(program.unroller.code(), moves([], []), moves([], self.writes, back))
        self._finish()

    def __call__(self, *arrays: Any) -> tuple[Any, ...]:
        """Chunk by chunk, until the test fails."""
        memory = self._memory()
        memory.fill(range(len(arrays)), self.inputs, self.kinds, arrays)
        found: list[list[Array]] = [[] for _ in self.writes]
        trips = 0
        while True:
            rounds = min(self.chunk, _until_told(self.progress, trips))
            done = self._run(memory, self.section, 0, 1, rounds)
            for stream, chunks in zip(self.writes, found, strict=True):
                chunks.append(memory.rows(stream, done).astype(stream.kind.dtype))
            trips += done
            if done < rounds:
                break
            step_done(self.progress, trips, None)
        loop_done(self.progress, trips)
        state = [memory.get(ids, kind) for ids, kind in zip(self.inputs[: self.carries], self.kinds, strict=False)]
        self._done(memory)
        pairs = zip(self.writes, found, strict=True)
        return (*state, *[np.concatenate(chunks).reshape((trips, *shape_of(s.kind))) for s, chunks in pairs])


class UnwindTape(LoopTape):
    """An `unwind`: from the last of what a `while_loop` has stacked to the first."""

    def __init__(self, body: Graph, carries: int, xs: int, progress: Progress = ()) -> None:
        super().__init__()
        self.carries, self.xs, self.progress = carries, xs, progress
        program, self.kinds = self.program, input_types(body)
        self.inputs = program.inputs(self.kinds)
        answer = program.unroller.run(body, self.inputs)
        back = program.carried(answer, self.inputs[:carries])
        elements = slice(carries, carries + xs)
        self.chunk = steps_at_once(sum(ids.size for ids in self.inputs[elements]), program.unroller.length)
        self.reads = program.placed(program.stream(self.inputs[elements], self.kinds[elements], self.chunk))
        self.section = Section(program.unroller.code(), moves(self.reads, []), moves([], [], back))
        self._finish()

    def __call__(self, *arrays: Any) -> tuple[Any, ...]:
        """Chunk by chunk."""
        carries, end = self.carries, self.carries + self.xs
        memory, total, done = self._memory(), len(arrays[carries]), 0
        expect(total * self.section.seconds)
        memory.fill([*range(carries), *range(end, len(arrays))], self.inputs, self.kinds, arrays)
        while done < total:
            rows = min(self.chunk, total - done, _until_told(self.progress, done))
            first = total - done - rows
            for stream, x in zip(self.reads, arrays[carries:end], strict=True):
                memory.rows(stream, rows)[...] = x[first : first + rows].reshape(rows, stream.ids.size)
            self._run(memory, self.section, rows - 1, -1, rows)
            done += rows
            step_done(self.progress, done, total)
        state = [memory.get(ids, kind) for ids, kind in zip(self.inputs[:carries], self.kinds, strict=False)]
        self._done(memory)
        return tuple(state)


class ScanAdjointTape(LoopTape):
    """A `scan_adjoint`: the actions of its schedule, stretches of steps at once."""

    def __init__(
        self, body: Graph, adjoint: Graph, carries: int, xs: int, length: int, reverse: bool, schedule: Any,
        wrt_carries: tuple[int, ...], of_ys: tuple[int, ...], wrt_xs: tuple[int, ...], wrt_constants: tuple[int, ...],
        progress: Progress = (),
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
        expect(length * (self.forward.seconds + self.back.seconds))
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
    "scan": ScanTape, "while_loop": WhileTape, "scan_adjoint": ScanAdjointTape, "unwind": UnwindTape,
}  # fmt: skip
"""What prepares a loop, by operation, from the operation's parameters."""
