"""The assembler of straight programs: their text becomes LLVM IR, object code, and a function that Numba can call.

Generated modules hold a copy of this file, so that they need no graphad. What the lines of a program mean stands in
`graphad.emit.straight`.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import struct
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import llvmlite  # type: ignore[import-untyped]
import numba
from llvmlite import binding

from graphad.emit.embed import embedded

config: Any = numba.config
types: Any = numba.types

# -- into modules

# Instructions up to which LLVM optimises a program's blocks; beyond, it only translates them. Loops are optimised
# always.
_OPTIMIZED_UP_TO = 3000

_ARITHMETIC = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
_COMPARISON = {"lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge", "eq": "oeq", "ne": "une"}
_LOGIC = {"and": "and", "or": "or", "xor": "xor"}
_INTRINSICS = {"abs": "fabs", "sqrt": "sqrt", "floor": "floor", "ceil": "ceil", "trunc": "trunc", "rint": "rint",
              "maximum": "maximum", "minimum": "minimum", "fma": "fmuladd"}  # fmt: skip
_FAST = "nsz arcp contract"
_EXACT = "nsz"
_engines: list[Any] = []
_native = threading.RLock()


def _straight_symbol(program: str, dtype: str, calls: Mapping[str, int], file: str | None) -> str:
    """The name under which LLVM finds a program: addresses of its frame, then its arguments (numbers, and addresses of
    arrays).

    Arguments:
        program: its text.
        dtype: float64 or float32.
        calls: addresses of functions that the C library does not have, by name.
        file: the module in which the program stands; the object code is kept beside it, or nowhere where this is None.
    """
    machine = f"{binding.get_host_cpu_name()} {binding.get_host_cpu_features().flatten()} {llvmlite.__version__}"
    digest = hashlib.sha256("\0".join((machine, dtype, program)).encode()).hexdigest()[:24]
    symbol = f"graphad_straight_{digest}"
    with _native:
        address = binding.address_of_symbol(symbol)
        if not address:
            for name, place in calls.items():
                binding.add_symbol(f"graphad_{name}_{dtype}", place)
            objects = _objects(symbol, program.strip().splitlines(), dtype, calls, file)
            binding.add_symbol(symbol, _load(symbol, objects))
    return symbol


def _straight_function(program: str, dtype: str, calls: Mapping[str, int], file: str | None) -> Any:
    """The function of a program for Numba; see `_straight_symbol`."""
    symbol = _straight_symbol(program, dtype, calls, file)
    lines = program.strip().splitlines()
    kinds = [line.split()[0] for line in lines if line.startswith(("number ", "array "))]
    number = types.float64 if dtype == "float64" else types.float32
    signature = types.void(types.intp, *[number if kind == "number" else types.intp for kind in kinds])
    if not config.DISABLE_JIT:
        return types.ExternalFunction(symbol, signature)
    address = binding.address_of_symbol(symbol)
    plain: Any = {types.float64: ctypes.c_double, types.float32: ctypes.c_float, types.intp: ctypes.c_ssize_t}
    return ctypes.CFUNCTYPE(None, *[plain[kind] for kind in signature.args])(address)


# ---------------------------------------------------------------------- object code, from LLVM or from a file


def _objects(symbol: str, lines: list[str], dtype: str, calls: Mapping[str, int], file: str | None) -> list[bytes]:
    path = _path(symbol, file)
    if path is not None and path.exists():
        content = path.read_bytes()
        if hashlib.sha256(content[32:]).digest() == content[:32]:
            return _unpacked(content[32:])
    writer = _Writer(symbol, lines, dtype, calls)
    objects = [_compiled(text, optimize) for text, optimize in writer.modules()]
    if path is not None:
        content = b"".join(struct.pack("<q", len(o)) + o for o in objects)
        scratch = path.with_name(f"{path.name}.{uuid.uuid4().hex[:16]}.tmp")
        try:
            path.parent.mkdir(exist_ok=True)
            scratch.write_bytes(hashlib.sha256(content).digest() + content)
            os.replace(scratch, path)
        except OSError:
            # A folder that can not be written costs the next process the time to compile, nothing else.
            scratch.unlink(missing_ok=True)
    return objects


def _path(symbol: str, file: str | None) -> Path | None:
    """The file for the object code: beside a module of graphad's cache, else where Python keeps compiled files."""
    if file is None:
        return None
    module = Path(file)
    folder = module.parent if module.name.startswith("graphad_") else module.parent / "__pycache__"
    return folder / f"{module.stem}-{symbol}.compiled"


