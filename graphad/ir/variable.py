"""What the user's operators act on: a handle to one node of one graph, with NumPy's interface.

Variables know no operation: operators, methods and NumPy functions look up builder functions by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from graphad.errors import ArgumentError, GraphError, ShapeError, describe
from graphad.ir.operation import NUMPY_FUNCTIONS, call
from graphad.ir.types import Shape, TensorType

if TYPE_CHECKING:
    from graphad.ir.graph import Graph, Node

REDUCED_BY = {
    "add": "sum",
    "multiply": "prod",
    "maximum": "max",
    "minimum": "min",
    "logical_and": "all",
    "logical_or": "any",
}


def made(name: str, *args: Any, **kwargs: Any) -> Variable:
    """What the builder function called `name` answers."""
    result: Variable = call(name, *args, **kwargs)
    return result


class Variable:
    """A value of a graph under construction. Immutable; every operation makes a new node.

    >>> import graphad as ga, numpy as np
    >>> g = ga.Graph("demo")
    >>> x = g.input("x", shape=("n", 3))
    >>> y = np.sin(x[1:]) @ x.T
    >>> y.shape, y.dtype
    ((n-1, n), 'float64')
    """

    __slots__ = ("graph", "id")
    __array_priority__ = 1000

    def __init__(self, graph: Graph, node_id: int) -> None:
        self.graph = graph
        self.id = node_id

    # ------------------------------------------------------------------ what it is

    @property
    def node(self) -> Node:
        """The node behind the variable."""
        return self.graph.nodes[self.id]

    @property
    def type(self) -> TensorType:
        """Dtype and shape."""
        return self.graph.nodes[self.id].type

    @property
    def shape(self) -> Shape:
        """The extents: integers and symbolic sizes."""
        return self.type.shape

    @property
    def dtype(self) -> str:
        """The name of the dtype."""
        return self.type.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.type.shape)

    @property
    def size(self) -> Any:
        """The number of elements, an integer or a symbolic size."""
        return self.type.elements

    @property
    def T(self) -> Variable:  # noqa: N802 (NumPy's name)
        """The transpose: all axes reversed."""
        return self.transpose()

    @property
    def mT(self) -> Variable:  # noqa: N802 (NumPy's name)
        """The matrices of the last two axes, transposed."""
        return made("matrix_transpose", self)

    @property
    def at(self) -> At:
        """Functional updates: `x.at[index].set(values)`, `.add`, `.multiply`, `.max`, `.min`."""
        return At(self)

    def __repr__(self) -> str:
        node = self.node
        name = node.param("name") if node.op == "input" else f"%{self.id}"
        return f"<{name}: {node.type} = {node.op}>"

    def __len__(self) -> int:
        if not self.shape:
            raise ArgumentError(describe("a scalar variable has no length", source=self.node.source))
        first = self.shape[0]
        if not isinstance(first, int):
            raise ArgumentError(describe("`len` needs a literal first axis", got=f"`{first}`", fix="use `x.shape[0]`"))
        return first

    def __iter__(self) -> Iterator[Variable]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        raise GraphError(
            describe(
                "the truth of a variable is not known while the graph is built",
                got=repr(self),
                source=self.node.source,
                fix="use `np.where(condition, a, b)` or `ga.cond`; `np.logical_and`, `np.logical_or`",
            )
        )

    def __float__(self) -> float:
        raise self._no_number("float")

    def __int__(self) -> int:
        raise self._no_number("int")

    def __index__(self) -> int:
        raise self._no_number("int")

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise self._no_number("array")

    def _no_number(self, kind: str) -> GraphError:
        return GraphError(
            describe(
                f"a variable has no {kind} value while the graph is built",
                got=repr(self),
                source=self.node.source,
                fix="use a function of graphad or NumPy that takes variables; to get numbers, compile the graph",
            )
        )

    __hash__ = object.__hash__

    # ------------------------------------------------------------------ NumPy's protocols

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method == "reduce" and ufunc.__name__ in REDUCED_BY:
            kwargs.setdefault("axis", 0)
            return call(REDUCED_BY[ufunc.__name__], *inputs, **kwargs)
        if method != "__call__":
            raise GraphError(describe(f"`np.{ufunc.__name__}.{method}` is not supported on variables"))
        if kwargs:
            given = ", ".join(f"`{name}=`" for name in sorted(kwargs))
            raise ArgumentError(
                describe(
                    f"`np.{ufunc.__name__}` on variables takes operands only",
                    got=given,
                    source=self.graph._user_source(),
                    fix="variables do not change: use the result, `np.where` and `astype`",
                )
            )
        return self._numpy(ufunc, inputs, kwargs)

    def __array_function__(self, func: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        return self._numpy(func, args, kwargs)

    def _numpy(self, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        build = NUMPY_FUNCTIONS.get(func)
        if build is None:
            place = getattr(func, "__module__", "") or ""  # "numpy.linalg"; a ufunc has none
            raise GraphError(
                describe(
                    f"`{place.replace('numpy', 'np', 1) or 'np'}.{func.__name__}` is not supported on variables",
                    source=self.graph._user_source(),
                    fix="docs/ops.md lists what is; `ga.elementwise` adds an operation of your own",
                )
            )
        return build(*args, **kwargs)

    # ------------------------------------------------------------------ operators

    def __add__(self, other: Any) -> Variable:
        return made("add", self, other)

    def __radd__(self, other: Any) -> Variable:
        return made("add", other, self)

    def __sub__(self, other: Any) -> Variable:
        return made("subtract", self, other)

    def __rsub__(self, other: Any) -> Variable:
        return made("subtract", other, self)

    def __mul__(self, other: Any) -> Variable:
        return made("multiply", self, other)

    def __rmul__(self, other: Any) -> Variable:
        return made("multiply", other, self)

    def __truediv__(self, other: Any) -> Variable:
        return made("divide", self, other)

    def __rtruediv__(self, other: Any) -> Variable:
        return made("divide", other, self)

    def __floordiv__(self, other: Any) -> Variable:
        return made("floor_divide", self, other)

    def __rfloordiv__(self, other: Any) -> Variable:
        return made("floor_divide", other, self)

    def __mod__(self, other: Any) -> Variable:
        return made("remainder", self, other)

    def __rmod__(self, other: Any) -> Variable:
        return made("remainder", other, self)

    def __divmod__(self, other: Any) -> tuple[Variable, Variable]:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> tuple[Variable, Variable]:
        return other // self, other % self

    def __pow__(self, other: Any) -> Variable:
        return made("power", self, other)

    def __rpow__(self, other: Any) -> Variable:
        return made("power", other, self)

    def __matmul__(self, other: Any) -> Variable:
        return made("matmul", self, other)

    def __rmatmul__(self, other: Any) -> Variable:
        return made("matmul", other, self)

    def __neg__(self) -> Variable:
        return made("negative", self)

    def __pos__(self) -> Variable:
        return self

    def __abs__(self) -> Variable:
        return made("absolute", self)

    def __and__(self, other: Any) -> Variable:
        return made("bitwise_and", self, other)

    __rand__ = __and__

    def __or__(self, other: Any) -> Variable:
        return made("bitwise_or", self, other)

    __ror__ = __or__

    def __xor__(self, other: Any) -> Variable:
        return made("bitwise_xor", self, other)

    __rxor__ = __xor__

    def __invert__(self) -> Variable:
        return made("invert", self)

    def __lt__(self, other: Any) -> Variable:
        return made("less", self, other)

    def __le__(self, other: Any) -> Variable:
        return made("less_equal", self, other)

    def __gt__(self, other: Any) -> Variable:
        return made("greater", self, other)

    def __ge__(self, other: Any) -> Variable:
        return made("greater_equal", self, other)

    def __eq__(self, other: Any) -> Variable:  # type: ignore[override]
        return made("equal", self, other)

    def __ne__(self, other: Any) -> Variable:  # type: ignore[override]
        return made("not_equal", self, other)

    def __getitem__(self, index: Any) -> Variable:
        return made("getitem", self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        what = "a variable does not change: `x[...] = value` is not possible"
        fix = "make a changed copy: `x = x.at[index].set(value)`, or `.add`, `.multiply`, `.max`"
        raise GraphError(describe(what, got=repr(self), source=self.node.source, fix=fix))

    # ------------------------------------------------------------------ methods

    def astype(self, dtype: object) -> Variable:
        """The values converted to another dtype."""
        return made("astype", self, dtype)

    def reshape(self, *shape: Any) -> Variable:
        """The elements in C order in another shape; one extent may be -1."""
        return made("reshape", self, shape[0] if len(shape) == 1 else shape)

    def ravel(self) -> Variable:
        """The elements in C order on one axis."""
        return made("reshape", self, -1)

    flatten = ravel

    def transpose(self, *axes: Any) -> Variable:
        """The axes in another order; reversed without arguments."""
        return made("transpose", self, (axes[0] if len(axes) == 1 else axes) or None)

    def swapaxes(self, axis1: int, axis2: int) -> Variable:
        """Two axes exchanged."""
        return made("swapaxes", self, axis1, axis2)

    def squeeze(self, axis: Any = None) -> Variable:
        """Axes of extent 1 removed."""
        return made("squeeze", self, axis)

    def sum(self, axis: Any = None, keepdims: bool = False) -> Variable:
        """The sum over some axes (default: all)."""
        return made("sum", self, axis=axis, keepdims=keepdims)

    def prod(self, axis: Any = None, keepdims: bool = False) -> Variable:
        """The product over some axes (default: all)."""
        return made("prod", self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Variable:
        """The mean over some axes (default: all)."""
        return made("mean", self, axis=axis, keepdims=keepdims)

    def var(self, axis: Any = None, ddof: float = 0, keepdims: bool = False) -> Variable:
        """The variance over some axes (default: all)."""
        return made("var", self, axis=axis, ddof=ddof, keepdims=keepdims)

    def std(self, axis: Any = None, ddof: float = 0, keepdims: bool = False) -> Variable:
        """The standard deviation over some axes (default: all)."""
        return made("std", self, axis=axis, ddof=ddof, keepdims=keepdims)

    def max(self, axis: Any = None, keepdims: bool = False) -> Variable:
        """The largest element over some axes (default: all)."""
        return made("max", self, axis=axis, keepdims=keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> Variable:
        """The smallest element over some axes (default: all)."""
        return made("min", self, axis=axis, keepdims=keepdims)

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Variable:
        """The first position of the largest element."""
        return made("argmax", self, axis=axis, keepdims=keepdims)

    def argmin(self, axis: int | None = None, keepdims: bool = False) -> Variable:
        """The first position of the smallest element."""
        return made("argmin", self, axis=axis, keepdims=keepdims)

    def any(self, axis: Any = None, keepdims: bool = False) -> Variable:
        """Whether some element is true."""
        return made("any", self, axis=axis, keepdims=keepdims)

    def all(self, axis: Any = None, keepdims: bool = False) -> Variable:
        """Whether all elements are true."""
        return made("all", self, axis=axis, keepdims=keepdims)

    def cumsum(self, axis: int | None = None) -> Variable:
        """Running sums along an axis."""
        return made("cumsum", self, axis=axis)

    def cumprod(self, axis: int | None = None) -> Variable:
        """Running products along an axis."""
        return made("cumprod", self, axis=axis)

    def dot(self, other: Any) -> Variable:
        """NumPy's `dot`."""
        return made("dot", self, other)

    def clip(self, low: Any = None, high: Any = None) -> Variable:
        """The values limited to an interval."""
        return made("clip", self, low, high)

    def round(self, decimals: int = 0) -> Variable:
        """The values rounded to some decimals, halves to even."""
        return made("round", self, decimals)

    def repeat(self, repeats: int, axis: int | None = None) -> Variable:
        """Each element repeated."""
        return made("repeat", self, repeats, axis=axis)

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Variable:
        """A diagonal of the matrices of two axes, as the last axis."""
        return made("diagonal", self, offset, axis1, axis2)


