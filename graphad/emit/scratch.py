"""A block of memory that a kernel keeps from call to call: fresh pages cost more than most loops.

Every kernel has one slot. A call takes the block out of it in one atomic step and puts it back at its end; a second
call at the same time finds the slot empty and allocates. So calls from several threads never share a block, and a
call that finds a block of enough bytes allocates nothing. `LINES` goes into generated modules.
"""

from __future__ import annotations

from typing import Any

import numba
import numba.core.cgutils
from llvmlite import ir  # type: ignore[import-untyped]

from graphad.emit.embed import embedded
from graphad.emit.vecmath.decorators import intrinsic

cgutils: Any = numba.core.cgutils
types: Any = numba.types

# -- into modules


def _exchange(builder: Any, block: Any) -> Any:
    """Put a block into the module's slot and take out what was there."""
    name, word = "graphad_scratch", ir.IntType(64)
    slot = builder.module.globals.get(name)
    if slot is None:
        slot = cgutils.add_global_variable(builder.module, word, name)
        slot.linkage, slot.initializer = "internal", ir.Constant(word, 0)
    return builder.atomic_rmw("xchg", slot, block, "acq_rel")


def _header(builder: Any, block: Any) -> Any:
    """Where a block notes how many bytes it has."""
    return builder.inttoptr(block, ir.IntType(64).as_pointer())


@intrinsic
def _borrow(typing_context: Any, count: Any) -> Any:
    """The address of a block of at least `count` bytes after its first 128."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(64)
        result = cgutils.alloca_once_value(builder, _exchange(builder, ir.Constant(word, 0)))
        kept = builder.load(result)
        empty = builder.icmp_unsigned("==", kept, ir.Constant(word, 0))
        with builder.if_else(empty) as (none, some):
            with none:
                missing = builder.block
            with some:
                short = builder.icmp_signed("<", builder.load(_header(builder, kept)), args[0])
                with builder.if_then(short):
                    context.nrt.free(builder, builder.inttoptr(kept, ir.IntType(8).as_pointer()))
                found = builder.block
        wanted = builder.phi(ir.IntType(1))
        wanted.add_incoming(ir.Constant(ir.IntType(1), 1), missing)
        wanted.add_incoming(short, found)
        with builder.if_then(wanted):
            fresh = context.nrt.allocate(builder, builder.add(args[0], ir.Constant(word, 128)))
            address = builder.ptrtoint(fresh, word)
            with builder.if_then(builder.icmp_unsigned("==", address, ir.Constant(word, 0)), likely=False):
                context.call_conv.return_user_exc(builder, MemoryError, ("no memory for scratch",))
            builder.store(args[0], _header(builder, address))
            builder.store(address, result)
        return builder.load(result)

    return types.int64(types.int64), generate


@intrinsic
def _give_back(typing_context: Any, block: Any) -> Any:
    """Keep a block for the next call, instead of the one that is kept."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        other = _exchange(builder, args[0])
        with builder.if_then(builder.icmp_unsigned("!=", other, ir.Constant(ir.IntType(64), 0)), likely=False):
            context.nrt.free(builder, builder.inttoptr(other, ir.IntType(8).as_pointer()))
        return context.get_dummy_value()

    return types.void(types.int64), generate


@intrinsic
def _at(typing_context: Any, address: Any, dtype: Any) -> Any:
    """An address as a pointer to numbers of a dtype."""
    pointer = types.CPointer(dtype.dtype)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(pointer))

    return pointer(address, dtype), generate


# -- until here

LINES = embedded(__file__)
NAMES = frozenset(["_exchange", "_header", "_borrow", "_give_back", "_at", "carray", "cgutils", "types", "ir"])

IMPORTS = """\
import numpy as np
from typing import Any
from llvmlite import ir
from numba import carray, njit, types
from numba.core import cgutils
from numba.extending import intrinsic
"""
