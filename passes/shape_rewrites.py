"""The rewrites of `simplify` that are about shapes: views of views, and broadcasting moved behind arithmetic."""

from __future__ import annotations

from graphad.ir import sizes
from graphad.ir.graph import Node
from graphad.ir.operation import OPERATIONS
from graphad.ir.sizes import Extent
from graphad.ir.types import Shape, broadcast
from passes.rewrite import Rewriter, stretches

LOSSLESS = {
    "bool": ("int32", "int64", "float32", "float64"),
    "int32": ("int64", "float64"),
    "int64": (),
    "float32": ("float64",),
    "float64": (),
}


def uniform(rewriter: Rewriter, node: Node) -> int | None:
    """A view of one number stretched to a shape is that number stretched to the view's shape."""
    inner = rewriter.nodes[node.args[0]]
    if inner.op != "broadcast_to" or rewriter.nodes[inner.args[0]].type.shape != ():
        return None
    return rewriter.make("broadcast_to", inner.args[0], shape=node.type.shape)


def transpose_of(rewriter: Rewriter, node: Node) -> int | None:
    """A transpose that moves nothing, of a transpose, or of one number."""
    axes, inner = node.param("axes"), rewriter.nodes[node.args[0]]
    if axes == tuple(range(len(axes))):
        return node.args[0]
    if inner.op != "transpose":
        return uniform(rewriter, node)
    return rewriter.make("transpose", inner.args[0], axes=tuple(inner.param("axes")[a] for a in axes))


def reshape_of(rewriter: Rewriter, node: Node) -> int | None:
    """A reshape to the same shape, of a reshape, or of one number."""
    inner = rewriter.nodes[node.args[0]]
    if inner.type.shape == node.type.shape:
        return node.args[0]
    if inner.op != "reshape":
        return uniform(rewriter, node)
    return rewriter.make("reshape", inner.args[0], shape=node.type.shape)


def broadcast_of(rewriter: Rewriter, node: Node) -> int | None:
    """A broadcast to the same shape, that only adds axes of one element, or of a broadcast."""
    inner = rewriter.nodes[node.args[0]]
    if inner.type.shape == node.type.shape:
        return node.args[0]
    if (1,) * (node.type.rank - inner.type.rank) + inner.type.shape == node.type.shape:
        return rewriter.make("reshape", node.args[0], shape=node.type.shape)
    if not _stretching(rewriter, inner):
        return None
    return rewriter.make("broadcast_to", inner.args[0], shape=node.type.shape)


def slice_of(rewriter: Rewriter, node: Node) -> int | None:
    """A slice of everything, of a slice, of one number, or of just those elements that were replaced."""
    inner = rewriter.nodes[node.args[0]]
    starts, steps = node.param("starts"), node.param("steps")
    if node.type.shape == inner.type.shape and all(s == 0 for s in starts) and all(s == 1 for s in steps):
        return node.args[0]
    if inner.op == "where" and _window(rewriter, inner.args[0], node):
        return rewriter.make("slice", inner.args[1], starts=starts, sizes=node.param("sizes"), steps=steps)
    if inner.op != "slice":
        return uniform(rewriter, node)
    first, stride = inner.param("starts"), inner.param("steps")
    return rewriter.make(
        "slice",
        inner.args[0],
        starts=tuple(f + t * s for f, t, s in zip(first, stride, starts, strict=True)),
        sizes=node.param("sizes"),
        steps=tuple(t * s for t, s in zip(stride, steps, strict=True)),
    )


def _window(rewriter: Rewriter, mask: int, node: Node) -> bool:
    """Whether a mask is true in just the window that a slice takes."""
    placed = rewriter.nodes[mask]
    if placed.op != "embed" or any(placed.param(name) != node.param(name) for name in ("starts", "steps")):
        return False
    true = rewriter.nodes[placed.args[0]]
    if true.type.shape != node.type.shape:
        return False
    true = rewriter.nodes[true.args[0]] if true.op == "broadcast_to" else true
    return true.op == "const" and bool(true.param("value").array.all())


def cast_of(rewriter: Rewriter, node: Node) -> int | None:
    """A cast to the same dtype, or after one that lost nothing."""
    inner = rewriter.nodes[node.args[0]]
    if inner.type.dtype == node.type.dtype:
        return node.args[0]
    if inner.op != "cast" or inner.type.dtype not in LOSSLESS[rewriter.nodes[inner.args[0]].type.dtype]:
        return None
    return rewriter.make("cast", inner.args[0], dtype=node.type.dtype)


def strip_broadcasts(rewriter: Rewriter, node: Node) -> int | None:
    """An elementwise operation on stretched operands: the same on the operands as they are, stretched afterwards."""
    nodes = rewriter.nodes
    op = OPERATIONS.get(node.op)
    if op is None or not op.elementwise:
        return None
    args = tuple([nodes[a].args[0] if _stretching(rewriter, nodes[a]) else a for a in node.args])
    if args == node.args:
        return None
    shape = _certain_shape([nodes[a].type.shape for a in args])
    if shape is None or not stretches(shape, node.type.shape):
        return None
    return rewriter.fitted(rewriter.remake(node.op, args, node.params), node.type)


