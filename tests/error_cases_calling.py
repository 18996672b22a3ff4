"""Mistakes in calling compiled functions, as code that makes them; see error_page.py."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from error_page import case

import graphad as ga
from graphad.compile import CompiledFunction
from graphad.ir.graph import Graph

# ---------------------------------------------------------------------- the functions that are called wrongly


@cache
def scaled() -> CompiledFunction:
    """W (n, 3) and s (n) to Σ s·W², with an integer k beside them."""
    g = ga.Graph("scaled")
    w, s, k = g.input("W", shape=("n", 3)), g.input("s", shape="n"), g.input("k", dtype="int64")
    g.output("y", ((w * w).sum(axis=1) * s).sum() * k)
    return ga.value_and_grad(g, wrt="W")


@cache
def triple() -> CompiledFunction:
    """A function of three elements."""
    g = ga.Graph("triple")
    x = g.input("x", shape=3)
    g.output("y", x * x)
    return ga.compile(g)


@cache
def chosen() -> CompiledFunction:
    """Σ x[i]."""
    g = ga.Graph("chosen")
    x, i = g.input("x", shape="n"), g.input("i", shape="k", dtype="int64")
    g.output("y", x[i].sum())
    return ga.compile(g)


W, S = np.ones((4, 3)), np.ones(4)


def small() -> tuple[Graph, Any]:
    """An open graph with one vector."""
    g = ga.Graph("small")
    return g, g.input("x", shape="n")


# ---------------------------------------------------------------------- names

NAMES = "Calling: names and number of arguments"


@case(NAMES, "Unknown argument", ga.ArgumentError, "call with the names that the graph's inputs have.")
def unknown_argument() -> object:
    """A keyword is no input of the graph."""
    return scaled()(w=W, s=S, k=1)


@case(NAMES, "Missing argument", ga.ArgumentError, "pass every input; none has a default.")
def missing_argument() -> object:
    """An input was not given."""
    return scaled()(W, S)


@case(
    NAMES, "Too many arguments", ga.ArgumentError,
    "pass the inputs only; seeds of `jvp`, `vjp` and `hvp` follow them.",
)  # fmt: skip
def too_many_arguments() -> object:
    """There are more positional arguments than inputs."""
    return triple()(np.ones(3), np.ones(3))


# ---------------------------------------------------------------------- shapes

SHAPES = "Calling: ranks and sizes"


@case(SHAPES, "Wrong rank", ga.ShapeError, "reshape the argument to the declared number of axes.")
def wrong_rank() -> object:
    """An array has more or fewer axes than declared."""
    return scaled()(W, S[:, None], 1)


@case(SHAPES, "Wrong size", ga.ShapeError, "pass an array of the declared size.")
def wrong_size() -> object:
    """A length-4 array for a length-3 input; others answer with three elements."""
    return triple()(np.ones(4))


@case(
    SHAPES, "Two arrays disagree about a size", ga.ShapeError,
    "pass arrays that agree; the message says which argument set the size.",
)  # fmt: skip
def disagreement() -> object:
    """Two axes share a named size, and the arguments give it two values."""
    return scaled()(W, S[:3], 1)


@case(SHAPES, "A number for an array", ga.ShapeError, "make the array: `np.full(shape, value)`.")
def scalar_for_array() -> object:
    """A number is not stretched over an array input; others broadcast it without a word."""
    return triple()(2.0)


@case(SHAPES, "An array for a number", ga.ShapeError, "take the element: `x[0]`, `x.item()`.")
def array_for_scalar() -> object:
    """A one-element array is not taken for a scalar."""
    return scaled()(W, S, np.array([1]))


@case(
    SHAPES, "A length that an expression can not take", ga.ShapeError,
    "pass an array of a length that the expression can take.",
)  # fmt: skip
def unsolvable_size() -> object:
    """An axis is declared as `2*n`, and the argument's length is odd."""
    g = ga.Graph("pairs")
    x = g.input("x", shape="2*n")
    g.output("y", x.reshape(-1, 2).sum(axis=1))
    return ga.compile(g)(np.ones(5))


@case(
    SHAPES, "A size that the graph excludes", ga.ShapeError,
    "pass a longer array. Slices of named axes are never clipped.",
)  # fmt: skip
def excluded_size() -> object:
    """The graph takes `x[:5]`, and the argument has four elements."""
    g, x = small()
    g.output("y", x[:5])
    return ga.compile(g)(np.ones(4))


@case(SHAPES, "Sizes that an operation needs equal", ga.ShapeError, "pass arrays for which the operands have one size.")
def run_time_disagreement() -> object:
    """Whether `n-1` and `m` are equal can only be told from the arguments."""
    g, x = small()
    y = g.input("y", shape="m")
    g.output("z", x[1:] * y)
    return ga.compile(g)(np.ones(4), np.ones(4))


# ---------------------------------------------------------------------- dtypes

DTYPES = "Calling: dtypes and kinds of arguments"


@case(DTYPES, "float32 for float64", ga.DtypeError, "convert, or declare the input as float32.")
def single_for_double() -> object:
    """An array of another precision is not converted unasked."""
    return triple()(np.ones(3, np.float32))


