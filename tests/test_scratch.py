"""Scratch memory: nothing allocated in steady state but the results, nothing shared between calls, bytes reported."""

from __future__ import annotations

import ctypes
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphad as ga
from graphad.compile import CompiledFunction
from graphad.ir.sizes import Size
from graphad.loops.ir import Var
from graphad.loops.schedule import schedule
from graphad.loops.scratch import Life, block_bytes, ends, packed, stacked, together
from passes.inline import inline
from tests.memory import Memory


def softmaxes(n: str | int = "n") -> ga.Graph:
    """Three arrays that are needed one after another, and one result."""
    g = ga.Graph("softmaxes")
    x = g.input("x", shape=n)
    for _ in range(3):
        e = np.exp(x - x.max())
        x = (e / e.sum())[::-1].cumsum()
    g.output("y", x)
    return g


def expected(x: np.ndarray) -> np.ndarray:
    """The same with NumPy."""
    for _ in range(3):
        e = np.exp(x - x.max())
        x = (e / e.sum())[::-1].cumsum()
    return x


@pytest.fixture(scope="module")
def function() -> CompiledFunction:
    return ga.compile(softmaxes())


def test_steady_calls_allocate_nothing(memory: Memory) -> None:
    function = ga.compile(softmaxes())
    x, longer, kept = np.linspace(-1.0, 1.0, 3000), np.linspace(0.0, 1.0, 9000), np.empty(3000)
    function(x)
    assert memory.taken == 1
    for _ in range(5):
        function(x, out=kept)
    assert memory.taken == 1
    function(longer)
    function(x, out=kept)
    assert (memory.taken, memory.given_back) == (2, 1)
    np.testing.assert_allclose(kept, expected(x), rtol=1e-13)


def test_one_block_is_kept(memory: Memory) -> None:
    f = ga.compile(softmaxes(), passes=())
    for n in (10, 1000, 100_000, 10):
        x = np.linspace(0.0, 1.0, n)
        np.testing.assert_allclose(f(x), expected(x), rtol=1e-12)
    assert memory.taken - memory.given_back == 1


def test_no_memory_is_an_error(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_allocate", lambda count: None)
    memory.allocate = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_size_t)(lambda count: None)
    function = ga.compile(softmaxes())
    for call in (function, function.bind(np.ones(10))):
        with pytest.raises(MemoryError):
            call(*[np.ones(10)] * (call is function))


def test_threads_have_blocks_of_their_own(function: CompiledFunction) -> None:
    points = [np.linspace(-k, k, 20_000 + 100 * k) for k in range(1, 9)]
    wanted = [function(x) for x in points]
    start = threading.Barrier(4)

    def work(_: int) -> bool:
        start.wait()
        return all(np.array_equal(function(x), y) for _ in range(10) for x, y in zip(points, wanted, strict=True))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))


def test_arrays_that_live_one_after_another_share_a_place() -> None:
    found = schedule(inline(softmaxes(1000))).slots
    needed = [sum(slot.bytes for slot in found if slot.life[0] <= k <= slot.life[1]) for k in range(20)]
    assert block_bytes(found, {}) < sum(slot.bytes for slot in found)
    assert block_bytes(found, {}) < max(needed) + 128 * len(found)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4), st.integers(1, 50)), min_size=1, max_size=25))
def test_arrays_that_live_at_once_lie_apart_at_all_sizes(drawn: list[tuple[int, int, int]]) -> None:
    n = Size.name("n")
    pieces = [
        (Var(f"v{k}", (), "float64"), size * n if k % 2 else 200 * size, Life(first, first + length))
        for k, (first, length, size) in enumerate(drawn)
    ]
    found = stacked(pieces, {"n": 10})
    for at in (1, 10, 1000):
        last = ends(found, {"n": at})
        first = [max((last[k] for k in slot.above), default=0) for slot in found]
        for a, b in combinations(range(len(found)), 2):
            overlap = found[a].life.first <= found[b].life.last and found[b].life.first <= found[a].life.last
            assert not overlap or last[a] <= first[b] or last[b] <= first[a]


def test_packing_leaves_no_gap_where_none_is_needed() -> None:
    assert packed([Life(0, 1), Life(1, 3), Life(2, 3)], [64, 128, 64]) == [128, 0, 128]


def test_programs_inside_a_call_take_turns() -> None:
    early, late = Life(3, 3, 0, Life(0, 1)), Life(3, 3, 0, Life(2, 2))
    assert not together(early, late)
    assert together(early, Life(3, 3, 1, Life(2, 2)))
    assert together(early, Life(3, 3))
    assert not together(early, Life(4, 5))


def test_bytes_are_what_the_kernel_asks_for(function: CompiledFunction) -> None:
    lines = [x.strip() for x in function.source.splitlines()]
    ends = [x for x in lines if x.startswith("end_")]
    (text,) = [x.partition("_borrow")[2] for x in lines if "= _borrow(" in x]
    for n in (1, 7, 5000):
        names = {"n": n}
        exec("\n".join(ends), names)
        assert function.scratch_bytes(n=n) == eval(text, names)
    with pytest.raises(ga.ArgumentError, match="no size `m`"):
        function.scratch_bytes(m=3)
    assert f"{function.scratch_bytes():,}" in function.explain(loops=True)


def test_empty_arrays(function: CompiledFunction) -> None:
    g = ga.Graph("sums")
    x = g.input("x", shape=("n", "m"))
    g.output("y", (x.cumsum(0)[::-1].cumsum(0)).sum())
    f = ga.compile(g)
    assert f(np.ones((0, 3))) == 0
    assert f(np.ones((3, 0))) == 0
    assert f(np.ones((2, 2))) == 10.0
