"""The lines about tapes: a loop that leaves a record of each step, and one that reads them.

Records have one length and stand one behind the other; the values in them begin at multiples of eight bytes. An array
of a record is written and read where it lies.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from graphad.emit.sweeps import BEFORE, FEW_TRIPS
from graphad.ir.sizes import product
from graphad.loops.control import Tape
from graphad.loops.ir import Access, Var, walk
from graphad.loops.scratch import ITEM_SIZES

if TYPE_CHECKING:
    from graphad.emit.control import Text


def begin(text: Text, tape: Tape) -> Iterator[str]:
    """Take a tape."""
    name, room = text.word("tape"), text.word("room")
    yield from _record(text, tape)
    yield f"{name} = _tape()"
    text.around.function.held[tape.place] = f"_keep_tape({name})"
    yield f"{room} = _room({name})"


def lengthen(text: Text, tape: Tape) -> Iterator[str]:
    """Before a step: room for its record, whose arrays get their names."""
    name, room, record, trips = map(text.word, ("tape", "room", "record", "trips"))
    yield f"if ({trips} + 1) * {record} > {room}:"
    yield f"    {name} = _longer({name}, {trips} * {record}, 2 * ({trips} + {FEW_TRIPS}) * {record})"
    yield f"    {room} = _room({name})"
    yield from arrays(text, tape, trips)


def end(text: Text, tape: Tape) -> Iterator[str]:
    """Where the tape is and how many records it has, for those who read it."""
    place = text.printer.name(tape.place)
    yield f"{place}[0] = {text.word('tape')}"
    yield f"{place}[1] = {text.word('trips')}"
    text.around.function.held[tape.place] = f"_keep_tape({place}[0])"
    yield from released(text, tape)


def found(text: Text, tape: Tape) -> Iterator[str]:
    """The tape that a loop has left."""
    place = text.printer.name(tape.place)
    yield f"{text.word('tape')} = {place}[0]"
    yield f"{text.word('trips')} = {place}[1]"
    yield from _record(text, tape)


def released(text: Text, tape: Tape) -> Iterator[str]:
    """The tape is free for the next loop or call, where nobody reads it any more."""
    calls = [s for s, _ in walk(text.around.program.body) if s.kind == "call"]
    touching = [s for s in calls if tape.place in s.written or Access(tape.place, ()) in s.inputs]
    if touching[-1] is text.statement:
        yield f"_keep_tape({text.word('tape')})"
        del text.around.function.held[tape.place]


def arrays(text: Text, tape: Tape, number: str) -> Iterator[str]:
    """The arrays in the record of a step get their names."""
    for var, place in _places(text, tape, number):
        if var.shape:
            yield f"{text.printer.name(var)} = {_array(text, var, place)}"


def scalars(text: Text, tape: Tape, number: str, *, store: bool) -> Iterator[str]:
    """The numbers in the record of a step are stored or loaded."""
    for var, place in _places(text, tape, number):
        if not var.shape:
            name, kept = text.printer.name(var), f"{_array(text, var, place)}[0]"
            yield f"{kept} = {name}" if store else f"{name} = {kept}"


def _record(text: Text, tape: Tape) -> Iterator[str]:
    """The length of a record."""
    yield f"{text.word('record')} = {' + '.join(_length(text, var) for var in tape.values)}"


def _length(text: Text, var: Var) -> str:
    return f"({text.printer.extent(product(var.shape) * ITEM_SIZES[var.dtype])} + 7 & -8)"


def _places(text: Text, tape: Tape, number: str) -> Iterator[tuple[Var, str]]:
    """The values of a record that the body knows, and their addresses."""
    start = f"{text.word('tape')} + {BEFORE} + {number} * {text.word('record')}"
    known = {var for lines in text.bodies for var in lines.plan.storage}
    for var in tape.values:
        if var in known:
            yield var, start
        start += f" + {_length(text, var)}"


def _array(text: Text, var: Var, place: str) -> str:
    shape = ", ".join(map(text.printer.extent, var.shape)) or "1"
    return f"_array({place}, np.{'bool_' if var.dtype == 'bool' else var.dtype}, ({shape},))"
