"""Loops of few rounds run their last rounds on vectors with a mask, where the processor has one and hints tell."""

from __future__ import annotations

import ast

import numpy as np
import pytest

import graphad as ga
from graphad.emit import kernels
from graphad.emit.short_loops import WORK, has_masks, is_short
from graphad.emit.source import generate


def activation(hint: int | None) -> ga.Graph:
    """tanh by elements of an array of a size with a hint."""
    g = ga.Graph("bent")
    x = g.input("x", shape="n", hint=hint)
    g.output("y", np.tanh(x))
    return g


def masked(hint: int | None) -> bool:
    """Whether the kernel stores with a mask."""
    return "@llvm.masked.store" in str(kernels._optimized(generate(activation(hint)), {})[0])


@pytest.mark.skipif(not has_masks(), reason="masks need registers for them")
@pytest.mark.parametrize(("hint", "expected"), [(14, True), (16, False), (3, False), (1_000, False), (None, False)])
def test_masks_follow_the_hint(hint: int | None, expected: bool) -> None:
    assert masked(hint) == expected


@pytest.mark.skipif(not has_masks(), reason="masks need registers for them")
def test_without_registers_for_masks_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphad.emit.translate.has_masks", lambda: False)
    assert not masked(14)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 14, 15, 40])
def test_other_sizes_than_the_hint(count: int) -> None:
    whole = np.linspace(-3.0, 3.0, count + 8)
    inside = whole[4 : count + 4].copy()
    np.testing.assert_allclose(ga.compile(activation(14))(inside), np.tanh(inside), rtol=1e-15)


def loop(body: str, bounds: str = "n") -> ast.For:
    """A loop over a line."""
    (found,) = ast.parse(f"for i in range({bounds}):\n    {body}").body
    assert isinstance(found, ast.For)
    return found


def test_what_counts_is_the_work_of_a_round() -> None:
    long = "v = " + " + ".join(["x[i]"] * (WORK + 1))
    assert is_short(loop(long), {"n": 14})
    assert is_short(loop("v = exp(x[i])"), {"n": 14})
    assert not is_short(loop("v = x[i] + x[i]"), {"n": 14})
    assert not is_short(loop("v = maximum(x[i], v)"), {"n": 14})
    assert not is_short(loop(f"for k in range(3): {long}"), {"n": 14})


def test_bounds() -> None:
    for bounds, expected in (
        ("1, n", True), ("n - 1, -1, -1", True), ("n // 2", True), ("4 * n", True), ("100 * n", False), ("m", False),
        ("-n", False), ("x.shape[0]", False),
    ):  # fmt: skip
        assert is_short(loop("v = exp(x[i])", bounds), {"n": 15}) == expected, bounds
