"""The plain call as machine code: where everything is right at first sight, no Python runs between caller and kernel.

What is written here is a builtin function of CPython. It reads types, dtypes, layouts and lengths where extension
modules find them, makes the results' arrays by NumPy's C interface, lets other threads run, and calls the kernel. All
that it does not see to be right goes, with the same arguments, to the function of `graphad.emit.call`, which converts
or complains. So it decides nothing: it is that function's first `if`.
"""

from __future__ import annotations

import ctypes
import sys
import sysconfig
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphad.emit.call import AnyKernel, CallPath, SizeLines, make_call, size_lines
from graphad.emit.extents import local_sizes, text
from graphad.emit.machine import Code
from graphad.emit.reporting import STOPPED
from graphad.emit.result import Packing, record_class
from graphad.ir.sizes import Extent
from graphad.ir.types import TensorType
from graphad.ops.listening import raise_pending

# Places in the objects of CPython and NumPy, which their binary interfaces promise.
TYPE, VALUE, DATA, RANK, LENGTHS, DTYPE, FLAGS = 8, 16, 16, 24, 32, 56, 64
CONTIGUOUS_ALIGNED, WRITEABLE = 0x101, 0x400
NEW_ARRAY, NEW_SCALAR = 93, 60  # in NumPy's table of functions
KEYWORDS, VECTORCALL = 0x0002, 0x0080  # of a method
NO_VALUE = -2  # the status of a kernel of Numba's that returns nothing
KINDS = {"float64": "double", "float32": "float", "int64": "i64", "int32": "i32", "bool": "i8"}
PARAMETERS = "ptr %self, ptr %given, i64 %count, ptr %names"


class MethodDefinition(ctypes.Structure):
    """`PyMethodDef`."""

    _fields_ = (
        ("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p),
    )  # fmt: skip


def direct_call(path: CallPath) -> tuple[Callable[..., Any], str]:
    """The function for users in front of compiled kernels, and the text of its Python part."""
    checked, source = make_call(path)
    addresses = native_addresses(path)
    sized = size_lines(path.graph)
    if sized is None or addresses is None:
        return checked, source
    writer = _Writer(path, addresses)
    writer.write(checked, sized)
    return builtin(writer, path.graph.name, PARAMETERS, VECTORCALL | KEYWORDS, path), source


def builtin(code: Code, name: str, parameters: str, flags: int, *kept: Any) -> Callable[..., Any]:
    """The builtin function of some code, which keeps objects alive."""
    engine, address = code.load_module("call", parameters)
    definition = MethodDefinition(name.encode(), address, flags, None)
    make: Any = ctypes.pythonapi.PyCFunction_NewEx
    make.restype, make.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p]
    function: Callable[..., Any] = make(ctypes.addressof(definition), (engine, definition, code.owned, kept), None)
    return function


def native_addresses(path: CallPath) -> list[int] | None:
    """The addresses of the machine code of all kernels; None where there is none that can be called from here."""
    found = [_native_address(kernel) for kernel in [path.kernel, *(stage.kernel for stage in path.stages)]]
    known = [address for address in found if address is not None]
    return known if _supported() and len(known) == len(found) else None


def _supported() -> bool:
    """Whether objects lie in memory as they do in CPython with a global lock, on a machine of 64 bits."""
    free = sysconfig.get_config_var("Py_GIL_DISABLED")
    return sys.implementation.name == "cpython" and not free and ctypes.sizeof(ctypes.c_void_p) == 8


def _native_address(kernel: AnyKernel) -> int | None:
    """The address of what was translated, or of what Numba compiled without its wrapper; None without either."""
    address = getattr(kernel, "address", None)
    if address is not None:
        return int(address)
    overloads = getattr(kernel.function, "overloads", None)
    if overloads is None:
        return None
    (compiled,) = overloads.values()
    return int(compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name))


def _numpy_function(place: int) -> int:
    """The address of a function in NumPy's C interface."""
    get: Any = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    capsule = np._core.multiarray._ARRAY_API  # type: ignore[attr-defined]
    return int(ctypes.cast(get(capsule, None), ctypes.POINTER(ctypes.c_void_p))[place] or 0)


