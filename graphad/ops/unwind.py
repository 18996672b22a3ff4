"""`unwind`: the steps of a `while_loop` backwards, along the tapes on which the loop has left something of each step.

What the body of a `while_loop` answers behind its carries goes on tapes (`TapeType`), one value for each step. The
passes make both from a `while_adjoint` when all is differentiated; see `graphad.ad.expand`.
"""

from __future__ import annotations

from typing import Any

from graphad.errors import ShapeError
from graphad.interpret import run_body
from graphad.ir.bodies import input_types, output_types
from graphad.ir.graph import Graph
from graphad.ir.operation import Bodies, Op, Params, Pattern, register
from graphad.ir.types import Requirement, TapeType, TensorType, TupleType
from graphad.ops.control import Run, body_requirements, check_fit, check_results, fit_requirements
from graphad.ops.listening import Progress, step_done

Types = tuple[TensorType, ...]


def unwind_inputs(params: Params) -> Types:
    """The types of the operands as the body declares them: carries, tapes, constants."""
    carries, xs, declared = params["carries"], params["xs"], input_types(params["body"])
    tapes = tuple([TapeType(kind) for kind in declared[carries : carries + xs]])
    return declared[:carries] + tapes + declared[carries + xs :]


def _unwind_type(types: Types, params: Params) -> TensorType:
    carries, xs = params["carries"], params["xs"]
    if not xs:
        raise ShapeError("without a tape the number of steps is not known")
    if not all(isinstance(kind, TapeType) for kind in types[carries : carries + xs]):
        raise ShapeError("tapes of a loop expected")
    check_fit("operand", types, unwind_inputs(params))
    results = output_types(params["body"])
    check_results("carry", results, input_types(params["body"])[:carries])
    return TupleType(results)


def _unwind_requires(types: Types, params: Params) -> list[Requirement]:
    return fit_requirements(types, unwind_inputs(params)) + body_requirements(params["body"])


def unwind_value(
    *operands: Any, body: Graph, carries: int, xs: int, progress: Progress = (), run: Run | None = None
) -> tuple[Any, ...]:
    """The last values of the tapes first."""
    run = run or run_body
    state, tapes, constants = operands[:carries], operands[carries : carries + xs], operands[carries + xs :]
    for number in range(len(tapes[0])):
        state = run(body, (*state, *[tape[-1 - number, ...] for tape in tapes], *constants))
        step_done(progress, number + 1, len(tapes[0]))
    return tuple(state)


register(
    Op(
        name="unwind",
        arity=None,
        infer=_unwind_type,
        reference=unwind_value,
        emission=Pattern("unwind"),
        derivative=Bodies(),
        requires=_unwind_requires,
    )
)
