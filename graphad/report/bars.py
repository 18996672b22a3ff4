"""Progress of loops while they run: callbacks, and bars at a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING

from graphad.emit.reporting import listening
from graphad.ops.listening import Callback

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

PAUSE = 0.1  # seconds between two pictures of a bar


def progress(callback: Callback | None = None) -> AbstractContextManager[None]:
    """Hear how far loops are that were made with `progress=`, while the functions of a `with` block run.

    Arguments:
        callback: called as `callback(name, done, total)`, with the name of the loop (that of its body, or the one given
            in `progress=(name, k)`; reverse sweeps add "backwards"), the steps that are done, and all steps, None for a
            `while_loop`. It is called after every k steps and at the end, by the thread that runs the loop. Without a
            callback standard error shows a bar for each loop, if it is a terminal.

    The block hears all loops of the process, compiled or interpreted, in all threads. What the callback raises, or an
    interrupt from the keyboard meanwhile, ends the loop that has told, and the call raises it. Loops of other threads
    than the one that listens run on to their end, and so do `.jit`, `.cfunc` and kernels that need Numba; then it is
    raised at the end of the block, and until then the callback is not called any more.

    >>> import graphad as ga
    >>> g = ga.Graph("growth")
    >>> g.output("y", ga.fori_loop(0, 250, lambda i, s: s * 1.01, g.input("x"), progress=("years", 100)))
    >>> with ga.progress(lambda name, done, total: print(name, done, total)):
    ...     y = ga.interpret(g, x=1.0)
    years 100 250
    years 200 250
    years 250 250
    """
    return listening(callback) if callback is not None else _shown(None)


@contextmanager
def _shown(terminal: Console | None) -> Iterator[None]:
    # Imported where bars are shown: that takes 60 ms, and few want them.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    terminal = terminal or Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        Progress(*columns, console=terminal, auto_refresh=False, disable=not terminal.is_terminal) as bars,
        listening(Bars(bars)),
    ):
        yield


class Bars:
    """The callback that shows one bar for each name; one that is full begins anew."""

    def __init__(self, bars: Progress) -> None:
        self.bars = bars
        self.tasks: dict[str, tuple[TaskID, int]] = {}
        self.last = 0.0
        self.lock = Lock()

    def __call__(self, name: str, done: int, total: int | None) -> None:
        """Draw, but not more often than one sees."""
        with self.lock:
            task, before = self.tasks.get(name) or (self.bars.add_task(name, total=total), 0)
            if done < before:
                self.bars.reset(task, total=total)
            self.tasks[name] = task, done
            self.bars.update(task, completed=done, total=total)
            if done == total or monotonic() - self.last > PAUSE:
                self.bars.refresh()
                self.last = monotonic()