def _unpacked(content: bytes) -> list[bytes]:
    objects = []
    while content:
        (length,) = struct.unpack("<q", content[:8])
        objects.append(content[8 : 8 + length])
        content = content[8 + length :]
    return objects


def _machine(level: int) -> Any:
    target = binding.Target.from_default_triple()
    features = binding.get_host_cpu_features().flatten()
    return target.create_target_machine(
        cpu=binding.get_host_cpu_name(), features=features, opt=level, reloc="default", codemodel="jitdefault", jit=True
    )


def _compiled(text: str, optimize: bool) -> bytes:
    """Object code of LLVM IR."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    module = binding.parse_assembly(text)
    machine = _machine(3 if optimize else 0)
    if optimize:
        options = binding.create_pipeline_tuning_options(speed_level=3)
        options.loop_vectorization = True
        builder = binding.create_pass_builder(machine, options)
        builder.getModulePassManager().run(module, builder)
    return bytes(machine.emit_object(module))


def _load(symbol: str, objects: Sequence[bytes]) -> int:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), _machine(0))
    for code in objects:
        engine.add_object_file(binding.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _engines.append(engine)  # the code lives as long as its engine
    return int(engine.get_function_address(symbol))


# ---------------------------------------------------------------------- LLVM IR


class _Writer:
    """Writes the IR of one program: a module of loops, the entry and short blocks, and one of long blocks."""

    def __init__(self, symbol: str, lines: list[str], dtype: str, calls: Mapping[str, int]) -> None:
        self.symbol = symbol
        self.kind = "double" if dtype == "float64" else "float"
        self.dtype = dtype
        self.calls = calls
        self.parts: list[list[str]] = []
        self.arguments: list[str] = []
        self.tables: dict[str, list[str]] = {}
        self.pool: list[str] = []
        self.values: dict[str, str] = {}
        self.flags = _FAST
        for line in lines:
            self._sort(line)

    def _sort(self, line: str) -> None:
        head = line.partition(" ")[0]
        if head in ("block", "repeat"):
            self.parts.append([line])
        elif head == "exact":
            self.flags = _EXACT
        elif head in ("number", "array"):
            self.arguments.append(head)
        elif head == "table":
            _, name, *places = line.split()
            self.tables[name] = places
        elif head == "pool":
            self.pool = line.split()[1:]
        else:
            self.parts[-1].append(line)

    def modules(self) -> list[tuple[str, bool]]:
        """Modules of IR, each with whether it is worth optimising."""
        long = sum(len(p) for p in self.parts if p[0] == "block") > _OPTIMIZED_UP_TO
        shapes = ([], []) if long else ([],)  # type: ignore[var-annotated]
        texts: list[list[str]] = [[], []]
        for k, part in enumerate(self.parts):
            where = int(long and part[0] == "block")
            texts[where].extend(self._function(f"{self.symbol}_{k}", part))
        others = [k for k, part in enumerate(self.parts) if long and part[0] == "block"]
        texts[0].extend(self._entry(others))
        texts[0].extend(self._data())
        return [("\n".join(self._declared(texts[m])), m == 0) for m in range(len(shapes))]

    def _declared(self, body: list[str]) -> list[str]:
        """The functions of a module, after declarations of what they call."""
        called: dict[str, str] = {}
        for line in body:
            if " call " not in line or "@" not in line:
                continue
            name = line.split("@", 1)[1].split("(", 1)[0]
            if not name.startswith(f"{self.symbol}_"):
                kinds = ", ".join([self.kind] * (line.count(f"{self.kind} %") + line.count(f"{self.kind} 0x")))
                called[name] = f"declare {self.kind} @{name}({kinds}) memory(none) nounwind willreturn"
        return [*called.values(), *body]

    def _entry(self, others: list[int]) -> Iterator[str]:
        yield from (f"declare void @{self.symbol}_{k}(ptr, ptr)" for k in others)
        kinds = [f"{self.kind if a == 'number' else 'i64'} %x{k}" for k, a in enumerate(self.arguments)]
        yield f"define void @{self.symbol}({', '.join(['i64 %place', *kinds])}) nounwind {{"
        yield "%f = inttoptr i64 %place to ptr"
        yield f"%a = alloca i64, i64 {max(len(self.arguments), 1)}"
        for k, argument in enumerate(self.arguments):
            base, kind = ("f", self.kind) if argument == "number" else ("a", "i64")
            yield f"%p{k} = getelementptr {kind}, ptr %{base}, i64 {k}"
            yield f"store {kind} %x{k}, ptr %p{k}"
        for k in range(len(self.parts)):
            yield f"call void @{self.symbol}_{k}(ptr %f, ptr %a)"
        yield "ret void"
        yield "}"

    def _data(self) -> Iterator[str]:
        for name, places in self.tables.items():
            yield f"@t{name} = private constant [{len(places)} x i32] [{', '.join(f'i32 {p}' for p in places)}]"
        if self.pool:
            values = ", ".join(f"{self.kind} {self._value(c)}" for c in self.pool)
            yield f"@pool = private constant [{len(self.pool)} x {self.kind}] [{values}]"

    def _function(self, name: str, part: list[str]) -> Iterator[str]:
        rounds = int(part[0].split()[1]) if part[0] != "block" else 0
        lines = [line.split() for line in part[1:]]
        read = {w[3] for w in lines if w[0] not in ("put", "keep") and w[2] in ("get", "pick")}
        arrays = sorted(read - {"frame", "pool"})
        yield f"define void @{name}(ptr noalias %f, ptr noalias %a) noinline nounwind {{"
        yield "entry:"
        for array in arrays:
            yield f"%q{array} = getelementptr i64, ptr %a, i64 {array[1:]}"
            yield f"%{array} = load ptr, ptr %q{array}"
        if not rounds:
            for words in lines:
                yield from self._line(words)
            yield "ret void"
            yield "}"
            return
        yield from self._loop(lines, rounds)

    def _loop(self, lines: list[list[str]], rounds: int) -> Iterator[str]:
        carries = [w for w in lines if w[0] not in ("put", "keep") and w[2] == "carry"]
        for words in carries:
            yield from self._get(f"first_{words[0]}", words[4], words[5:])
        yield "br label %loop"
        yield "loop:"
        yield "%k = phi i64 [0, %entry], [%next, %loop]"
        for words in carries:
            yield f"%{words[0]} = phi {self.kind} [%first_{words[0]}, %entry], [%{words[3]}, %loop]"
        for words in lines:
            if words[0] != "keep" and (words[0] == "put" or words[2] != "carry"):
                yield from self._line(words)
        yield "%next = add nuw nsw i64 %k, 1"
        yield f"%done = icmp eq i64 %next, {rounds}"
        yield "br i1 %done, label %exit, label %loop"
        yield "exit:"
        for words in lines:
            if words[0] == "keep":
                yield from self._line(["put", *words[1:]])
        yield "ret void"
        yield "}"

    # ------------------------------------------------------------------ lines

    def _line(self, words: list[str]) -> Iterator[str]:
        if words[0] == "put":
            place = f"s{words[1]}_{words[3]}"
            yield from self._address(place, words[2], words[3:])
            yield f"store {self.kind} %{words[1]}, ptr %{place}"
            return
        target, _, name, *rest = words
        if name == "get":
            yield from self._get(target, rest[0], rest[1:])
        elif name == "pick":
            yield f"%h{target} = getelementptr i32, ptr @t{rest[1]}, i64 %k"
            yield f"%j{target} = load i32, ptr %h{target}"
            yield f"%i{target} = zext i32 %j{target} to i64"
            base = "f" if rest[0] == "frame" else rest[0]
            yield f"%l{target} = getelementptr {self.kind}, ptr %{base}, i64 %i{target}"
            yield f"%{target} = load {self.kind}, ptr %l{target}"
        else:
            yield self._instruction(target, name, [self._value(w) for w in rest])

    def _get(self, target: str, base: str, place: list[str]) -> Iterator[str]:
        yield from self._address(f"l{target}", base, place)
        yield f"%{target} = load {self.kind}, ptr %l{target}"

    def _address(self, target: str, base: str, place: list[str]) -> Iterator[str]:
        pointer = {"frame": "%f", "pool": "@pool"}.get(base, f"%{base}")
        index = place[0]
        if len(place) > 1 and place[1] != "0":
            index = f"%i{target}"
            yield f"%m{target} = mul nsw i64 %k, {place[1]}"
            yield f"{index} = add nsw i64 %m{target}, {place[0]}"
        yield f"%{target} = getelementptr inbounds {self.kind}, ptr {pointer}, i64 {index}"

    def _instruction(self, target: str, name: str, operands: list[str]) -> str:
        kind = self.kind
        if name in _ARITHMETIC:
            return f"%{target} = {_ARITHMETIC[name]} {self.flags} {kind} {operands[0]}, {operands[1]}"
        if name in _COMPARISON:
            return f"%{target} = fcmp {_COMPARISON[name]} {kind} {operands[0]}, {operands[1]}"
        if name in _LOGIC:
            return f"%{target} = {_LOGIC[name]} i1 {operands[0]}, {operands[1]}"
        if name == "neg":
            return f"%{target} = fneg {self.flags} {kind} {operands[0]}"
        if name == "not":
            return f"%{target} = xor i1 {operands[0]}, true"
        if name == "select":
            return f"%{target} = select i1 {operands[0]}, {kind} {operands[1]}, {kind} {operands[2]}"
        if name == "copy":
            return f"%{target} = select i1 true, {kind} {operands[0]}, {kind} {operands[0]}"
        if name == "real":
            return f"%{target} = uitofp i1 {operands[0]} to {kind}"
        if name == "truth":
            return f"%{target} = fcmp une {kind} {operands[0]}, {self._value('0.0')}"
        given = ", ".join(f"{kind} {o}" for o in operands)
        return f"%{target} = call {kind} @{self._symbol(name)}({given})"

    def _symbol(self, name: str) -> str:
        if name in _INTRINSICS:
            return f"llvm.{_INTRINSICS[name]}.{'f64' if self.kind == 'double' else 'f32'}"
        if name in self.calls:
            return f"graphad_{name}_{self.dtype}"
        return name if self.kind == "double" else f"{name}f"

    def _value(self, word: str) -> str:
        """A name, or a number by its bits."""
        if word[0] in "vg":
            return f"%{word}"
        found = self.values.get(word)
        if found is None:
            number = float(word)
            if self.kind == "float":
                (number,) = struct.unpack("<f", struct.pack("<f", number))
            (bits,) = struct.unpack("<Q", struct.pack("<d", number))
            found = self.values[word] = f"0x{bits:016X}"
        return found


# -- until here

LINES = embedded(__file__)

IMPORTS = """\
import ctypes
import hashlib
import os
import struct
import threading
import uuid
import llvmlite
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from llvmlite import binding
from numba import cfunc, config, njit, types
"""

NAMES = frozenset(
    [
        *re.findall(r"^(?:def |class )?([A-Za-z_]\w*)(?=\(| =|:)", LINES, re.MULTILINE),
        *("ctypes", "hashlib", "os", "struct", "threading", "uuid", "llvmlite", "binding", "cfunc", "config", "types"),
        *("Iterator", "Mapping", "Sequence", "Path", "Any"),
    ]
)
