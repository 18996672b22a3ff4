"""Recomputation: cheap values that another nest needs are computed there again instead of being stored.

A load costs as much as an addition, and an array that is not written at all costs nothing: for that some numbers of
each row, such as a sum, may be stored in its place. A division by such a number counts as a product. A clone is pinned
to its reader, or grouping would merge the two computations back into one. An array that is put together from parts
which do not change along it (a one in front of a column that is repeated, say) is a choice by the position.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from graphad.ir.sizes import product
from graphad.loops.axes import Axes
from graphad.loops.ir import Access, Atom, Index, IndexValue, Literal, Loop, Operand, Program, Statement, Var, at, walk
from graphad.loops.lower import drop_unread
from graphad.loops.place import Storage
from graphad.loops.registers import temporary

DEPTH = 6
SMALLER = 8  # elements of an array that need not be stored for each that must be stored for that


class Recipe(NamedTuple):
    """How an element is computed; axis -1-d stands for its index along dimension d."""

    writer: Statement
    operation: str
    inputs: tuple[Operand, ...]


class Recomputation:
    """One round: what is stored now, and where statements stand."""

    def __init__(self, program: Program, axes: Axes, storage: dict[Var, Storage]) -> None:
        self.program = program
        self.axes = axes
        self.storage = storage
        self.writers = program.writers()
        self.paths = {id(s): path for s, path in walk(program.body)}
        self.made: dict[object, tuple[Var, list[int]]] = {}
        recipes = {var: _recipe(found, axes) for var, found in self.writers.items()}
        self.recipes = {var: recipe for var, recipe in recipes.items() if recipe is not None}

    def run(self) -> bool:
        """Clone what is worth it; answers whether anything changed."""
        targets = {v for v, s in self.storage.items() if s.is_array and not v.fixed and v in self.recipes}
        # In the order of the code: a clone that several share stands beside the first of them.
        for statement, _ in list(walk(self.program.body)):
            for position, operand in enumerate(statement.inputs):
                if isinstance(operand, Access) and operand.var in targets and self._worth(statement, operand):
                    path = self.paths[id(statement)]
                    if not self._available(operand.var, path, operand.var, 0):
                        continue
                    statement.inputs[position] = self._clone(statement, operand)
        if self.made:
            drop_unread(self.program)
        return bool(self.made)

    def _available(self, var: Var, path: tuple[Loop, ...], target: Var, depth: int) -> bool:
        """Whether the inputs of a cheap variable can be had inside some loops without storing anything large."""
        return all(self._ready(o, path, target, depth) for o in self.recipes[var].inputs)

    def _ready(self, operand: Operand, path: tuple[Loop, ...], target: Var, depth: int) -> bool:
        if not isinstance(operand, Access):
            return True
        if any(not isinstance(a, int) for index in operand.indices for a, _ in index.terms):
            return False
        var = operand.var
        storage = self.storage.get(var)
        if var.fixed or storage is None or storage.home == path[: len(storage.home)]:
            return True
        if depth < DEPTH and var in self.recipes and self._available(var, path, target, depth + 1):
            return True
        return self._small(var, target)

    def _small(self, var: Var, target: Var) -> bool:
        """Whether a variable that lives in registers, such as the sum of a row, may be stored instead of another."""
        count, other = (self.axes.estimate(product(v.shape)) for v in (var, target))
        return not var.private and SMALLER * count <= other

    def _worth(self, reader: Statement, read: Access) -> bool:
        """The reader stands in another nest, and the value changes with every one of its loops."""
        writer = self.recipes[read.var].writer
        # Across regions it is the plan for memory that says what is computed again.
        if self.paths[id(reader)] == self.paths[id(writer)] or reader.region != writer.region:
            return False
        changing = {self.axes.find(a) for a in read.axes() if not self.axes.unrolled(a)}
        return changing == set(self.axes.loops(reader))

    def _clone(self, reader: Statement, read: Access) -> Access:
        used = list(dict.fromkeys(read.axes()))
        key = (tuple(id(loop) for loop in self.paths[id(reader)]), read.var, self._canonical(read))
        known = self.made.get(key)
        if known is not None:
            return Access(known[0], tuple(at(a) for a in used))
        recipe = self.recipes[read.var]
        var, _, moved = temporary(self.program, self.axes, used, read.var.dtype)

        def there(axis: int) -> Index:
            return read.indices[-1 - axis].substitute(lambda a: at(moved[a]))

        clone = Statement(
            kind="=",
            operation=recipe.operation,
            out=Access(var, tuple(at(moved[a]) for a in used)),
            inputs=[_moved(o, there) for o in recipe.inputs],
            axes=tuple(moved.values()),
            dtype=recipe.writer.dtype,
            extra=reader.extra,
            pin=reader,
            region=reader.region,
            node=recipe.writer.node,
        )
        var.private = frozenset(reader.extra)
        self.program.statements.append(clone)
        self.made[key] = (var, used)
        return Access(var, tuple(at(a) for a in used))

    def _canonical(self, read: Access) -> tuple[Index, ...]:
        unrolled = [a for a in dict.fromkeys(read.axes()) if self.axes.unrolled(a)]
        return read.substitute(lambda a: at(-1 - unrolled.index(a)) if a in unrolled else at(self.axes.find(a))).indices


def _recipe(writers: list[Statement], axes: Axes) -> Recipe | None:
    """How to compute an element of a variable anew, where that is cheap."""
    first = writers[0]
    if any(s.kind != "=" or s.functions or "sqrt" in s.operation or _divides(s, axes) for s in writers):
        return None
    if len(writers) > 1:
        return _choice(writers)
    if any(index.axis is None for index in first.out.indices):
        return None
    return Recipe(first, first.operation, _by_dimension(first))


def _divides(statement: Statement, axes: Axes) -> bool:
    """Whether a statement divides at every point: one number for a whole inner loop is inverted outside of it."""
    if "/" not in statement.operation:
        return False
    loops = axes.loops(statement)
    below = statement.inputs[-1]
    shared = isinstance(below, Access) and bool(loops) and loops[-1] not in map(axes.find, below.axes())
    return not (shared and statement.operation == "{0} / {1}")


def _choice(parts: list[Statement]) -> Recipe | None:
    """How to compute an element of what is put together along one dimension from parts that do not change there."""
    dimensions = {d for s in parts for d, index in enumerate(s.out.indices) if index.axis is None}
    if len(dimensions) != 1 or any(s.operation != "{0}" for s in parts):
        return None
    (along,) = dimensions
    places = [s.out.indices[along] for s in parts]
    if places[0].offset != 0 or any([c for _, c in place.terms] not in ([], [1]) for place in places):
        return None
    values = [_by_dimension(s, along)[0] for s in parts]
    if any(isinstance(v, IndexValue) or (isinstance(v, Access) and -1 - along in v.axes()) for v in values):
        return None
    position = IndexValue(at(-1 - along), "int64")
    inputs: list[Operand] = [position, values[0]]
    operation = "{1}"
    for k, (place, value) in enumerate(zip(places[1:], values[1:], strict=True), start=1):
        inputs += [IndexValue(Index((), place.offset), "int64"), value]
        operation = f"({operation} if {{0}} < {{{2 * k}}} else {{{2 * k + 1}}})"
    return Recipe(parts[0], operation, tuple(inputs))


def _by_dimension(writer: Statement, along: int = -1) -> tuple[Operand, ...]:
    """What a statement reads, over the dimensions of what it writes; along one the index has an offset."""
    place: dict[Atom, Index] = {}
    for d, index in enumerate(writer.out.indices):
        for atom, _ in index.terms:
            place[atom] = Index(((-1 - d, 1),), -index.offset if d == along else 0)
    return tuple(_moved(o, lambda a: place.get(a, at(a))) for o in writer.inputs)


def _moved(operand: Operand, change: Callable[[int], Index]) -> Operand:
    if isinstance(operand, Access):
        return operand.substitute(change)
    return operand if isinstance(operand, Literal) else operand._replace(number=operand.number.substitute(change))
