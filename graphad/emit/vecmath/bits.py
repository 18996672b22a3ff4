"""The building blocks: single LLVM operations that Numba has no name for, and polynomials.

Every block becomes straight-line code without branches and without fast-math flags, so that error-free
transformations survive and the loop around it can be vectorised.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types

from graphad.emit.vecmath.decorators import intrinsic


def _llvm(builder: Any, name: str, args: list[Any]) -> Any:
    """Call the LLVM intrinsic `name`, overloaded on the type of the operands."""
    kind = args[0].type
    function = ir.FunctionType(kind, [kind] * len(args))
    return builder.call(builder.module.declare_intrinsic(name, [kind], function), args)


@intrinsic
def _fma(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """a*b + c with one rounding."""
    return a(a, a, a), lambda context, builder, signature, args: _llvm(builder, "llvm.fma", args)


@intrinsic
def _rint(typing_context: Any, x: Any) -> Any:
    """The nearest integer, ties to even."""
    return x(x), lambda context, builder, signature, args: _llvm(builder, "llvm.rint", args)


@intrinsic
def _trunc(typing_context: Any, x: Any) -> Any:
    """The nearest integer towards zero."""
    return x(x), lambda context, builder, signature, args: _llvm(builder, "llvm.trunc", args)


@intrinsic
def _floor(typing_context: Any, x: Any) -> Any:
    """The nearest integer below."""
    return x(x), lambda context, builder, signature, args: _llvm(builder, "llvm.floor", args)


@intrinsic
def _sqrt(typing_context: Any, x: Any) -> Any:
    """The square root, correctly rounded."""
    return x(x), lambda context, builder, signature, args: _llvm(builder, "llvm.sqrt", args)


@intrinsic
def _fabs(typing_context: Any, x: Any) -> Any:
    """The absolute value."""
    return x(x), lambda context, builder, signature, args: _llvm(builder, "llvm.fabs", args)


@intrinsic
def _copysign(typing_context: Any, x: Any, y: Any) -> Any:
    """|x| with the sign of y."""
    return x(x, x), lambda context, builder, signature, args: _llvm(builder, "llvm.copysign", args)


@intrinsic
def _fmod(typing_context: Any, x: Any, y: Any) -> Any:
    """The remainder with the sign of x (a call of the C library for each element)."""
    return x(x, x), lambda context, builder, signature, args: builder.frem(*args)


@intrinsic
def _select(typing_context: Any, condition: Any, a: Any, b: Any) -> Any:
    """A where the condition holds, else b; both are computed."""
    return a(types.boolean, a, a), lambda context, builder, signature, args: builder.select(*args)


@intrinsic
def _bits(typing_context: Any, x: Any) -> Any:
    """The bits of a float64 as an int64."""
    return types.int64(types.float64), lambda context, builder, signature, args: builder.bitcast(
        args[0], ir.IntType(64)
    )


@intrinsic
def _from_bits(typing_context: Any, i: Any) -> Any:
    """The float64 that has the bits of an int64."""
    return types.float64(types.int64), lambda context, builder, signature, args: builder.bitcast(
        args[0], ir.DoubleType()
    )


@intrinsic
def _wide(typing_context: Any, x: Any) -> Any:
    """A float32 as a float64."""
    return types.float64(types.float32), lambda context, builder, signature, args: builder.fpext(
        args[0], ir.DoubleType()
    )


@intrinsic
def _narrow(typing_context: Any, x: Any) -> Any:
    """A float64 rounded to float32."""
    return types.float32(types.float64), lambda context, builder, signature, args: builder.fptrunc(
        args[0], ir.FloatType()
    )


@intrinsic
def _shift_right(typing_context: Any, i: Any, places: Any) -> Any:
    """The bits of an int64 moved right, zeros from the left (cheaper than an arithmetic shift before AVX-512)."""
    return types.int64(types.int64, types.int64), lambda context, builder, signature, args: builder.lshr(*args)


@intrinsic
def _polynomial(typing_context: Any, x: Any, coefficients: Any) -> Any:
    """c0 + c1 x + c2 x^2 + ..., the even and the odd terms by Horner's rule side by side."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        point, table = args
        terms = [builder.extract_value(table, i) for i in range(len(signature.args[1]))]
        square = builder.fmul(point, point)
        sums = []
        for chain in (terms[0::2], terms[1::2]):
            total = chain[-1]
            for term in reversed(chain[:-1]):
                total = _llvm(builder, "llvm.fma", [total, square, term])
            sums.append(total)
        return _llvm(builder, "llvm.fma", [sums[1], point, sums[0]])

    return x(x, coefficients), generate


def _extremum(name: str) -> Any:
    """Make `maximum` or `minimum` of two numbers of one type: NaN if either is, ties to the first."""

    def define(typing_context: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            if isinstance(signature.return_type, types.Float):
                return _llvm(builder, f"llvm.{name}", args)
            signed = signature.return_type is not types.boolean and signature.return_type.signed
            compare = builder.icmp_signed if signed else builder.icmp_unsigned
            return builder.select(compare(">=" if name == "maximum" else "<=", *args), *args)

        return a(a, a), generate

    return intrinsic(define)


_maximum = _extremum("maximum")
_minimum = _extremum("minimum")
