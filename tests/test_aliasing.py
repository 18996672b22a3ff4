"""What LLVM is told about memory: loops with many arrays are vectorised; arrays that share some are not told apart."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from itertools import combinations

import numpy as np

import graphad as ga
from graphad.emit import kernels
from graphad.emit.aliasing import READ, TAPES, Memory, Scopes, origins
from graphad.emit.source import Generated, generate
from graphad.loops.scratch import ends
from passes.pipeline import run_pipeline


def recurrence() -> ga.Graph:
    """Eight states of length n that turn round, and their sum."""
    g = ga.Graph("turning")
    first, weights = g.input("first", shape=(8, "n")), g.input("weights", shape=(8, "n"))

    def step(states: tuple[ga.Variable, ...], _: object) -> tuple[tuple[ga.Variable, ...], None]:
        turned = (*states[1:], states[0])
        return tuple([np.tanh(s * weights[k]) + s for k, s in enumerate(turned)]), None

    last, _ = ga.scan(step, tuple([first[k] for k in range(8)]), length=5, graph=g)
    g.output("y", sum(s.sum() for s in last))
    return g


def gradient() -> Generated:
    """The kernel of its gradient."""
    return generate(run_pipeline(ga.transform.grad(recurrence(), "weights"))[0])


def optimized(generated: Generated) -> str:
    """The kernel as LLVM leaves it."""
    return str(kernels._optimized(generated, {})[0])


def exponentials(code: str) -> int:
    """The number of fused multiply-adds on several numbers at once, of which an exponential has many."""
    return len(re.findall(r"call [a-z ]*<\d+ x double> @llvm\.fma", code))


def test_a_loop_with_many_arrays_is_vectorised() -> None:
    generated = gradient()
    told, left_alone = optimized(generated), optimized(replace(generated, memory=Memory()))
    assert exponentials(told) > exponentials(left_alone)


def test_only_arrays_that_lie_apart_are_told_apart() -> None:
    generated = gradient()
    memory, extents = generated.memory, {"n": 100}
    last = ends(memory.slots, extents)
    first = [max((last[k] for k in slot.above), default=0) for slot in memory.slots]
    overlapping = 0
    for one, other in combinations(memory.scratch, 2):
        a, b = memory.scratch[one], memory.scratch[other]
        apart = a == b or last[a] <= first[b] or last[b] <= first[a]
        assert apart or not memory.apart(one, other)
        overlapping += not apart
    assert overlapping, "no memory is used twice: nothing was tried"


def test_arguments() -> None:
    memory = Memory(frozenset({"x", "w"}), frozenset({"y", "z"}), {"v": 0}, ())
    assert memory.owners == [READ, TAPES, "y", "z", "v"]
    assert memory.owner("w") == READ
    assert memory.owner("other") is None
    assert all(memory.apart(a, b) for a, b in combinations(memory.owners, 2))
    assert not memory.apart("y", "y")


def found(body: str) -> dict[str, set[str]]:
    """The owners of the names of a kernel of an input `x` and outputs `y` and `z`, with a scratch array `v`."""
    definition = ast.parse(f"def f(x, y, z):\n    v = _array(0, np.float64, (2,))\n{body}").body[0]
    assert isinstance(definition, ast.FunctionDef)
    memory = Memory(frozenset("x"), frozenset("yz"), {"v": 0}, ())
    return {name: set(owners) for name, owners in origins(definition, memory).items()}


def test_names_that_change_places_may_be_either() -> None:
    owners = found("    a = v\n    b = y\n    for k in range(3):\n        c = a[k]\n        a, b = b, a\n")
    assert owners["a"] == owners["b"] == owners["c"] == {"v", "y"}
    assert owners["v"] == {"v"}


def test_views_belong_to_what_they_show() -> None:
    owners = found("    a = z[1]\n    b = a.reshape((2, 3))\n    c = x\n")
    assert owners["a"] == owners["b"] == {"z"}
    assert owners["c"] == {READ}


def test_tapes_share_memory_with_each_other_only() -> None:
    step = "    for k in range(3):\n        a = _array(tape + 64 * k, np.float64, (2,))\n"
    owners = found(f"{step}    b = a\n    b, c = y, b\n")
    assert owners["a"] == {TAPES}
    assert owners["b"] == owners["c"] == {TAPES, "y"}
    memory = Memory(frozenset("x"), frozenset("y"))
    assert memory.apart(TAPES, "y")
    assert not memory.apart(TAPES, TAPES)


def test_memory_of_unknown_origin_may_be_any() -> None:
    owners = found("    a = other(tape)\n    b = a\n    b, c = y, b\n")
    assert {"a", "b", "c"}.isdisjoint(owners)


def test_nothing_is_told_where_it_would_be_long() -> None:
    class Instruction:
        def set_metadata(self, name: str, node: object) -> None:
            raise AssertionError(name)

    from llvmlite import ir

    many = Memory(scratch={f"v{k}": 0 for k in range(1_000)})
    Scopes(ir.Module(), many).mark(Instruction(), frozenset({"v1"}))


def test_the_gradient_is_right() -> None:
    rng = np.random.default_rng(3)
    at = rng.normal(size=(8, 13)), rng.normal(size=(8, 13)) / 2
    result, h = ga.grad(recurrence(), "weights")(*at), 1e-30
    x, w = at
    for k, j in ((0, 0), (5, 7), (7, 12)):
        states, weights = list(x.astype(complex)), w.astype(complex)
        weights[k, j] += 1j * h
        for _ in range(5):
            states = [np.tanh(s * weights[i]) + s for i, s in enumerate([*states[1:], states[0]])]
        np.testing.assert_allclose(result[k, j], sum(s.sum() for s in states).imag / h, rtol=1e-12)
