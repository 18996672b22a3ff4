"""Every benchmark problem at a tiny size: graphad's derivative against complex steps or the hand-written one."""

from __future__ import annotations

import doctest
import importlib
import itertools
import pkgutil
from typing import Any

import numpy as np
import pytest

import benchmarks
from benchmarks import report, roofline, run
from benchmarks.measure import in_turn, norm_error
from benchmarks.peers import hand, ours, table
from benchmarks.peers.dialect import Dialect, numpy_dialect
from benchmarks.problem import Arrays, Case, Problem, flat
from benchmarks.problems.table import PROBLEMS

AT_POINTS = [n for n, p in PROBLEMS.items() if p.derivative == "batched_jacobian"]
SPARSE = [n for n, p in PROBLEMS.items() if p.sparse]
BY_STEPS = [n for n, p in PROBLEMS.items() if p.derivative != "hvp" and not p.makers and not p.sparse]
BY_HAND = [n for n in PROBLEMS if n not in (*BY_STEPS, *AT_POINTS, *SPARSE)]


def of_graphad(problem: Problem, arrays: Arrays) -> list[Any]:
    """What graphad's checked call and its kernel give; both must be the same."""
    results = [e.arrays(e.call()) for e in table.make("graphad", problem, arrays).values()]
    assert len(results) == 2
    for checked, kernel in zip(*results, strict=True):
        np.testing.assert_array_equal(checked, kernel)
    return results[0]


def by_complex_steps(problem: Problem, arrays: Arrays, step: float = 1e-30) -> list[Any]:
    """Value and derivatives of the formula in NumPy."""
    xp = numpy_dialect()

    def value(**changed: Any) -> Any:
        return np.asarray(problem.formula(xp, *{**arrays, **changed}.values()))

    results = [] if problem.derivative in ("grad", "jacobian") else [value()]
    for name in problem.wrt:
        columns = []
        for place in np.ndindex(arrays[name].shape):
            point = arrays[name].astype(complex)
            point[place] += 1j * step
            columns.append(value(**{name: point}).imag / step)
        results.append(np.moveaxis(np.array(columns), 0, -1).reshape(value().shape + arrays[name].shape))
    return results


@pytest.mark.parametrize("name", BY_STEPS)
def test_derivatives_by_steps(name: str) -> None:
    problem = PROBLEMS[name]
    arrays = problem.arrays(problem.small)
    assert norm_error(of_graphad(problem, arrays), by_complex_steps(problem, arrays)) < 1e-12


@pytest.mark.parametrize("name", AT_POINTS)
def test_jacobians_at_points_by_steps(name: str) -> None:
    problem = PROBLEMS[name]
    arrays = problem.arrays(problem.small)
    xp = Dialect(np, abs=lambda x: np.where(x.real < 0.0, -x, x), arctan2=angle)
    (point,) = arrays.values()
    columns = [problem.formula(xp, point + 1e-30j * unit).imag / 1e-30 for unit in np.eye(point.shape[1])]
    assert norm_error(of_graphad(problem, arrays), [np.stack(columns, axis=2)]) < 1e-12


def angle(y: Any, x: Any) -> Any:
    """The angle of (x, y), analytic in both."""
    return np.arctan2(y.real, x.real) + 1j * (x.real * y.imag - y.real * x.imag) / (x.real**2 + y.real**2)


@pytest.mark.parametrize("name", BY_HAND)
def test_derivatives_by_hand(name: str) -> None:
    problem = PROBLEMS[name]
    arrays = problem.arrays(problem.small)
    (by_hand,) = hand.entrants(problem, arrays).values()
    assert norm_error(of_graphad(problem, arrays), flat(by_hand.call())) < 1e-12


def along(problem: Problem, arrays: Arrays, direction: Any, step: float = 1e-30) -> Any:
    """The derivative of the formula in NumPy along a direction of the input asked for, by a complex step."""
    (name,) = problem.wrt
    moved = arrays[name] + 1j * step * direction.reshape(arrays[name].shape)
    return np.asarray(problem.formula(numpy_dialect(), *{**arrays, name: moved}.values())).imag.reshape(-1) / step


@pytest.mark.parametrize("name", [n for n in SPARSE if "1354" not in n])  # the same formulas as with 118 buses
def test_sparse_matrices(name: str) -> None:
    problem = PROBLEMS[name]
    arrays, (wrt,) = problem.arrays(problem.small), problem.wrt
    results = [e.arrays(e.call()) for e in table.make("graphad", problem, arrays).values()]
    assert all(norm_error(r, results[0]) == 0.0 for r in results)
    columns = np.cos(np.arange(arrays[wrt].size))
    if problem.derivative == "sparse_jacobian":
        assert norm_error(results[0][:1], [along(problem, arrays, columns)]) < 1e-12
        return
    left = np.sin(1.0 + np.arange(arrays[wrt].size))
    step = 1e-5  # of differences between complex steps along the other vector
    sides = [along(problem, {**arrays, wrt: arrays[wrt] + s * step * columns}, left)[0] for s in (1, -1)]
    assert left @ results[0][0] == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=1e-7)


