"""The reverse sweeps of loops as operations: `scan_adjoint`, which stores by a schedule, and `while_adjoint`.

Both run the loop forward to have the states at which the adjoint steps are taken, then the adjoint body backwards.
`wrt_carries`, `of_ys`, `wrt_xs` and `wrt_constants` say which carries, results and operands of the loop take part.
"""

from __future__ import annotations

from typing import Any

from graphad.errors import ShapeError
from graphad.interpret import run_body
from graphad.ir.bodies import input_types, output_types
from graphad.ir.graph import Graph, keep, rebuild
from graphad.ir.operation import Bodies, Op, Params, Pattern, register
from graphad.ir.types import Requirement, TensorType, TupleType
from graphad.ops.control import (
    Run,
    body_requirements,
    check_fit,
    check_results,
    check_test,
    fit_requirements,
    scan_inputs,
    stack_rows,
    stacked_type,
)
from graphad.ops.extents import nonnegative
from graphad.ops.listening import Progress, backwards, loop_done, step_done
from graphad.ops.schedules import Schedule, actions

Types = tuple[TensorType, ...]


def carry_step(body: Graph, carries: int) -> Graph:
    """The body of a loop that answers the new carries only.

    >>> g = Graph("step")
    >>> x = g.input("x")
    >>> g.output("x_new", x + 1.0)
    >>> g.output("y", x * x)
    >>> carry_step(g, 1)
    <graph step(x: float64[]) -> x_new; 3 nodes>
    """
    kept = dict(list(body.outputs.items())[:carries])
    if len(kept) == len(body.outputs):
        return body
    new = rebuild(body, lambda new, old, node, args: None, live=sorted(keep(body, kept.values())))
    new.outputs = {name: new.outputs[name] for name in kept}
    return new.freeze() if kept else new


# ---------------------------------------------------------------------- scan_adjoint


def sweep_types(types: Types, params: Params) -> tuple[Types, Types]:
    """Operands as the bodies declare them; cotangents of the final carries, of stacked results, and sums apart."""
    body, adjoint = params["body"], params["adjoint"]
    seeds = input_types(adjoint)[len(body.inputs) :]
    first, middle = len(params["wrt_carries"]), len(params["of_ys"])
    stacked = tuple([stacked_type(params["length"], kind) for kind in seeds[first : first + middle]])
    return scan_inputs(types, params), seeds[:first] + stacked + seeds[first + middle :]


def _check_adjoint(body: Graph, adjoint: Graph, seeds: int, results: int) -> None:
    if len(adjoint.inputs) != len(body.inputs) + seeds:
        raise ShapeError(f"an adjoint body of {len(body.inputs) + seeds} inputs expected, not {len(adjoint.inputs)}")
    if len(adjoint.outputs) != results:
        raise ShapeError(f"an adjoint body of {results} outputs expected, not {len(adjoint.outputs)}")


def _scan_adjoint_type(types: Types, params: Params) -> TensorType:
    body, adjoint = params["body"], params["adjoint"]
    first, middle, xs, last = (len(params[k]) for k in ("wrt_carries", "of_ys", "wrt_xs", "wrt_constants"))
    _check_adjoint(body, adjoint, first + middle + last, first + xs + last)
    primal, seeds = sweep_types(types, params)
    check_fit("operand", types, primal + seeds)
    check_results("carry", output_types(body), input_types(body)[: params["carries"]])
    results = output_types(adjoint)
    check_results("cotangent of carry", results[:first], seeds[:first])
    check_results("sum", results[first + xs :], seeds[first + middle :])
    stacked = tuple([stacked_type(params["length"], kind) for kind in results[first : first + xs]])
    return TupleType(results[:first] + stacked + results[first + xs :])


def _scan_adjoint_requires(types: Types, params: Params) -> list[Requirement]:
    primal, seeds = sweep_types(types, params)
    fitting = fit_requirements(types, primal + seeds) + nonnegative((params["length"],), "a length is negative")
    return fitting + body_requirements(params["body"], params["adjoint"])


