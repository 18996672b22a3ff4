"""Reverse sweeps in generated code: where to run before the next state is stored, and tapes that grow.

`LINES` goes into modules; the rules are those of `graphad.ops.schedules`, without numbers of any size.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from graphad.emit.embed import embedded

FIRST_TAPE = 16
"""Places of a tape when it is made."""

# -- into modules


@njit(error_model="numpy", nogil=True, cache=True)
def _stretch(steps: int, snapshots: int) -> int:
    """How far to run before the next state is stored, of `steps` to be reversed (Griewank and Walther, 2000)."""
    if snapshots <= 1:
        return steps - 1
    repeats, reach = 0, 1
    while reach < steps:
        repeats += 1
        reach = reach * (snapshots + repeats) // repeats
    before = reach * repeats // (snapshots + repeats)
    rest = before * snapshots // (snapshots + repeats - 1)
    return max(1, min(before, steps - rest))


@njit(error_model="numpy", nogil=True)
def _longer(tape: Any) -> Any:
    """A tape with twice as many places, and the same first half."""
    longer = np.empty((2 * tape.shape[0], *tape.shape[1:]), tape.dtype)
    source, target = tape.reshape(-1), longer.reshape(-1)
    for place in range(source.size):
        target[place] = source[place]
    return longer


# -- until here

LINES = embedded(__file__)
NAMES = frozenset(["_stretch", "_longer"])
IMPORTS = """\
import numpy as np
from typing import Any
from numba import njit
"""


def rule(schedule: tuple[str, int], *, at: str, last: str, top: str) -> str:
    """The step up to which to run before a state is stored, as an expression.

    Arguments:
        at: the step whose state is there.
        last: the step that is to be reversed next.
        top: the place of the state stored last.

    >>> rule(("every", 5), at="at", last="last", top="top")
    '(at // 5 + 1) * 5 if at // 5 < last // 5 else at + 1'
    """
    kind, count = schedule
    if kind == "binomial":
        return f"{at} + _stretch({last} + 1 - {at}, {count} - {top})"
    if count == 1:
        return f"{at} + 1"
    return f"({at} // {count} + 1) * {count} if {at} // {count} < {last} // {count} else {at} + 1"
