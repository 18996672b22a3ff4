"""Dense Jacobians of which most elements are zero: entries into zeros, against complex steps and against sweeps."""

from __future__ import annotations

import numpy as np
import pytest

import graphad as ga

RANDOM = np.random.default_rng(5)


def neighbours(x, w, xp=np):  # type: ignore[no-untyped-def]
    """Each element with the ones before and after, nothing outside."""
    nothing = x[:1] * 0.0
    before, after = xp.concatenate([nothing, x[:-1]]), xp.concatenate([x[1:], nothing])
    return w * x * before - 2.0 * after + xp.sin(x * before)


def band(dtype: str = "float64") -> ga.Graph:
    """The function of neighbours as a graph."""
    g = ga.Graph("band")
    x, w = g.input("x", "n", dtype=dtype), g.input("w", "n", dtype=dtype)
    g.output("y", neighbours(x, w))
    return g


def by_steps(f, x):  # type: ignore[no-untyped-def]
    """The Jacobian of a function by complex steps."""
    return np.stack([f(x + 1e-30j * unit).imag / 1e-30 for unit in np.eye(x.size)], axis=-1)


def test_a_band_is_written_into_zeros() -> None:
    full = ga.jacobian(band(), sparse=False)
    assert full.plan.decisions[0].choice == "entries into zeros"
    assert "sweeps once" in full.plan.decisions[0].threshold
    for n in (1, 2, 3, 40):
        x, w = RANDOM.normal(size=n), RANDOM.normal(size=n)
        found = full(x, w)
        np.testing.assert_allclose(found.x, by_steps(lambda z, w=w: neighbours(z, w), x), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(found.w, by_steps(lambda z, x=x: neighbours(x, z), w), rtol=1e-12, atol=1e-14)


def test_entries_are_those_of_sweeps_in_float32_and_through_gathers() -> None:
    g = ga.Graph("edges")
    x, w = g.input("x", ("n", 2), dtype="float32"), g.input("w", "k", dtype="float32")
    i, j = g.input("i", "k", dtype="int64"), g.input("j", "k", dtype="int64")
    g.output("y", w[:, None] * (x[i] - x[j]) ** 3)
    arrays = {"x": RANDOM.normal(size=(5, 2)), "w": RANDOM.normal(size=7)}
    arrays = {name: a.astype(np.float32) for name, a in arrays.items()}
    arrays |= {"i": RANDOM.integers(0, 5, 7), "j": RANDOM.integers(0, 5, 7)}
    full, swept = ga.jacobian(g, wrt="x", sparse=False), ga.jacobian(g, wrt="x", mode="reverse", tier="interpreted")
    found, expected = full(**arrays), swept(**arrays)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_zeros_stay_zeros_beside_infinite_entries() -> None:
    g = ga.Graph("roots")
    x = g.input("x", "n")
    g.output("y", np.sqrt(x[1:]) + np.sqrt(x[:-1]))
    full = ga.jacobian(g, sparse=False)(np.array([0.0, 1.0, 4.0]))
    np.testing.assert_array_equal(full, [[np.inf, 0.5, 0.0], [0.0, 0.5, 0.25]])


@pytest.mark.parametrize("size", [3, "n"])
def test_small_and_dense_jacobians_are_left_to_sweeps(size: int | str) -> None:
    g = ga.Graph("dense")
    x = g.input("x", size)
    g.output("y", np.cumsum(np.sin(x)))
    assert ga.jacobian(g, sparse=False, tier="interpreted").plan.decisions[0].choice != "entries into zeros"
