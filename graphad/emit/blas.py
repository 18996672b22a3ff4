"""Matrix products by the BLAS that SciPy brings, straight from generated code: no checks, no views of whole arrays."""

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


def _pointer(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """The first byte of an array."""
    return builder.bitcast(context.make_array(kind)(context, builder, value).data, ir.IntType(8).as_pointer())


def _slot(context: Any, builder: Any, kind: Any, number: float) -> Any:
    """A number in memory, as BLAS wants its factors."""
    slot = cgutils.alloca_once_value(builder, context.get_constant(kind, number))
    return builder.bitcast(slot, ir.IntType(8).as_pointer())


@intrinsic
def _matrix_product(typing_context: Any, a: Any, b: Any, c: Any, m: Any, k: Any, n: Any, turned: Any) -> Any:
    """C (m, n) becomes a (m, k) times b (k, n), all in C order; `turned` is 1 where a lies transposed, plus 2 for b."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        numbers = [context.cast(builder, args[i], signature.args[i], types.int64) for i in range(3, 7)]
        rows, inner, columns, bits = numbers
        char, word, address = ir.IntType(8), ir.IntType(64), ir.IntType(8).as_pointer()
        order = [char, char, char, word, word, word, address, address, word, address, word, address, address, word]
        gemm = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.IntType(32), order), "numba_xxgemm")
        pointers = [_pointer(context, builder, signature.args[i], args[i]) for i in range(3)]
        plain, other = ir.Constant(char, ord("n")), ir.Constant(char, ord("t"))
        none = ir.Constant(word, 0)
        first, second = (builder.icmp_signed("!=", builder.and_(bits, ir.Constant(word, bit)), none) for bit in (1, 2))
        letter = ir.Constant(char, ord("s" if a.dtype is types.float32 else "d"))
        # BLAS thinks in columns: it is asked for the transposed product of the transposed matrices.
        builder.call(gemm, [
            letter, builder.select(second, other, plain), builder.select(first, other, plain), columns, rows, inner,
            _slot(context, builder, a.dtype, 1.0), pointers[1], builder.select(second, inner, columns),
            pointers[0], builder.select(first, rows, inner), _slot(context, builder, a.dtype, 0.0), pointers[2],
            columns,
        ])  # fmt: skip
        return context.get_dummy_value()

    return types.void(a, b, c, m, k, n, turned), generate


# -- until here

LINES = embedded(__file__)
NAMES = frozenset(["_pointer", "_slot", "_matrix_product", "cgutils", "types", "ir"])
IMPORTS = """\
import numpy as np
from typing import Any
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
"""
