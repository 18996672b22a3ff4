"""A loop in several threads: equal blocks of its rounds, one thread each, which end with the loop.

Threads are made for one loop and joined after it, 20 µs or so for each. So nothing is shared between calls, callers may
themselves be threads, and a forked process finds no pool that it does not have. Block b of k covers the rounds from
length·b/k to length·(b+1)/k, whatever the machine does, and what blocks collect is added in their order: results
depend on the number of blocks alone. `LINES` goes into generated modules.
"""

from __future__ import annotations

import os
from typing import Any

import numba
import numba.core.cgutils
from llvmlite import ir  # type: ignore[import-untyped]
from numba.extending import intrinsic

from graphad.emit.embed import embedded

cgutils: Any = numba.core.cgutils
types: Any = numba.types


# -- into modules


def _block_function(context: Any, module: Any, record: Any, compiled: Any, called: Any) -> Any:
    """The function of a thread: unpacks a record, calls the body, notes whether it failed."""
    address = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(address, [address])
    function = ir.Function(module, kind, module.get_unique_name("graphad_block"))
    function.linkage = "internal"
    builder = ir.IRBuilder(function.append_basic_block())
    own = builder.bitcast(function.args[0], record.as_pointer())
    fields = [builder.load(cgutils.gep_inbounds(builder, own, 0, k)) for k in range(1, 5)]
    arguments = [*fields[:3], *cgutils.unpack_tuple(builder, fields[3], len(called.args) - 3)]
    status, _ = context.call_internal_no_propagate(builder, compiled.fndesc, called, arguments)
    builder.store(builder.zext(status.is_error, ir.IntType(64)), cgutils.gep_inbounds(builder, own, 0, 0))
    builder.ret(ir.Constant(address, None))
    return function


def _start(builder: Any, thread: Any, function: Any, own: Any) -> None:
    """Run a block in a new thread; in this one where there is none to be had."""
    address = ir.IntType(8).as_pointer()
    refused = ir.Constant(ir.IntType(1), 1)
    if os.name == "posix":
        kind = ir.FunctionType(ir.IntType(32), [address, address, function.type, address])
        create = cgutils.get_or_insert_function(builder.module, kind, "pthread_create")
        failed = builder.call(create, [builder.bitcast(thread, address), ir.Constant(address, None), function, own])
        refused = builder.icmp_unsigned("!=", failed, ir.Constant(failed.type, 0))
    with builder.if_then(refused):
        builder.store(ir.Constant(ir.IntType(64), 0), thread)
        builder.call(function, [own])


def _join(builder: Any, thread: Any) -> None:
    """Wait for a thread, where there is one."""
    if os.name == "posix":
        word, address = ir.IntType(64), ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.IntType(32), [word, address])
        wait = cgutils.get_or_insert_function(builder.module, kind, "pthread_join")
        started = builder.load(thread)
        with builder.if_then(builder.icmp_unsigned("!=", started, ir.Constant(word, 0))):
            builder.call(wait, [started, ir.Constant(address, None)])


@intrinsic(prefer_literal=True)
def _in_blocks(typing_context: Any, body: Any, count: Any, length: Any, shared: Any) -> Any:
    """Run `body(block, start, end, *shared)` for `count` blocks of `length` rounds, the first in this thread."""
    called = body.get_call_type(typing_context, (types.int64, types.int64, types.int64, *shared.types), {})
    compiled = body.dispatcher.get_compile_result(called)
    blocks, address, word = count.literal_value, ir.IntType(8).as_pointer(), ir.IntType(64)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        context.add_linking_libs([compiled.library])
        record = ir.LiteralStructType([word, word, word, word, args[3].type])
        function = _block_function(context, builder.module, record, compiled, called)
        rounds = context.cast(builder, args[2], signature.args[2], types.int64)
        none, number = ir.Constant(word, 0), ir.Constant(word, blocks)
        bounds = [builder.sdiv(builder.mul(rounds, ir.Constant(word, b)), number) for b in range(blocks + 1)]
        records = [cgutils.alloca_once(builder, record) for _ in range(blocks)]
        threads = [cgutils.alloca_once_value(builder, none) for _ in range(blocks)]
        for b, own in enumerate(records):
            for k, value in enumerate([none, ir.Constant(word, b), *bounds[b : b + 2], args[3]]):
                builder.store(value, cgutils.gep_inbounds(builder, own, 0, k))
        for b in range(1, blocks):
            _start(builder, threads[b], function, builder.bitcast(records[b], address))
        builder.call(function, [builder.bitcast(records[0], address)])
        failed = none
        for thread, own in zip(threads, records, strict=True):
            _join(builder, thread)
            failed = builder.or_(failed, builder.load(cgutils.gep_inbounds(builder, own, 0, 0)))
        with builder.if_then(builder.icmp_unsigned("!=", failed, none), likely=False):
            context.call_conv.return_user_exc(builder, RuntimeError, ("a block of a loop failed",))
        return context.get_dummy_value()

    return types.void(body, count, length, shared), generate


# -- until here

LINES = embedded(__file__)
NAMES = frozenset(["_block_function", "_start", "_join", "_in_blocks", "os", "cgutils", "types", "ir"])
IMPORTS = """\
import os
import numpy as np
from typing import Any
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
"""
