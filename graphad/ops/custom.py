"""Operations of the user's own: elementwise ones from an expression or a function, and derivative rules by hand."""

from __future__ import annotations

import ast
import inspect
import math
import string
import textwrap
from collections.abc import Callable, Mapping, Sequence, Set
from functools import lru_cache
from types import ModuleType
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from graphad.errors import ArgumentError, DifferentiationError, GraphError, ShapeError, describe
from graphad.interpret import interpret
from graphad.ir.graph import Graph
from graphad.ir.operation import (
    OPERATIONS,
    Custom,
    Derivative,
    Inline,
    Op,
    Params,
    Partial,
    Scalar,
    register,
)
from graphad.ir.operation import function as publish
from graphad.ir.types import Requirement, TensorType
from graphad.ir.variable import Variable, common_graph
from graphad.ops import build

USER_FUNCTIONS: dict[str, str] = {}
"""Source of the users' functions by the name under which generated code calls them; without decorators."""

FIELDS = ("dtype", "zero", "one", "two", "half")

JvpRule = Callable[[tuple[Variable, ...], tuple[Variable | None, ...], Variable], Variable | float]
VjpRule = Callable[[tuple[Variable, ...], Variable, Variable], "Variable | Sequence[Variable | None]"]


# ---------------------------------------------------------------------- elementwise


def elementwise(
    name: str,
    expression: str | None = None,
    reference: Callable[..., Any] | None = None,
    partials: tuple[Partial | None, ...] | Derivative = (),
    *,
    function: Callable[..., Any] | None = None,
    domain: tuple[tuple[float, float], ...] = ((-2.0, 2.0),),
    analytic: bool = False,
    cost: float = 10.0,
) -> Callable[..., Variable]:
    """Register an elementwise operation and return the function that builds it.

    Operands are promoted to one floating dtype and broadcast; the result has their dtype.

    Arguments:
        name: a Python identifier that no operation has yet.
        expression: what generated code computes from scalars `{0}`, `{1}`, …: a Python expression that Numba compiles,
            with `math` and `np`; `{exp}({0})` calls the vector mathematics, `{one}` and `{dtype}` fit the dtype.
        reference: the same in NumPy on arrays; the interpreter and the tests use it.
        partials: per operand the partial derivative `partial(*operands, result)` made of graph operations, or None
            where there is none; or `NotDifferentiable("why")`.
        function: instead of the expression, a Python function of scalars that Numba compiles. Its source is copied
            into generated modules, so of global names it may use `math`, `np` and numbers only. Without `reference`
            it is the reference, element by element.
        domain: per operand the interval from which tests sample.
        analytic: whether the reference takes complex arrays; tests then take a complex step.
        cost: floating-point operations of one element.

    Raises `GraphError` for a name that is taken, `ArgumentError` for parts that do not fit together.

    >>> import graphad as ga, numpy as np
    >>> from graphad.ops.custom import elementwise
    >>> gaussian = elementwise(
    ...     "gaussian", "{exp}(-{0} * {0})", lambda x: np.exp(-x * x), (lambda x, y: -2.0 * x * y,), analytic=True)
    >>> g = ga.Graph("bell")
    >>> x = g.input("x")
    >>> g.output("y", gaussian(x))
    >>> ga.interpret(ga.transform.grad(g), x=0.0)
    {'dy_dx': array(-0.)}

    `graphad.testing.check_op("gaussian")` then tests it like any operation of graphad.
    """
    _new_name(name)
    if (expression is None) == (function is None):
        raise ArgumentError(describe(f"operation `{name}`", expected="either an expression or a function"))
    if expression is not None:
        emission, arity = _scalar(name, expression)
    else:
        assert function is not None
        emission, arity = _function_scalar(name, function)
        reference = reference or _element_by_element(function)
    if reference is None:
        raise ArgumentError(describe(f"operation `{name}` has no reference", fix="give the same function in NumPy"))
    if isinstance(partials, tuple) and len(partials) != arity:
        raise ArgumentError(
            describe(
                f"operation `{name}`: partials and operands differ in number",
                expected=f"{arity}, one for each operand",
                got=str(len(partials)),
                fix='give None for an operand without one, or `NotDifferentiable("why")` for all',
            )
        )
    build.elementwise(name, emission, reference, partials, domain=domain, analytic=analytic, cost=cost, arity=arity)

    @publish(name)
    def builder(*values: Any) -> Variable:
        _check_count(name, arity, values)
        args = build.promoted_float(*values)
        return args[0].graph.apply(name, *args)

    builder.__name__ = builder.__qualname__ = name
    return builder


