"""Grouping: statements that can share a loop do.

Greedy typed fusion (Kennedy and McKinley, Typed fusion, 1993), with a statement's first remaining loop as its type. A
dependence fuses where both ends are aligned on the loop; the body of each loop is grouped in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator

from graphad.loops.axes import Axes
from graphad.loops.ir import Access, Loop, Program, Statement, Var

Body = list[Loop | Statement]


def fuse(program: Program, axes: Axes) -> Body:
    """The statements of a program as loop nests, region by region."""
    regions: dict[int, list[Statement]] = {}
    for statement in ordered(program):
        regions.setdefault(statement.region, []).append(statement)
    return [item for _, found in sorted(regions.items()) for item in Grouping(axes).group(found, frozenset())]


def ordered(program: Program) -> list[Statement]:
    """The statements with every writer of a variable before its readers."""
    writers = program.writers()
    present = {id(s) for s in program.statements}
    done: set[int] = set()
    result: list[Statement] = []
    for root in program.statements:
        stack = [(root, _before(root, writers, present))]
        if id(root) in done:
            continue
        done.add(id(root))
        while stack:
            statement, rest = stack[-1]
            following = next((s for s in rest if id(s) not in done), None)
            if following is None:
                result.append(statement)
                stack.pop()
            else:
                done.add(id(following))
                stack.append((following, _before(following, writers, present)))
    return result


def _before(statement: Statement, writers: dict[Var, list[Statement]], present: set[int]) -> Iterator[Statement]:
    """What must come first: what is read, and the statement beside which a clone stands that is read."""
    yield from statement.after
    yield from (reader for _, reader in statement.overwrites if id(reader) in present)
    for access in _read(statement):
        for writer in writers.get(access.var, ()):
            yield writer
            if _beside(writer, present) is not _beside(statement, present):
                yield _beside(writer, present)


def _beside(statement: Statement, present: set[int]) -> Statement:
    while statement.pin is not None and id(statement.pin) in present:
        statement = statement.pin
    return statement


def _read(statement: Statement) -> Iterator[Access]:
    yield from statement.reads()


class Grouping:
    """One run of the fusion: positions of statements, and groups by position."""

    def __init__(self, axes: Axes) -> None:
        self.axes = axes

    def group(self, statements: list[Statement], fixed: frozenset[int]) -> Body:
        """The statements inside the loops `fixed`, grouped."""
        if not any(self._type(s, fixed) is not None for s in statements):
            return list(statements)
        writers: dict[Var, list[Statement]] = {}
        for statement in statements:
            for var in statement.written:
                writers.setdefault(var, []).append(statement)
        present = {id(s) for s in statements}
        bundles = self._bundles(statements, fixed)
        position: dict[int, float] = {}
        groups: dict[float, tuple[int, list[Statement]]] = {}
        for statement in statements:
            if id(statement) not in bundles:
                continue
            bundle = bundles[id(statement)]
            loop = self._type(statement, fixed)
            earliest = self._earliest(bundle, loop, writers, position, groups, present)
            if loop is not None:
                earliest = _place(earliest, loop, groups)
                groups.setdefault(earliest, (loop, []))[1].extend(bundle)
            for member in bundle:
                position[id(member)] = earliest
        return self._assemble(statements, position, groups, fixed)

    def _assemble(
        self,
        statements: list[Statement],
        position: dict[int, float],
        groups: dict[float, tuple[int, list[Statement]]],
        fixed: frozenset[int],
    ) -> Body:
        items: list[tuple[float, Loop | Statement]] = []
        for at, (loop, members) in groups.items():
            items.append((at, Loop(loop, self.group(members, fixed | {loop}))))
        items.extend((position[id(s)], s) for s in statements if position[id(s)] % 1)
        return [item for _, item in sorted(items, key=lambda pair: pair[0])]

    def _type(self, statement: Statement, fixed: frozenset[int]) -> int | None:
        if statement.kind == "call":
            return None
        return next((c for c in self.axes.loops(statement) if c not in fixed), None)

    def _bundles(self, statements: list[Statement], fixed: frozenset[int]) -> dict[int, list[Statement]]:
        """For each statement that stands by itself the clones pinned to it, and itself last."""
        present = {id(s) for s in statements}
        pinned: dict[int, list[Statement]] = {}
        roots: list[Statement] = []
        for statement in statements:
            pin = statement.pin
            if pin is not None and id(pin) in present and self._type(pin, fixed) == self._type(statement, fixed):
                pinned.setdefault(id(pin), []).append(statement)
            else:
                roots.append(statement)

        def collect(statement: Statement) -> list[Statement]:
            return [s for clone in pinned.get(id(statement), ()) for s in collect(clone)] + [statement]

        return {id(s): collect(s) for s in roots}

    def _earliest(
        self,
        bundle: list[Statement],
        loop: int | None,
        writers: dict[Var, list[Statement]],
        position: dict[int, float],
        groups: dict[float, tuple[int, list[Statement]]],
        present: set[int],
    ) -> float:
        """The first position at which all that the bundle reads is ready; loops have whole positions."""
        earliest = 0.0 if loop is not None else -0.5
        members = {id(s) for s in bundle}
        for statement in bundle:
            for written, access, writer in self._dependences(statement, writers, present):
                if id(writer) in members:
                    continue
                at = position[id(writer)]
                if loop is None:
                    ready = at if at % 1 else at + 0.5
                elif at % 1:
                    ready = at + 0.5
                else:
                    ready = at if groups[at][0] == loop and self._fuses(written, access, loop) else at + 1
                earliest = max(earliest, ready)
        return earliest

    def _dependences(
        self, statement: Statement, writers: dict[Var, list[Statement]], present: set[int]
    ) -> Iterator[tuple[Access, Access, Statement]]:
        """Statements that come first, with the elements that they touch and those that this one does."""
        for access in _read(statement):
            for writer in writers.get(access.var, ()):
                yield writer.out, access, writer
        for writer in statement.after:
            if id(writer) in present:
                yield writer.out, statement.out, writer
        for access, reader in statement.overwrites:
            if id(reader) in present:
                yield access, statement.out, reader

    def _fuses(self, written: Access, access: Access, loop: int) -> bool:
        """Whether a value written in a round of the loop is complete when that round reads it."""
        if loop in access.var.private:
            return True
        return any(
            self.axes.aligned(written, d) == loop and self.axes.aligned(access, d) == loop
            for d in range(len(access.indices))
        )


def _place(earliest: float, loop: int, groups: dict[float, tuple[int, list[Statement]]]) -> float:
    found = [at for at, (kind, _) in groups.items() if at >= earliest and kind == loop]
    return min(found) if found else max([earliest, *(at + 1 for at in groups)])
