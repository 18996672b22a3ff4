"""Simulated annealing over elimination orders, a million orders a second.

One step moves a vertex to another place in the order. Sets of predecessors and successors are words of 64 bits, and the
count of an order stops once it is past what would still be accepted.

Reference: S. Kirkpatrick, C. Gelatt, M. Vecchi, Optimization by simulated annealing, Science 220 (1983).
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from graphad.plan.elimination import UNIT, VARIABLE, Elimination, Linearized, Rule

Words = NDArray[np.uint64]

SWEEPS = 300  # moves for each intermediate vertex
RESTARTS = 3
BATCH = 4000  # moves between two looks at the clock
HOT, COLD = 3.0, 0.15  # temperatures in multiplications
NEAR = 8


def anneal(
    graph: Linearized, start: Sequence[int], rule: Rule = "refined", seconds: float = 1.0, seed: int = 0
) -> tuple[int, ...]:
    """The best order found from `start`: never worse than it, and the same at each call unless time runs out.

    Arguments:
        start: every intermediate vertex once.
        rule: by which multiplications are counted.
        seconds: when to stop at the latest. Compiling this function for the first time on a machine is not counted.
    """
    sets = _words(graph)
    work = tuple(np.empty_like(s) for s in sets)
    refined = rule == "refined"
    best = np.array(start, dtype=np.int64)
    best_count = int(_count(best, sets, work, refined, np.inf))
    generator = np.random.default_rng(seed)
    moves = SWEEPS * len(best)
    nothing = np.empty((0, 4))
    # No move, so that compiling does not run against the clock.
    _moves(best, best_count, best, best_count, sets, work, refined, nothing, (1.0, 1.0))
    ends = time.perf_counter() + seconds
    for _ in range(RESTARTS):
        order, value, done = best.copy(), best_count, 0
        while done < moves:
            if time.perf_counter() > ends:
                return tuple(best.tolist())
            chance = generator.random((BATCH, 4))
            span = (HOT * (COLD / HOT) ** (done / moves), (COLD / HOT) ** (BATCH / moves))
            value, best_count = _moves(order, value, best, best_count, sets, work, refined, chance, span)
            done += BATCH
    return tuple(best.tolist())


def _words(graph: Linearized) -> tuple[Words, Words, Words, Words]:
    """Predecessors; all, unit and variable successors: a row of bits for each vertex."""
    state = Elimination(graph)
    width = (graph.vertices + 63) // 64
    sets = tuple(np.zeros((graph.vertices, width), dtype=np.uint64) for _ in range(4))
    for source, after in enumerate(state.successors):
        for target, kind in after.items():
            _set(sets[0], target, source)
            _set(sets[1], source, target)
            if kind == UNIT:
                _set(sets[2], source, target)
            if kind == VARIABLE:
                _set(sets[3], source, target)
    return sets[0], sets[1], sets[2], sets[3]


def _set(words: Words, row: int, bit: int) -> None:
    words[row, bit // 64] |= np.uint64(1) << np.uint64(bit % 64)


@njit(cache=True, nogil=True)
def _ones(word: Any) -> Any:
    """The number of set bits (Hacker's Delight, section 5-1)."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@njit(cache=True, nogil=True)
def _eliminate(v: Any, before: Any, after: Any, unit: Any, variable: Any, refined: Any) -> Any:
    """Eliminate a vertex from the sets; its multiplications."""
    width = before.shape[1]
    every, inner, many, sources = 0, 0, 0, 0
    for w in range(width):
        every += _ones(after[v, w])
        inner += _ones(after[v, w] & ~unit[v, w])
        many += _ones(variable[v, w])
    cost = 0
    word_v, bit_v = v // 64, np.uint64(1) << np.uint64(v % 64)
    for w in range(width):
        rest = before[v, w]
        while rest != np.uint64(0):
            low = rest & (~rest + np.uint64(1))
            rest ^= low
            p = 64 * w + _ones(low - np.uint64(1))
            sources += 1
            is_unit = unit[p, word_v] & bit_v != np.uint64(0)
            is_variable = variable[p, word_v] & bit_v != np.uint64(0)
            cost += 0 if is_unit else inner if is_variable else many
            after[p, word_v] &= ~bit_v
            unit[p, word_v] &= ~bit_v
            variable[p, word_v] &= ~bit_v
            for k in range(width):
                fresh = unit[v, k] if is_unit else np.uint64(0)
                # An edge that meets another is their sum, which is no unit.
                unit[p, k] = (unit[p, k] & ~after[v, k]) | (fresh & ~after[p, k])
                variable[p, k] |= after[v, k] if is_variable else variable[v, k]
                after[p, k] |= after[v, k]
    for w in range(width):
        rest = after[v, w]
        while rest != np.uint64(0):
            low = rest & (~rest + np.uint64(1))
            rest ^= low
            s = 64 * w + _ones(low - np.uint64(1))
            before[s, word_v] &= ~bit_v
            for k in range(width):
                before[s, k] |= before[v, k]
    return cost if refined else every * sources


@njit(cache=True, nogil=True)
def _count(order: Any, sets: Any, work: Any, refined: Any, limit: Any) -> Any:
    """The multiplications of an order, or more than `limit` where it has more."""
    # Assigning whole arrays would take Numba three seconds to compile.
    for k in range(4):
        for v in range(work[k].shape[0]):
            for w in range(work[k].shape[1]):
                work[k][v, w] = sets[k][v, w]
    total = 0
    for v in order:
        total += _eliminate(v, work[0], work[1], work[2], work[3], refined)
        if total > limit:
            return total
    return total


@njit(cache=True, nogil=True)
def _move(order: Any, origin: Any, to: Any) -> None:
    vertex = order[origin]
    step = 1 if to > origin else -1
    for k in range(origin, to, step):
        order[k] = order[k + step]
    order[to] = vertex


@njit(cache=True, nogil=True)
def _moves(
    order: Any, value: Any, best: Any, best_count: Any, sets: Any, work: Any, refined: Any, chance: Any, span: Any
) -> Any:
    """Try one move for each row of random numbers; the counts of the present and of the best order."""
    size = len(order)
    temperature = span[0]
    cooling = span[1] ** (1.0 / max(len(chance), 1))
    for row in range(len(chance)):
        origin = int(chance[row, 0] * size)
        if chance[row, 1] < 0.5:
            shift = int(chance[row, 2] * (2 * NEAR + 1)) - NEAR
            to = min(max(origin + shift, 0), size - 1)
        else:
            to = int(chance[row, 2] * size)
        if to == origin:
            continue
        _move(order, origin, to)
        limit = value - temperature * math.log(chance[row, 3] + 1e-300)
        total = _count(order, sets, work, refined, limit)
        if total <= limit:
            value = total
            if total < best_count:
                best_count = total
                for k in range(size):
                    best[k] = order[k]
        else:
            _move(order, to, origin)
        temperature *= cooling
    return value, best_count
