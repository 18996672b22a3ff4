"""The record of one operation, and the table of all of them.

Everything that graphad knows about an operation stands in one `Op`: typing, NumPy reference, emission,
derivative, batching, sample domain and cost. Nothing else in graphad names a single operation where a field of
the record would do. The families in `graphad.ops` fill the table; users add to it in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from graphad.errors import GraphError, describe
from graphad.ir.types import Requirement, TensorType

if TYPE_CHECKING:
    from graphad.ir.variable import Variable

Params: TypeAlias = Mapping[str, Any]
Partial: TypeAlias = Callable[..., "Variable | float"]


@dataclass(frozen=True)
class Elementwise:
    """Derivative of an elementwise operation: per operand the partial derivative, or None where it has none.

    A partial is called with the operands and the output, `partial(*args, out)`, and answers a variable or a number;
    0.0, 1.0 and -1.0 cost nothing.
    """

    partials: tuple[Partial | None, ...]


@dataclass(frozen=True)
class Linear:
    """Derivative of an operation that is linear in all of `operands` together.

    `transpose(cotangent, args, position, params)` answers the cotangent of operand `position`. The forward rule is
    the operation itself with tangents in place of those operands (zeros where an operand has none).
    """

    transpose: Callable[[Variable, tuple[Variable, ...], int, Params], Variable]
    operands: tuple[int, ...] | None = None  # None: all


@dataclass(frozen=True)
class Multilinear:
    """Derivative of an operation that is linear in each operand separately, such as a matrix product."""

    transpose: Callable[[Variable, tuple[Variable, ...], int, Params], Variable]


@dataclass(frozen=True)
class Custom:
    """Derivative by hand.

    `jvp(args, tangents, out, params)` answers the tangent of the output; a tangent is None where an operand has none.
    `vjp(args, out, cotangent, params)` answers one cotangent (or None) per operand. `selects` says that the operation
    chooses between operands: zeros in their cotangents then mean "not taken" and silence what lies behind.
    """

    jvp: Callable[[tuple[Variable, ...], tuple[Variable | None, ...], Variable, Params], Variable | None]
    vjp: Callable[[tuple[Variable, ...], Variable, Variable, Params], Sequence[Variable | None]]
    selects: bool = False


@dataclass(frozen=True)
class NotDifferentiable:
    """The derivative is zero or does not exist, for `reason`; nothing flows through."""

    reason: str


@dataclass(frozen=True)
class Bodies:
    """Derivative of an operation with bodies: its rules differentiate the bodies, and stand in `graphad.ad`."""


@dataclass(frozen=True)
class Projection:
    """Derivative of taking one of several results: the same of their tangents and cotangents."""


Derivative: TypeAlias = Elementwise | Linear | Multilinear | Custom | NotDifferentiable | Bodies | Projection


@dataclass(frozen=True)
class Scalar:
    """Emission of an elementwise operation: an expression in `{0}`, `{1}`, … and calls of the vector mathematics.

    `functions` names the functions of `graphad.emit.vecmath` that the expression calls, as `{sin}({0})`. `{dtype}`
    stands for the NumPy name of the result's dtype.
    """

    expression: str
    functions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pattern:
    """Emission by a named pattern of `graphad.loops.lower`, which reads the node's parameters."""

    name: str


@dataclass(frozen=True)
class Inline:
    """Emission by other operations: `build(*args)` replaces the node before loops are made."""

    build: Callable[..., Variable]


Emission: TypeAlias = Scalar | Pattern | Inline


@dataclass(frozen=True)
class Sample:
    """One case for the tests of an operation: operand shapes and dtypes, and parameters.

    `shapes` hold integers; `dtypes` default to float64 everywhere; `integers` gives explicit values for operands
    that are index arrays, by position.
    """

    shapes: tuple[tuple[int, ...], ...]
    params: Mapping[str, Any] = field(default_factory=dict)
    dtypes: tuple[str, ...] | None = None
    integers: Mapping[int, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Op:
    """One operation.

    Arguments:
        name: unique, a Python identifier; what text and errors show.
        arity: number of operands, None for any number.
        infer: `infer(types, params)` gives the result type; raises `ShapeError` or `DtypeError` with a short reason
            (the graph adds the operation and the user's line).
        reference: `reference(*arrays, **params)` in NumPy, with all sizes in `params` replaced by integers. For an
            analytic elementwise operation it accepts complex arrays, so that tests can take a complex step.
        emission: how loops are made of it.
        derivative: the rule, one for both modes.
        batch: `batch(k, args, batched, params)` builds the operation with `k` further leading axes on those operands
            for which `batched` is true; None for elementwise operations, which need no rule.
        requires: `requires(types, params)` gives what the sizes of a call must satisfy, beyond types.
        domain: per operand the interval `(low, high)` from which tests sample, inside the domain of the function.
        analytic: whether the reference accepts complex numbers and is complex differentiable on the domain.
        cost: floating-point operations per element of the result (per element reduced, for reductions).
        samples: cases for tests; elementwise operations get theirs from the arity.
    """

    name: str
    arity: int | None
    infer: Callable[[tuple[TensorType, ...], Params], TensorType]
    reference: Callable[..., Any]
    emission: Emission
    derivative: Derivative
    batch: Callable[[int, tuple[Variable, ...], tuple[bool, ...], Params], Variable] | None = None
    requires: Callable[[tuple[TensorType, ...], Params], Sequence[Requirement]] | None = None
    domain: tuple[tuple[float, float], ...] = ((-2.0, 2.0),)
    analytic: bool = False
    cost: float = 1.0
    samples: tuple[Sample, ...] = ()

    @property
    def elementwise(self) -> bool:
        """Whether the operation works element by element on operands broadcast against each other."""
        return isinstance(self.emission, Scalar)

    @property
    def of_bodies(self) -> bool:
        """Whether the operation has bodies or takes a result of one that has: no sample shows it alone."""
        return isinstance(self.derivative, (Bodies, Projection))


OPERATIONS: dict[str, Op] = {}
FUNCTIONS: dict[str, Callable[..., Any]] = {}
NUMPY_FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {}


def register(op: Op) -> Op:
    """Add an operation to the table.

    Raises `GraphError` where the name is taken by another operation.
    """
    if op.name in OPERATIONS and OPERATIONS[op.name] is not op:
        raise GraphError(describe(f"operation `{op.name}` exists already", fix="choose another name"))
    OPERATIONS[op.name] = op
    return op


def lookup(name: str) -> Op:
    """The operation called `name`; raises `GraphError` where there is none."""
    try:
        return OPERATIONS[name]
    except KeyError:
        raise GraphError(
            describe(f"there is no operation `{name}`", fix="register it before the graph that uses it is read")
        ) from None


Builder = TypeVar("Builder", bound=Callable[..., Any])


def function(name: str, *numpy_functions: Callable[..., Any]) -> Callable[[Builder], Builder]:
    """Decorator: publish a builder function under `name` and as the meaning of some NumPy functions on variables."""

    def publish(build: Builder) -> Builder:
        FUNCTIONS[name] = build
        for numpy_function in numpy_functions:
            NUMPY_FUNCTIONS[numpy_function] = build
        return build

    return publish


def call(name: str, *args: Any, **kwargs: Any) -> Any:
    """Call the builder function published under `name`."""
    return FUNCTIONS[name](*args, **kwargs)
