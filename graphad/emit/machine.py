"""LLVM code of one function as text: instructions, checks with one way out, and a table of addresses.

The text is the same in every process: what differs, the addresses of objects and functions, stands in a table that is
filled once the code is in memory.
"""

from __future__ import annotations

import ast
import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import binding  # type: ignore[import-untyped]

from graphad.emit import cache

RELATIONS: dict[type[ast.cmpop], str] = {ast.Eq: "eq", ast.LtE: "sle", ast.GtE: "sge"}
OVERFLOWING = "declare {i64, i1} @llvm.smul.with.overflow.i64(i64, i64)"


def _machine() -> Any:
    """What makes code quickly: there are no loops, and optimised calls are not measurably faster."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    target = binding.Target.from_default_triple()
    return target.create_target_machine(opt=0, reloc="default", codemodel="jitdefault", jit=True)


class Code:
    """The lines of a function, in the order in which they run; `slow` is the label to go to where a check fails."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.locals: list[str] = []
        self.table: dict[str, int] = {}
        self.owned: list[Any] = []
        self.variables: dict[str, str] = {}
        self.count = 0

    def module(self, name: str, parameters: str) -> str:
        """The module of the function."""
        table = f"@table = global [{len(self.table)} x i64] zeroinitializer"
        head = f"define ptr @{name}({parameters}) {{"
        return "\n".join([OVERFLOWING, table, head, *self.locals, *self.lines, "}"])

    def load_module(self, name: str, parameters: str) -> tuple[Any, int]:
        """The engine that holds the code, its table filled in, and the address of the function."""
        text = self.module(name, parameters)
        engine = binding.create_mcjit_compiler(binding.parse_assembly(""), _machine())
        code = cache.kept(text, lambda: bytes(_machine().emit_object(binding.parse_assembly(text))))
        engine.add_object_file(binding.ObjectFileRef.from_data(code))
        engine.finalize_object()
        table = (ctypes.c_uint64 * len(self.table)).from_address(engine.get_global_value_address("table"))
        table[:] = list(self.table.values())
        return engine, int(engine.get_function_address(name))

    # ------------------------------------------------------------------ instructions

    def new(self, instruction: str) -> str:
        """A name for the value of an instruction."""
        self.count += 1
        self.lines.append(f"%t{self.count} = {instruction}")
        return f"%t{self.count}"

    def label(self, kind: str) -> str:
        """A label that no line has yet."""
        self.count += 1
        return f"{kind}{self.count}"

    def local(self, kind: str) -> str:
        """Memory of the function."""
        self.count += 1
        self.locals.append(f"%m{self.count} = alloca {kind}")
        return f"%m{self.count}"

    def check(self, condition: str) -> None:
        """Leave by `slow` unless a condition holds."""
        there = self.label("on")
        self.lines += [f"br i1 {condition}, label %{there}, label %slow", f"{there}:"]

    def place(self, base: str, offset: int) -> str:
        """An address some bytes behind another."""
        return self.new(f"getelementptr i8, ptr {base}, i64 {offset}") if offset else base

    def load(self, kind: str, base: str, offset: int) -> str:
        """What stands some bytes behind an address."""
        return self.new(f"load {kind}, ptr {self.place(base, offset)}")

    def slot(self, table: str, place: str) -> str:
        """The address of an element of a table of pointers."""
        return self.new(f"getelementptr ptr, ptr {table}, i64 {place}")

    def element(self, table: str, place: str) -> str:
        """An element of a table of pointers."""
        return self.new(f"load ptr, ptr {self.slot(table, place)}")

    @contextmanager
    def loop(self, count: str) -> Iterator[str]:
        """A loop over what is written inside; gives the number of the round."""
        counter = self.local("i64")
        head, body, end = self.label("head"), self.label("body"), self.label("end")
        self.lines += [f"store i64 0, ptr {counter}", f"br label %{head}", f"{head}:"]
        number = self.new(f"load i64, ptr {counter}")
        more = self.new(f"icmp slt i64 {number}, {count}")
        self.lines += [f"br i1 {more}, label %{body}, label %{end}", f"{body}:"]
        yield number
        self.lines.append(f"store i64 {self.new(f'add i64 {number}, 1')}, ptr {counter}")
        self.lines += [f"br label %{head}", f"{end}:"]

    def known(self, name: str, address: int) -> str:
        """An address out of the table."""
        self.table.setdefault(name, address)
        return self.load("ptr", "@table", 8 * list(self.table).index(name))

    def object(self, name: str, value: Any) -> str:
        """A Python object that lives as long as the code."""
        self.owned.append(value)
        return self.known(name, id(value))

    def python(self, name: str, kind: str, *arguments: str) -> str:
        """Call a function of CPython's interface; its result, of which there is none for `void`."""
        function: Any = getattr(ctypes.pythonapi, name)
        address = ctypes.cast(function, ctypes.c_void_p).value
        assert address is not None
        return self.call(self.known(name, address), kind, *arguments)

    def call(self, function: str, kind: str, *arguments: str) -> str:
        """Call a function by its address."""
        text = f"call {kind} {function}({', '.join(arguments)})"
        if kind == "void":
            self.lines.append(text)
            return ""
        return self.new(text)

    # ------------------------------------------------------------------ integers, from Python text

    def assign(self, line: str) -> None:
        """Do what an assignment of integers says."""
        (statement,) = ast.parse(line).body
        assert isinstance(statement, ast.Assign)
        assert isinstance(statement.targets[0], ast.Name)
        self.variables[statement.targets[0].id] = self._integer(statement.value)

    def integer(self, text: str) -> str:
        """The value of an expression of variables and whole numbers."""
        return self._integer(ast.parse(text, mode="eval").body)

    def truth(self, text: str) -> str:
        """The value of a comparison."""
        node = ast.parse(text, mode="eval").body
        assert isinstance(node, ast.Compare)
        left, right = self._integer(node.left), self._integer(node.comparators[0])
        return self.new(f"icmp {RELATIONS[type(node.ops[0])]} i64 {left}, {right}")

    def product(self, left: str, right: str) -> str:
        """A product; one that does not fit into 64 bits is left to Python."""
        both = self.new(f"call {{i64, i1}} @llvm.smul.with.overflow.i64(i64 {left}, i64 {right})")
        over = self.new(f"extractvalue {{i64, i1}} {both}, 1")
        self.check(self.new(f"xor i1 {over}, true"))
        return self.new(f"extractvalue {{i64, i1}} {both}, 0")

    def _integer(self, node: ast.expr) -> str:
        match node:
            case ast.Constant(value=int(number)):
                return str(number)
            case ast.Name(id=name):
                return self.variables[name]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self.new(f"sub i64 0, {self._integer(operand)}")
            case ast.Call(func=ast.Name(id=("min" | "max") as name), args=[first, *others]):
                value = self._integer(first)
                for other in map(self._integer, others):
                    less = self.new(f"icmp {'slt' if name == 'min' else 'sgt'} i64 {value}, {other}")
                    value = self.new(f"select i1 {less}, i64 {value}, i64 {other}")
                return value
            case ast.BinOp(left=left, op=operator, right=right):
                return self._operation(operator, self._integer(left), self._integer(right))
        raise AssertionError(f"no integer expression: {ast.unparse(node)}")

    def _operation(self, operator: ast.operator, left: str, right: str) -> str:
        match operator:
            case ast.Add():
                return self.new(f"add i64 {left}, {right}")
            case ast.Sub():
                return self.new(f"sub i64 {left}, {right}")
            case ast.Mult():
                return self.product(left, right)
            case ast.FloorDiv():
                self.check(self.new(f"icmp sgt i64 {right}, 0"))
                rest = self.new(f"srem i64 {left}, {right}")
                below = self.new(f"icmp slt i64 {rest}, 0")
                quotient = self.new(f"sdiv i64 {left}, {right}")
                return self.new(f"sub i64 {quotient}, {self.new(f'zext i1 {below} to i64')}")
        raise AssertionError(f"no operation on sizes: {operator}")
