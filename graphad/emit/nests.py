"""Loops that run in several threads as text: a function for a block of rounds, and its calls.

    def f_nest_1(block, first, last, v8_blocks, x, n):     the blocks' own copies of what they collect, then the rest
        v8 = 0.0
        for i in range(first, last): ...
        v8_blocks[block] = v8

The kernel runs the blocks in threads where the work is worth it, else all rounds as block 0, and adds the copies in
order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from graphad.emit.text import literal
from graphad.loops.ir import NEUTRAL, Loop, Statement, Var, walk
from graphad.loops.parallel import LEAST_WORK, Parallel

if TYPE_CHECKING:
    from graphad.emit.lines import Lines

INDENT = "    "
LARGEST = 2**62 - 1


class Nests:
    """The parallel loops of one module."""

    def __init__(self, writer: Lines, function: str) -> None:
        self.writer = writer
        self.plan, self.printer = writer.plan, writer.printer
        self.parallel = {nest.loop: nest for nest in self.plan.nests if isinstance(nest, Parallel)}
        new = self.printer.names.new
        self.names = {nest: new(f"{function}_nest_{k}") for k, nest in enumerate(self.parallel.values(), start=1)}
        if self.parallel:
            self.block_, self.first, self.last, self.blocks = map(new, ("block", "first", "last", "blocks"))
            self.place, self.target, self.source = map(new, ("place", "target", "source"))
        self.texts = {nest: self._body(nest) for nest in self.names}

    def of(self, item: Loop | Statement) -> Parallel | None:
        """The parallel loop that an item is."""
        return self.parallel.get(item) if isinstance(item, Loop) else None

    def functions(self) -> Iterator[str]:
        """The functions of all parallel loops."""
        for nest, name in self.names.items():
            parameters = ", ".join([self.block_, self.first, self.last, *self._shared(nest)])
            yield "\n".join([
                '@njit(error_model="numpy", fastmath=FLAGS, nogil=True)',
                f"def {name}({parameters}):",
                # So that the compiler sees that no index is negative, which Numba would count from the end.
                *(f"{INDENT}{bound} = {bound} & {LARGEST}" for bound in (self.first, self.last)),
                *(INDENT + line for line in self.texts[nest]),
            ]) + "\n"  # fmt: skip

    def _body(self, nest: Parallel) -> list[str]:
        block = self.block_
        lines: list[str] = []
        stored: list[str] = []
        for var, copies in nest.private:
            lines += [f"{piece} = {own}" for piece, own in self._pieces(var, copies, block)]
        for var, copies in nest.totals:
            value = self._neutral(nest, var)
            if not self._in_memory(var):
                lines += [f"{piece} = {value}" for piece in self.printer.pieces(var)]
                stored += [f"{own} = {piece}" for piece, own in self._pieces(var, copies, block)]
                continue
            lines.append(f"if {block} > 0:")
            lines += [f"{INDENT}{piece} = {own}" for piece, own in self._pieces(var, copies, f"{block} - 1")]
            lines += [f"{INDENT}_fill({piece}, {value})" for piece in self.printer.pieces(var)]
        return [*lines, *self.writer.lines([nest.loop], (self.first, self.last)), *stored]

    def _neutral(self, nest: Parallel, var: Var) -> str:
        """What a block starts from when it collects a variable, whatever that starts from itself."""
        kind = next(s.kind for s, _ in walk([nest.loop]) if s.out.var is var)
        return literal(NEUTRAL[kind](var.dtype), var.dtype)

    def _in_memory(self, var: Var) -> bool:
        return self.plan.storage[var].is_array

    def _pieces(self, var: Var, copies: Var, block: str) -> Iterator[tuple[str, str]]:
        """The names of a variable, and what each is in the copy of a block."""
        array = self.printer.name(copies)
        for place, piece in self.printer.pieces_at(var):
            yield piece, f"{array}[{', '.join([block, *map(str, place)])}]"

    def _shared(self, nest: Parallel) -> list[str]:
        """The names of the kernel that the function uses, in a fixed order."""
        own = {piece for var, _ in nest.private for piece in self.printer.pieces(var)}
        own |= {p for var, _ in nest.totals if not self._in_memory(var) for p in self.printer.pieces(var)}
        external = [v for v in self.plan.storage if v.external]
        inside = [v for v, s in self.plan.storage.items() if not v.external and nest.loop not in s.home]
        names = [*self.printer.sizes.values(), *(p for v in [*external, *inside] for p in self.printer.pieces(v))]
        used = set(re.findall(r"[A-Za-z_]\w*", "\n".join(self.texts[nest])))
        return [n for n in dict.fromkeys(names) if n in used and n not in own]

    def call(self, nest: Parallel) -> Iterator[str]:
        """The lines of the kernel that run a loop, and add what its blocks collected."""
        name, threads = self.names[nest], self.plan.threads
        shared = ", ".join(self._shared(nest))
        rounds = self.printer.extent(self.plan.axes.extent(nest.loop.axis))
        yield f"{self.blocks} = 1"
        yield f"if {self.printer.extent(nest.work)} >= {LEAST_WORK}:"
        yield f"{INDENT}{self.blocks} = {threads}"
        yield f"{INDENT}_in_blocks({name}, {threads}, {rounds}, ({shared},))"
        yield "else:"
        yield f"{INDENT}{name}(0, 0, {rounds}, {shared})"
        for var, copies in nest.totals:
            yield f"for {self.block_} in range({int(self._in_memory(var))}, {self.blocks}):"
            yield from (INDENT + line for line in self._collected(nest, var, copies))

    def _collected(self, nest: Parallel, var: Var, copies: Var) -> Iterator[str]:
        statement = next(s for s, _ in walk([nest.loop]) if s.out.var is var)
        block = f"{self.block_} - 1" if self._in_memory(var) else self.block_
        for piece, own in self._pieces(var, copies, block):
            if not self._in_memory(var):
                yield self.writer.assigned(statement, piece, own)
                continue
            yield f"{self.target}, {self.source} = {piece}.ravel(), {own}.ravel()"
            yield f"for {self.place} in range({piece}.size):"
            target, source = (f"{array}[{self.place}]" for array in (self.target, self.source))
            yield INDENT + self.writer.assigned(statement, target, source)
