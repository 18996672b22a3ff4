"""All problems by name, in the order of the tables."""

from __future__ import annotations

from benchmarks.problem import Problem
from benchmarks.problems import (
    ba,
    black_scholes,
    convolution,
    elimination,
    energies,
    gmm,
    jacobians,
    llsq,
    lse,
    lstm,
    mlp,
    nbody,
    ode,
    opf,
    rk4,
    rosenbrock,
    sparse,
    stencil,
    stress,
    tiny,
)

PROBLEMS: dict[str, Problem] = {
    problem.name: problem
    for problem in (
        stress.PROBLEM, rosenbrock.GRADIENT, rosenbrock.PRODUCT, lse.PROBLEM, energies.PROBLEM, llsq.PROBLEM,
        gmm.PROBLEM, tiny.PROBLEM, mlp.PROBLEM, black_scholes.PROBLEM, nbody.PROBLEM, stencil.LINE, stencil.GRID,
        convolution.PROBLEM, jacobians.BOTTLENECK, jacobians.BANDED,
        sparse.BANDED, sparse.ARROWHEAD, sparse.BRUSSELATOR, ba.PROBLEM,
        *opf.JACOBIANS, *opf.HESSIANS,
        elimination.ROE, elimination.ROBOT, elimination.HEART, elimination.PROPANE,
        rk4.PROBLEM, lstm.PROBLEM, ode.PROBLEM,
    )
}  # fmt: skip
