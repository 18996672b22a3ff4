"""Nodes with bodies seen as slots: operands by position with their roles, and what each result needs.

An operand's position is that of the input that it becomes, in every body that has so many inputs; the predicate of a
branch stands before them and has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from graphad.ir.bodies import bodies, copy_nodes, input_like, needs_of
from graphad.ir.graph import Frozen, Graph, Node
from graphad.ir.variable import Variable
from passes.cse import COMMUTATIVE

ROLES = ("carry", "xs", "constant", "seed", "bar", "sum")


class Given(NamedTuple):
    """An operand that is kept: its old position, the node, and its role."""

    place: int
    node: int
    role: str = ""


def slots_of(node: Node) -> Slots:
    """The slots of a node with bodies."""
    params = dict(node.params)
    skipped = 1 if node.op == "cond" else 0
    return Slots(node.op, params, len(node.args) - skipped, skipped)


@dataclass(frozen=True)
class Slots:
    """What a node with bodies is made of.

    Arguments:
        op, params: of the node.
        count: the number of operands that are inputs of bodies.
        skipped: the number of operands in front of them.
    """

    op: str
    params: Mapping[str, Any]
    count: int
    skipped: int

    @property
    def is_sweep(self) -> bool:
        """Whether the node is a reverse sweep. Its loop is kept whole, so that it can be differentiated."""
        return "adjoint" in self.params

    @property
    def mergeable(self) -> bool:
        """Whether the node is a loop and no sweep."""
        return self.op in ("scan", "while_loop", "unwind")

    @property
    def carries(self) -> int:
        """The number of carries."""
        return int(self.params.get("carries", 0))

    @property
    def main(self) -> Graph:
        """The body whose outputs are the results."""
        return self.params["adjoint" if self.is_sweep else "on_true" if self.op == "cond" else "body"]  # type: ignore[no-any-return]

    @cached_property
    def results(self) -> list[str]:
        """The names of the results in the main body."""
        return list(self.main.outputs)

    @cached_property
    def loop_inputs(self) -> int:
        """The number of operands that are the loop's own, without seeds."""
        return len(self.params["body"].inputs) if self.is_sweep else self.count

    def role(self, place: int) -> str:
        """What an operand is."""
        if place < self.carries:
            return "carry"
        if place < self.carries + self.params.get("xs", 0):
            return "xs"
        if place < self.loop_inputs:
            return "constant"
        first = self.loop_inputs + len(self.params["wrt_carries"])
        if place < first:
            return "seed"
        return "bar" if place < first + len(self.params.get("of_ys", ())) else "sum"

    def order(self, one: Given) -> tuple[int, int]:
        """Where a kept operand goes."""
        return ROLES.index(one.role), one.place

    # ------------------------------------------------------------------ what is needed

    @cached_property
    def needs(self) -> list[set[int]]:
        """For each result the positions of the operands that it needs in one step, whatever their types."""
        found = needs_of(self.main)
        if self.op == "cond":
            return [a | b for a, b in zip(found, needs_of(self.params["on_false"]), strict=True)]
        return found

    def fed_back(self, result: int) -> int | None:
        """The position of the operand that a result becomes in the next step."""
        if self.mergeable:
            return result if result < self.carries else None
        if not self.is_sweep:
            return None
        first, middle, last = self._groups
        if result < first:
            return self.loop_inputs + result
        return self.count - last + result - first - middle if result >= first + middle else None

    @property
    def _groups(self) -> tuple[int, int, int]:
        """The numbers of a sweep's results: cotangents of carries, of stacked operands, sums."""
        named = ("wrt_carries", "wrt_xs", "wrt_constants")
        first, middle, last = (len(self.params.get(name, ())) for name in named)
        return first, middle, last

    def unchanged_carries(self) -> list[int]:
        """The carries of a loop that every step leaves as they are."""
        if not self.mergeable:
            return []
        inputs, outputs = list(self.main.inputs.values()), list(self.main.outputs.values())
        return [k for k in range(self.carries) if inputs[k] == outputs[k]]

    def live_results(self, used: Sequence[int], invariant: set[int]) -> list[int]:
        """The results that are used, and those that feed steps that make them."""
        live = set(used)
        feeds = {place: k for k in range(len(self.results)) if (place := self.fed_back(k)) is not None}
        needed = set().union(*[self.needs[k] for k in live])
        if "test" in self.params and not self.is_sweep:
            needed |= needs_of(self.params["test"])[0]
        while more := {feeds[p] for p in needed if p in feeds} - live - invariant:
            live |= more
            needed |= set().union(*[self.needs[k] for k in more])
        return sorted(live)

    def live_operands(self, results: Sequence[int]) -> set[int]:
        """The operands that the bodies need for these results."""
        live = set().union(*[self.needs[k] for k in results])
        live |= {place for k in results if (place := self.fed_back(k)) is not None}
        if "test" in self.params:
            live |= needs_of(self.params["test"])[0]
        if self.op == "unwind":
            live.add(self.carries)  # a tape tells the number of steps
        if self.is_sweep:
            live |= set(range(self.carries)).union(*needs_of(self.params["body"])) | self.differentiated(results)
        return live

    def differentiated(self, results: Sequence[int]) -> set[int]:
        """The stacked operands and constants of a sweep whose cotangents are among some results."""
        if not self.is_sweep:
            return set()
        first = self._groups[0]
        start = self.carries + self.params.get("xs", 0)
        places = [self.carries + k for k in self.params.get("wrt_xs", ())]
        places += [start + k for k in self.params["wrt_constants"]]
        return {places[k - first] for k in results if k >= first}

    def equal_carries(self, given: Sequence[Given], live: Sequence[int]) -> dict[int, int]:
        """Carries that are always equal to an earlier one, and that one: a partition refined until it is stable."""
        carries = [k for k in live if k < self.carries]
        groups = {k: given[k].node for k in carries}
        if len(set(groups.values())) == len(carries):
            return {}
        inputs, outputs = list(self.main.inputs.values()), list(self.main.outputs.values())
        outside = {inputs[k]: (self.role(k), given[k].node) for k in range(self.carries, self.count)}
        while True:
            numbers = value_numbers(self.main, {**outside, **{inputs[k]: groups[k] for k in carries}})
            finer = {k: (groups[k], numbers[outputs[k]]) for k in carries}
            names = {key: n for n, key in enumerate(dict.fromkeys(finer.values()))}
            if len(names) == len(set(groups.values())):
                break
            groups = {k: names[finer[k]] for k in carries}
        first: dict[int, int] = {}
        return {k: one for k in carries if (one := first.setdefault(groups[k], k)) != k}

    def equal_results(self, live: Sequence[int]) -> dict[int, int]:
        """What a loop stacks or puts on a tape twice, and where it does so first."""
        if not self.mergeable:
            return {}
        first: dict[int, int] = {}
        outputs = list(self.main.outputs.values())
        stacked = [k for k in live if k >= self.carries]
        return {k: one for k in stacked if (one := first.setdefault(outputs[k], k)) != k}

    # ------------------------------------------------------------------ the node made again

    def rebuilt(self, kept: Sequence[Given], stands: Mapping[int, Any], results: Sequence[int]) -> Frozen:
        """The parameters for kept operands and results.

        Arguments:
            stands: for operands that are dropped but used the position of the one that replaces them, or the nodes
                that make their value.
        """
        params = dict(self.params)
        chosen = [self.results[k] for k in results]
        for name, body in bodies(tuple(self.params.items())):
            wanted = chosen if body is self.main else list(body.outputs)
            if self.op == "cond":
                wanted = [list(body.outputs)[k] for k in results]
            places = [one.place for one in kept if one.place < len(body.inputs)]
            params[name] = rebuilt_body(body, places, stands, wanted)
        roles = [one.role for one in kept]
        for name, role in (("carries", "carry"), ("xs", "xs")):
            if name in params:
                params[name] = roles.count(role)
        if self.is_sweep:
            self._select(params, kept, results)
        return tuple(sorted(params.items()))

    def _select(self, params: dict[str, Any], kept: Sequence[Given], results: Sequence[int]) -> None:
        """Adapt the tuples that say which parts of the loop a sweep concerns."""
        first, middle, _ = self._groups
        old_constants = [one.place for one in kept if one.role == "constant"]
        old_xs = [one.place for one in kept if one.role == "xs"]
        start = self.carries + self.params.get("xs", 0)
        params["wrt_carries"] = tuple([self.params["wrt_carries"][k] for k in results if k < first])
        constants = [self.params["wrt_constants"][k - first - middle] for k in results if k >= first + middle]
        params["wrt_constants"] = tuple([old_constants.index(start + k) for k in constants])
        if "of_ys" in params:
            bars = self.loop_inputs + first
            params["of_ys"] = tuple([self.params["of_ys"][one.place - bars] for one in kept if one.role == "bar"])
            chosen = [self.params["wrt_xs"][k - first] for k in results if first <= k < first + middle]
            params["wrt_xs"] = tuple([old_xs.index(self.carries + k) for k in chosen])


