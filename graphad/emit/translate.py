"""The text of a kernel as LLVM code, without Numba: its few kinds of lines, one after the other.

Numba's front end takes ten times as long as LLVM, most of it to find out types that are plain to see: numbers and
C-ordered arrays of known dtypes. The rules are Numba's (promotion, negative indices, division by zero, which operations
may be contracted), so both make the same of a text. What is not understood raises `UntranslatedError`, and Numba gets
it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]

from graphad.emit.aliasing import Memory, Scopes, origins
from graphad.emit.short_loops import has_masks, is_short, mask
from graphad.emit.translate_calls import CALLS, NUMPY_NUMBERS
from graphad.emit.values import (
    ARITHMETIC,
    COMPARISON,
    FLAGS,
    KINDS,
    SIZE,
    Argument,
    Array,
    Scalar,
    UntranslatedError,
    cast,
    common,
    compared,
    constant,
    definition_of,
    indices_of,
    is_natural,
    operated,
    signed,
    summed_products,
    varying_names,
)

ZERO = ir.Constant(SIZE, 0)


class _AgainError(Exception):
    """A variable turned out to hold a wider kind of number than its first value."""


def translate(
    name: str, text: str, arguments: Sequence[Argument], returned: Sequence[str],
    symbols: Mapping[str, str] | None = None, memory: Memory | None = None,
    hints: Mapping[str, int] | None = None, flags: Sequence[str] = FLAGS,
) -> ir.Module:  # fmt: skip
    """The LLVM module of a kernel, called as Numba's own are.

    Arguments:
        name: of the function in the module.
        text: of the kernel's definition, with its decorator.
        returned: the dtypes of its results.
        symbols: of the straight programs that it calls.
        memory: the arrays that have memory of their own; None: any two may share some.
        hints: typical values of names of integers.
        flags: of its arithmetic.

    Raises `UntranslatedError` for what is no part of the kernels' language.
    """
    kinds: dict[tuple[str, str], str] = {}
    while True:
        module = ir.Module()
        try:
            Translator(
                module, name, definition_of(text), arguments, returned, kinds, symbols or {}, memory or Memory(),
                hints or {}, flags,
            )  # fmt: skip
        except _AgainError:
            continue
        return module


class Translator:
    """Translates one function."""

    def __init__(
        self, module: ir.Module, name: str, definition: ast.FunctionDef, arguments: Sequence[Argument],
        returned: Sequence[str], kinds: dict[tuple[str, str], str], symbols: Mapping[str, str], memory: Memory,
        hints: Mapping[str, int], flags: Sequence[str] = FLAGS,
    ) -> None:  # fmt: skip
        self.module, self.flags = module, flags
        self.symbols = symbols
        self.name = name
        self.kinds = kinds
        self.returned = returned
        self.slots: dict[str, Any] = {}
        self.ends: list[Any] = []
        self.counters: dict[str, Any] = {}
        self.arrays: dict[str, Array] = {}
        self.natural: set[str] = set()
        self.varying = varying_names(definition)
        self.summed = summed_products(definition)
        self.hints = hints if has_masks() else {}
        self.scopes, self.origins = Scopes(module, memory), origins(definition, memory)
        address = ir.IntType(8).as_pointer()
        types: list[Any] = [address, address]
        for argument in arguments:
            element = KINDS[argument.dtype].memory
            types += [address, address, SIZE, SIZE, element.as_pointer(), *[SIZE] * (2 * argument.rank)] \
                if argument.rank else [element]  # fmt: skip
        self.function = ir.Function(self.module, ir.FunctionType(ir.IntType(32), types), name)
        self.builder = ir.IRBuilder(self.function.append_basic_block())
        self._bind([a.arg for a in definition.args.args], arguments)
        self.block(definition.body)

    def _bind(self, names: list[str], arguments: Sequence[Argument]) -> None:
        values = list(self.function.args)[2:]
        for name, argument in zip(names, arguments, strict=True):
            if argument.rank:
                shape = values[5 : 5 + argument.rank]
                self.bind(name, Array(argument.dtype, values[4], tuple(shape)))
                values = values[5 + 2 * argument.rank :]
                continue
            value = Scalar(argument.dtype, values.pop(0))
            if argument.dtype == "bool":
                value = Scalar("bool", self.builder.icmp_unsigned("!=", value.value, ir.Constant(ir.IntType(8), 0)))
            self.assign(name, value)

    def called(self, name: str, definition: Callable[[], ast.FunctionDef], values: Sequence[Any]) -> Scalar:
        """Call a function from integers to an integer, which is translated into the same module."""
        function = self.module.globals.get(name)
        if function is None:
            arguments, kinds = [Argument("int64", 0)] * len(values), self.kinds
            inner = Translator(self.module, name, definition(), arguments, ["int64"], kinds, {}, Memory(), {})
            function = inner.function
            function.linkage = "internal"
        with self.builder.goto_entry_block():
            result = self.builder.alloca(SIZE)
        address = ir.IntType(8).as_pointer()
        nothing = ir.Constant(address, None)
        self.builder.call(function, [self.builder.bitcast(result, address), nothing, *values])
        return Scalar("int64", self.builder.load(result))

    # ------------------------------------------------------------------ statements

    def block(self, body: list[ast.stmt]) -> None:
        """Statements in their order."""
        for statement in body:
            method: Callable[[Any], None] | None = getattr(self, f"_{type(statement).__name__.lower()}", None)
            if method is None:
                raise UntranslatedError(ast.unparse(statement))
            method(statement)

    def _assign(self, statement: ast.Assign) -> None:
        (target,) = statement.targets
        if isinstance(target, ast.Tuple) and isinstance(statement.value, ast.Tuple):
            values = [self.value(v) for v in statement.value.elts]
            natural = [self.is_natural(v) for v in statement.value.elts]
            for one, value, certain in zip(target.elts, values, natural, strict=True):
                self.give(one, value, certain)
            return
        self.give(target, self.value(statement.value), self.is_natural(statement.value))

    def give(self, target: ast.expr, value: Any, natural: bool) -> None:
        """Assign a value, of which may be known that it is not negative, to a variable or an element."""
        if isinstance(target, ast.Subscript) and isinstance(value, Scalar):
            self.store(target, value)
        elif isinstance(target, ast.Name) and isinstance(value, Array):
            self.bind(target.id, value)
        elif isinstance(target, ast.Name) and isinstance(value, Scalar):
            (self.natural.add if natural else self.natural.discard)(target.id)
            self.assign(target.id, value)
        else:
            raise UntranslatedError(ast.unparse(target))

    def _augassign(self, statement: ast.AugAssign) -> None:
        reading = ast.parse(ast.unparse(statement.target), mode="eval").body
        value = ast.BinOp(reading, statement.op, statement.value)
        self._assign(ast.Assign([statement.target], value))

    def _for(self, statement: ast.For) -> None:
        call, target = statement.iter, statement.target
        if not (isinstance(call, ast.Call) and isinstance(target, ast.Name) and ast.unparse(call.func) == "range"):
            raise UntranslatedError(ast.unparse(statement))
        bounds = [cast(self.builder, self.scalar(a), "int64") for a in call.args]
        distance = ast.literal_eval(call.args[2]) if len(bounds) == 3 else 1
        if not isinstance(distance, int) or distance == 0:
            raise UntranslatedError(ast.unparse(statement))
        start, end = (bounds[0], bounds[1]) if len(bounds) > 1 else (ZERO, bounds[0])
        least = call.args[1] if distance < 0 else call.args[0] if len(bounds) > 1 else None
        known, before = self.counters.pop(target.id, None), set(self.natural)
        self.forget(statement.body)
        with self.rounds(end, start, distance, short=is_short(statement, self.hints)) as counter:
            (self.natural.add if self.is_reached(least) else self.natural.discard)(target.id)
            if target.id in self.varying:
                self.assign(target.id, Scalar("int64", counter))
            else:
                self.counters[target.id] = counter
            self.block(statement.body)
        self.counters.pop(target.id, None)
        if known is not None:
            self.counters[target.id] = known
        self.natural &= before

    def is_reached(self, least: ast.expr | None) -> bool:
        """Whether a counter is plainly not negative that begins with `least` or ends before it."""
        return least is None or self.is_natural(least) or ast.unparse(least) == "-1"

    def forget(self, body: list[ast.stmt]) -> None:
        """Variables that a loop assigns may be negative in its next round."""
        assigned = {n.id for s in body for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        self.natural -= assigned

    def _while(self, statement: ast.While) -> None:
        self.forget(statement.body)
        natural = set(self.natural)
        head, body = self.builder.append_basic_block("head"), self.builder.append_basic_block("body")
        after = self.builder.append_basic_block("after")
        self.builder.branch(head)
        self.builder.position_at_end(head)
        self.builder.cbranch(cast(self.builder, self.scalar(statement.test), "bool"), body, after)
        self.builder.position_at_end(body)
        self.ends.append(after)
        self.block(statement.body)
        self.ends.pop()
        if not self.builder.block.is_terminated:
            self.builder.branch(head)
        self.builder.position_at_end(after)
        self.natural &= natural

    def _break(self, statement: ast.Break) -> None:
        if not self.ends:
            raise UntranslatedError("break")
        self.builder.branch(self.ends[-1])

    @contextmanager
    def rounds(self, end: Any, start: Any = ZERO, step: int = 1, *, short: bool = False) -> Iterator[Any]:
        """A loop over what is written inside; gives its counter."""
        before, head = self.builder.block, self.builder.append_basic_block("head")
        body, after = self.builder.append_basic_block("body"), self.builder.append_basic_block("after")
        self.builder.branch(head)
        self.builder.position_at_end(head)
        counter = self.builder.phi(SIZE)
        counter.add_incoming(start, before)
        self.builder.cbranch(self.builder.icmp_signed("<" if step > 0 else ">", counter, end), body, after)
        self.builder.position_at_end(body)
        ends, self.ends = self.ends, []
        yield counter
        self.ends = ends
        counter.add_incoming(self.builder.add(counter, ir.Constant(SIZE, step), flags=("nsw",)), self.builder.block)
        back = self.builder.branch(head)
        if short:
            mask(self.module, back)
        self.builder.position_at_end(after)

    def _if(self, statement: ast.If) -> None:
        condition = cast(self.builder, self.scalar(statement.test), "bool")
        natural = set(self.natural)
        branches = (statement.body, statement.orelse)
        blocks = [self.builder.append_basic_block(name) for name in ("then", "else")]
        after = self.builder.append_basic_block("after")
        self.builder.cbranch(condition, *blocks)
        kept = []
        for block, branch in zip(blocks, branches, strict=True):
            self.natural = set(natural)
            self.builder.position_at_end(block)
            self.block(branch)
            kept.append(self.natural)
            if not self.builder.block.is_terminated:
                self.builder.branch(after)
        self.natural = kept[0] & kept[1]
        self.builder.position_at_end(after)

    def _expr(self, statement: ast.Expr) -> None:
        if not (isinstance(statement.value, ast.Constant) and isinstance(statement.value.value, str)):
            self.value(statement.value)

    def _return(self, statement: ast.Return) -> None:
        value = statement.value
        if self.returned:
            parts = value.elts if isinstance(value, ast.Tuple) else [value]
            record = ir.LiteralStructType([KINDS[dtype].memory for dtype in self.returned])
            place = self.builder.bitcast(self.function.args[0], record.as_pointer())
            for number, (part, dtype) in enumerate(zip(parts, self.returned, strict=True)):
                assert part is not None
                element = self.builder.gep(place, [ir.Constant(ir.IntType(32), n) for n in (0, number)])
                self.builder.store(self.in_memory(self.scalar(part), dtype), element)
        self.builder.ret(ir.Constant(ir.IntType(32), 0))

    # ------------------------------------------------------------------ variables and elements

    def assign(self, name: str, value: Scalar) -> None:
        """Give a variable a value; its kind is the widest of all its values."""
        if name in self.counters:
            raise UntranslatedError(f"{name} is a counter")
        kind = self.kinds.setdefault((self.name, name), value.kind)
        widest = kind if kind == value.kind else common(kind, value.kind)
        if widest != kind:
            self.kinds[self.name, name] = widest
            raise _AgainError
        if name not in self.slots:
            with self.builder.goto_entry_block():
                self.slots[name] = self.builder.alloca(KINDS[kind].register)
        self.builder.store(cast(self.builder, value, kind), self.slots[name])

    def bind(self, name: str, array: Array) -> None:
        """Give a variable an array; one that gets several is kept in memory, as numbers are."""
        owners = self.origins.get(name)
        if name not in self.varying:
            self.arrays[name] = array._replace(owners=owners)
            return
        known = self.arrays.get(name)
        if known is None:
            with self.builder.goto_entry_block():
                slots = [self.builder.alloca(value.type) for value in (array.data, *array.shape)]
            known = self.arrays[name] = Array(array.dtype, slots[0], tuple(slots[1:]), owners)
        if known.dtype != array.dtype or len(known.shape) != len(array.shape):
            raise UntranslatedError(f"{name} is an array of another kind")
        for slot, value in zip((known.data, *known.shape), (array.data, *array.shape), strict=True):
            self.builder.store(value, slot)

    def in_memory(self, value: Scalar, dtype: str) -> Any:
        """A number as arrays and results hold it."""
        converted = cast(self.builder, value, dtype)
        return self.builder.zext(converted, ir.IntType(8)) if dtype == "bool" else converted

    def place(self, array: Array, indices: list[ast.expr]) -> Any:
        """The address of an element, or of the first of those that fewer indices leave."""
        position: Any = None
        for axis, extent in enumerate(array.shape):
            if position is not None:
                position = self.builder.mul(position, extent, flags=("nsw",))
            if axis < len(indices):
                index = self.index(indices[axis], extent)
                position = index if position is None else self.builder.add(position, index, flags=("nsw",))
        return self.builder.gep(array.data, [position], inbounds=True)

    def index(self, node: ast.expr, extent: Any) -> Any:
        """An index; one that may be negative counts from the end."""
        value = cast(self.builder, self.scalar(node), "int64")
        if self.is_natural(node):
            return value
        below = self.builder.icmp_signed("<", value, ir.Constant(SIZE, 0))
        return self.builder.select(below, self.builder.add(value, extent), value)

    def is_natural(self, node: ast.expr) -> bool:
        """Whether an integer is plainly not negative."""
        return is_natural(node, self.natural)

    def array(self, node: ast.expr) -> Array:
        """An array by name, or one of the arrays in it."""
        value = self.value(node)
        if not isinstance(value, Array):
            raise UntranslatedError(ast.unparse(node))
        return value

    def store(self, target: ast.Subscript, value: Scalar) -> None:
        """Write an element."""
        array = self.array(target.value)
        indices = indices_of(target)
        if len(indices) != len(array.shape):
            raise UntranslatedError(ast.unparse(target))
        stored = self.builder.store(self.in_memory(value, array.dtype), self.place(array, indices))
        self.scopes.mark(stored, array.owners)

    # ------------------------------------------------------------------ expressions

    def scalar(self, node: ast.expr) -> Scalar:
        """The value of an expression that is a number."""
        value = self.value(node)
        if not isinstance(value, Scalar):
            raise UntranslatedError(ast.unparse(node))
        return value

    def value(self, node: ast.expr) -> Any:
        """The value of an expression: a number, an array, or nothing."""
        match node:
            case ast.Constant(value=bool() | int() | float() as number):
                return constant(number)
            case ast.Name(id=name):
                return self.variable(name)
            case ast.Attribute(value=ast.Name(id="np" | "math"), attr=name) if name in NUMPY_NUMBERS:
                return constant(NUMPY_NUMBERS[name])
            case ast.Subscript():
                return self.subscript(node)
            case ast.BinOp():
                return self.binary(node)
            case ast.UnaryOp(op=operator, operand=operand):
                return signed(self.builder, operator, self.scalar(operand))
            case ast.Compare(left=left, ops=[operator], comparators=[right]):
                symbol = COMPARISON[type(operator)]
                return compared(self.builder, symbol, self.scalar(left), self.scalar(right), self.flags)
            case ast.BoolOp(op=operator, values=values):
                truths = [cast(self.builder, self.scalar(v), "bool") for v in values]
                joined = truths[0]
                for truth in truths[1:]:
                    joined = (self.builder.and_ if isinstance(operator, ast.And) else self.builder.or_)(joined, truth)
                return Scalar("bool", joined)
            case ast.IfExp():
                return self.chosen(node)
            case ast.Call():
                name = ast.unparse(node.func)
                if isinstance(node.func, ast.Attribute) and node.func.attr == "reshape":
                    return self.reshaped(self.array(node.func.value), node)
                if name in self.symbols:
                    return self.straight(self.symbols[name], node.args)
                if name not in CALLS:
                    raise UntranslatedError(name)
                return CALLS[name](self, node.args)
        raise UntranslatedError(ast.unparse(node))

    def variable(self, name: str) -> Any:
        """What a name stands for."""
        if name in self.counters:
            return Scalar("int64", self.counters[name])
        if name in self.arrays:
            array = self.arrays[name]
            if name not in self.varying:
                return array
            data, *shape = map(self.builder.load, (array.data, *array.shape))
            return Array(array.dtype, data, tuple(shape), array.owners)
        if name not in self.slots:
            raise UntranslatedError(name)
        return Scalar(self.kinds[self.name, name], self.builder.load(self.slots[name]))

    def subscript(self, node: ast.Subscript) -> Any:
        """An element, an array in an array, or a length."""
        if isinstance(node.value, ast.Attribute) and node.value.attr == "shape":
            axis = ast.literal_eval(node.slice)
            return Scalar("int64", self.array(node.value.value).shape[axis])
        array, indices = self.array(node.value), indices_of(node)
        place = self.place(array, indices)
        if len(indices) < len(array.shape):
            return Array(array.dtype, place, array.shape[len(indices) :], array.owners)
        value = self.scopes.mark(self.builder.load(place), array.owners)
        if array.dtype == "bool":
            return Scalar("bool", self.builder.icmp_unsigned("!=", value, ir.Constant(ir.IntType(8), 0)))
        return Scalar(array.dtype, value)

    def binary(self, node: ast.BinOp) -> Scalar:
        """An operation on two numbers."""
        if isinstance(node.op, (ast.FloorDiv, ast.Mod)):
            name = "floordiv_int" if isinstance(node.op, ast.FloorDiv) else "remainder_int"
            divided: Scalar = CALLS[name](self, [node.left, node.right])
            return divided
        if type(node.op) not in ARITHMETIC:
            raise UntranslatedError(ast.unparse(node))
        flags = FLAGS if id(node) in self.summed else self.flags
        return operated(self.builder, ARITHMETIC[type(node.op)], self.scalar(node.left), self.scalar(node.right), flags)

    def straight(self, symbol: str, args: list[ast.expr]) -> None:
        """Run a straight program on addresses of arrays and on numbers."""
        values = []
        for node in args:
            if isinstance(node, ast.Attribute) and node.attr == "data" and isinstance(node.value, ast.Attribute):
                values.append(self.builder.ptrtoint(self.array(node.value.value).data, SIZE))
            else:
                values.append(self.scalar(node).value)
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in values])
        function = self.module.globals.get(symbol) or ir.Function(self.module, kind, symbol)
        self.builder.call(function, values)

    def chosen(self, node: ast.IfExp) -> Scalar:
        """One of two values; only that one is computed."""
        condition = cast(self.builder, self.scalar(node.test), "bool")
        first, second = self.builder.append_basic_block("yes"), self.builder.append_basic_block("no")
        after = self.builder.append_basic_block("chosen")
        self.builder.cbranch(condition, first, second)
        ends = []
        for block, branch in ((first, node.body), (second, node.orelse)):
            self.builder.position_at_end(block)
            ends.append((self.scalar(branch), self.builder.block))
        kinds = [value.kind for value, _ in ends]
        kind = kinds[0] if kinds[0] == kinds[1] else common(*kinds)
        values = []
        for value, block in ends:
            self.builder.position_at_end(block)
            values.append((cast(self.builder, value, kind), block))
            self.builder.branch(after)
        self.builder.position_at_end(after)
        result = self.builder.phi(KINDS[kind].register)
        for value, block in values:
            result.add_incoming(value, block)
        return Scalar(kind, result)

    def reshaped(self, array: Array, node: ast.Call) -> Array:
        """The same memory under another shape."""
        (shape,) = node.args
        assert isinstance(shape, ast.Tuple)
        lengths = tuple(cast(self.builder, self.scalar(e), "int64") for e in shape.elts)
        return Array(array.dtype, array.data, lengths, array.owners)
