"""Mistakes with sparse Jacobians, as code that makes them; see error_page.py."""

from __future__ import annotations

from functools import cache

import numpy as np
from error_page import case

import graphad as ga


@cache
def steps() -> ga.SparseFunction:
    """Squares of differences of neighbours: two entries in each row."""
    g = ga.Graph("steps")
    x = g.input("x", shape="n", hint=50)
    g.output("y", (x[1:] - x[:-1]) ** 2)
    return ga.jacobian(g, sparse=True, tier="interpreted")


def picked() -> ga.Graph:
    """x[i]², and a number that depends on no x."""
    g = ga.Graph("picked")
    x, i, s = g.input("x", shape="n"), g.input("i", shape="k", dtype="int64"), g.input("s")
    g.output("y", x[i] ** 2)
    g.output("z", s * 2.0)
    return g


SPARSE = "Sparse Jacobians"


@case(SPARSE, "Neither sparse nor dense", ga.ArgumentError, "leave the choice to graphad with None.")
def neither() -> object:
    """`sparse` is a question of yes or no."""
    return ga.jacobian(picked(), "x", "y", sparse="csc")  # type: ignore[call-overload]


@case(SPARSE, "Sparse, with points apart", ga.ArgumentError, "leave out one of them.")
def batched() -> object:
    """`batch=` gives one dense block a point."""
    return ga.jacobian(picked(), "x", "y", sparse=True, batch="k")


@case(SPARSE, "Nothing depends on an input", ga.DifferentiationError, "leave it out of `wrt`.")
def no_part() -> object:
    """A block without entries is a matrix like others, an input without any entry is a mistake."""
    return ga.jacobian(picked(), ["x", "s"], "y", sparse=True)


@case(SPARSE, "A pattern that is not known yet", ga.ArgumentError, "call the function, and ask then.")
def unknown_pattern() -> object:
    """Which elements are read is known when the positions are."""
    return ga.jacobian(picked(), "x", "y", sparse=True, tier="interpreted").sparsity


@case(SPARSE, "out is no matrix", ga.ArgumentError, "pass a result, or its data.")
def out_list() -> object:
    """A list can not be written in place."""
    return steps()(np.ones(3), out=[0.0] * 4)


@case(SPARSE, "out of another dtype", ga.DtypeError, "allocate the data in the dtype of the result.")
def out_dtype() -> object:
    """Nothing is rounded."""
    return steps()(np.ones(3), out=np.empty(4, np.float32))


@case(SPARSE, "out of another size", ga.ShapeError, "one number for each entry.")
def out_shape() -> object:
    """Data for another pattern."""
    return steps()(np.ones(3), out=np.empty(6))


@case(SPARSE, "out of another structure", ga.ArgumentError, "pass a result for the same sizes.")
def out_structure() -> object:
    """The matrix is a result for five elements."""
    return steps()(np.ones(3), out=steps()(np.ones(5)))


@case(SPARSE, "out overlaps an argument of a sparse function", ga.ArgumentError, "pass memory of its own.")
def out_overlaps() -> object:
    """The data would be written over an argument."""
    memory = np.ones(6)
    return steps()(memory[:3], out=memory[2:])


@case(SPARSE, "out for several matrices", ga.ArgumentError, "ask for one of them.")
def out_several() -> object:
    """Each block has data of its own."""
    function = ga.jacobian(picked(), ["x", "s"], ["y", "z"], sparse=True, tier="interpreted")
    return function(np.ones(3), np.array([0]), 1.0, out=np.empty(1))
