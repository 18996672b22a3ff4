"""A graph as a memory problem: which nodes take memory, how much, and what running them again costs.

Views take none: who reads them reads what they are views of. Elementwise operations and reductions are fused: their
values stay in registers unless another loop needs them. Large products are calls on whole arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graphad.analysis.cost import STEPS, VIEWS, letter_extents, node_flops, typical_sizes
from graphad.ir import sizes
from graphad.ir.graph import Graph, Node
from graphad.ir.types import TapeType, TensorType, TupleType
from graphad.ops.marks import SAVE
from graphad.plan.memory import Problem, Task

CALL_FROM = 4096  # multiplications from which a product is a call of its own
FASTER = 16  # operations of BLAS in the time of one in a loop over arrays
NEARLY = 0.88  # of the most bytes that wait
ALIASES = VIEWS | {"gather", "item"}
LOOPS = frozenset({"scan", "while_loop", "cond", "scan_adjoint", "while_adjoint", "unwind"})


@dataclass(frozen=True)
class GraphTasks:
    """The problem of a graph.

    Arguments:
        nodes: for each task its node; `flops`: its floating-point operations. The tasks' costs are estimates of time.
        task_of: for each node that is a task, its number.
        roots: for each other node the tasks whose values it shows.
    """

    graph: Graph
    problem: Problem
    nodes: tuple[int, ...]
    flops: tuple[int, ...]
    task_of: Mapping[int, int]
    roots: Mapping[int, tuple[int, ...]]


def graph_tasks(
    graph: Graph, values: Mapping[str, int] | None = None, bytes_per_element: int | None = None
) -> GraphTasks:
    """The tasks of a graph in the order of its nodes.

    Arguments:
        values: of named sizes; others are at their hints.
        bytes_per_element: of floats; None: as their dtypes say.
    """
    bound = typical_sizes(graph, values)
    called = {a for node in graph.nodes if _is_call(graph, node, bound) for a in node.args}
    outputs = set(graph.outputs.values())
    tasks: list[Task] = []
    task_of: dict[int, int] = {}
    roots: dict[int, tuple[int, ...]] = {}
    nodes: list[int] = []
    flops: list[int] = []
    moved: set[int] = set()
    for node_id, node in enumerate(graph.nodes):
        args = tuple(dict.fromkeys(t for a in node.args for t in ((task_of[a],) if a in task_of else roots[a])))
        if node.op in ALIASES and not _is_copy(graph, node_id, node, moved, called, tasks, task_of):
            roots[node_id] = args
            if node.op in ("transpose", "slice", "broadcast_to") or (node.args and node.args[0] in moved):
                moved.add(node_id)
            continue
        task_of[node_id] = len(tasks)
        nodes.append(node_id)
        size = value_bytes(node.type, bound, bytes_per_element)
        flops.append(sizes.evaluate(node_flops(graph, node_id), bound))
        called_for, kept = _is_call(graph, node, bound), node_id in outputs
        cost = -(-flops[-1] // FASTER) if called_for and node.op == "einsum" else flops[-1]
        states = _states(node, bound, bytes_per_element)
        tasks.append(Task(f"%{node_id} {node.op}", size, cost, args, not called_for, kept, states, _mark(node)))
    held = sum(value_bytes(graph.nodes[i].type, bound, bytes_per_element) for i in outputs if graph.nodes[i].type.rank)
    turn = _turn(tasks)
    return GraphTasks(graph, Problem(tuple(tasks), turn, held), tuple(nodes), tuple(flops), task_of, roots)


def _is_call(graph: Graph, node: Node, bound: Mapping[str, int]) -> bool:
    if node.op != "einsum":
        return node.op in LOOPS
    types = tuple(graph.nodes[a].type for a in node.args)
    extents = [sizes.evaluate(e, bound) for e in letter_extents(node, types).values()]
    return int(np.prod(extents)) >= CALL_FROM


def _is_copy(
    graph: Graph,
    node_id: int,
    node: Node,
    moved: set[int],
    called: set[int],
    tasks: list[Task],
    task_of: Mapping[int, int],
) -> bool:
    """Whether a view has to be copied: merged axes of a transposed array, a product's result for another product."""
    if node.op == "reshape":
        wide = [len([e for e in shape if e != 1]) for shape in (graph.nodes[node.args[0]].type.shape, node.type.shape)]
        return wide[1] < wide[0] and node.args[0] in moved
    if node.op == "transpose" and node_id in called and node.type.rank > 2:
        base = node.args[0]
        while graph.nodes[base].op == "reshape" and base not in task_of:
            base = graph.nodes[base].args[0]
        return base in task_of and not tasks[task_of[base]].fused
    return False


def value_bytes(kind: TensorType, bound: Mapping[str, int], bytes_per_element: int | None = None) -> int:
    """The bytes of a value at given sizes; `bytes_per_element` as for `graph_tasks`."""
    if isinstance(kind, TupleType):
        return sum(value_bytes(item, bound, bytes_per_element) for item in kind.items)
    if isinstance(kind, TapeType):
        return STEPS * value_bytes(kind.record, bound, bytes_per_element)
    dtype = np.dtype(kind.dtype)
    width = bytes_per_element if bytes_per_element and dtype.kind == "f" else dtype.itemsize
    return sizes.evaluate(kind.elements, bound) * width


