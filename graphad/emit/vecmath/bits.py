"""The building blocks: single LLVM operations that Python has no sign for, and polynomials."""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]

from graphad.emit.vecmath.tracing import (
    _DOUBLE,
    _SINGLE,
    _WORD,
    _builder,
    _call,
    _cast,
    _converted,
    _kind,
    _narrowest,
    _Number,
    _widest,
)

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
    with builder.if_then(builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))):
        builder.ret(builder.select(mask, _call_lanes(builder, call, operands or [guard], lanes), usual))
    builder.ret(usual)


def _rare(name: str, call: Any, limit: float, kind: Any = _DOUBLE) -> Any:
    """Make a function of numbers: the first, unless the second is beyond the limit; then `call` of the rest.

    A branch would keep the loop around it from being vectorised. LLVM is told of vector versions instead (by
    the attribute of its vector function ABI), and those branch inside, once for all lanes.
    """

    def function(*operands: Any) -> Any:
        builder, count = _builder(*operands), len(operands)
        module = builder.module
        if name not in module.globals:
            variants = ",".join(f"_ZGV_LLVM_N{n}{'v' * count}_{name}({name}_v{n})" for n in VECTOR_LENGTHS)
            attribute = f'"vector-function-abi-variant"="{variants}"'
            scalar = _declare(module, name, [kind] * count, attribute, "linkonce_odr")
            _fill_guarded(scalar, call, limit, 1)
            for n in VECTOR_LENGTHS:
                kinds = [ir.VectorType(kind, n)] * count
                _fill_guarded(_declare(module, f"{name}_v{n}", kinds, "", "weak_odr"), call, limit, n)
        return _Number(builder, builder.call(module.globals[name], [_cast(builder, o, kind) for o in operands]))

    return function


def _library(name: str) -> Any:
    """Make a call of the C library's function for one number, by the name that LLVM has for it."""

    def call(builder: Any, operands: Any) -> Any:
        return _call(f"llvm.{name}", _widest, _Number(builder, operands[0])).value

    return call


def _library_f32(name: str) -> Any:
    """Make a call of the C library's function of float64 for one float32."""
    call = _library(name)
    return lambda builder, operands: builder.fptrunc(
        call(builder, [builder.fpext(operand, _DOUBLE) for operand in operands]), _SINGLE
    )


# Three parts of pi/2 are enough for angles up to here; larger ones go to the C library.
LARGEST_REDUCED = 17592186044416.0
LARGEST_REDUCED_F32 = 131072.0  # the same with three parts of float32

_rare_sin = _rare("graphad_rare_sin", _library("sin"), LARGEST_REDUCED)
_rare_cos = _rare("graphad_rare_cos", _library("cos"), LARGEST_REDUCED)
_rare_tan = _rare("graphad_rare_tan", _library("tan"), LARGEST_REDUCED)
_rare_sin_f32 = _rare("graphad_rare_sin_f32", _library_f32("sin"), LARGEST_REDUCED_F32, _SINGLE)
_rare_cos_f32 = _rare("graphad_rare_cos_f32", _library_f32("cos"), LARGEST_REDUCED_F32, _SINGLE)
_rare_fmod = _rare("graphad_rare_fmod", lambda builder, operands: builder.frem(*operands), 4503599627370495.0)


def _fma(a: Any, b: Any, c: Any) -> Any:
    """a*b + c with one rounding."""
    return _call("llvm.fma", _narrowest, a, b, c)


def _multiply_add(a: Any, b: Any, c: Any) -> Any:
    """a*b + c with one rounding where the processor has an instruction for it, else with two."""
    return _call("llvm.fmuladd", _narrowest, a, b, c)


def _rint(x: Any) -> Any:
    """The nearest integer, ties to even."""
    return _call("llvm.rint", _widest, x)


def _trunc(x: Any) -> Any:
    """The nearest integer towards zero."""
    return _call("llvm.trunc", _widest, x)


def _floor(x: Any) -> Any:
    """The nearest integer below."""
    return _call("llvm.floor", _widest, x)


def _sqrt(x: Any) -> Any:
    """The square root, correctly rounded."""
    return _call("llvm.sqrt", _widest, x)


def _fabs(x: Any) -> Any:
    """The absolute value."""
    return _call("llvm.fabs", _widest, x)


def _copysign(x: Any, y: Any) -> Any:
    """|x| with the sign of y."""
    return _call("llvm.copysign", _narrowest, x, y)


def _select(condition: Any, a: Any, b: Any) -> Any:
    """A where the condition holds, else b; both are computed."""
    builder, kind = condition.builder, _narrowest((a, b))
    return _Number(builder, builder.select(condition.value, _cast(builder, a, kind), _cast(builder, b, kind)))


def _bits(x: Any) -> Any:
    """The bits of a float64 as an int64."""
    return _converted("bitcast", _WORD, x)


def _from_bits(i: Any) -> Any:
    """The float64 that has the bits of an int64."""
    return _converted("bitcast", _DOUBLE, i)