def value_numbers(body: Graph, groups: Mapping[int, Any]) -> list[int]:
    """Numbers of nodes, equal where the values are if inputs of one group are equal."""
    return _numbers(body, {node_id: ("group", group) for node_id, group in groups.items()}, {})


def _numbers(body: Graph, labels: Mapping[int, Any], table: dict[Any, int]) -> list[int]:
    """The numbers of a body's nodes by a table of keys, those of labelled inputs by their labels."""
    numbers: list[int] = []
    loops: dict[int, tuple[Slots, list[int]]] = {}
    for node_id, node in enumerate(body.nodes):
        key: Any = None
        if node_id in labels:
            key = labels[node_id]
        elif node.op in ("input", "placeholder"):
            key = ("alone", node_id)
        elif node.op == "item":
            loop = body.nodes[node.args[0]]
            if loop.op == "scan":
                slots, outputs = loops.get(node.args[0]) or (slots_of(loop), _outputs(loop, numbers, table))
                loops[node.args[0]] = slots, outputs
                key = _loop_result(loop, slots, outputs, node.param("index"), numbers)
        if key is None:
            args = [numbers[a] for a in node.args]
            key = (node.op, tuple(sorted(args) if node.op in COMMUTATIVE else args), node.params, node.region)
        numbers.append(table.setdefault(key, len(table)))
    return numbers


