"""The lines of one scheduled program; those of the programs in its calls stand in the same place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from graphad.emit import control, straight
from graphad.emit.nests import INDENT, LARGEST, Nests
from graphad.emit.text import Names, Printer, function_name, literal
from graphad.emit.vecmath import FUNCTIONS
from graphad.loops.axes import Axes
from graphad.loops.ir import NEUTRAL, Access, Literal, Loop, Program, Statement, Var
from graphad.loops.schedule import Schedule
from graphad.loops.scratch import lives, root

REORDERED = {"+=": "_plus", "*=": "_times"}


@dataclass
class Function:
    """What all programs of one function share: its name, its straight programs, and its identifiers.

    `exact` says that its arithmetic must not depend on what stands around it. `held` has the lines that hand back what
    is borrowed at the place that is being written, in the order of borrowing; its keys are the variables of tapes, None
    for the scratch block.
    """

    name: str
    straight: list[Statement]
    names: Names
    exact: bool
    words: dict[str, str] = field(default_factory=dict)
    held: dict[Var | None, str] = field(default_factory=dict)

    def word(self, wanted: str, depth: int = 1) -> str:
        """The identifier for something that every program at one depth calls the same."""
        key = wanted if depth == 1 else f"{wanted}_{depth}"
        if key not in self.words:
            self.words[key] = self.names.new(key)
        return self.words[key]


class Lines:
    """Prints one program.

    Arguments:
        depth: loops around the program.
    """

    def __init__(self, plan: Schedule, printer: Printer, function: Function, depth: int = 0) -> None:
        self.plan = plan
        self.program = plan.program
        self.printer = printer
        self.function = function
        self.depth = depth
        self.starts = starting(plan.program)
        self.spans = lives(self.program.body)
        self.inner = {
            statement: tuple(Lines(one, Printer(one, function.names, printer), function, depth + 1) for one in plans)
            for statement, plans in plan.inner.items()
        }
        self.nests = Nests(self, function.name)

    def everywhere(self) -> Iterator[Lines]:
        """These lines and all those inside."""
        yield self
        for found in self.inner.values():
            for lines in found:
                yield from lines.everywhere()

    def all(self) -> Iterator[str]:
        """The whole program."""
        yield from self._aliases()
        yield from self._initial(None)
        yield from self._items()

    def _aliases(self) -> Iterator[str]:
        for var in self.plan.storage:
            if var.alias is not None and var not in self.program.guests:
                shape = ", ".join(self.printer.extent(e) for e in var.shape)
                yield f"{self.printer.name(var)} = {self.printer.name(var.alias)}.reshape(({shape},))"

    def _items(self) -> Iterator[str]:
        """The body of the function; arrays get their first values just before they are needed."""
        for number, item in enumerate(self.program.body):
            for var in self.starts:
                if self._filled(var) and self.spans[root(var)][0] == number:
                    yield from self.first_values(var)
            nest = self.nests.of(item)
            yield from self.lines([item]) if nest is None else self.nests.call(nest)

    def _filled(self, var: Var) -> bool:
        """Whether an array of the function, not of a loop, needs first values."""
        return bool(self.plan.storage[var].memory) and not self.plan.storage[var].home

    def _initial(self, home: Loop | None) -> Iterator[str]:
        """First values of what lives in a loop (None: in the function, arrays excepted)."""
        for var in self.starts:
            storage = self.plan.storage[var]
            if (storage.home[-1] if storage.home else None) is home and not self._filled(var):
                yield from self.first_values(var)

    def first_values(self, var: Var) -> Iterator[str]:
        """The lines that give an accumulator or a carried value its first value."""
        value = literal(self.starts[var].value, self.starts[var].dtype)
        for piece in self.printer.pieces(var):
            yield f"_fill({piece}, {value})" if self.plan.storage[var].is_array else f"{piece} = {value}"

    # ------------------------------------------------------------------ loops

    def lines(self, body: list[Loop | Statement], bounds: tuple[str, str] | None = None) -> Iterator[str]:
        """The lines of loops and statements; with `bounds` the loops run over some of their rounds."""
        for item in body:
            if isinstance(item, Statement):
                yield from self._statement(item)
                continue
            yield from self._head(item, bounds)
            inside = [*self._initial(item), *self.lines(item.body)]
            for line in inside:
                yield INDENT + line

    def _head(self, loop: Loop, bounds: tuple[str, str] | None) -> Iterator[str]:
        """The first line of a loop, and in blocks where each ends."""
        own = self.printer.loops[loop.axis]
        first, length = bounds or ("0", self.printer.extent(self.plan.axes.extent(loop.axis)))
        start, end = self.printer.blocks.get(loop.axis, ("", ""))
        if loop.block:
            yield f"for {start} in range({first}, {length}, {loop.block}):"
            # Numba counts negative indices from the end; with the masks the compiler sees that there are none.
            yield f"{INDENT}{start} = {start} & {LARGEST}"
            yield f"{INDENT}{end} = min({start} + {loop.block}, {length}) & {LARGEST}"
        elif loop.within is not None:
            yield f"for {own} in range({start}, {end}):"
        else:
            yield f"for {own} in range({f'{first}, ' if bounds else ''}{length}):"

    def _statement(self, statement: Statement) -> Iterator[str]:
        if statement.kind == "call":
            yield from self._call(statement)
            return
        for point in self.printer.points(statement):
            target = self.printer.element(statement.out, point)
            value = self.printer.expression(statement, point)
            if statement.kind == "scan":
                assert statement.carry is not None
                carried = self.printer.element(statement.carry, point)
                yield f"{carried} = {value}"
                yield f"{target} = {carried}"
            else:
                yield self.assigned(statement, target, value)

    def assigned(self, statement: Statement, target: str, value: str) -> str:
        """The line that writes or accumulates a value as a statement does."""
        if reordered(statement, self.plan.axes, self.function.exact):
            return f"{target} = {REORDERED[statement.kind]}({target}, {value})"
        return _assignment(statement, target, value)

    def _call(self, statement: Statement) -> Iterator[str]:
        if statement.operation == "reshape":
            return
        if statement in self.inner:
            yield from control.lines(self, statement)
            return
        if statement.operation == "straight":
            yield straight.call_text(self.function.straight.index(statement) + 1, statement, self.printer.name)
            return
        name = self.printer.name
        left, right = (o.var for o in statement.inputs if isinstance(o, Access))
        counter = self.function.word("batch")
        batch, rows, inner, columns = (self.printer.extent(e) for e in statement.params["sizes"])
        rank = 3 if statement.params["batched"] else 2
        shapes = ((batch, rows, inner), (batch, inner, columns), (batch, rows, columns))
        texts = []
        for var, shape in zip((left, right, statement.out.var), shapes, strict=True):
            text = name(var)
            if rank == 3 and len(var.shape) != 3:
                text += f".reshape(({', '.join(shape)}))"
            texts.append(f"{text}[{counter}]" if rank == 3 else text)
        first, second = statement.params["turned"]
        line = f"_matrix_product({', '.join(texts)}, {rows}, {inner}, {columns}, {first + 2 * second})"
        if rank == 3:
            yield f"for {counter} in range({batch}):"
        yield INDENT * (rank == 3) + line


def starting(program: Program) -> dict[Var, Literal]:
    """First values of what a program accumulates and carries along axes."""
    starts: dict[Var, Literal] = {}
    plain = {v for s in program.statements if not s.accumulates for v in s.written}
    plain |= {state.now for state in program.states} | program.guests
    for statement in program.statements:
        if statement.accumulates and statement.out.var not in plain:
            starts[statement.out.var] = Literal(NEUTRAL[statement.kind](statement.dtype), statement.dtype)
        if statement.carry is not None and statement.start is not None:
            starts[statement.carry.var] = statement.start
    return starts


def _assignment(statement: Statement, target: str, value: str) -> str:
    if statement.kind == "=":
        return f"{target} = {value}"
    if statement.kind in ("max=", "min="):
        function = function_name({"max=": "maximum", "min=": "minimum"}[statement.kind], statement.dtype)
        function = function if function in FUNCTIONS else function.removesuffix("_int")[:3]
        return f"{target} = {function}({target}, {value})"
    operator = statement.kind[:-1]
    if statement.dtype == "int32":
        return f"{target} = np.int32({target} {operator} {value})"
    return f"{target} {statement.kind} {value}"


def reordered(statement: Statement, axes: Axes, exact: bool) -> bool:
    """Whether a statement accumulates floats in an order that is left to the compiler.

    In kernels with loops the order of terms that are written out is fixed, so that a step that is run again adds alike.
    """
    if statement.kind not in REORDERED or not statement.dtype.startswith("float"):
        return False
    kept = set(map(axes.find, statement.out.axes()))
    return not exact or any(axes.find(a) not in kept and not axes.unrolled(a) for a in statement.axes)