def _new_name(name: str) -> None:
    if not name.isidentifier():
        raise GraphError(describe(f"`{name}` can not name an operation", expected="a Python identifier"))
    if name in OPERATIONS:
        raise GraphError(describe(f"operation `{name}` exists already", fix="choose another name"))


def _check_count(name: str, arity: int, values: tuple[Any, ...]) -> None:
    if len(values) != arity:
        raise ArgumentError(describe(f"`{name}` takes {arity} operands", got=str(len(values))))


def _scalar(name: str, expression: str) -> tuple[Scalar, int]:
    """The emission of an expression, and the number of its operands."""
    fields = [field for _, field, _, _ in string.Formatter().parse(expression) if field is not None]
    places = sorted({int(f) for f in fields if f.isdigit()})
    called = sorted({f for f in fields if not f.isdigit() and f not in FIELDS})
    if not places or places != list(range(len(places))):
        raise ArgumentError(
            describe(f"operation `{name}`: operands are `{{0}}`, `{{1}}`, … without gaps", got=f"`{expression}`")
        )
    known = sorted({f for op in OPERATIONS.values() if isinstance(op.emission, Scalar) for f in op.emission.functions})
    for called_name in called:
        if called_name not in known:
            raise ArgumentError(
                describe(
                    f"operation `{name}`: `{{{called_name}}}` is no function of the vector mathematics",
                    expected=", ".join(known),
                    fix="call `math.…` or `np.…` without braces",
                )
            )
    try:
        ast.parse(expression.format(*["x"] * len(places), **{f: f for f in [*called, *FIELDS]}), mode="eval")
    except SyntaxError as error:
        raise ArgumentError(describe(f"operation `{name}`: not a Python expression", got=f"`{expression}`")) from error
    return Scalar(expression, tuple(called)), len(places)


def _function_scalar(name: str, function: Callable[..., Any]) -> tuple[Scalar, int]:
    """The emission that calls a user's function, whose source goes to `USER_FUNCTIONS`."""
    plain = inspect.unwrap(getattr(function, "py_func", function))
    arity = _positional(name, plain)
    called = f"user_{name}"
    USER_FUNCTIONS[called] = _source(name, called, plain)
    return Scalar(f"{called}({', '.join(f'{{{i}}}' for i in range(arity))})", (called,)), arity


def _positional(name: str, function: Callable[..., Any]) -> int:
    parameters = inspect.signature(function).parameters.values()
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if not parameters or any(p.kind not in kinds or p.default is not p.empty for p in parameters):
        raise ArgumentError(
            describe(
                f"operation `{name}`: the function's parameters are its operands",
                expected="a fixed number of plain parameters",
                got=f"`{inspect.signature(function)}`",
            )
        )
    return len(parameters)


