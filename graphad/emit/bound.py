"""A compiled function on fixed buffers: everything is checked once, a call takes no arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphad.analysis.indices import raise_outside
from graphad.emit.arguments import fixed, outputs_for
from graphad.emit.call import CallPath
from graphad.emit.direct import KINDS, KernelCalls, builtin, native_addresses, record_type
from graphad.emit.result import pack_expression
from graphad.interpret import solve_sizes
from graphad.ir import sizes
from graphad.ir.apply import bind_arguments

NO_ARGUMENTS = 0x0004  # of a method


class Buffers(NamedTuple):
    """What a bound function reads and writes, by name."""

    inputs: dict[str, NDArray[Any]]
    outputs: dict[str, NDArray[Any]]
    sizes: dict[str, int]


def bind(path: CallPath, given: tuple[Any, ...], named: Mapping[str, Any], out: Any) -> BoundFunction:
    """The function without arguments; see `CompiledFunction.bind`."""
    graph = path.graph
    arguments = bind_arguments(graph, given, named)
    nodes = {name: graph.nodes[graph.inputs[name]] for name in arguments}
    inputs = {
        name: fixed(graph.name, name, value, nodes[name].type, nodes[name].source) for name, value in arguments.items()
    }
    extents = solve_sizes(graph, {name: array.shape for name, array in inputs.items()})
    buffers = Buffers(inputs, _outputs(path, out, arguments, extents), {n: extents[n] for n in graph.size_names})
    return _function(path, buffers)


def _outputs(
    path: CallPath, out: Any, arguments: Mapping[str, Any], extents: Mapping[str, int]
) -> dict[str, NDArray[Any]]:
    """The arrays of `out`, 0-d ones for scalars among them, and fresh ones for the rest."""
    types = {
        name: (kind.dtype, tuple(sizes.evaluate(e, extents) for e in kind.shape))
        for name, kind in path.output_types.items()
    }
    arrays = [name for name, (_, shape) in types.items() if shape]
    if isinstance(out, np.ndarray) and out.ndim and len(arrays) == 1:
        out = {arrays[0]: out}
    given = {} if out is None else outputs_for(path.graph.name, out, tuple(types), types, arguments)
    return {name: given[name] if name in given else np.zeros(shape, dtype) for name, (dtype, shape) in types.items()}


class BoundFunction:
    """A compiled function on fixed buffers: call it without arguments.

    Attributes:
        inputs, outputs: the arrays that it reads and writes, by name.
        sizes: the named sizes of these arrays.
    """

    __slots__ = ("__call__", "inputs", "outputs", "sizes")
    __call__: Callable[[], Any]

    def __init__(self, call: Callable[[], Any], buffers: Buffers) -> None:
        self.__call__ = call
        self.inputs, self.outputs, self.sizes = buffers


def _function(path: CallPath, buffers: Buffers) -> BoundFunction:
    def fail() -> None:
        for stage in path.stages:
            raise_outside(stage.graph, stage.checks, buffers.inputs, buffers.sizes)
        raise MemoryError(f"`{path.graph.name}`: no memory to work in")

    classes: dict[str, type] = {}
    text = pack_expression(path.packing, lambda name: f"__buffers[{name!r}]", classes)
    result = eval(text, {"__new": tuple.__new__, "__buffers": buffers.outputs, **classes})
    addresses = native_addresses(path)
    if addresses is None:
        return BoundFunction(_in_python(path, buffers, result, fail), buffers)
    writer = _Writer(addresses)
    writer.write(path, buffers, result, fail)
    call = builtin(writer, path.graph.name, "ptr %self, ptr %none", NO_ARGUMENTS, path, buffers)
    return BoundFunction(call, buffers)


def _in_python(path: CallPath, buffers: Buffers, result: Any, fail: Callable[[], None]) -> Callable[[], Any]:
    """The same without machine code: through the kernels' entries for Python."""
    scalars = [n for n, i in path.graph.inputs.items() if not path.graph.nodes[i].type.rank]

    def run() -> Any:
        given = [array[()] if name in scalars else array for name, array in buffers.inputs.items()]
        if any(stage.kernel.entry(*given, *stage.kernel.constants) for stage in path.stages):
            fail()
        kernel = path.kernel
        arrays = [buffers.outputs[name] for name in kernel.generated.arrays]
        for name, value in kernel.scalars_of(kernel.entry(*given, *kernel.constants, *arrays)).items():
            buffers.outputs[name][...] = value
        return result

    return run


class _Writer(KernelCalls):
    """Writes the function: all addresses and sizes are known."""

    def write(self, path: CallPath, buffers: Buffers, result: Any, fail: Callable[[], None]) -> None:
        """All lines."""
        for name, array in buffers.inputs.items():
            place = self.known(f"input_{name}", array.ctypes.data)
            if array.ndim:
                self.given.append(self.flat(place, array.dtype.name, [str(length) for length in array.shape]))
            else:
                kind = KINDS[array.dtype.name]
                self.given.append(f"{kind} {self.load(kind, place, 0)}")
        for number, stage in enumerate(path.stages, start=1):
            status, returned = self.run(number, stage.kernel.constants, record_type(["bool"]), [])
            self.check(self.new(f"icmp eq i32 {status}, 0"))
            self.check(self.new(f"icmp eq i8 {self.load('i8', returned, 0)}, 0"))
        generated = path.kernel.generated
        arrays = [buffers.outputs[name] for name in generated.arrays]
        places = [self.known(f"output_{name}", buffers.outputs[name].ctypes.data) for name in generated.arrays]
        outputs = [
            self.flat(place, array.dtype.name, [str(length) for length in array.shape])
            for place, array in zip(places, arrays, strict=True)
        ]
        record = record_type([buffers.outputs[name].dtype.name for name in generated.scalars])
        status, returned = self.run(0, path.kernel.constants, record, outputs)
        self.unless_failed(status)
        for number, name in enumerate(generated.scalars):
            kind = KINDS[buffers.outputs[name].dtype.name]
            element = self.new(f"getelementptr {record}, ptr {returned}, i32 0, i32 {number}")
            value = self.new(f"load {kind}, ptr {element}")
            place = self.known(f"output_{name}", buffers.outputs[name].ctypes.data)
            self.lines.append(f"store {kind} {value}, ptr {place}")
        known = self.object("result", result)
        self.python("Py_IncRef", "void", f"ptr {known}")
        self.lines += [f"ret ptr {known}", "slow:"]
        function = self.object("fail", fail)
        failed = self.python("PyObject_Vectorcall", "ptr", f"ptr {function}", "ptr null", "i64 0", "ptr null")
        self.lines.append(f"ret ptr {failed}")
