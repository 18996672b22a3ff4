"""Jacobians of maps: rows taken apart, one small Jacobian for each, against complex step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphad as ga
from graphad.analysis.rows import Mixed, rows_of
from graphad.ir.sizes import Size

N = Size.name("n")
Formula = Callable[..., Any]


def generator() -> np.random.Generator:
    return np.random.default_rng(3)


def complex_step(formula: Formula, arrays: list[Any], which: int) -> Any:
    columns = []
    for index in np.ndindex(arrays[which].shape):
        moved = [np.array(a, dtype=complex if np.asarray(a).dtype.kind == "f" else None) for a in arrays]
        moved[which][index] += 1e-30j
        columns.append(formula(*moved).imag / 1e-30)
    return np.stack(columns, axis=-1).reshape((*columns[0].shape, *arrays[which].shape))


def columns(x: Any) -> Any:
    """Columns of points, stacked."""
    return np.stack([x[:, 0] * np.sin(x[:, 1]), x[:, 2] / x[:, 3], np.exp(x[:, 4]) * x[:, 5]], axis=1)


def lines(x: Any) -> Any:
    """The points are the second axis of inputs and outputs."""
    return np.stack([x[0] * x[1] ** 2, np.cos(x[2])])


def shared(x: Any, a: Any) -> Any:
    """Products with a matrix that all rows share, sums and cumulated sums inside a row."""
    h = np.tanh(x @ a)
    return np.cumsum(h, axis=1) * (h * h).sum(axis=1)[:, None]


def moved_axes(x: Any) -> Any:
    """Reshapes, transposes and flips that leave the rows alone."""
    z = x.reshape((-1, 2, 3)).transpose((2, 0, 1))
    return np.flip(z, axis=0).transpose((1, 0, 2))[:, ::2] * x.sum(axis=1)[:, None, None]


def pictures(x: Any) -> Any:
    """Two axes of independent points."""
    return np.sin(x[:, :, 0]) * x[:, :, 1]


CASES: dict[str, tuple[Formula, tuple[tuple[Any, ...], ...]]] = {
    "columns": (columns, (("n", 6),)),
    "lines": (lines, ((3, "n"),)),
    "shared": (shared, (("n", 3), (3, 4))),
    "moved_axes": (moved_axes, (("n", 6),)),
    "pictures": (pictures, (("n", 3, 2),)),
}


def build(name: str) -> ga.Graph:
    formula, shapes = CASES[name]
    g = ga.Graph(name)
    g.output("y", formula(*(g.input(f"x{i}", shape=s, hint=50) for i, s in enumerate(shapes))))
    return g


@pytest.mark.parametrize("name", CASES)
def test_dense_and_batched_against_complex_step(name: str) -> None:
    formula, shapes = CASES[name]
    arrays = [generator().normal(size=[5 if e == "n" else e for e in s]) for s in shapes]
    dense = ga.jacobian(build(name), "x0", tier="interpreted")
    assert "rows" in dense.plan.decisions[0].choice
    wanted = complex_step(formula, arrays, 0)
    np.testing.assert_allclose(dense(*arrays), wanted, rtol=1e-12, atol=1e-14)
    own = np.moveaxis(wanted, (shapes[0].index("n") if name != "lines" else 1), 0)
    place = own.ndim - len(shapes[0]) + shapes[0].index("n")
    each = np.stack([np.take(own[r], r, axis=place - 1) for r in range(5)])
    for mode in (None, "forward", "reverse"):
        batched = ga.jacobian(build(name), "x0", batch="n", mode=mode, tier="interpreted")  # type: ignore[arg-type]
        np.testing.assert_allclose(batched(*arrays), each, rtol=1e-12, atol=1e-14)


def test_inputs_that_all_points_share() -> None:
    formula, _ = CASES["shared"]
    arrays = [generator().normal(size=(5, 3)), generator().normal(size=(3, 4))]
    wanted = complex_step(formula, arrays, 1)
    for batch in (None, "n"):
        found = ga.jacobian(build("shared"), "x1", batch=batch, tier="interpreted")(*arrays)
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-14)


def test_residuals_by_parameters_that_all_points_share() -> None:
    """What the rows share is a few scalars: one row has three inputs and one output, and is eliminated."""

    def formula(t: Any, p: Any) -> Any:
        return p[0] * np.exp(-p[1] * t) + p[2] * t

    g = ga.Graph("decay")
    g.output("y", formula(g.input("t", shape="n"), g.input("p", shape=3)))
    found = ga.jacobian(g, "p", sparse=False, tier="interpreted")
    assert [d.choice.split(":")[0] for d in found.plan.decisions[:2]] == ["n rows", "elimination"]
    arrays = [generator().normal(size=5), generator().normal(size=3)]
    np.testing.assert_allclose(found(*arrays), complex_step(formula, arrays, 1), rtol=1e-13)


def observations(cameras: Any, points: Any, which: Any, seen: Any) -> Any:
    """As in bundle adjustment: rows read the elements that index arrays select."""
    d = points[seen] - cameras[which][:, :3]
    return d[:, :2] / d[:, 2:] * cameras[which][:, 3:]


def test_rows_behind_index_arrays() -> None:
    g = ga.Graph("observations")
    inputs = [g.input("cameras", shape=("p", 5)), g.input("points", shape=("q", 3))]
    g.output("y", observations(*inputs, *(g.input(name, shape="n", dtype="int64") for name in ("which", "seen"))))
    arrays = [generator().normal(size=(3, 5)), generator().normal(size=(4, 3))]
    indices = [np.array([0, 2, 2, 1, 0, 1]), np.array([3, 0, 1, 1, 2, 3])]
    dense = ga.jacobian(g, ["cameras", "points"], tier="interpreted")
    row = dense.plan.decisions[1]
    assert (row.inputs, row.outputs) == (8, 2)
    for which, found in enumerate(dense(*arrays, *indices)):
        wanted = complex_step(observations, [*arrays, *indices], which)
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-14)
    found = ga.jacobian(g, "cameras", batch="n", tier="interpreted")(*arrays, *indices)
    np.testing.assert_allclose(found, dense(*arrays, *indices).cameras, rtol=1e-12, atol=1e-14)


def test_neighbours_that_an_index_array_names() -> None:
    def formula(x: Any, near: Any) -> Any:
        return (np.sin(x[near] - x[:, None]) ** 2).sum(axis=1)

    g = ga.Graph("neighbours")
    g.output("y", formula(g.input("x", shape="n"), g.input("near", shape=("n", 3), dtype="int64")))
    arrays = [generator().normal(size=6), generator().integers(0, 6, size=(6, 3))]
    dense = ga.jacobian(g, "x", tier="interpreted")
    assert dense.plan.decisions[0].choice == "n rows"
    np.testing.assert_allclose(dense(*arrays), complex_step(formula, arrays, 0), rtol=1e-12, atol=1e-14)
    with pytest.raises(ga.DifferentiationError, match="a point reads elements of others"):
        ga.jacobian(g, "x", batch="n")


@pytest.mark.parametrize(
    ("formula", "reason"),
    [
        (lambda x: x / x.sum(axis=0), "`sum` runs over the rows"),
        (lambda x: np.cumsum(x, axis=0), "`cumsum` runs over the rows"),
        (lambda x: np.sin(x)[::-1] * 2.0, "another order"),
        (lambda x: x[:, 0] @ x, "sums over the rows"),
        (lambda x: x[:, :1] * x[:, 0], "along different axes"),
        (lambda x: x.reshape((-1,)), "joins rows with another axis"),
        (lambda x: np.sin(x[0]), "takes some of the rows"),
    ],
)
def test_what_mixes_rows(formula: Formula, reason: str) -> None:
    g = ga.Graph("mixed")
    g.output("y", formula(g.input("x", shape=("n", 2))))
    found = rows_of(g.freeze(), ["x"], ["y"], N)
    assert isinstance(found, Mixed)
    assert reason in found.reason
    with pytest.raises(ga.DifferentiationError, match="batch='n'"):
        ga.jacobian(g, "x", batch="n")


def test_a_condition_of_all_rows_is_no_derivative() -> None:
    """What carries no derivative may come from all rows: a mask by the mean."""

    def formula(x: Any) -> Any:
        return np.where(x.real > x.real.mean(), x * x, 3.0 * x)

    g = ga.Graph("mask")
    x = g.input("x", shape="n")
    g.output("y", np.where(x > x.mean(), x * x, 3.0 * x))
    point = generator().normal(size=7)
    dense = ga.jacobian(g, tier="interpreted")(point)
    np.testing.assert_allclose(dense, complex_step(formula, [point], 0), rtol=1e-12)


def test_an_output_without_rows() -> None:
    g = ga.Graph("total")
    x, a = g.input("x", shape=("n", 2)), g.input("a", shape=2)
    g.output("y", x * a)
    g.output("z", a * a)
    with pytest.raises(ga.DifferentiationError, match="output `z` has no axis that numbers n rows"):
        ga.jacobian(g, "a", batch="n")


def test_batch_and_force_exclude_each_other() -> None:
    with pytest.raises(ga.ArgumentError, match="`batch` and `force` are both given"):
        ga.jacobian(build("columns"), batch="n", force={"segment 1": "forward"})
