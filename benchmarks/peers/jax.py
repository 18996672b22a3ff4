"""JAX as its users write it: `jit` of the derivative, float64 switched on, every result waited for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.peers.dialect import jax_dialect
from benchmarks.problem import Arrays, Entrant, Problem, flat


def entrants(problem: Problem, arrays: Arrays) -> Mapping[str, Entrant]:
    """One entrant. Compilation happens in its first call, as it does for users."""
    return waiting(_derived(problem), arrays)


def waiting(function: Callable[..., Any], arrays: Arrays) -> Mapping[str, Entrant]:
    """An entrant that calls the jitted function and waits."""
    import jax

    jax.config.update("jax_enable_x64", True)
    jitted = jax.jit(function)
    values = [jax.device_put(a) for a in arrays.values()]
    jax.block_until_ready(values)
    return {"jax": Entrant(lambda: jax.block_until_ready(jitted(*values)), flat)}


def _derived(problem: Problem) -> Callable[..., Any]:
    import jax

    jax.config.update("jax_enable_x64", True)
    dialect, formula, positions = jax_dialect(), problem.formula_of("jax"), problem.positions

    def f(*inputs: Any) -> Any:
        return formula(dialect, *inputs)

    if problem.derivative == "hvp":
        return lambda *a: jax.jvp(lambda x: jax.grad(f)(x, *a[1:-1]), (a[0],), (a[-1],))[1]
    make = {"value_and_grad": jax.value_and_grad, "grad": jax.grad, "jacobian": jax.jacfwd}
    derived: Callable[..., Any] = make[problem.derivative](f, positions)
    return derived
