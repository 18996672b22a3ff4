"""Derivative graphs of graphs: `jvp`, `vjp`, `grad`, `value_and_grad`, `jacobian`, `hessian`, `hvp`.

Every function takes a graph and returns a graph with the same inputs (and seeds after them), so transforms nest to
any order. Names of results: the gradient of `L` with respect to `W` is `dL_dW`, a tangent `L_dot`, a cotangent `W_bar`,
a Hessian block `d2L_dW_db`, a Hessian-vector product `Hv_W`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from graphad.ad import arith, second
from graphad.ad.batch import batch_nodes
from graphad.ad.forward import push_forward
from graphad.ad.reverse import EMPTY, Shortcuts, pull_back
from graphad.ad.second import Nesting
from graphad.errors import ArgumentError, DifferentiationError, Source, describe
from graphad.ir import sizes
from graphad.ir.graph import Graph, expect_graph, keep, rebuild
from graphad.ir.operation import call
from graphad.ir.types import Shape
from graphad.ir.variable import Variable
from graphad.ops.product import contracted, free_letters

Names = str | Sequence[str] | None
Mode = Literal["forward", "reverse"]


def jvp(graph: Graph, wrt: Names = None, of: Names = None) -> Graph:
    """Jacobian times vector: further inputs `W_dot`, one for each of `wrt`; outputs each `of` and its `L_dot`.

    >>> import graphad as ga
    >>> g = ga.Graph("cube")
    >>> x = g.input("x")
    >>> g.output("y", x * x * x)
    >>> ga.interpret(jvp(g), x=2.0, x_dot=1.0)
    {'y': array(8.), 'y_dot': array(12.)}
    """
    inputs, outputs = select_inputs(graph, wrt), select_outputs(graph, of)
    new = _open(graph, f"{graph.name}_jvp")
    seeds = {graph.inputs[n]: _seed(new, graph.inputs[n], fresh(graph, f"{n}_dot")) for n in inputs}
    targets = [graph.outputs[n] for n in outputs]
    for name, target, tangent in zip(outputs, targets, push_forward(new, seeds, targets), strict=True):
        new.output(name, new.variable(target))
        new.output(fresh(graph, f"{name}_dot"), _dependent(new, target, tangent, name, inputs))
    return live(new)


def vjp(graph: Graph, wrt: Names = None, of: Names = None) -> Graph:
    """Vector times Jacobian: further inputs `L_bar`, one for each of `of`; outputs each `of`, then each `W_bar`.

    >>> import graphad as ga
    >>> g = ga.Graph("product")
    >>> x, y = g.input("x"), g.input("y")
    >>> g.output("z", x * y)
    >>> ga.interpret(vjp(g), x=2.0, y=3.0, z_bar=1.0)
    {'z': array(6.), 'x_bar': array(3.), 'y_bar': array(2.)}
    """
    inputs, outputs = select_inputs(graph, wrt), select_outputs(graph, of)
    new = _open(graph, f"{graph.name}_vjp")
    seeds: dict[int, Variable] = {}
    for name in outputs:
        target = graph.outputs[name]
        seed = _seed(new, target, fresh(graph, f"{name}_bar"))
        earlier = seeds.get(target)
        seeds[target] = seed if earlier is None else earlier + seed
    results = pull_back(new, seeds, [graph.inputs[n] for n in inputs])
    for name in outputs:
        new.output(name, new.variable(graph.outputs[name]))
    for name, result in zip(inputs, results, strict=True):
        found = _dependent(new, graph.inputs[name], result, " and ".join(outputs), [name])
        new.output(fresh(graph, f"{name}_bar"), found)
    return live(new)


def grad(graph: Graph, wrt: Names = None, of: str | None = None) -> Graph:
    """The gradient of a scalar output: outputs `dL_dW`, one for each of `wrt`.

    >>> import graphad as ga
    >>> g = ga.Graph("square")
    >>> x = g.input("x", shape="n")
    >>> g.output("L", (x * x).sum())
    >>> ga.interpret(grad(g), x=[1.0, 2.0])
    {'dL_dx': array([2., 4.])}
    """
    return gradient(graph, wrt, of, with_value=False)


def value_and_grad(graph: Graph, wrt: Names = None, of: str | None = None) -> Graph:
    """A scalar output and its gradient: outputs `L`, then `dL_dW` for each of `wrt`."""
    return gradient(graph, wrt, of, with_value=True)


def gradient(
    graph: Graph,
    wrt: Names,
    of: str | None,
    *,
    with_value: bool,
    shortcuts: Callable[[Graph], Shortcuts] | None = None,
) -> Graph:
    """The graph of `grad` or `value_and_grad`; `shortcuts` gives those of `pull_back` for an open copy of the graph."""
    inputs, output = select_inputs(graph, wrt), scalar_output(graph, of)
    new = _open(graph, f"{graph.name}_{'value_and_grad' if with_value else 'grad'}")
    target = graph.outputs[output]
    one = new.const(1.0, graph.nodes[target].type.dtype)
    known = EMPTY if shortcuts is None else shortcuts(new)
    results = pull_back(new, {target: one}, [graph.inputs[n] for n in inputs], shortcuts=known)
    if with_value:
        new.output(output, new.variable(target))
    for name, result in zip(inputs, results, strict=True):
        new.output(f"d{output}_d{name}", _dependent(new, graph.inputs[name], result, output, [name]))
    return live(new)


def jacobian(graph: Graph, wrt: Names = None, of: Names = None, mode: Mode = "reverse") -> Graph:
    """Dense Jacobians: outputs `dy_dx` of shape `y.shape + x.shape`, for each of `of` and each of `wrt`.

    Arguments:
        mode: "forward" pushes one unit tangent per element of the inputs, "reverse" pulls one unit cotangent per
            element of the outputs. `graphad.plan.modes` chooses.
    """
    inputs, outputs = select_inputs(graph, wrt), select_outputs(graph, of)
    new = _open(graph, f"{graph.name}_jacobian")
    blocks: dict[tuple[str, str], Variable] = {}
    if mode == "forward":
        for name in inputs:
            results = _batched_forward(new, graph, name, [graph.outputs[o] for o in outputs])
            for output, result in zip(outputs, results, strict=True):
                blocks[output, name] = _dependent(new, graph.outputs[output], result, output, [name])
    else:
        for output in outputs:
            results = _batched_reverse(new, graph, output, [graph.inputs[n] for n in inputs])
            for name, result in zip(inputs, results, strict=True):
                blocks[output, name] = _dependent(new, graph.inputs[name], result, output, [name])
    for output in outputs:
        for name in inputs:
            shape = graph.nodes[graph.outputs[output]].type.shape + graph.nodes[graph.inputs[name]].type.shape
            new.output(f"d{output}_d{name}", arith.broadcast_to(blocks[output, name], shape))
    return live(new)


def _batched_forward(new: Graph, graph: Graph, name: str, targets: list[int]) -> list[Variable | None]:
    """Tangents of the targets for all unit tangents of an input, the input's axes last."""
    source = graph.inputs[name]
    shape = graph.nodes[source].type.shape
    placeholder = new.apply("placeholder", shape=shape, dtype=graph.nodes[source].type.dtype)
    tangents = push_forward(new, {source: placeholder}, targets)
    found = [t for t in tangents if t is not None]
    units = {placeholder.id: identity(new, shape, placeholder.dtype)}
    batched = iter(batch_nodes(new, units, [t.id for t in found], len(shape)))
    return [None if t is None else _batch_last(next(batched), len(shape)) for t in tangents]


