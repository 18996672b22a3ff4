"""Bodies of loops as instructions of the tape: every element of their small arrays has a register of its own.

Moving elements about (slices, reshapes, stacks) is no instruction, loops of known length inside bodies are written out,
and of the branches of a `cond` both are computed. A register holds 8 bytes, see `graphad.emit.instructions`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphad.emit.instructions import HALT, HERE, TEST, WORDS, level_of
from graphad.emit.tape import CONSTANTS, VALUES, steps_of
from graphad.ir.graph import Graph, Node, keep
from graphad.ir.operation import lookup
from graphad.ir.types import TensorType
from graphad.ops.schedules import actions
from graphad.ops.sweep import carry_step
from graphad.plan.scalars import MOVES

MOST = 20_000  # instructions of a body
FEW = 1_000  # instructions that a body may have however few operations they come from
FOR_EACH = 400  # beyond, instructions for each operation with which the tape is as fast as NumPy
LANES = 8  # sums that NumPy adds into side by side
TOGETHER = 128  # terms up to which NumPy does so; more are halved

PADDING = tuple((0,) * (WORDS - 2 - count) for count in range(WORDS - 1))

Ids = NDArray[np.int64]
Results = tuple[Any, ...]
STEPS = {"sum": "add", "prod": "mul", "max": "maximum", "min": "minimum", "any": "logical_or", "all": "logical_and"}


class NotUnrolledError(Exception):
    """Too many instructions, or an operation that is not taken apart: an answer, not a mistake of the user."""


class Unroller:
    """Writes graphs whose extents are all integers as instructions; register 0 holds 0, of any dtype.

    >>> import graphad as ga
    >>> g = ga.Graph("line")
    >>> x = g.input("x", shape=2)
    >>> g.output("y", 2.0 * x[::-1])
    >>> unroller = Unroller()
    >>> unroller.run(g.freeze(), [unroller.fresh((2,))])
    [array([7, 8])]
    >>> unroller.code()[:5]
    array([0, 7, 6, 5, 3], dtype=uint32)
    """

    def __init__(self) -> None:
        self.start: dict[int, int] = {}  # the bits of constants by register
        self.level = 0
        self.operations = 0  # for which code was asked
        self._count = 1
        self._known: dict[int, int] = {0: 0}
        self._own = {number: self._constants(np.array(v)) for v, number in zip(VALUES, CONSTANTS.values(), strict=True)}
        self._blocks: list[NDArray[np.uint32]] = []
        self._words: list[int] = []  # of instructions for single numbers, behind the blocks
        self._length = 0
        self._calls = 0

    @property
    def length(self) -> int:
        """How many instructions have been written since `code` was asked for."""
        return self._length

    @property
    def count(self) -> int:
        """How many registers there are."""
        return self._count

    def fresh(self, shape: tuple[int, ...]) -> Ids:
        """New registers, one behind the other."""
        count = prod(shape)
        self._count += count
        return np.arange(self._count - count, self._count).reshape(shape)

    def code(self) -> NDArray[np.uint32]:
        """What was written since this was asked last, and the end behind it."""
        self._words.append(HALT)
        self._set_apart()
        self.operations += self._calls
        blocks, self._blocks, self._length, self._calls = self._blocks, [], 0, 0
        return np.concatenate(blocks)

    def test(self, truth: Ids) -> None:
        """Leave the loop here unless a register holds a true value."""
        self._words += (TEST, 0, int(truth), *PADDING[1])

    def run(self, graph: Graph, inputs: Sequence[Ids]) -> list[Ids]:
        """The registers of the outputs, from those of the inputs."""
        known: dict[int, Any] = dict(zip(graph.inputs.values(), inputs, strict=True))
        for node_id in sorted(keep(graph, graph.outputs.values())):
            if node_id not in known:
                node = graph.nodes[node_id]
                kinds = [graph.nodes[a].type for a in node.args]
                known[node_id] = self._node(graph.nodes, node, [known[a] for a in node.args], kinds)
        return [known[i] for i in graph.outputs.values()]

    def _node(self, nodes: Sequence[Node], node: Node, args: list[Any], kinds: Sequence[TensorType]) -> Any:
        params = dict(node.params)
        if node.op == "const":
            return self._constants(params["value"].array)
        if node.op == "item":
            return args[0][params["index"]]
        if params.get("progress") is not None:
            raise NotUnrolledError("a loop that tells how far it is")
        self._calls += 1
        if lookup(node.op).elementwise:
            return self.apply(node.op, args, tuple([kind.dtype for kind in kinds]), node.type.dtype)
        if node.op in MOVES:
            return np.asarray(lookup(node.op).reference(*args, **params), np.int64)
        if node.op in STEPS:
            return self._reduced(node.op, args[0], params["axes"], kinds[0].dtype)
        if node.op == "einsum" and node.type.is_float:
            return self._contracted(args, params, node.type.dtype)
        if node.op in INSIDE:
            return INSIDE[node.op](self, args, **params)
        raise NotUnrolledError(node.op)

    # ------------------------------------------------------------------ elements

    def _constants(self, array: NDArray[Any]) -> Ids:
        floats = np.issubdtype(array.dtype, np.floating)
        bits = np.asarray(array, np.float64 if floats else np.int64).view(np.int64)
        return np.array([self._constant(int(b)) for b in bits.reshape(-1)], np.int64).reshape(bits.shape)

    def _constant(self, bits: int) -> int:
        if bits not in self._known:
            self._known[bits] = int(self.fresh(()))
            self.start[self._known[bits]] = bits
        return self._known[bits]

    def apply(self, op: str, args: Sequence[Ids], operands: tuple[str, ...], result: str) -> Ids:
        """An elementwise operation on operands of some dtypes."""
        steps = steps_of(op, operands, result)
        if steps is None:
            raise NotUnrolledError(op)
        shapes = {a.shape for a in args if a.ndim}
        out = self.fresh(shapes.pop() if len(shapes) == 1 else np.broadcast_shapes(*shapes)) if shapes else self._next()
        values = (*args, out)
        for number, places in steps:
            self._write(number, [values[p] if p >= HERE else self._own[p] for p in places], out)
        return out

    def _next(self) -> Ids:
        self._count += 1
        return np.int64(self._count - 1)  # type: ignore[return-value]  # has what is used of arrays of no axes

    def _write(self, number: int, operands: Sequence[Ids], out: Ids) -> None:
        if not out.ndim:
            self._words += (number, int(out), *map(int, operands), *PADDING[len(operands)])
        else:
            rows = np.zeros((out.size, WORDS), np.uint32)
            rows[:, 0] = number
            rows[:, 1] = out.reshape(-1)
            for place, ids in enumerate(operands, start=2):
                whole = ids if ids.shape == out.shape or not ids.ndim else np.broadcast_to(ids, out.shape)
                rows[:, place] = whole.reshape(-1)
            self._set_apart()
            self._blocks.append(rows.reshape(-1))
        self._length += out.size
        self.level = max(self.level, level_of(number))
        if self._length > min(MOST, FEW + FOR_EACH * self._calls):
            raise NotUnrolledError("too many instructions")

    def _set_apart(self) -> None:
        """Make a block of the instructions for single numbers."""
        self._blocks.append(np.array(self._words, np.uint32))
        self._words = []

    def _reduced(self, op: str, ids: Ids, axes: tuple[int, ...], dtype: str) -> Ids:
        """A reduction, in NumPy's order where it goes along the last axes or over whole rows."""
        front = np.moveaxis(ids, axes, range(len(axes)))
        rest = front.shape[len(axes) :]
        terms = front.reshape((prod(front.shape[: len(axes)]), *rest))
        if not len(terms):
            raise NotUnrolledError(op)

        def step(a: Ids, b: Ids) -> Ids:
            return self.apply(STEPS[op], (a, b), (dtype, dtype), dtype)

        if op == "sum" and sorted(axes) == list(range(ids.ndim - len(axes), ids.ndim)):
            return pairwise(terms, step)
        return _in_turn(terms, step)

    def _contracted(self, args: Sequence[Ids], params: Mapping[str, Any], dtype: str) -> Ids:
        left, right, out = params["left"], params["right"], params["out"]
        extents = dict(zip(left + right, args[0].shape + args[1].shape, strict=True))
        inner = [c for c in extents if c not in out]
        order = "".join([*inner, *out])
        if any(len(set(letters)) < len(letters) for letters in (left, right)):
            raise NotUnrolledError("einsum")
        whole = tuple([extents[c] for c in order])
        a, b = (
            np.broadcast_to(_aligned(ids, letters, order), whole).reshape(
                (prod(whole[: len(inner)]), *whole[len(inner) :])
            )
            for ids, letters in zip(args, (left, right), strict=True)
        )
        if not len(a):
            raise NotUnrolledError("einsum")
        total = self.apply("mul", (a[0], b[0]), (dtype, dtype), dtype)
        for x, y in zip(a[1:], b[1:], strict=True):
            product = self.apply("mul", (x, y), (dtype, dtype), dtype)
            total = self.apply("add", (total, product), (dtype, dtype), dtype)
        return total


