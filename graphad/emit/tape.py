"""A graph of scalars as a list of instructions: an answer without a compiler, and hardly slower than compiled code.

One compiled kernel runs all graphs. A graph becomes rows of small integers, `number out first second third`, on a file
of registers that hold its constants and inputs, and values as long as somebody needs them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphad.emit.instructions import (
    FUSED,
    HALT,
    HERE,
    MINUS_ONE,
    MINUS_ZERO,
    NUMBERS,
    ONE,
    WORDS,
    instruction_key,
    kernel,
    level_of,
)
from graphad.ir.graph import Graph, Node, keep
from graphad.ir.operation import Scalar, lookup

Code = NDArray[np.uint32]

VALUES = (ONE, MINUS_ONE, MINUS_ZERO)
CONSTANTS: Mapping[str, int] = {repr(value): HERE - 1 - place for place, value in enumerate(VALUES)}
"""The tape's own constants: the numbers that stand for them in place of node ids."""


class Line(NamedTuple):
    """An instruction whose registers are values: node ids, or negative numbers for constants of the tape's own."""

    number: int
    out: int
    operands: tuple[int, ...]


class Step(NamedTuple):
    """An instruction of those that a node becomes; all have the node's register for their result.

    Arguments:
        number: of the instruction.
        operands: for each a position among the node's, `HERE` for what the step before gave, or a register of the
            tape's own, a number below.
    """

    number: int
    operands: tuple[int, ...]


def is_scalar_program(graph: Graph) -> bool:
    """Whether a tape can run a graph: scalars only, and no operation of the user's own."""
    nodes = graph.nodes
    return all(
        not node.type.shape and (node.op in ("input", "const") or _of_node(nodes, node) is not None) for node in nodes
    )


def _of_node(nodes: Sequence[Node], node: Node) -> tuple[Step, ...] | None:
    return steps_of(node.op, tuple([nodes[a].type.dtype for a in node.args]), node.type.dtype)


def steps_of(op: str, operands: tuple[str, ...], result: str) -> tuple[Step, ...] | None:
    """The steps of an operation with these dtypes; None where no instruction computes it."""
    emission = lookup(op).emission
    return _steps(op, emission.expression, operands, result) if isinstance(emission, Scalar) else None


@cache
def _steps(op: str, expression: str, operands: tuple[str, ...], result: str) -> tuple[Step, ...] | None:
    if result.startswith("float") and expression in FUSED:
        steps = [Step(0, tuple([_place(p) for p in places])) for places in FUSED[expression]]
    elif (number := NUMBERS.get(instruction_key(op, operands, result))) is not None:
        steps = [Step(number, tuple(range(len(operands))))]
    else:
        return None
    narrowing = {"float32": NUMBERS["round",], "int32": NUMBERS["wrap",]}.get(result)
    own = () if narrowing is None else (Step(narrowing, (HERE,)),)
    return tuple([one for step in steps for one in (step, *own)])


def _place(place: int | float) -> int:
    return place if isinstance(place, int) else CONSTANTS[repr(place)]


def level_for(graph: Graph) -> int:
    """The kernel that a scalar program needs."""
    return _level(list(_lines(graph)))


def _level(lines: Sequence[Line]) -> int:
    return max([level_of(number) for number in {line.number for line in lines}], default=0)


NOTHING = np.empty((0, 4), np.uint64)


