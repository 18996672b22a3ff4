"""What kernels call, as LLVM code: conversions, the vector mathematics, memory, BLAS."""

from __future__ import annotations

import ast
import importlib
import math
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from llvmlite import ir  # type: ignore[import-untyped]

from graphad.emit import sweeps
from graphad.emit.reporting import REPORT, STOPPED
from graphad.emit.values import (
    KINDS,
    SIZE,
    Array,
    Scalar,
    UntranslatedError,
    cast,
    common,
    compared,
    definition_of,
    is_float,
)
from graphad.emit.vecmath.registry import FAMILIES, FUNCTIONS

if TYPE_CHECKING:
    from graphad.emit.translate import Translator

Call = Callable[["Translator", list[ast.expr]], Any]

NUMPY_NUMBERS = {"inf": math.inf, "nan": math.nan, "pi": math.pi}
CONVERSIONS = {
    "np.float64": "float64", "np.float32": "float32", "np.int64": "int64", "np.int32": "int32", "np.uint64": "int64",
    "np.bool_": "bool", "bool": "bool", "float": "float64", "int": "int64",
}  # fmt: skip
INTRINSICS = {"math.sqrt": "sqrt", "np.floor": "floor", "np.ceil": "ceil", "np.trunc": "trunc", "np.rint": "rint"}
GEMM = {"float64": "graphad_dgemm", "float32": "graphad_sgemm"}
CHAR, WORD, BYTES = ir.IntType(8), ir.IntType(32), ir.IntType(8).as_pointer()

CALLS: dict[str, Call] = {}
"""The functions by the names under which kernels call them."""


def _called(*names: str) -> Callable[[Call], Call]:
    def register(function: Call) -> Call:
        CALLS.update(dict.fromkeys(names, function))
        return function

    return register


# ---------------------------------------------------------------------- numbers


def _conversion(kind: str) -> Call:
    return lambda low, args: Scalar(kind, cast(low.builder, low.scalar(args[0]), kind))


def _rounding(name: str) -> Call:
    def call(low: Translator, args: list[ast.expr]) -> Scalar:
        number = low.scalar(args[0])
        kind = number.kind if is_float(number.kind) else "float64"
        return Scalar(kind, intrinsic(low, name, kind, [cast(low.builder, number, kind)]))

    return call


def intrinsic(low: Translator, name: str, kind: str, values: list[Any]) -> Any:
    """A call of one of LLVM's own functions."""
    register = KINDS[kind].register
    signature = ir.FunctionType(register, [register] * len(values))
    declared = low.module.declare_intrinsic(f"llvm.{name}", [register], signature)
    return low.builder.call(declared, values, fastmath=low.flags if is_float(kind) else ())


CALLS.update({name: _conversion(kind) for name, kind in CONVERSIONS.items()})
CALLS.update({name: _rounding(own) for name, own in INTRINSICS.items()})


@_called("abs")
def _absolute(low: Translator, args: list[ast.expr]) -> Scalar:
    number = low.scalar(args[0])
    if is_float(number.kind):
        return Scalar(number.kind, intrinsic(low, "fabs", number.kind, [number.value]))
    value = cast(low.builder, number, "int64")
    negative = low.builder.icmp_signed("<", value, ir.Constant(SIZE, 0))
    return Scalar("int64", low.builder.select(negative, low.builder.neg(value), value))


def _extremum(symbol: str) -> Call:
    def call(low: Translator, args: list[ast.expr]) -> Scalar:
        best, *others = map(low.scalar, args)
        for other in others:
            kind = common(best.kind, other.kind)
            if kind != "int64":
                raise UntranslatedError(f"the extremum of numbers of {kind}")
            condition = compared(low.builder, symbol, best, other, low.flags).value
            values = [cast(low.builder, number, kind) for number in (best, other)]
            best = Scalar(kind, low.builder.select(condition, *values))
        return best

    return call


CALLS |= {"min": _extremum("<="), "max": _extremum(">=")}


@_called("np.fmod")
def _fmod(low: Translator, args: list[ast.expr]) -> Scalar:
    left, right = map(low.scalar, args)
    kind = common(left.kind, right.kind)
    if not is_float(kind):
        raise UntranslatedError("np.fmod of integers")
    values = [cast(low.builder, number, kind) for number in (left, right)]
    return Scalar(kind, low.builder.frem(*values, flags=low.flags))


