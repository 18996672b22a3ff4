"""Schedules for the reverse sweeps of a graph together, so that all of it keeps to so many bytes.

What "all" and "carries" store is live from the loop to its sweep, and so across the sweeps of later loops; the states
of a binomial schedule are live while their own sweep runs. Loops are taken in the order of their forward runs: for
every loop and every way to have decided the ones before, what is left at its sweep says how many states fit. Of two
ways of which one stores more and runs more, that one is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphad.ad.expand import stored_carries
from graphad.analysis.cost import body_flops
from graphad.ir import sizes
from graphad.ir.graph import Graph, Node
from graphad.ops.schedules import extra_steps
from graphad.plan.budget import SweepRecord
from graphad.plan.memory import simulate
from graphad.plan.sweeps import decided, schedule_text, step_flops, stored_nodes, stored_values
from graphad.plan.tasks import GraphTasks, graph_tasks, states_bytes, value_bytes

MOST = 256  # ways kept besides each other


class Storing(NamedTuple):
    """A schedule that stores something for every step: its bytes and its operations beyond those of "all", a step."""

    schedule: tuple[Any, ...]
    bytes: int
    extra: int


class Sweep(NamedTuple):
    """One sweep without a schedule of its own.

    Arguments:
        node: the `scan_adjoint`.
        first, last: the tasks between which something that is stored for every step is live.
        steps: of the loop.
        storing: the schedules that store something for every step.
        again: operations of an adjoint step that makes all that it reads again, beyond those with "all" stored.
        flops: floating-point operations of a step of the loop.
    """

    node: Node
    first: int
    last: int
    steps: int
    storing: tuple[Storing, ...]
    again: int
    flops: int

    def extra(self, schedule: tuple[Any, ...]) -> int:
        """The floating-point operations that run with a schedule beyond those with "all"."""
        if schedule[0] == "binomial":
            return self.steps * self.again + extra_steps(self.steps, schedule[1]) * self.flops
        return self.steps * next(one.extra for one in self.storing if one.schedule == schedule)


class Choice(NamedTuple):
    """A schedule for each open sweep, and the floating-point operations that run because of them."""

    schedules: tuple[tuple[Any, ...], ...]
    flops: int


class _Way(NamedTuple):
    """The sweeps up to one decided: bytes stored for every step, and the choice so far."""

    spans: tuple[int, ...]
    choice: Choice


def open_sweeps(graph: Graph) -> list[int]:
    """The `scan_adjoint` nodes for which nobody asked for a schedule and which need one, in order."""
    adjoints = [(i, node) for i, node in enumerate(graph.nodes) if node.op == "scan_adjoint"]
    return [i for i, node in adjoints if node.param("schedule") is None and stored_carries(node)]


class SweepChoices:
    """The choices for the open sweeps of a graph.

    Arguments:
        graph: with sweeps inside bodies decided; `runs` is it without the carries that nothing reads.
        bound: the named sizes.
        bytes_per_element: of floats; None: as their dtypes say.
    """

    def __init__(
        self, graph: Graph, runs: Graph, bound: Mapping[str, int], bytes_per_element: int | None = None
    ) -> None:
        self.bound, self.bytes_per_element = bound, bytes_per_element
        tasks = graph_tasks(runs, bound, bytes_per_element)
        self.base = np.array(simulate(tasks.problem, range(len(tasks.problem.tasks))).live, np.int64)
        pairs = zip(open_sweeps(graph), open_sweeps(runs), strict=True)
        self.sweeps = [self._sweep(tasks, i, graph.nodes[whole]) for whole, i in pairs]

    def _sweep(self, tasks: GraphTasks, node_id: int, whole: Node) -> Sweep:
        """A sweep as it runs, and as it is before it is reduced to that."""
        node = tasks.graph.nodes[node_id]
        carries = node.args[: node.param("carries")]
        last = tasks.task_of[node_id]
        loops = [
            tasks.task_of[i] for i, other in enumerate(tasks.graph.nodes[:node_id])
            if other.op == "scan" and set(carries) <= set(other.args) and other.param("length") == node.param("length")
        ]  # fmt: skip
        steps = max(1, sizes.evaluate(node.param("length"), self.bound))
        flops = sizes.evaluate(body_flops(node.param("body")), self.bound)
        least = step_flops(whole, stored_nodes(whole, self.bound), self.bound)
        again = step_flops(whole, (), self.bound) - least
        return Sweep(node, min(loops, default=last), last, steps, self._storing(whole, least), again, flops)

    def _storing(self, node: Node, least: int) -> tuple[Storing, ...]:
        """The schedules that store something for every step, without those that store and run more than another."""
        found = []
        for schedule in (("all",), *stored_values(node, self.bound), ("carries",)):
            stored = stored_nodes(node, self.bound, schedule)
            adjoint: Graph = node.param("adjoint")
            kept = sum(value_bytes(adjoint.nodes[i].type, self.bound, self.bytes_per_element) for i in stored)
            found.append(Storing(schedule, kept, step_flops(node, stored, self.bound) - least))
        ends = found[0], found[-1]
        return tuple(
            one for one in found
            if one in ends or not any(o.bytes <= one.bytes and o.extra <= one.extra for o in found if o is not one)
        )  # fmt: skip

    def default(self, limit: int, sure: Mapping[str, int]) -> Choice:
        """What is taken without a budget; arguments as for `graphad.plan.sweeps.decided`."""
        schedules = tuple(decided(sweep.node, self.bound, limit, sure) for sweep in self.sweeps)
        return Choice(schedules, sum(s.extra(schedule) for s, schedule in zip(self.sweeps, schedules, strict=True)))

    def least(self) -> Choice:
        """One state for every loop: nothing takes less."""
        flops = sum(sweep.extra(("binomial", 1)) for sweep in self.sweeps)
        return Choice((("binomial", 1),) * len(self.sweeps), flops)

    def within(self, limit: int, *, around: bool = True) -> Choice | None:
        """The choice with the fewest operations that keeps to a limit; None where none does.

        Arguments:
            limit: bytes.
            around: count what the rest of the graph has live besides; otherwise what sweeps store only.
        """
        base = self.base if around else np.zeros_like(self.base)
        order = sorted(range(len(self.sweeps)), key=lambda k: self.sweeps[k].first)
        ways = [_Way((), Choice((), 0))]
        for place in range(len(order)):
            ways = _front([way for one in ways for way in self._ways(one, order[: place + 1], base, limit)])
        possible = [way for way in ways if int(self._live(way, order, base).max(initial=0)) <= limit]
        if not possible:
            return None
        best = min(possible, key=lambda way: way.choice.flops).choice
        return Choice(tuple(best.schedules[order.index(k)] for k in range(len(order))), best.flops)

    def _live(self, way: _Way, order: Sequence[int], base: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The live bytes at each task, with what a way stores for every step."""
        live = base.copy()
        for k, count in zip(order, way.spans, strict=False):
            live[self.sweeps[k].first : self.sweeps[k].last + 1] += count
        return live

    def _ways(self, way: _Way, order: Sequence[int], base: np.ndarray[Any, Any], limit: int) -> list[_Way]:
        """A way with the last sweep of an order decided: all ways in which that fits."""
        sweep = self.sweeps[order[-1]]
        room = limit - int(self._live(way, order, base)[sweep.last])
        found = list[tuple[tuple[Any, ...], int]]()
        for one in sweep.storing:
            if sweep.steps * one.bytes <= room:
                found.append((one.schedule, sweep.steps * one.bytes))
        states = min(sweep.steps, room // states_bytes(sweep.node, 1, self.bound, self.bytes_per_element))
        if states >= 1:
            found.append((("binomial", states), 0))
        return [
            _Way((*way.spans, span), Choice((*way.choice.schedules, schedule),
                 way.choice.flops + sweep.extra(schedule)))
            for schedule, span in found
        ]  # fmt: skip

    def records(self, choice: Choice) -> tuple[SweepRecord, ...]:
        """What a choice comes to, for each sweep."""
        found = []
        for sweep, schedule in zip(self.sweeps, choice.schedules, strict=True):
            per_step = next((one.bytes for one in sweep.storing if one.schedule == schedule), None)
            stored = (
                states_bytes(sweep.node, schedule[1], self.bound, self.bytes_per_element)
                if per_step is None else sweep.steps * per_step
            )  # fmt: skip
            again, name = extra_of(sweep, schedule), sweep.node.param("body").name
            text = schedule_text(schedule)
            found.append(SweepRecord(name, schedule, text, sweep.steps, stored, again, sweep.extra(schedule)))
        return tuple(found)


def extra_of(sweep: Sweep, schedule: tuple[Any, ...]) -> int:
    """The steps that a schedule runs beyond those of the loop itself: for "carries" each step once.

    With "all" none do; with "values" only parts of them, which are counted as operations.
    """
    if schedule[0] == "binomial":
        return sweep.steps + extra_steps(sweep.steps, schedule[1])
    return sweep.steps if schedule == ("carries",) else 0


def _front(ways: Sequence[_Way]) -> list[_Way]:
    """The ways of which no other stores less for every step and runs less."""
    found: list[_Way] = []
    for way in sorted(ways, key=lambda one: (sum(one.spans), one.choice.flops)):
        if not found or way.choice.flops < found[-1].choice.flops:
            found.append(way)
    return found[-MOST:]
