"""Random well-typed graphs with arguments for them, for properties that hold for every graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from graphad.ad import transform
from graphad.errors import DifferentiationError
from graphad.interpret import interpret
from graphad.ir.graph import Graph
from graphad.ir.variable import Variable

Draw = Callable[[st.SearchStrategy[Any]], Any]
Pool = list[Variable]


class Case(NamedTuple):
    """A graph and arguments for it."""

    graph: Graph
    arrays: dict[str, NDArray[Any]]

    def dense_jacobians(self) -> Iterator[tuple[str, str, NDArray[Any]]]:
        """Output, input and dense Jacobian by sweeps, interpreted, wherever the one depends on the other."""
        for output in self.graph.outputs:
            for name in self.graph.inputs:
                try:
                    derived = transform.jacobian(self.graph, name, output)
                except DifferentiationError:
                    continue
                yield output, name, interpret(derived, **self.arrays)[f"d{output}_d{name}"]


# Every function is bounded, or grows slowly, on all of R, so that no chain of them overflows.
UNARY: tuple[Callable[[Any], Any], ...] = (
    np.sin, np.cos, np.tanh, np.arctan, np.abs, np.negative, np.arcsinh,
    lambda x: 0.5 * x, lambda x: x * 1.0 + 0.0, lambda x: 1.0 / (1.0 + np.exp(-x)), lambda x: np.log(1.0 + np.exp(x)),
    lambda x: np.sqrt(1.0 + x * x), lambda x: np.log(1.0 + np.square(x)), lambda x: np.exp(np.sin(x)) - 1.0,
    lambda x: np.negative(-x),
    lambda x: np.sin(x) ** 3, lambda x: np.maximum(x, 0.25), lambda x: np.where(x > 0.1, x, np.sin(x)),
)  # fmt: skip
BINARY: tuple[Callable[[Any, Any], Any], ...] = (
    lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * np.sin(b), lambda a, b: np.cos(a) * np.tanh(b),
    lambda a, b: a / (1.5 + np.sin(b)), np.minimum, np.maximum, np.hypot, np.logaddexp, np.arctan2,
    lambda a, b: np.where(a < b, a, b), lambda a, b: a + (-b), lambda a, b: np.sin(a) * (1.0 / (2.0 + np.cos(b))),
)  # fmt: skip


def unary(draw: Draw, pool: Pool, sizes: dict[str, int]) -> Variable:
    """A function of one value."""
    return draw(st.sampled_from(UNARY))(_floating(draw, pool))


def binary(draw: Draw, pool: Pool, sizes: dict[str, int]) -> Variable | None:
    """A function of two values that broadcast for certain."""
    left = _floating(draw, pool)
    right = draw(st.sampled_from([v for v in pool if v.type.is_float and _broadcasts(left, v)]))
    return draw(st.sampled_from(BINARY))(left, right)


def with_constant(draw: Draw, pool: Pool, sizes: dict[str, int]) -> Variable:
    """A product with or a sum of a number."""
    x, number = _floating(draw, pool), draw(st.sampled_from([0.0, 1.0, -1.0, 2.0, 0.3]))
    return x * number if draw(st.booleans()) else number + x


def reduction(draw: Draw, pool: Pool, sizes: dict[str, int]) -> Variable:
    """A reduction over some axes, a mean to stay bounded."""
    x = _floating(draw, pool)
    axis = draw(st.one_of(st.none(), st.sampled_from(range(x.ndim)))) if x.ndim else None
    keepdims = draw(st.booleans())
    count = int(np.prod([_value(e, sizes) for a, e in enumerate(x.shape) if axis in (None, a)]))
    reduce = draw(st.sampled_from(["sum", "max", "min", "mean"] if count else ["sum"]))
    result: Variable = getattr(x, reduce)(axis=axis, keepdims=keepdims)
    return result if reduce != "sum" else 0.25 * result


def stretching(draw: Draw, pool: Pool, sizes: dict[str, int]) -> Variable:
    """A new leading axis, alone or stretched."""
    x = _floating(draw, pool)
    if x.ndim > 2:
        return x.sum(axis=0)
    return x[None] if draw(st.booleans()) else np.broadcast_to(x, (2, *x.shape))


def moving(draw: Draw, pool: Pool, sizes: dict[str, int]) -> Variable | None:
    """Transposes, reshapes, slices, flips."""
    x = _floating(draw, pool)
    if x.ndim == 0:
        return None
    kind = draw(st.sampled_from(["transpose", "ravel", "flip", "slice", "step"]))
    if kind == "transpose":
        return x.transpose(tuple(draw(st.permutations(range(x.ndim)))))
    if kind == "ravel":
        return x.reshape(-1)
    if kind == "flip":
        return x[::-1]
    extent = _value(x.shape[-1], sizes)
    if kind == "step" or extent == 0:
        return x[..., ::2] if isinstance(x.shape[-1], int) else x[..., ::-1]
    return x[..., draw(st.integers(0, extent)) :]


def joining(draw: Draw, pool: Pool, sizes: dict[str, int]) -> Variable | None:
    """A concatenation of a value with itself."""
    x = _floating(draw, pool)
    return np.concatenate([x, np.sin(x)], axis=draw(st.sampled_from(range(x.ndim)))) if x.ndim else None


def gathering(draw: Draw, pool: Pool, sizes: dict[str, int]) -> Variable | None:
    """Rows chosen by literal indices, negative ones and repeated ones among them."""
    x = _floating(draw, pool)
    extent = _value(x.shape[0], sizes) if x.ndim else 0
    if extent == 0:
        return None
    return x[np.array(draw(st.lists(st.integers(-extent, extent - 1), min_size=1, max_size=4)))]


def product(draw: Draw, pool: Pool, sizes: dict[str, int]) -> Variable | None:
    """A product with the transpose."""
    x = _floating(draw, pool)
    return 0.1 * np.sin(x) @ np.cos(x).T if x.ndim in (1, 2) else None


def through_integers(draw: Draw, pool: Pool, sizes: dict[str, int]) -> Variable:
    """A sum with the value truncated: the derivative of that part is zero."""
    x = _floating(draw, pool)
    return x.astype("int64").astype("float64") + x


STEPS = (unary, unary, binary, binary, with_constant, reduction, stretching, moving, joining, gathering, product)
STEPS_WITH_INTEGERS = (*STEPS, through_integers)


@st.composite
def cases(draw: Draw, *, steps: tuple[Callable[..., Any], ...] = STEPS, most: int = 8) -> Case:
    """A graph of float64 inputs `x` of shape (n,), `w` of (n, 3), `c` of (3,) and `s` of (), with n from 0 to 5."""
    sizes = {"n": draw(st.integers(0, 5))}
    graph = Graph("random")
    n = graph.size("n")
    shapes = {"x": (n,), "w": (n, 3), "c": (3,), "s": ()}
    pool = [graph.input(name, shape=shape) for name, shape in shapes.items()]
    for step in draw(st.lists(st.sampled_from(steps), min_size=1, max_size=most)):
        made = step(draw, pool, sizes)
        if made is not None and np.prod([_value(e, sizes) for e in made.shape]) <= 400:
            pool.append(made)
    total = sum((v.sum() for v in pool if v.type.is_float), start=0.0 * pool[-1].sum())
    graph.output("y", pool[-1])
    graph.output("L", total)
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    arrays = {name: generator.uniform(-2, 2, [_value(e, sizes) for e in shape]) for name, shape in shapes.items()}
    return Case(graph.freeze(), {name: np.asarray(a) for name, a in arrays.items()})


def _floating(draw: Draw, pool: Pool) -> Variable:
    return draw(st.sampled_from([v for v in pool if v.type.is_float]))  # type: ignore[no-any-return]


def _broadcasts(left: Variable, right: Variable) -> bool:
    pairs = zip(reversed(left.shape), reversed(right.shape), strict=False)
    return all(a == b or 1 in (a, b) for a, b in pairs)


def _value(extent: Any, sizes: dict[str, int]) -> int:
    return extent if isinstance(extent, int) else int(extent.evaluate(sizes))
