"""A graph as a flat list of NumPy calls: an answer without a compiler.

The list is made once for each set of sizes. Values are dropped as soon as nobody needs them; large ones lie in a few
buffers that are used again and again, since fresh memory costs more than the arithmetic, and still larger ones are
computed by blocks of rows. What depends on no argument is computed while the list is made. Results are bit for bit
those of the interpreter, but for two liberties with large arrays: contractions go through BLAS, and elements may be
visited in another order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphad.emit.node_calls import AtHand, always, node_call
from graphad.emit.numpy_calls import Call
from graphad.emit.regions import Blocks, Item, Region, arranged, in_planes
from graphad.interpret import solve_sizes
from graphad.ir import sizes
from graphad.ir.bodies import extent_parameters
from graphad.ir.graph import Graph, keep
from graphad.ir.types import TensorType

LARGE = 1 << 15  # bytes of a value from which on it lies in a buffer
RESULTS = -3  # the place of the first result while steps are made
BLOCKS = -2  # the place of a step that computes a region
SIZES_KEPT = 8  # lists kept for different sizes of the arguments

Array = NDArray[Any]


class Step(NamedTuple):
    """One call: values at `args` in, the value at `out` out; then the values at `dead` are dropped.

    `place` says where the result is written: -1 for a fresh one, else a position among the views of the buffers, behind
    which the arrays of the results stand. Blocks of rows, marked -2, take all values and the arrays at `args`.
    """

    function: Callable[..., Any]
    args: tuple[int, ...]
    out: int
    place: int
    dead: tuple[int, ...]


class View(NamedTuple):
    """A buffer seen as an array."""

    buffer: int
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Steps:
    """The calls of a graph at given sizes.

    Arguments:
        values: what is known before a call, by node id: constants and what is made of them.
        calls: in order.
        buffers: bytes of each.
        views: of the buffers.
        copied: for each array output that no call writes in place its position and node id.
        scalars: node ids of the scalar outputs.
        planes: whether short last axes are outermost in buffers.
        idle: the views of a finished call, to be used by the next one.
    """

    values: list[Any]
    calls: tuple[Step, ...]
    buffers: tuple[int, ...]
    views: tuple[View, ...]
    copied: tuple[tuple[int, int], ...]
    scalars: tuple[int, ...]
    planes: bool
    idle: list[list[Array]] = field(default_factory=list)

    def run(self, given: Mapping[int, Any], results: Sequence[Array]) -> list[Any]:
        """Run all calls for the values of the inputs; write the array outputs and return the scalar ones."""
        values = self.values.copy()
        for node_id, value in given.items():
            values[node_id] = value
        try:
            views = self.idle.pop()
        except IndexError:
            views = self._allocate()
        places = [*views, *results]
        with np.errstate(all="ignore"):
            for function, args, out, place, dead in self.calls:
                if place == BLOCKS:
                    function(values, [places[a] for a in args])
                elif place < 0:
                    values[out] = function(*[values[a] for a in args])
                else:
                    function(*[values[a] for a in args], out=places[place])
                    values[out] = places[place]
                for node_id in dead:
                    values[node_id] = None
        for position, node_id in self.copied:
            np.copyto(results[position], values[node_id])
        answer = [values[i] for i in self.scalars]
        if not self.idle:
            self.idle.append(views)
        return answer

    def _allocate(self) -> list[Array]:
        memory = [np.empty(count, np.uint8) for count in self.buffers]
        return [self._view(memory[v.buffer].view(v.dtype), v.shape) for v in self.views]

    def _view(self, memory: Array, shape: tuple[int, ...]) -> Array:
        if self.planes and in_planes(shape):
            return np.moveaxis(memory.reshape((shape[-1], *shape[:-1])), 0, -1)
        return memory.reshape(shape)


class Stepwise:
    """A graph that NumPy runs: `function(*inputs, *array outputs) -> scalar outputs`, as compiled kernels are called.

    It may be called from several threads at once. An `inner` graph computes a block of rows: it has no blocks itself,
    and short last axes are outermost in its buffers. `at_hand` says whether the tape may run loops (`node_call`).

    >>> import graphad as ga
    >>> g = ga.Graph("f")
    >>> x = g.input("x", shape="n")
    >>> g.output("y", (x * x).sum())
    >>> Stepwise(g.freeze())(np.array([1.0, 2.0]))
    np.float64(5.0)
    """

    def __init__(self, graph: Graph, inner: bool = False, at_hand: AtHand = always) -> None:
        self.graph, self.inner, self.at_hand = graph, inner, at_hand
        self.arrays = tuple(n for n, i in graph.outputs.items() if graph.nodes[i].type.rank)
        self.scalars = tuple(n for n, i in graph.outputs.items() if not graph.nodes[i].type.rank)
        self._inputs = tuple((i, _converter(graph.nodes[i].type)) for i in graph.inputs.values())
        self._order = sorted(keep(graph, graph.outputs.values()))
        self._bound: dict[tuple[tuple[int, ...], ...], Steps] = {}

    def __call__(self, *arguments: Any) -> Any:
        """The kernel's calling convention: arguments are known to be right."""
        inputs = arguments[: len(self._inputs)]
        given = {i: convert(value) for (i, convert), value in zip(self._inputs, inputs, strict=True)}
        shapes = tuple([value.shape for value in given.values()])
        steps = self._bound.get(shapes)
        if steps is None:
            steps = self._bind(shapes)
        answer = steps.run(given, arguments[len(self._inputs) :])
        if not answer:
            return None
        return answer[0] if len(answer) == 1 else tuple(answer)

    def _bind(self, shapes: tuple[tuple[int, ...], ...]) -> Steps:
        bound = solve_sizes(self.graph, dict(zip(self.graph.inputs, shapes, strict=True)))
        steps = Binder(self.graph, self._order, bound, self.at_hand).steps(self.arrays, self.scalars, self.inner)
        while len(self._bound) >= SIZES_KEPT:
            self._bound.pop(next(iter(self._bound)), None)
        self._bound[shapes] = steps
        return steps