class KernelCalls(Code):
    """Code that calls kernels.

    Arguments:
        kernels: their addresses.
    """

    def __init__(self, kernels: list[int]) -> None:
        super().__init__()
        self.kernels = kernels
        self.given: list[str] = []

    def flat(self, data: str, dtype: str, extents: list[str]) -> str:
        """An array as Numba passes it: owner, parent, elements, bytes of each, memory, lengths, strides."""
        item = np.dtype(dtype).itemsize
        steps = [str(item)]
        for extent in reversed(extents):
            steps.insert(0, self.new(f"mul i64 {steps[0]}, {extent}"))
        count = self.new(f"udiv i64 {steps[0]}, {item}")
        numbers = ", ".join(f"i64 {number}" for number in [*extents, *steps[1:]])
        return f"ptr null, ptr null, i64 {count}, i64 {item}, ptr {data}, {numbers}"

    def run(self, number: int, arrays: Sequence[NDArray[Any]], record: str, outputs: list[str]) -> tuple[str, str]:
        """Call a kernel on constant arrays with other threads running: its status, and where its scalars are."""
        constants = []
        for place, array in enumerate(arrays):
            data = self.known(f"constant_{number}_{place}", array.ctypes.data)
            constants.append(self.flat(data, array.dtype.name, [str(length) for length in array.shape]))
        returned, failure = self.local(record), self.local("ptr")
        thread = self.python("PyEval_SaveThread", "ptr")
        status = self.call(
            self.known(f"kernel_{number}", self.kernels[number]), "i32", f"ptr {returned}", f"ptr {failure}",
            *self.given, *constants, *outputs,
        )  # fmt: skip
        self.python("PyEval_RestoreThread", "void", f"ptr {thread}")
        return status, returned

    def unless_failed(self, status: str, made: Sequence[str] = ()) -> None:
        """Drop what was made and leave unless the status of a kernel is good.

        Where a callback has ended a loop, raise what it raised; otherwise leave by `slow`, which says what is wrong.
        """
        bad, good, stopped = self.label("bad"), self.label("good"), self.label("stopped")
        right = [self.new(f"icmp eq i32 {status}, {wanted}") for wanted in (0, NO_VALUE)]
        self.lines += [f"br i1 {self.new(f'or i1 {right[0]}, {right[1]}')}, label %{good}, label %{bad}", f"{bad}:"]
        for array in made:
            self.python("Py_DecRef", "void", f"ptr {array}")
        ended = self.new(f"icmp eq i32 {status}, {STOPPED}")
        self.lines += [f"br i1 {ended}, label %{stopped}, label %slow", f"{stopped}:"]
        function = self.object("raise_pending", raise_pending)
        error = self.python("PyObject_Vectorcall", "ptr", f"ptr {function}", "ptr null", "i64 0", "ptr null")
        self.lines += [f"ret ptr {error}", f"{good}:"]

    def new_scalar(self, place: str, dtype: str) -> str:
        """NumPy's scalar of a number in memory."""
        return self.call(
            self.known("new_scalar", _numpy_function(NEW_SCALAR)), "ptr",
            f"ptr {place}", f"ptr {self.object(f'as_{dtype}', np.dtype(dtype))}", "ptr null",
        )  # fmt: skip