def _aligned(ids: Ids, letters: str, order: str) -> Ids:
    """An operand with its axes in an order, new ones of length 1 for letters that it lacks."""
    moved = ids.transpose([letters.index(c) for c in order if c in letters])
    return moved.reshape([ids.shape[letters.index(c)] if c in letters else 1 for c in order])


def _in_turn(terms: Any, step: Callable[[Ids, Ids], Ids]) -> Ids:
    total: Ids = terms[0]
    for term in terms[1:]:
        total = step(total, term)
    return total


def pairwise(terms: Ids, step: Callable[[Ids, Ids], Ids]) -> Ids:
    """The sum of some rows as NumPy adds them: eight sums side by side, more than 128 terms in halves."""
    count = len(terms)
    if count < LANES:
        return _in_turn(terms, step)
    if count > TOGETHER:
        half = count // 2 - count // 2 % LANES
        return step(pairwise(terms[:half], step), pairwise(terms[half:], step))
    whole = count - count % LANES
    lanes = _in_turn([terms[k : k + LANES] for k in range(0, whole, LANES)], step)
    while len(lanes) > 1:
        lanes = step(lanes[::2], lanes[1::2])
    return _in_turn([lanes[0], *terms[whole:]], step)


# ---------------------------------------------------------------------- loops and branches inside bodies