def _source(name: str, called: str, function: Callable[..., Any]) -> str:
    """The function's text under another name, without decorators and annotations, with global numbers as literals."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except (OSError, SyntaxError, TypeError) as error:
        raise ArgumentError(
            describe(f"operation `{name}`: the function's source can not be read", fix="give an expression instead")
        ) from error
    if not isinstance(tree, ast.FunctionDef):
        raise ArgumentError(
            describe(
                f"operation `{name}`: a function written with `def` is needed", fix="a lambda has no name of its own"
            )
        )
    tree.name, tree.decorator_list, tree.returns = called, [], None
    for argument in tree.args.args:
        argument.annotation = None
    free = inspect.getclosurevars(function)
    literals = _Literals(name, {**free.globals, **free.nonlocals}, free.unbound - set(dir(math)) - set(dir(np)))
    return ast.unparse(ast.fix_missing_locations(literals.visit(tree))) + "\n"


class _Literals(ast.NodeTransformer):
    """Replaces global numbers by literals, NumPy and math by the names that generated modules have."""

    def __init__(self, operation: str, known: Mapping[str, Any], unknown: Set[str]) -> None:
        self.operation = operation
        self.known = known
        self.unknown = unknown

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """A name that the function reads: its own, a module's, or a number's."""
        value = self.known.get(node.id)
        if isinstance(value, ModuleType) and value in (math, np):
            return ast.copy_location(ast.Name("math" if value is math else "np", node.ctx), node)
        if type(value) in (int, float) and math.isfinite(value):  # type: ignore[arg-type]
            return ast.copy_location(ast.parse(repr(value), mode="eval").body, node)
        if node.id in self.known or node.id in self.unknown:
            got = f"a {type(value).__name__}" if node.id in self.known else "an unknown name"
            raise ArgumentError(
                describe(
                    f"operation `{self.operation}`: its function uses the global `{node.id}`",
                    expected="math, numpy and finite numbers",
                    got=got,
                    fix="write it inside the function",
                )
            )
        return node


def _element_by_element(function: Callable[..., Any]) -> Callable[..., Any]:
    """A reference that calls a function for each element, compiled: Python raises where Numba answers NaN or inf."""
    plain = getattr(function, "py_func", function)

    @lru_cache(maxsize=1)
    def compiled() -> Callable[..., Any]:
        import numba

        return cast("Callable[..., Any]", numba.njit(plain, error_model="numpy"))

    def reference(*arrays: Any) -> Any:
        return np.vectorize(compiled(), otypes=[np.result_type(*arrays)])(*arrays)

    return reference


# ---------------------------------------------------------------------- derivatives by hand


def custom_derivative(
    name: str, fn: Callable[..., Any], *, jvp: JvpRule | None = None, vjp: VjpRule | None = None
) -> Callable[..., Variable]:
    """Register a function of graph variables with derivative rules by hand, and return the function that builds it.

    The function itself is made of graph operations; it is one node until code is generated, so derivatives use the
    rules given here. With one rule only the other mode raises `DifferentiationError`.

    Arguments:
        name: a Python identifier that no operation has yet.
        fn: `fn(*operands)` answers one variable.
        jvp: `jvp(operands, tangents, result)` answers the tangent of the result, of its shape or one that broadcasts
            to it. Tangents that are zero come as zeros; an operand that is no floating number has None.
        vjp: `vjp(operands, result, cotangent)` answers for each operand its cotangent in the operand's shape, or None
            where it has none; for one operand it may answer the variable itself.

    Rules are made of graph operations and are differentiated in turn for higher orders.

    >>> import graphad as ga, numpy as np
    >>> from graphad.ops.custom import custom_derivative
    >>> clipped_gradient = custom_derivative(
    ...     "clipped_gradient", lambda x: x, vjp=lambda operands, result, cotangent: np.clip(cotangent, -1.0, 1.0))
    >>> g = ga.Graph("steep")
    >>> x = g.input("x")
    >>> g.output("y", 100.0 * clipped_gradient(x))
    >>> ga.interpret(ga.transform.grad(g), x=2.0)
    {'dy_dx': array(1.)}
    """
    _new_name(name)
    if jvp is None and vjp is None:
        raise ArgumentError(describe(f"operation `{name}` has no rule", expected="jvp=, vjp= or both"))
    arity = _positional(name, fn)
    traced = lru_cache(maxsize=256)(lambda types: _trace(name, fn, types))
    register(
        Op(
            name=name,
            arity=arity,
            infer=lambda types, params: traced(types).variable("result").type,
            reference=lambda *arrays: interpret(traced(_types_of(arrays)), *arrays)["result"],
            emission=Inline(fn),
            derivative=Custom(_jvp(name, jvp), _vjp(name, vjp)),
            batch=lambda axes, args, batched, params: _batched(traced, axes, args, batched),
            requires=lambda types, params: _requirements(traced(types)),
        )
    )

    @publish(name)
    def builder(*values: Any) -> Variable:
        _check_count(name, arity, values)
        graph = common_graph(values)
        return graph.apply(name, *[graph.owned(v) for v in values])

    builder.__name__ = builder.__qualname__ = name
    return builder


def _trace(name: str, fn: Callable[..., Any], types: tuple[TensorType, ...]) -> Graph:
    """The function as a graph of its own, for operands of given types."""
    graph = Graph(name)
    result = fn(*[graph.input(f"operand{k}", kind.shape, kind.dtype) for k, kind in enumerate(types)])
    if isinstance(result, (tuple, list, dict)) or result is None:
        raise ArgumentError(
            describe(f"operation `{name}`: its function answers one variable", got=f"a {type(result).__name__}")
        )
    graph.output("result", result)
    return graph.freeze()


def _types_of(arrays: Sequence[NDArray[Any]]) -> tuple[TensorType, ...]:
    return tuple(TensorType(np.asarray(a).dtype.name, np.asarray(a).shape) for a in arrays)


def _requirements(graph: Graph) -> list[Requirement]:
    return list(graph.requirements)


def _batched(
    traced: Callable[[tuple[TensorType, ...]], Graph], axes: int, args: tuple[Variable, ...], batched: tuple[bool, ...]
) -> Variable:
    """The function's own operations, batched one by one."""
    types = tuple(TensorType(a.dtype, a.shape[axes:] if b else a.shape) for a, b in zip(args, batched, strict=True))
    inner, graph = traced(types), common_graph(args)
    values = dict(zip(inner.inputs.values(), args, strict=True))
    lifted = {i for i, b in zip(inner.inputs.values(), batched, strict=True) if b}
    for node_id, node in enumerate(inner.nodes):
        if node_id in values:
            continue
        operands, marks = tuple(values[a] for a in node.args), tuple(a in lifted for a in node.args)
        if any(marks):
            lifted.add(node_id)
            values[node_id] = build.batched_apply(graph, node, operands, marks, axes)
        elif node.op == "const":
            values[node_id] = graph.const(node.param("value").array)
        else:
            values[node_id] = graph.apply(node.op, *operands, **dict(node.params))
    return values[inner.outputs["result"]]