def _power_of_two_f32(n: Any) -> Any:
    """2^n as a float32 for an integer -126 <= n <= 127 given as a float32."""
    builder = n.builder
    # Adding 1.5 2^23 + 127 leaves the biased exponent in the low bits.
    word = builder.bitcast(builder.fadd(n.value, ir.Constant(_SINGLE, 12583039.0)), ir.IntType(32))
    return _Number(builder, builder.bitcast(builder.shl(word, ir.Constant(ir.IntType(32), 23)), _SINGLE))


def _scale_f32(p: Any, rounded: Any) -> Any:
    """P 2^n for |n| <= 250, in two steps; `rounded` is n + 1.5 2^23 + 254: twice the bias in its low bits."""
    builder, word = p.builder, ir.IntType(32)
    places = ir.Constant(word, 23)
    both = builder.bitcast(rounded.value, word)
    half = builder.lshr(both, ir.Constant(word, 1))
    for part in (half, builder.sub(both, half)):
        p = p * _Number(builder, builder.bitcast(builder.shl(part, places), _SINGLE))
    return p


def _split_f32(x: Any) -> tuple[Any, Any]:
    """E and f with x = 2^e (1 + f), sqrt(1/2) <= 1 + f < sqrt(2), for a finite float32 x > 0."""
    builder, word = x.builder, ir.IntType(32)
    low, places, half_root = ir.Constant(_SINGLE, 2.0**-126), ir.Constant(word, 23), ir.Constant(word, 0x3F3504F3)
    subnormal = builder.fcmp_ordered("<", x.value, low)
    scaled = builder.select(subnormal, builder.fmul(x.value, ir.Constant(_SINGLE, 2.0**23)), x.value)
    word_of = builder.add(builder.bitcast(scaled, word), ir.Constant(word, 0x3F800000 - 0x3F3504F3))
    bias = builder.select(subnormal, ir.Constant(word, 150), ir.Constant(word, 127))
    exponent = builder.sitofp(builder.sub(builder.lshr(word_of, places), bias), _SINGLE)
    fraction = builder.add(builder.and_(word_of, ir.Constant(word, 0x7FFFFF)), half_root)
    rest = builder.fsub(builder.bitcast(fraction, _SINGLE), ir.Constant(_SINGLE, 1.0))
    return _Number(builder, exponent), _Number(builder, rest)


def _turned_f32(rounded: Any, turn: int, sine: Any, cosine: Any) -> Any:
    """The sine of an angle after as many right angles as the low bits of a float32 say, and `turn` more."""
    builder, word = rounded.builder, ir.IntType(32)
    q = builder.add(builder.bitcast(rounded.value, word), ir.Constant(word, turn))
    odd = builder.icmp_unsigned("!=", builder.and_(q, ir.Constant(word, 1)), ir.Constant(word, 0))
    value = builder.bitcast(builder.select(odd, cosine.value, sine.value), word)
    sign = builder.shl(builder.and_(q, ir.Constant(word, 2)), ir.Constant(word, 30))
    return _Number(builder, builder.bitcast(builder.xor(value, sign), _SINGLE))


def _constant(number: float, like: Any) -> Any:
    """A number of the type of another: an operator would take a bare one for a float64."""
    return _Number(like.builder, _cast(like.builder, number, like.value.type))


def _wide(x: Any) -> Any:
    """A float32 as a float64."""
    return _converted("fpext", _DOUBLE, x)


def _narrow(x: Any) -> Any:
    """A float64 rounded to float32."""
    return _converted("fptrunc", _SINGLE, x)


def _shift_right(i: Any, places: int) -> Any:
    """The bits of an int64 moved right, zeros from the left (cheaper than an arithmetic shift before AVX-512)."""
    return _Number(i.builder, i.builder.lshr(i.value, ir.Constant(_WORD, places)))


def _polynomial(x: Any, coefficients: tuple[float, ...]) -> Any:
    """c0 + c1 x + c2 x^2 + ..., the even and the odd terms by Horner's rule side by side."""
    square = x * x
    sums = []
    for chain in (coefficients[0::2], coefficients[1::2]):
        total: Any = chain[-1]
        for term in reversed(chain[:-1]):
            total = _fma(square, total, term)
        sums.append(total)
    return _fma(sums[1], x, sums[0])


def _horner(x: Any, coefficients: tuple[float, ...]) -> Any:
    """c0 + c1 x + c2 x^2 + ... in the fewest operations, where other work fills the time that each waits."""
    total: Any = coefficients[-1]
    for term in reversed(coefficients[:-1]):
        total = _fma(x, total, term)
    return total


def _extremum(name: str, symbol: str, a: Any, b: Any) -> Any:
    """`maximum` or `minimum` of two numbers of one type: NaN if either is, ties to the first."""
    kind = _narrowest((a, b))
    if kind in (_SINGLE, _DOUBLE):
        return _call(f"llvm.{name}", _narrowest, a, b)
    builder = _builder(a, b)
    compare = builder.icmp_unsigned if _kind(a) == ir.IntType(1) else builder.icmp_signed
    return _Number(builder, builder.select(compare(symbol, a.value, b.value), a.value, b.value))


def _maximum(a: Any, b: Any) -> Any:
    """The larger of two numbers."""
    return _extremum("maximum", ">=", a, b)


def _minimum(a: Any, b: Any) -> Any:
    """The smaller of two numbers."""
    return _extremum("minimum", "<=", a, b)
