"""All peers by name, in the order of the tables."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping

from benchmarks.peers import sparse
from benchmarks.problem import Arrays, Case, Entrant, Problem

MODULES = {
    "graphad": "graphad", "hand": "numba", "jax": "jax", "torch": "torch", "casadi": "casadi",
    "pytensor": "pytensor", "rsdag": "rsdag", "autograd": "autograd",
}  # fmt: skip
ORDER = ("graphad", "graphad bound", "graphad copied", *(m for m in MODULES if m != "graphad"), "casadi bound")


def peers_of(problem: Problem, case: Case) -> list[str]:
    """The peers of a case: graphad, hand-written code where there is some, the libraries that take part."""
    hand = ["hand"] if problem.hand is not None else []
    largest = max(case.sizes.values(), default=1)
    return ["graphad", *hand, *(m for m in MODULES if m in problem.peers and largest <= problem.limits.get(m, largest))]


def missing(peers: list[str]) -> list[str]:
    """The peers whose library is not installed."""
    return [p for p in peers if importlib.util.find_spec(MODULES[p]) is None]


def make(peer: str, problem: Problem, arrays: Arrays) -> Mapping[str, Entrant]:
    """The entrants of a peer, by name."""
    if peer in problem.makers:
        return problem.makers[peer](problem, arrays)
    if problem.sparse and peer != "graphad":
        return sparse.MAKERS[peer](problem, arrays)
    module = importlib.import_module(f"benchmarks.peers.{'ours' if peer == 'graphad' else peer}")
    entrants: Mapping[str, Entrant] = module.entrants(problem, arrays)
    return entrants
