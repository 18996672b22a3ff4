"""What users call: `scan`, `fori_loop`, `while_loop`, `cond` and `map`, in JAX's forms.

States and results are single variables, or tuples, lists, dictionaries and named tuples of them, nested as one likes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphad.errors import ArgumentError, DtypeError, ShapeError, Source, describe
from graphad.ir.graph import Graph
from graphad.ir.operation import function
from graphad.ir.sizes import Extent, Size, as_extent, maximum
from graphad.ir.types import INTEGERS, Requirement, TensorType, never_equal, promote, scalar_dtype
from graphad.ir.variable import Variable
from graphad.ops.build import is_number
from graphad.ops.control import results_of
from graphad.ops.extents import never_negative
from graphad.ops.listening import checked, named, parameter
from graphad.ops.source import extent_value, iota
from graphad.ops.tracing import Carried, Traced, as_variable, graph_of, lifted_together
from graphad.ops.trees import Structure, flatten, same_structure


@function("scan")
def scan(
    fn: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: Any = None,
    reverse: bool = False,
    *,
    checkpoint: Any = None,
    progress: Any = None,
    graph: Graph | None = None,
) -> tuple[Any, Any]:
    """A loop that carries a state: `carry, y = fn(carry, x)` for each x of `xs`; answers the last carry and all ys.

    Arguments:
        fn: called once, while the graph is built. Its carry must keep its structure, shapes and dtypes.
        init: the first carry: a variable, a number, or tuples, lists, dictionaries and named tuples of them.
        xs: what is scanned over, along the first axis; None for nothing, with `length` steps.
        length: the number of steps, an integer or a size such as `"n"`.
        reverse: from the last x to the first; ys stand where their xs stand.
        checkpoint: what reverse mode stores. None: decided by size; "all": what the step needs for its derivative;
            "carries": the carries, and the step runs again; ("every", k): every k-th carry; a number s: at most s
            carries, by the binomial schedule that runs the fewest steps again (Griewank and Walther, 2000).
        progress: k: tell after every k steps how far the loop is, to whoever listens by `ga.progress`; so do its
            derivatives. (name, k): by another name than that of `fn`.
        graph: where the loop is made, if neither `init` nor `xs` is a variable.

    Returns the last carry, and the ys stacked along a new first axis, in the structures of `fn`'s results.

    Raises `ArgumentError` where structures differ or `fn` answers no pair, `ShapeError` or `DtypeError` where types do.

    >>> import graphad as ga
    >>> g = ga.Graph("growth")
    >>> rates = g.input("rates", shape="n")
    >>> def year(money, rate):
    ...     return money * (1.0 + rate), money
    >>> last, before = scan(year, g.input("money"), rates)
    >>> g.output("last", last)
    >>> g.output("before", before)
    >>> ga.interpret(g, [0.5, 1.0], money=100.0)
    {'last': array(300.), 'before': array([100., 150.])}
    """
    told = checked("scan", progress)
    target = graph_of("scan", [*flatten(init)[0], *flatten(xs)[0]], graph)
    return _scan("scan", target, fn, init, xs, length, reverse=bool(reverse), checkpoint=checkpoint, told=told)


def _scan(
    purpose: str,
    target: Graph,
    fn: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any,
    length: Any = None,
    *,
    told: tuple[str | None, int] | None,
    reverse: bool = False,
    checkpoint: Any = None,
) -> tuple[Any, Any]:
    """As `scan`; `purpose` is the function that the user called, for messages."""
    x_leaves, x_structure = flatten(xs)
    stacked = [as_variable(target, leaf) for leaf in x_leaves]
    steps = _length(purpose, target, stacked, x_structure.places("xs"), length)
    elements = [TensorType(x.dtype, x.shape[1:]) for x in stacked]
    carried = Carried(purpose, target, init)
    traced = carried.trace(fn, [("x", x_structure, elements)], _carry_of_pair)
    y_leaves, y_structure = flatten(traced.result[1])
    y_names = y_structure.paths("y")
    ys = traced.variables(y_structure.places("y"), y_leaves, [None] * len(y_leaves))
    traced.close({**carried.outputs, **{f"{name}_out": y for name, y in zip(y_names, ys, strict=True)}})
    if not carried.start and not ys:
        return init, y_structure.build(iter(()))
    lifted = lifted_together(traced)
    node = target.apply(
        "scan", *carried.start, *stacked, *lifted.values(), body=traced.frozen(lifted), carries=len(carried.start),
        xs=len(stacked), length=steps, reverse=reverse, checkpoint=as_schedule(checkpoint, purpose),
        **parameter(named(told, traced.body.name)),
    )  # fmt: skip
    results = iter(results_of(node))
    return carried.structure.build(results), y_structure.build(results)


def _carry_of_pair(traced: Traced) -> Any:
    if not isinstance(traced.result, tuple) or len(traced.result) != 2:
        raise ArgumentError(
            describe(
                f"`{traced.body.purpose}`: `{traced.body.name}` answers no pair",
                expected="a carry and a y",
                got=type(traced.result).__name__,
                source=traced.source,
                fix="`return carry, y`, with None where there is no y",
            )
        )
    return traced.result[0]


def as_schedule(checkpoint: Any, purpose: str = "scan") -> tuple[Any, ...] | None:
    """The schedule that a user's `checkpoint=` means; raises `ArgumentError` for what is none."""
    if checkpoint is None or checkpoint in (("all",), ("carries",)):
        return checkpoint  # type: ignore[no-any-return]
    if checkpoint in ("all", "carries"):
        return (checkpoint,)
    if type(checkpoint) is int and checkpoint > 0:
        return ("binomial", checkpoint)
    pair = isinstance(checkpoint, tuple) and len(checkpoint) == 2 and checkpoint[0] in ("every", "binomial")
    if pair and type(checkpoint[1]) is int and checkpoint[1] > 0:
        return checkpoint  # type: ignore[no-any-return]
    raise ArgumentError(
        describe(
            f"`{purpose}`: checkpoint={checkpoint!r} is no schedule",
            expected='a number of states, "all", "carries", ("every", k) or None',
            fix="count at least one state: the first is among them",
        )
    )


