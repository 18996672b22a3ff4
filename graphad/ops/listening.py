"""Loops that tell how far they are: what a loop says, and who listens.

A loop's parameter `progress` is its name and a number k: it tells after every k steps, and at its end where the number
of steps is no multiple of k. Loops of which nothing is to be heard lack the parameter. Listeners belong to the process,
not to graphs: compiled code and the references of the operations come here (`tell`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphad.errors import ArgumentError, describe

Progress = tuple[str, int]
Callback = Callable[[str, int, "int | None"], object]


def checked(purpose: str, progress: Any) -> tuple[str | None, int] | None:
    """A user's `progress=` as a name, None where there is none yet, and k; raises `ArgumentError` for anything else.

    Arguments:
        purpose: what the user called, for messages.
        progress: k, a name and k, or what this function answers.

    >>> checked("scan", 100), checked("scan", ("orbit", 100))
    ((None, 100), ('orbit', 100))
    """
    if progress is None:
        return None
    pair = progress if isinstance(progress, tuple) and len(progress) == 2 else (None, progress)
    name, every = pair
    if type(every) is int and every > 0 and (name is None or (isinstance(name, str) and name.isprintable())):
        return name, every
    raise ArgumentError(
        describe(
            f"`{purpose}`: progress={progress!r} is no number of steps",
            expected='a positive integer k, or a name and k: ("orbit", 100)',
            fix="`progress=100` tells after every 100 steps; leave it out for a silent loop",
        )
    )


def parameter(progress: tuple[str | None, int] | None, name: str = "") -> dict[str, Progress]:
    """The parameter of an operation that says so, by `name` where it has none yet; nothing for silent loops."""
    return {} if progress is None else {"progress": (name if progress[0] is None else progress[0], progress[1])}


def backwards(progress: Progress | None) -> Progress | None:
    """What the reverse sweep of a loop tells.

    >>> backwards(("orbit", 100))
    ('orbit backwards', 100)
    """
    return None if progress is None else (f"{progress[0]} backwards", progress[1])


# ---------------------------------------------------------------------- who listens


class Listener:
    """A callback, until it raises something; that is kept for whoever listens."""

    def __init__(self, callback: Callback) -> None:
        self.callback = callback
        self.error: BaseException | None = None

    def hear(self, name: str, done: int, total: int | None) -> None:
        """Call the callback. What it raises is kept, since compiled code can not pass it on."""
        if self.error is not None:
            return
        try:
            self.callback(name, done, total)
        except BaseException as error:
            self.error = error


listeners: list[Listener] = []
"""All that listen now."""


def tell(name: str, done: int, total: int | None) -> None:
    """Say that a loop has done some of its steps."""
    for listener in tuple(listeners):
        listener.hear(name, done, total)


def step_done(progress: Progress | None, done: int, total: int | None) -> None:
    """Called after each step by what runs loops step by step."""
    if progress is not None and (done % progress[1] == 0 or done == total):
        tell(progress[0], done, total)


def loop_done(progress: Progress | None, done: int) -> None:
    """Called after the last step of a loop whose number of steps was not known."""
    if progress is not None and done % progress[1]:
        tell(progress[0], done, None)
