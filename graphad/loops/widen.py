"""Sums of float32 that lose few digits: a million terms added one by one would cost four of seven.

A sum over several loops collects one float32 partial sum for each round of the outer ones and adds these in float64,
which costs nothing inside. A sum over one loop is float64 where the loop has few of them. Sums in memory keep their
dtype, as NumPy's along leading axes do, and so do sums of a few written-out terms.
"""

from __future__ import annotations

from collections import Counter

from graphad.ir.sizes import product
from graphad.loops.axes import Axes
from graphad.loops.ir import Access, Loop, Program, Statement, Var, at, walk
from graphad.loops.place import Storage

FEW = 2
"""Sums of one innermost loop that are worth float64: as vectors they hold half as many numbers."""


def widen(program: Program, axes: Axes, storage: dict[Var, Storage]) -> None:
    """Widen the sums of a scheduled program that live in registers."""
    Widening(program, axes, storage).run()


class Widening:
    """The sums of one program."""

    def __init__(self, program: Program, axes: Axes, storage: dict[Var, Storage]) -> None:
        self.program = program
        self.axes = axes
        self.storage = storage
        writers = program.writers()
        self.paths = {id(s): path for s, path in walk(program.body)}
        found = [v for v, s in storage.items() if v.dtype == "float32" and not s.memory and v.role != "state"]
        self.sums = {v: writers[v] for v in found if self._summed(v, writers.get(v, []))}
        self.count: Counter[int] = Counter()
        for var, statements in self.sums.items():
            pieces = axes.estimate(product(tuple(var.shape[d] for d in storage[var].unrolled)))
            self.count.update({id(self.paths[id(s)][-1]): pieces for s in statements})

    def run(self) -> None:
        """Make the changes, outer sums first."""
        for var, writers in self.sums.items():
            (path,) = {self.paths[id(s)] for s in writers}
            depth = len(path) - len(self.storage[var].home)
            if depth > 1:
                for statement in writers:
                    self._partial(statement, path)
            if depth > 1 or self._has_loops(path[-1]) or self.count[id(path[-1])] <= FEW:
                self._widen(var)

    def _summed(self, var: Var, writers: list[Statement]) -> bool:
        """Whether a variable is a sum in one place, over at least one loop."""
        paths = {self.paths[id(s)] for s in writers}
        outside = all(len(path) > len(self.storage[var].home) for path in paths)
        return len(paths) == 1 and outside and all(s.kind == "+=" for s in writers)

    @staticmethod
    def _has_loops(loop: Loop) -> bool:
        return any(isinstance(item, Loop) for item in loop.body)

    def _partial(self, statement: Statement, path: tuple[Loop, ...]) -> None:
        """Sum the innermost loop on its own, and add that to the sum after it."""
        total = statement.out
        partial = self._like(total.var, "float32", path[:-1])
        statement.out = Access(partial, total.indices)
        adding = self._statement("+=", "{0}", total.var, partial)
        body = path[-2].body
        body.insert(body.index(path[-1]) + 1, adding)

    def _widen(self, var: Var) -> None:
        """Let a sum live in float64; what reads it reads it rounded."""
        home = self.storage[var].home
        wide = self._like(var, "float64", home)
        for statement in self.program.statements:
            if statement.out.var is var:
                statement.out, statement.dtype = Access(wide, statement.out.indices), "float64"
        rounding = self._statement("=", "{dtype}({0})", var, wide)
        body = home[-1].body if home else self.program.body
        last = max(k for k, item in enumerate(body) if any(s.out.var is wide for s, _ in walk([item])))
        body.insert(last + 1, rounding)

    def _like(self, var: Var, dtype: str, home: tuple[Loop, ...]) -> Var:
        self.program.counter += 1
        new = Var(f"v{self.program.counter}", var.shape, dtype, axes=tuple(self.axes.like(a) for a in var.axes))
        self.storage[new] = Storage(home, (), self.storage[var].unrolled)
        return new

    def _statement(self, kind: str, operation: str, out: Var, read: Var) -> Statement:
        axes = tuple(self.axes.like(a) for a in out.axes)
        place = tuple(at(a) for a in axes)
        made = Statement(kind, operation, Access(out, place), [Access(read, place)], axes, out.dtype)
        self.program.statements.append(made)
        return made