def _scan(
    to: Unroller, args: Sequence[Ids], body: Graph, carries: int, xs: int, length: int, reverse: bool, **other: Any
) -> Results:
    state, stacked, constants = args[:carries], args[carries : carries + xs], args[carries + xs :]
    rows: list[tuple[int, list[Ids]]] = []
    for place in reversed(range(length)) if reverse else range(length):
        results = to.run(body, [*state, *[x[place] for x in stacked], *constants])
        state = results[:carries]
        rows.append((place, results[carries:]))
    return (*state, *_stacked(rows, list(body.outputs.values())[carries:], body))


def _stacked(rows: list[tuple[int, list[Ids]]], outputs: Sequence[int], body: Graph) -> list[Ids]:
    """Rows of elements in the order of their places, stacked."""
    if not rows:
        return [np.zeros((0, *_shape(body.nodes[i].type)), np.int64) for i in outputs]
    ordered = [row for _, row in sorted(rows, key=lambda r: r[0])]
    return [np.stack([row[k] for row in ordered]) for k in range(len(outputs))]


def _shape(kind: TensorType) -> tuple[int, ...]:
    return tuple([int(str(extent)) for extent in kind.shape])


def _cond(to: Unroller, args: Sequence[Ids], on_true: Graph, on_false: Graph) -> Results:
    predicate, operands = args[0], args[1:]
    both = to.run(on_true, operands), to.run(on_false, operands)
    dtypes = [on_true.nodes[i].type.dtype for i in on_true.outputs.values()]
    return tuple(
        to.apply("where", (predicate, yes, no), ("bool", dtype, dtype), dtype)
        for yes, no, dtype in zip(*both, dtypes, strict=True)
    )


def _scan_adjoint(
    to: Unroller, args: Sequence[Ids], body: Graph, adjoint: Graph, carries: int, xs: int, length: int, reverse: bool,
    wrt_carries: tuple[int, ...], of_ys: tuple[int, ...], wrt_xs: tuple[int, ...], **other: Any,
) -> Results:  # fmt: skip
    """Every state has registers of its own, whatever the schedule."""
    count = len(body.inputs)
    ends = count + len(wrt_carries), count + len(wrt_carries) + len(of_ys)
    state, stacked, constants = args[:carries], args[carries : carries + xs], args[carries + xs : count]
    cotangents, bars, sums = args[count : ends[0]], args[ends[0] : ends[1]], args[ends[1] :]
    step, states, rows = carry_step(body, carries), {0: state}, []
    for kind, number in actions(None, length):
        place = length - 1 - number if reverse else number
        elements = [x[place] for x in stacked]
        if kind == "advance":
            states[number + 1] = to.run(step, [*states[number], *elements, *constants]) if carries else []
        elif kind == "adjoint":
            seeds = [*cotangents, *[bar[place] for bar in bars], *sums]
            results = to.run(adjoint, [*states[number], *elements, *constants, *seeds])
            cut = len(results) - len(sums)
            cotangents, sums = results[: len(cotangents)], results[cut:]
            rows.append((place, results[len(cotangents) : cut]))
    first = len(wrt_carries)
    return (*cotangents, *_stacked(rows, list(adjoint.outputs.values())[first : first + len(wrt_xs)], adjoint), *sums)


INSIDE: Mapping[str, Callable[..., Results]] = {"scan": _scan, "cond": _cond, "scan_adjoint": _scan_adjoint}
