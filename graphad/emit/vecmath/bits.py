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


def _narrowest(*kinds: Any) -> Any:
    """The type of the operation: float32 with constants of float64 is meant as float32."""
    return types.float32 if types.float32 in kinds else kinds[0]


VECTOR_LENGTHS = (2, 4, 8, 16)


def _declare(module: Any, name: str, kinds: list[Any], attributes: str, linkage: str) -> Any:
    """Declare a function without side effects that must stay a call until the loop is vectorised."""
    function = ir.Function(module, ir.FunctionType(kinds[0], kinds), name)
    function.linkage = linkage
    # llvmlite's own list of attributes has neither `memory` nor the vector variants.
    set.add(function.attributes, f"noinline nounwind willreturn memory(none) {attributes}")
    return function


def _call_lanes(builder: Any, call: Any, operands: list[Any], lanes: int) -> Any:
    """Apply `call` to one number after the other."""
    if lanes == 1:
        return call(builder, operands)
    result = operands[0]
    for lane in range(lanes):
        place = ir.Constant(ir.IntType(32), lane)
        numbers = [builder.extract_element(operand, place) for operand in operands]
        result = builder.insert_element(result, call(builder, numbers), place)
    return result


def _fill_guarded(function: Any, call: Any, limit: float, lanes: int) -> None:
    """Write the body: the first argument, but `call` of the rest in the lanes where |second| > limit."""
    builder = ir.IRBuilder(function.append_basic_block())
    usual, guard, *operands = function.args
    above, below = (ir.Constant(guard.type, [bound] * lanes if lanes > 1 else bound) for bound in (limit, -limit))
    mask = builder.or_(builder.fcmp_ordered(">", guard, above), builder.fcmp_ordered("<", guard, below))
    bits = builder.bitcast(mask, ir.IntType(lanes)) if lanes > 1 else mask
    with builder.if_then(builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0)), likely=False):
        builder.ret(builder.select(mask, _call_lanes(builder, call, operands or [guard], lanes), usual))
    builder.ret(usual)


def _rare(name: str, call: Any, limit: float, count: int) -> Any:
    """Make a function of `count` numbers: the first, unless the second is beyond the limit; then `call` of the rest.

    A branch would keep the loop around it from being vectorised. LLVM is told of vector versions instead (by
    the attribute of its vector function ABI), and those branch inside, once for all lanes.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        module = builder.module
        if name not in module.globals:
            variants = ",".join(f"_ZGV_LLVM_N{n}{'v' * count}_{name}({name}_v{n})" for n in VECTOR_LENGTHS)
            attribute = f'"vector-function-abi-variant"="{variants}"'
            scalar = _declare(module, name, [ir.DoubleType()] * count, attribute, "linkonce_odr")
            _fill_guarded(scalar, call, limit, 1)
            for n in VECTOR_LENGTHS:
                kinds = [ir.VectorType(ir.DoubleType(), n)] * count
                _fill_guarded(_declare(module, f"{name}_v{n}", kinds, "", "weak_odr"), call, limit, n)
        return builder.call(module.globals[name], args)

    signature = types.float64(*[types.float64] * count)
    if count == 2:
        return intrinsic(lambda typing_context, usual, guard: (signature, generate))
    return intrinsic(lambda typing_context, usual, guard, x, y: (signature, generate))


# Three parts of pi/2 are enough for angles up to here; larger ones go to the C library.
LARGEST_REDUCED = 17592186044416.0

_rare_sin = _rare("graphad_rare_sin", lambda builder, args: _llvm(builder, "llvm.sin", args), LARGEST_REDUCED, 2)
_rare_cos = _rare("graphad_rare_cos", lambda builder, args: _llvm(builder, "llvm.cos", args), LARGEST_REDUCED, 2)
_rare_tan = _rare("graphad_rare_tan", lambda builder, args: _llvm(builder, "llvm.tan", args), LARGEST_REDUCED, 2)
_rare_fmod = _rare("graphad_rare_fmod", lambda builder, args: builder.frem(*args), 4503599627370495.0, 4)


@intrinsic
def _fma(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """a*b + c with one rounding."""
    kind = _narrowest(a, b, c)
    return kind(kind, kind, kind), lambda context, builder, signature, args: _llvm(builder, "llvm.fma", args)


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
def _select(typing_context: Any, condition: Any, a: Any, b: Any) -> Any:
    """A where the condition holds, else b; both are computed."""
    kind = _narrowest(a, b)
    return kind(types.boolean, kind, kind), lambda context, builder, signature, args: builder.select(*args)


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
def _power_of_two_f32(typing_context: Any, n: Any) -> Any:
    """2^n as a float32 for an integer -126 <= n <= 127 given as a float32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        # Adding 1.5 2^23 + 127 leaves the biased exponent in the low bits.
        shifted = builder.fadd(args[0], ir.Constant(ir.FloatType(), 12583039.0))
        word = builder.bitcast(shifted, ir.IntType(32))
        return builder.bitcast(builder.shl(word, ir.Constant(ir.IntType(32), 23)), ir.FloatType())

    return types.float32(types.float32), generate


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
        if point.type != terms[0].type:
            terms = [builder.fptrunc(term, point.type) for term in terms]
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
