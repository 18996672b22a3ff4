"""From a graph to a function: passes, loops, source, the cached module, and the Python function in front of it."""

from __future__ import annotations

import keyword
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from graphad.analysis.body_indices import guarded
from graphad.analysis.cost import typical_sizes
from graphad.analysis.indices import alone, check_graph, index_checks
from graphad.budget import Settings, memory_decision
from graphad.emit import cache
from graphad.emit.bound import bind
from graphad.emit.call import AnyKernel, CallPath, Kernel, Stage, entry_of, make_call, signature
from graphad.emit.direct import direct_call
from graphad.emit.interpreted import immediate_kernel, interpreted_kernel, runner
from graphad.emit.kernels import is_kept, translated_kernel
from graphad.emit.native import NativeFunction, low_level, native_function
from graphad.emit.result import Packing, Record
from graphad.emit.source import Generated, generate
from graphad.emit.switching import COMPILING, Switch, compile_seconds
from graphad.errors import ArgumentError, describe
from graphad.ir.graph import Graph, expect_graph
from graphad.ir.verify import check_sizes
from graphad.loops.parallel import LEAST_WORK, Parallel, Serial
from graphad.loops.scratch import block_bytes
from graphad.plan.memory import Budget
from graphad.plan.modes import Decision, Plan, fixed
from graphad.plan.tasks import marked
from passes.base import Pass
from passes.executable import executable
from passes.inline import inline
from passes.pipeline import DEFAULT, PassStatistics, after_passes, run_pipeline, sweeps_of

Tier = Literal["compiled", "interpreted", "auto"]
MOST_THREADS = 256


@dataclass(frozen=True)
class Recipe:
    """What a compiled function is made from, and made again from when it is unpickled.

    Arguments:
        graph: the derivative graph, before passes.
        packing: how its outputs are handed over.
        plan: what was decided while the graph was derived.
        passes: run in order on the graph.
        tier: what runs it.
        threads: how many threads a call of the compiled code uses.
    """

    graph: Graph
    packing: Packing
    plan: Plan
    passes: tuple[Pass, ...]
    tier: Tier = "compiled"
    threads: int = 1


