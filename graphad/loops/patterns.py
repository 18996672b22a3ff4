"""The lowering of every operation that is not elementwise, one rule each.

Importing the module fills `lower.RULES`.
"""

from __future__ import annotations

from graphad.errors import GraphError, describe
from graphad.ir.graph import Node
from graphad.ir.sizes import Extent, product
from graphad.loops.ir import ZERO, Access, Index, IndexValue, Literal, Var, at
from graphad.loops.lower import Contribution, Lowering, Pending, constant_view, pattern
from graphad.loops.views import View, affine, plain, regrouped, sliced, stepped, stretched, transposed, whole

BLAS_FROM = 4096.0  # multiplications from which a matrix product goes to BLAS
BLAS_SIDE = 4


@pattern("const")
def const(low: Lowering, node_id: int, node: Node) -> View:
    """A number or an array of the module."""
    return constant_view(low, node.param("value").array)


@pattern("iota")
def iota(low: Lowering, node_id: int, node: Node) -> View:
    """The axis itself, as a number."""
    return View(IndexValue(at(0), node.type.dtype), node.type.shape)


@pattern("size_of")
def size_of(low: Lowering, node_id: int, node: Node) -> View:
    """A size as a number."""
    return View(IndexValue(Index((), node.param("size")), node.type.dtype), ())


@pattern("placeholder")
def placeholder(low: Lowering, node_id: int, node: Node) -> View:
    """Stands for a seed while a graph is transformed; a program must not contain it."""
    raise GraphError(describe("a placeholder is left in the graph", source=node.source))


# ---------------------------------------------------------------------- views


@pattern("transpose")
def transpose(low: Lowering, node_id: int, node: Node) -> View | Pending:
    """Axes in another order."""
    axes = node.param("axes")
    pending = low.pending(node.args[0])
    if pending is not None:
        return pending.retargeted(node.type.shape, lambda target: tuple(target[a] for a in axes))
    return transposed(low.view(node.args[0]), axes)


@pattern("broadcast_to")
def broadcast_to(low: Lowering, node_id: int, node: Node) -> View:
    """Stretched axes."""
    return stretched(low.view(node.args[0]), node.type.shape)


@pattern("slice")
def slice_(low: Lowering, node_id: int, node: Node) -> View:
    """Some of the elements."""
    return sliced(low.view(node.args[0]), node.param("starts"), node.type.shape, node.param("steps"))


@pattern("reshape")
def reshape(low: Lowering, node_id: int, node: Node) -> View | Pending:
    """A view where axes are dropped, added or split; else the same memory under another shape."""
    old, new = low.graph.nodes[node.args[0]].type.shape, node.type.shape
    pending = low.pending(node.args[0])
    if pending is not None and [e for e in old if e != 1] == [e for e in new if e != 1]:
        return pending.retargeted(new, lambda target: _with_units(target, old, new))
    view = low.view(node.args[0])
    indices = regrouped(old, new)
    if indices is not None:
        return view.moved(indices, new)
    source = low.array(view, node.type.dtype)
    var = low.program.variable(new, node.type.dtype, whole=True)
    var.alias = source
    low.call("reshape", var, [source])
    return whole(var)


def _with_units(target: tuple[Index, ...], old: tuple[Extent, ...], new: tuple[Extent, ...]) -> tuple[Index, ...]:
    kept = iter([index for index, extent in zip(target, old, strict=True) if extent != 1])
    return tuple(ZERO if extent == 1 else next(kept) for extent in new)


@pattern("gather")
def gather(low: Lowering, node_id: int, node: Node) -> View:
    """Reading through index arrays."""
    source, *index_ids = node.args
    axes = node.param("axes")
    indices = [low.view(i) for i in index_ids]
    rank = len(indices[0].shape)
    found = _indirect(indices, axes, low.graph.nodes[source].type.rank, rank)
    return low.view(source).moved(found, node.type.shape)


def _indirect(indices: list[View], axes: tuple[int, ...], rank: int, lead: int) -> list[Index]:
    """For each axis of the indexed array its index over the positions (index axes first, then the others)."""
    by_axis = dict(zip(axes, indices, strict=True))
    others = iter(range(lead, lead + rank))
    return [_index_of(by_axis[d]) if d in by_axis else at(next(others)) for d in range(rank)]


def _index_of(view: View) -> Index:
    operand = view.operand
    if isinstance(operand, IndexValue):
        return operand.number
    if isinstance(operand, Literal):
        return Index((), int(operand.value))
    return Index(((operand, 1),))


# ---------------------------------------------------------------------- reductions


@pattern("sum")
def sum_(low: Lowering, node_id: int, node: Node) -> Pending:
    """Contributions to what is left of the axes."""
    axes = set(node.param("axes"))
    pending = low.pending(node.args[0])
    if pending is not None:
        return pending.retargeted(node.type.shape, lambda t: tuple(i for d, i in enumerate(t) if d not in axes))
    view = low.view(node.args[0])
    target = tuple(at(d) for d in range(len(view.shape)) if d not in axes)
    return Pending(node.type.shape, node.type.dtype, (Contribution(view, target),))


