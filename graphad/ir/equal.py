"""Structural equality and a hash that is the same in every process.

Both look at one canonical numbering: the inputs in their order, then the nodes that outputs need, each after its
operands, found from the outputs. The order in which independent nodes were built, nodes that nothing needs, size
hints and users' lines do not count; sharing does: `x*x` computed once differs from `x*x` computed twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from zlib import crc32

from graphad.ir.bodies import map_bodies
from graphad.ir.constant import Constant
from graphad.ir.graph import Frozen, Graph, keep
from graphad.ir.text import RELATIONS
from graphad.ir.types import TensorType
from graphad.ir.values import write_params


def digest(graph: Graph) -> str:
    """The sha256, in hexadecimal, of a graph's structure.

    >>> def square(name):
    ...     g = Graph(name)
    ...     x = g.input("x", shape="n")
    ...     g.output("y", x * x)
    ...     return g
    >>> digest(square("f")) == digest(square("f")), digest(square("f")) == digest(square("g"))
    (True, False)
    """
    sha = hashlib.sha256()
    for line in canonical_lines(graph):
        sha.update(line.encode())
        sha.update(b"\n")
    return sha.hexdigest()


def quick_hash(graph: Graph) -> int:
    """A number that equal graphs share: of names and operations alone, so much cheaper than the digest.

    It is the same in every process, unlike Python's own hash of text.
    """
    live = sorted(graph.nodes[i].op for i in keep(graph, graph.outputs.values()))
    return crc32("\n".join([graph.name, *graph.inputs, "", *graph.outputs, "", *live]).encode())


def equal(left: Graph, right: Graph) -> bool:
    """Whether two graphs have the same name, inputs, outputs, requirements and computations."""
    if left is right:
        return True
    if left.name != right.name or list(left.inputs) != list(right.inputs) or list(left.outputs) != list(right.outputs):
        return False
    same = left.nodes == right.nodes and left.requirements == right.requirements
    if same and left.inputs == right.inputs and left.outputs == right.outputs:
        return True
    if left.frozen and right.frozen:
        return left.digest == right.digest  # kept for the next comparison
    a, b = canonical_lines(left), canonical_lines(right)
    return all(x == y for x, y in zip(a, b, strict=False)) and next(a, None) is None and next(b, None) is None


def canonical_order(graph: Graph) -> list[int]:
    """Inputs, then needed nodes in postorder from the outputs, operands from left to right."""
    placed: dict[int, None] = dict.fromkeys(graph.inputs.values())
    for target in graph.outputs.values():
        stack = [target]
        while stack:
            node_id = stack[-1]
            if node_id in placed:
                stack.pop()
                continue
            waiting = [a for a in reversed(graph.nodes[node_id].args) if a not in placed]
            if waiting:
                stack.extend(waiting)
                continue
            placed[node_id] = None
            stack.pop()
    return list(placed)


def canonical_lines(graph: Graph) -> Iterator[str]:
    """The serialisation that `digest` hashes, line by line."""
    yield f"graph {graph.name}"
    requirements = {f"require {r.left} {RELATIONS[r.kind]} {r.right}" for r in graph.requirements}
    yield from sorted(requirements)
    number: dict[int, int] = {}
    texts: dict[Frozen, str] = {}
    types: dict[TensorType, str] = {}
    for node_id in canonical_order(graph):
        node = graph.nodes[node_id]
        number[node_id] = len(number)
        if (params := texts.get(node.params)) is None:
            params = texts[node.params] = _params(node.params)
        if (kind := types.get(node.type)) is None:
            kind = types[node.type] = str(node.type)
        yield f"{node.op} {[number[a] for a in node.args]}{params} {kind} @{node.region}"
    for name, target in graph.outputs.items():
        yield f"output {name} {number[target]}"


def _params(params: Frozen) -> str:
    """Text of parameters, with constants and graphs by a hash."""
    if len(params) == 1 and isinstance(params[0][1], Constant):
        dtype, shape, data = params[0][1].key
        return f" {dtype}{list(shape)} {hashlib.sha256(data).hexdigest()}"
    return write_params(map_bodies(params, lambda body: body.digest))
