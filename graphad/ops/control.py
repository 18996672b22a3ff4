"""Loops and branches as operations with bodies: `scan`, `while_loop`, `cond`, and `item`, which takes one result out.

A body is a frozen graph among the parameters (`graphad.ir.bodies`). Its inputs are the carries, then one element of
each stacked operand, then the constants: what the body uses from outside. `graphad.ops.loop_builders` has what users
call; derivative rules stand in `graphad.ad.control`, because they differentiate bodies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from graphad.errors import DtypeError, ShapeError
from graphad.interpret import run_body
from graphad.ir.bodies import input_types, output_types
from graphad.ir.graph import Graph
from graphad.ir.operation import Bodies, Op, Params, Pattern, Projection, register
from graphad.ir.sizes import Extent
from graphad.ir.types import Requirement, TapeType, TensorType, TupleType, never_equal
from graphad.ir.variable import Variable
from graphad.ops.extents import nonnegative
from graphad.ops.listening import Progress, loop_done, step_done

Types = tuple[TensorType, ...]
Run = Callable[[Graph, Sequence[Any]], tuple[Any, ...]]
"""What runs a body: the body and its inputs in, its results out. The references take the interpreter without one."""


# ---------------------------------------------------------------------- what all share


def check_fit(what: str, got: Types, wanted: Types) -> None:
    """Raise where operands can not be what the inputs of a body are declared to be."""
    if len(got) != len(wanted):
        raise ShapeError(f"{what}: {len(wanted)} operands expected, {len(got)} given")
    for place, (one, other) in enumerate(zip(got, wanted, strict=True)):
        if one.dtype != other.dtype:
            raise DtypeError(f"{what} {place}: {other} expected, got {one}")
        if one.rank != other.rank or any(never_equal(a, b) for a, b in zip(one.shape, other.shape, strict=True)):
            raise ShapeError(f"{what} {place}: {other} expected, got {one}")


def fit_requirements(got: Types, wanted: Types) -> list[Requirement]:
    """The equalities of extents that `check_fit` leaves to run time."""
    pairs = chain.from_iterable(zip(a.shape, b.shape, strict=True) for a, b in zip(got, wanted, strict=True))
    return [
        Requirement("equal", b, a, "an operand has another size than the body expects", None)
        for a, b in pairs
        if a != b
    ]


def stacked_type(length: Extent, kind: TensorType) -> TensorType:
    """The type of `length` elements of one type, stacked."""
    return TensorType(kind.dtype, (length, *kind.shape))


def check_results(what: str, got: Types, wanted: Types) -> None:
    """Raise where a body does not answer what it is given back in the next step."""
    if len(got) < len(wanted):
        raise ShapeError(f"{what}: {len(wanted)} results expected, {len(got)} given")
    for place, (one, other) in enumerate(zip(got, wanted, strict=False)):
        if one != other:
            problem = f"{what} {place} enters a step as {other} and leaves it as {one}"
            raise DtypeError(problem) if one.dtype != other.dtype else ShapeError(problem)


def body_requirements(*graphs: Graph) -> list[Requirement]:
    """What bodies require of the sizes, which are those of the graph around them."""
    return [requirement for graph in graphs for requirement in graph.requirements]


# ---------------------------------------------------------------------- item


def _item_type(types: Types, params: Params) -> TensorType:
    if not isinstance(types[0], TupleType):
        raise ShapeError("a node with several results expected")
    if not 0 <= params["index"] < len(types[0].items):
        raise ShapeError(f"there is no result {params['index']} among {len(types[0].items)}")
    return types[0].items[params["index"]]


def results_of(node: Variable) -> list[Variable]:
    """The results of a node with several."""
    assert isinstance(node.type, TupleType)
    return [node.graph.apply("item", node, index=k) for k in range(len(node.type.items))]


register(
    Op(
        name="item",
        arity=1,
        infer=_item_type,
        reference=lambda results, index: results[index],
        emission=Pattern("item"),
        derivative=Projection(),
        cost=0.0,
    )
)


# ---------------------------------------------------------------------- scan


def scan_inputs(types: Types, params: Params) -> Types:
    """The types of a scan's operands as its body declares them: elements stacked."""
    carries, xs, declared = params["carries"], params["xs"], input_types(params["body"])
    middle = tuple([stacked_type(params["length"], kind) for kind in declared[carries : carries + xs]])
    return declared[:carries] + middle + declared[carries + xs :]


def _scan_type(types: Types, params: Params) -> TensorType:
    check_fit("operand", types, scan_inputs(types, params))
    results = output_types(params["body"])
    check_results("carry", results, input_types(params["body"])[: params["carries"]])
    ys = tuple([stacked_type(params["length"], kind) for kind in results[params["carries"] :]])
    return TupleType(results[: params["carries"]] + ys)


