"""PyTensor: a symbolic graph of declared dtypes, its gradient, and `pytensor.function` in its default mode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.peers.dialect import Dialect
from benchmarks.problem import Arrays, Entrant, Problem, flat


def entrants(problem: Problem, arrays: Arrays) -> Mapping[str, Entrant]:
    """One entrant."""
    import pytensor
    import pytensor.tensor as pt

    dialect = Dialect(pt, lgamma=pt.gammaln, index=lambda e: e, count=lambda e: e)
    symbols = [pt.tensor(name, dtype=a.dtype.name, shape=(None,) * a.ndim) for name, a in arrays.items()]
    inputs = symbols[: len(problem.shapes)]
    value = problem.formula_of("pytensor")(dialect, *inputs)
    function = pytensor.function(symbols, _derived(problem, value, inputs, symbols[-1]))
    function.trust_input = True
    values = list(arrays.values())
    return {"pytensor": Entrant(lambda: function(*values), flat)}


def _derived(problem: Problem, value: Any, inputs: list[Any], vector: Any) -> Any:
    from pytensor.gradient import grad, hessian_vector_product, jacobian

    leaves = [inputs[p] for p in problem.positions]
    if problem.derivative == "jacobian":
        return [jacobian(value, leaf) for leaf in leaves]
    if problem.derivative == "hvp":
        return hessian_vector_product(value, leaves, [vector])
    gradients = grad(value, leaves)
    return gradients if problem.derivative == "grad" else [value, *gradients]