def _length(purpose: str, target: Graph, stacked: Sequence[Variable], names: Sequence[str], length: Any) -> Extent:
    """The number of steps, on which all operands agree."""
    source = target._user_source()
    for name, x in zip(names, stacked, strict=True):
        if not x.shape:
            problem = f"`{purpose}`: `{name}` is a scalar, and has no axis to run along"
            fix = "pass `length=` instead" if purpose == "scan" else "give it a first axis: `x[None]`"
            raise ShapeError(describe(problem, got=str(x.type), source=source, fix=fix))
    lengths = [(name, x.shape[0]) for name, x in zip(names, stacked, strict=True)]
    if length is not None:
        lengths.insert(0, ("length", _steps(length, source)))
    if not lengths:
        fix = "give `length=`" if purpose == "scan" else "give it something to run over"
        raise ArgumentError(describe(f"`{purpose}`: the number of steps is not known", source=source, fix=fix))
    first, steps = lengths[0]
    for name, other in lengths[1:]:
        if never_equal(steps, other):
            problem = f"`{purpose}`: `{first}` and `{name}` have different lengths"
            fix = "slice one of them: `x[:n]`"
            raise ShapeError(describe(problem, expected=str(steps), got=str(other), source=source, fix=fix))
        if other != steps:
            target.require(Requirement("equal", other, steps, f"`{purpose}`: `{first}` and `{name}` disagree", source))
    return steps


def _steps(length: Any, source: Source | None) -> Extent:
    """The `length=` of a scan; raises `ArgumentError` for a variable, `ShapeError` for what is no number of steps."""
    if isinstance(length, Variable):
        raise ArgumentError(
            describe(
                "`scan`: `length` is a variable, and the number of steps is to be known when a call begins",
                got=repr(length),
                source=source,
                fix="use `fori_loop` or `while_loop`, which run as often as variables say",
            )
        )
    number = _whole(length)
    if not isinstance(length, (str, Size)) and (number is None or number < 0):
        raise ShapeError(
            describe(
                f"`scan`: length={length!r} is no number of steps",
                expected='an integer from 0 on, or a size such as "n" or "n-1"',
                source=source,
                fix="count the steps: `length=100`",
            )
        )
    return as_extent(length)