class CompiledFunction:
    """A compiled graph. Call it with the graph's inputs, by position or by name; `out=` takes the results' arrays.

    It may be called from several threads at once, and pickles (by its graph; unpickling goes through the cache). With
    `tier="interpreted"` NumPy or a tape runs the graph, and nothing is compiled before `jit`, `kernel`, `cfunc`,
    `low_level` or `bind` is asked for. With `tier="auto"` calls are interpreted until a thread has compiled the graph,
    which it does when that seems to pay; `plan` and `explain()` say what runs at present.

    Attributes:
        graph: the derivative graph as it was before passes.
        optimized: the graph after passes, of which the code is made.
        plan: what was decided and why.
        statistics: what each pass did.
        source: the generated module, which needs Numba and NumPy only.
        jit: the `@njit` function to call inside other `@njit` functions: arrays in, fresh results out, no checks.
        kernel: the `@njit` function behind the call: inputs, constants and output arrays in, scalars out, no checks.

    >>> import graphad as ga
    >>> g = ga.Graph("line")
    >>> x = g.input("x", shape="n")
    >>> g.output("y", 2.0 * x + 1.0)
    >>> f = ga.compile(g)
    >>> f
    <compiled line(x, *, out=None)>
    >>> import numpy as np
    >>> f(np.arange(3.0))
    array([1., 3., 5.])
    """

    # `__call__` is a slot, so that a call goes to the generated function without a Python frame between.
    __slots__ = (
        "__call__", "__weakref__", "_compiled", "_generated", "_native", "_runner", "_switch", "call_source",
        "optimized", "recipe",
    )  # fmt: skip
    __call__: Callable[..., Any]

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._generated: Generated | None = None
        self._compiled: CallPath | None = None
        self._native: NativeFunction | None = None
        graph = recipe.graph.freeze()
        check_sizes(graph)
        self._runner = ""
        self._switch: Switch | None = None
        if recipe.tier == "compiled":
            # Numba compiles under one lock; holding it here too keeps threads from doing the same work twice.
            with COMPILING:
                self.optimized = after_passes(graph, recipe.passes)
                self.__call__, self.call_source = direct_call(self._path)
            return
        self.optimized = after_passes(graph, recipe.passes)
        if recipe.tier == "auto" and self._load():
            return
        path = self._path_of(interpreted_kernel if recipe.tier == "interpreted" else immediate_kernel)
        self._runner = runner(path.kernel)
        self.__call__, self.call_source = make_call(path)
        if recipe.tier == "auto":
            self._switch = Switch(self.name, self.__call__, compile_seconds(self.optimized), self._compile)
            self.__call__ = self._switch.counted()

    def _load(self) -> bool:
        """Take compiled code from the cache if it seems to be there and nobody compiles at present."""
        if not cache.remembers(self.optimized.digest) or not COMPILING.acquire(blocking=False):
            return False
        try:
            if self._is_kept():
                self.__call__, self.call_source = direct_call(self._path)
                return True
        finally:
            COMPILING.release()
        return False

    def _is_kept(self) -> bool:
        return is_kept(self.generated) or cache.holds(self.source)

    def _path_of(self, kernel_of: Callable[[Graph], AnyKernel]) -> CallPath:
        """The call path of the graph and its index checks, with kernels made by `kernel_of` of optimized graphs."""
        kernel = kernel_of(self.optimized)
        # Operations of the user's own may index inside: the checks need to see what they are made of.
        whole = inline(self.graph).freeze()
        safe, outside = guarded(whole)
        checked = [(safe, checks, check_graph(safe, checks)) for checks in index_checks(safe)]
        if outside is not None:  # its loops may use what the other indices give
            checked.append((whole, (), alone(safe, outside)))
        stages = [
            Stage(of, checks, kernel_of(after_passes(check, self.recipe.passes))) for of, checks, check in checked
        ]
        return CallPath(self.graph, kernel, tuple(stages), self.recipe.packing)

    def _compile(self) -> CallPath:
        """The call path with compiled kernels; made when first needed."""
        with COMPILING:
            if self._compiled is None:
                fresh = not self._is_kept()
                self._compiled = self._path_of(self._compiled_kernel)
                if fresh or self.recipe.tier == "auto":
                    cache.remember(self.optimized.digest)
                if self._switch is not None:
                    self._switch.call, self.call_source = direct_call(self._compiled)
                    self._switch.state = "compiled"
                    self.__call__ = self._switch.call
            return self._compiled

    def _compiled_kernel(self, graph: Graph) -> AnyKernel:
        # The checks of indices are short: they run in the calling thread.
        return _kernel(self.generated if graph is self.optimized else generate(executable(inline(graph))))

    @property
    def _path(self) -> CallPath:
        return self._compile()

    @property
    def generated(self) -> Generated:
        """The generated module and the names in it."""
        if self._generated is None:
            self._generated = generate(executable(inline(self.optimized)), self.recipe.threads)
        return self._generated

    @property
    def kernel(self) -> Any:
        """The `@njit` function behind the call."""
        return self._path.kernel.function

    @property
    def jit(self) -> Any:
        """The `@njit` function for other `@njit` functions."""
        with COMPILING:
            return getattr(cache.load(self.source), self.generated.function)

    @property
    def statistics(self) -> list[PassStatistics]:
        """What each pass did: they run once more, with nodes and operations counted."""
        return run_pipeline(self.recipe.graph, self.recipe.passes)[1]

    @property
    def name(self) -> str:
        """The name of the graph."""
        return self.recipe.graph.name

    @property
    def graph(self) -> Graph:
        """The derivative graph, before passes."""
        return self.recipe.graph

    @property
    def plan(self) -> Plan:
        """What was decided while the graph was derived, what the reverse sweeps of loops store, and about the tier and
        threads where these are not the usual ones."""
        tier = () if self.recipe.tier == "compiled" else (self._tier(),)
        sweeps = sweeps_of(self.recipe.graph, self.recipe.passes)
        return replace(self.recipe.plan, decisions=(*self.recipe.plan.decisions, *sweeps, *tier, *self._threads()))

    def _threads(self) -> tuple[Decision, ...]:
        """Which loops run in several threads, and why others do not."""
        threads = self.recipe.threads
        if threads == 1:
            return ()
        if self.recipe.tier == "interpreted":
            return (fixed("threads", "1", "interpreted code has threads of NumPy's BLAS only"),)
        return tuple(fixed(f"nest over {nest.extent}", *_how_run(nest, threads)) for nest in self.generated.nests)

    def _tier(self) -> Decision:
        asked = f"tier={self.recipe.tier!r} was asked for"
        if self.recipe.tier == "interpreted":
            return fixed("tier", "interpreted", f"{asked}; run by {self._runner}")
        if self._switch is None:
            return fixed("tier", "compiled", f"{asked}; compiled code was in the cache")
        compiling = f"calls took about as long as compiling, {self._switch.limit:.2g} s"
        if self._switch.state == "compiled":
            return fixed("tier", "compiled", f"{asked}; {compiling}, or compiled code was needed")
        reason = {
            "interpreted": f"compiled when calls have taken about as long as that, {self._switch.limit:.2g} s",
            "compiling": f"{compiling}: a thread compiles",
            "failed": "compiling failed",
        }[self._switch.state]
        return fixed("tier", "interpreted", f"{asked}; run by {self._runner}; {reason}")

    @property
    def source(self) -> str:
        """The generated module: stand-alone, readable."""
        return self.generated.source

    @property
    def cfunc(self) -> NativeFunction:
        """The C function `int64_t f(void *const *inputs, const int64_t *sizes, void *const *outputs)`.

        It is compiled when it is first asked for; see `NativeFunction` for its arguments, status and life.

        >>> import graphad as ga
        >>> g = ga.Graph("total")
        >>> x = g.input("x", shape="n")
        >>> g.output("y", x.sum())
        >>> compile_graph(g).cfunc.sizes
        ('n',)
        """
        with COMPILING:
            if self._native is None:
                self._native = native_function(self._path)
        return self._native

    def low_level(self) -> Any:
        """The function as a `scipy.LowLevelCallable` of signature `double (int n, double *x)`, for `scipy.integrate`.

        `x` holds the scalar inputs in their order, or the only vector. A length that does not fit and an index outside
        its axis give NaN.

        Raises `ArgumentError` unless all inputs are float64 scalars, or one is a float64 vector and there is no other,
        and the only output is a float64 scalar.
        """
        with COMPILING:
            return low_level(self._path)

    def bind(self, *inputs: Any, out: Any = None, **named: Any) -> Callable[[], Any]:
        """The function on fixed buffers: checked now, called without arguments, nothing allocated by a call.

        Arguments:
            inputs, named: arrays, read in place at every call, so they must be C-contiguous and of the declared
                dtype; 0-d arrays for scalars likewise; numbers stay what they are now.
            out: as for a call, and 0-d arrays for scalar outputs; what is not given is made.

        Every call returns the same object: the output arrays, 0-d ones for scalars, packed as by the function itself.
        The next call writes to them. The function has attributes `inputs` and `outputs`, its buffers by name, and
        `sizes`. Two threads need two functions.

        Raises what a call raises, now; where index arrays change, `IndexRangeError` from the call.

        >>> import graphad as ga
        >>> import numpy as np
        >>> g = ga.Graph("square")
        >>> x = g.input("x", shape="n")
        >>> g.output("y", x * x)
        >>> at = np.array([1.0, 2.0])
        >>> run = compile_graph(g).bind(x=at)
        >>> run()
        array([1., 4.])
        >>> at[0] = 3.0
        >>> run()
        array([9., 4.])
        """
        with COMPILING:
            return bind(self._path, inputs, named, out)

    def export(self, path: str | os.PathLike[str]) -> Path:
        """Write the generated module to a file that needs Numba, NumPy and, for its BLAS, SciPy; not graphad.

        Its function has the name of the graph. It is `.jit`: arrays of the declared dtypes in, a plain tuple of fresh
        results out; it checks sizes, but no indices. An existing file is replaced.

        Arguments:
            path: of the file, a name that Python can import, ending in `.py`.

        Raises `ArgumentError` for another ending or a name that can not be imported.
        """
        file = Path(path)
        if file.suffix != ".py" or not file.stem.isidentifier() or keyword.iskeyword(file.stem):
            what = f"`{self.name}`: a module can not be exported to `{file}`"
            fix = f"`{self.name}.py`, or another Python name with this ending"
            raise ArgumentError(describe(what, fix=fix))
        file.write_text(self.source, encoding="utf-8")
        return file

    def scratch_bytes(self, **sizes: int) -> int:
        """The bytes of memory that a call works in besides arguments and results.

        They are allocated by the first call, kept for the next ones, and grow with the largest sizes seen. Two calls
        at the same time have their own.

        Arguments:
            sizes: the named sizes; those not given are at their hints.

        >>> import graphad as ga
        >>> import numpy as np
        >>> g = ga.Graph("softmax")
        >>> x = g.input("x", shape="n")
        >>> y = np.exp(x) / np.exp(x).sum()
        >>> g.output("y", y * y.max())
        >>> compile_graph(g).scratch_bytes(n=1000)
        8064
        """
        unknown = sorted(set(sizes) - set(self.graph.size_names))
        if unknown:
            known = ", ".join(self.graph.size_names) or "none"
            raise ArgumentError(describe(f"`{self.name}` has no size `{unknown[0]}`", expected=known))
        return block_bytes(self.generated.slots, typical_sizes(self.graph, sizes))

    def explain(
        self,
        passes: bool = False,
        loops: bool = False,
        memory: bool = False,
        width: int = 100,
        format: Literal["text", "html"] = "text",
    ) -> str:
        """What was decided and why.

        Arguments:
            passes: show nodes and floating-point operations before and after each pass.
            loops: show the loop nests, what each keeps in memory and why, bytes moved and operations.
            memory: show what is live in the course of a call, and what a memory budget stores and computes again.
            width: of the text, in characters.
            format: "text"; or "html", for one page with all tables and the drawn graphs, which needs no other file.

        Raises `ArgumentError` for another format.
        """
        # Imported when first asked for: tables cost a tenth of the time to import graphad.
        if format == "html":
            from graphad.report.page import function_page

            return function_page(self)
        if format != "text":
            raise ArgumentError(describe(f"format={format!r}", expected='"text" or "html"'))
        from graphad.report.explain import explain

        return explain(self, passes=passes, loops=loops, memory=memory, width=width)

    def draw(self, path: str | os.PathLike[str], *, layout: str | None = None) -> Path:
        """Write a drawing, and return its path; an existing file is replaced.

        Drawn is the graph that was differentiated, its segments coloured by mode; without a derivative the graph
        after passes. `graph.draw` and `optimized.draw` draw the graphs of the derivative.

        Arguments:
            path: ending in `.svg`; in `.dot`, a text for Graphviz; or in `.html`, the page of `explain(format="html")`.
            layout: "dot" for Graphviz's, "layered" for the built-in one; None takes dot for up to 300 nodes if it is
                installed.

        Raises `ArgumentError` for another ending or layout, and where the folder does not exist.
        """
        from graphad.report.draw import draw_function

        return draw_function(self, path, layout, lambda: self.explain(format="html"))

    def _repr_html_(self) -> str:
        from graphad.report.markup import function_html

        return function_html(self)

    def __repr__(self) -> str:
        return f"<{self.recipe.tier} {self.name}{signature(self.graph)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return (CompiledFunction, (self.recipe,))