def _reordered(instruction: str) -> Call:
    """An accumulation of which a chain may be computed in any order."""

    def call(low: Translator, args: list[ast.expr]) -> Scalar:
        total, term = map(low.scalar, args)
        add = getattr(low.builder, instruction)
        value = add(total.value, cast(low.builder, term, total.kind), flags=("reassoc", "contract", "nsz"))
        return Scalar(total.kind, value)

    return call


CALLS |= {"_plus": _reordered("fadd"), "_times": _reordered("fmul")}


# ---------------------------------------------------------------------- vector mathematics


@cache
def _elementary(name: str) -> Any:
    """A function of the vector mathematics."""
    for family in FAMILIES:
        module = importlib.import_module(f"graphad.emit.vecmath.{family}")
        if hasattr(module, name):
            return getattr(module, name)
    raise UntranslatedError(name)


def _vector_function(name: str) -> Call:
    def call(low: Translator, args: list[ast.expr]) -> Scalar:
        operation = _elementary(name)
        if not hasattr(operation, "written"):
            raise UntranslatedError(name)
        numbers = list(map(low.scalar, args))
        kind = operation.dtype or numbers[0].kind
        values = [cast(low.builder, number, kind) for number in numbers]
        function = operation.written(low.module, values)
        return Scalar(kind, low.builder.call(function, values, fastmath=low.flags if is_float(kind) else ()))

    return call


CALLS.update({name: _vector_function(name) for name in FUNCTIONS})


@_called("lgamma", "lgamma_f32")
def _lgamma(low: Translator, args: list[ast.expr]) -> Scalar:
    number = low.scalar(args[0])
    value = cast(low.builder, number, "float64")
    kind = ir.FunctionType(ir.DoubleType(), [ir.DoubleType()])
    function = low.module.globals.get("lgamma") or ir.Function(low.module, kind, "lgamma")
    result = low.builder.call(function, [value])
    lowest = low.builder.fcmp_ordered("==", value, ir.Constant(value.type, -math.inf))
    result = Scalar("float64", low.builder.select(lowest, value, result))
    own = number.kind if is_float(number.kind) else "float64"
    return Scalar(own, cast(low.builder, result, own))


def _division(remainder: bool) -> Call:
    """Integer division towards negative infinity, 0 where the divisor is 0."""

    def call(low: Translator, args: list[ast.expr]) -> Scalar:
        numbers = [low.scalar(a) for a in args]
        if common(*(n.kind for n in numbers)) != "int64":
            raise UntranslatedError("the integer division of other numbers")
        builder, zero, one = low.builder, ir.Constant(SIZE, 0), ir.Constant(SIZE, 1)
        left, right = (cast(builder, number, "int64") for number in numbers)
        none = builder.icmp_signed("==", right, zero)
        # The quotient of the smallest integer by -1 does not fit: it is its own negative, with nothing left.
        negated = builder.icmp_signed("==", right, ir.Constant(SIZE, -1))
        divisor = builder.select(builder.or_(none, negated), one, right)
        quotient, rest = builder.sdiv(left, divisor), builder.srem(left, divisor)
        apart = builder.icmp_signed("<", builder.xor(rest, divisor), zero)
        below = builder.and_(builder.icmp_signed("!=", rest, zero), apart)
        if remainder:
            found = builder.select(below, builder.add(rest, divisor), rest)
        else:
            found = builder.select(below, builder.sub(quotient, one), quotient)
            found = builder.select(negated, builder.neg(left), found)
        return Scalar("int64", builder.select(none, zero, found))

    return call


CALLS |= {"floordiv_int": _division(remainder=False), "remainder_int": _division(remainder=True)}


@_called("_stretch")
def _stretch(low: Translator, args: list[ast.expr]) -> Scalar:
    values = [cast(low.builder, low.scalar(a), "int64") for a in args]
    return low.called("graphad_stretch", lambda: definition_of(sweeps.LINES, "_stretch"), values)


# ---------------------------------------------------------------------- memory


@_called("_fill")
def _fill(low: Translator, args: list[ast.expr]) -> None:
    array, builder = low.array(args[0]), low.builder
    value = low.in_memory(low.scalar(args[1]), array.dtype)
    count: Any = ir.Constant(SIZE, 1)
    for extent in array.shape:
        count = builder.mul(count, extent, flags=("nsw",))
    with low.rounds(count) as number:
        low.scopes.mark(builder.store(value, builder.gep(array.data, [number], inbounds=True)), array.owners)


