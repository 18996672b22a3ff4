"""Kernels as machine code without Numba: translated, optimised, kept in the cache folder, loaded."""

from __future__ import annotations

import ctypes
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from llvmlite import binding  # type: ignore[import-untyped]

from graphad.emit import aliasing, reporting, short_loops, translate, translate_calls, values
from graphad.emit import cache as modules
from graphad.emit.assembler import _straight_symbol
from graphad.emit.direct import (
    DATA,
    KINDS,
    LENGTHS,
    PARAMETERS,
    VECTORCALL,
    KernelCalls,
    builtin,
    record_type,
)
from graphad.emit.reporting import REPORT
from graphad.emit.source import Generated
from graphad.emit.translate_calls import GEMM
from graphad.emit.values import UntranslatedError

ENTRY = "kernel"
MANY = 40  # outermost loops of a kernel from which on each becomes a function
MEMORY = {"graphad_allocate": "PyMem_RawMalloc", "graphad_release": "PyMem_RawFree"}


@dataclass(frozen=True)
class TranslatedKernel:
    """A kernel that was translated; Numba compiles the same text once somebody asks for what only Numba has.

    Arguments:
        generated: the module of which it is the kernel.
        address: of the machine code, which is called as Numba's is.
        owner: keeps the code in memory.
    """

    generated: Generated
    address: int
    owner: Any

    @property
    def constants(self) -> tuple[Any, ...]:
        """The arrays that are passed after the inputs."""
        return self.generated.values

    @cached_property
    def _module(self) -> Any:
        return modules.load(self.generated.source)

    @property
    def module(self) -> str:
        """The name of Numba's module."""
        return str(self._module.__name__)

    @property
    def function(self) -> Any:
        """Numba's function."""
        return getattr(self._module, self.generated.kernel)

    @cached_property
    def entry(self) -> Any:
        """The kernel for Python: `entry(*inputs, *constants, *array outputs) -> scalar outputs`, nothing checked."""
        writer = _Entry([self.address])
        writer.write(self.generated)
        return builtin(writer, self.generated.kernel, PARAMETERS, VECTORCALL, self.owner)

    def scalars_of(self, returned: Any) -> dict[str, Any]:
        """The scalar outputs by name, from what the kernel returned."""
        names = self.generated.scalars
        return dict(zip(names, returned if len(names) > 1 else (returned,), strict=True)) if names else {}


class _Entry(KernelCalls):
    """Writes the function that takes every argument for what it should be."""

    def write(self, generated: Generated) -> None:
        """All lines."""
        for place, argument in enumerate(generated.arguments):
            value = self.load("ptr", "%given", 8 * place)
            if not argument.rank:
                self.given.append(f"{KINDS[argument.dtype]} {self.number(value, argument.dtype)}")
                continue
            lengths = self.load("ptr", value, LENGTHS)
            extents = [self.load("i64", lengths, 8 * axis) for axis in range(argument.rank)]
            self.given.append(self.flat(self.load("ptr", value, DATA), argument.dtype, extents))
        status, returned = self.run(0, [], record_type(generated.returned), [])
        self.unless_failed(status)
        self.lines.append(f"ret ptr {self.result(generated.returned, returned)}")
        self.lines.append("slow:")
        failed = self.python("PyErr_NoMemory", "ptr")
        self.lines.append(f"ret ptr {failed}")

    def number(self, value: str, dtype: str) -> str:
        """The number in an object."""
        if dtype == "bool":
            return self.new(f"trunc i32 {self.python('PyObject_IsTrue', 'i32', f'ptr {value}')} to i8")
        if dtype.startswith("int"):
            whole = self.python("PyLong_AsLongLong", "i64", f"ptr {value}")
            return whole if dtype == "int64" else self.new(f"trunc i64 {whole} to i32")
        number = self.python("PyFloat_AsDouble", "double", f"ptr {value}")
        return number if dtype == "float64" else self.new(f"fptrunc double {number} to float")

    def result(self, dtypes: Sequence[str], returned: str) -> str:
        """None, a number, or a tuple of numbers."""
        record = record_type(dtypes)
        places = [self.new(f"getelementptr {record}, ptr {returned}, i32 0, i32 {k}") for k in range(len(dtypes))]
        parts = [self.new_scalar(place, dtype) for place, dtype in zip(places, dtypes, strict=True)]
        if len(parts) == 1:
            return parts[0]
        if not parts:
            none = self.object("None", None)
            self.python("Py_IncRef", "void", f"ptr {none}")
            return none
        whole = self.python("PyTuple_New", "ptr", f"i64 {len(parts)}")
        for place, part in enumerate(parts):
            self.python("PyTuple_SetItem", "i32", f"ptr {whole}", f"i64 {place}", f"ptr {part}")
        return whole


