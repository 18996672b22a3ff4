"""The functions of a library under NumPy's names, so that a formula is written once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


class Dialect:
    """A module of array functions with some names replaced or added.

    Formulas use besides NumPy's names `erf`, `lgamma`, `arange(extent)`, `count(extent)` (the value of an extent as
    a number), `index(extent)` (the same as an integer), `scan(fn, init, xs)` with tuples as in JAX, and
    `scatter(base, index, values)` (values added at positions).
    """

    def __init__(self, module: Any, **own: Any) -> None:
        self._module = module
        self._own = {"count": float, "index": int, "scatter": added_at, **own}

    def __getattr__(self, name: str) -> Any:
        return self._own[name] if name in self._own else getattr(self._module, name)


def python_scan(stack: Callable[[list[Any]], Any]) -> Callable[..., tuple[Any, Any]]:
    """`scan` as a loop of Python, for libraries that have none; `stack` joins results along a new first axis."""

    def mapped(change: Callable[..., Any], first: Any, *others: Any) -> Any:
        if isinstance(first, tuple):
            return tuple(mapped(change, *parts) for parts in zip(first, *others, strict=True))
        return None if first is None else change(first, *others)

    def length(xs: Any) -> int:
        return length(xs[0]) if isinstance(xs, tuple) else len(xs)

    def scan(fn: Callable[[Any, Any], tuple[Any, Any]], carry: Any, xs: Any) -> tuple[Any, Any]:
        ys = []
        for place in range(length(xs)):
            carry, y = fn(carry, mapped(lambda x, place=place: x[place], xs))
            ys.append(y)
        return carry, mapped(lambda *rows: stack(list(rows)), *ys)

    return scan


def added_at(base: Any, index: Any, values: Any) -> Any:
    """Values added at positions, equal ones together; a new array."""
    if not isinstance(base, np.ndarray):
        return base.at[index].add(values)
    result = np.array(base, dtype=np.result_type(base, values))
    np.add.at(result, index, values)
    return result


def numpy_dialect() -> Dialect:
    """NumPy itself, with SciPy's functions; complex arguments work, for complex steps."""
    from scipy import special

    lgamma = lambda x: special.loggamma(x + 0j).real  # noqa: E731
    return Dialect(np, erf=special.erf, lgamma=lgamma, scan=python_scan(np.stack))


def graphad_dialect(graph: Any) -> Dialect:
    """NumPy's functions on the variables of a graph."""
    import graphad as ga
    from graphad.ops.source import extent_value

    return Dialect(
        np,
        erf=ga.erf,
        lgamma=ga.lgamma,
        scan=ga.scan,
        arange=lambda extent: ga.arange(extent, graph=graph),
        count=lambda extent: extent_value(graph, extent, "float64"),
        index=lambda extent: extent_value(graph, extent),
    )


def jax_dialect() -> Dialect:
    """`jax.numpy`."""
    import jax
    import jax.numpy as jnp
    from jax.scipy import special

    return Dialect(jnp, erf=special.erf, lgamma=special.gammaln, scan=jax.lax.scan)


def autograd_dialect() -> Dialect:
    """`autograd.numpy`."""
    import autograd.numpy as anp
    from autograd.scipy import special

    return Dialect(anp, erf=special.erf, lgamma=special.gammaln, scan=python_scan(anp.stack))


def torch_dialect() -> Dialect:
    """PyTorch's functions, which accept `axis` and `keepdims`."""
    import torch

    def largest(x: Any, axis: Any = (), keepdims: bool = False) -> Any:
        return torch.amax(x, dim=axis, keepdim=keepdims)

    def zeros(shape: Any) -> Any:
        return torch.zeros(shape, dtype=torch.float64)

    return Dialect(
        torch, max=largest, zeros=zeros, erf=torch.erf, lgamma=torch.lgamma, concatenate=torch.cat,
        scan=python_scan(torch.stack),
    )  # fmt: skip