@_called("_array")
def _array(low: Translator, args: list[ast.expr]) -> Array:
    address, dtype, shape = args
    assert isinstance(shape, ast.Tuple)
    kind = ast.unparse(dtype).removeprefix("np.").rstrip("_")
    lengths = tuple(cast(low.builder, low.scalar(e), "int64") for e in shape.elts)
    data = low.builder.inttoptr(low.scalar(address).value, KINDS[kind].memory.as_pointer())
    return Array(kind, data, lengths)


def _exchange(low: Translator, block: Any, name: str = "graphad_scratch") -> Any:
    """Put a block into a slot of the module and take out what was there."""
    slot = low.module.globals.get(name)
    if slot is None:
        slot = ir.GlobalVariable(low.module, SIZE, name)
        slot.linkage, slot.initializer = "internal", ir.Constant(SIZE, 0)
    return low.builder.atomic_rmw("xchg", slot, block, "acq_rel")


def _library(low: Translator, name: str, result: Any, argument: Any) -> Any:
    kind = ir.FunctionType(result, [argument])
    return low.module.globals.get(name) or ir.Function(low.module, kind, name)


def _release(low: Translator, block: Any) -> None:
    low.builder.call(_library(low, "graphad_release", ir.VoidType(), SIZE), [block])


@_called("_borrow")
def _borrow(low: Translator, args: list[ast.expr]) -> Scalar:
    """As in `graphad.emit.scratch`: the block notes its bytes at its beginning."""
    builder, none = low.builder, ir.Constant(SIZE, 0)
    count = cast(builder, low.scalar(args[0]), "int64")
    kept = _exchange(low, none)
    with builder.goto_entry_block():
        result = builder.alloca(SIZE)
    builder.store(kept, result)
    some = builder.icmp_unsigned("!=", kept, none)
    with builder.if_then(some):
        header = builder.inttoptr(kept, SIZE.as_pointer())
        with builder.if_then(builder.icmp_signed("<", builder.load(header), count)):
            _release(low, kept)
            builder.store(none, result)
    with builder.if_then(builder.icmp_unsigned("==", builder.load(result), none)):
        whole = builder.add(count, ir.Constant(SIZE, 128))
        fresh = builder.call(_library(low, "graphad_allocate", SIZE, SIZE), [whole])
        with builder.if_then(builder.icmp_unsigned("==", fresh, none)):
            builder.ret(ir.Constant(WORD, 1))
        builder.store(count, builder.inttoptr(fresh, SIZE.as_pointer()))
        builder.store(fresh, result)
    return Scalar("int64", builder.load(result))


def _kept(low: Translator, block: Any, name: str) -> None:
    other = _exchange(low, block, name)
    with low.builder.if_then(low.builder.icmp_unsigned("!=", other, ir.Constant(SIZE, 0))):
        _release(low, other)


@_called("_give_back")
def _give_back(low: Translator, args: list[ast.expr]) -> None:
    _kept(low, low.scalar(args[0]).value, "graphad_scratch")


@_called("_tape")
def _tape(low: Translator, args: list[ast.expr]) -> Scalar:
    """As in `graphad.emit.sweeps`, like the functions below."""
    return Scalar("int64", _exchange(low, ir.Constant(SIZE, 0), "graphad_tape"))


@_called("_keep_tape")
def _keep_tape(low: Translator, args: list[ast.expr]) -> None:
    _kept(low, low.scalar(args[0]).value, "graphad_tape")


@_called("_room")
def _room(low: Translator, args: list[ast.expr]) -> Scalar:
    builder, tape, none = low.builder, low.scalar(args[0]).value, ir.Constant(SIZE, 0)
    with builder.goto_entry_block():
        result = builder.alloca(SIZE)
    builder.store(none, result)
    with builder.if_then(builder.icmp_unsigned("!=", tape, none)):
        builder.store(builder.load(builder.inttoptr(tape, SIZE.as_pointer())), result)
    return Scalar("int64", builder.load(result))


