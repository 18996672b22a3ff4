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
def _array(typing_context: Any, address: Any, dtype: Any, shape: Any) -> Any:
    """The C-ordered array at an address; Numba's `carray` takes five times as long to compile."""
    kind = types.Array(dtype.dtype, len(shape), "C")

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(kind)(context, builder)
        extents = [
            context.cast(builder, extent, own, types.intp)
            for extent, own in zip(cgutils.unpack_tuple(builder, args[2]), shape, strict=True)
        ]
        array.itemsize = context.get_constant(types.intp, context.get_abi_sizeof(array.data.type.pointee))
        steps = [array.itemsize]
        for extent in reversed(extents):
            steps.insert(0, builder.mul(steps[0], extent, flags=["nsw"]))
        array.nitems = builder.sdiv(steps[0], array.itemsize, flags=["exact"])
        array.shape = cgutils.pack_array(builder, extents)
        array.strides = cgutils.pack_array(builder, steps[1:])
        array.data = builder.inttoptr(args[0], array.data.type)
        array.meminfo = cgutils.get_null_value(array.meminfo.type)
        array.parent = cgutils.get_null_value(array.parent.type)
        return array._getvalue()

    return kind(address, dtype, shape), generate


# -- until here

LINES = embedded(__file__)
NAMES = frozenset(["_exchange", "_header", "_borrow", "_give_back", "_array", "cgutils", "types", "ir"])

IMPORTS = """\
import numpy as np
from typing import Any
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
"""