@case(DTYPES, "Integers for floats", ga.DtypeError, "convert: `x.astype(\"float64\")`.")
def integers_for_floats() -> object:
    """An integer array for a floating input; several others take it without a word."""
    return triple()(np.arange(3))


@case(
    DTYPES, "Complex numbers", ga.DtypeError,
    "differentiate functions of real variables; take real and imaginary part as two inputs.",
)  # fmt: skip
def complex_for_floats() -> object:
    """A complex array for a real input; others drop the imaginary part with a warning."""
    return triple()(np.ones(3) * 1j)


@case(DTYPES, "A complex scalar", ga.DtypeError, "pass a real number.")
def complex_scalar() -> object:
    """A complex number for a real scalar."""
    g = ga.Graph("wave")
    t = g.input("t")
    g.output("y", np.sin(t))
    return ga.compile(g)(1.0 + 0j)


@case(DTYPES, "A float for an integer", ga.DtypeError, "pass an integer; also 2.0 is refused.")
def float_for_integer() -> object:
    """Fractions are not cut off."""
    return scaled()(W, S, 2.5)


@case(DTYPES, "An integer that does not fit", ga.DtypeError, "pass an integer within the dtype's range.")
def integer_too_large() -> object:
    """Integers do not wrap around."""
    return scaled()(W, S, 2**63)


@case(DTYPES, "A truth value for a number", ga.DtypeError, "pass a number.")
def truth_for_number() -> object:
    """True is not taken for 1."""
    return scaled()(W, S, True)


@case(
    DTYPES, "A list for an array", ga.ArgumentError,
    "make an array once and pass it: `np.asarray(x, dtype=\"float64\")`.",
)  # fmt: skip
def list_for_array() -> object:
    """Lists are not converted at every call."""
    return triple()([1.0, 2.0, 3.0])


@case(DTYPES, "No array at all", ga.ArgumentError, "pass an array.")
def none_for_array() -> object:
    """The argument is None, a string or another object."""
    return triple()(None)


@case(DTYPES, "No number at all", ga.ArgumentError, "pass a number.")
def text_for_scalar() -> object:
    """A string for a scalar."""
    return scaled()(W, S, "1")


@case(DTYPES, "np.matrix", ga.ArgumentError, "pass `np.asarray(x)`.")
def matrix() -> object:
    """The operators of `np.matrix` mean something else than those of the graph."""
    return triple()(np.ones(3).view(np.matrix))


@case(DTYPES, "Masked array", ga.ArgumentError, "fill the masked elements, or pass the mask as an input of its own.")
def masked() -> object:
    """The mask would be lost."""
    return triple()(np.ma.masked_array([1.0, 2.0, 3.0], mask=[True, False, False]))


# ---------------------------------------------------------------------- indices

INDICES = "Calling: indices"


@case(
    INDICES, "Index out of range", ga.IndexRangeError,
    "correct the index array; negative indices count from the end.",
)  # fmt: skip
def index_out_of_range() -> object:
    """All indices are checked before the compiled loops run."""
    return chosen()(np.ones(5), np.array([0, 1, 5]))


@case(INDICES, "Index into an empty axis", ga.IndexRangeError, "pass an empty index array as well.")
def index_into_nothing() -> object:
    """The indexed axis has no element."""
    return chosen()(np.ones(0), np.array([0]))


# ---------------------------------------------------------------------- out

OUT = "Calling: `out=`"


@case(OUT, "Wrong shape of out", ga.ShapeError, "make the array with the shape in the message.")
def out_shape() -> object:
    """The result does not fit into the array."""
    return triple()(np.ones(3), out=np.empty(4))


@case(OUT, "Wrong dtype of out", ga.DtypeError, "make the array with the dtype in the message.")
def out_dtype() -> object:
    """Results are not converted on the way."""
    return triple()(np.ones(3), out=np.empty(3, np.float32))


@case(OUT, "out in another memory order", ga.ArgumentError, "pass a contiguous array.")
def out_strided() -> object:
    """Kernels write contiguous memory."""
    return triple()(np.ones(3), out=np.empty(6)[::2])


@case(OUT, "out is read-only", ga.ArgumentError, "pass an array that can be written.")
def out_read_only() -> object:
    """The array is marked read-only."""
    array = np.empty(3)
    array.flags.writeable = False
    return triple()(np.ones(3), out=array)


@case(OUT, "out overlaps an argument", ga.ArgumentError, "pass memory of its own: arguments are never changed.")
def out_overlaps() -> object:
    """The result would be written over an argument."""
    x = np.ones(3)
    return triple()(x, out=x)


@case(OUT, "Unknown name in out", ga.ArgumentError, "use the names of the graph's outputs.")
def out_name() -> object:
    """The dictionary names no output."""
    return triple()(np.ones(3), out={"z": np.empty(3)})


@case(OUT, "out for a scalar", ga.ArgumentError, "leave it out, or pass None in its place.")
def out_scalar() -> object:
    """Scalars are returned."""
    return chosen()(np.ones(3), np.array([0]), out=np.empty(()))
