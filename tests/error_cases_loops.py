"""Mistakes with loops and branches, as code that makes them; see error_page.py."""

from __future__ import annotations

from typing import Any

import numpy as np
from error_cases_calling import small
from error_page import case

import graphad as ga

LOOPS = "Loops and branches"


@case(LOOPS, "A carry that changes its shape", ga.ShapeError, "start with an array of the shape that comes back.")
def carry_shape() -> object:
    """The state of a loop has the same type before and after every step."""
    _, x = small()
    return ga.scan(lambda total, row: (total + x, None), x.sum(), x)


@case(LOOPS, "A carry that changes its dtype", ga.DtypeError, "start with the dtype that comes back.")
def carry_dtype() -> object:
    """A number such as `0` follows the body; a variable keeps its dtype."""
    g, x = small()
    return ga.scan(lambda total, row: (total + row, None), g.const(0), x)


@case(LOOPS, "A carry of another structure", ga.ArgumentError, "return the carry in the form in which it came.")
def carry_structure() -> object:
    """A tuple goes in and a dictionary comes out."""
    _, x = small()
    return ga.while_loop(lambda s: s[0] < 1.0, lambda s: {"a": s[0], "b": s[1]}, (x.sum(), x))


@case(LOOPS, "A step that answers no pair", ga.ArgumentError, "return the carry and what is to be stacked, or None.")
def no_pair() -> object:
    """The function of a `scan` answers the new carry and one y."""
    _, x = small()
    return ga.scan(lambda total, row: total + row, 0.0, x)


@case(LOOPS, "Operands of different lengths", ga.ShapeError, "scan over arrays whose first axes agree.")
def unequal_lengths() -> object:
    """What is scanned over has one length."""
    g, _ = small()
    pair = {"a": g.input("a", 3), "b": g.input("b", 4)}
    return ga.map(lambda v: v["a"] * v["b"], pair)


@case(LOOPS, "A scalar to scan over", ga.ShapeError, "give `length=` for a loop that reads nothing.")
def scalar_elements() -> object:
    """A scalar has no elements."""
    _, x = small()
    return ga.scan(lambda total, v: (total + v, None), 0.0, x.sum())


@case(LOOPS, "A loop without a length", ga.ArgumentError, "give `length=` or something to scan over.")
def no_length() -> object:
    """Nothing says how many steps there are."""
    _, x = small()
    return ga.scan(lambda total, _: (total * 2.0, None), x)


@case(LOOPS, "A length that is a variable", ga.ArgumentError, "use `fori_loop` with variable bounds, or `while_loop`.")
def variable_length() -> object:
    """Results of a `scan` are stacked, so that their length is to be known when a call begins."""
    g, x = small()
    return ga.scan(lambda total, _: (total * 2.0, None), x, length=g.input("steps", dtype="int64"))


@case(LOOPS, "A bound that is no integer", ga.DtypeError, "count with integers.")
def fractional_bound() -> object:
    """A loop counts in whole steps."""
    _, x = small()
    return ga.fori_loop(0, x.sum(), lambda i, s: s + 1.0, 0.0)


@case(LOOPS, "A state of nothing", ga.ArgumentError, "carry what the test looks at.")
def empty_state() -> object:
    """A loop that carries nothing runs never or for ever."""
    g, x = small()
    return ga.while_loop(lambda s: x.sum() > 0.0, lambda s: s, (), graph=g)


@case(LOOPS, "A test that answers no truth value", ga.DtypeError, "compare scalars, or reduce: `ga.all`, `ga.any`.")
def test_of_arrays() -> object:
    """A loop goes on or stops as a whole."""
    _, x = small()
    return ga.while_loop(lambda s: s < 1.0, lambda s: 2.0 * s, x)


@case(LOOPS, "A predicate that is no truth value", ga.DtypeError, "compare; `np.where` chooses element by element.")
def numeric_predicate() -> object:
    """A number is not true or false by itself."""
    _, x = small()
    return ga.cond(x.sum(), lambda v: v, lambda v: -v, x)


@case(LOOPS, "Branches with different results", ga.ShapeError, "bring both to one shape.")
def unequal_branches() -> object:
    """Whatever branch is taken, the result has one type."""
    _, x = small()
    return ga.cond(x.sum() > 0.0, lambda v: v, lambda v: v.sum(), x)


@case(LOOPS, "Branches of different structures", ga.ArgumentError, "return the same form from both.")
def branch_structures() -> object:
    """One branch answers a pair and the other one variable."""
    _, x = small()
    return ga.cond(x.sum() > 0.0, lambda v: (v, v), lambda v: v, x)


@case(LOOPS, "A result that is no variable", ga.ArgumentError, "return variables and numbers.")
def odd_result() -> object:
    """Text can not be carried."""
    _, x = small()
    return ga.map(lambda v: "done", x)


@case(LOOPS, "A loop in no graph", ga.ArgumentError, "pass `graph=`, or start with a variable.")
def no_graph() -> object:
    """Neither the start nor anything else is a variable."""
    return ga.fori_loop(0, 10, lambda i, s: s + 1.0, 0.0)


@case(LOOPS, "A variable that leaves its body", ga.GraphError, "return it from the function; it comes out as a result.")
def leaked() -> object:
    """What a body computes exists once for every step, and outside only as a result."""
    g, x = small()
    seen: list[Any] = []

    def step(total: Any, v: Any) -> Any:
        seen.append(np.sin(v))
        return total + seen[0], None

    total, _ = ga.scan(step, 0.0, x)
    return g.output("y", total + seen[0])


@case(LOOPS, "A checkpoint that is no schedule", ga.ArgumentError, "choose one of the schedules.")
def odd_checkpoint() -> object:
    """Zero snapshots can not hold the first state."""
    _, x = small()
    return ga.scan(lambda total, v: (total * v, None), 1.0, x, checkpoint=0)


@case(LOOPS, "Progress after no steps", ga.ArgumentError, "count at least one step.")
def odd_progress() -> object:
    """A loop can not report more often than after every step."""
    _, x = small()
    return ga.scan(lambda total, v: (total * v, None), 1.0, x, progress=0)


@case(
    LOOPS, "An optimized sweep of a `while_loop`, differentiated", ga.DifferentiationError,
    "differentiate the graph from which it was made.",
)  # fmt: skip
def unwound_again() -> object:
    """What a loop has left on its tape belongs to one sweep."""
    g, x = small()
    g.output("y", ga.while_loop(lambda s: s.sum() < 1.0, lambda s: s * s + x, x).sum())
    return ga.vjp(ga.grad(g, tier="interpreted").optimized, tier="interpreted")


@case(
    LOOPS, "The Jacobian of a `while_loop` by reverse mode, differentiated", ga.DifferentiationError,
    "differentiate first, then take the Jacobian.",
)  # fmt: skip
def jacobian_again() -> object:
    """The sweep of such a loop is differentiated for one cotangent, not for a stack of them."""
    g, x = small()
    g.output("y", ga.while_loop(lambda s: s.sum() < 1.0, lambda s: s * s + x, x))
    first = ga.transform.jacobian(g, "x", mode="reverse")
    return ga.transform.jacobian(first, "x", mode="reverse")
