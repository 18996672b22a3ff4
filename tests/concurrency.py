"""Several threads at once, and a compiler that is busy, for tests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from graphad.emit import switching


def in_threads(work: Callable[[int], None], count: int) -> None:
    """Call a function with 0, 1, ... in as many threads, and wait for all of them."""
    threads = [threading.Thread(target=work, args=(k,)) for k in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextmanager
def compiler_busy() -> Iterator[None]:
    """Something else is being compiled in the background while the block runs."""
    entered, leave = threading.Event(), threading.Event()

    def compile_long() -> None:
        entered.set()
        leave.wait(30.0)

    thread = switching.in_background(compile_long, "graphad compiles something long")
    entered.wait(30.0)
    try:
        yield
    finally:
        leave.set()
        thread.join()
