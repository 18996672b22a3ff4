"""HIPS autograd: NumPy traced anew in every call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.peers.dialect import autograd_dialect
from benchmarks.problem import Arrays, Entrant, Problem, flat


def entrants(problem: Problem, arrays: Arrays) -> Mapping[str, Entrant]:
    """One entrant."""
    import autograd

    dialect, formula, positions = autograd_dialect(), problem.formula_of("autograd"), problem.positions
    values = list(arrays.values())

    def f(*inputs: Any) -> Any:
        return formula(dialect, *inputs)

    if problem.derivative == "hvp":
        product = autograd.hessian_vector_product(f)
        return {"autograd": Entrant(lambda: product(*values), flat)}
    if problem.derivative == "jacobian":
        derived = autograd.jacobian(f, positions[0])
        return {"autograd": Entrant(lambda: derived(*values), flat)}
    make = {"value_and_grad": autograd.value_and_grad, "grad": autograd.grad}[problem.derivative]
    gradient = make(f, positions)
    return {"autograd": Entrant(lambda: gradient(*values), flat)}
