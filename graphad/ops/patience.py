"""How long loops that run without compiled code may take: whoever waits for them sets a deadline for its thread.

Nobody knows how many steps a `while_loop` takes. So what runs loops looks at the clock now and then, and gives up when
the time has come; the caller compiles and begins again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from time import perf_counter

LATER = 0.1  # seconds after which a caller who was not ready is asked again


class OutOfTimeError(Exception):
    """The deadline has passed, or will before a loop is done: an answer, not a mistake of the user."""


class _Deadline(threading.local):
    time = inf
    ready: Callable[[], bool] = staticmethod(lambda: True)


_deadline = _Deadline()


@contextmanager
def until(time: float, ready: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Loops that this thread runs give up at a time of `perf_counter`; infinity for never.

    Arguments:
        ready: asked when the time has come: whether the caller could go on now; if not, loops go on.

    >>> with until(perf_counter() - 1.0):
    ...     expect(0.0)
    Traceback (most recent call last):
    graphad.ops.patience.OutOfTimeError
    """
    before = _deadline.time, _deadline.ready
    _deadline.time, _deadline.ready = time, ready
    try:
        yield
    finally:
        _deadline.time, _deadline.ready = before


def expect(seconds: float) -> None:
    """Give up unless so much time is left."""
    now = perf_counter()
    if now + seconds > _deadline.time:
        if _deadline.ready():
            raise OutOfTimeError
        _deadline.time = now + LATER
