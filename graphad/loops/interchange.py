"""Interchange: loops that stand directly in each other are put in the order in which their arrays lie in memory.

One order of all axes serves the fusion, but a nest that is its own (copies into the layout of a matrix product, say)
runs best with its own order. Only loops with nothing between them are exchanged, and only where no value lives in
between.
"""

from __future__ import annotations

from collections.abc import Iterator

from graphad.loops.axes import Axes
from graphad.loops.ir import Access, Loop, Statement, Var, walk
from graphad.loops.place import Storage

Body = list[Loop | Statement]
STRIDED = 8.0  # cost of an element in a cache line of its own, in elements that lie side by side


def interchange(body: Body, axes: Axes, storage: dict[Var, Storage]) -> None:
    """Reorder the loops of all nests in a placed program."""
    for item in body:
        if not isinstance(item, Loop):
            continue
        chain = list(_chain(item))
        if len(chain) > 1 and _free(chain, storage):
            _reorder(chain, axes, storage)
        interchange(chain[-1].body, axes, storage)


def _chain(loop: Loop) -> Iterator[Loop]:
    """A loop and those that are alone in each other."""
    yield loop
    while len(loop.body) == 1 and isinstance(loop.body[0], Loop):
        loop = loop.body[0]
        yield loop


def _free(chain: list[Loop], storage: dict[Var, Storage]) -> bool:
    """Whether any order of the loops computes the same."""
    between = {id(loop) for loop in chain[:-1]}
    for statement, _ in walk(chain[-1].body):
        if statement.kind not in ("=", "+=", "*=", "max=", "min=", "|=", "&=") or statement.after:
            return False
        for access in statement.accesses():
            home = storage[access.var].home
            if home and id(home[-1]) in between:
                return False
    return True


def _reorder(chain: list[Loop], axes: Axes, storage: dict[Var, Storage]) -> None:
    """The cheapest axis innermost, then the cheapest of the others around it, and so on."""
    accesses = [a for s, _ in walk(chain[-1].body) for a in s.accesses() if storage[a.var].memory]
    nested = any(isinstance(item, Loop) for item in chain[-1].body)
    current = [loop.axis for loop in chain]
    order = sorted(current, key=lambda c: (-_cost(c, accesses, axes, storage), current.index(c)))
    if nested or _cost(order[-1], accesses, axes, storage) < _cost(current[-1], accesses, axes, storage):
        for loop, axis in zip(chain, order, strict=True):
            loop.axis = axis


def _cost(loop: int, accesses: list[Access], axes: Axes, storage: dict[Var, Storage]) -> float:
    """What one step along a loop costs in memory: more the farther it goes, and in large arrays more than in small."""
    total = 0.0
    for access in accesses:
        memory = storage[access.var].memory
        along = [d for d in memory if loop in map(axes.find, access.indices[d].axes())]
        if along:
            inside = len(memory) - 1 - min(map(memory.index, along))  # dimensions that a step goes over
            step = 1.0 if not inside and _dense(access, memory[-1]) else STRIDED * max(inside, 1)
            total += step * len(memory)
    return total


def _dense(access: Access, dimension: int) -> bool:
    """Whether a step of the loop is a step of one element."""
    terms = access.indices[dimension].terms
    return len(terms) == 1 and isinstance(terms[0][0], int) and terms[0][1] in (1, -1)
