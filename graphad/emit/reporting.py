"""How compiled loops report: one small function for the whole process, which calls a pointer where there is one.

The function and the pointer have names in LLVM's table of symbols, so machine code from any cache finds them. They are
made by whoever comes first, graphad or an exported module; without graphad nobody sets the pointer. The pointer that
graphad sets is one of ctypes, which takes Python's lock by itself. `LINES` goes into modules.

The answer is whether the loop is to stop: a callback has raised something. Then a translated kernel ends with the
status `STOPPED`, and the call raises it. What Numba compiles can not pass such a thing on, and runs to its end.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

import numba
import numba.core.cgutils
from llvmlite import binding, ir  # type: ignore[import-untyped]

from graphad.emit.embed import embedded
from graphad.emit.vecmath.decorators import intrinsic
from graphad.ops.listening import Callback, Listener, listeners, tell

cgutils: Any = numba.core.cgutils
types: Any = numba.types

REPORT, LISTENER = "graphad_step_done", "graphad_heard"
STOPPED = 3
"""The status of a kernel that has ended early."""

# -- into modules

RELAY = """
@listener = global i64 0

define i64 @report(ptr %name, i64 %done, i64 %total) {
  %address = load atomic i64, ptr @listener monotonic, align 8
  %nobody = icmp eq i64 %address, 0
  br i1 %nobody, label %end, label %call
call:
  %listening = inttoptr i64 %address to ptr
  %stop = call i64 %listening(ptr %name, i64 %done, i64 %total)
  ret i64 %stop
end:
  ret i64 0
}
"""


def _relay() -> None:
    """Make the function that loops call, unless this process has it; it stays for good."""
    if binding.address_of_symbol("graphad_step_done"):
        return
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    machine = binding.Target.from_default_triple().create_target_machine(jit=True)
    engine = binding.create_mcjit_compiler(binding.parse_assembly(RELAY), machine)
    engine.finalize_object()
    binding.add_symbol("graphad_heard", engine.get_global_value_address("listener"))
    binding.add_symbol("graphad_step_done", engine.get_function_address("report"))
    engine.detach()


@intrinsic
def _report(typing_context: Any, name: Any, done: Any, total: Any) -> Any:
    """Tell whoever listens that the loop of a name has done some of its steps; `total` is -1 where it is not known.

    Answers false: what Numba compiles does not stop.
    """
    if not isinstance(name, types.StringLiteral):
        return None

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(64)
        text = context.insert_const_string(builder.module, name.literal_value)
        kind = ir.FunctionType(word, [text.type, word, word])
        builder.call(
            cgutils.get_or_insert_function(builder.module, kind, "graphad_step_done"), [text, args[1], args[2]]
        )
        return cgutils.false_bit

    return types.boolean(name, types.int64, types.int64), generate


@intrinsic
def _stop(typing_context: Any) -> Any:
    """End the call."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.get_dummy_value()

    return types.void(), generate


# -- until here

LINES = embedded(__file__) + "\n\n\n_relay()"
NAMES = frozenset(["_report", "_stop", "_relay", "RELAY", "binding", "cgutils", "types", "ir"])
IMPORTS = """\
from typing import Any
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
"""


_changing = RLock()


def address(name: str) -> int:
    """Where the function that loops call lies, or the pointer."""
    with _changing:
        _relay()
    return int(binding.address_of_symbol(name))


# ---------------------------------------------------------------------- listening


def _heard(name: bytes, done: int, total: int) -> int:
    return tell(name.decode(), done, None if total < 0 else total)


_POINTER = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_char_p, ctypes.c_int64, ctypes.c_int64)(_heard)


class _Hook:
    """Keeps an interrupt that comes before a callback is entered, and so has no caller, like what callbacks raise."""

    def __init__(self) -> None:
        self.others, sys.unraisablehook = sys.unraisablehook, self

    def __call__(self, given: Any) -> None:
        # Python names the callback as the object, from 3.13 on in the message.
        if given.object is not _heard and repr(_heard) not in (given.err_msg or ""):
            self.others(given)
            return
        for listener in tuple(listeners):
            listener.error = listener.error or given.exc_value

    def remove(self) -> None:
        """Put back what was there, unless somebody else has put something on top."""
        if sys.unraisablehook is self:
            sys.unraisablehook = self.others


_hooks: list[_Hook] = []


def _connect(listener: Listener, *, join: bool) -> None:
    """Let a listener join or leave; while there is one the pointer is set."""
    with _changing:
        (listeners.append if join else listeners.remove)(listener)
        if join and not _hooks:
            _hooks.append(_Hook())
        elif not listeners:
            _hooks.pop().remove()
        pointer = ctypes.cast(_POINTER, ctypes.c_void_p).value if listeners else 0
        ctypes.c_int64.from_address(address(LISTENER)).value = pointer or 0


@contextmanager
def listening(callback: Callback) -> Iterator[None]:
    """Call `callback(name, done, total)` for all loops of the process that report while the block runs.

    What the callback raises is raised by the call whose loop it heard; where that can not be, at the end of the block,
    and until then it is not called any more.
    """
    listener = Listener(callback)
    _connect(listener, join=True)
    try:
        yield
    finally:
        _connect(listener, join=False)
        if listener.error is not None:
            raise listener.error
