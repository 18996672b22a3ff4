"""Straight programs as text: what stands in a generated module for the assembler that is printed with it.

A line is an instruction `v7 = mul v3 0.5`, or one of

| line | meaning |
|---|---|
| `exact` | the compiler contracts nothing: each operation rounds as it stands |
| `number 0`, `array 1` | the arguments in their order; number k is stored in slot k of the frame |
| `table 0 5 3 9` | places that are not linear in the round |
| `pool 1.0 2.5` | constants that differ from round to round |
| `block`, `repeat 1999` | a function that runs its lines once, or 1999 rounds of them |
| `g1 = get frame 40 -1` | load slot 40 - round; `get a1 4 2` loads element 4 + 2·round of argument 1 |
| `g1 = pick frame 0` | load from the place that table 0 has for the round |
| `g1 = carry v9 frame 3` | what v9 was in the round before; slot 3 in the first round |
| `put v9 frame 7 1`, `keep v9 frame 7` | store in slot 7 + round; store once, after the last round |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphad.emit.text import function_name
from graphad.loops.ir import Access, Statement, Var
from graphad.loops.reroll import Part, Plan, linear
from graphad.loops.straight import FUNCTIONS, TRUTHS, Code

# Functions of the C library: none of them errs by more than 2 units in the last place (GNU C library manual, "Known
# Maximum Errors in Math Functions"). The others are those of the vector mathematics, called one number at a time.
LIBRARY = FUNCTIONS - {
    "cbrt", "erfc", "sigmoid", "sigmoid_tail", "sigmoid_of_tail", "softplus", "logaddexp", "lgamma", "digamma",
    "maximum", "minimum", "floordiv", "remainder", "fma",
}  # fmt: skip
OWN = frozenset({"maximum", "minimum", "fma"})  # instructions of LLVM


def calls(statements: Sequence[Statement]) -> list[Statement]:
    """The calls of straight programs."""
    return [s for s in statements if s.kind == "call" and s.operation == "straight"]


def functions(statement: Statement) -> list[str]:
    """The functions of the vector mathematics that a straight program needs, by their full names."""
    code: Code = statement.params["code"]
    return [function_name(f, code.dtype) for f in _others(code)]


def _others(code: Code) -> dict[str, int]:
    """The functions of the vector mathematics that a program calls, with their numbers of operands."""
    called = {n: len(o) for n, o in zip(code.names, code.operands, strict=True)}
    return {n: called[n] for n in sorted(called) if n in FUNCTIONS - LIBRARY - OWN}


class NamedProgram(NamedTuple):
    """A straight program of a module.

    Arguments:
        text: for the assembler.
        others: the functions of the vector mathematics that it calls, with their numbers of operands.
    """

    name: str
    text: str
    dtype: str
    others: dict[str, int]


def programs(statements: Sequence[Statement], exact: bool) -> tuple[NamedProgram, ...]:
    """The programs of a module, in the order of their numbers; `exact` ones round alike wherever they run."""
    found = []
    for number, statement in enumerate(statements, start=1):
        code: Code = statement.params["code"]
        text = "exact\n" * exact + program_text(code, statement.params["plan"], _scalars(statement))
        found.append(NamedProgram(f"straight_{number}", text, code.dtype, _others(code)))
    return tuple(found)


def definitions(named: Sequence[NamedProgram]) -> str:
    """The text that defines the programs of a module."""
    texts: dict[str, None] = {}
    for number, (name, text, dtype, others) in enumerate(named, start=1):
        for other, count in others.items():
            texts.setdefault(_callback(other, dtype, count))
        addresses = ", ".join(f'"{n}": _{n}_{dtype}.address' for n in others)
        texts.setdefault(f'PROGRAM_{number} = """\n{text}"""\n')
        file = 'globals().get("__file__")'
        texts.setdefault(f'{name} = _straight_function(PROGRAM_{number}, "{dtype}", {{{addresses}}}, {file})\n')
    return "\n".join(texts) + "\n"


def _callback(name: str, dtype: str, count: int) -> str:
    letters = ", ".join("xyz"[:count])
    signature = f"{dtype}({', '.join([dtype] * count)})"
    return (
        f'@cfunc("{signature}", error_model="numpy", cache=True)\n'
        f"def _{name}_{dtype}({letters}):\n    return {function_name(name, dtype)}({letters})\n"
    )


def names(statements: Sequence[Statement]) -> list[str]:
    """The names that the text defines."""
    found = [f"_{n}_{s.params['code'].dtype}" for s in statements for n in _others(s.params["code"])]
    return [*found, *(f"{kind}_{k}" for k in range(1, len(statements) + 1) for kind in ("PROGRAM", "straight"))]


def call_text(number: int, statement: Statement, name: Callable[[Var], str]) -> str:
    """The call of a program."""
    texts = [name(o.var) if not o.var.shape else f"{name(o.var)}.ctypes.data" for o in _arguments(statement)]
    return f"straight_{number}({', '.join([f'{name(statement.out.var)}.ctypes.data', *texts])})"


def summary(statements: Sequence[Statement]) -> str:
    """What the docstring of a module says about its programs; empty where there are none."""
    if not statements:
        return ""
    lines = []
    for number, statement in enumerate(statements, start=1):
        plan: Plan = statement.params["plan"]
        loops = [p for p in plan.parts if p.rounds > 1]
        inside = sum(p.period * p.rounds for p in loops)
        rolled = f"; {inside:,} of them repeat and are {len(loops)} loops" if loops else ""
        lines.append(f"PROGRAM_{number} has {len(plan.slots):,} instructions{rolled}.")
    return (
        "\nScalar operations that are too many for Numba's front end stand as text in programs of their own, which"
        "\n`_straight_function` compiles through LLVM; the machine code is kept beside this file.\n"
        + "\n".join(lines)
        + "\n"
    )


def _arguments(statement: Statement) -> list[Access]:
    return [o for o in statement.inputs if isinstance(o, Access)]


def _scalars(statement: Statement) -> list[bool]:
    return [o.var.shape == () for o in _arguments(statement)]


def program_text(code: Code, plan: Plan, scalars: list[bool]) -> str:
    """The text of a program; see the module for its lines."""
    return "\n".join(_Printer(code, plan, scalars).lines()) + "\n"


class _Printer:
    """Prints one program."""

    def __init__(self, code: Code, plan: Plan, scalars: list[bool]) -> None:
        self.code, self.plan, self.scalars = code, plan, scalars
        self.tables: dict[bytes, int] = {}
        self.table_lines: list[str] = []
        self.pool: list[str] = []
        self.constants = [repr(leaf) if isinstance(leaf, float) else "" for leaf in code.leaves]
        self.operands = plan.operands.tolist()
        self.slots = plan.slots.tolist()
        self.units = plan.units.tolist()
        self.gets = 0

    def lines(self) -> list[str]:
        """All lines."""
        body = [line for part in self.plan.parts for line in self._part(part)]
        for start, places in self.plan.copies:
            name = self._name()
            body.extend([f"repeat {len(places)}", f"{name} = pick frame {self._table(places)}"])
            body.append(f"put {name} frame {start} 1")
        head = [f"{'number' if s else 'array'} {k}" for k, s in enumerate(self.scalars)]
        pool = [f"pool {' '.join(self.pool)}"] if self.pool else []
        return [*head, *self.table_lines, *pool, *body]

    def _part(self, part: Part) -> Iterator[str]:
        return self._block(part) if part.rounds == 1 else self._repeat(part)

    def _name(self) -> str:
        self.gets += 1
        return f"g{self.gets}"

    def _truth(self, operand: int) -> bool:
        return operand >= 0 and self.code.names[operand] in TRUTHS

    # ------------------------------------------------------------------ blocks

    def _block(self, part: Part) -> Iterator[str]:
        yield "block"
        loaded: dict[int, str] = {}
        names = self.code.names
        for at in range(part.start, part.stop):
            texts = []
            for operand in self.operands[at][: len(self.code.operands[at])]:
                if operand >= part.start:
                    texts.append(f"v{operand}")
                    continue
                if operand not in loaded:
                    yield from self._load(operand, loaded)
                texts.append(loaded[operand])
            yield f"v{at} = {names[at]} {' '.join(texts)}"
            if self.slots[at] >= 0:
                yield from self._store(at, "put", f"frame {self.slots[at]}")

    def _load(self, operand: int, loaded: dict[int, str]) -> Iterator[str]:
        if operand < 0 and self.constants[-1 - operand]:
            loaded[operand] = self.constants[-1 - operand]
            return
        name = loaded[operand] = self._name()
        yield f"{name} = get {self._place(operand)}"
        if self._truth(operand):
            loaded[operand] = self._name()
            yield f"{loaded[operand]} = truth {name}"

    def _place(self, operand: int) -> str:
        if operand >= 0:
            return f"frame {self.slots[operand]}"
        leaf = self.code.leaves[-1 - operand]
        assert isinstance(leaf, tuple), "constants have no place"
        return f"frame {leaf[0]}" if self.scalars[leaf[0]] else f"a{leaf[0]} {leaf[1]}"

    def _store(self, at: int, how: str, place: str) -> Iterator[str]:
        if not self._truth(at):
            yield f"{how} v{at} {place}"
            return
        name = self._name()
        yield f"{name} = real v{at}"
        yield f"{how} {name} {place}"

    # ------------------------------------------------------------------ loops

    def _repeat(self, part: Part) -> Iterator[str]:
        """The lines of a loop: its second round stands for all."""
        yield f"repeat {part.rounds}"
        shape = (part.rounds, part.period, self.plan.operands.shape[1])
        table = self.plan.operands[part.start : part.stop].reshape(shape)
        carried = self.plan.carried[part.start : part.start + part.period]
        slots = self.plan.slots[part.start : part.stop].reshape(part.rounds, part.period)
        reals: dict[int, str] = {}
        known: dict[str, str] = {}
        phis: list[str] = []
        body: list[str] = []
        for place in range(part.period):
            texts = []
            for position in range(len(self.code.operands[part.start + part.period + place])):
                column = table[:, place, position]
                if carried[place, position]:
                    source = part.start + int(column[-1] - part.start) % part.period
                    texts.append(self._carried(source, column[: carried[place, position]], known, reals, phis, body))
                else:
                    texts.append(self._operand(part, column, known, body))
            at = part.start + place
            body.append(f"v{at} = {self.code.names[at]} {' '.join(texts)}")
            column = slots[:, place]
            if column[-1] >= 0:
                body.extend(self._store(at, *_target(column)))
        yield from phis
        yield from self._with_reals(body, reals)

    def _carried(
        self, source: int, firsts: Any, known: dict[str, str], reals: dict[int, str], phis: list[str], body: list[str]
    ) -> str:
        """The operand that a round before computed as `source`; `firsts` are the operands of the first rounds."""
        truth = self._truth(source)
        name = reals.setdefault(source, self._name()) if truth else f"v{source}"
        for first in reversed(firsts.tolist()):
            key = f"carry {name} {self._place(first)}"
            if key not in known:
                known[key] = self._name()
                phis.append(f"{known[key]} = {key}")
            name = known[key]
        if not truth:
            return name
        key = f"truth {name}"
        if key not in known:
            known[key] = self._name()
            body.append(f"{known[key]} = {key}")
        return known[key]

    def _operand(self, part: Part, column: Any, known: dict[str, str], body: list[str]) -> str:
        """An operand of the same round, a constant, or a load."""
        second = int(column[1])
        if second >= part.start + part.period and second < part.start + 2 * part.period and self._own(part, column):
            return f"v{second - part.period}"
        key = self._source(column)
        if not key.startswith(("get", "pick")):
            return key
        if key not in known:
            name = self._name()
            body.append(f"{name} = {key}")
            if self._truth(second):
                inner, name = name, self._name()
                body.append(f"{name} = truth {inner}")
            known[key] = name
        return known[key]

    def _own(self, part: Part, column: Any) -> bool:
        """Whether the operand is computed in the same round."""
        return bool(part.start <= int(column[0]) < part.start + part.period)

    def _source(self, column: Any) -> str:
        first = int(column[0])
        leaves = self.code.leaves
        if first < 0 and isinstance(leaves[-1 - first], float):
            texts = [self.constants[-1 - int(o)] for o in column]
            if len(set(texts)) == 1:
                return texts[0]
            self.pool.extend(texts)
            return f"get pool {len(self.pool) - len(texts)} 1"
        found = [self._place(int(o)).split() for o in column]
        places = np.array([int(place) for _, place in found], np.int64)
        if (straight := linear(places)) is not None:
            return f"get {found[0][0]} {straight[0]} {straight[1]}"
        return f"pick {found[0][0]} {self._table(places)}"

    def _table(self, places: Any) -> int:
        """The number of the table with these places."""
        key = places.tobytes()
        if key not in self.tables:
            self.tables[key] = len(self.tables)
            self.table_lines.append(f"table {self.tables[key]} {' '.join(map(str, places.tolist()))}")
        return self.tables[key]

    def _with_reals(self, body: list[str], reals: dict[int, str]) -> Iterator[str]:
        """The lines, with truth values that are handed to the next round as numbers."""
        for line in body:
            yield line
            name, _, rest = line.partition(" = ")
            if rest and name[0] == "v" and int(name[1:]) in reals:
                yield f"{reals[int(name[1:])]} = real {name}"


def _target(column: Any) -> tuple[str, str]:
    """How the results of the rounds are stored, from their slots."""
    if column[0] < 0:
        return "keep", f"frame {int(column[-1])}"
    return "put", f"frame {int(column[0])} 1"