def _batched_reverse(new: Graph, graph: Graph, output: str, targets: list[int]) -> list[Variable | None]:
    """Cotangents of the targets for all unit cotangents of an output, the output's axes first."""
    source = graph.outputs[output]
    shape = graph.nodes[source].type.shape
    placeholder = new.apply("placeholder", shape=shape, dtype=graph.nodes[source].type.dtype)
    cotangents = pull_back(new, {source: placeholder}, targets)
    found = [c for c in cotangents if c is not None]
    units = {placeholder.id: identity(new, shape, placeholder.dtype)}
    batched = iter(batch_nodes(new, units, [c.id for c in found], len(shape)))
    return [None if c is None else next(batched) for c in cotangents]


def identity(graph: Graph, shape: Shape, dtype: str) -> Variable:
    """All unit arrays of a shape: an array of `shape + shape` with ones where the two index tuples agree."""
    rank = len(shape)
    result: Variable | None = None
    for axis, extent in enumerate(shape):
        row = call("reshape", call("arange", extent, graph=graph), _one_axis(axis, extent, 2 * rank))
        column = call("reshape", call("arange", extent, graph=graph), _one_axis(rank + axis, extent, 2 * rank))
        same = row == column
        result = same if result is None else result & same
    one = graph.const(1.0, dtype)
    if result is None:
        return one
    return arith.broadcast_to(result.astype(dtype), shape + shape)


def _one_axis(axis: int, extent: sizes.Extent, rank: int) -> Shape:
    return (1,) * axis + (extent,) + (1,) * (rank - axis - 1)


def _batch_last(value: Variable, axes: int) -> Variable:
    order = tuple(range(axes, value.ndim)) + tuple(range(axes))
    return value.transpose(order) if axes and value.ndim > axes else value


