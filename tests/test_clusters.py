"""Gradients that keep local partials where the reverse loop waits: values, memory, and what is left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphad as ga
from graphad.plan.gradients import clusters

Formula = Callable[..., Any]
RNG = np.random.default_rng(11)


def energy(a: Any, b: Any) -> Any:
    r = a * a + b * b + 0.5
    inverse, root = 1.0 / r, np.sqrt(r)
    cube = inverse * inverse * inverse
    e = cube * cube - cube + root * inverse - 1.0 / (1.0 + root)
    return e / (1.0 + e * e) + a / (1.0 + root)


def log_sum(a: Any, b: Any) -> Any:
    return np.log(np.exp(energy(a, b)).sum())


def norm(a: Any, b: Any) -> Any:
    z = energy(a, b)
    return np.sqrt((z * z).sum())


def one_parameter(a: Any, b: Any) -> Any:
    """The second input is shared by all points: its partials are summed."""
    z = energy(a, b[0]) * np.exp(-a)
    return np.log((z * z).sum()) + b.sum()


def two_uses(a: Any, b: Any) -> Any:
    """The result of a cluster is needed twice, and an input besides."""
    z = energy(a, b)
    return (z / np.sqrt((z * z).sum()) * a).sum() + (z * b).sum()


FORMULAS: dict[str, Formula] = {f.__name__: f for f in (log_sum, norm, one_parameter, two_uses)}


def build(name: str, formula: Formula, second: Any = "n") -> ga.Graph:
    g = ga.Graph(name)
    g.output("L", formula(g.input("a", shape="n"), g.input("b", shape=second)))
    return g


@pytest.mark.parametrize("name", FORMULAS)
def test_values_against_complex_step(name: str) -> None:
    formula = FORMULAS[name]
    second = 2 if name == "one_parameter" else "n"
    arrays = [RNG.normal(size=6), RNG.normal(size=2 if second == 2 else 6)]
    vg = ga.value_and_grad(build(name, formula, second), tier="interpreted")
    assert [d.choice for d in vg.plan.decisions if d.subject.startswith("cluster")] == ["local partials"]
    value, gradient = vg(*arrays)
    np.testing.assert_allclose(value, formula(*arrays), rtol=1e-13)
    for which, found in enumerate(gradient):
        for i in range(len(arrays[which])):
            moved = [p.astype(complex) for p in arrays]
            moved[which][i] += 1e-30j
            np.testing.assert_allclose(found[i], formula(*moved).imag / 1e-30, rtol=1e-11, atol=1e-14)


def test_memory_and_code_change() -> None:
    """Two arrays of partials, which lie where the results come, in place of a dozen."""
    g = build("log_sum", log_sum)
    vg, plain = ga.value_and_grad(g), ga.compile(ga.transform.value_and_grad(g))
    assert vg.scratch_bytes(n=10_000) < plain.scratch_bytes(n=10_000) / 4
    arrays = [RNG.normal(size=50), RNG.normal(size=50)]
    found, wanted = vg(*arrays), plain(*arrays)
    np.testing.assert_allclose(found[1].a, wanted.dL_da, rtol=1e-12, atol=1e-16)
    np.testing.assert_allclose(found[1].b, wanted.dL_db, rtol=1e-12, atol=1e-16)
    text = vg.explain()
    for shown in ("cluster: a, b -> ", "local partials", "arrays kept"):
        assert shown in text


def test_branches_stay_guarded() -> None:
    def formula(a: Any, b: Any) -> Any:
        safe = np.where(a > 0.0, np.sqrt(a) * np.log(a), a * b)
        z = np.where(b > 0.0, safe / b, np.exp(safe) + np.sqrt(np.maximum(b, 0.0)))
        return np.log((np.exp(z) * np.tanh(z * a)).sum() ** 2 + 1.0)

    vg = ga.grad(build("branches", formula), tier="interpreted")
    assert any(d.choice == "local partials" for d in vg.plan.decisions)
    arrays = [np.array([0.5, -1.0, 2.0, -0.3]), np.array([-1.0, 0.7, 1.5, -0.2])]
    plain = ga.interpret(ga.transform.grad(build("branches", formula)), *arrays)
    for name, found in zip("ab", vg(*arrays), strict=True):
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found, plain[f"dL_d{name}"], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    "formula",
    [
        lambda a, b: energy(a, b).sum(),  # nothing waits: one loop does all
        lambda a, b: np.log(np.exp(a * b).sum()),  # two inputs, one value that is kept
        lambda a, b: np.log((a * a * b - b * a * b).sum()),  # cheap values are computed again
    ],
)
def test_what_is_left_alone(formula: Formula) -> None:
    g = build("plain", formula)
    assert [d.subject for d in ga.grad(g, tier="interpreted").plan.decisions][:1] == ["dL/d(a, b)"]
    assert not any(d.subject.startswith("cluster") for d in ga.grad(g, tier="interpreted").plan.decisions)


def test_clusters_have_one_result_and_few_leaves() -> None:
    g = build("norm", norm).freeze()
    (cluster,) = clusters(g, ["a", "b"], "L")
    assert cluster.leaves == (0, 1)
    assert cluster.result == max(cluster.inside)
    assert set(cluster.kept) < set(cluster.inside)