@pattern("prod", "max", "min", "any", "all")
def reduction(low: Lowering, node_id: int, node: Node) -> View:
    """Other reductions: one accumulator, one writer."""
    kind = {"prod": "*=", "max": "max=", "min": "min=", "any": "|=", "all": "&="}[node.op]
    return _reduced(low, low.view(node.args[0]), set(node.param("axes")), kind, node.type.dtype)


def _reduced(low: Lowering, view: View, axes: set[int], kind: str, dtype: str) -> View:
    """A reduction; the same one asked for twice (an extremum and its position) is made once."""
    key = (view, tuple(sorted(axes)), kind, low.region)
    if key in low.reduced:
        return low.reduced[key]
    target = tuple(at(d) for d in range(len(view.shape)) if d not in axes)
    shape = tuple(e for d, e in enumerate(view.shape) if d not in axes)
    low.reduced[key] = low.settle(Pending(shape, dtype, (Contribution(view, target),)), kind)
    return low.reduced[key]


@pattern("argmax", "argmin")
def arg_extremum(low: Lowering, node_id: int, node: Node) -> View:
    """The least position whose element equals the extremum; of NaNs the first."""
    view, axis = low.view(node.args[0]), node.param("axis")
    dtype = low.graph.nodes[node.args[0]].type.dtype
    kind = "max=" if node.op == "argmax" else "min="
    extremum = _reduced(low, view, {axis}, kind, dtype)
    unit = tuple(1 if d == axis else e for d, e in enumerate(view.shape))
    spread = stretched(extremum.moved([at(d) for d in range(len(view.shape)) if d != axis], unit), view.shape)
    position = View(IndexValue(at(axis), "int64"), view.shape)
    length = View(IndexValue(Index((), view.shape[axis]), "int64"), view.shape)
    found = low.compute(
        view.shape, "int64", "({2} if ({0} == {1}) or ({0} != {0}) else {3})", [view, spread, position, length]
    )
    return _reduced(low, found, {axis}, "min=", "int64")


@pattern("cumsum", "cumprod", "linear_recurrence")
def scan(low: Lowering, node_id: int, node: Node) -> View:
    """A value carried along an axis."""
    operation = {"cumsum": "{carry} + {0}", "cumprod": "{carry} * {0}", "linear_recurrence": "{0} * {carry} + {1}"}[
        node.op
    ]
    start = Literal(1 if node.op == "cumprod" else 0, node.type.dtype)
    axis, shape = node.param("axis"), node.type.shape
    views = [low.view(a) for a in node.args]
    matter = set().union(*(v.positions() for v in views)) | {axis}
    positions = [p for p in sorted(matter) if shape[p] != 1 or p == axis]
    var = low.program.variable(tuple(shape[p] for p in positions), node.type.dtype)
    others = [k for k, p in enumerate(positions) if p != axis]
    carry = low.program.variable(tuple(shape[positions[k]] for k in others), node.type.dtype)
    out = Access(var, tuple(at(k) for k in range(len(positions))))
    statement = low.assign(out, shape, positions, views, operation, kind="scan")
    statement.carry = Access(carry, tuple(statement.out.indices[k] for k in others))
    statement.start = start
    return View(Access(var, tuple(at(p) for p in positions)), shape)


# ---------------------------------------------------------------------- placing


@pattern("embed")
def embed(low: Lowering, node_id: int, node: Node) -> Pending:
    """Contributions at an offset (and a step) to zeros."""
    starts, steps = node.param("starts"), node.param("steps")

    def place(target: tuple[Index, ...]) -> tuple[Index, ...]:
        return tuple(stepped(index, start, step) for index, start, step in zip(target, starts, steps, strict=True))

    pending = low.pending(node.args[0])
    if pending is not None:
        return pending.retargeted(node.type.shape, place)
    view = low.view(node.args[0])
    target = place(tuple(at(p) for p in range(len(view.shape))))
    return Pending(node.type.shape, node.type.dtype, (Contribution(view, target),))


@pattern("concatenate")
def concatenate(low: Lowering, node_id: int, node: Node) -> View:
    """One writer per part, each at its offset."""
    axis, shape = node.param("axis"), node.type.shape
    kept = [p for p, extent in enumerate(shape) if extent != 1 or p == axis]
    var = low.program.variable(tuple(shape[p] for p in kept), node.type.dtype)
    offset: Extent = 0
    for arg in node.args:
        target = tuple(affine(p, offset, 1) if p == axis else at(p) for p in kept)
        merged = low.merged.get(arg)
        if merged is None:
            low.accumulate(var, "=", low.view(arg), target)
        else:
            places = tuple(index.substitute(merged.__getitem__) for index in target)
            low.accumulate(var, "=", low.view(low.graph.nodes[arg].args[0]), places)
        offset = offset + low.graph.nodes[arg].type.shape[axis]
    return View(Access(var, tuple(at(p) for p in kept)), shape)


