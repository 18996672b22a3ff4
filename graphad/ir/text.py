"""A graph as text, and back: one line per input, node, output, size hint and size requirement.

Nodes are named by id (`%3`), inputs by name. Everything but the users' source lines survives the round trip, also
nodes that no output needs. Constants of many elements are written as base64.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import NamedTuple

from graphad.errors import GraphadError, TextError, describe
from graphad.ir.bodies import bodies, map_bodies
from graphad.ir.graph import Frozen, Graph, Node
from graphad.ir.sizes import Size
from graphad.ir.types import Requirement, TensorType
from graphad.ir.values import Body, read_constant, read_params, read_type, write_constant, write_params

HEAD = re.compile(r"graph (\w+)$")
LINE = re.compile(r"(%\d+|[^\W\d]\w*): ([\w:]+\[.*?\]|\(.*?\)) = (\w+)(.*)$")
OUTPUT = re.compile(r"output (\w+) = (%\d+|\w+)$")
HINT = re.compile(r"hint (\w+) = (-?\d+)$")
REQUIRE = re.compile(r"require (.+?) (==|<=) (.+?): (.+)$")
TAIL = re.compile(r"(?P<args>(?: (?:%\d+|[^\W\d]\w*))*)(?: \{(?P<params>.*)\})?(?: @(?P<region>-?\d+))?$", re.DOTALL)
BODIES = re.compile(r"=graph\(\w+\)")
RELATIONS = {"equal": "==", "within": "<="}


def to_text(graph: Graph) -> str:
    """The graph as text that `from_text` reads.

    >>> g = Graph("line")
    >>> x = g.input("x", shape="n", hint=100)
    >>> g.output("y", 2.0 * x)
    >>> print(to_text(g))
    graph line
      hint n = 100
      x: float64[n] = input
      %1: float64[] = const 2.0
      %2: float64[n] = mul %1 x
      output y = %2
    """
    lines = [f"hint {name} = {value}" for name, value in graph.hints.items()]
    lines += dict.fromkeys(requirement_text(r) for r in graph.requirements)
    for node_id, node in enumerate(graph.nodes):
        lines.append(node_text(graph, node_id))
        lines += [_indented(to_text(body)) for _, body in bodies(node.params)]
    lines += [f"output {name} = {label(graph, i)}" for name, i in graph.outputs.items()]
    return "\n  ".join([f"graph {graph.name}", *lines])


def _indented(text: str) -> str:
    """Text of a body, below the line of its node."""
    return "  " + text.replace("\n", "\n    ")


def requirement_text(requirement: Requirement) -> str:
    """A requirement as a line of text."""
    relation = RELATIONS[requirement.kind]
    return f"require {requirement.left} {relation} {requirement.right}: {requirement.reason!r}"


def label(graph: Graph, node_id: int) -> str:
    """How text names a node: an input by its name, others by id."""
    if not 0 <= node_id < len(graph.nodes):
        return f"%{node_id}"
    node = graph.nodes[node_id]
    return str(node.param("name")) if node.op == "input" else f"%{node_id}"


def node_text(graph: Graph, node_id: int) -> str:
    """One node as a line of text, such as `%3: float64[] = sum %2 {axes=(0,)}`; bodies are only named."""
    node = graph.nodes[node_id]
    region = f" @{node.region}" if node.region else ""
    head = f"{label(graph, node_id)}: {node.type} = {node.op}"
    if node.op == "input":
        return head
    if node.op == "const":
        return f"{head} {write_constant(node.param('value'))}{region}"
    return head + "".join(f" {label(graph, a)}" for a in node.args) + _params(node) + region


def _params(node: Node) -> str:
    return write_params(map_bodies(node.params, lambda body: Body(body.name)))


def from_text(text: str) -> Graph:
    """The graph that `to_text` wrote. Types are inferred again and compared with those of the text.

    Raises `TextError` with the number of the line that can not be read.

    >>> g = from_text('''graph cube
    ...   x: float64[n] = input
    ...   %1: float64[n] = square x
    ...   %2: float64[n] = mul x %1
    ...   output y = %2''')
    >>> g
    <graph cube(x: float64[n]) -> y; 3 nodes>
    """
    return _read_graph(
        [Line(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()], 1
    )


class Line(NamedTuple):
    """A line of the text that is read, with its number."""

    number: int
    text: str

    @property
    def indent(self) -> int:
        """The number of blanks in front."""
        return len(self.text) - len(self.text.lstrip())


def _read_graph(lines: Sequence[Line], first: int) -> Graph:
    head = HEAD.match(lines[0].text.strip()) if lines else None
    if head is None:
        number = lines[0].number if lines else first
        raise TextError(describe(f"line {number}: the text is no graph", expected="`graph NAME` on the first line"))
    graph = Graph(head[1])
    ids: dict[str, int] = {}
    requirements: list[Requirement] = []
    place = 1
    while place < len(lines):
        line = lines[place]
        place += 1
        end = place
        while BODIES.search(line.text) and end < len(lines) and lines[end].indent > line.indent:
            end += 1
        below = _read_bodies(lines[place:end], line.number + 1)
        place = end
        try:
            _read_line(graph, ids, requirements, line.text.strip(), below)
        except GraphadError as error:
            raise TextError(describe(f"line {line.number}: {error}", got=f"`{line.text.strip()}`")) from error
    graph.requirements = requirements
    return graph


def _read_bodies(lines: Sequence[Line], first: int) -> list[Graph]:
    """The graphs written below the line of a node."""
    if not lines:
        return []
    heads = [k for k, line in enumerate(lines) if line.indent == lines[0].indent]
    return [_read_graph(lines[k:end], first).freeze() for k, end in zip(heads, [*heads[1:], len(lines)], strict=True)]


def _read_line(
    graph: Graph, ids: dict[str, int], requirements: list[Requirement], line: str, below: Sequence[Graph]
) -> None:
    if found := LINE.match(line):
        name, kind, op, rest = found.groups()
        if name in ids:
            raise TextError(f"`{name}` is defined twice")
        ids[name] = _read_node(graph, ids, name, read_type(kind), op, rest, below)
    elif found := OUTPUT.match(line):
        graph.output(found[1], graph.variable(_known(ids, found[2])))
    elif found := HINT.match(line):
        graph.hints[found[1]] = int(found[2])
    elif found := REQUIRE.match(line):
        kind = "equal" if found[2] == "==" else "within"
        reason = _reason(found[4])
        requirements.append(Requirement(kind, Size.parse(found[1]), Size.parse(found[3]), reason, None))
    else:
        raise TextError("not a line of a graph")


def _reason(text: str) -> str:
    try:
        return str(ast.literal_eval(text))
    except (SyntaxError, ValueError) as error:
        raise TextError(f"the reason {text} is no quoted text") from error


def _read_node(
    graph: Graph, ids: dict[str, int], name: str, kind: TensorType, op: str, rest: str, below: Sequence[Graph]
) -> int:
    if op == "input":
        return graph.input(name, kind.shape, kind.dtype).id
    if op == "const":
        return _read_const(graph, kind, rest.strip())
    tail = TAIL.match(rest)
    if tail is None:
        raise TextError(f"can not read the operands of `{op}`")
    args = tuple(_known(ids, a) for a in tail["args"].split())
    params = _with_bodies(read_params(tail["params"]) if tail["params"] else (), below)
    node_id = graph.add(op, args, params, int(tail["region"] or 0))
    if graph.nodes[node_id].type != kind:
        raise TextError(f"`{op}` gives {graph.nodes[node_id].type}, not {kind}")
    return node_id


def _with_bodies(params: Frozen, below: Sequence[Graph]) -> Frozen:
    """Parameters with the graphs that they name."""
    named = [value.name for _, value in params if isinstance(value, Body)]
    if named != [body.name for body in below]:
        raise TextError(f"the graphs {', '.join(named)} are expected below, not {', '.join(b.name for b in below)}")
    found = iter(below)
    return tuple([(name, next(found) if isinstance(value, Body) else value) for name, value in params])


def _read_const(graph: Graph, kind: TensorType, text: str) -> int:
    value, _, region = text.partition(" @")
    constant = read_constant(value, kind)
    # not `graph.const`, which would merge two equal constants of the text
    graph.nodes.append(Node("const", (), (("value", constant),), kind, None, int(region or 0)))
    graph._constants.setdefault(constant, len(graph.nodes) - 1)
    return len(graph.nodes) - 1


def _known(ids: dict[str, int], name: str) -> int:
    if name not in ids:
        raise TextError(f"`{name}` is not defined above")
    return ids[name]
