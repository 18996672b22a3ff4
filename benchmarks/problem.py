"""What a benchmark problem is: data, one formula for all libraries, the derivative asked for, and hand-written code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = dict[str, Array]
Derivative = Literal[
    "value_and_grad", "grad", "hvp", "jacobian", "batched_jacobian", "sparse_jacobian", "sparse_hessian"
]  # fmt: skip


class Case(NamedTuple):
    """One instance of a problem: its sizes, in order, and the dtype of its arrays."""

    sizes: Mapping[str, int]
    dtype: str = "float64"

    @property
    def label(self) -> str:
        """The sizes as text, with the dtype where it is not float64.

        >>> Case({"n": 1000, "d": 3}, "float32").label
        'n=1000 d=3 float32'
        """
        sizes = " ".join(f"{name}={number}" for name, number in self.sizes.items())
        return sizes if self.dtype == "float64" else f"{sizes} {self.dtype}"


class Entrant(NamedTuple):
    """A library made ready for one case.

    `call` computes once and waits for the result; `arrays` turns what it gave into NumPy arrays in the order of the
    other entrants: value, then derivatives in the order of `wrt`. `flops` are the floating-point operations of a call
    by graphad's cost model, 0 where that is not known.
    """

    call: Callable[[], Any]
    arrays: Callable[[Any], list[Array]]
    flops: int = 0


@dataclass(frozen=True)
class Problem:
    """One computation whose derivative is timed.

    Arguments:
        name: also that of its module and of its file of results.
        title: what is computed, in a line.
        shapes: the declared shape of every input; names in them are symbolic sizes, one graph for all cases.
        wrt: the inputs to differentiate by.
        data: `data(generator, **sizes)` gives the float64 arrays of a case, in the order of `shapes`.
        formula: `formula(xp, *inputs)` with the functions of a library under `xp`.
        cases, small: what is timed, and the sizes of the quick test.
        derivative: the derivative asked for; `hvp` takes its vector as the last array of the data, `batched_jacobian`
            is that of each point along the size `n`.
        hand: gives, when called, a function `f(*arrays)` that returns value and derivatives as a list.
        formulas: the formula as users of one library would write it, where it differs.
        makers: `maker(problem, arrays)` by peer, where the common way to make an entrant does not do.
        peers: the libraries to compare with, besides hand-written code.
        limits: the largest size at which a peer takes part, for those that expand every element into an expression.
        notes: what a reader of the results should know.
        hints: typical sizes, which graphad is told.
    """

    name: str
    title: str
    shapes: Mapping[str, tuple[Any, ...]]
    wrt: tuple[str, ...]
    data: Callable[..., Sequence[Array]]
    formula: Callable[..., Any]
    cases: tuple[Case, ...]
    small: Case
    derivative: Derivative = "value_and_grad"
    hand: Callable[[], Callable[..., list[Array]]] | None = None
    formulas: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    makers: Mapping[str, Callable[[Problem, Arrays], Mapping[str, Entrant]]] = field(default_factory=dict)
    peers: tuple[str, ...] = ("jax", "torch", "autograd")
    limits: Mapping[str, int] = field(default_factory=dict)
    notes: str = ""
    hints: Mapping[str, int] = field(default_factory=dict)

    def arrays(self, case: Case, seed: int = 0) -> Arrays:
        """The data of a case by name, in the case's dtype; an `hvp` has its vector as `vector` besides."""
        values = self.data(np.random.default_rng(seed), **case.sizes)
        names = [*self.shapes, "vector"] if self.derivative == "hvp" else list(self.shapes)
        return {n: np.ascontiguousarray(v, dtype=case.dtype) for n, v in zip(names, values, strict=True)}

    def formula_of(self, library: str) -> Callable[..., Any]:
        """The formula for a library."""
        return self.formulas.get(library, self.formula)

    @property
    def sparse(self) -> bool:
        """Whether the result is a sparse matrix."""
        return self.derivative.startswith("sparse")

    @property
    def positions(self) -> tuple[int, ...]:
        """The places of the inputs to differentiate by."""
        names = list(self.shapes)
        return tuple(names.index(n) for n in self.wrt)


def flat(result: Any) -> list[Array]:
    """The arrays of a nested result from left to right.

    >>> flat((1.0, [2.0, (3.0,)]))
    [array(1.), array(2.), array(3.)]
    """
    if isinstance(result, (tuple, list)):
        return [leaf for part in result for leaf in flat(part)]
    return [np.asarray(result)]
