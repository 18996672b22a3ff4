"""What an operation is tried on: arrays from its samples or its arity, and from its domain."""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphad.ir.graph import Graph
from graphad.ir.operation import Elementwise, Linear, NotDifferentiable, Op, Sample
from graphad.testing.compare import Array

SPECIAL = (np.nan, np.inf, -np.inf, 0.0, -0.0, 5e-324, -1e300, 1e300, 1.0, -1.0)

# Shapes of elementwise cases; operand k takes entry k, in turn.
ELEMENTWISE_SHAPES: tuple[tuple[tuple[int, ...], ...], ...] = (
    ((3,),),
    ((3, 1), (1, 4), (3, 4)),
    ((2, 3), (), (3,)),
    ((),),
    ((1,), (4,), (1,)),
    ((0,), (1,), (0,)),
    ((2, 0),),
)


@dataclass(frozen=True)
class Case:
    """One operation on given arrays.

    `wiring` gives for each operand which array it takes: an operation may get the same array twice. `active` are the
    arrays with a derivative.
    """

    op: Op
    params: Mapping[str, Any]
    arrays: tuple[Array, ...]
    wiring: tuple[int, ...]
    active: tuple[int, ...]

    def __str__(self) -> str:
        kinds = ", ".join(f"{self.arrays[k].dtype}{list(self.arrays[k].shape)}" for k in self.wiring)
        params = "".join(f", {name}={value}" for name, value in self.params.items())
        return f"{self.op.name}({kinds}{params})"

    @property
    def names(self) -> list[str]:
        """The inputs with a derivative."""
        return [f"x{k}" for k in self.active]

    def graph(self) -> Graph:
        """The graph `y = op(x0, x1, …)`."""
        graph = Graph(f"check_{self.op.name}")
        inputs = [graph.input(f"x{k}", array.shape, array.dtype) for k, array in enumerate(self.arrays)]
        graph.output("y", graph.apply(self.op.name, *[inputs[k] for k in self.wiring], **self.params))
        return graph.freeze()

    def reference(self, arrays: Sequence[Array]) -> Array:
        """The reference on arrays in place of the case's own."""
        with np.errstate(all="ignore"):
            return np.asarray(self.op.reference(*[arrays[k] for k in self.wiring], **self.params))

    @property
    def single(self) -> bool:
        """Whether float32 is involved, which bounds what can be asked."""
        return self.params.get("dtype") == "float32" or any(a.dtype == np.float32 for a in self.arrays)

    def rng(self) -> np.random.Generator:
        """Random numbers that belong to this case."""
        return np.random.default_rng(zlib.crc32(str(self).encode()))

    def directions(self) -> list[Array]:
        """A random tangent for each array with a derivative."""
        rng = self.rng()
        return [rng.uniform(0.5, 1.0, self.arrays[k].shape).astype(self.arrays[k].dtype) for k in self.active]


def cases(op: Op) -> list[Case]:
    """What an operation is tried on: its own samples; for elementwise operations several shapes of each kind."""
    samples = op.samples
    if op.elementwise:
        count = op.arity or 1
        kinds = samples or (Sample(((),) * count),)
        rows = [tuple(itertools.islice(itertools.cycle(row), count)) for row in ELEMENTWISE_SHAPES]
        samples = tuple(Sample(row, kind.params, kind.dtypes) for kind in kinds for row in rows)
    elif not samples and op.arity is not None and not op.of_bodies:
        samples = (Sample(((3,),) * op.arity), Sample(((2, 3),) * op.arity))
    return [_case(op, sample) for sample in samples]


def _case(op: Op, sample: Sample) -> Case:
    dtypes = sample.dtypes or ("float64",) * len(sample.shapes)
    rng = np.random.default_rng(zlib.crc32(f"{op.name} {sample.shapes} {dtypes}".encode()))
    arrays = tuple(
        np.array(sample.integers[k], dtype)
        if k in sample.integers
        else _draw(rng, shape, dtype, op.domain[min(k, len(op.domain) - 1)])
        for k, (shape, dtype) in enumerate(zip(sample.shapes, dtypes, strict=True))
    )
    case = Case(op, sample.params, arrays, tuple(range(len(arrays))), ())
    result = case.graph().variable("y").type
    return Case(op, sample.params, arrays, case.wiring, _active(op, arrays) if result.is_float else ())


def _draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: str, domain: tuple[float, float]) -> Array:
    if dtype == "bool":
        return np.asarray(rng.random(shape) < 0.5)
    if dtype.startswith("int"):
        low = math.ceil(domain[0])
        return np.asarray(rng.integers(low, max(math.floor(domain[1]), low) + 1, shape), dtype)
    return np.asarray(rng.uniform(*domain, shape), dtype)


def _active(op: Op, arrays: Sequence[Array]) -> tuple[int, ...]:
    rule = op.derivative
    if isinstance(rule, NotDifferentiable):
        return ()
    inside: Sequence[int] = range(len(arrays))
    if isinstance(rule, Linear) and rule.operands is not None:
        inside = rule.operands
    if isinstance(rule, Elementwise):
        inside = [k for k in inside if rule.partials[k] is not None]
    return tuple(k for k in inside if arrays[k].dtype.kind == "f")


def shared_case(case: Case) -> Case | None:
    """The case with one array for all operands that have a derivative; None where no array fits all."""
    op, active = case.op, case.active
    low = max((op.domain[min(k, len(op.domain) - 1)][0] for k in active), default=0.0)
    high = min((op.domain[min(k, len(op.domain) - 1)][1] for k in active), default=0.0)
    if len(active) < 2 or len({case.arrays[k].shape for k in active}) > 1 or low >= high:
        return None
    arrays = list(case.arrays)
    arrays[active[0]] = _draw(case.rng(), arrays[active[0]].shape, "float64", (low, high))
    wiring = tuple(active[0] if k in active else k for k in case.wiring)
    kept = sorted(set(wiring))
    places = {old: new for new, old in enumerate(kept)}
    return Case(op, case.params, tuple(arrays[k] for k in kept), tuple(places[k] for k in wiring), (places[active[0]],))