def translated_kernel(generated: Generated) -> TranslatedKernel | None:
    """The kernel of a module; None where its text has something that only Numba understands."""
    if any(program.others for program in generated.programs):
        return None
    # Each program has a file of object code of its own, beside the kernel's.
    file = str(modules.folder() / "graphad_programs.py")
    symbols = {p.name: _straight_symbol(p.text, p.dtype, {}, file) for p in generated.programs}
    try:
        code = modules.kept(_key(generated), lambda: _compiled(generated, symbols))
    except UntranslatedError:
        return None
    needs, _, code = code.partition(b"\n")
    for name in json.loads(needs):
        binding.add_symbol(name, _address(name))
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), _machine())
    engine.add_object_file(binding.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return TranslatedKernel(generated, int(engine.get_function_address(ENTRY)), engine)


def is_kept(generated: Generated) -> bool:
    """Whether the machine code of a module's kernel is in the cache folder."""
    return modules.keeps(_key(generated))


@cache
def _fingerprint() -> str:
    """What the code of a text depends on besides: this translator and the processor."""
    files = [translate.__file__, translate_calls.__file__, values.__file__, aliasing.__file__, short_loops.__file__,
             __file__]  # fmt: skip
    text = "".join(hashlib.sha256(Path(f).read_bytes()).hexdigest() for f in files)
    return f"{text} {binding.get_host_cpu_name()} {binding.get_host_cpu_features().flatten()}"


def _key(generated: Generated) -> str:
    # The whole module's text: the vector mathematics in it belongs to the kernel.
    # Hints are not in the text.
    return "\0".join(("translated kernel", _fingerprint(), generated.source, repr(sorted(generated.hints.items()))))


def _machine() -> Any:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    features = binding.get_host_cpu_features().flatten()
    return binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(), features=features, opt=3, reloc="default", codemodel="jitdefault", jit=True
    )


def _compiled(generated: Generated, symbols: Mapping[str, str]) -> bytes:
    """What the code needs from elsewhere, as a line, and the object code."""
    module, needs = _optimized(generated, symbols)
    return json.dumps(needs).encode() + b"\n" + bytes(_machine().emit_object(module))


def assembly(generated: Generated) -> str:
    """The kernel of a module in assembler."""
    return str(_machine().emit_assembly(_optimized(generated, {})[0]))


def _optimized(generated: Generated, symbols: Mapping[str, str]) -> tuple[Any, list[str]]:
    """LLVM's module of a kernel, and the functions from elsewhere that it calls."""
    translated = translate.translate(
        ENTRY, generated.body, generated.arguments, generated.returned, symbols, generated.memory, generated.hints,
        generated.flags,
    )
    machine = _machine()
    module = binding.parse_assembly(str(translated))
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    module.verify()
    options = binding.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = options.slp_vectorization = True
    builder = binding.create_pass_builder(machine, options)
    if outermost_loops(generated.body) >= MANY:
        _apart(module, builder)
    builder.getModulePassManager().run(module, builder)
    return module, [name for name in (*MEMORY, *GEMM.values(), REPORT) if name in translated.globals]


def outermost_loops(text: str) -> int:
    """How many loops of a kernel lie in no other.

    >>> outermost_loops("def f(n):\\n    for i in range(n):\\n        for j in range(i):\\n            pass")
    1
    """
    return len(re.findall(r"^    (?:for|while) ", text, re.MULTILINE))


def _apart(module: Any, builder: Any) -> None:
    """Make a function of each outermost loop.

    What LLVM knows in a loop follows from all that comes before it in its function, which it looks through for each
    loop anew: without this, the time to compile grows with the square of their number.
    """
    passes = binding.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_simplify_cfg_pass()
    passes.add_instruction_combine_pass()
    passes.add_loop_simplify_pass()
    passes.add_lcssa_pass()
    passes.add_loop_extract_pass()
    before = {function.name for function in module.functions}
    passes.run(module, builder)
    for function in module.functions:
        if function.name not in before:
            function.add_function_attribute("noinline")


def _address(name: str) -> int:
    """Where a function lies that kernels call."""
    if name in MEMORY:
        return ctypes.cast(getattr(ctypes.pythonapi, MEMORY[name]), ctypes.c_void_p).value or 0
    return reporting.address(name) if name == REPORT else _blas(name)


@cache
def _blas(name: str) -> int:
    """The address of one of the functions of SciPy's BLAS."""
    # Imported where there are products: that takes as long as compiling.
    from scipy.linalg import cython_blas

    table: Any = cython_blas.__pyx_capi__
    capsule = table[name.removeprefix("graphad_")]
    signature: Any = ctypes.pythonapi.PyCapsule_GetName
    signature.restype, signature.argtypes = ctypes.c_char_p, [ctypes.py_object]
    get: Any = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return int(get(capsule, signature(capsule)))
