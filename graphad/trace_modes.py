"""Forward and reverse mode of a scalar program, step by step, as one would do them by hand.

Nothing here is fast. Each step is differentiated alone, and the chain rule is applied to numbers: forward along
the steps for one input at a time, backward once for all inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from graphad.ad import transform
from graphad.ad.transform import scalar_output, select_inputs
from graphad.errors import ArgumentError, DifferentiationError, describe
from graphad.interpret import evaluate, interpret
from graphad.ir.apply import bind_arguments
from graphad.ir.graph import Graph, keep
from graphad.ir.operation import lookup
from graphad.report.formula import one_step
from graphad.report.tables import as_text, table


@dataclass(frozen=True)
class Step:
    """One step v_i of the program.

    `partials` are the derivatives of this step by the steps that it uses, `tangents` the derivatives of this step by
    each input, `adjoint` the derivative of the output by this step.
    """

    name: str
    formula: str
    value: float
    partials: tuple[tuple[str, float], ...]
    tangents: tuple[tuple[str, float], ...]
    adjoint: float


@dataclass(frozen=True)
class ModeTrace:
    """All steps of a program at one point. `str` shows both modes as tables."""

    output: str
    inputs: tuple[str, ...]
    steps: tuple[Step, ...]

    @property
    def gradient(self) -> dict[str, float]:
        """The gradient that reverse mode found: the adjoints of the inputs."""
        return {step.formula: step.adjoint for step in self.steps if step.formula in self.inputs}

    def forward(self) -> str:
        """Forward mode: values and tangents in the order of the program, one column of tangents per sweep."""
        columns = ["step", "is", "value", *(f"d/d{name}" for name in self.inputs)]
        rows = [[s.name, s.formula, _show(s.value), *(_show(t) for _, t in s.tangents)] for s in self.steps]
        return as_text(table(columns, rows, right=columns[2:]))

    def reverse(self) -> str:
        """Reverse mode: adjoints against the order of the program, with what each user of a step contributes."""
        rows = [[s.name, self._received(s), _show(s.adjoint)] for s in reversed(self.steps)]
        return as_text(table(["step", f"adjoint = d{self.output}/dstep", "value"], rows, right=["value"]))

    def _received(self, step: Step) -> str:
        shares = [
            f"{user.name}'*{_show(partial)}"
            for user in self.steps
            for name, partial in user.partials
            if name == step.name
        ]
        return " + ".join(shares) if shares else "1 (the seed)" if step is self.steps[-1] else "0 (not used)"

    def __str__(self) -> str:
        return f"forward mode\n{self.forward()}\nreverse mode\n{self.reverse()}"


def trace_modes(graph: Graph, *args: float, of: str | None = None, **kwargs: float) -> ModeTrace:
    """Both modes of a graph of scalars at one point.

    Arguments:
        args, kwargs: the inputs, by position or by name.
        of: the output, where there are several.

    Raises `ArgumentError` where the graph holds an array, `DifferentiationError` where it has no scalar output.
    The example is that of Baydin et al., Automatic differentiation in machine learning: a survey, JMLR 18 (2018).

    >>> import numpy as np
    >>> g = Graph("f")
    >>> x1, x2 = g.input("x1"), g.input("x2")
    >>> g.output("y", np.log(x1) + x1 * x2 - np.sin(x2))
    >>> trace = trace_modes(g, 2.0, 5.0)
    >>> {name: round(float(slope), 6) for name, slope in trace.gradient.items()}
    {'x1': 5.5, 'x2': 1.716338}
    """
    output = scalar_output(graph, of)
    inputs = select_inputs(graph, None)
    order = sorted(keep(graph, [graph.outputs[output]]) | {graph.inputs[name] for name in inputs})
    _only_scalars(graph, order)
    values = _values(graph, order, bind_arguments(graph, args, kwargs))
    steps = [i for i in order if graph.nodes[i].op != "const"]
    steps.append(steps.pop(steps.index(graph.outputs[output])))
    names = {node_id: f"v{number}" for number, node_id in enumerate(steps, start=1)}
    partials = {i: local_partials(graph, i, values) for i in steps}
    tangents = {name: _forward(graph, steps, partials, graph.inputs[name]) for name in inputs}
    adjoints = _reverse(graph, steps, partials)
    return ModeTrace(output, tuple(inputs), tuple(
        Step(
            names[i], one_step(graph, i, names), values[i],
            tuple((names[a], p) for a, p in zip(graph.nodes[i].args, partials[i], strict=True) if a in names),
            tuple((name, tangents[name][i]) for name in inputs), adjoints[i],
        )
        for i in steps
    ))  # fmt: skip


def local_partials(graph: Graph, node_id: int, values: Mapping[int, float]) -> list[float]:
    """The derivatives of one step by each of its operands, at given values of the steps; 0 where it has none."""
    node = graph.nodes[node_id]
    if not node.args or not node.type.is_float:
        return [0.0] * len(node.args)
    alone = Graph("step")
    operands = [alone.input(f"a{k}", (), graph.nodes[a].type.dtype) for k, a in enumerate(node.args)]
    alone.output("y", alone.apply(node.op, *operands, **dict(node.params)))
    return [_partial(alone, f"a{k}", [values[a] for a in node.args]) for k in range(len(operands))]


def _partial(alone: Graph, name: str, values: list[float]) -> float:
    try:
        slope = transform.grad(alone, name)
    except DifferentiationError:  # a truth value or a step function: nothing flows through it
        return 0.0
    return float(interpret(slope, *values)[f"dy_d{name}"])


def _forward(graph: Graph, steps: list[int], partials: dict[int, list[float]], seed: int) -> dict[int, float]:
    """Tangents: v_j' = Σ_i ∂v_j/∂v_i · v_i', with 1 for the seed and 0 for the other inputs."""
    tangents: dict[int, float] = {}
    for j in steps:
        flows = [p * tangents.get(i, 0.0) for i, p in zip(graph.nodes[j].args, partials[j], strict=True)]
        tangents[j] = 1.0 if j == seed else sum(flows, 0.0)
    return tangents


def _reverse(graph: Graph, steps: list[int], partials: dict[int, list[float]]) -> dict[int, float]:
    """Adjoints: v_i' = Σ_j v_j' · ∂v_j/∂v_i, with 1 for the last step."""
    adjoints = dict.fromkeys(range(len(graph.nodes)), 0.0)
    adjoints[steps[-1]] = 1.0
    for j in reversed(steps):
        for i, partial in zip(graph.nodes[j].args, partials[j], strict=True):
            adjoints[i] += adjoints[j] * partial
    return adjoints


def _values(graph: Graph, order: list[int], given: Mapping[str, object]) -> dict[int, float]:
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            problem = f"`{graph.name}`: argument `{name}` is no number"
            raise ArgumentError(describe(problem, expected="a float", got=type(value).__name__))
    bound = {graph.inputs[name]: np.asarray(value, dtype=np.float64) for name, value in given.items()}
    found = evaluate(graph, bound, {}, {str(i): i for i in order})
    return {int(name): float(value) for name, value in found.items()}


def _only_scalars(graph: Graph, order: list[int]) -> None:
    for node_id in order:
        node = graph.nodes[node_id]
        if node.type.shape != () or lookup(node.op).of_bodies:
            raise ArgumentError(
                describe(
                    f"`{graph.name}` can not be traced: `{node.op}` is no scalar",
                    expected="a program of scalars",
                    got=str(node.type),
                    source=node.source,
                )
            )


def _show(value: float) -> str:
    return f"{value:.6g}"
