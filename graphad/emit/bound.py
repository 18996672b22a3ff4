"""A compiled function on fixed buffers: everything is checked once, a call takes no arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphad.analysis.indices import raise_outside
from graphad.emit.arguments import fixed, outputs_for
from graphad.emit.call import CallPath, entry_of
from graphad.emit.native import entry_module
from graphad.emit.result import pack_expression
from graphad.interpret import solve_sizes
from graphad.ir import sizes
from graphad.ir.apply import bind_arguments

TEXT = """
def {name}():
    if __run(__table):
        __fail()
    return __result
"""


class Buffers(NamedTuple):
    """What a bound function reads and writes, by name."""

    inputs: dict[str, NDArray[Any]]
    outputs: dict[str, NDArray[Any]]
    sizes: dict[str, int]


def bind(path: CallPath, given: tuple[Any, ...], named: Mapping[str, Any], out: Any) -> Callable[[], Any]:
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


def _function(path: CallPath, buffers: Buffers) -> Callable[[], Any]:
    def fail() -> None:
        for stage in path.stages:
            raise_outside(stage.graph, stage.checks, buffers.inputs, buffers.sizes)

    pointers = [np.array([a.ctypes.data for a in group.values()], np.int64) for group in buffers[:2]]
    lengths = np.array(list(buffers.sizes.values()), np.int64)
    tables = np.array([pointers[0].ctypes.data, lengths.ctypes.data, pointers[1].ctypes.data], np.int64)
    module = entry_module(path)
    namespace: dict[str, Any] = {
        "__run": entry_of(module.bound), "__table": tables.ctypes.data, "__fail": fail, "__new": tuple.__new__,
        "__alive": (module, buffers, pointers, lengths, tables), "__buffers": buffers.outputs,
    }  # fmt: skip
    classes: dict[str, type] = {}
    result = pack_expression(path.packing, lambda name: f"__buffers[{name!r}]", classes)
    namespace["__result"] = eval(result, {**namespace, **classes})
    exec(compile(TEXT.format(name=path.graph.name), f"<bound {path.graph.name}>", "exec"), namespace)
    function: Callable[[], Any] = namespace[path.graph.name]
    function.__dict__.update(buffers._asdict())
    return function