def _whole(value: Any) -> int | None:
    """A Python or NumPy integer; None for anything else."""
    return int(value) if isinstance(value, (int, np.integer)) and not isinstance(value, bool) else None


@function("map")
def map_(fn: Callable[[Any], Any], xs: Any, *, progress: Any = None) -> Any:
    """`fn` of each element of `xs` along the first axis, results stacked: a `scan` without a carry.

    `progress` is that of `scan`.

    >>> import graphad as ga
    >>> g = ga.Graph("squares")
    >>> x = g.input("x", shape="n")
    >>> g.output("y", map_(lambda element: element * element, x))
    >>> ga.interpret(g, [1.0, 2.0])
    {'y': array([1., 4.])}
    """

    @_named_like(fn)
    def step(carry: None, x: Any) -> tuple[None, Any]:
        return None, fn(x)

    told = checked("map", progress)
    return _scan("map", graph_of("map", flatten(xs)[0], None), step, None, xs, told=told)[1]


def _named_like(fn: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: the name of the user's function, for bodies and messages."""

    def name(step: Callable[..., Any]) -> Callable[..., Any]:
        step.__name__ = getattr(fn, "__name__", "body")
        return step

    return name


# ---------------------------------------------------------------------- fori_loop and while_loop


@function("fori_loop")
def fori_loop(
    lower: Any,
    upper: Any,
    body: Callable[[Any, Any], Any],
    init: Any,
    *,
    checkpoint: Any = None,
    progress: Any = None,
    graph: Graph | None = None,
) -> Any:
    """`for i in range(lower, upper): state = body(i, state)`; answers the last state.

    Arguments:
        lower, upper: integers, sizes such as `"n"`, or int64 variables. With variables the loop is a `while_loop`.
            Where `upper` is not above `lower` nothing runs.
        body: called once; its state must keep its structure, shapes and dtypes. `i` is an int64 scalar.
        init: the first state.
        checkpoint, progress: as in `scan`.
        graph: where the loop is made, if `init` is no variable.

    >>> import graphad as ga
    >>> g = ga.Graph("factorial")
    >>> g.output("y", fori_loop(1, 6, lambda i, product: product * i, g.const(1)))
    >>> ga.interpret(g)
    {'y': array(120)}
    """
    told = checked("fori_loop", progress)
    if isinstance(lower, Variable) or isinstance(upper, Variable):
        return _counted(lower, upper, body, init, told)
    target = graph_of("fori_loop", flatten(init)[0], graph)
    first, last = (_bound(target, name, bound) for name, bound in (("lower", lower), ("upper", upper)))
    steps = last - first
    if not never_negative(steps):
        steps = maximum(steps, 0)

    @_named_like(body)
    def step(carry: Any, i: Variable) -> tuple[Any, None]:
        return body(i if first == 0 else i + extent_value(i.graph, first), carry), None

    return _scan("fori_loop", target, step, init, iota(target, steps), checkpoint=checkpoint, told=told)[0]


def _bound(target: Graph, name: str, value: Any) -> Extent:
    """A bound of a counted loop that is no variable: an integer, also a negative one, or a size."""
    number = _whole(value)
    if number is not None:
        return number
    if not isinstance(value, (str, Size)):
        raise _no_integer(target, name, repr(value))
    return as_extent(value)


def _no_integer(target: Graph, name: str, got: str) -> DtypeError:
    return DtypeError(
        describe(
            f"`fori_loop`: `{name}` is no integer",
            expected='an integer, a size such as "n", or a variable of type int64[]',
            got=got,
            source=target._user_source(),
            fix="convert with `int` or `astype`",
        )
    )


def _counted(lower: Any, upper: Any, body: Callable[[Any, Any], Any], init: Any, progress: Any) -> Any:
    target = graph_of("fori_loop", [lower, upper, *flatten(init)[0]], None)
    first, last = (
        as_variable(target, bound if isinstance(bound, Variable) else _bound(target, name, bound))
        for name, bound in (("lower", lower), ("upper", upper))
    )
    for name, bound in (("lower", first), ("upper", last)):
        if bound.dtype not in INTEGERS or bound.shape:
            raise _no_integer(target, name, str(bound.type))

    @_named_like(body)
    def step(carry: Any) -> Any:
        return carry[0] + 1, body(carry[0], carry[1])

    start = (first.astype("int64"), init)
    places = ["i", *flatten(init)[1].places("carry")]
    return _while("fori_loop", target, lambda carry: carry[0] < last, step, start, progress, places)[1]


@function("while_loop")
def while_loop(
    test: Callable[[Any], Any],
    body: Callable[[Any], Any],
    init: Any,
    *,
    progress: Any = None,
    graph: Graph | None = None,
) -> Any:
    """`while test(state): state = body(state)`; answers the last state.

    Arguments:
        test: called once; answers one truth value.
        body: called once; its state must keep its structure, shapes and dtypes.
        init: the first state.
        progress: as in `scan`.
        graph: where the loop is made, if `init` is no variable.

    Reverse mode keeps what it needs of every step on a tape that grows as the loop runs.

    >>> import graphad as ga
    >>> g = ga.Graph("root")
    >>> a = g.input("a")
    >>> x = while_loop(lambda x: abs(x * x - a) > 1e-12, lambda x: 0.5 * (x + a / x), g.const(1.0))
    >>> g.output("x", x)
    >>> ga.interpret(ga.transform.grad(g), a=9.0)["dx_da"].round(6)
    np.float64(0.166667)
    """
    told = checked("while_loop", progress)
    return _while("while_loop", graph_of("while_loop", flatten(init)[0], graph), test, body, init, told)


def _while(
    purpose: str,
    target: Graph,
    test: Callable[[Any], Any],
    body: Callable[[Any], Any],
    init: Any,
    told: tuple[str | None, int] | None,
    places: Sequence[str] | None = None,
) -> Any:
    """As `while_loop`; for messages, `purpose` is what the user called and `places` are those in the user's state."""
    carried = Carried(purpose, target, init, places)
    if not carried.start:
        raise ArgumentError(
            describe(
                "`while_loop`: a state without variables never changes",
                got=str(carried.structure),
                source=target._user_source(),
                fix="carry what the test looks at",
            )
        )
    traced = carried.trace(body, [])
    traced.close(carried.outputs)
    tested = Traced(purpose, test, target, [carried.argument], "test")
    leaves, _ = flatten(tested.result)
    verdict = tested.variables(["test"], leaves[:1], [None])[0] if leaves else None
    if verdict is None or len(leaves) != 1 or verdict.type != TensorType("bool", ()):
        raise DtypeError(
            describe(
                f"`while_loop`: the test `{tested.body.name}` answers no truth value",
                expected="bool[]",
                got="nothing" if verdict is None else str(verdict.type),
                source=tested.source,
                fix="compare scalars; `ga.all` and `ga.any` make one truth value of many",
            )
        )
    tested.close({"test": verdict})
    lifted = lifted_together(traced, tested)
    node = target.apply(
        "while_loop", *carried.start, *lifted.values(), test=tested.frozen(lifted), body=traced.frozen(lifted),
        carries=len(carried.start), **parameter(named(told, traced.body.name)),
    )  # fmt: skip
    return carried.structure.build(iter(results_of(node)))


# ---------------------------------------------------------------------- cond


@function("cond")
def cond(
    predicate: Any,
    true_fn: Callable[..., Any],
    false_fn: Callable[..., Any],
    *operands: Any,
    graph: Graph | None = None,
) -> Any:
    """`true_fn(*operands) if predicate else false_fn(*operands)`; only the branch that is taken runs.

    Arguments:
        predicate: one truth value; one of Python or NumPy chooses now.
        true_fn, false_fn: called once each; results of one structure and equal types. Numbers take the type of the
            other branch's result.
        operands: variables, numbers, or tuples, lists, dictionaries and named tuples of them.
        graph: where the node is made, if neither the predicate nor an operand is a variable.

    A value of the graph around that a branch uses is computed whether the branch is taken or not.

    >>> import graphad as ga
    >>> g = ga.Graph("root")
    >>> x = g.input("x")
    >>> g.output("y", cond(x > 0.0, lambda x: np.sqrt(x), lambda x: 0.0 * x, x))
    >>> ga.interpret(ga.transform.grad(g), -4.0), ga.interpret(ga.transform.grad(g), 4.0)
    ({'dy_dx': array(0.)}, {'dy_dx': array(0.25)})
    """
    if isinstance(predicate, (bool, np.bool_)):
        return (true_fn if predicate else false_fn)(*operands)
    flat = [flatten(operand) for operand in operands]
    target = graph_of("cond", [predicate, *[leaf for leaves, _ in flat for leaf in leaves]], graph)
    chosen = as_variable(target, predicate)
    if chosen.type != TensorType("bool", ()):
        raise DtypeError(
            describe(
                "`cond`: the predicate is no truth value",
                expected="bool[]",
                got=str(chosen.type),
                source=target._user_source(),
                fix="compare scalars; `np.where` chooses element by element",
            )
        )
    given = [[as_variable(target, leaf) for leaf in leaves] for leaves, _ in flat]
    arguments = [(f"x{k}", s, [v.type for v in vs]) for k, ((_, s), vs) in enumerate(zip(flat, given, strict=True))]
    named = (("on_true", true_fn), ("on_false", false_fn))
    branches = [Traced("cond", fn, target, arguments, name) for name, fn in named]
    structure = _same_results(*branches)
    if not structure.leaves:
        return structure.build(iter(()))
    lifted = lifted_together(*branches)
    on_true, on_false = (branch.frozen(lifted) for branch in branches)
    values = [v for vs in given for v in vs]
    node = target.apply("cond", chosen, *values, *lifted.values(), on_true=on_true, on_false=on_false)
    return structure.build(iter(results_of(node)))


def _same_results(yes: Traced, no: Traced) -> Structure:
    """Both branches closed, with results of one structure and equal types."""
    flat, structure = flatten(yes.result)
    other, other_structure = flatten(no.result, like=structure)
    problem = f"`cond`: `{no.body.name}` answers another structure than `{yes.body.name}`"
    same_structure(problem, other_structure, structure, yes.source, "return the same form from both")
    names = [f"{name}_out" for name in structure.paths("y")]
    dtypes = [_common_dtype(a, b) for a, b in zip(flat, other, strict=True)]
    places = structure.places("result")
    left, right = yes.variables(places, flat, dtypes), no.variables(places, other, dtypes)
    for name, one, two in zip(places, left, right, strict=True):
        if one.type != two.type:
            error = ShapeError if one.dtype == two.dtype else DtypeError
            raise error(
                describe(
                    f"`cond`: `{name}` has one type in `{yes.body.name}` and another in `{no.body.name}`",
                    expected="equal types",
                    got=f"{one.type} and {two.type}",
                    source=yes.source,
                    fix="bring both to one shape (`np.broadcast_to`) and dtype (`astype`)",
                )
            )
    for traced, results in ((yes, left), (no, right)):
        traced.close(dict(zip(names, results, strict=True)))
    return structure


def _common_dtype(one: Any, other: Any) -> str | None:
    """The dtype that a number in one branch takes from the result of the other, or two numbers from each other."""
    variables = [leaf.dtype for leaf in (other, one) if isinstance(leaf, Variable)]
    if variables:
        return variables[0]
    kinds = [scalar_dtype(leaf, None) for leaf in (one, other) if is_number(leaf)]
    return promote(*kinds) if len(kinds) == 2 else None
