"""Times of a graph's value and derivatives on random inputs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from graphad.analysis.cost import TYPICAL
from graphad.errors import ArgumentError, describe
from graphad.interpret import solve_sizes
from graphad.ir import sizes
from graphad.ir.graph import Graph
from graphad.ir.types import TensorType

Made = TypeVar("Made", bound=Callable[..., Any])


class Timing(NamedTuple):
    """Seconds: to compile (or to load from the cache), of the first call, and the median of the calls after it."""

    name: str
    compile: float
    first: float
    steady: float


def sizes_of(graph: Graph, given: Mapping[str, int]) -> dict[str, int]:
    """A number for every named size: what is given, else the hint, else a typical one.

    Raises `ArgumentError` for a name that the graph does not have and for negative numbers.
    """
    for name, value in given.items():
        if name not in graph.size_names:
            expected = ", ".join(f"`{n}`" for n in graph.size_names) or "none: all its shapes are literal"
            raise ArgumentError(describe(f"`{graph.name}` has no size `{name}`", expected=expected))
        if value < 0:
            raise ArgumentError(describe(f"size `{name}` is negative", expected="0 or more", got=str(value)))
    return {name: given.get(name, graph.hints.get(name, TYPICAL)) for name in graph.size_names}


def random_inputs(graph: Graph, given: Mapping[str, int], seed: int = 0) -> dict[str, Any]:
    """Random arguments of the declared shapes and dtypes.

    Floats are uniform between 0.5 and 1.5, where logarithms and roots are defined; integers index any axis that is not
    empty, so they are below the smallest extent of the inputs.

    Arguments:
        given: numbers for named sizes; hints and a typical size stand in for the others.

    Raises `ShapeError` where the sizes break a requirement of the graph.
    """
    bound = sizes_of(graph, given)
    generator = np.random.default_rng(seed)
    kinds = {name: graph.nodes[node_id].type for name, node_id in graph.inputs.items()}
    shapes = {name: tuple(sizes.evaluate(e, bound) for e in kind.shape) for name, kind in kinds.items()}
    solve_sizes(graph, shapes)
    smallest = max(1, min((extent for shape in shapes.values() for extent in shape), default=1))
    return {name: _random(kinds[name], shapes[name], smallest, generator) for name in graph.inputs}


def _random(kind: TensorType, shape: tuple[int, ...], below: int, generator: np.random.Generator) -> Any:
    if kind.is_float:
        values = generator.uniform(0.5, 1.5, shape)
    else:
        values = np.asarray(generator.integers(0, 2 if kind.dtype == "bool" else below, shape))
    array = np.asarray(values, dtype=kind.dtype)
    return array if shape else array[()]


def measure(
    name: str, make: Callable[[], Made], arguments: Callable[[Made], Sequence[Any]], budget: float = 0.5
) -> Timing:
    """Time the making of a function, its first call, and further calls for about `budget` seconds.

    Arguments:
        make: compiles the function.
        arguments: gives the inputs of what `make` made.
    """
    begun = time.perf_counter()
    function = make()
    compiled = time.perf_counter() - begun
    inputs = arguments(function)
    before = time.perf_counter()
    function(*inputs)
    first = time.perf_counter() - before
    steady: list[float] = []
    begun_calls = time.perf_counter()
    count = max(1, int(1e-4 / max(first, 1e-7)))
    while len(steady) < 5 or (time.perf_counter() - begun_calls < budget and len(steady) < 1000):
        before = time.perf_counter()
        for _ in range(count):
            function(*inputs)
        steady.append((time.perf_counter() - before) / count)
    return Timing(name, compiled, first, statistics.median(steady))


def duration(seconds: float) -> str:
    """Seconds with a unit that keeps three figures readable.

    >>> duration(2.5e-7), duration(0.00123), duration(12.0)
    ('0.25 µs', '1.23 ms', '12 s')
    """
    for factor, unit in ((1e6, "µs"), (1e3, "ms")):
        if seconds * factor < 999.5:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"