def _jvp(name: str, rule: JvpRule | None) -> Callable[..., Variable | None]:
    def jvp(
        args: tuple[Variable, ...], tangents: tuple[Variable | None, ...], out: Variable, params: Params
    ) -> Variable:
        if rule is None:
            raise _missing(name, "forward", "jvp", out)
        whole = tuple(_whole(t, a) for t, a in zip(tangents, args, strict=True))
        tangent = out.graph.owned(rule(args, whole, out))
        return _fitting(name, "jvp", tangent, out)

    return jvp


def _vjp(name: str, rule: VjpRule | None) -> Callable[..., Sequence[Variable | None]]:
    def vjp(
        args: tuple[Variable, ...], out: Variable, cotangent: Variable, params: Params
    ) -> Sequence[Variable | None]:
        if rule is None:
            raise _missing(name, "reverse", "vjp", out)
        answer = rule(args, out, cotangent)
        found = (answer,) if isinstance(answer, Variable) else tuple(answer)
        if len(found) != len(args):
            raise ArgumentError(
                describe(f"the vjp rule of `{name}`", expected=f"{len(args)} cotangents", got=str(len(found)))
            )
        return [None if c is None else _fitting(name, "vjp", c, a) for c, a in zip(found, args, strict=True)]

    return vjp


def _missing(name: str, mode: str, rule: Literal["jvp", "vjp"], out: Variable) -> DifferentiationError:
    other = "reverse mode (`grad`, `vjp`)" if mode == "forward" else "forward mode (`jvp`)"
    return DifferentiationError(
        describe(
            f"`{name}` has no rule for {mode} mode",
            source=out.node.source,
            fix=f"give `{rule}=` to `custom_derivative`, or use {other}",
        )
    )


def _whole(tangent: Variable | None, like: Variable) -> Variable | None:
    """The tangent in the shape of its operand; zeros for None."""
    if not like.type.is_float:
        return None
    value = like.graph.const(0.0, like.dtype) if tangent is None else tangent
    return value if value.shape == like.shape else like.graph.apply("broadcast_to", value, shape=like.shape)


def _fitting(name: str, rule: str, value: Variable, like: Variable) -> Variable:
    """The answer of a rule, stretched to the shape that it must have; raises `ShapeError` where it can not."""
    if value.dtype != like.dtype:
        value = build.astype(value, like.dtype)
    if value.shape == like.shape:
        return value
    try:
        return like.graph.apply("broadcast_to", value, shape=like.shape)
    except ShapeError as error:
        raise ShapeError(
            describe(
                f"the {rule} rule of `{name}`", expected=str(like.type), got=str(value.type), source=like.node.source
            )
        ) from error
