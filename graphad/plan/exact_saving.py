"""Which forward values of a small block to save, exactly: an integer program for each of some amounts of memory.

S[t] says whether the value of task t is saved, R[t] whether it runs again. A value that a backward task reads is saved
or made again, and so is each operand of what runs again. The cost of what runs again is least for the bytes saved.

Reference: P. Jain et al., Checkmate, MLSys 2020 (see `graphad.plan.optimal`), without an order of time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from graphad.plan.memory import Problem

LARGEST = 40  # tasks of a block
AMOUNTS = 12
NODES = 200  # of a search tree: a plan depends on no clock
TIE = 1e-7  # of the cost of what runs again: how little bytes weigh, so that none are saved for nothing
CHOSEN = 0.5  # of a decision between 0 and 1


def exact_choices(
    problem: Problem, inside: Sequence[int], wanted: Sequence[int], most: int, forced: Collection[int] = ()
) -> Iterator[frozenset[int]]:
    """For some amounts of memory the values to save; none for blocks that are too large or have nothing to choose.

    Arguments:
        inside: the forward tasks of the block, in their order.
        wanted: those that backward tasks read.
        most: bytes, of which the amounts are parts.
        forced: tasks whose values are saved in any case.

    >>> from graphad.plan.memory import Problem, Task
    >>> tasks = (Task("a", 1, 1, ()), Task("b", 1, 9, (0,)), Task("c", 1, 1, (1,)), Task("back", 1, 1, (0, 1, 2)))
    >>> [sorted(saved) for saved in exact_choices(Problem(tasks, 3), range(3), range(3), 3)][-1]
    [0, 1, 2]
    """
    if not 1 < len(inside) <= LARGEST or len(wanted) < 2:
        return
    from scipy.optimize import Bounds, LinearConstraint, milp

    count, place = len(inside), {t: k for k, t in enumerate(inside)}
    tasks = [problem.tasks[t] for t in inside]
    saved, again = np.eye(2 * count)[:count], np.eye(2 * count)[count:]
    there = saved + again
    needs = [there[place[t]] for t in wanted]
    needs += [there[place[a]] - again[k] for k, task in enumerate(tasks) for a in task.args if a in place]
    least = [1.0] * len(wanted) + [0.0] * (len(needs) - len(wanted))
    cost = np.array([task.cost for task in tasks], float)
    sizes = np.array([task.bytes for task in tasks], float)
    price = np.concatenate([TIE * sizes / max(sizes.max(), 1.0), cost / max(cost.max(), 1.0)])
    low = np.array([float(t in forced) for t in inside] + [0.0] * count)
    high = np.array([float(task.mark != "recompute") for task in tasks] + [1.0] * count)
    whole = np.repeat([1, 0], count)  # what runs again follows from what is saved
    rules = LinearConstraint(np.array(needs), np.array(least), np.inf)
    for part in range(1, AMOUNTS + 1):
        room = most * part // AMOUNTS
        held = LinearConstraint(sizes @ saved / max(room, 1), -np.inf, min(room, 1))
        found = milp(
            price, constraints=[rules, held], integrality=whole, bounds=Bounds(low, high),
            options={"node_limit": NODES},
        )  # fmt: skip
        if found.x is not None:
            yield frozenset(t for t, decision in zip(inside, found.x, strict=False) if decision > CHOSEN)