def scan_adjoint_value(
    *arrays: Any,
    body: Graph,
    adjoint: Graph,
    carries: int,
    xs: int,
    length: int,
    reverse: bool,
    schedule: Schedule | None,
    wrt_carries: tuple[int, ...],
    of_ys: tuple[int, ...],
    wrt_xs: tuple[int, ...],
    wrt_constants: tuple[int, ...],
    progress: Progress = (),
    run: Run | None = None,
) -> tuple[Any, ...]:
    """The actions of the schedule one after the other, with a dictionary for the stored states."""
    run = run or run_body
    count = len(body.inputs)
    state, stacked, constants = arrays[:carries], arrays[carries : carries + xs], arrays[carries + xs : count]
    ends = (count + len(wrt_carries), count + len(wrt_carries) + len(of_ys))
    cotangents, bars, sums = arrays[count : ends[0]], arrays[ends[0] : ends[1]], arrays[ends[1] :]
    step = carry_step(body, carries)
    stored: dict[int, tuple[Any, ...]] = {}
    rows: list[tuple[int, tuple[Any, ...]]] = []
    for kind, number in actions(schedule, length):
        place = length - 1 - number if reverse else number
        if kind == "store":
            stored[number] = state
        elif kind == "load":
            state = stored[number]
        elif kind == "drop":
            del stored[number]
        elif kind == "advance":
            state = run(step, (*state, *[x[place, ...] for x in stacked], *constants)) if carries else ()
        else:
            elements = [x[place, ...] for x in stacked], [bar[place, ...] for bar in bars]
            results = run(adjoint, (*state, *elements[0], *constants, *cotangents, *elements[1], *sums))
            cut = len(results) - len(sums)
            cotangents, sums = results[: len(cotangents)], results[cut:]
            rows.append((place, results[len(cotangents) : cut]))
            step_done(backwards(progress), len(rows), length)
    kinds = output_types(adjoint)[len(wrt_carries) : len(wrt_carries) + len(wrt_xs)]
    return (*cotangents, *stack_rows([row for _, row in sorted(rows, key=lambda r: r[0])], kinds), *sums)


register(
    Op(
        name="scan_adjoint",
        arity=None,
        infer=_scan_adjoint_type,
        reference=scan_adjoint_value,
        emission=Pattern("scan_adjoint"),
        derivative=Bodies(),
        requires=_scan_adjoint_requires,
    )
)


# ---------------------------------------------------------------------- while_adjoint


def _while_adjoint_type(types: Types, params: Params) -> TensorType:
    body, adjoint, test = params["body"], params["adjoint"], params["test"]
    count, first, last = len(body.inputs), len(params["wrt_carries"]), len(params["wrt_constants"])
    _check_adjoint(body, adjoint, first + last, first + last)
    check_fit("operand", types, input_types(body) + input_types(adjoint)[count:])
    check_fit("operand of the test", types[:count], input_types(test))
    check_test(output_types(test))
    check_results("carry", output_types(body), input_types(body)[: params["carries"]])
    check_results("cotangent", output_types(adjoint), input_types(adjoint)[count:])
    return TupleType(output_types(adjoint))


def _while_adjoint_requires(types: Types, params: Params) -> list[Requirement]:
    body, adjoint, test = params["body"], params["adjoint"], params["test"]
    wanted = input_types(body) + input_types(adjoint)[len(body.inputs) :]
    return fit_requirements(types, wanted) + body_requirements(test, body, adjoint)


def while_adjoint_value(
    *arrays: Any,
    test: Graph,
    body: Graph,
    adjoint: Graph,
    carries: int,
    wrt_carries: tuple[int, ...],
    wrt_constants: tuple[int, ...],
    progress: Progress = (),
    run: Run | None = None,
) -> tuple[Any, ...]:
    """Forward with every state on a tape, then back along it."""
    run = run or run_body
    count = len(body.inputs)
    state, constants, results = arrays[:carries], arrays[carries:count], arrays[count:]
    tape: list[tuple[Any, ...]] = []
    while run(test, (*state, *constants))[0]:
        tape.append(state)
        state = run(body, (*state, *constants))
        step_done(progress, len(tape), None)
    loop_done(progress, len(tape))
    for number, before in enumerate(reversed(tape), start=1):
        results = run(adjoint, (*before, *constants, *results))
        step_done(backwards(progress), number, len(tape))
    return tuple(results)


register(
    Op(
        name="while_adjoint",
        arity=None,
        infer=_while_adjoint_type,
        reference=while_adjoint_value,
        emission=Pattern("while_adjoint"),
        derivative=Bodies(),
        requires=_while_adjoint_requires,
    )
)