class Tape:
    """A graph of scalars that the kernel runs: `function(*inputs) -> scalar outputs`, as compiled kernels are called.

    It may be called from several threads at once.

    >>> import graphad as ga
    >>> g = ga.Graph("f")
    >>> x, y = g.input("x"), g.input("y")
    >>> g.output("z", np.sin(x) * y + 2.0)
    >>> Tape(g.freeze())(0.5, 2.0)
    2.958851077208406
    """

    arrays: tuple[str, ...] = ()

    def __init__(self, graph: Graph) -> None:
        self.scalars = tuple(graph.outputs)
        lines = list(_lines(graph))
        registers = Registers(graph, lines)
        self.code = registers.code
        self._run = kernel(_level(lines))
        self._start = registers.start
        self._idle: list[tuple[NDArray[np.float64], NDArray[np.int64]]] = []
        kinds = [graph.nodes[i].type.dtype.startswith("float") for i in graph.inputs.values()]
        self._only_reals = all(kinds)
        self._inputs = tuple(zip(kinds, [registers.places[i] for i in graph.inputs.values()], strict=True))
        found = [registers.places[i] for i in graph.outputs.values()]
        self._results = np.array(found, np.intp)
        self._integers = tuple(
            k for k, i in enumerate(graph.outputs.values()) if not graph.nodes[i].type.dtype.startswith("float")
        )

    def __call__(self, *inputs: Any) -> Any:
        """The kernel's calling convention: arguments are known to be right."""
        try:
            reals, integers = self._idle.pop()
        except IndexError:
            reals = self._start.copy()
            integers = reals.view(np.int64)
        if self._only_reals:
            reals[: len(inputs)] = inputs
        else:
            for (real, place), value in zip(self._inputs, inputs, strict=True):
                (reals if real else integers)[place] = value
        self._run(self.code, reals, integers, NOTHING, NOTHING, 0, 0, 1)
        answer = reals[self._results].tolist()
        for k in self._integers:
            answer[k] = int(integers[self._results[k]])
        if not self._idle:
            self._idle.append((reals, integers))
        return answer[0] if len(answer) == 1 else tuple(answer)


# ---------------------------------------------------------------------- instructions


def _lines(graph: Graph) -> Iterator[Line]:
    nodes = graph.nodes
    for node_id in sorted(keep(graph, graph.outputs.values())):
        node = nodes[node_id]
        if node.op in ("input", "const"):
            continue
        steps = _of_node(nodes, node)
        assert steps is not None, "it is a scalar program"
        values = (*node.args, node_id)
        for number, operands in steps:
            yield Line(number, node_id, tuple([values[p] if p >= HERE else p for p in operands]))


class Registers:
    """Gives values registers, inputs first, then constants, then the rest, whose registers are used again."""

    def __init__(self, graph: Graph, lines: Sequence[Line]) -> None:
        self.places: dict[int, int] = {}
        reals: list[float] = []
        integers: dict[int, int] = {}
        for node_id in graph.inputs.values():
            self.places[node_id] = len(reals)
            reals.append(0.0)
        for value, number in zip(VALUES, CONSTANTS.values(), strict=True):
            self.places[number] = len(reals)
            reals.append(value)
        for node_id, node in enumerate(graph.nodes):
            if node.op == "const":
                self.places[node_id] = len(reals)
                number = node.param("value").scalar
                if not node.type.is_float:
                    integers[len(reals)] = int(number)
                reals.append(float(number) if node.type.is_float else 0.0)
        self.count = len(reals)
        self.code = self._code(lines, set(graph.outputs.values()))
        self.start = np.zeros(self.count)
        self.start[: len(reals)] = reals
        for place, number in integers.items():
            self.start.view(np.int64)[place] = number

    def _code(self, lines: Sequence[Line], kept: set[int]) -> Code:
        """The rows of all lines; gives registers on the way."""
        places, fixed = self.places, set(self.places)
        last: dict[int, int] = {}
        for position, line in enumerate(lines):
            for a in line.operands:
                last[a] = position
        free: list[int] = []
        code: list[int] = []
        for position, line in enumerate(lines):
            used = [places[a] for a in line.operands]
            for a in dict.fromkeys(line.operands):
                if last[a] == position and a not in fixed and a not in kept and a != line.out:
                    free.append(places[a])
            if line.out not in places:
                places[line.out] = free.pop() if free else self.count
                self.count = max(self.count, places[line.out] + 1)
            code += (line.number, places[line.out], *used, *(0,) * (WORDS - 2 - len(used)))
        return np.array([*code, HALT], np.uint32)