class At:
    """`x.at`: waits for the index of a functional update."""

    __slots__ = ("variable",)

    def __init__(self, variable: Variable) -> None:
        self.variable = variable

    def __getitem__(self, index: Any) -> IndexedUpdate:
        return IndexedUpdate(self.variable, index)


class IndexedUpdate:
    """`x.at[index]`: each method answers a copy of `x` with the indexed elements changed."""

    __slots__ = ("index", "variable")

    def __init__(self, variable: Variable, index: Any) -> None:
        self.variable = variable
        self.index = index

    def set(self, values: Any) -> Variable:
        """The indexed elements replaced; of equal indices the last wins."""
        return made("scatter_set", self.variable, self.index, values)

    def add(self, values: Any) -> Variable:
        """Values added; equal indices accumulate."""
        return made("scatter_add", self.variable, self.index, values)

    def multiply(self, values: Any) -> Variable:
        """Multiplied by values; equal indices accumulate."""
        return made("scatter_multiply", self.variable, self.index, values)

    def max(self, values: Any) -> Variable:
        """The larger of element and values."""
        return made("scatter_max", self.variable, self.index, values)

    def min(self, values: Any) -> Variable:
        """The smaller of element and values."""
        return made("scatter_min", self.variable, self.index, values)


def common_graph(values: tuple[Any, ...]) -> Graph:
    """The graph to which the variables among some values belong.

    Raises `GraphError` for variables of different graphs and where there is no variable.
    """
    found: Variable | None = None
    for value in values:
        if isinstance(value, Variable):
            if found is None:
                found = value
            elif found.graph is not value.graph:  # the innermost: in a body, variables from outside are used too
                found = value.graph.owned(found)
    if found is None:
        raise ShapeError(describe("no graph variable among the arguments", fix="make one with `g.input` or `g.const`"))
    return found.graph