def _stretching(rewriter: Rewriter, node: Node) -> bool:
    """Whether a node does what elementwise operations do to their operands anyway: stretch, or add leading axes."""
    if node.op != "reshape":
        return node.op == "broadcast_to"
    shape = rewriter.nodes[node.args[0]].type.shape
    return (1,) * (node.type.rank - len(shape)) + shape == node.type.shape


def _certain_shape(shapes: list[Shape]) -> Shape | None:
    """The shape to which shapes broadcast, None where that depends on sizes."""
    rank = max(map(len, shapes))
    for axis in range(1, rank + 1):
        extents = {s[-axis] for s in shapes if len(s) >= axis} - {1}
        if len(extents) > 1:
            return None
    return broadcast(shapes)[0]


def reduction_of_one(rewriter: Rewriter, node: Node) -> int | None:
    """A reduction over axes of one element: a reshape, and the reduction over what remains."""
    (x,) = node.args
    kind = rewriter.nodes[x].type
    ones = [a for a in node.param("axes") if kind.shape[a] == 1]
    if not ones or kind.dtype != node.type.dtype:
        return None
    return _reduced(rewriter, node, x, ones)


def _reduced(rewriter: Rewriter, node: Node, x: int, gone: list[int]) -> int:
    """The reduction of a node over its axes other than `gone`, which hold one element each in `x`."""
    shape = rewriter.nodes[x].type.shape
    kept = [a for a in range(len(shape)) if a not in gone]
    value = rewriter.make("reshape", x, shape=tuple(shape[a] for a in kept))
    axes = tuple(kept.index(a) for a in node.param("axes") if a not in gone)
    return rewriter.make(node.op, value, axes=axes) if axes else value


def reduction_of_broadcast(rewriter: Rewriter, node: Node) -> int | None:
    """A reduction along axes that were stretched: of a sum the number of terms times one, of a maximum that one."""
    wide = rewriter.nodes[node.args[0]]
    if wide.op != "broadcast_to" or wide.type.dtype != node.type.dtype or node.op == "prod":
        return None
    source = rewriter.nodes[wide.args[0]].type.shape
    padded: Shape = (1,) * (wide.type.rank - len(source)) + source
    stretched = [a for a in node.param("axes") if padded[a] == 1 and wide.type.shape[a] != 1]
    count = sizes.product(tuple(wide.type.shape[a] for a in stretched))
    # A sum over no element is 0 and a maximum none: of a symbolic count only finite sums are sure to agree.
    if not stretched or (node.op != "sum" and not (isinstance(count, int) and count > 0)):
        return None
    narrow = tuple(1 if a in stretched else e for a, e in enumerate(wide.type.shape))
    value = _reduced(rewriter, node, rewriter.make("broadcast_to", wide.args[0], shape=narrow), stretched)
    if node.op != "sum":
        return value
    return rewriter.make("mul", value, extent_value(rewriter, count, node.type.dtype))


def extent_value(rewriter: Rewriter, extent: Extent, dtype: str) -> int:
    """An extent as a scalar of a dtype."""
    if isinstance(extent, int):
        return rewriter.const(extent, dtype)
    return rewriter.make("cast", rewriter.make("size_of", size=extent), dtype=dtype)


def reduction_of_reduction(rewriter: Rewriter, node: Node) -> int | None:
    """A reduction of the same reduction: one over all axes."""
    inner = rewriter.nodes[node.args[0]]
    if inner.op != node.op or not rewriter.used_once(node.args[0]):
        return None
    first = inner.param("axes")
    rank = rewriter.nodes[inner.args[0]].type.rank
    kept = [a for a in range(rank) if a not in first]
    axes = tuple(sorted({*first, *(kept[a] for a in node.param("axes"))}))
    return rewriter.make(node.op, inner.args[0], axes=axes)


def sum_of_negative(rewriter: Rewriter, node: Node) -> int | None:
    """A sum of negatives: the negative of the sum, one operation instead of one for every term."""
    inner = rewriter.nodes[node.args[0]]
    if inner.op != "neg" or inner.type.dtype != node.type.dtype or not rewriter.used_once(node.args[0]):
        return None
    return rewriter.make("neg", rewriter.make("sum", inner.args[0], axes=node.param("axes")))


def sum_of_product(rewriter: Rewriter, node: Node) -> int | None:
    """A sum of a contraction: an axis of both operands is contracted too, that of one is summed before."""
    product = rewriter.nodes[node.args[0]]
    if product.op != "einsum" or product.type.dtype != node.type.dtype or not rewriter.used_once(node.args[0]):
        return None
    out = product.param("out")
    gone = {out[a] for a in node.param("axes")}
    sides = []
    for operand, letters, others in (
        (product.args[0], product.param("left"), product.param("right")),
        (product.args[1], product.param("right"), product.param("left")),
    ):
        alone = tuple(k for k, letter in enumerate(letters) if letter in gone and letter not in others)
        value = rewriter.make("sum", operand, axes=alone) if alone else operand
        sides.append((value, "".join(letter for k, letter in enumerate(letters) if k not in alone)))
    (left, left_letters), (right, right_letters) = sides
    rest = "".join(letter for letter in out if letter not in gone)
    return rewriter.make("einsum", left, right, left=left_letters, right=right_letters, out=rest)
