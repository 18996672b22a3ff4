"""Hand-written code: Numba or NumPy, the practical limit that generated code is compared with."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.problem import Arrays, Entrant, Problem, flat


def entrants(problem: Problem, arrays: Arrays) -> Mapping[str, Entrant]:
    """One entrant, none where there is no hand-written code for the problem."""
    if problem.hand is None:
        return {}
    function, values = problem.hand(), list(arrays.values())
    return {"hand": Entrant(lambda: function(*values), flat)}
