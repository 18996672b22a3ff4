"""Operations for Numba whose LLVM code is written by running a Python function on values of LLVM's.

Numba would infer types for every line of every function, at each compilation; running a function takes a millisecond.
What is run must not branch, so that the loop around it can be vectorised. The code has no fast-math flags: error-free
transformations survive.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

import numba.core.extending
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types

extending: Any = numba.core.extending

_TRUTH = ir.IntType(1)
_WORD = ir.IntType(64)
_SINGLE = ir.FloatType()
_DOUBLE = ir.DoubleType()
_WIDTHS = (_TRUTH, ir.IntType(32), _WORD, _SINGLE, _DOUBLE)
_CONSTANTS = {bool: _TRUTH, int: _WORD, float: _DOUBLE}


def _kind(operand: Any) -> Any:
    """The LLVM type of a traced number or of a Python number."""
    return operand.value.type if isinstance(operand, _Number) else _CONSTANTS[type(operand)]


def _builder(*operands: Any) -> Any:
    """Where the next instruction goes."""
    return next(o.builder for o in operands if isinstance(o, _Number))


def _cast(builder: Any, operand: Any, kind: Any) -> Any:
    """The LLVM value of an operand as a float of another width, or as the type that it has."""
    if not isinstance(operand, _Number):
        return ir.Constant(kind, float(operand) if kind in (_SINGLE, _DOUBLE) else operand)
    if operand.value.type == kind:
        return operand.value
    return (builder.fpext if kind == _DOUBLE else builder.fptrunc)(operand.value, kind)


def _widest(operands: Any) -> Any:
    return max(map(_kind, operands), key=_WIDTHS.index)


def _narrowest(operands: Any) -> Any:
    """The type of an operation in which float32 with constants of float64 is meant as float32."""
    kinds = [_kind(o) for o in operands]
    return _SINGLE if _SINGLE in kinds else _widest(operands)


def _calculation(real: str, whole: str) -> tuple[Any, Any]:
    """A binary operator and its reflection, by the names of the instructions for floats and for integers."""

    def operator(left: Any, right: Any) -> Any:
        builder, kind = _builder(left, right), _widest((left, right))
        instruction = getattr(builder, real if kind in (_SINGLE, _DOUBLE) else whole)
        return _Number(builder, instruction(_cast(builder, left, kind), _cast(builder, right, kind)))

    return operator, lambda left, right: operator(right, left)


def _comparison(symbol: str) -> Any:
    def operator(left: Any, right: Any) -> Any:
        builder, kind = _builder(left, right), _widest((left, right))
        if kind in (_SINGLE, _DOUBLE):
            compare = builder.fcmp_unordered if symbol == "!=" else builder.fcmp_ordered
        else:
            compare = builder.icmp_unsigned if kind == _TRUTH else builder.icmp_signed
        return _Number(builder, compare(symbol, _cast(builder, left, kind), _cast(builder, right, kind)))

    return operator


class _Number:
    """A value of LLVM's on which Python's operators write instructions, with the builder that takes them."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder = builder
        self.value = value

    __add__, __radd__ = _calculation("fadd", "add")
    __sub__, __rsub__ = _calculation("fsub", "sub")
    __mul__, __rmul__ = _calculation("fmul", "mul")
    __truediv__, __rtruediv__ = _calculation("fdiv", "")
    __and__, __rand__ = _calculation("", "and_")
    __or__, __ror__ = _calculation("", "or_")
    __xor__, __rxor__ = _calculation("", "xor")
    __lshift__, __rlshift__ = _calculation("", "shl")
    __lt__, __le__, __gt__, __ge__ = map(_comparison, ("<", "<=", ">", ">="))
    __eq__, __ne__ = map(_comparison, ("==", "!="))
    __hash__ = None  # type: ignore[assignment]

    def __neg__(self) -> Any:
        return _Number(self.builder, self.builder.fneg(self.value))


def _call(name: str, kind_of: Callable[[Any], Any], *operands: Any) -> Any:
    """The LLVM intrinsic `name`, overloaded on the type of the operands."""
    builder, kind = _builder(*operands), kind_of(operands)
    function = builder.module.declare_intrinsic(name, [kind], ir.FunctionType(kind, [kind] * len(operands)))
    return _Number(builder, builder.call(function, [_cast(builder, o, kind) for o in operands]))


def _converted(operation: str, kind: Any, operand: Any) -> Any:
    """A number as another type: `bitcast`, `fpext`, `fptrunc`."""
    return _Number(operand.builder, getattr(operand.builder, operation)(operand.value, kind))


class _Printed(ir.Function):  # type: ignore[misc]
    """A function whose text is known: Numba, which gives its flags to all instructions of a module, sees none."""

    text = ""

    def __str__(self) -> str:
        return self.text


@cache
def _traced(function: Any, name: str, kind: Any, count: int) -> list[tuple[str, Any, str]]:
    """The functions of the module that holds `function` of `count` numbers: name, type, and text where it has one."""
    module = ir.Module()
    written = ir.Function(module, ir.FunctionType(kind, [kind] * count), name)
    written.linkage = "linkonce_odr"
    written.attributes.add("alwaysinline")
    builder = ir.IRBuilder(written.append_basic_block())
    builder.ret(_cast(builder, function(*[_Number(builder, argument) for argument in written.args]), kind))
    return [(f.name, f.ftype, str(f) if f.blocks else "") for f in module.functions]


def _written(module: Any, function: Any, name: str, args: Any) -> Any:
    """The function in an LLVM module, to be put in the place of every call."""
    for part, kind, text in _traced(function, name, args[0].type, len(args)):
        if part not in module.globals:
            (_Printed if text else ir.Function)(module, kind, part).text = text
    return module.globals[name]


class _Operation(extending._Intrinsic):  # type: ignore[misc]
    """What Numba takes for an intrinsic, and Python for the function behind it."""

    def __call__(self, *operands: Any) -> Any:
        return self.function(*operands)


def _operation(dtype: str) -> Callable[[Any], Any]:
    """A decorator for functions of numbers of a dtype; "" for that of the first argument."""

    def decorate(function: Any) -> Any:
        def written(module: Any, args: Any) -> Any:
            return _written(module, function, f"graphad_{function.__name__}_{args[0].type}", args)

        def define(typing_context: Any, *kinds: Any) -> Any:
            kind = getattr(types, dtype) if dtype else kinds[0]

            def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                return builder.call(written(builder.module, args), args)

            return kind(*[kind] * len(kinds)), generate

        own = inspect.signature(function)
        first = inspect.Parameter("typing_context", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        define.__signature__ = own.replace(parameters=[first, *own.parameters.values()])  # type: ignore[attr-defined]
        operation = _Operation(function.__name__, define)
        operation._register()
        operation.function, operation.written, operation.dtype = function, written, dtype
        return operation

    return decorate


elementary = _operation("float64")
elementary_f32 = _operation("float32")
elementary_of_any = _operation("")