def _converter(kind: TensorType) -> Callable[[Any], Any]:
    return np.asarray if kind.rank else np.dtype(kind.dtype).type


class Binder:
    """Makes the list of calls for given sizes.

    A value is `held` by the buffers whose memory it may share: its own, or those of the operands it may be a view of.
    A buffer is free again when no live value is held by it.
    """

    def __init__(
        self, graph: Graph, order: Sequence[int], bound: Mapping[str, int], at_hand: AtHand = always
    ) -> None:
        self.graph, self.order, self.bound, self.at_hand = graph, order, bound, at_hand
        self.shapes: dict[int, tuple[int, ...]] = {}
        self.values: list[Any] = [None] * len(graph.nodes)
        self.known: set[int] = set()  # nodes that depend on no argument
        self.buffers: list[int] = []
        self.free: dict[int, list[int]] = {}
        self.holders: dict[int, int] = {}  # live values by buffer
        self.held: dict[int, frozenset[int]] = {}
        self.own: dict[int, int] = {}
        self.views: dict[View, int] = {}
        self.outputs: list[int] = []  # node ids of the array outputs
        self.results: set[int] = set()
        self.written: set[int] = set()  # positions of array outputs that some step writes
        self.users = graph.users()

    def steps(self, arrays: Sequence[str], scalars: Sequence[str], inner: bool) -> Steps:
        """The calls that give the named outputs."""
        calls = {i: call for i in self.order if (call := self._prepare(i)) is not None}
        items: list[Item] = list(calls) if inner else arranged(self.graph, list(calls), self.shapes)
        self.outputs = [self.graph.outputs[name] for name in arrays]
        self.results = {*self.outputs, *(self.graph.outputs[name] for name in scalars)}
        reads = [self._reads(item) for item in items]
        last = {a: position for position, read in enumerate(reads) for a in read}
        steps: list[Step] = []
        for position, (item, read) in enumerate(zip(items, reads, strict=True)):
            dying = tuple([a for a in read if last[a] == position and a not in self.results and a not in self.known])
            if isinstance(item, int):
                steps.append(self._step(item, calls[item], dying))
            else:
                steps.append(self._blocks(item, dying))
            for a in dying:
                self._drop(a)
        return Steps(
            values=self.values,
            calls=tuple([self._placed(step) for step in steps]),
            buffers=tuple(self.buffers),
            views=tuple(self.views),
            copied=tuple((k, i) for k, i in enumerate(self.outputs) if k not in self.written),
            scalars=tuple(self.graph.outputs[name] for name in scalars),
            planes=inner,
        )

    def _reads(self, item: Item) -> tuple[int, ...]:
        """The values that a node or a region needs."""
        inside = set() if isinstance(item, int) else set(item.nodes)
        nodes = [item] if isinstance(item, int) else item.nodes
        return tuple(dict.fromkeys([a for i in nodes for a in self.graph.nodes[i].args if a not in inside]))

    def _step(self, node_id: int, call: Call, dying: tuple[int, ...]) -> Step:
        args = self.graph.nodes[node_id].args
        if call.into is None or self._bytes(node_id) < LARGE:
            self._hold(node_id, frozenset() if call.fresh else self._holding(args))
            return Step(call.function, args, node_id, -1, dying)
        place = self._array(node_id, dying if isinstance(call.into, np.ufunc) else ())
        return Step(call.into, args, node_id, place, dying)

    def _blocks(self, region: Region, dying: tuple[int, ...]) -> Step:
        kept = [i for i in region.nodes if i in self.results or self._needed_outside(i, region)]
        blocks = Blocks(self.graph, region, self.shapes, kept, lambda rows: Stepwise(rows, inner=True))
        places = tuple([self._array(i, ()) for i in blocks.stored])
        for i in kept:
            if i not in blocks.stored:
                self._hold(i, frozenset())
        return Step(blocks, places, -1, BLOCKS, dying)

    def _needed_outside(self, node_id: int, region: Region) -> bool:
        inside = set(region.nodes)
        return any(user not in inside and user in self.shapes for user in self.users[node_id])

    def _array(self, node_id: int, dying: Sequence[int]) -> int:
        """The place of a large value: a result's array, as -3, -4, …, or a view of a buffer."""
        if node_id not in self.outputs:
            return self._place(node_id, dying)
        position = self.outputs.index(node_id)
        self.written.add(position)
        return RESULTS - position

    def _placed(self, step: Step) -> Step:
        """The step with the places of results, which stand behind all views, whose number is only known now."""

        def final(place: int) -> int:
            return len(self.views) + RESULTS - place if place <= RESULTS else place

        if step.place == BLOCKS:
            return step._replace(args=tuple([final(place) for place in step.args]))
        return step._replace(place=final(step.place))

    def _prepare(self, node_id: int) -> Call | None:
        """The call of a node; None for an input and for what is known now."""
        node = self.graph.nodes[node_id]
        self.shapes[node_id] = tuple([sizes.evaluate(e, self.bound) for e in node.type.shape])
        if node.op == "input":
            return None
        if node.op == "const":
            self.values[node_id] = node.param("value").array
            self.known.add(node_id)
            return None
        params = dict(extent_parameters(node.params, lambda e: sizes.evaluate(e, self.bound)))
        call = node_call(node, params, tuple([self.shapes[a] for a in node.args]), self.at_hand)
        if not self.known.issuperset(node.args):
            return call
        with np.errstate(all="ignore"):
            value = call.function(*[self.values[a] for a in node.args])
        self.values[node_id] = value if type(value) is tuple else np.asarray(value)
        self.known.add(node_id)
        return None

    def _bytes(self, node_id: int) -> int:
        dtype = np.dtype(self.graph.nodes[node_id].type.dtype)
        return prod(self.shapes[node_id]) * dtype.itemsize

    def _place(self, node_id: int, dying: Sequence[int]) -> int:
        """A view for a large value: the memory of an operand in `dying`, of a free buffer, or of a new one."""
        count = self._bytes(node_id)
        kind = self.graph.nodes[node_id].type
        for a in dying:
            buffer = self.own.get(a)
            same = self.shapes[a] == self.shapes[node_id] and self.graph.nodes[a].type.dtype == kind.dtype
            if buffer is not None and same and self.holders[buffer] == 1:
                break
        else:
            waiting = self.free.get(count)
            if waiting:
                buffer = waiting.pop()
            else:
                buffer = len(self.buffers)
                self.buffers.append(count)
        self.own[node_id] = buffer
        self._hold(node_id, frozenset({buffer}))
        view = View(buffer, kind.dtype, self.shapes[node_id])
        return self.views.setdefault(view, len(self.views))

    def _holding(self, args: Sequence[int]) -> frozenset[int]:
        return frozenset().union(*[self.held.get(a, frozenset()) for a in args])

    def _hold(self, node_id: int, buffers: frozenset[int]) -> None:
        self.held[node_id] = buffers
        for buffer in buffers:
            self.holders[buffer] = self.holders.get(buffer, 0) + 1

    def _drop(self, node_id: int) -> None:
        for buffer in sorted(self.held.get(node_id, ())):
            self.holders[buffer] -= 1
            if self.holders[buffer] == 0:
                self.free.setdefault(self.buffers[buffer], []).append(buffer)
