"""Interpret first, compile when it pays: the time spent is counted, and a thread compiles once it passes an estimate.

Nobody knows how often a function will be called. Compiling when interpreting has cost as much as compiling will cost at
most doubles what the best choice would have cost.
"""

from __future__ import annotations

import functools
import os
import threading
import warnings
from collections.abc import Callable
from time import perf_counter
from typing import Any

from graphad.errors import describe
from graphad.ir.graph import Graph
from graphad.ops.patience import OutOfTimeError, until

COMPILING = threading.RLock()
"""Held while Numba compiles: keeps threads from doing the same work twice, and a fork from happening in the middle."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=COMPILING.acquire, after_in_parent=COMPILING.release, after_in_child=COMPILING.release)

START, PER_NODE, PER_FURTHER_NODE, FEW = 0.03, 0.004, 0.0002, 200


def compile_seconds(graph: Graph) -> float:
    """About how long it takes to compile a graph after passes: 30 ms, 4 ms for each of the first 200 nodes, 0.2 ms for
    each further one, as measured on the benchmark problems.

    >>> g = Graph("double")
    >>> x = g.input("x", shape="n")
    >>> g.output("y", x + x)
    >>> compile_seconds(g)
    0.038
    """
    nodes = len(graph.nodes)
    return START + PER_NODE * min(nodes, FEW) + PER_FURTHER_NODE * max(0, nodes - FEW)


class Switch:
    """A call that is counted until it has taken `limit` seconds in all; then a thread runs `compile`.

    Whoever has compiled sets `call`, which later calls go to. Threads may call at once; a count lost between them does
    no harm. The thread is no daemon: a process that ends while it runs waits for it, and leaves its work in the cache.

    One call whose loops take that long is given up, unless another compilation is under way: it waits for the compiler,
    and compiled code begins again.

    Arguments:
        name: of the function, for messages.
        state: "interpreted", "compiling", "compiled" or "failed".
    """

    def __init__(self, name: str, call: Callable[..., Any], limit: float, compile: Callable[[], object]) -> None:
        self.name = name
        self.call = call
        self.limit = limit
        self.compile = compile
        self.spent = 0.0
        self.state = "interpreted"
        self.thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def counted(self) -> Callable[..., Any]:
        """The function to call: what it wraps until `call` is set to something else."""

        @functools.wraps(self.call)
        def function(*args: Any, **kwargs: Any) -> Any:
            if self.state in ("compiled", "failed"):
                return self.call(*args, **kwargs)
            begun = perf_counter()
            try:
                with until(begun + self.limit, ready=nobody_compiles):
                    result = self.call(*args, **kwargs)
            except OutOfTimeError:
                self.finish()
                return self.call(*args, **kwargs)
            self.spent += perf_counter() - begun
            if self.spent > self.limit:
                self.start()
            return result

        return function

    def start(self) -> None:
        """Let a thread compile, once."""
        with self._starting:
            if self.state == "interpreted":
                self.state = "compiling"
                self.thread = in_background(self._work, f"graphad compiles {self.name}")

    def finish(self) -> None:
        """Let a thread compile, and wait for it."""
        self.start()
        if self.thread is not None:
            self.thread.join()

    def _work(self) -> None:
        try:
            self.compile()
        except Exception as error:
            self.state = "failed"
            what = f"`{self.name}` can not be compiled and stays interpreted: {error}"
            warnings.warn(describe(what, fix='`tier="interpreted"` does not try'), RuntimeWarning, stacklevel=1)
        else:
            self.state = "compiled"


def nobody_compiles() -> bool:
    """Whether the compiler could start at once."""
    if COMPILING.acquire(blocking=False):
        COMPILING.release()
        return True
    return False


def in_background(task: Callable[[], None], name: str) -> threading.Thread:
    """Run a task in a thread of its own, under the lock of the compiler."""

    def run() -> None:
        with COMPILING:
            task()

    thread = threading.Thread(target=run, name=name)
    thread.start()
    return thread
