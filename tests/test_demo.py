"""The demo: geography, the stress and its gradient, both descents, and the whole run."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from graphad.api import compile as compile_value
from graphad.api import value_and_grad
from graphad.demo import geography
from graphad.demo.descent import with_gradient, without_gradient
from graphad.demo.problem import stress, stress_graph
from graphad.demo.run import Options, Outcome, run
from graphad.errors import ArgumentError
from graphad.zero_order import complex_step

KILOMETRES = {
    ("London", "Paris"): 344,
    ("Madrid", "Warsaw"): 2290,
    ("Berlin", "Moscow"): 1610,
    ("Lisbon", "Athens"): 2850,
    ("Rome", "Oslo"): 2010,
    ("Reykjavík", "Dublin"): 1495,
    ("Vienna", "Bratislava"): 55,
}


@pytest.fixture(scope="module")
def places() -> list[geography.City]:
    return geography.cities()


def test_cities_are_plausible(places: list[geography.City]) -> None:
    assert len(places) >= 64
    assert len({place.name for place in places}) == len(places)
    assert [place.name for place in places] == sorted(place.name for place in places)
    assert all(place.country for place in places)
    assert all(34.0 < place.latitude < 71.0 and -25.0 < place.longitude < 46.0 for place in places)


@pytest.mark.parametrize("pair", KILOMETRES)
def test_known_distances(places: list[geography.City], pair: tuple[str, str]) -> None:
    names = [place.name for place in places]
    distances = geography.great_circle_distances(geography.coordinates(places))
    assert 1000.0 * distances[names.index(pair[0]), names.index(pair[1])] == pytest.approx(KILOMETRES[pair], rel=0.02)


def test_distances_are_a_metric(places: list[geography.City]) -> None:
    distances = geography.great_circle_distances(geography.coordinates(places))
    np.testing.assert_array_equal(distances, distances.T)
    np.testing.assert_array_equal(np.diag(distances), 0.0)
    around = distances[:, :, None] + distances[None, :, :]
    assert (around.min(axis=1) >= distances - 1e-12).all()


def test_projection_keeps_distances_from_its_centre(places: list[geography.City]) -> None:
    points = geography.coordinates(places)
    centre = geography.centroid(points)
    with_centre = np.concatenate([[centre], points])
    distances = geography.great_circle_distances(with_centre)[0, 1:]
    flat = geography.azimuthal_equidistant(points)
    np.testing.assert_allclose(np.sqrt((flat**2).sum(axis=1)), distances, rtol=1e-10)


def test_alignment_undoes_any_similarity() -> None:
    generator = np.random.default_rng(3)
    shape = generator.standard_normal((20, 2))
    mirror = np.array([[0.6, 0.8], [0.8, -0.6]])
    moved = 7.0 * shape @ mirror + np.array([3.0, -2.0])
    np.testing.assert_allclose(geography.aligned(moved, shape), shape, atol=1e-12)


@pytest.mark.parametrize("count", [3, 10_000])
def test_impossible_counts_are_refused(count: int) -> None:
    with pytest.raises(ArgumentError, match=r"so many cities are not on file\n  expected: 4 to"):
        geography.cities(count)


@pytest.mark.parametrize("n", [2, 3, 40])
def test_compiled_stress_and_gradient(n: int) -> None:
    generator = np.random.default_rng(n)
    positions, squares = generator.standard_normal((n, 2)), generator.uniform(0.0, 3.0, (n, n))
    value, gradient = value_and_grad(stress_graph(), wrt="W")(positions, squares)
    assert value == pytest.approx(stress(positions, squares), rel=1e-13)
    assert compile_value(stress_graph())(positions, squares) == pytest.approx(value, rel=1e-13)
    wanted = complex_step(lambda w: stress(w, squares), positions)
    assert np.abs(gradient - wanted).max() <= 1e-13 * np.abs(wanted).max()


def test_descents_count_evaluations() -> None:
    def bowl(x: np.ndarray) -> float:
        return float((x**2).sum())

    start = np.array([3.0, -4.0])
    smooth = with_gradient(lambda x: (bowl(x), 2.0 * x), start)
    assert smooth.value < 1e-12
    assert smooth.evaluations < 20
    rough = without_gradient(bowl, start, evaluations=400, step_size=0.1, seed=1)
    assert rough.evaluations == 400
    assert rough.value < 1e-3 < rough.value_after(4)
    assert rough.best == sorted(rough.best, reverse=True)
    away = without_gradient(bowl, start, evaluations=5000, step_size=1e6, seed=1)
    assert away.evaluations == 5000
    np.testing.assert_array_equal(start, [3.0, -4.0])


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, str, Path]:
    file = tmp_path_factory.mktemp("demo") / "map.png"
    console = Console(file=io.StringIO(), width=140)
    result = run(Options(seed=1, out=file, quick=True), console)
    assert isinstance(console.file, io.StringIO)
    return result, console.file.getvalue(), file


def test_the_demo_recovers_the_map(outcome: tuple[Outcome, str, Path]) -> None:
    result, _, _ = outcome
    assert result.best.value < 3.0
    assert result.equal.value > 1000.0 * result.best.value
    assert result.equal.evaluations - result.best.evaluations in (0, 1)
    assert 1000.0 * result.map_error < 10.0  # kilometres
    assert result.gradient_error_complex < 1e-13
    assert result.gradient_error_central < 1e-6


def test_the_gradient_costs_at_most_four_values(outcome: tuple[Outcome, str, Path]) -> None:
    result, text, _ = outcome
    assert result.ratio <= 4.0
    assert result.seconds_differences > 10.0 * result.seconds_gradient
    assert "within the bound of 4" in text


def test_the_report_and_the_picture(outcome: tuple[Outcome, str, Path]) -> None:
    _, text, file = outcome
    for part in ("graph stress", "reverse", "L-BFGS with the gradient", "two-point estimates", "central differences",
                 "forward differences, 159 values", "passes", "off by"):  # fmt: skip
        assert part in text
    assert file.read_bytes().startswith(b"\x89PNG")
    assert file.stat().st_size > 50_000
