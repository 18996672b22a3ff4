"""Reverse sweeps in generated code: where to run before the next state is stored, and tapes that grow.

A tape is a block of memory that a kernel keeps from call to call, like its scratch memory: a call takes it, lets it
grow while a loop runs, and puts it back. `LINES` goes into modules; the rules for storing are those of
`graphad.ops.schedules`, without numbers of any size.
"""

from __future__ import annotations

from typing import Any

import numba
import numba.core.cgutils
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit

from graphad.emit.embed import embedded
from graphad.emit.vecmath.decorators import intrinsic

cgutils: Any = numba.core.cgutils
types: Any = numba.types

FEW_TRIPS = 16
"""Half the records of a tape when it is made."""
BEFORE = 64
"""Bytes of a tape in front of its first record."""

# -- into modules


@njit(error_model="numpy", nogil=True, cache=True)
def _stretch(steps: int, snapshots: int) -> int:
    """How far to run before the next state is stored, of `steps` to be reversed (Griewank and Walther, 2000)."""
    if snapshots <= 1:
        return steps - 1
    repeats, reach = 0, 1
    while reach < steps:
        repeats += 1
        reach = reach * (snapshots + repeats) // repeats
    before = reach * repeats // (snapshots + repeats)
    rest = before * snapshots // (snapshots + repeats - 1)
    return max(1, min(before, steps - rest))


def _swap_tape(builder: Any, tape: Any) -> Any:
    """Put a tape into the module's slot and take out what was there."""
    name, word = "graphad_tape", ir.IntType(64)
    slot = builder.module.globals.get(name)
    if slot is None:
        slot = cgutils.add_global_variable(builder.module, word, name)
        slot.linkage, slot.initializer = "internal", ir.Constant(word, 0)
    return builder.atomic_rmw("xchg", slot, tape, "acq_rel")


def _free_tape(context: Any, builder: Any, tape: Any) -> None:
    with builder.if_then(builder.icmp_unsigned("!=", tape, ir.Constant(ir.IntType(64), 0))):
        context.nrt.free(builder, builder.inttoptr(tape, ir.IntType(8).as_pointer()))


@intrinsic
def _tape(typing_context: Any) -> Any:
    """The address of the tape that the last call kept; 0 where there is none."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _swap_tape(builder, ir.Constant(ir.IntType(64), 0))

    return types.int64(), generate


@intrinsic
def _room(typing_context: Any, tape: Any) -> Any:
    """The bytes of a tape."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(64)
        result = cgutils.alloca_once_value(builder, ir.Constant(word, 0))
        with builder.if_then(builder.icmp_unsigned("!=", args[0], ir.Constant(word, 0))):
            builder.store(builder.load(builder.inttoptr(args[0], word.as_pointer())), result)
        return builder.load(result)

    return types.int64(types.int64), generate


@intrinsic
def _longer(typing_context: Any, tape: Any, used: Any, room: Any) -> Any:
    """A tape of `room` bytes that begins with the `used` bytes of another one, which is gone."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word, byte = ir.IntType(64), ir.IntType(8).as_pointer()
        fresh = builder.ptrtoint(context.nrt.allocate(builder, builder.add(args[2], ir.Constant(word, 64))), word)
        with builder.if_then(builder.icmp_unsigned("==", fresh, ir.Constant(word, 0)), likely=False):
            context.call_conv.return_user_exc(builder, MemoryError, ("no memory for a tape",))
        source, target = (builder.inttoptr(builder.add(a, ir.Constant(word, 64)), byte) for a in (args[0], fresh))
        cgutils.raw_memcpy(builder, target, source, args[1], 1)
        builder.store(args[2], builder.inttoptr(fresh, word.as_pointer()))
        _free_tape(context, builder, args[0])
        return fresh

    return types.int64(types.int64, types.int64, types.int64), generate


@intrinsic
def _keep_tape(typing_context: Any, tape: Any) -> Any:
    """Keep a tape for the next call, instead of the one that is kept."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _free_tape(context, builder, _swap_tape(builder, args[0]))
        return context.get_dummy_value()

    return types.void(types.int64), generate


# -- until here

LINES = embedded(__file__)
NAMES = frozenset([
    "_stretch", "_swap_tape", "_free_tape", "_tape", "_room", "_longer", "_keep_tape", "cgutils", "types", "ir",
])  # fmt: skip
IMPORTS = """\
from typing import Any
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
"""


def rule(schedule: tuple[str, int], *, at: str, last: str, top: str) -> str:
    """The step up to which to run before a state is stored, as an expression.

    Arguments:
        at: the step whose state is there.
        last: the step that is to be reversed next.
        top: the place of the state stored last.

    >>> rule(("every", 5), at="at", last="last", top="top")
    '(at // 5 + 1) * 5 if at // 5 < last // 5 else at + 1'
    """
    kind, count = schedule
    if kind == "binomial":
        return f"{at} + _stretch({last} + 1 - {at}, {count} - {top})"
    if count == 1:
        return f"{at} + 1"
    return f"({at} // {count} + 1) * {count} if {at} // {count} < {last} // {count} else {at} + 1"