def _outputs(scan: Node, numbers: Sequence[int], table: dict[Any, int]) -> list[int]:
    """The numbers of what a step makes, in which carries are known by their first values."""
    slots = slots_of(scan)
    inputs = list(slots.main.inputs.values())
    labels = {inputs[k]: (slots.role(k), numbers[a]) for k, a in enumerate(scan.args)}
    inner = _numbers(slots.main, labels, table)
    return [inner[i] for i in slots.main.outputs.values()]


def _loop_result(scan: Node, slots: Slots, outputs: Sequence[int], index: int, numbers: Sequence[int]) -> Any:
    """What one result of a scan is made of: loops that differ in others may have it in common. None where unknown.

    Carries are known by their first values, which must differ, and by what a step makes of them.
    """
    live = slots.live_results([index], set())
    starts = {k: numbers[scan.args[k]] for k in live if k < slots.carries}
    if len(set(starts.values())) < len(starts):
        return None
    steps = tuple(sorted((start, outputs[k]) for k, start in starts.items()))
    result = ("carry", starts[index]) if index in starts else ("stacked", outputs[index])
    return ("scan", scan.param("length"), scan.param("reverse"), steps, result, scan.region)


def rebuilt_body(body: Graph, places: Sequence[int], stands: Mapping[int, Any], outputs: Sequence[str]) -> Graph:
    """A body with some of its inputs in a new order and some of its outputs.

    Arguments:
        places: the positions of the inputs that stay.
        stands: for others that are used the position of the one that replaces them, or the nodes that make the value.
    """
    new = Graph(body.name)
    named = list(body.inputs.items())
    moved: dict[int, int] = {}
    for place in places:
        name, node_id = named[place]
        moved[node_id] = input_like(new, name, body, node_id).id
    for place, by in stands.items():
        if place < len(named):
            moved[named[place][1]] = _made(new, by) if isinstance(by, tuple) else moved[named[by][1]]
    copy_nodes(body, new, moved, [body.outputs[name] for name in outputs])
    for name in outputs:
        new.output(name, Variable(new, moved[body.outputs[name]]))
    new.requirements = list(dict.fromkeys([*body.requirements, *new.requirements]))
    return new.freeze()


def _made(new: Graph, chain: tuple[Node, ...]) -> int:
    """The last of some nodes, each on the next one."""
    made: tuple[int, ...] = ()
    for node in reversed(chain):
        constant = node.op == "const"
        made = (new.const(node.param("value").array).id if constant else new.add(node.op, made, node.params),)
    return made[0]
