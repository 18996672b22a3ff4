"""Loops and branches as Python text, with the nests of their bodies inside.

A carried array has two places in memory, between which names go back and forth, or one where a step may write what it
has read; a carried number is a local variable. What begins in `memory` ends there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from graphad.emit import sweeps, tapes
from graphad.loops.control import Branch, Carried, Scan, Sweep, Unwind, While
from graphad.loops.ir import State, Statement, Var
from graphad.loops.place import Storage
from graphad.ops.listening import Progress

if TYPE_CHECKING:
    from graphad.emit.lines import Lines

INDENT = "    "


def lines(around: Lines, statement: Statement) -> Iterator[str]:
    """The lines of one loop or branch."""
    loop = statement.params["loop"]
    return Text(around, statement).of(loop)


def indented(found: Iterable[str]) -> Iterator[str]:
    """Lines inside a block."""
    yield from (INDENT + line for line in found)


class Text:
    """Prints one statement.

    Arguments:
        around: the program in which it stands.
        statement: the loop or branch; `bodies` are the programs inside.
    """

    def __init__(self, around: Lines, statement: Statement) -> None:
        self.around, self.statement = around, statement
        self.bodies: Sequence[Lines] = around.inner[statement]
        self.printer = around.printer
        self.depth = around.depth + 1
        self.states: dict[Var, tuple[Lines, State]] = {
            state.now: (body, state) for body in self.bodies for state in body.program.states
        }

    def of(self, loop: Scan | While | Branch | Sweep | Unwind) -> Iterator[str]:
        """The lines of any kind of loop."""
        if isinstance(loop, Scan):
            return self.scan(loop)
        if isinstance(loop, While):
            return self.while_loop(loop)
        if isinstance(loop, Branch):
            return self.branch(loop)
        return self.sweep(loop) if isinstance(loop, Sweep) else self.unwind(loop)

    def word(self, wanted: str) -> str:
        """An identifier for this depth."""
        return self.around.function.word(wanted, self.depth)

    def counter(self, size: str, wanted: str) -> str:
        """The identifier of the loop variable that a body knows as a size."""
        return self.printer.sizes.setdefault(size, self.word(wanted))

    # ------------------------------------------------------------------ the kinds

    def scan(self, loop: Scan) -> Iterator[str]:
        """Steps in order."""
        length = self.printer.extent(loop.length)
        yield from self.begin(loop.carried)
        step = self.counter(loop.step, "step")
        yield f"for {step} in range({_backwards(length) if loop.reverse else length}):"
        yield from indented(self.step(self.bodies[0], loop.carried))
        yield from self._told(loop.progress, f"{length} - {step}" if loop.reverse else f"{step} + 1", length)
        yield from self._told_last(loop.progress, length, length)
        yield from self.end(loop.carried, _odd(length))

    def while_loop(self, loop: While) -> Iterator[str]:
        """Steps as long as the test holds."""
        test, body = self.bodies
        tape, trips = loop.tape, self.word("trips")
        counted = self._swapped(loop.carried) or bool(loop.progress) or tape is not None
        yield from self.begin(loop.carried)
        if counted:
            yield f"{trips} = 0"
        if tape is not None:
            yield from tapes.begin(self, tape)
        yield "while True:"
        yield from indented(self._test(test, loop.holds))
        if tape is not None:
            yield from indented(tapes.lengthen(self, tape))
        yield from indented(self.step(body, loop.carried))
        if tape is not None:
            yield from indented(tapes.scalars(self, tape, trips, store=True))
        if counted:
            yield f"{INDENT}{trips} += 1"
        yield from self._told(loop.progress, trips, UNKNOWN)
        yield from self._told_last(loop.progress, trips, UNKNOWN)
        if tape is not None:
            yield from tapes.end(self, tape)
        yield from self.end(loop.carried, f"{trips} % 2 == 1")

    def branch(self, loop: Branch) -> Iterator[str]:
        """One of two."""
        yield f"if {self.printer.operand(loop.predicate.operand, {})}:"
        yield from indented(_some(self.bodies[0].all()))
        yield "else:"
        yield from indented(_some(self.bodies[1].all()))

    def sweep(self, loop: Sweep) -> Iterator[str]:
        """The last step first, each from its state, which is run to from the last one stored before it."""
        body, adjoint = self.bodies
        length = self.printer.extent(loop.length)
        stored_at, top, at, to, last = (
            self.printer.name(loop.places), *map(self.word, ("top", "at", "to", "last")),
        )  # fmt: skip
        step, again = self.counter(loop.step, "step"), self.counter(loop.forward, "again")
        yield from self.begin(loop.primal)
        yield from self.begin(loop.carried)
        yield f"{top} = 0"
        yield f"{stored_at}[0] = 0"
        yield from self._store(loop, top)
        yield f"for {last} in range({_backwards(length)}):"
        yield f"{INDENT}while {stored_at}[{top}] > {last}:"
        yield f"{INDENT * 2}{top} -= 1"
        yield f"{INDENT}{at} = {stored_at}[{top}]"
        yield from indented(self._load(loop, top))
        yield f"{INDENT}while {at} < {last}:"
        rule = sweeps.rule(loop.schedule, at=at, last=last, top=top)
        yield f"{INDENT * 2}{to} = {rule}"
        turned = f"{length} - 1 - {at}, {length} - 1 - {to}, -1"
        yield f"{INDENT * 2}for {again} in range({turned if loop.reverse else f'{at}, {to}'}):"
        yield from indented(indented(indented(self.step(body, loop.primal))))
        yield f"{INDENT * 2}{at} = {to}"
        yield f"{INDENT * 2}if {at} < {last}:"
        yield f"{INDENT * 3}{top} += 1"
        yield f"{INDENT * 3}{stored_at}[{top}] = {at}"
        yield from indented(indented(indented(self._store(loop, top))))
        yield f"{INDENT}{step} = {f'{length} - 1 - {last}' if loop.reverse else last}"
        yield from indented(self.step(adjoint, loop.carried))
        yield from self._told(loop.progress, f"{length} - {last}", length)
        yield from self._told_last(loop.progress, length, length)
        yield from self.end(loop.carried, _odd(length))

    def unwind(self, loop: Unwind) -> Iterator[str]:
        """Along a tape backwards."""
        trips, trip = self.word("trips"), self.word("trip")
        yield from self.begin(loop.carried)
        yield from tapes.found(self, loop.tape)
        yield f"for {trip} in range({_backwards(trips)}):"
        yield from indented(tapes.arrays(self, loop.tape, trip))
        yield from indented(tapes.scalars(self, loop.tape, trip, store=False))
        yield from indented(_some(self.step(self.bodies[0], loop.carried)))
        yield from self._told(loop.progress, f"{trips} - {trip}", trips)
        yield from self._told_last(loop.progress, trips, trips)
        yield from tapes.released(self, loop.tape)
        yield from self.end(loop.carried, f"{trips} % 2 == 1")

    def _told(self, progress: Progress, done: str, total: str) -> Iterator[str]:
        """Inside a loop, after a step: every so many steps tell how many are done."""
        for name, every in progress:
            yield f"{INDENT}if {_grouped(done)} % {every} == 0:"
            yield from indented(indented(self._report(name, done, total)))

    def _told_last(self, progress: Progress, done: str, total: str) -> Iterator[str]:
        """After a loop, where its last step was no such step."""
        for name, every in progress:
            yield f"if {_grouped(done)} % {every} != 0:"
            yield from indented(self._report(name, done, total))

    def _report(self, name: str, done: str, total: str) -> Iterator[str]:
        """Tell, and end the call with nothing borrowed where whoever listens has had enough."""
        yield f"if _report({name!r}, {done}, {total}):"
        yield from indented([*reversed(self.around.function.held.values()), "_stop()"])

    # ------------------------------------------------------------------ parts

    def _test(self, test: Lines, holds: Var) -> Iterator[str]:
        yield from test.all()
        yield f"if not {self.printer.name(holds)}:"
        yield f"{INDENT}break"

    def step(self, body: Lines, carried: Sequence[Carried]) -> Iterator[str]:
        """A body, then its next values in the place of the present ones."""
        yield from _some([*body.all(), *self._turn(carried)])

    def _turn(self, carried: Sequence[Carried]) -> Iterator[str]:
        for one in carried:
            body, state = self.states[one.now]
            if state.next is state.now:
                continue
            pairs = zip(body.printer.pieces(state.now), body.printer.pieces(state.next), strict=True)
            for now, following in pairs:
                if body.plan.storage[state.now].is_array:
                    yield f"{now}, {following} = {following}, {now}"
                else:
                    yield f"{now} = {following}"

    def begin(self, carried: Sequence[Carried]) -> Iterator[str]:
        """First values of what is carried."""
        for one in carried:
            body, state = self.states[one.now]
            storage = body.plan.storage[state.now]
            for var in dict.fromkeys([state.now, state.next]):
                if storage.is_array and not (storage.natural and var is state.now):
                    for piece in body.printer.pieces(var):
                        yield f"{piece} = {piece}{SPACE}"
            if not (storage.is_array and storage.natural):
                yield from self._transfer(state.now, self.printer.name(one.memory), "", store=False)
                continue
            yield f"{body.printer.name(state.now)} = {self.printer.name(one.memory)}"

    def end(self, carried: Sequence[Carried], odd: str) -> Iterator[str]:
        """Last values in their memory: after an odd number of steps an array that goes back and forth is elsewhere."""
        for one in carried:
            body, state = self.states[one.now]
            storage = body.plan.storage[state.now]
            memory = self.printer.name(one.memory)
            if not one.memory.shape:
                yield f"{memory} = {body.printer.name(state.now)}"
            elif not (storage.is_array and storage.natural):
                yield from self._transfer(state.now, memory, "", store=True)
            elif state.next is not state.now:
                yield f"if {odd}:"
                yield from indented(self._transfer(state.now, memory, "", store=True))

    def _swapped(self, carried: Sequence[Carried]) -> bool:
        """Whether some array goes back and forth."""
        found = [self.states[one.now] for one in carried]
        return any(s.next is not s.now and b.plan.storage[s.now].is_array and b.plan.storage[s.now].natural
                   for b, s in found)  # fmt: skip

    def _store(self, loop: Sweep, place: str) -> Iterator[str]:
        for one, snapshots in zip(loop.primal, loop.snapshots, strict=True):
            yield from self._transfer(one.now, self.printer.name(snapshots), place, store=True)

    def _load(self, loop: Sweep, place: str) -> Iterator[str]:
        for one, snapshots in zip(loop.primal, loop.snapshots, strict=True):
            yield from self._transfer(one.now, self.printer.name(snapshots), place, store=False)

    def _transfer(self, now: Var, array: str, place: str, *, store: bool) -> Iterator[str]:
        """A carried value to or from an array, in which it may have a place along a first axis."""
        body, _ = self.states[now]
        storage: Storage = body.plan.storage[now]
        if not now.shape and not place:
            name = body.printer.name(now)
            yield f"{array} = {name}" if store else f"{name} = {array}"
            return
        loops = [body.function.word(f"m{k}") for k in range(len(storage.memory))]
        copies = list(_copies(body, now, array, place, loops))
        pairs = [f"{whole} = {part}" if store else f"{part} = {whole}" for part, whole in copies]
        head: list[str] = []
        for level, (name, d) in enumerate(zip(loops, storage.memory, strict=True)):
            head.append(f"{INDENT * level}for {name} in range({self.printer.extent(now.shape[d])}):")
        yield from head
        yield from (INDENT * len(loops) + line for line in pairs)


SPACE = "_space"
"""The ending of the names of memory between whose places carried arrays go back and forth."""


def _copies(body: Lines, now: Var, array: str, place: str, loops: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The elements of a carried value and those of an array, at variables of loops over what lies in memory."""
    storage: Storage = body.plan.storage[now]
    for point, piece in body.printer.pieces_at(now):
        indices = dict(zip([*storage.memory, *storage.unrolled], [*loops, *map(str, point)], strict=True))
        whole = ", ".join([*([place] if place else []), *(indices[d] for d in range(len(now.shape)))])
        part = f"{piece}[{', '.join(loops)}]" if storage.is_array else piece
        yield part, f"{array}[{whole}]"


UNKNOWN = "-1"
"""The number of steps of a loop that runs until its test fails, for who listens."""


def _odd(length: str) -> str:
    return f"{_grouped(length)} % 2 == 1"


def _grouped(text: str) -> str:
    """An expression as an operand."""
    return text if text.isidentifier() else f"({text})"


def _backwards(length: str) -> str:
    return f"{length} - 1, -1, -1"


def _some(found: Iterable[str]) -> Iterator[str]:
    """The lines of a block, which must not be empty."""
    listed = list(found)
    yield from listed or ["pass"]
