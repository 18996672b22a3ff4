"""Loops that tell how far they are: what a loop says, and who listens.

A loop's parameter `progress` is a tuple of names and numbers: for ("orbit", k) it tells after every k steps, and at its
end where the number of steps is no multiple of k. Merged loops tell what each of them told. Loops of which nothing is
to be heard lack the parameter. Listeners belong to the process, not to graphs: compiled code and the references of the
operations come here (`tell`).
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from threading import get_ident
from typing import Any

from graphad.errors import ArgumentError, describe
from graphad.ops.patience import expect, until

Progress = tuple[tuple[str, int], ...]
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


def named(progress: tuple[str | None, int] | None, name: str) -> Progress:
    """What a user's `progress=` means for a loop, by `name` where it has none yet.

    >>> named((None, 100), "step"), named(None, "step")
    ((('step', 100),), ())
    """
    return () if progress is None else ((name if progress[0] is None else progress[0], progress[1]),)


def parameter(progress: Progress) -> dict[str, Progress]:
    """The parameter of an operation that says so; nothing for silent loops."""
    return {"progress": progress} if progress else {}


def backwards(progress: Progress) -> Progress:
    """What the reverse sweep of a loop tells.

    >>> backwards((("orbit", 100),))
    (('orbit backwards', 100),)
    """
    return tuple([(f"{name} backwards", every) for name, every in progress])


def together(one: Progress, other: Progress) -> Progress:
    """What two loops tell when they have become one; what both tell is told once.

    >>> together((("orbit", 100),), (("orbit", 100), ("spin", 10)))
    (('orbit', 100), ('spin', 10))
    """
    return tuple(dict.fromkeys(one + other))


# ---------------------------------------------------------------------- who listens


class Listener:
    """A callback, until it raises something; that is kept until a call of the thread that listens raises it."""

    def __init__(self, callback: Callback) -> None:
        self.callback = callback
        self.thread = get_ident()
        self.error: BaseException | None = None

    def hear(self, name: str, done: int, total: int | None) -> None:
        """Call the callback. What it raises is kept, since compiled code can not pass it on at once."""
        if self.error is not None:
            return
        try:
            with until(inf):  # loops that the callback runs are its own
                self.callback(name, done, total)
        except BaseException as error:
            self.error = error


listeners: list[Listener] = []
"""All that listen now."""


def tell(name: str, done: int, total: int | None) -> bool:
    """Say that a loop has done some of its steps; whether it is to stop, so that `raise_pending` is called."""
    for listener in tuple(listeners):
        listener.hear(name, done, total)
    return any(listener.error is not None for listener in _own())


def _own() -> list[Listener]:
    """The listeners of this thread. What others raise is theirs: no call of this thread fails for it."""
    return [listener for listener in tuple(listeners) if listener.thread == get_ident()]


def raise_pending() -> None:
    """Raise what a callback of this thread has raised, once; called where `tell` says that there is something."""
    for listener in _own():
        if (error := listener.error) is not None:
            listener.error = None
            raise error
    raise KeyboardInterrupt


def step_done(progress: Progress, done: int, total: int | None) -> None:
    """Called after each step, or some steps, by what runs loops without compiled code.

    Raises what callbacks raise, and `OutOfTimeError` at the deadline.
    """
    expect(0.0)
    for name, every in progress:
        if (done % every == 0 or done == total) and tell(name, done, total):
            raise_pending()


def loop_done(progress: Progress, done: int) -> None:
    """Called after the last step of a loop whose number of steps was not known; raises what callbacks raise."""
    for name, every in progress:
        if done % every and tell(name, done, None):
            raise_pending()
