"""rsdag: scalars traced through NumPy's object arrays, compiled by its native emitter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.peers.dialect import numpy_dialect
from benchmarks.problem import Arrays, Entrant, Problem, flat


def entrants(problem: Problem, arrays: Arrays) -> Mapping[str, Entrant]:
    """One entrant; tracing and compilation happen in its first call."""
    import rsdag

    dialect, formula = numpy_dialect(), problem.formula_of("rsdag")
    values = list(arrays.values())
    (position,) = problem.positions

    def f(*inputs: Any) -> Any:
        return formula(dialect, *inputs)

    make = rsdag.jacobian if problem.derivative == "jacobian" else rsdag.grad
    derived = make(f, wrt=position, native=True)
    return {"rsdag": Entrant(lambda: derived(*values), flat)}