SCATTER_KINDS = {
    "scatter_add": "+=",
    "scatter_set": "=",
    "scatter_mul": "*=",
    "scatter_max": "max=",
    "scatter_min": "min=",
}


@pattern(*SCATTER_KINDS)
def scatter(low: Lowering, node_id: int, node: Node) -> View | Pending:
    """Writing through index arrays: a copy, then the updates in order; adding to zeros is an accumulation."""
    source, updates, *index_ids = node.args
    indices = [low.view(i) for i in index_ids]
    lead, rank = len(indices[0].shape), node.type.rank
    values = low.view(updates)
    target = tuple(_indirect(indices, node.param("axes"), rank, lead))
    base = low.view(source)
    if node.op == "scatter_add" and isinstance(base.operand, Literal) and base.operand.value == 0:
        return Pending(node.type.shape, node.type.dtype, (Contribution(values, target),))
    var, filled = low.copied(base, node.type.dtype)
    low.accumulate(var, SCATTER_KINDS[node.op], values, target, after=(filled,))
    return whole(var)


# ---------------------------------------------------------------------- products


@pattern("einsum")
def einsum(low: Lowering, node_id: int, node: Node) -> View | Pending:
    """A product of two arrays summed over common letters: loops, or BLAS where it is large."""
    left, right, out = node.param("left"), node.param("right"), node.param("out")
    a, b = low.view(node.args[0]), low.view(node.args[1])
    extent = {**dict(zip(right, b.shape, strict=True)), **dict(zip(left, a.shape, strict=True))}
    batch = [c for c in left if c in right and c in out]
    inner = [c for c in left if c in right and c not in out]
    rows = [c for c in left if c not in right]
    columns = [c for c in right if c not in left]
    sizes = [low.estimate(product(tuple(extent[c] for c in group))) for group in (rows, inner, columns)]
    if node.type.is_float and min(sizes) >= BLAS_SIDE and sizes[0] * sizes[1] * sizes[2] >= BLAS_FROM:
        return _matrix_product(low, node, (a, left), (b, right), (batch, rows, inner, columns), extent)
    letters = [*out, *inner]
    shape = tuple(extent[c] for c in letters)
    views = [v.moved([at(letters.index(c)) for c in word], shape) for v, word in ((a, left), (b, right))]
    value = low.compute(shape, node.type.dtype, "{0} * {1}", views, node_id=node_id)
    if not inner:
        return value
    return Pending(node.type.shape, node.type.dtype, (Contribution(value, tuple(at(k) for k in range(len(out)))),))


Groups = tuple[list[str], list[str], list[str], list[str]]


def _matrix_product(
    low: Lowering,
    node: Node,
    left: tuple[View, str],
    right: tuple[View, str],
    groups: Groups,
    extent: dict[str, Extent],
) -> View:
    """The product as (batched) matrices: operands are used as they lie where they are matrices already."""
    batch, rows, inner, columns = groups
    first, turned_first = _matrix(low, *left, batch, rows, inner, node.type.dtype)
    second, turned_second = _matrix(low, *right, batch, inner, columns, node.type.dtype)
    letters = [*batch, *rows, *columns]
    var = low.program.variable(tuple(extent[c] for c in letters), node.type.dtype, whole=True)
    counts = tuple(product(tuple(extent[c] for c in group)) for group in (batch, rows, inner, columns))
    low.call("dot", var, [first, second], turned=(turned_first, turned_second), sizes=counts, batched=bool(batch))
    return transposed(whole(var), [letters.index(c) for c in node.param("out")])


def _matrix(
    low: Lowering, view: View, word: str, batch: list[str], rows: list[str], columns: list[str], dtype: str
) -> tuple[Var, bool]:
    """An operand as an array in the order batch, rows, columns; or batch, columns, rows, to be read transposed.

    A temporary keeps its order where the product can read that, since the loop that makes it writes in it; else it is
    laid out as the product wants it. A copy that was made for one product serves the next.
    """
    straight, turned = [*batch, *rows, *columns], [*batch, *columns, *rows]
    found = plain(view)
    if found is not None:
        var, positions = found
        natural = [word[positions[d]] for d in range(len(positions))]
        if natural not in (straight, turned) and not (var.fixed or var.kept or var.layout):
            var.layout = tuple(positions.index(word.index(c)) for c in straight)
        lying = [word[positions[d]] for d in var.order]
        if lying in (straight, turned):
            var.whole = True
            return var, lying != straight
    as_read, as_turned = (transposed(view, [word.index(c) for c in order]) for order in (straight, turned))
    for key, other in ((as_read, False), (as_turned, True)):
        if (key, low.region) in low.matrices:
            return low.matrices[key, low.region], other
    low.matrices[as_read, low.region] = low.copied(as_read, dtype)[0]
    return low.matrices[as_read, low.region], False
