"""In which order the reverse sweep of a loop of n steps stores states, runs steps again and takes adjoint steps.

An adjoint step needs the state at its start. A schedule says which states are kept while the loop runs forward:

    ("all",), ("carries",)   every one
    ("every", k)             every k-th; those between are made again, one stretch at a time
    ("binomial", s)          at most s at a time, the first included, placed so that the fewest steps are run again

Reference: A. Griewank and A. Walther, Algorithm 799: Revolve, ACM TOMS 26 (2000).
"""

from __future__ import annotations

from collections.abc import Iterator
from math import comb
from typing import Any, NamedTuple

Schedule = tuple[Any, ...]  # the kind, then a number where there is one


class Action(NamedTuple):
    """One action: "advance" from a state to the next, "store" or "load" or "drop" a state, "adjoint" step from it."""

    kind: str
    step: int


def actions(schedule: Schedule | None, length: int) -> Iterator[Action]:
    """The actions of a reverse sweep. The state at step 0 is there when it begins.

    >>> [f"{a.kind} {a.step}" for a in actions(("binomial", 1), 2)]
    ['store 0', 'advance 0', 'adjoint 1', 'load 0', 'drop 0', 'adjoint 0']
    """
    if length == 0:
        return iter(())
    if schedule is not None and schedule[0] == "binomial":
        return _binomial(length, max(1, schedule[1]))
    stretch = max(1, schedule[1]) if schedule is not None and schedule[0] == "every" else length
    return _every(length, stretch)


def advances(schedule: Schedule | None, length: int) -> int:
    """How many steps a reverse sweep runs beyond those inside its adjoint steps.

    >>> advances(("all",), 10), advances(("every", 5), 10), advances(("binomial", 3), 10)
    (9, 13, 15)
    """
    return sum(action.kind == "advance" for action in actions(schedule, length))


def extra_steps(steps: int, snapshots: int) -> int:
    """The fewest steps that a reverse sweep of n steps runs besides its adjoint steps with s stored states.

    t(n, s) = r·n - C(s + r, s + 1), with the least r for which C(s + r, s) >= n. The first state counts as one of the
    s. Reference: Griewank and Walther (2000).

    >>> rows = (50, 3), (50, 5), (100, 3), (100, 5), (100, 10), (1000, 5), (1000, 10), (1000, 20)
    >>> [extra_steps(n, s) for n, s in rows]
    [180, 122, 490, 316, 222, 6284, 3636, 2747]
    >>> extra_steps(10000, 10), extra_steps(10000, 20)
    (57624, 37976)
    """
    r = repetitions(steps, snapshots)
    return r * steps - comb(snapshots + r, snapshots + 1)


def _every(length: int, stretch: int) -> Iterator[Action]:
    """Forward with every `stretch`-th state stored, then each stretch with all its states, from the last."""
    starts = range(0, length, stretch)
    for step in range(starts[-1]):
        if step % stretch == 0:
            yield Action("store", step)
        yield Action("advance", step)
    for start in reversed(starts):
        end = min(start + stretch, length)
        if start != starts[-1]:
            yield Action("load", start)
            yield Action("drop", start)
        for step in range(start, end - 1):
            yield Action("store", step)
            yield Action("advance", step)
        yield Action("adjoint", end - 1)
        for step in reversed(range(start, end - 1)):
            yield Action("load", step)
            yield Action("drop", step)
            yield Action("adjoint", step)


def _binomial(length: int, snapshots: int) -> Iterator[Action]:
    """All steps, with `snapshots` states stored at most, the first included."""
    pending: list[tuple[int, int, int]] = []  # stored states: their step, how many steps are left from it, for how many
    start, left, spare, fresh = 0, length, snapshots, True
    while True:
        while left > 1:
            if fresh:
                yield Action("store", start)
            ahead = first_stretch(left, spare)
            for step in range(start, start + ahead):
                yield Action("advance", step)
            pending.append((start, ahead, spare))
            start, left, spare, fresh = start + ahead, left - ahead, max(1, spare - 1), True
        yield Action("adjoint", start)
        while pending:
            start, left, spare = pending.pop()
            yield Action("load", start)
            if left > 1:
                fresh = False
                break
            yield Action("drop", start)
            yield Action("adjoint", start)
        else:
            return


def first_stretch(length: int, snapshots: int) -> int:
    """How far to run before the next state is stored, so that the fewest steps are run again.

    With one snapshot, up to the last step. Otherwise the largest j with t(n, s) = j + t(n - j, s - 1) + t(j, s), which
    holds between the binomial numbers where the slopes of both terms, r and r - 1, cancel the step itself.
    """
    if snapshots <= 1:
        return length - 1
    repeats = repetitions(length, snapshots)
    before = comb(snapshots + repeats - 1, snapshots)
    rest = comb(snapshots + repeats - 2, snapshots - 1)
    return max(1, min(before, length - rest))


def repetitions(length: int, snapshots: int) -> int:
    """The least r with C(s + r, s) >= n: no step is run again more often than that.

    >>> repetitions(10, 3), repetitions(1000, 10)
    (2, 4)
    """
    repeats = 0
    while comb(snapshots + repeats, snapshots) < length:
        repeats += 1
    return repeats