def hvp(
    graph: Graph,
    wrt: Names = None,
    of: str | None = None,
    nesting: Nesting | Literal["dense"] = "forward over reverse",
    *,
    vectors: sizes.Extent | None = None,
    value: bool = False,
    gradient: bool = False,
) -> Graph:
    """Hessian times vector: further inputs `W_dot`; outputs `Hv_W`, one for each of `wrt`.

    Arguments:
        nesting: the order of the two modes, or "dense": the Hessian is formed and multiplied.
        vectors: how many at once: `W_dot` and `Hv_W` have this extent in front.
        value, gradient: the output itself and its gradient `dL_dW` are outputs in front of the products.

    Reference: B. A. Pearlmutter, Fast exact multiplication by the Hessian, Neural Computation 6 (1994).
    """
    inputs, output = select_inputs(graph, wrt), scalar_output(graph, of)
    new = _open(graph, f"{graph.name}_hvp")
    ids, target = [graph.inputs[n] for n in inputs], graph.outputs[output]
    first = _gradient_values(new, graph, inputs, output)
    lead: Shape = () if vectors is None else (vectors,)
    seeds = [_seed(new, i, fresh(graph, f"{n}_dot"), lead) for n, i in zip(inputs, ids, strict=True)]
    if nesting == "dense":
        blocks = _hessian_blocks(new, ids, target, first, "forward over reverse")
        found = [_times_vectors(row, seeds, len(lead)) for row in blocks]
    elif vectors is None:
        found = second.products(new, nesting, ids, target, first, seeds)
    else:
        found = second.batched_products(new, nesting, ids, target, first, seeds)
    if value:
        new.output(output, new.variable(target))
    for name, i, slope in zip(inputs, ids, first, strict=True):
        if gradient:
            new.output(f"d{output}_d{name}", arith.materialized(slope, Variable(new, i)))
    for name, seed, product in zip(inputs, seeds, found, strict=True):
        new.output(f"Hv_{name}", arith.materialized(product, seed))
    return live(new)


def _gradient_values(new: Graph, graph: Graph, inputs: Sequence[str], output: str) -> list[Variable | None]:
    ids = [graph.inputs[n] for n in inputs]
    found = second.gradients(new, ids, graph.outputs[output])
    for name, i, slope in zip(inputs, ids, found, strict=True):
        _dependent(new, i, slope, output, [name])
    return found


def _times_vectors(row: Sequence[Variable | None], vectors: Sequence[Variable], lead: int) -> Variable | None:
    """Blocks of a Hessian times vectors behind `lead` axes, and their sum."""
    total: Variable | None = None
    for block, vector in zip(row, vectors, strict=True):
        if block is not None:
            rank = vector.ndim - lead
            letters = free_letters("", block.ndim + lead)
            out, before = letters[: block.ndim - rank], letters[block.ndim :]
            inner = letters[block.ndim - rank : block.ndim]
            product = contracted(vector, block, before + inner, out + inner, before + out)
            total = arith.add(total, product)
    return total


def hessian(
    graph: Graph, wrt: Names = None, of: str | None = None, nesting: Nesting = "forward over reverse"
) -> Graph:
    """Second derivatives of a scalar output: outputs `d2L_dW_db` of shape `W.shape + b.shape` for each pair.

    Arguments:
        nesting: how a Hessian is multiplied by the unit vectors: the order of the two modes.
    """
    inputs, output = select_inputs(graph, wrt), scalar_output(graph, of)
    new = _open(graph, f"{graph.name}_hessian")
    ids, target = [graph.inputs[n] for n in inputs], graph.outputs[output]
    first = _gradient_values(new, graph, inputs, output)
    blocks = _hessian_blocks(new, ids, target, first, nesting)
    for row, i, values in zip(inputs, ids, blocks, strict=True):
        for name, j, block in zip(inputs, ids, values, strict=True):
            shape = graph.nodes[i].type.shape + graph.nodes[j].type.shape
            zero = new.const(0.0, graph.nodes[i].type.dtype)
            new.output(f"d2{output}_d{row}_d{name}", arith.broadcast_to(zero if block is None else block, shape))
    return live(new)


def _hessian_blocks(
    new: Graph, ids: Sequence[int], target: int, first: list[Variable | None], nesting: Nesting
) -> list[list[Variable | None]]:
    """The blocks of a Hessian: by rows, each of the row's shape, then the column's."""
    columns: list[list[Variable | None]] = []
    for i in ids:
        kind = new.nodes[i].type
        units = [identity(new, kind.shape, kind.dtype) if j == i else None for j in ids]
        found = second.batched_products(new, nesting, ids, target, first, units)
        columns.append([None if f is None else _batch_last(f, kind.rank) for f in found])
    return [[column[row] for column in columns] for row in range(len(ids))]


# ---------------------------------------------------------------------- names and checks


