"""What LLVM is told about memory: which arrays of a kernel never share any.

Left to itself it compares addresses in front of every loop, and does not vectorise a loop that would need too many
comparisons. The inputs are only read, outputs overlap nothing else, and of the scratch block the plan says which arrays
live at the same time, so lie apart; tapes lie apart from all else. An array that reaches an access under several names,
as the two places of a carry do, may be either.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]

from graphad.loops.scratch import Slot, together

READ = "inputs"  # all arrays that are only read: nothing needs to know them apart
TAPES = "tapes"  # all arrays on tapes, blocks of memory of their own that one loop after the other uses
MOST = 256  # arrays up to which LLVM is told; what is told grows with their square


@dataclass(frozen=True)
class Memory:
    """The arrays of a kernel that have memory of their own.

    Arguments:
        read, written: the names of the arguments that are arrays, inputs and constants, and outputs.
        scratch: for each array of the scratch block the number of its slot.
        slots: of the scratch block.
    """

    read: frozenset[str] = frozenset()
    written: frozenset[str] = frozenset()
    scratch: Mapping[str, int] = field(default_factory=dict)
    slots: Sequence[Slot] = ()

    @property
    def owners(self) -> list[str]:
        """The names of the arrays; those that are only read are one."""
        return [READ, TAPES, *sorted(self.written), *self.scratch]

    def owner(self, name: str) -> str | None:
        """The owner of the memory of a name that is one's own."""
        if name in self.read:
            return READ
        return name if name in self.written or name in self.scratch else None

    def apart(self, one: str, other: str) -> bool:
        """Whether two owners never share memory. Pieces of one slot lie one after another."""
        if one == other:
            return False
        places = self.scratch.get(one), self.scratch.get(other)
        if places[0] is None or places[1] is None or places[0] == places[1]:
            return True
        return together(self.slots[places[0]].life, self.slots[places[1]].life)


def origins(definition: ast.FunctionDef, memory: Memory) -> dict[str, frozenset[str]]:
    """For each name of an array the owners of the memory that it may stand for; names with unknown ones are missing.

    >>> (kernel,) = ast.parse("def f(x, y):\\n a = x[0]\\n b = _array(tape, float, (2,))\\n a, y = y, a").body
    >>> found = origins(kernel, Memory(frozenset("x"), frozenset("y")))
    >>> {name: sorted(owners) for name, owners in sorted(found.items())}
    {'a': ['inputs', 'y'], 'b': ['tapes'], 'x': ['inputs'], 'y': ['inputs', 'y']}
    """
    found: dict[str, set[str]] = {a.arg: set() for a in definition.args.args}
    sources: list[tuple[str, str | None]] = []
    for target, value in _assignments(definition):
        found.setdefault(target, set())
        if not (isinstance(value, ast.Call) and ast.unparse(value.func) == "_array"):
            sources.append((target, _base(value)))
        elif target not in memory.scratch:
            found[target].add(TAPES)
    for name, owners in found.items():
        own = memory.owner(name)
        owners |= {own} if own else set()
    unknown = {name for name, owners in found.items() if not owners and all(name != t for t, _ in sources)}
    changed = True
    while changed:
        changed = False
        for target, source in sources:
            if source not in found or source in unknown:
                changed |= target not in unknown
                unknown.add(target)
            elif not found[source] <= found[target]:
                changed = True
                found[target] |= found[source]
    return {name: frozenset(owners) for name, owners in found.items() if name not in unknown}


def _assignments(definition: ast.FunctionDef) -> Iterator[tuple[str, ast.expr]]:
    """The names that are assigned and what to."""
    for statement in ast.walk(definition):
        if not isinstance(statement, ast.Assign):
            continue
        (target,) = statement.targets
        pairs: list[tuple[ast.expr, ast.expr]] = [(target, statement.value)]
        if isinstance(target, ast.Tuple) and isinstance(statement.value, ast.Tuple):
            pairs = list(zip(target.elts, statement.value.elts, strict=True))
        yield from ((one.id, value) for one, value in pairs if isinstance(one, ast.Name))


def _base(value: ast.expr) -> str | None:
    """The name of the array whose memory an expression stands for."""
    while True:
        match value:
            case ast.Name(id=name):
                return name
            case ast.Subscript(value=inner) | ast.Call(func=ast.Attribute(value=inner, attr="reshape")):
                value = inner
            case _:
                return None


class Scopes:
    """Writes down for loads and stores of one kernel what they can not touch."""

    def __init__(self, module: ir.Module, memory: Memory) -> None:
        self.module = module
        self.memory = memory
        owners = memory.owners
        self.nodes: dict[str, Any] = {}
        self.known: dict[frozenset[str], tuple[Any, Any]] = {}
        if 1 < len(owners) <= MOST:
            domain = module.add_metadata(["graphad"])
            self.nodes = {owner: module.add_metadata([owner, domain]) for owner in owners}

    def mark(self, instruction: Any, owners: frozenset[str] | None) -> Any:
        """The load or store, marked with the owners of the memory that it may touch; None: any."""
        if owners and self.nodes:
            own, others = self._lists(owners)
            instruction.set_metadata("alias.scope", own)
            instruction.set_metadata("noalias", others)
        return instruction

    def _lists(self, owners: frozenset[str]) -> tuple[Any, Any]:
        if owners not in self.known:
            apart = [n for o, n in self.nodes.items() if all(self.memory.apart(o, one) for one in owners)]
            own = [self.nodes[one] for one in sorted(owners)]
            self.known[owners] = self.module.add_metadata(own), self.module.add_metadata(apart)
        return self.known[owners]
