"""A line that says what takes so long, for commands at a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer

from rich.console import Console

PATIENCE = 1.0  # seconds of work before anything is shown


@contextmanager
def busy(what: str, terminal: Console | None = None, patience: float = PATIENCE) -> Iterator[None]:
    """Show a moving line while the work inside goes on, if it takes longer than `patience` seconds.

    Arguments:
        what: the work, such as "compiling".
        terminal: where; None for standard error. Files and pipes get nothing.
    """
    terminal = terminal or Console(stderr=True)
    if not terminal.is_terminal:
        yield
        return
    status = terminal.status(what)
    timer = Timer(patience, status.start)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        status.stop()
