"""What users call: derivatives of a graph as compiled functions.

Every function takes a graph and answers a `CompiledFunction` whose arguments are the graph's inputs, then the seeds
where there are any. `wrt` names inputs and `of` outputs; a name gives the result itself, a list of names a named tuple,
and None stands for all of floating dtype (one as itself, several as a named tuple). `passes` replaces the default
pipeline, which runs before the graph is differentiated and after. `tier` is "compiled"; or "interpreted", for an answer
at once without a compiler; or "auto", which interprets first and lets a thread compile when that seems to pay.
`memory_budget` is what a call may take besides its arguments (bytes, a text such as "200MB", or a fraction of what it
takes without): then values of the forward sweep are computed again. `threads` is how many threads a call uses where
loops are long enough; what comes out depends on that number, not on the machine. The derivative graphs themselves come
from `graphad.transform`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, overload

import numpy as np  # noqa: F401  (for the examples)

from graphad.ad import transform
from graphad.ad.transform import Names, fresh, scalar_output, select_inputs, select_outputs
from graphad.compile import CompiledFunction, Tier, compile_graph
from graphad.emit.result import Packing, Record, pack_named
from graphad.errors import ArgumentError, describe
from graphad.ir.graph import Graph
from graphad.ir.types import as_shape
from graphad.plan.eliminate import SECONDS
from graphad.plan.gradients import planned_gradient
from graphad.plan.jacobians import batched_jacobian, planned_jacobian
from graphad.plan.memory import Budget
from graphad.plan.modes import Mode, Plan, fixed, uniform
from graphad.plan.second import planned_hessian, planned_hvp
from graphad.plan.sparse import plan_sparse
from graphad.sparse.build import hessian_blocks, jacobian_blocks, sparse_function
from graphad.sparse.function import SparseFunction
from passes.base import Pass
from passes.pipeline import DEFAULT, simplified


def compile(
    graph: Graph,
    *,
    passes: Sequence[Pass] = DEFAULT,
    tier: Tier = "compiled",
    threads: int = 1,
) -> CompiledFunction:
    """The value of a graph: `f(*inputs)`.

    One output comes back as itself, several as a named tuple.

    >>> import graphad as ga
    >>> g = ga.Graph("norm")
    >>> x = g.input("x", shape="n")
    >>> g.output("y", np.sqrt((x * x).sum()))
    >>> f = compile(g)
    >>> f(np.array([3.0, 4.0]))
    np.float64(5.0)
    """
    plan = Plan((fixed("value", "as built", "no derivative is asked for"),))
    return compile_graph(graph, plan=plan, passes=passes, tier=tier, threads=threads)


def grad(
    graph: Graph,
    wrt: Names = None,
    of: str | None = None,
    *,
    passes: Sequence[Pass] = DEFAULT,
    tier: Tier = "compiled",
    threads: int = 1,
    memory_budget: Budget | None = None,
) -> CompiledFunction:
    """The gradient of a scalar output: `g(*inputs)`, arrays of the shapes of `wrt`.

    Raises `DifferentiationError` where the output is no scalar, an input is no float, or nothing depends on it.

    >>> import graphad as ga
    >>> g = ga.Graph("square")
    >>> x = g.input("x", shape="n")
    >>> g.output("y", (x * x).sum())
    >>> grad(g)(np.array([1.0, 2.0]))
    array([2., 4.])
    """
    inputs, output = select_inputs(graph, wrt), scalar_output(graph, of)
    parts = [f"d{output}_d{n}" for n in inputs]
    packing = pack_named("gradient", inputs, parts, alone=_alone(wrt))
    derived, plan = planned_gradient(simplified(graph, passes), inputs, output, with_value=False)
    return compile_graph(derived, packing, plan, passes, tier, threads, memory_budget)


def value_and_grad(
    graph: Graph,
    wrt: Names = None,
    of: str | None = None,
    *,
    passes: Sequence[Pass] = DEFAULT,
    tier: Tier = "compiled",
    threads: int = 1,
    memory_budget: Budget | None = None,
) -> CompiledFunction:
    """A scalar output and its gradient in one go: `vg(*inputs) -> (value, gradient)`.

    >>> import graphad as ga
    >>> g = ga.Graph("product")
    >>> a, b = g.input("a"), g.input("b")
    >>> g.output("y", a * b)
    >>> value_and_grad(g)(2.0, b=3.0)
    (np.float64(6.0), gradient(a=np.float64(3.0), b=np.float64(2.0)))
    """
    inputs, output = select_inputs(graph, wrt), scalar_output(graph, of)
    parts = [f"d{output}_d{n}" for n in inputs]
    packing = Record((output, pack_named("gradient", inputs, parts, alone=_alone(wrt))))
    derived, plan = planned_gradient(simplified(graph, passes), inputs, output, with_value=True)
    return compile_graph(derived, packing, plan, passes, tier, threads, memory_budget)


def jvp(
    graph: Graph,
    wrt: Names = None,
    of: Names = None,
    *,
    passes: Sequence[Pass] = DEFAULT,
    tier: Tier = "compiled",
    threads: int = 1,
) -> CompiledFunction:
    """Jacobian times vector: `f(*inputs, *tangents) -> (value, tangent)`; by name the tangent of `x` is `x_dot`.

    >>> import graphad as ga
    >>> g = ga.Graph("cube")
    >>> x = g.input("x")
    >>> g.output("y", x**3)
    >>> jvp(g)(2.0, x_dot=1.0)
    (np.float64(8.0), np.float64(12.0))
    """
    inputs, outputs = select_inputs(graph, wrt), select_outputs(graph, of)
    values = pack_named("value", outputs, outputs, alone=_alone(of))
    tangents = pack_named("tangent", outputs, [fresh(graph, f"{n}_dot") for n in outputs], alone=_alone(of))
    simple, reason = simplified(graph, passes), "one tangent is pushed: one forward sweep"
    plan = uniform(f"jvp of {', '.join(outputs)}", "forward", reason, simple, inputs, outputs)
    return compile_graph(
        transform.jvp(simple, inputs, outputs), Record((values, tangents)), plan, passes, tier, threads
    )


def vjp(
    graph: Graph,
    wrt: Names = None,
    of: Names = None,
    *,
    passes: Sequence[Pass] = DEFAULT,
    tier: Tier = "compiled",
    threads: int = 1,
    memory_budget: Budget | None = None,
) -> CompiledFunction:
    """Vector times Jacobian: `f(*inputs, *cotangents) -> (value, gradients)`; by name the cotangent of `y` is `y_bar`.

    >>> import graphad as ga
    >>> g = ga.Graph("squares")
    >>> x = g.input("x", shape="n")
    >>> g.output("y", x * x)
    >>> vjp(g)(np.array([1.0, 2.0]), y_bar=np.array([1.0, 10.0]))
    (array([1., 4.]), array([ 2., 40.]))
    """
    inputs, outputs = select_inputs(graph, wrt), select_outputs(graph, of)
    values = pack_named("value", outputs, outputs, alone=_alone(of))
    gradients = pack_named("gradient", inputs, [fresh(graph, f"{n}_bar") for n in inputs], alone=_alone(wrt))
    simple, reason = simplified(graph, passes), "one cotangent is pulled: one reverse sweep"
    plan = uniform(f"vjp of {', '.join(outputs)}", "reverse", reason, simple, inputs, outputs)
    return compile_graph(
        transform.vjp(simple, inputs, outputs), Record((values, gradients)), plan, passes, tier, threads, memory_budget
    )


@overload
def jacobian(
    graph: Graph, wrt: Names = None, of: Names = None, mode: Mode | None = None, *, sparse: Literal[False],
    batch: str | int | None = None, force: Mapping[str, Mode] | None = None, passes: Sequence[Pass] = DEFAULT,
    tier: Tier = "compiled", threads: int = 1, memory_budget: Budget | None = None,
) -> CompiledFunction: ...  # fmt: skip
@overload
def jacobian(
    graph: Graph, wrt: Names = None, of: Names = None, mode: Mode | None = None, *, sparse: Literal[True],
    batch: str | int | None = None, force: Mapping[str, Mode] | None = None, passes: Sequence[Pass] = DEFAULT,
    tier: Tier = "compiled", threads: int = 1, memory_budget: Budget | None = None,
) -> SparseFunction: ...  # fmt: skip
@overload
def jacobian(
    graph: Graph, wrt: Names = None, of: Names = None, mode: Mode | None = None, *, sparse: None = None,
    batch: str | int | None = None, force: Mapping[str, Mode] | None = None, passes: Sequence[Pass] = DEFAULT,
    tier: Tier = "compiled", threads: int = 1, memory_budget: Budget | None = None,
) -> CompiledFunction | SparseFunction: ...  # fmt: skip
def jacobian(
    graph: Graph,
    wrt: Names = None,
    of: Names = None,
    mode: Mode | None = None,
    *,
    batch: str | int | None = None,
    force: Mapping[str, Mode] | None = None,
    sparse: bool | None = None,
    passes: Sequence[Pass] = DEFAULT,
    tier: Tier = "compiled",
    threads: int = 1,
    memory_budget: Budget | None = None,
) -> CompiledFunction | SparseFunction:
    """Jacobians: `J(*inputs)`, dense arrays of shape `y.shape + x.shape`, or sparse matrices.

    Several outputs give a named tuple by output, several inputs one by input inside it.

    Arguments:
        mode: "forward" or "reverse" for the whole graph. None: a map is differentiated row by row, a graph of few
            scalars by elimination; others are cut into segments where that saves multiplications at the sizes' hints,
            each with its own mode; otherwise forward where the inputs have fewer elements than the outputs. The choice
            and its reason are in `J.plan` and `J.explain()`.
        batch: a size: the Jacobian of each point along the axis of this extent, without the zeros between points. The
            points come first: x of shape `("n", 6)` and y of shape `("n", 3)` give `(n, 3, 6)`. What has no such axis
            is shared by all points. Raises `DifferentiationError` where a point depends on other points.
        force: modes of single segments, such as `{"segment 2": "forward"}`, by their names in the plan.
        sparse: True: a `SparseFunction`, whose results are `scipy.sparse.csr_array`s with the elements of y as rows
            and those of x as columns, both in C order; see docs/sparse.md. False: dense. None: sparse where all sizes
            are literal or have hints, there are more than 100,000 elements, and at most one in twenty may be different
            from zero. `mode` then says by which sweeps; `batch` and `force` are for dense results.

    >>> import graphad as ga
    >>> p = ga.Graph("polar")
    >>> q = p.input("q", shape=("n", 2))
    >>> p.output("z", q[:, 0] * np.exp(q[:, 1]))
    >>> jacobian(p, batch="n")(np.array([[1.0, 0.0], [2.0, 0.0]]))
    array([[1., 1.],
           [1., 2.]])
    >>> g = ga.Graph("wave")
    >>> x = g.input("x", shape="n")
    >>> g.output("y", np.stack([np.cumsum(x), x * x]))
    >>> J = jacobian(g)
    >>> J(np.array([3.0]))
    array([[[1.]],
    <BLANKLINE>
           [[6.]]])
    >>> J.plan.decisions[0].choice
    'forward'
    """
    if mode not in (None, "forward", "reverse"):
        raise ArgumentError(describe(f"mode={mode!r}", expected='"forward", "reverse" or None'))
    inputs, outputs = select_inputs(graph, wrt), select_outputs(graph, of)
    _check_sparse(sparse)
    if batch is not None and force:
        raise ArgumentError(describe("`batch` and `force` are both given", fix="`mode` is for one point as a whole"))
    if sparse and (batch is not None or force):
        other = "force" if batch is None else "batch"
        raise ArgumentError(describe(f"`sparse` and `{other}` are both given", fix=f"`{other}` is for dense Jacobians"))
    if sparse and memory_budget is not None:
        raise ArgumentError(describe("`sparse` is given with `memory_budget`", fix="a budget is for dense Jacobians"))
    simple = simplified(graph, passes)
    rows = [pack_named("columns", inputs, [f"d{output}_d{n}" for n in inputs], alone=_alone(wrt)) for output in outputs]
    packing = pack_named("jacobian", outputs, rows, alone=_alone(of))
    if sparse is not False and batch is None and not force and memory_budget is None:
        blocks = jacobian_blocks(simple, inputs, outputs)
        outcome = plan_sparse(simple, blocks, f"{graph.name}_jacobian", sparse, mode)
        if outcome.method is not None:
            return sparse_function(simple, outcome.method, outcome.decisions, packing, passes, tier, threads)
    if batch is None:
        derived, plan = planned_jacobian(simple, inputs, outputs, mode, force, _patience(tier))
    else:
        derived, plan = batched_jacobian(simple, inputs, outputs, batch, mode, _patience(tier))
    return compile_graph(derived, packing, plan, passes, tier, threads, memory_budget)


@overload
def hessian(
    graph: Graph, wrt: Names = None, of: str | None = None, *, sparse: Literal[False], mode: str | None = None,
    passes: Sequence[Pass] = DEFAULT, tier: Tier = "compiled", threads: int = 1,
) -> CompiledFunction: ...  # fmt: skip
@overload
def hessian(
    graph: Graph, wrt: Names = None, of: str | None = None, *, sparse: Literal[True], mode: str | None = None,
    passes: Sequence[Pass] = DEFAULT, tier: Tier = "compiled", threads: int = 1,
) -> SparseFunction: ...  # fmt: skip
@overload
def hessian(
    graph: Graph, wrt: Names = None, of: str | None = None, *, sparse: None = None, mode: str | None = None,
    passes: Sequence[Pass] = DEFAULT, tier: Tier = "compiled", threads: int = 1,
) -> CompiledFunction | SparseFunction: ...  # fmt: skip
def hessian(
    graph: Graph,
    wrt: Names = None,
    of: str | None = None,
    *,
    sparse: bool | None = None,
    mode: str | None = None,
    passes: Sequence[Pass] = DEFAULT,
    tier: Tier = "compiled",
    threads: int = 1,
) -> CompiledFunction | SparseFunction:
    """Second derivatives of a scalar output: `H(*inputs)`, an array of shape `x.shape + x.shape`, or a sparse matrix.

    Several inputs give a named tuple of named tuples: `H(...).a.b` has shape `a.shape + b.shape`.

    Arguments:
        mode: "forward over reverse", "reverse over forward" or "reverse over reverse". None: the one with the fewest
            operations after passes at the sizes' hints, or the planned Jacobian of the gradient where that has fewer.
        sparse: as for `jacobian`; a sparse Hessian holds both triangles.

    >>> import graphad as ga
    >>> g = ga.Graph("cubes")
    >>> x = g.input("x", shape="n")
    >>> g.output("y", (x**3).sum())
    >>> hessian(g)(np.array([1.0, 2.0]))
    array([[ 6.,  0.],
           [ 0., 12.]])
    """
    inputs, output = select_inputs(graph, wrt), scalar_output(graph, of)
    rows: list[Packing] = [
        pack_named("row", inputs, [f"d2{output}_d{a}_d{b}" for b in inputs], alone=_alone(wrt)) for a in inputs
    ]
    simple = simplified(graph, passes)
    packing = pack_named("hessian", inputs, rows, alone=_alone(wrt))
    if sparse is not False and (sparse or mode is None):
        gradient = simplified(transform.grad(simple, inputs, output), passes)
        blocks = hessian_blocks(gradient, inputs, output)
        symmetric = [f"d2{output}_d{n}_d{n}" for n in inputs]
        outcome = plan_sparse(gradient, blocks, f"{graph.name}_hessian", sparse, symmetric=symmetric)
        if outcome.method is not None:
            return sparse_function(gradient, outcome.method, outcome.decisions, packing, passes, tier, threads)
    derived, plan = planned_hessian(simple, inputs, output, lambda g: simplified(g, passes), mode)
    return compile_graph(derived, packing, plan, passes, tier, threads)


def hvp(
    graph: Graph,
    wrt: Names = None,
    of: str | None = None,
    *,
    vectors: str | int | None = None,
    value: bool = False,
    gradient: bool = False,
    mode: str | None = None,
    passes: Sequence[Pass] = DEFAULT,
    tier: Tier = "compiled",
    threads: int = 1,
    memory_budget: Budget | None = None,
) -> CompiledFunction:
    """Hessian times vector: `hv(*inputs, *vectors)`; by name the vector that goes with `x` is `x_dot`.

    Arguments:
        vectors: how many at once, a number or the name of a size: with "k" the vectors of x are an array of shape
            `("k",) + x.shape`, and so are the products.
        value, gradient: what comes back in front of the product, in a tuple: `(value, gradient, product)` where both
            are asked for. They share their work with the product.
        mode: "forward over reverse", "reverse over forward", "reverse over reverse", or "dense" for a Hessian that is
            formed and multiplied. None: the one with the fewest operations after passes at the sizes' hints.

    >>> import graphad as ga
    >>> g = ga.Graph("cubes")
    >>> x = g.input("x", shape="n")
    >>> g.output("y", (x**3).sum())
    >>> hvp(g)(np.array([1.0, 2.0]), np.array([1.0, 1.0]))
    array([ 6., 12.])
    >>> hvp(g, vectors="k", value=True, tier="interpreted")(np.array([1.0, 2.0]), np.eye(2))
    (np.float64(9.0), array([[ 6.,  0.],
           [ 0., 12.]]))
    """
    inputs, output = select_inputs(graph, wrt), scalar_output(graph, of)
    lead = None if vectors is None else as_shape((vectors,))[0]
    simple, alone = simplified(graph, passes), _alone(wrt)
    derived, plan = planned_hvp(
        simple, inputs, output, lambda g: simplified(g, passes),
        mode=mode, vectors=lead, value=value, gradient=gradient,
    )  # fmt: skip
    product = pack_named("product", inputs, [f"Hv_{n}" for n in inputs], alone=alone)
    slopes = pack_named("gradient", inputs, [f"d{output}_d{n}" for n in inputs], alone=alone)
    parts = [part for part, wanted in ((output, value), (slopes, gradient)) if wanted]
    packing = Record((*parts, product)) if parts else product
    return compile_graph(derived, packing, plan, passes, tier, threads, memory_budget)


def _patience(tier: Tier) -> float:
    """The seconds that a search for elimination orders may take: none where an answer is wanted at once."""
    return SECONDS if tier == "compiled" else 0.0


def _check_sparse(sparse: object) -> None:
    if sparse not in (None, True, False):
        raise ArgumentError(describe(f"sparse={sparse!r}", expected="True, False or None"))


def _alone(names: Names) -> bool:
    return names is None or isinstance(names, str)