@pytest.mark.parametrize("name", PROBLEMS)
def test_problems_are_whole(name: str) -> None:
    problem = PROBLEMS[name]
    assert problem.name == name
    assert set(problem.wrt) <= set(problem.shapes)
    assert problem.hand is not None or name in AT_POINTS + SPARSE
    assert set(problem.peers) <= set(table.MODULES)
    assert set(problem.limits) <= set(problem.peers)
    assert [c.sizes.keys() for c in problem.cases] == [problem.small.sizes.keys()] * len(problem.cases)
    if "casadi" in problem.peers:
        assert "casadi" in problem.formulas or "casadi" in problem.makers
    for dtype in {c.dtype for c in problem.cases}:
        assert {a.dtype.name for a in problem.arrays(Case(problem.small.sizes, dtype)).values()} == {dtype}


def test_one_graph_serves_all_sizes() -> None:
    graph = ours.build(PROBLEMS["gmm"])
    assert set(graph.size_names) == {"k", "d", "n"}


def test_norm_error_sees_what_differs() -> None:
    ones = np.ones(4)
    assert norm_error([ones, 2 * ones], [ones, ones]) == pytest.approx(1.0)
    assert norm_error([ones], [np.ones((2, 2))]) == float("inf")
    assert not norm_error([np.full(2, np.nan)], [np.ones(2)]) <= 1e-10


def test_measured_in_turn() -> None:
    order: list[str] = []
    samples = in_turn({n: lambda n=n: order.append(n) for n in "ab"}, repeats=3)
    assert [len(s) for s in samples.values()] == [3, 3]
    assert all(s > 0 for times in samples.values() for s in times)
    changes = sum(left != right for left, right in itertools.pairwise(order))
    assert changes == 7


def test_limits_and_missing() -> None:
    problem = PROBLEMS["rosenbrock"]
    assert "rsdag" in table.peers_of(problem, Case({"n": 1000}))
    assert "rsdag" not in table.peers_of(problem, Case({"n": 1_000_000}))
    assert table.missing(["graphad", "hand"]) == []


def result(error: float = 0.0) -> dict[str, Any]:
    """A stored result of two entrants."""
    times = {"graphad": [1e-6, 2e-6, 4e-6], "jax": [3e-6, 6e-6, 1.2e-5]}
    rows = {n: {"compile": 1.0, "first": 0.5, "median": s[1], "least": s[0], "samples": s} for n, s in times.items()}
    case = {"label": "n=1", "rows": rows, "missing": ["rsdag"], "failed": {"torch": "ValueError: no"},
            "errors": {"graphad": error, "jax": 0.0}, "tolerance": 1e-10}  # fmt: skip
    known = {"name": "tiny", "title": "", "notes": "small", "processor": "abacus", "versions": {"b": "1"}}
    return {**known, "cases": [case]}


def test_page() -> None:
    page = report.page([result()])
    (line,) = (row for row in page.splitlines() if row.startswith("| tiny") and "µs" in row)
    assert [cell.strip() for cell in line.split("|")][1:6] == ["tiny", "n=1", "2 µs", "", ""]
    assert " 3.0 " in line
    for text in ("abacus", "torch failed: ValueError: no", "Not installed: rsdag", "tiny: small", "All results agree"):
        assert text in page
    assert "graphad differs by 1.0e-03" in report.page([result(1e-3)])
    assert report.disagreements([result(float("nan"))]) == ["tiny n=1: graphad differs by nan"]


def test_derivatives_are_compared_with_values() -> None:
    found = result()
    assert report.over_values([found]) == ""
    found["cases"][0]["rows"]["graphad"]["over value"] = 2.0
    assert "2.0 times their values in the geometric mean, at most 2.0 (tiny)" in report.page([found])
    problem = PROBLEMS["rosenbrock_hvp"]
    arrays = problem.arrays(problem.small)
    value = ours.value_call(problem, arrays)
    assert value is not None
    np.testing.assert_allclose(value(), problem.formula(numpy_dialect(), arrays["x"]), rtol=1e-14)
    assert ours.value_call(PROBLEMS["banded"], PROBLEMS["banded"].arrays(PROBLEMS["banded"].small)) is None


def test_wrong_names_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["nothing"]) == 2
    assert "no benchmark `nothing`; there are stress" in capsys.readouterr().out


def test_examples() -> None:
    for module in pkgutil.walk_packages(benchmarks.__path__, "benchmarks."):
        if module.name.startswith(("benchmarks.hand", "benchmarks.vecmath")):
            continue
        found = doctest.testmod(importlib.import_module(module.name))
        assert found.failed == 0, module.name


def test_roofline_takes_the_longer_of_traffic_and_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "peaks", lambda dtype: roofline.Peaks(bytes=1e9, flops=1e10))
    x = np.zeros(1000)
    assert roofline.fraction(1e-4, 0, [x], [x], "float64") == pytest.approx(0.16)
    assert roofline.fraction(1e-4, 500_000, [x], [x], "float64") == pytest.approx(0.5)


def test_peaks_are_measured() -> None:
    found = roofline.peaks("float64")
    assert 1e8 < found.bytes < 1e13
    assert 1e8 < found.flops < 1e13
