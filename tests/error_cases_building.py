"""Mistakes in building and differentiating graphs, as code that makes them; see error_page.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from error_cases_calling import small
from error_page import case

import graphad as ga
from graphad.ir.graph import Graph
from passes.base import Pass

# ---------------------------------------------------------------------- derivatives

DERIVATIVES = "Asking for derivatives"


@case(DERIVATIVES, "An output that does not depend on wrt", ga.DifferentiationError, "leave the input out of `wrt`.")
def independent() -> object:
    """The derivative would be zero everywhere, which is nearly always a mistake."""
    g, x = small()
    g.input("unused", shape="n")
    g.output("y", x.sum())
    return ga.grad(g, wrt="unused")


@case(
    DERIVATIVES, "Nothing but steps in between", ga.DifferentiationError,
    "use a smooth function instead of the step.",
)  # fmt: skip
def only_steps() -> object:
    """The output depends on the input through a step function only."""
    g, x = small()
    g.output("y", np.floor(x).sum())
    return ga.grad(g)


@case(
    DERIVATIVES, "An integer input in wrt", ga.DifferentiationError,
    "declare the input as float64, or leave it out of `wrt`.",
)  # fmt: skip
def integer_wrt() -> object:
    """Derivatives are with respect to real numbers."""
    g = ga.Graph("counted")
    k = g.input("k", dtype="int64")
    g.output("y", k * 2.0)
    return ga.grad(g, wrt="k")


@case(DERIVATIVES, "The gradient of an array", ga.DifferentiationError, "sum it, or ask for `jacobian` or `vjp`.")
def gradient_of_array() -> object:
    """A gradient is of one number."""
    g, x = small()
    g.output("y", x * x)
    return ga.grad(g)


@case(DERIVATIVES, "Which output?", ga.ArgumentError, "name it with `of=`.")
def several_outputs() -> object:
    """The graph has several outputs, and a gradient is of one."""
    g, x = small()
    g.output("a", x.sum())
    g.output("b", x.prod())
    return ga.grad(g)


@case(DERIVATIVES, "Unknown input in wrt", ga.ArgumentError, "use the names of inputs.")
def unknown_wrt() -> object:
    """`wrt` names no input of the graph."""
    g, x = small()
    g.output("y", x.sum())
    return ga.grad(g, wrt="z")


@case(DERIVATIVES, "Unknown output in of", ga.ArgumentError, "use the names of outputs.")
def unknown_of() -> object:
    """`of` names no output of the graph."""
    g, x = small()
    g.output("y", x.sum())
    return ga.grad(g, of="z")


@case(DERIVATIVES, "An integer output", ga.DifferentiationError, "differentiate a floating output.")
def integer_output() -> object:
    """Integers and truth values have no derivative."""
    g, x = small()
    g.output("position", x.argmax())
    return ga.grad(g, of="position")


@case(
    DERIVATIVES, "Points that depend on each other", ga.DifferentiationError,
    "leave out `batch`, or name the axis whose points are independent.",
)  # fmt: skip
def dependent_points() -> object:
    """`batch` asks for the Jacobian of each point by itself, and a point needs a sum over all."""
    g = ga.Graph("shares")
    x = g.input("x", shape=("n", 2))
    g.output("y", x / x.sum(axis=0))
    return ga.jacobian(g, batch="n")


@case(DERIVATIVES, "An unknown order of modes", ga.ArgumentError, "name one of the orders, or none.")
def unknown_nesting() -> object:
    """Second derivatives take two modes, one over the other."""
    g, x = small()
    g.output("y", (x * x).sum())
    return ga.hvp(g, mode="forward")


@case(DERIVATIVES, "A wrong number of threads", ga.ArgumentError, "pass the number of threads that a call may use.")
def wrong_threads() -> object:
    """A call uses at least the thread that makes it."""
    g, x = small()
    g.output("y", x.sum())
    return ga.grad(g, threads=0)


# ---------------------------------------------------------------------- building

BUILDING = "Building graphs"


@case(
    BUILDING, "Shapes that do not broadcast", ga.ShapeError,
    "reshape one operand; only axes of literal size 1 are stretched.",
)  # fmt: skip
def incompatible_shapes() -> object:
    """Two extents differ for every value of the named sizes."""
    g = ga.Graph("mixed")
    x, y = g.input("x", shape=("n", 3)), g.input("y", shape=("n", 4))
    return x + y


@case(BUILDING, "Sizes n and n+1", ga.ShapeError, "slice one operand to the size of the other.")
def incompatible_sizes() -> object:
    """Symbolic sizes that can never be equal are refused while the graph is built."""
    _, x = small()
    return x[1:] - x


@case(BUILDING, "Inner axes of a product", ga.ShapeError, "transpose an operand.")
def incompatible_product() -> object:
    """The last axis of the left and the last but one of the right operand must agree."""
    g = ga.Graph("product")
    return g.input("A", shape=(2, 3)) @ g.input("B", shape=(2, 3))


@case(BUILDING, "A variable of another graph", ga.GraphError, "apply one graph inside the other: `other(x=...)`.")
def foreign_variable() -> object:
    """A variable belongs to the graph that made it."""
    one, two = ga.Graph("one"), ga.Graph("two")
    return one.input("x") + two.input("y")


@case(BUILDING, "A graph that is in use", ga.GraphError, "finish building first, or continue on `g.copy()`.")
def frozen_graph() -> object:
    """Compiling, differentiating or applying a graph closes it."""
    g, x = small()
    g.output("y", x.sum())
    ga.transform.grad(g)
    return x + 1.0


@case(BUILDING, "A graph without outputs", ga.GraphError, "name a result: `g.output(\"y\", variable)`.")
def no_output() -> object:
    """There is nothing to compute."""
    g, _ = small()
    return ga.compile(g)


@case(BUILDING, "Assignment to elements", ga.GraphError, "`x = x.at[index].set(value)`.")
def assigned_element() -> object:
    """Variables never change; functional updates make changed copies."""
    _, x = small()
    x[0] = 1.0
    return x


@case(BUILDING, "The truth of a variable", ga.GraphError, "use `np.where`, `np.logical_and`, `np.logical_or`.")
def truth_of_variable() -> object:
    """`if`, `and`, `or` and chained comparisons need a value that exists at call time only."""
    _, x = small()
    return x if x > 0 else -x


@case(
    BUILDING, "The number behind a variable", ga.GraphError,
    "use functions that take variables, such as `np.sin` for `math.sin`.",
)  # fmt: skip
def number_of_variable() -> object:
    """`float(x)`, `math.sin(x)` and the like need a number."""
    g = ga.Graph("number")
    return float(g.input("x"))


@case(BUILDING, "A function in place of a graph", ga.ArgumentError, "trace the function first.")
def function_for_graph() -> object:
    """Other tools differentiate functions; graphad's transforms take graphs."""
    return ga.grad(lambda x: x * x)  # type: ignore[arg-type]