def select_inputs(graph: Graph, wrt: Names) -> list[str]:
    """The inputs to differentiate with respect to; None means all of floating dtype."""
    expect_graph(graph)
    if wrt is None:
        names = [n for n, i in graph.inputs.items() if graph.nodes[i].type.is_float]
    else:
        names = [wrt] if isinstance(wrt, str) else list(wrt)
    if not names:
        raise ArgumentError(describe(f"`{graph.name}` has no floating input to differentiate with respect to"))
    for name in names:
        if name not in graph.inputs:
            raise ArgumentError(
                describe(
                    f"wrt=`{name}`: `{graph.name}` has no such input",
                    expected=", ".join(graph.inputs),
                    fix="name inputs of the graph",
                )
            )
        node = graph.nodes[graph.inputs[name]]
        if not node.type.is_float:
            raise DifferentiationError(
                describe(
                    f"`{name}` has dtype {node.type.dtype} and no derivative",
                    expected="float64 or float32",
                    source=node.source,
                    fix=f'declare it with `dtype="float64"`, or leave `{name}` out of wrt',
                )
            )
    if len(set(names)) != len(names):
        raise ArgumentError(describe("an input is named twice in wrt", got=", ".join(names)))
    return names


def select_outputs(graph: Graph, of: Names) -> list[str]:
    """The outputs to differentiate; None means all of floating dtype."""
    expect_graph(graph)
    if of is None:
        names = [n for n, i in graph.outputs.items() if graph.nodes[i].type.is_float]
    else:
        names = [of] if isinstance(of, str) else list(of)
    if not names:
        raise ArgumentError(describe(f"`{graph.name}` has no floating output to differentiate"))
    for name in names:
        if name not in graph.outputs:
            raise ArgumentError(
                describe(
                    f"of=`{name}`: `{graph.name}` has no such output",
                    expected=", ".join(graph.outputs),
                    fix="name outputs of the graph",
                )
            )
        node = graph.nodes[graph.outputs[name]]
        if not node.type.is_float:
            raise DifferentiationError(
                describe(
                    f"output `{name}` has dtype {node.type.dtype} and no derivative",
                    expected="float64 or float32",
                    source=node.source,
                    fix=f"leave `{name}` out of `of`",
                )
            )
    return names


def scalar_output(graph: Graph, of: str | None) -> str:
    """The one scalar output that a gradient is of."""
    names = select_outputs(graph, of)
    if len(names) > 1:
        raise ArgumentError(
            describe(f"`{graph.name}` has several outputs: {', '.join(names)}", fix='say which: `of="..."`')
        )
    node = graph.nodes[graph.outputs[names[0]]]
    if node.type.shape != ():
        raise DifferentiationError(
            describe(
                f"a gradient is of a scalar; output `{names[0]}` is an array",
                expected="shape ()",
                got=str(node.type),
                source=node.source,
                fix="sum it, or use `jacobian` or `vjp`",
            )
        )
    return names[0]


def _open(graph: Graph, name: str) -> Graph:
    new = graph.copy(name)
    new.outputs = {}
    return new


def fresh(graph: Graph, name: str) -> str:
    """A name for a seed or its result that the graph does not have yet: `x_dot`, in a second transform `x_dot_2`.

    >>> import graphad as ga
    >>> g = ga.Graph("square")
    >>> x = g.input("x")
    >>> g.output("y", x * x)
    >>> list(jvp(jvp(g, "x"), "x", "y").inputs)
    ['x', 'x_dot', 'x_dot_2']
    """
    number, wanted = 1, name
    while wanted in graph.inputs or wanted in graph.outputs:
        number += 1
        wanted = f"{name}_{number}"
    return wanted


def _seed(new: Graph, like: int, name: str, lead: Shape = ()) -> Variable:
    kind = new.nodes[like].type
    with new.at(new.nodes[like].source):
        return new.input(name, lead + kind.shape, kind.dtype)


def _dependent(new: Graph, like: int, value: Variable | None, output: str, inputs: Sequence[str]) -> Variable:
    if value is None:
        raise independent(output, inputs, new.nodes[like].source)
    return value


def independent(output: str, inputs: Sequence[str], source: Source | None) -> DifferentiationError:
    """The error of an output that does not depend on inputs."""
    what = f"output {output} does not depend on {', '.join(f'`{n}`' for n in inputs)}"
    fix = "leave it out of wrt: its derivative is zero, also where only `floor` and the like depend on it"
    return DifferentiationError(describe(what, source=source, fix=fix))


def live(graph: Graph) -> Graph:
    """The graph without nodes that no output needs."""
    return rebuild(graph, lambda new, old, node, args: None, live=sorted(keep(graph, graph.outputs.values()))).freeze()