def compile_graph(
    graph: Graph,
    packing: Packing | None = None,
    plan: Plan | None = None,
    passes: Sequence[Pass] = DEFAULT,
    tier: Tier = "compiled",
    threads: int = 1,
    memory_budget: Budget | None = None,
) -> CompiledFunction:
    """A compiled function of a graph.

    Arguments:
        packing: how outputs are handed over; None: one as itself, several as a named tuple.
        plan: recorded as the function's plan.
        passes: run in order before code is generated.
        tier: what runs it.
        threads: how many threads a call of the compiled code uses, itself included.
        memory_budget: of a derivative: what a call may take besides its arguments, at the sizes' hints. Bytes, a text
            such as "1.5 GiB", or a fraction of what it takes without a budget. `fn.plan.memory` says what it came to.

    Raises `ArgumentError` for another tier, and for no whole number of threads from 1 to 256.
    """
    if tier not in get_args(Tier):
        raise ArgumentError(describe(f"tier={tier!r}", expected=" or ".join(f'"{t}"' for t in get_args(Tier))))
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= MOST_THREADS:
        raise ArgumentError(
            describe(f"threads={threads!r}", expected=f"a whole number from 1 to {MOST_THREADS}",
                     fix="as many as there are cores for one call: `threads=2`; 1 runs in the calling thread")
        )  # fmt: skip
    expect_graph(graph)
    if packing is None:
        names = tuple(graph.outputs)
        packing = names[0] if len(names) == 1 else Record(names, graph.name, names)
    made = plan or Plan()
    if memory_budget is not None or (made.graph is not None and marked(graph)):
        passes, report = Settings(graph, passes).fit(memory_budget)
        made = replace(made, decisions=(*made.decisions, memory_decision(report)), memory=report)
    return CompiledFunction(Recipe(graph, packing, made, tuple(passes), tier, threads))


def _how_run(nest: Parallel | Serial, threads: int) -> tuple[str, str]:
    """The choice of a nest and its reason."""
    if isinstance(nest, Serial):
        return "1 thread", nest.reason
    collected = ", ".join(var.name for var, _ in nest.totals)
    reason = f"from {LEAST_WORK:,} operations, of which it has {nest.work}"
    return f"{threads} threads", reason + (f"; {collected} collected by each, added in order" if collected else "")


def _kernel(generated: Generated) -> AnyKernel:
    translated = translated_kernel(generated)
    if translated is not None:
        return translated
    module = cache.load(generated.source)
    constants = tuple(getattr(module, name) for name in generated.constants)
    function = getattr(module, generated.kernel)
    return Kernel(function, entry_of(function), constants, generated, module.__name__)