def _scan_requires(types: Types, params: Params) -> list[Requirement]:
    fitting = fit_requirements(types, scan_inputs(types, params))
    return fitting + nonnegative((params["length"],), "a length is negative") + body_requirements(params["body"])


def scan_value(
    *arrays: Any,
    body: Graph,
    carries: int,
    xs: int,
    length: int,
    reverse: bool,
    checkpoint: Any,
    progress: Progress = (),
    run: Run | None = None,
) -> tuple[Any, ...]:
    """Step by step, as written."""
    run = run or run_body
    state, stacked, constants = arrays[:carries], arrays[carries : carries + xs], arrays[carries + xs :]
    ys: list[list[Any]] = []
    for place in reversed(range(length)) if reverse else range(length):
        results = run(body, (*state, *[x[place, ...] for x in stacked], *constants))
        state = results[:carries]
        ys.append(list(results[carries:]))
        step_done(progress, len(ys), length)
    return (*state, *stack_rows(ys[::-1] if reverse else ys, output_types(body)[carries:]))


def stack_rows(rows: Sequence[Sequence[Any]], kinds: Types) -> list[Any]:
    """Rows of elements as one stacked array for each column; without rows, arrays of length 0."""
    return [
        np.stack([row[k] for row in rows]) if rows else np.zeros((0, *kind.shape), kind.dtype)
        for k, kind in enumerate(kinds)
    ]


register(
    Op(
        name="scan",
        arity=None,
        infer=_scan_type,
        reference=scan_value,
        emission=Pattern("scan"),
        derivative=Bodies(),
        requires=_scan_requires,
    )
)


# ---------------------------------------------------------------------- while_loop


def check_test(kinds: Types) -> None:
    """Raise where the test of a loop is no single truth value."""
    if len(kinds) != 1 or kinds[0] != TensorType("bool", ()):
        raise DtypeError(f"the test answers one bool[], not {', '.join(map(str, kinds))}")


def _while_type(types: Types, params: Params) -> TensorType:
    body, test, carries = params["body"], params["test"], params["carries"]
    check_fit("operand", types, input_types(body))
    check_fit("operand of the test", types, input_types(test))
    check_test(output_types(test))
    results = output_types(body)
    check_results("carry", results, input_types(body)[:carries])
    return TupleType(results[:carries] + tuple([TapeType(kind) for kind in results[carries:]]))


def _while_requires(types: Types, params: Params) -> list[Requirement]:
    body, test = params["body"], params["test"]
    fitting = fit_requirements(types, input_types(body)) + fit_requirements(types, input_types(test))
    return fitting + body_requirements(test, body)


def while_value(
    *arrays: Any, test: Graph, body: Graph, carries: int, progress: Progress = (), run: Run | None = None
) -> tuple[Any, ...]:
    """Step by step, as written; what a step answers behind the carries is put on tapes, which are stacked arrays."""
    run = run or run_body
    state, constants = arrays[:carries], arrays[carries:]
    records: list[Sequence[Any]] = []
    while run(test, (*state, *constants))[0]:
        results = run(body, (*state, *constants))
        state = results[:carries]
        records.append(results[carries:])
        step_done(progress, len(records), None)
    loop_done(progress, len(records))
    return (*state, *stack_rows(records, output_types(body)[carries:]))


register(
    Op(
        name="while_loop",
        arity=None,
        infer=_while_type,
        reference=while_value,
        emission=Pattern("while_loop"),
        derivative=Bodies(),
        requires=_while_requires,
    )
)


# ---------------------------------------------------------------------- cond


def _cond_type(types: Types, params: Params) -> TensorType:
    on_true, on_false = params["on_true"], params["on_false"]
    if not types or types[0] != TensorType("bool", ()):
        raise DtypeError(f"the predicate is one bool[], not {types[0] if types else 'missing'}")
    check_fit("operand", types[1:], input_types(on_true))
    check_fit("operand", types[1:], input_types(on_false))
    yes, no = output_types(on_true), output_types(on_false)
    if yes != no:
        raise ShapeError(f"one branch answers {TupleType(yes)}, the other {TupleType(no)}")
    return TupleType(yes)


def _cond_requires(types: Types, params: Params) -> list[Requirement]:
    on_true, on_false = params["on_true"], params["on_false"]
    fitting = fit_requirements(types[1:], input_types(on_true)) + fit_requirements(types[1:], input_types(on_false))
    return fitting + body_requirements(on_true, on_false)


def cond_value(
    predicate: Any, *arrays: Any, on_true: Graph, on_false: Graph, run: Run | None = None
) -> tuple[Any, ...]:
    """The branch that is asked for."""
    return (run or run_body)(on_true if predicate else on_false, arrays)


register(
    Op(
        name="cond",
        arity=None,
        infer=_cond_type,
        reference=cond_value,
        emission=Pattern("cond"),
        derivative=Bodies(),
        requires=_cond_requires,
    )
)
