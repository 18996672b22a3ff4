"""CasADi: a `Function` of the derivative, called with `DM` arguments; formulas are written with CasADi's own names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.problem import Arrays, Entrant, Problem


def entrants(problem: Problem, arrays: Arrays) -> Mapping[str, Entrant]:
    """One entrant. Vectors are columns; `problem.formulas["casadi"](ca, *symbols)` is the formula on `SX` or `MX`.

    Scalar expressions (`SX`) where no input is a matrix, matrix expressions (`MX`) otherwise.
    """
    import casadi as ca

    values = list(arrays.values())
    kind = ca.MX if any(a.ndim == 2 for a in values) else ca.SX
    symbols = [kind.sym(n, *(a.shape if a.ndim else (1,))) for n, a in arrays.items()]
    inputs = symbols[: len(problem.shapes)]
    value = problem.formulas["casadi"](ca, *inputs)
    leaves = [inputs[p] for p in problem.positions]
    function = ca.Function(problem.name, symbols, _derived(ca, problem, value, leaves, symbols[-1]))
    given = [ca.DM(a) for a in values]
    shapes = _shapes(problem, arrays, value)

    def results(result: Any) -> list[Any]:
        parts = result if isinstance(result, (tuple, list)) else [result]
        return [np.array(p.full()).reshape(s) for p, s in zip(parts, shapes, strict=True)]

    return {"casadi": Entrant(lambda: function(*given), results)}


def _derived(ca: Any, problem: Problem, value: Any, leaves: list[Any], vector: Any) -> list[Any]:
    if problem.derivative == "jacobian":
        return [ca.densify(ca.jacobian(value, leaf)) for leaf in leaves]
    gradients = [ca.gradient(value, leaf) for leaf in leaves]
    if problem.derivative == "hvp":
        return [ca.jtimes(gradients[0], leaves[0], vector)]
    return gradients if problem.derivative == "grad" else [value, *gradients]


def _shapes(problem: Problem, arrays: Arrays, value: Any) -> list[tuple[int, ...]]:
    shapes = [arrays[n].shape for n in problem.wrt]
    if problem.derivative == "jacobian":
        return [(value.numel(), *shape) for shape in shapes]
    return shapes if problem.derivative in ("grad", "hvp") else [(), *shapes]