def _states(node: Node, bound: Mapping[str, int], bytes_per_element: int | None) -> int:
    """The bytes of the states that the sweep of a loop stores while it runs."""
    if node.op != "scan_adjoint" or node.param("schedule") is None:
        return 0
    steps, (kind, *count) = sizes.evaluate(node.param("length"), bound), node.param("schedule")
    states = steps if not count else count[0] if kind == "binomial" else -(-steps // count[0]) + count[0]
    return states_bytes(node, states, bound, bytes_per_element)


def states_bytes(node: Node, count: int, bound: Mapping[str, int], bytes_per_element: int | None = None) -> int:
    """The bytes in which a sweep stores so many states of its loop: their carries, and the steps they belong to."""
    return count * (state_bytes(node, bound, bytes_per_element) + np.dtype(np.int64).itemsize)


def state_bytes(node: Node, bound: Mapping[str, int], bytes_per_element: int | None = None) -> int:
    """The bytes of all carries of a sweep's loop."""
    body: Graph = node.param("body")
    carries = list(body.inputs.values())[: node.param("carries")]
    return sum(value_bytes(body.nodes[i].type, bound, bytes_per_element) for i in carries)


def by_level(graph: Graph, values: Mapping[str, int] | None = None) -> Graph:
    """The graph with its nodes in the order of their levels: as late as their first readers allow.

    What is derived of a derivative stands behind all of it in the order of ids, and beside its operands in this one.
    What makes less of its operands, such as the gradient of weights, and what is made of such values only, comes as
    soon as they are there: then the operands need not wait.

    Arguments:
        values: of named sizes; others are at their hints.
    """
    bound = typical_sizes(graph, values)
    depth = [0] * len(graph.nodes)
    for node_id, node in enumerate(graph.nodes):
        depth[node_id] = 1 + max((depth[a] for a in node.args), default=-1)
    level = list(depth)
    latest: list[int | None] = [None] * len(graph.nodes)
    for node_id in range(len(graph.nodes) - 1, -1, -1):
        known = latest[node_id]
        if known is not None:
            level[node_id] = known - 1
        for arg in graph.nodes[node_id].args:
            before = latest[arg]
            latest[arg] = level[node_id] if before is None else min(before, level[node_id])
    bytes_of = [value_bytes(node.type, bound) for node in graph.nodes]
    soon: set[int] = set()
    for node_id, node in enumerate(graph.nodes):
        if not node.args:
            level[node_id] = 0
        made = [a for a in node.args if graph.nodes[a].args]
        if made and (soon.issuperset(made) or bytes_of[node_id] < min(bytes_of[a] for a in made)):
            soon.add(node_id)
            level[node_id] = 1 + max(level[a] for a in made)
    order = sorted(range(len(graph.nodes)), key=lambda k: (level[k], k))
    new = Graph(graph.name)
    new.hints, new.requirements = dict(graph.hints), list(graph.requirements)
    place: dict[int, int] = {}
    for old in order:
        node = graph.nodes[old]
        place[old] = len(new.nodes)
        new.nodes.append(node.on(tuple(place[a] for a in node.args)))
    new.inputs = {name: place[i] for name, i in graph.inputs.items()}
    new.outputs = {name: place[i] for name, i in graph.outputs.items()}
    return new


def _mark(node: Node) -> str:
    """What the user said about a node."""
    if node.region >= 0:
        return ""
    return "save" if node.region == SAVE else "recompute"


def marked(graph: Graph) -> bool:
    """Whether the user marked a node."""
    return any(node.region < 0 for node in graph.nodes)


def _turn(tasks: Sequence[Task]) -> int:
    """The place at which the most bytes wait for later tasks: the end of the forward part."""
    return int(np.argmax(_waiting(tasks)))


def other_turns(problem: Problem) -> tuple[int, ...]:
    """Further places that may end the forward part, where it is not sure which does, as in derivatives of derivatives.

    These are the first place at which nearly the most bytes wait and fewer wait on both sides, and the next such place
    behind the one at which the most wait.
    """
    waiting = _waiting(problem.tasks)[: len(problem.tasks)]
    inner = waiting[1:-1]
    peaks = 1 + np.nonzero((inner >= waiting[:-2]) & (inner >= waiting[2:]) & (inner >= NEARLY * waiting.max()))[0]
    return tuple(dict.fromkeys([*peaks[peaks < problem.turn][:1].tolist(), *peaks[peaks > problem.turn][:1].tolist()]))


def _waiting(tasks: Sequence[Task]) -> NDArray[np.int64]:
    """At each place the bytes of values that later tasks read, results excepted."""
    change = np.zeros(len(tasks) + 2, np.int64)
    last = list(range(len(tasks)))
    for number, task in enumerate(tasks):
        for arg in task.args:
            last[arg] = number
    for number, task in enumerate(tasks):
        if not task.kept:
            change[number + 1] += task.bytes
            change[last[number] + 1] -= task.bytes
    return np.cumsum(change)
