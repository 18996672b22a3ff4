"""The loop IR: variables, accesses in index form, statements, loops.

An index is affine in axes (and in values read from index arrays): Σ coefficient·atom + offset. Axes are numbers;
`Program.extents` gives their lengths. Nothing here decides anything: lowering makes statements, the other modules of
this layer decide about loops and storage, and the emitters print.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias, Union

from graphad.ir.sizes import Extent

Atom: TypeAlias = Union[int, "Access"]


class Index(NamedTuple):
    """Σ coefficient·atom + offset; an atom is an axis or an integer read from memory."""

    terms: tuple[tuple[Atom, Extent], ...]
    offset: Extent = 0

    @property
    def axis(self) -> int | None:
        """The axis where the index is just that axis, else None."""
        if len(self.terms) == 1 and self.offset == 0:
            atom, coefficient = self.terms[0]
            if isinstance(atom, int) and coefficient == 1:
                return atom
        return None

    @property
    def literal(self) -> bool:
        """Whether the index is a number that is known now."""
        return not self.terms and isinstance(self.offset, int)

    def axes(self) -> Iterator[int]:
        """All axes that the index uses, also inside index arrays."""
        for atom, _ in self.terms:
            if isinstance(atom, int):
                yield atom
            else:
                yield from atom.axes()

    def substitute(self, change: Callable[[int], Index]) -> Index:
        """The index with every axis replaced by an index."""
        terms: dict[Atom, Extent] = {}
        offset = self.offset
        for atom, coefficient in self.terms:
            inner = change(atom) if isinstance(atom, int) else Index(((atom.substitute(change), 1),))
            offset = offset + inner.offset * coefficient
            for a, c in inner.terms:
                terms[a] = terms.get(a, 0) + c * coefficient
        return Index(tuple((a, c) for a, c in terms.items() if c != 0), offset)


def at(axis: int) -> Index:
    """The index that is one axis."""
    return Index(((axis, 1),))


ZERO = Index((), 0)


class Access(NamedTuple):
    """One element of a variable, an index per dimension."""

    var: Var
    indices: tuple[Index, ...]

    def axes(self) -> Iterator[int]:
        """All axes that the access uses."""
        for index in self.indices:
            yield from index.axes()

    def substitute(self, change: Callable[[int], Index]) -> Access:
        """The access with every axis replaced by an index."""
        return Access(self.var, tuple(i.substitute(change) for i in self.indices))

    def reads(self) -> Iterator[Access]:
        """The access itself and those of the index arrays in it."""
        yield self
        for index in self.indices:
            for atom, _ in index.terms:
                if isinstance(atom, Access):
                    yield from atom.reads()


class Literal(NamedTuple):
    """A number, typed by `dtype`."""

    value: bool | int | float
    dtype: str


class IndexValue(NamedTuple):
    """The value of an index as a number of `dtype`: what `iota` and `size_of` are."""

    number: Index
    dtype: str


Operand: TypeAlias = Access | Literal | IndexValue


@dataclass(eq=False, slots=True)
class Var:
    """A variable of the program: `role` is input, output, constant, temporary, or state.

    A `state` is what a loop's body carries from step to step: it lives outside all loops of the body.

    `whole` marks arrays that a call reads or writes as a whole, which are stored in C order with all dimensions.
    `layout` is the order of its dimensions in memory where it is not the natural one.
    `private` are the loops, beyond those of its own axes, of which every round has its own value.
    """

    name: str
    shape: tuple[Extent, ...]
    dtype: str
    role: str = "temporary"
    whole: bool = False
    axes: tuple[int, ...] = ()
    alias: Var | None = None
    private: frozenset[int] = frozenset()
    layout: tuple[int, ...] | None = None

    @property
    def external(self) -> bool:
        """Whether the caller owns the memory."""
        return self.role not in ("temporary", "state")

    @property
    def kept(self) -> bool:
        """Whether the value is needed after the program: a result, or the state of a loop."""
        return self.role in ("output", "state")

    @property
    def order(self) -> tuple[int, ...]:
        """The dimensions in the order in which they lie in memory."""
        return tuple(range(len(self.shape))) if self.layout is None else self.layout

    @property
    def fixed(self) -> bool:
        """Whether the storage is a C-ordered array with all dimensions."""
        return self.external or self.whole or self.alias is not None


@dataclass(eq=False, slots=True)
class Statement:
    """`out kind operation(inputs)`, once for every point of `axes`.

    Arguments:
        kind: `=`, or the accumulation `+=`, `*=`, `max=`, `min=`, `|=`, `&=`, or `scan` (the carry is updated and
            stored), or `call` (a whole-array operation named by `operation`).
        operation: an expression in `{0}`, `{1}`, … for the inputs; `{carry}` for the carried value of a scan.
        functions: vector mathematics called by the expression.
        out: what is written.
        inputs: what is read.
        axes: the iteration space.
        dtype: of the result.
        after: statements that must have finished for the elements that this one changes.
        overwrites: elements that others should read before this one changes them, and who reads them.
        carry: the carried value of a scan; `start` its first value.
        extra: loops beyond those of the axes in which the statement must stand (clones and partial sums).
        pin: the statement beside which a clone must stay.
        region: nests of a region stand after those of all lower ones.
        results: further variables that a call writes.
        bodies: the programs that a call runs inside, in its own place.
    """

    kind: str
    operation: str
    out: Access
    inputs: list[Operand]
    axes: tuple[int, ...]
    dtype: str
    functions: tuple[str, ...] = ()
    after: tuple[Statement, ...] = ()
    overwrites: tuple[tuple[Access, Statement], ...] = ()
    carry: Access | None = None
    start: Literal | None = None
    extra: tuple[int, ...] = ()
    pin: Statement | None = None
    region: int = 0
    node: int = -1
    params: dict[str, Any] = field(default_factory=dict)
    results: tuple[Var, ...] = ()
    bodies: tuple[Program, ...] = ()

    @property
    def written(self) -> tuple[Var, ...]:
        """All variables that the statement writes."""
        return (self.out.var, *self.results)

    def variables(self) -> Iterator[Var]:
        """All variables that the statement reads or writes, those of a call included."""
        if self.kind == "call":
            yield from self.written
            yield from (o.var for o in self.inputs if isinstance(o, Access))
        else:
            yield from (access.var for access in self.accesses())

    @property
    def accumulates(self) -> bool:
        """Whether the variable needs a first value."""
        return self.kind not in ("=", "call", "scan")

    def reads(self) -> Iterator[Access]:
        """Every element read, index arrays included, those of the written access as well."""
        for operand in self.inputs:
            if isinstance(operand, Access):
                yield from operand.reads()
            elif isinstance(operand, IndexValue):
                yield from index_reads(operand.number)
        for index in self.out.indices:
            yield from index_reads(index)

    def accesses(self) -> Iterator[Access]:
        """Every element read or written."""
        if self.kind == "call":
            return
        yield self.out
        if self.carry is not None:
            yield self.carry
        yield from self.reads()


def index_reads(index: Index) -> Iterator[Access]:
    """The elements of index arrays that an index reads."""
    for atom, _ in index.terms:
        if isinstance(atom, Access):
            yield from atom.reads()


@dataclass(eq=False, slots=True)
class Loop:
    """A loop over one class of axes: over its points, over blocks of `block` points, or `within` such a block."""

    axis: int
    body: list[Loop | Statement] = field(default_factory=list)
    block: int = 0
    within: Loop | None = None


def walk(body: Iterable[Loop | Statement], path: tuple[Loop, ...] = ()) -> Iterator[tuple[Statement, tuple[Loop, ...]]]:
    """Every statement in order, with the loops around it."""
    for item in body:
        if isinstance(item, Loop):
            yield from walk(item.body, (*path, item))
        else:
            yield item, path


NEUTRAL: dict[str, Callable[[str], bool | int | float]] = {
    "+=": lambda dtype: 0 if dtype.startswith("int") else 0.0,
    "*=": lambda dtype: 1 if dtype.startswith("int") else 1.0,
    "max=": lambda dtype: {"int64": -(2**63), "int32": -(2**31)}.get(dtype, float("-inf")),
    "min=": lambda dtype: {"int64": 2**63 - 1, "int32": 2**31 - 1}.get(dtype, float("inf")),
    "|=": lambda dtype: False,
    "&=": lambda dtype: True,
}


@dataclass(eq=False)
class State:
    """A value that a loop carries: `now` at the start of a step, `next` at its end; the same where updated in place."""

    now: Var
    next: Var


@dataclass(eq=False)
class Program:
    """A graph as statements; then, with `body`, as loop nests.

    `inputs`, `constants` and `outputs` are in the order of the graph. The program of a loop's body has `states`, shares
    axes and constants with the program around it, and reads and writes variables of that, its `guests`.
    """

    name: str
    inputs: list[Var] = field(default_factory=list)
    constants: list[tuple[Var, Any]] = field(default_factory=list)
    outputs: list[Var] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    extents: dict[int, Extent] = field(default_factory=dict)
    hints: dict[str, int] = field(default_factory=dict)
    body: list[Loop | Statement] = field(default_factory=list)
    counter: int = 0
    states: list[State] = field(default_factory=list)
    guests: set[Var] = field(default_factory=set)

    def axis(self, extent: Extent) -> int:
        """A new axis."""
        number = len(self.extents)
        self.extents[number] = extent
        return number

    def variable(
        self, shape: tuple[Extent, ...], dtype: str, name: str = "", role: str = "temporary", *, whole: bool = False
    ) -> Var:
        """A new variable with its own axes."""
        if not name:
            self.counter += 1
            name = f"v{self.counter}"
        return Var(name, shape, dtype, role, whole, tuple(self.axis(e) for e in shape))

    def begun(self, var: Var) -> bool:
        """Whether a variable has a value already when the program begins: what is outside, and what is carried."""
        return var.role == "input" or var in self.guests or any(state.now is var for state in self.states)

    def writers(self) -> dict[Var, list[Statement]]:
        """For each variable the statements that write it, in order."""
        found: dict[Var, list[Statement]] = {}
        for statement in self.statements:
            for var in statement.written:
                found.setdefault(var, []).append(statement)
        return found
