"""The table of operations as people read it: for the command line and for `docs/ops.md`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import graphad.ops
from graphad.errors import DtypeError, describe
from graphad.ir.graph import Graph
from graphad.ir.operation import (
    FUNCTIONS,
    NUMPY_FUNCTIONS,
    OPERATIONS,
    Elementwise,
    Inline,
    NotDifferentiable,
    Op,
    Scalar,
)
from graphad.ir.variable import Variable
from graphad.report.formula import formula

LETTERS = "xyzuvw"
KINDS = {
    "Linear": "linear",
    "Multilinear": "linear in each operand",
    "Custom": "by hand",
    "Bodies": "of its bodies",
    "Projection": "the same of the derivatives",
}

PREFACE = """# Operations

This page is generated from the registry by `make docs`; a test compares it with the registry.

## What you write

Operators, methods and NumPy functions on variables all lead to these builder functions. Each is also `ga.<name>`.

"""

NODES = """
## What a graph is made of

One record each in `graphad/ops/`. The derivative is written in terms of the operands `x`, `y`, … and of the result
`out`, and serves both modes.

"""


class Row(NamedTuple):
    """One operation in words."""

    name: str
    operands: str
    kind: str
    derivative: str
    cost: str


def rows() -> list[Row]:
    """All registered operations in alphabetical order."""
    assert graphad.ops is not None  # importing the package fills the table
    return [describe_operation(op) for _, op in sorted(OPERATIONS.items())]


def describe_operation(op: Op) -> Row:
    """One row of the table."""
    kind = "elementwise" if op.elementwise else "inlined" if isinstance(op.emission, Inline) else "loop pattern"
    return Row(op.name, "any" if op.arity is None else str(op.arity), kind, derivative(op), f"{op.cost:g}")


def derivative(op: Op) -> str:
    """The derivative rule: formulas of the partials where there are any, else its kind or why there is none."""
    rule = op.derivative
    if isinstance(rule, NotDifferentiable):
        return f"none: {rule.reason}"
    if isinstance(rule, Elementwise):
        return "; ".join(_partials(op, rule))
    return KINDS[type(rule).__name__]


def _partials(op: Op, rule: Elementwise) -> Iterator[str]:
    """d/dx = …, for each operand that has a derivative."""
    operands, out = _applied(op, rule)
    for operand, letter, partial in zip(operands, LETTERS, rule.partials, strict=False):
        if partial is None or not operand.type.is_float:
            continue
        value = partial(*operands, out)
        text = formula(out.graph, value.id, {out.id: "out"}) if isinstance(value, Variable) else f"{value:g}"
        yield f"d/d{letter} = {text}"


def _applied(op: Op, rule: Elementwise) -> tuple[list[Variable], Variable]:
    """The operation on scalars: floats, and where it wants another dtype for what has no derivative, that."""
    for other in ("float64", "int64", "bool"):
        graph = Graph("rule")
        dtypes = [other if partial is None else "float64" for partial in rule.partials]
        operands = [graph.input(letter, dtype=dtype) for letter, dtype in zip(LETTERS, dtypes, strict=False)]
        try:
            return operands, graph.apply(op.name, *operands)
        except DtypeError:
            continue
    raise DtypeError(describe(f"`{op.name}` takes no operand of floating dtype that has a derivative"))


def numpy_names() -> dict[Callable[..., Any], list[str]]:
    """For each builder function the NumPy functions that mean it."""
    found: dict[Callable[..., Any], list[str]] = {}
    for numpy_function, build in NUMPY_FUNCTIONS.items():
        module = "np.linalg." if "linalg" in (getattr(numpy_function, "__module__", "") or "") else "np."
        found.setdefault(build, []).append(f"{module}{numpy_function.__name__}")
    return found


def builder_rows() -> list[tuple[str, str, str]]:
    """Name, NumPy functions and meaning of each builder function, in alphabetical order."""
    known = numpy_names()
    return [
        (name, ", ".join(sorted(known.get(build, []))), (inspect.getdoc(build) or "").partition("\n\n")[0])
        for name, build in sorted(FUNCTIONS.items())
    ]


def markdown() -> str:
    """The page `docs/ops.md`."""
    builders = [(f"`{name}`", _code(names), meaning) for name, names, meaning in builder_rows()]
    nodes = [
        (f"`{r.name}`", r.operands, "" if isinstance(OPERATIONS[r.name].emission, Scalar) else r.kind,
         _code(r.derivative, "; ") if r.derivative.startswith("d/d") else r.derivative, r.cost)
        for r in rows()
    ]  # fmt: skip
    count = f"{len(nodes)} operations. Without a kind, an operation is elementwise.\n"
    return (
        PREFACE
        + _markdown_table(("name", "NumPy", "meaning"), builders)
        + NODES
        + count
        + "\n"
        + _markdown_table(("operation", "operands", "kind", "derivative", "flops per element"), nodes)
    )


def _code(text: str, separator: str = ", ") -> str:
    return separator.strip().join(f" `{part}`" for part in text.split(separator)).strip() if text else ""


def _markdown_table(header: tuple[str, ...], body: Sequence[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *body]
    return "".join("| " + " | ".join(" ".join(c.split()).replace("|", "\\|") for c in line) + " |\n" for line in lines)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(markdown(), encoding="utf-8")