@case(
    BUILDING, "A NumPy function that is not supported", ga.GraphError,
    "compose it of supported ones, or register an operation.",
)  # fmt: skip
def unsupported_function() -> object:
    """The function has no meaning on variables."""
    _, x = small()
    return np.fft.fft(x)


@case(BUILDING, "Complex constants", ga.DtypeError, "keep to real numbers.")
def complex_constant() -> object:
    """Graphs hold float64, float32, int64, int32 and bool."""
    _, x = small()
    return x * np.array([1j])


@case(BUILDING, "A literal index outside a literal axis", ga.IndexRangeError, "correct the index.")
def literal_index() -> object:
    """What can be known while building is said while building."""
    g = ga.Graph("three")
    return g.input("x", shape=3)[5]


@case(BUILDING, "An axis that does not exist", ga.ShapeError, "count axes from 0 or, from the end, from -1.")
def wrong_axis() -> object:
    """The operation names an axis beyond the rank."""
    _, x = small()
    return x.sum(axis=1)


@case(BUILDING, "An input declared twice", ga.GraphError, "choose another name.")
def declared_twice() -> object:
    """Names of inputs are unique."""
    g, _ = small()
    return g.input("x")


@case(BUILDING, "A name that Python can not use", ga.GraphError, "choose a Python identifier.")
def keyword_name() -> object:
    """Inputs become parameters of functions."""
    return ga.Graph("optics").input("lambda")


@case(BUILDING, "An input called out", ga.ArgumentError, "rename the input.")
def reserved_name() -> object:
    """Compiled functions take the results' arrays as `out=`."""
    g = ga.Graph("reserved")
    g.output("y", g.input("out") * 2.0)
    return ga.compile(g)


@case(BUILDING, "A size that can not be read", ga.ShapeError, "write integers, names and `+ - * // min max` of them.")
def unreadable_size() -> object:
    """Sizes are integer expressions."""
    return ga.Graph("sized").input("x", shape="n**2")


@case(BUILDING, "A negative size", ga.ShapeError, "sizes are 0 or more.")
def negative_size() -> object:
    """The text of a shape is a negative number."""
    return ga.Graph("sized").input("x", shape="2-3")


@case(
    BUILDING, "A size that no input gives", ga.ShapeError,
    "declare an input with this size as an axis.",
)  # fmt: skip
def size_without_input() -> object:
    """Sizes are taken from the arguments; no length gives both factors of a product."""
    g = ga.Graph("folded")
    g.output("y", g.input("x", shape="n*m").sum())
    return ga.compile(g)


@case(
    BUILDING, "trace without a shape", ga.ArgumentError,
    "give a shape, a shape and a dtype, or an example for every parameter.",
)  # fmt: skip
def trace_without_shape() -> object:
    """A parameter of the traced function has neither specification nor default."""

    def energy(x: Any, scale: Any) -> Any:
        return (x * x).sum() * scale

    return ga.trace(energy, x="n")


@case(BUILDING, "trace of something else", ga.ArgumentError, "return variables.")
def trace_of_text() -> object:
    """The traced function returns what is no variable."""

    def energy(x: Any) -> Any:
        return "energy"

    return ga.trace(energy, x="n")


# ---------------------------------------------------------------------- passes

PASSES = "Passes of your own"


@dataclass(frozen=True)
class Careless(Pass):
    """A pass that forgets the outputs."""

    @property
    def name(self) -> str:
        """The name in messages."""
        return "careless"

    def run(self, graph: Graph) -> Graph:
        """A graph that lacks an output."""
        new = graph.copy()
        new.outputs = dict(list(graph.outputs.items())[:1])
        return new


@case(
    PASSES, "A pass that changes what a graph is", ga.PassError,
    "keep name, inputs and outputs; the message shows the program before and after.",
)  # fmt: skip
def wrong_pass() -> object:
    """Every pass is verified; here one drops an output."""
    g = ga.Graph("two")
    x = g.input("x")
    g.output("a", x + 1.0)
    g.output("b", x + 2.0)
    return ga.compile(g, passes=(Careless(),))
