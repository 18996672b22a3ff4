"""Python functions of arrays turned into graphs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from graphad.errors import ArgumentError, describe
from graphad.ir.graph import Graph
from graphad.ir.types import DTYPES, TensorType, as_dtype, as_shape
from graphad.ir.variable import Variable


def trace(fn: Callable[..., Any], **specs: Any) -> Graph:
    """The graph of a Python function of arrays, from calling it once with variables.

    Arguments:
        fn: written with operators, methods and NumPy functions; answers a variable, a tuple or a dictionary of them.
        specs: for each parameter a shape (`()`, `"n"`, `("n", 3)`; float64), a shape and a dtype (`("n", "int64")`,
            `(("n", 3), "float32")`, a `TensorType`), or an example: an array or a number, whose dtype and shape are
            taken. Parameters with a default may be left out and keep it.

    Returns a graph named after the function. Its outputs are `y`, or `y0`, `y1`, … for a tuple, the fields of a named
    tuple, the keys of a dictionary.

    >>> def loss(w, x):
    ...     return ((x @ w - 1.0) ** 2).mean()
    >>> trace(loss, w=(3,), x=("n", 3))
    <graph loss(w: float64[3], x: float64[n, 3]) -> y; 10 nodes>
    """
    name = fn.__name__ if fn.__name__.isidentifier() else "graph"  # a lambda has no name
    graph = Graph(name)
    parameters = inspect.signature(fn).parameters
    for given in specs:
        if given not in parameters:
            known = ", ".join(parameters)
            raise ArgumentError(describe(f"trace: `{name}` has no parameter `{given}`", expected=known))
    values: dict[str, Variable] = {}
    for parameter in parameters.values():
        if parameter.name in specs:
            kind = as_spec(parameter.name, specs[parameter.name])
            values[parameter.name] = graph.input(parameter.name, kind.shape, kind.dtype)
        elif parameter.default is parameter.empty:
            raise ArgumentError(
                describe(
                    f"trace: no shape is given for parameter `{parameter.name}` of `{name}`",
                    fix=f'`ga.trace({name}, {parameter.name}="n")`, `{parameter.name}=()` for a scalar',
                )
            )
    result = fn(**values)
    for output, value in _named(result).items():
        if not isinstance(value, (Variable, int, float, np.ndarray)):
            raise ArgumentError(
                describe(
                    f"trace: output `{output}` of `{name}` is no variable",
                    expected="a variable, or a tuple or dictionary of them",
                    got=type(value).__name__,
                )
            )
        graph.output(output, value)
    return graph


def as_spec(name: str, spec: Any) -> TensorType:
    """The type that a specification of `trace` means; raises `ArgumentError` for anything else."""
    if isinstance(spec, TensorType):
        return spec
    if isinstance(spec, (np.ndarray, np.generic, bool, int, float)):
        return TensorType(as_dtype(np.asarray(spec).dtype), np.shape(spec))
    if isinstance(spec, tuple) and len(spec) == 2 and isinstance(spec[1], str) and spec[1] in DTYPES:
        return TensorType(spec[1], as_shape(spec[0]))
    if isinstance(spec, (str, tuple, list)):
        return TensorType("float64", as_shape(spec))
    raise ArgumentError(
        describe(
            f"trace: `{name}={spec!r}` is no specification",
            expected='a shape such as ("n", 3), a shape with a dtype such as (("n", 3), "int64"), or an example array',
            got=type(spec).__name__,
        )
    )


def _named(result: Any) -> Mapping[str, Any]:
    if isinstance(result, Mapping):
        return result
    if isinstance(result, tuple) and hasattr(result, "_fields"):
        return dict(zip(result._fields, result, strict=True))
    if isinstance(result, (tuple, list)):
        return {f"y{i}": value for i, value in enumerate(result)}
    return {"y": result}