@_called("_longer")
def _longer(low: Translator, args: list[ast.expr]) -> Scalar:
    builder, none = low.builder, ir.Constant(SIZE, 0)
    tape, used, room = (cast(builder, low.scalar(a), "int64") for a in args)
    before = ir.Constant(SIZE, sweeps.BEFORE)
    fresh = builder.call(_library(low, "graphad_allocate", SIZE, SIZE), [builder.add(room, before)])
    with builder.if_then(builder.icmp_unsigned("==", fresh, none)):
        builder.ret(ir.Constant(WORD, 1))
    copy = low.module.declare_intrinsic("llvm.memcpy", [BYTES, BYTES, SIZE])
    target, source = (builder.inttoptr(builder.add(block, before), BYTES) for block in (fresh, tape))
    builder.call(copy, [target, source, used, ir.Constant(ir.IntType(1), 0)])
    builder.store(room, builder.inttoptr(fresh, SIZE.as_pointer()))
    with builder.if_then(builder.icmp_unsigned("!=", tape, none)):
        _release(low, tape)
    return Scalar("int64", fresh)


# ---------------------------------------------------------------------- progress


@_called("_report")
def _report(low: Translator, args: list[ast.expr]) -> Scalar:
    """As in `graphad.emit.reporting`: the name of a loop, and numbers of steps; whether it is to stop."""
    text = bytearray(str(ast.literal_eval(args[0])).encode() + b"\0")
    done, total = (cast(low.builder, low.scalar(a), "int64") for a in args[1:])
    kind = ir.ArrayType(CHAR, len(text))
    name = ir.GlobalVariable(low.module, kind, low.module.get_unique_name("told"))
    name.linkage, name.global_constant, name.initializer = "internal", True, ir.Constant(kind, text)
    called = low.module.globals.get(REPORT)
    called = called or ir.Function(low.module, ir.FunctionType(SIZE, [BYTES, SIZE, SIZE]), REPORT)
    answer = low.builder.call(called, [low.builder.bitcast(name, BYTES), done, total])
    return Scalar("bool", low.builder.icmp_unsigned("!=", answer, ir.Constant(SIZE, 0)))


@_called("_stop")
def _stop(low: Translator, args: list[ast.expr]) -> None:
    low.builder.ret(ir.Constant(WORD, STOPPED))


# ---------------------------------------------------------------------- BLAS


@_called("_matrix_product")
def _matrix_product(low: Translator, args: list[ast.expr]) -> None:
    """C (m, n) becomes a (m, k) times b (k, n); BLAS, which thinks in columns, makes the transposed product."""
    builder = low.builder
    first, second, target = (low.array(a) for a in args[:3])
    rows, inner, columns, turned = (cast(builder, low.scalar(a), "int64") for a in args[3:])
    masks = [builder.and_(turned, ir.Constant(SIZE, bit)) for bit in (1, 2)]
    bits = [builder.icmp_signed("!=", mask, ir.Constant(SIZE, 0)) for mask in masks]
    letters = [builder.select(bit, ir.Constant(CHAR, ord("t")), ir.Constant(CHAR, ord("n"))) for bit in bits]
    leading = [builder.select(bits[1], inner, columns), builder.select(bits[0], rows, inner), columns]
    number = KINDS[target.dtype].memory

    def slot(value: Any) -> Any:
        with builder.goto_entry_block():
            place = builder.alloca(value.type)
        builder.store(value, place)
        return builder.bitcast(place, BYTES)

    def size(value: Any) -> Any:
        return slot(builder.trunc(value, WORD))

    def distance(value: Any) -> Any:
        positive = builder.icmp_signed(">", value, ir.Constant(SIZE, 0))
        return size(builder.select(positive, value, ir.Constant(SIZE, 1)))

    def memory(array: Array) -> Any:
        return builder.bitcast(array.data, BYTES)

    name = GEMM[target.dtype]
    gemm = low.module.globals.get(name) or ir.Function(low.module, ir.FunctionType(ir.VoidType(), [BYTES] * 13), name)
    builder.call(gemm, [
        slot(letters[1]), slot(letters[0]), size(columns), size(rows), size(inner), slot(ir.Constant(number, 1.0)),
        memory(second), distance(leading[0]), memory(first), distance(leading[1]), slot(ir.Constant(number, 0.0)),
        memory(target), distance(leading[2]),
    ])  # fmt: skip