class _Writer(KernelCalls):
    """Writes the function of a call path."""

    def __init__(self, path: CallPath, kernels: list[int]) -> None:
        super().__init__(kernels)
        self.path = path
        self.bound: dict[str, Extent] = local_sizes(path.graph.size_names)
        self.handed: set[str] = set()
        self.arrays = {name: kind for name, kind in path.output_types.items() if kind.rank}

    def write(self, checked: Callable[..., Any], sized: SizeLines) -> None:
        """All lines: checks, sizes, checks of indices, results' arrays, the kernel, the result."""
        given, out = self.arguments()
        places = []
        for place, (name, node_id) in enumerate(self.path.graph.inputs.items()):
            kind = self.path.graph.nodes[node_id].type
            value = self.load("ptr", given, 8 * place)
            if not kind.rank:
                self.given.append(f"{KINDS[kind.dtype]} {self.scalar(value, kind.dtype)}")
                continue
            places.append((self.array(value, kind, CONTIGUOUS_ALIGNED, sized.lengths[name]), kind, name))
            self.given.append("")
        for line in sized.solving:
            self.assign(line)
        for condition in sized.conditions:
            self.check(self.truth(condition))
        names = list(self.path.graph.inputs)
        for data, kind, name in places:
            extents = [self.variables[length] for length in sized.lengths[name]]
            self.given[names.index(name)] = self.flat(data, kind.dtype, extents)
        for number, stage in enumerate(self.path.stages, start=1):
            status, returned = self.run(number, stage.kernel.constants, record_type(["bool"]), [])
            self.check(self.new(f"icmp eq i32 {status}, 0"))
            self.check(self.new(f"icmp eq i8 {self.load('i8', returned, 0)}, 0"))
        self.finish(out, [(data, kind, sized.lengths[name]) for data, kind, name in places])
        self.lines.append("slow:")
        function = self.object("checked", checked)
        result = self.python("PyObject_Vectorcall", "ptr", f"ptr {function}", "ptr %given", "i64 %count", "ptr %names")
        self.lines.append(f"ret ptr {result}")

    def finish(self, out: str, places: list[tuple[str, TensorType, list[str]]]) -> None:
        """The lines from the results' arrays on."""
        made: dict[str, str] = {}
        memory: dict[str, str] = {}
        lengths = {n: [self.integer(text(e, self.bound)) for e in kind.shape] for n, kind in self.arrays.items()}
        for name, kind in self.arrays.items():
            made[name] = self.result_array(out, kind, lengths[name], list(made.values()), places)
            memory[name] = self.flat(self.load("ptr", made[name], DATA), kind.dtype, lengths[name])
        kernel = self.path.kernel
        dtypes = [self.path.output_types[name].dtype for name in kernel.generated.scalars]
        outputs = [memory[name] for name in kernel.generated.arrays]
        status, returned = self.run(0, kernel.constants, record_type(dtypes), outputs)
        self.unless_failed(status, list(made.values()))
        for place, (name, dtype) in enumerate(zip(kernel.generated.scalars, dtypes, strict=True)):
            value = self.new(f"getelementptr {record_type(dtypes)}, ptr {returned}, i32 0, i32 {place}")
            made[name] = self.new_scalar(value, dtype)
        packed = self.pack(self.path.packing, made)
        for name in made.keys() - self.handed:
            self.python("Py_DecRef", "void", f"ptr {made[name]}")
        self.lines.append(f"ret ptr {packed}")

    # ------------------------------------------------------------------ arguments

    def arguments(self) -> tuple[str, str]:
        """The table of the arguments in the order of the inputs, and the array given as `out` or null."""
        count = len(self.path.graph.inputs)
        named, plain, ready = self.label("named"), self.label("plain"), self.label("ready")
        without = self.new("icmp eq ptr %names, null")
        self.lines += [f"br i1 {without}, label %{plain}, label %{named}", f"{named}:"]
        slots = self.local(f"[{count + 1} x ptr]")
        for place in range(count + 1):
            self.lines.append(f"store ptr null, ptr {self.place(slots, 8 * place)}")
        self.sort_by_name(slots)
        for place in range(count):
            self.check(self.new(f"icmp ne ptr {self.load('ptr', slots, 8 * place)}, null"))
        out = self.load("ptr", slots, 8 * count)
        missing = self.new(f"icmp eq ptr {out}, {self.object('None', None)}")
        chosen = self.new(f"select i1 {missing}, ptr null, ptr {out}")
        if len(self.arrays) != 1:
            self.check(self.new(f"icmp eq ptr {chosen}, null"))
        last, whole = self.label("last"), self.label("whole")
        self.lines += [f"br label %{last}", f"{last}:", f"br label %{ready}", f"{plain}:"]
        self.check(self.new(f"icmp eq i64 %count, {count}"))
        self.lines += [f"br label %{whole}", f"{whole}:", f"br label %{ready}", f"{ready}:"]
        given = self.new(f"phi ptr [{slots}, %{last}], [%given, %{whole}]")
        out = self.new(f"phi ptr [{chosen}, %{last}], [null, %{whole}]")
        return given, out if len(self.arrays) == 1 else "null"

    def sort_by_name(self, slots: str) -> None:
        """Put the arguments into slots, one for each input and the last for `out`; none may get two."""
        count = len(self.path.graph.inputs)
        self.check(self.new(f"icmp sle i64 %count, {count}"))
        with self.loop("%count") as number:
            self.lines.append(f"store ptr {self.element('%given', number)}, ptr {self.slot(slots, number)}")
        keys = [self.object(f"name_{name}", sys.intern(name)) for name in [*self.path.graph.inputs, "out"]]
        with self.loop(self.python("PyTuple_Size", "i64", "ptr %names")) as number:
            key = self.python("PyTuple_GetItem", "ptr", "ptr %names", f"i64 {number}")
            found = "-1"
            for place, known in enumerate(keys):
                found = self.new(f"select i1 {self.new(f'icmp eq ptr {key}, {known}')}, i64 {place}, i64 {found}")
            self.check(self.new(f"icmp sge i64 {found}, 0"))
            self.check(self.new(f"icmp eq ptr {self.element(slots, found)}, null"))
            value = self.element("%given", self.new(f"add i64 {number}, %count"))
            self.lines.append(f"store ptr {value}, ptr {self.slot(slots, found)}")

    def is_type(self, value: str, *types: type) -> str:
        """Whether an object's type is one of some."""
        own = self.load("ptr", value, TYPE)
        found = [self.new(f"icmp eq ptr {own}, {self.object(t.__name__, t)}") for t in types]
        return found[0] if len(found) == 1 else self.new(f"or i1 {found[0]}, {found[1]}")

    def scalar(self, value: str, dtype: str) -> str:
        """The number in an object."""
        if dtype == "bool":
            true = self.new(f"icmp eq ptr {value}, {self.object('True', True)}")
            false = self.new(f"icmp eq ptr {value}, {self.object('False', False)}")
            self.check(self.new(f"or i1 {true}, {false}"))
            return self.new(f"zext i1 {true} to i8")
        if dtype in ("int64", "int32"):
            return self.whole(value, dtype)
        self.check(self.is_type(value, float, np.dtype(dtype).type))
        number = self.load("double", value, VALUE)
        if dtype == "float64":
            return number
        single = self.load("float", value, VALUE)
        python = self.is_type(value, float)
        return self.new(f"select i1 {python}, float {self.new(f'fptrunc double {number} to float')}, float {single}")

    def whole(self, value: str, dtype: str) -> str:
        """The integer in a Python integer that has the range of a dtype."""
        self.check(self.is_type(value, int))
        beyond = self.local("i32")
        number = self.python("PyLong_AsLongLongAndOverflow", "i64", f"ptr {value}", f"ptr {beyond}")
        self.check(self.new(f"icmp eq i32 {self.load('i32', beyond, 0)}, 0"))
        if dtype == "int64":
            return number
        short = self.new(f"trunc i64 {number} to i32")
        self.check(self.new(f"icmp eq i64 {number}, {self.new(f'sext i32 {short} to i64')}"))
        return short

    def array(self, value: str, kind: TensorType, flags: int, lengths: list[str]) -> str:
        """The memory of an array that is what it should be; its lengths become variables."""
        self.check(self.is_type(value, np.ndarray))
        dtype = self.object(f"as_{kind.dtype}", np.dtype(kind.dtype))
        self.check(self.new(f"icmp eq ptr {self.load('ptr', value, DTYPE)}, {dtype}"))
        self.check(self.new(f"icmp eq i32 {self.load('i32', value, RANK)}, {kind.rank}"))
        own = self.new(f"and i32 {self.load('i32', value, FLAGS)}, {flags}")
        self.check(self.new(f"icmp eq i32 {own}, {flags}"))
        shape = self.load("ptr", value, LENGTHS)
        for axis, length in enumerate(lengths):
            self.variables[length] = self.load("i64", shape, 8 * axis)
        return self.load("ptr", value, DATA)

    # ------------------------------------------------------------------ results

    def result_array(
        self, out: str, kind: TensorType, extents: list[str], others: list[str],
        places: list[tuple[str, TensorType, list[str]]],
    ) -> str:  # fmt: skip
        """A new array, or the one given as `out`; where there is no memory, `others` are dropped."""
        shape = self.local(f"[{kind.rank} x i64]")
        for axis, extent in enumerate(extents):
            self.lines.append(f"store i64 {extent}, ptr {self.place(shape, 8 * axis)}")
        if out == "null":
            return self.new_array(kind, shape, others)
        fresh, own, joined = self.label("fresh"), self.label("own"), self.label("joined")
        self.lines += [f"br i1 {self.new(f'icmp eq ptr {out}, null')}, label %{fresh}, label %{own}", f"{own}:"]
        lengths = [f"out_{axis}" for axis in range(kind.rank)]
        data = self.array(out, kind, CONTIGUOUS_ALIGNED | WRITEABLE, lengths)
        for length, extent in zip(lengths, extents, strict=True):
            self.check(self.new(f"icmp eq i64 {self.variables[length]}, {extent}"))
        for other, its_kind, its_lengths in places:
            self.apart((data, kind, lengths), (other, its_kind, its_lengths))
        self.python("Py_IncRef", "void", f"ptr {out}")
        owned, made = self.label("owned"), self.label("made")
        self.lines += [f"br label %{owned}", f"{owned}:", f"br label %{joined}", f"{fresh}:"]
        array = self.new_array(kind, shape, others)
        self.lines += [f"br label %{made}", f"{made}:", f"br label %{joined}", f"{joined}:"]
        return self.new(f"phi ptr [{out}, %{owned}], [{array}, %{made}]")

    def new_array(self, kind: TensorType, shape: str, others: list[str]) -> str:
        """A new array; where there is no memory, `others` are dropped."""
        array = self.call(
            self.known("new_array", _numpy_function(NEW_ARRAY)), "ptr", f"ptr {self.object('ndarray', np.ndarray)}",
            f"i32 {kind.rank}", f"ptr {shape}", f"i32 {np.dtype(kind.dtype).num}", "ptr null", "ptr null", "i32 0",
            "i32 0", "ptr null",
        )  # fmt: skip
        none, some = self.label("none"), self.label("some")
        self.lines += [f"br i1 {self.new(f'icmp eq ptr {array}, null')}, label %{none}, label %{some}", f"{none}:"]
        for other in others:
            self.python("Py_DecRef", "void", f"ptr {other}")
        self.lines += ["ret ptr null", f"{some}:"]
        return array

    def apart(self, *arrays: tuple[str, TensorType, list[str]]) -> None:
        """Check that two arrays share no memory."""
        ends = []
        for data, kind, lengths in arrays:
            count = str(np.dtype(kind.dtype).itemsize)
            for length in lengths:
                count = self.product(count, self.variables[length])
            first = self.new(f"ptrtoint ptr {data} to i64")
            ends.append((first, self.new(f"add i64 {first}, {count}")))
        before = self.new(f"icmp ule i64 {ends[0][1]}, {ends[1][0]}")
        after = self.new(f"icmp ule i64 {ends[1][1]}, {ends[0][0]}")
        self.check(self.new(f"or i1 {before}, {after}"))

    def pack(self, packing: Packing, made: dict[str, str]) -> str:
        """The object that is handed over."""
        if isinstance(packing, str):
            if packing in self.handed:
                self.python("Py_IncRef", "void", f"ptr {made[packing]}")
            self.handed.add(packing)
            return made[packing]
        parts = [self.pack(part, made) for part in packing.parts]
        if packing.fields:
            name = f"record_{packing.name}_{'_'.join(packing.fields)}"
            record = self.object(name, record_class(packing.name, packing.fields))
            result = self.python("PyType_GenericAlloc", "ptr", f"ptr {record}", f"i64 {len(parts)}")
        else:
            result = self.python("PyTuple_New", "ptr", f"i64 {len(parts)}")
        for place, part in enumerate(parts):
            self.python("PyTuple_SetItem", "i32", f"ptr {result}", f"i64 {place}", f"ptr {part}")
        return result


def record_type(dtypes: Sequence[str]) -> str:
    """The LLVM type of what a kernel returns: its scalars side by side."""
    return f"{{{', '.join(KINDS[dtype] for dtype in dtypes)}}}" if dtypes else "ptr"
