"""The Python function in front of a kernel: checks, fresh results, and a message where something does not fit.

The function is written for its graph as straight Python text. What it does not see to be right at once (another type, a
wrong size) goes to `CheckedCall`, which converts by the rule of `graphad.emit.arguments` or says what is wrong. After
these checks the call goes to the compiled function itself, past Numba's dispatcher: that would find the types out once
more, and refuse read-only arrays, which kernels never write to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from graphad.analysis.indices import Check, raise_outside
from graphad.emit.arguments import convert, copied, outputs_for
from graphad.emit.extents import SIZE_PREFIX, local_sizes, requirement_conditions, solve_lines, text, tuple_text
from graphad.emit.result import Packing, leaves, pack_expression
from graphad.errors import ArgumentError, describe
from graphad.interpret import solve_sizes
from graphad.ir import sizes
from graphad.ir.apply import bind_arguments
from graphad.ir.graph import Graph
from graphad.ir.sizes import Extent, Size
from graphad.ir.types import TensorType

if TYPE_CHECKING:
    from graphad.emit.source import Generated

MISSING: Any = type("Missing", (), {"__repr__": lambda self: "<missing>", "__slots__": ()})()
EXACT = {"float64": "__real", "float32": "__real", "bool": "__truth"}


class AnyKernel(Protocol):
    """What is asked of a kernel; see `Kernel`."""

    @property
    def function(self) -> Callable[..., Any]: ...
    @property
    def entry(self) -> Callable[..., Any]: ...
    @property
    def constants(self) -> tuple[Any, ...]: ...
    @property
    def generated(self) -> Generated: ...
    @property
    def module(self) -> str: ...
    def scalars_of(self, returned: Any) -> dict[str, Any]:
        """The scalar outputs by name, from what the kernel returned."""


@dataclass(frozen=True)
class Kernel:
    """A compiled kernel and how to call it: `function(*inputs, *constants, *array outputs) -> scalar outputs`.

    Arguments:
        function: for other compiled code.
        entry: the same for Python, for arguments that are known to be right: it takes an array for what it should be.
        module: the name of the module in which it stands, with its constants.
    """

    function: Callable[..., Any]
    entry: Callable[..., Any]
    constants: tuple[Any, ...]
    generated: Generated
    module: str

    def scalars_of(self, returned: Any) -> dict[str, Any]:
        """The scalar outputs by name, from what the kernel returned."""
        names = self.generated.scalars
        return dict(zip(names, returned if len(names) > 1 else (returned,), strict=True)) if names else {}


@dataclass(frozen=True)
class Stage:
    """Index checks that run before the kernel, the graph of which they speak, and the kernel that answers whether
    one fails."""

    graph: Graph
    checks: tuple[Check, ...]
    kernel: AnyKernel


@dataclass(frozen=True)
class CallPath:
    """Everything that the Python function of a graph is made of.

    Arguments:
        graph: as the user derived it, before passes: its names, sizes and requirements are those of messages.
        packing: how the outputs are handed over.
    """

    graph: Graph
    kernel: AnyKernel
    stages: tuple[Stage, ...]
    packing: Packing

    @property
    def output_types(self) -> dict[str, TensorType]:
        """The types of all outputs, in order."""
        return {name: self.graph.nodes[i].type for name, i in self.graph.outputs.items()}


def entry_of(function: Any) -> Callable[..., Any]:
    """What Numba compiled for the only signature of a function; the function itself where Numba is switched off."""
    (compiled,) = getattr(function, "overloads", {"": None}).values()
    return function if compiled is None else compiled.entry_point  # type: ignore[no-any-return]


def entry_for(function: Any, arguments: tuple[Any, ...]) -> Callable[..., Any]:
    """What Numba compiled for arguments of some types, for which the function has been called before."""
    if not hasattr(function, "overloads"):
        return function  # type: ignore[no-any-return]
    kinds = tuple(function.typeof_pyval(a) for a in arguments)
    return function.overloads[kinds].entry_point  # type: ignore[no-any-return]


def make_call(path: CallPath) -> tuple[Callable[..., Any], str]:
    """The Python function for a kernel, and its source text.

    The function takes the graph's inputs by position or by name, and `out=`. Raises `ArgumentError` where an input
    has a name that the function needs for itself.
    """
    for name in path.graph.inputs:
        if name == "out" or name.startswith("__"):
            raise ArgumentError(
                describe(f"`{path.graph.name}`: an input can not be called `{name}`", fix="rename it",
                         source=path.graph.nodes[path.graph.inputs[name]].source)
            )  # fmt: skip
    namespace = _namespace(path)
    source = "\n".join(_lines(path, namespace)) + "\n"
    exec(compile(source, f"<call of {path.graph.name}>", "exec"), namespace)
    checked = CheckedCall(path, namespace["__pack"])
    namespace["__slow"] = checked
    function = namespace[path.graph.name]
    function.__signature__ = signature(path.graph)
    return function, source


def signature(graph: Graph) -> Signature:
    """The signature that a compiled function shows: its inputs, then `out`."""
    inputs = [Parameter(n, Parameter.POSITIONAL_OR_KEYWORD) for n in graph.inputs]
    return Signature([*inputs, Parameter("out", Parameter.KEYWORD_ONLY, default=None)])


class CheckedCall:
    """The way for arguments that are not plainly right: convert, diagnose, then run."""

    def __init__(self, path: CallPath, pack: Callable[..., Any]) -> None:
        self.path = path
        self.pack = pack

    def __call__(self, given: tuple[Any, ...], rest: tuple[Any, ...], out: Any, unknown: dict[str, Any]) -> Any:
        """Run with arguments in the order of inputs, `MISSING` where there is none."""
        path, graph = self.path, self.path.graph
        positional = tuple([value for value in given if value is not MISSING])
        bound = bind_arguments(graph, positional + rest, unknown)
        arrays = {}
        for name, value in bound.items():
            node = graph.nodes[graph.inputs[name]]
            arrays[name] = convert(graph.name, name, value, node.type, node.source)
        extents = solve_sizes(graph, {name: np.shape(array) for name, array in arrays.items()})
        fresh = {
            name: (kind.dtype, tuple(sizes.evaluate(e, extents) for e in kind.shape))
            for name, kind in path.output_types.items()
            if kind.rank
        }
        outputs = {} if out is None else outputs_for(graph.name, out, tuple(graph.outputs), fresh, bound)
        for stage in path.stages:
            if stage.kernel.entry(*arrays.values(), *stage.kernel.constants):
                raise_outside(stage.graph, stage.checks, arrays, extents)
        for name, (dtype, shape) in fresh.items():
            if name not in outputs:
                outputs[name] = np.empty(shape, dtype)
        kernel = path.kernel
        written = [outputs[name] for name in kernel.generated.arrays]
        returned = kernel.entry(*arrays.values(), *kernel.constants, *written)
        values: dict[str, Any] = {**outputs, **kernel.scalars_of(returned)}
        return self.pack(*[values[name] for name in graph.outputs])


# ---------------------------------------------------------------------- the text of the function


def _entry(kernel: AnyKernel) -> Callable[..., Any]:
    """The entry of a kernel, which is made when it is first needed."""
    return lambda *arguments: kernel.entry(*arguments)


def _namespace(path: CallPath) -> dict[str, Any]:
    namespace: dict[str, Any] = {
        "__missing": MISSING, "__ndarray": np.ndarray, "__empty": np.empty, "__overlap": np.may_share_memory,
        "__copied": copied, "__new": tuple.__new__, "__kernel": _entry(path.kernel), "__type": type, "__real": float,
        "__whole": int, "__truth": bool, "__min": min, "__max": max,
    }  # fmt: skip
    for name in ("float64", "float32", "int64", "int32", "bool"):
        namespace[f"__{name}"] = np.dtype(name).type
        namespace[f"__as_{name}"] = np.dtype(name)
    for i, constant in enumerate(path.kernel.constants):
        namespace[f"__c{i}"] = constant
    for level, stage in enumerate(path.stages):
        namespace[f"__outside{level}"] = _entry(stage.kernel)
        for i, constant in enumerate(stage.kernel.constants):
            namespace[f"__c{level}_{i}"] = constant
    return namespace


def _lines(path: CallPath, namespace: dict[str, Any]) -> Iterator[str]:
    graph, generated = path.graph, path.kernel.generated
    local = {name: f"__o{i}" for i, name in enumerate(graph.outputs)}
    classes: dict[str, type] = {}

    def leaf(name: str) -> str:
        kind = path.output_types[name]
        return local[name] if kind.rank else f"__{kind.dtype}({local[name]})"

    result = pack_expression(path.packing, leaf, classes)
    namespace.update(classes)
    assert set(leaves(path.packing)) <= set(graph.outputs)
    yield f"def __pack({', '.join(local.values())}):"
    yield f"    return {result}"
    yield ""
    # By position only: Python's own complaint about an argument that comes twice would not be graphad's.
    parameters = "".join(f"{name}=__missing, " for name in graph.inputs) + "/, " * bool(graph.inputs)
    given = "(" + "".join(f"{name}, " for name in graph.inputs) + ")"
    slow = f"return __slow({given}, __rest, out, __unknown)"
    yield f"def {graph.name}({parameters}*__rest, out=None, **__unknown):"
    sized = size_lines(graph)
    if sized is not None:
        yield f"    if {' and '.join(['not __rest', 'not __unknown', *_type_conditions(graph)])}:"
        for name, targets in sized.lengths.items():
            if targets:
                yield f"        {', '.join(targets)}, = {name}.shape"
        yield from (f"        {_own(line)}" for line in sized.solving)
        yield from (f"        {line}" for line in _layout_lines(graph, slow))
        if sized.conditions:
            yield f"        if not ({_own(' and '.join(sized.conditions))}):"
            yield f"            {slow}"
        yield from (f"        {line}" for line in _output_lines(path, local, slow))
        yield from (f"        {line}" for line in _stage_lines(path, slow))
        arguments = [*generated.inputs, *(f"__c{i}" for i in range(len(path.kernel.constants)))]
        call = f"__kernel({', '.join([*arguments, *(local[name] for name in generated.arrays)])})"
        returned = ", ".join(local[name] for name in generated.scalars)
        yield f"        {returned + ' = ' if returned else ''}{call}"
        yield f"        return {result}"
    yield f"    {slow}"


def _own(sizes: str) -> str:
    """Python text of sizes with names for `min` and `max` that no argument can have."""
    return re.sub(r"\b(min|max)\(", r"__\1(", sizes)


def _type_conditions(graph: Graph) -> list[str]:
    conditions = []
    for name, node_id in graph.inputs.items():
        kind = graph.nodes[node_id].type
        if kind.rank:
            conditions.append(f"__type({name}) is __ndarray and {name}.dtype is __as_{kind.dtype}")
            conditions.append(f"{name}.ndim == {kind.rank}")
        elif kind.dtype in EXACT:
            conditions.append(f"(__type({name}) is {EXACT[kind.dtype]} or __type({name}) is __{kind.dtype})")
        else:
            limits = np.iinfo(kind.dtype)
            exact = f"__type({name}) is __whole and {limits.min} <= {name} <= {limits.max}"
            conditions.append(f"({exact} or __type({name}) is __{kind.dtype})")
    return conditions


def _layout_lines(graph: Graph, slow: str) -> Iterator[str]:
    """Lines that copy arrays of another layout; an `out` that might overlap the original is left to the checked way."""
    for name, node_id in graph.inputs.items():
        kind = graph.nodes[node_id].type
        if kind.rank:
            yield f"if not {name}.flags.carray:"
            yield f"    __flags = {name}.flags"
            yield "    if not (__flags.c_contiguous and __flags.aligned):"
            yield "        if out is not None:"
            yield f"            {slow}"
            yield f"        {name} = __copied({name})"


class SizeLines(NamedTuple):
    """How a graph's sizes follow from the lengths of its inputs' axes.

    Arguments:
        lengths: by input, the variables that get the lengths of its axes.
        solving: lines that find the sizes which stand nowhere alone.
        conditions: all that must hold.
    """

    lengths: dict[str, list[str]]
    solving: list[str]
    conditions: list[str]


def size_lines(graph: Graph) -> SizeLines | None:
    """The lines that take the sizes from the arguments; None where that needs a solver."""
    lengths: dict[str, list[str]] = {}
    bound: dict[str, Extent] = {}
    axes: list[tuple[Extent, str]] = []
    for i, (name, node_id) in enumerate(graph.inputs.items()):
        targets = lengths[name] = []
        for axis, extent in enumerate(graph.nodes[node_id].type.shape):
            target = f"__d{i}_{axis}"
            if isinstance(extent, Size) and str(extent).isidentifier() and str(extent) not in bound:
                target = f"{SIZE_PREFIX}{extent}"
                bound[str(extent)] = Size.name(target)
            else:
                axes.append((extent, target))
            targets.append(target)
    solved = solve_lines(axes, bound)
    if solved is None:
        return None
    conditions = solved[1] + [f"{target} == {text(extent, bound)}" for extent, target in axes]
    return SizeLines(lengths, solved[0], conditions + requirement_conditions(graph.requirements, bound))


def _output_lines(path: CallPath, local: dict[str, str], slow: str) -> Iterator[str]:
    arrays = {name: kind for name, kind in path.output_types.items() if kind.rank}
    bound = local_sizes(path.graph.size_names)
    if len(arrays) != 1:
        yield "if out is not None:"
        yield f"    {slow}"
        for name, kind in arrays.items():
            yield f"{local[name]} = {_fresh(kind, bound)}"
        return
    ((name, kind),) = arrays.items()
    inputs = [n for n, i in path.graph.inputs.items() if path.graph.nodes[i].type.rank]
    # Two arrays that own their memory can only overlap by being one; that is much cheaper to see.
    apart = [f"(out is not {n} if out.base is None is {n}.base else not __overlap(out, {n}))" for n in inputs]
    exact = ["__type(out) is __ndarray", f"out.dtype is __as_{kind.dtype}", "out.flags.carray"]
    exact.append(f"out.shape == {_own(tuple_text(kind.shape, bound))}")
    yield "if out is None:"
    yield f"    {local[name]} = {_fresh(kind, bound)}"
    yield f"elif {' and '.join([*exact, *apart])}:"
    yield f"    {local[name]} = out"
    yield "else:"
    yield f"    {slow}"


def _stage_lines(path: CallPath, slow: str) -> Iterator[str]:
    for level, stage in enumerate(path.stages):
        constants = [f"__c{level}_{i}" for i in range(len(stage.kernel.constants))]
        yield f"if __outside{level}({', '.join([*stage.kernel.generated.inputs, *constants])}):"
        yield f"    {slow}"


def _fresh(kind: TensorType, bound: dict[str, Extent]) -> str:
    shape = _own(text(kind.shape[0], bound) if kind.rank == 1 else tuple_text(kind.shape, bound))
    return f"__empty({shape})" if kind.dtype == "float64" else f"__empty({shape}, __{kind.dtype})"
