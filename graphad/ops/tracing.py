"""Functions turned into bodies: called once with variables of a new graph, checked, and closed.

Variables from outside that a function uses become constants of the loop by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from keyword import iskeyword
from typing import Any

import numpy as np

from graphad.errors import ArgumentError, DtypeError, ShapeError, describe
from graphad.ir.bodies import with_inputs
from graphad.ir.graph import Graph
from graphad.ir.lifting import OpenBody, innermost
from graphad.ir.sizes import Size
from graphad.ir.types import TensorType, promote, scalar_dtype
from graphad.ir.variable import Variable, common_graph
from graphad.ops.build import is_number
from graphad.ops.source import extent_value
from graphad.ops.trees import Structure, flatten, same_structure

Argument = tuple[str, Structure, Sequence[TensorType]]


class Traced:
    """A user's function turned into a body: called once, with variables of a new graph.

    Arguments:
        purpose: what the body is of, for messages.
        fn: the function.
        outer: the graph around.
        arguments: per argument of the function a prefix for names, the structure, and the types of its leaves.
        default: the name of the body where the function has none.
    """

    def __init__(
        self,
        purpose: str,
        fn: Callable[..., Any],
        outer: Graph,
        arguments: Sequence[Argument],
        default: str = "body",
    ) -> None:
        name = getattr(fn, "__name__", "")
        self.body = OpenBody(name if name.isidentifier() and not iskeyword(name) else default, outer, purpose)
        self.outer = outer
        self.source = outer._user_source()
        given: list[Any] = []
        for prefix, structure, kinds in arguments:
            named = zip(structure.paths(prefix), kinds, strict=True)
            leaves = [self.body.input(path, kind.shape, kind.dtype) for path, kind in named]
            given.append(structure.build(iter(leaves)))
        self.declared = dict(self.body.inputs)
        with self.body.open():
            self.result = fn(*given)

    def variables(self, places: Sequence[str], leaves: Sequence[Any], dtypes: Sequence[str | None]) -> list[Variable]:
        """The leaves of a result, at some places in it, as variables of the body; numbers take the dtypes given."""
        return [
            self._variable(place, leaf, dtype) for place, leaf, dtype in zip(places, leaves, dtypes, strict=True)
        ]

    def _variable(self, place: str, leaf: Any, dtype: str | None) -> Variable:
        if isinstance(leaf, (Variable, bool, int, float, np.ndarray, np.generic, Size)):
            return as_variable(self.body, leaf, dtype)
        raise ArgumentError(
            describe(
                f"`{self.body.purpose}`: `{place}`, a result of `{self.body.name}`, is no variable",
                expected="variables and numbers, or tuples and dictionaries of them",
                got=type(leaf).__name__,
                source=self.source,
            )
        )

    def close(self, results: Mapping[str, Variable]) -> None:
        """Name the results; nothing is added to the body any more."""
        for name, result in results.items():
            self.body.output(name, result)
        self.body.close()

    def frozen(self, lifted: Mapping[str, Variable]) -> Graph:
        """The body, its inputs those of the function and then what it and others use from outside, by name."""
        kinds = {name: self.body.nodes[i].type for name, i in self.declared.items()}
        own = {variable.id: name for name, variable in self.body.lifted.items()}
        names = {name: own[v.id] for name, v in lifted.items() if v.id in own}
        kept = dict(zip(kinds, kinds, strict=True))
        return with_inputs(self.body, {**kinds, **{n: v.type for n, v in lifted.items()}}, {**kept, **names})


def lifted_together(*all_traced: Traced) -> dict[str, Variable]:
    """What several bodies use from outside, once each, by names that none of them uses for something else."""
    found: dict[str, Variable] = {}
    taken = {name for traced in all_traced for name in traced.declared}
    for variable in {v.id: v for traced in all_traced for v in traced.body.lifted.values()}.values():
        wanted = next(n for t in all_traced for n, v in t.body.lifted.items() if v.id == variable.id)
        name, number = wanted, 1
        while name in taken:
            number += 1
            name = f"{wanted}_{number}"
        taken.add(name)
        found[name] = variable
    return found


def as_variable(graph: Graph, value: Any, dtype: str | None = None) -> Variable:
    """A variable of a graph from a variable, a number, a size or an array; numbers take the dtype where they can."""
    if isinstance(value, Variable):
        return graph.owned(value)
    if isinstance(value, Size):
        return extent_value(graph, value)
    return graph.const(value, scalar_dtype(value, dtype) if is_number(value) else None)


def graph_of(purpose: str, values: Sequence[Any], graph: Graph | None) -> Graph:
    """The graph of the variables among some values, or the one given; in a function that makes a body, that body.

    There the function of the new loop may use what the body has, also where the loop's operands come from outside.
    """
    if graph is not None:
        return innermost(graph)
    if not any(isinstance(v, Variable) for v in values):
        raise ArgumentError(
            describe(
                f"`{purpose}`: no variable among the operands says in which graph the loop is",
                fix=f"pass `graph=`, or make the start a variable: `{purpose}(..., g.const(0.0))`",
            )
        )
    return innermost(common_graph(tuple(values)))


class Carried:
    """The state of a loop: what it starts with, and a body that gives it back with the same types.

    Arguments:
        purpose: "scan", "fori_loop" or "while_loop", for messages.
        target: the graph in which the loop is made.
        init: the first state.
        places: how the user writes its leaves, if not as parts of `carry`.
    """

    def __init__(self, purpose: str, target: Graph, init: Any, places: Sequence[str] | None = None) -> None:
        leaves, self.structure = flatten(init)
        self.places = places or self.structure.places("carry")
        self.purpose, self.target = purpose, target
        self.start = [as_variable(target, leaf) for leaf in leaves]
        self.weak = [is_number(leaf) for leaf in leaves]
        self.names = self.structure.paths("carry")
        self.outputs: dict[str, Variable] = {}

    @property
    def argument(self) -> Argument:
        """The state as an argument of a body."""
        return ("carry", self.structure, [v.type for v in self.start])

    def trace(
        self, fn: Callable[..., Any], rest: Sequence[Argument], state_of: Callable[[Traced], Any] = lambda t: t.result
    ) -> Traced:
        """The body of `fn(carry, *rest)`, whose new state `state_of` takes from the result.

        Numbers at the start are given the dtype that comes back, as in `0` for a sum of floats.
        """
        traced, new = self._once(fn, rest, state_of)
        if self._promoted(new):
            traced, new = self._once(fn, rest, state_of)
        for place, old, one in zip(self.places, self.start, new, strict=True):
            if one.type != old.type:
                self._refuse(traced, place, old.type, one.type)
        self.outputs = {f"{name}_out": one for name, one in zip(self.names, new, strict=True)}
        return traced

    def _once(
        self, fn: Callable[..., Any], rest: Sequence[Argument], state_of: Callable[[Traced], Any]
    ) -> tuple[Traced, list[Variable]]:
        traced = Traced(self.purpose, fn, self.target, [self.argument, *rest])
        leaves, structure = flatten(state_of(traced), like=self.structure)
        problem = f"`{self.purpose}`: `{traced.body.name}` answers a carry of another structure than it takes"
        same_structure(problem, structure, self.structure, traced.source, "return the carry as it came")
        return traced, traced.variables(self.places, leaves, [v.dtype for v in self.start])

    def _promoted(self, new: Sequence[Variable]) -> bool:
        """Whether a number at the start takes another dtype."""
        changed = False
        for k, one in enumerate(new):
            dtype = promote(self.start[k].dtype, one.dtype)
            if self.weak[k] and one.shape == () and dtype != self.start[k].dtype:
                self.start[k] = self.target.const(self.start[k].node.param("value").array, dtype)
                changed = True
        return changed

    def _refuse(self, traced: Traced, place: str, old: TensorType, new: TensorType) -> None:
        error = ShapeError if old.dtype == new.dtype else DtypeError
        fix = "start with an array of the shape that comes back" if error is ShapeError else "convert with `astype`"
        raise error(
            describe(
                f"`{self.purpose}`: `{place}` changes its type in `{traced.body.name}`",
                expected=str(old),
                got=str(new),
                source=traced.source,
                fix=f"{fix}; a carry keeps its type from step to step",
            )
        )
