"""The vector mathematics against mpmath over the whole range, its limits, and the text that generated modules get."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest
import scipy.special
from numpy.typing import NDArray

from graphad.emit.vecmath import BOUNDS, FUNCTIONS, HEADER, source_of
from graphad.errors import GraphError
from tests.exact_sums import ROUNDED_ONCE, multiply_add
from tests.vecmath_loops import MODULE, TWO, loop

Array = NDArray[Any]

MP = mpmath.mp.clone()
MP.prec = 140
RNG = np.random.default_rng(7)
COUNT = 350
INTEGER = {"floordiv_int", "remainder_int"}
# These have no rounding to measure, or an integer argument.
EXACT = {"maximum", "minimum", "fma", "remainder", "remainder_f32", "floordiv", "floordiv_f32", *INTEGER}
MEASURED = sorted(FUNCTIONS - EXACT - {"polygamma", "polygamma_f32"} - {n for n in FUNCTIONS if n.endswith("_f32")})


def values(name: str, *points: Array) -> Array:
    """Evaluate a function of the vector mathematics on arrays."""
    out = np.empty_like(points[0])
    loop(name)(*points, out)
    return out


def uniform(low: float, high: float, count: int = COUNT) -> Array:
    return RNG.uniform(low, high, count)


def powers(low: float, high: float, count: int = COUNT) -> Array:
    return np.asarray(10.0 ** RNG.uniform(low, high, count))


def both(x: Array) -> Array:
    return np.concatenate([x, -x])


TINY = both(np.array([5e-324, 1e-320, 1e-308, 2.2250738585072014e-308, 1e-300, 1e-200, 1e-30, 1e-17, 3e-9]))
NEAR_MULTIPLES = np.concatenate([np.arange(1, 100), np.arange(1, 100) * 2.0**20, 2.0 ** np.arange(1, 43)]) * np.pi / 2
EXP = [uniform(-746, 710), uniform(-1, 1, 2 * COUNT), uniform(-746, -700), both(powers(-300, 2)), TINY]
LOG = [powers(-323, 308), uniform(0.5, 2, 2 * COUNT), 1 + both(powers(-16, -1)), np.abs(TINY)]
TRIGONOMETRIC = [uniform(-10, 10, 2 * COUNT), both(powers(-300, 308)), both(powers(-1, 14)), NEAR_MULTIPLES, TINY]
HYPERBOLIC = [uniform(-3, 3, 2 * COUNT), uniform(-711, 711), both(powers(-300, 2.85)), TINY]
UNIT = [uniform(-1, 1, 2 * COUNT), both(powers(-300, 0)), both(1 - powers(-16, 0)), TINY]
WIDE = [uniform(-5, 5, 2 * COUNT), both(powers(-300, 308)), both(powers(-3, 3)), TINY]

POINTS: dict[str, list[Array]] = {
    "exp": EXP,
    "exp2": [uniform(-1080, 1024), uniform(-1, 1, 2 * COUNT), both(powers(-300, 2)), TINY],
    "expm1": [*EXP, uniform(-1.5, 1.5, 3 * COUNT)],
    "log": LOG,
    "log2": LOG,
    "log10": LOG,
    "log1p": [powers(-323, 308), uniform(-0.99, 2, 3 * COUNT), both(powers(-300, -0.01)), powers(-16, -1) - 1, TINY],
    "sigmoid": [uniform(-746, 40), uniform(-5, 5, 3 * COUNT)],
    "sigmoid_tail": [uniform(-750, 750), uniform(-40, 40), uniform(-5, 5, 2 * COUNT), both(powers(-300, 2)), TINY],
    "sigmoid_of_tail": [both(powers(-323, -0.31)), both(uniform(0, 0.5)), TINY],
    "softplus": [uniform(-740, 800), uniform(-5, 5, 3 * COUNT)],
    "sin": TRIGONOMETRIC,
    "cos": TRIGONOMETRIC,
    "tan": TRIGONOMETRIC,
    "asin": UNIT,
    "acos": UNIT,
    "atan": WIDE,
    "sinh": HYPERBOLIC,
    "cosh": HYPERBOLIC,
    "tanh": [uniform(-3, 3, 3 * COUNT), uniform(-25, 25), both(powers(-300, 2.9)), TINY],
    "asinh": WIDE,
    "acosh": [1 + powers(-16, 2, 2 * COUNT), powers(0, 308)],
    "atanh": UNIT,
    "erf": [uniform(-6, 6, 3 * COUNT), both(powers(-300, 1)), TINY],
    "erfc": [uniform(-6, 27, 4 * COUNT), uniform(26, 27.3), both(powers(-300, 0)), TINY],
    "cbrt": [both(powers(-323, 308)), uniform(-10, 10), TINY],
    "lgamma": [powers(-300, 300), uniform(0.5, 3), uniform(2.5, 50)],
    "digamma": [powers(-300, 300), uniform(0.5, 3), uniform(-20, 0)],
}
PAIRS: dict[str, tuple[list[Array], list[Array]]] = {
    "pow": (
        [powers(-300, 300), powers(-5, 5), uniform(0.9, 1.1), uniform(0.7, 1.42)],
        [uniform(-1, 1), uniform(-60, 60), uniform(-7000, 7000), both(uniform(200, 2000, COUNT // 2))],
    ),
    "atan2": ([both(powers(-300, 300)), uniform(-1, 1, 1000)], [both(powers(-300, 300)), uniform(-1, 1, 1000)]),
    "hypot": ([both(powers(-300, 300)), uniform(-1, 1, 1000)], [both(powers(-300, 300)), uniform(-1, 1, 1000)]),
    "logaddexp": ([uniform(-800, 800), uniform(0, 5, 1000)], [uniform(-800, 800), uniform(0, 5, 1000)]),
}


def log_abs_gamma(x: Any) -> Any:
    return MP.loggamma(x) if x > 0 else MP.log(abs(MP.gamma(x)))


REFERENCES: dict[str, Callable[..., Any]] = {
    "exp2": lambda x: MP.mpf(2) ** x,
    "log2": lambda x: MP.log(x) / MP.ln2,
    "sigmoid": lambda x: 1 / (1 + MP.exp(-x)),
    "sigmoid_tail": lambda x: (1 if x > 0 else -1) / (1 + MP.exp(abs(x))),
    "sigmoid_of_tail": lambda t: (1 if t > 0 else 0) - t,
    "softplus": lambda x: MP.log1p(MP.exp(x)),
    "cbrt": lambda x: MP.sign(x) * MP.cbrt(abs(x)),
    "lgamma": log_abs_gamma,
    "pow": lambda x, y: MP.power(x, y),
    "logaddexp": lambda a, b: max(a, b) + MP.log1p(MP.exp(-abs(a - b))),
}


def arguments(name: str) -> list[Array]:
    if name in TWO:
        return [np.concatenate(parts) for parts in PAIRS[name]]
    return [np.concatenate(POINTS[name])]


def error_in_ulps(got: float, want: Any, scale: float = 0.0) -> float:
    """The distance from the exact value in units in the last place of it (or of `scale`, if that is larger)."""
    rounded = float(want)
    if math.isnan(got) or math.isinf(rounded) or math.isinf(got):
        return 0.0 if got == rounded or abs(want) > MP.mpf(sys.float_info.max) <= abs(MP.mpf(got)) else math.inf
    return float(abs(MP.mpf(got) - want) / MP.mpf(math.ulp(max(abs(rounded), scale))))


def reference(name: str, numbers: list[float]) -> Any:
    function = REFERENCES.get(name) or getattr(MP, name)
    # An angle needs as many more bits as it has before the point.
    MP.prec = 140 + max(0, math.frexp(numbers[0])[1]) if name in ("sin", "cos", "tan") else 140
    return function(*[MP.mpf(number) for number in numbers])


def scale_of(name: str, numbers: list[float]) -> float:
    """What the error is measured against besides the result: where zeros of the result can not be met exactly."""
    if name in ("lgamma", "digamma"):
        return 1.0
    return max(abs(number) for number in numbers) if name == "logaddexp" else 0.0


def errors(name: str, got: Array, points: list[Array]) -> list[float]:
    rows = list(zip(*[point.tolist() for point in points], strict=True))
    return [
        error_in_ulps(value, reference(name, list(row)), scale_of(name, list(row)))
        for value, row in zip(got.tolist(), rows, strict=True)
    ]


@pytest.mark.parametrize("name", MEASURED)
def test_errors_against_mpmath_are_within_the_stated_bound(name: str) -> None:
    points = arguments(name)
    found = errors(name, values(name, *points), points)
    worst = int(np.argmax(found))
    assert found[worst] <= BOUNDS[name][0], (
        f"{name}{tuple(float(point[worst]) for point in points)}: {found[worst]} ulp"
    )


@pytest.mark.parametrize("name", MEASURED)
def test_float32_against_float64_is_within_the_stated_bound(name: str) -> None:
    with np.errstate(over="ignore"):
        points = [point.astype(np.float32) for point in arguments(name)]
    got = values(f"{name}_f32", *points)
    exact = values(name, *[point.astype(np.float64) for point in points])
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = np.abs(exact.astype(np.float32))
    scale = np.float32(1.0) if name in ("lgamma", "digamma") else np.float32(0.0)
    scale = np.max(np.abs(points), axis=0) if name == "logaddexp" else scale
    with np.errstate(invalid="ignore"):
        error = np.abs(got - exact) / np.spacing(np.maximum(rounded, scale)).astype(np.float64)
    finite = np.isfinite(got) & np.isfinite(rounded)
    np.testing.assert_array_equal(np.abs(got[~finite]), rounded[~finite])
    assert error[finite].max() <= BOUNDS[name][1], f"{name}_f32({points[0][finite][np.argmax(error[finite])]})"


LIMITS = np.array(
    [
        0.0,
        -0.0,
        1,
        -1,
        0.5,
        -0.5,
        2,
        -2,
        3,
        -3,
        math.inf,
        -math.inf,
        math.nan,
        5e-324,
        -5e-324,
        1e-310,
        1.7e308,
        -1.7e308,
        1e300,
        4503599627370497.0,
        9007199254740993.0,
        1e16,
        -1e16,
        7.5,
        -7.5,
        1e-20,
        710,
        -745.2,
    ]
)
NUMPY: dict[str, Callable[..., Any]] = {
    "sigmoid": scipy.special.expit,
    # SciPy's logistic function is 0 where the result is subnormal.
    "sigmoid_tail": lambda x: np.copysign(np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))), x),
    "sigmoid_of_tail": lambda t: (0.5 + np.copysign(0.5, t)) - t,
    "softplus": lambda x: np.logaddexp(x, 0),
    "erf": scipy.special.erf,
    "erfc": scipy.special.erfc,
    # SciPy gives infinity for subnormal arguments.
    "lgamma": lambda x: np.where(np.abs(x) < 1e-300, -np.log(np.abs(x)), scipy.special.gammaln(x)),
    "digamma": scipy.special.digamma,
    "floordiv": np.floor_divide,
}


@pytest.mark.parametrize("suffix", ["", "_f32"])
@pytest.mark.parametrize("name", sorted({*MEASURED, "floordiv", "remainder", "maximum", "minimum"}))
def test_limits_agree_with_numpy(name: str, suffix: str) -> None:
    expected = NUMPY.get(name) or getattr(np, name)
    kind = np.float32 if suffix else np.float64
    with np.errstate(all="ignore"):
        points = [LIMITS.astype(kind)]
        if name in TWO:
            points = [grid.ravel() for grid in np.meshgrid(points[0], points[0])]
        want = np.asarray(expected(*points), dtype=kind)
    got = values(name if name in ("maximum", "minimum") else name + suffix, *points)
    smallest = float(np.nextafter(kind(0), kind(1)))
    np.testing.assert_allclose(got.astype(float), want.astype(float), rtol=3e-6 if suffix else 1e-13, atol=smallest)
    if name not in ("maximum", "minimum"):
        zero = want == 0
        np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(want[zero]))


@pytest.mark.parametrize("name", ["floordiv", "remainder"])
def test_division_is_numpys_for_quotients_of_any_size(name: str) -> None:
    x = np.concatenate([uniform(-50, 50), np.arange(-60.0, 60), both(powers(-5, 40))])
    y = np.concatenate([uniform(-7, 7), np.resize([0.1, -0.1, 3.0, -2.5], 120), both(powers(-5, 5))])
    np.testing.assert_array_equal(values(name, x, y), np.remainder(x, y) if name == "remainder" else x // y)


@pytest.mark.parametrize("kind", [np.int64, np.int32])
def test_integer_division_is_numpys(kind: type[np.signedinteger[Any]]) -> None:
    x, y = (grid.ravel().astype(kind) for grid in np.meshgrid(np.arange(-7, 8), np.arange(-3, 4)))
    with np.errstate(divide="ignore"):
        np.testing.assert_array_equal(values("floordiv_int", x, y), x // y)
        np.testing.assert_array_equal(values("remainder_int", x, y), x % y)
    np.testing.assert_array_equal(values("maximum", x, y), np.maximum(x, y))
    np.testing.assert_array_equal(values("minimum", x, y), np.minimum(x, y))


def multiply_adds(kind: type[np.floating[Any]]) -> list[Array]:
    """Operands of `fma`: zeros, limits, infinities and NaN, and sums of which rounding leaves little."""
    limits = np.finfo(kind)
    ends = [0.0, 1.0, 1.0 + limits.eps, 3.0, limits.max, limits.tiny, limits.smallest_subnormal, 0.5, math.inf]
    grid = np.meshgrid(*[[*ends, *(-end for end in ends), math.nan]] * 3)
    x, y = (uniform(-2, 2, 2000).astype(kind) for _ in range(2))
    scale = (2.0 ** RNG.integers(-60, 3, 2000)).astype(kind)
    rows = [[x, y, -x * y], [x, y, uniform(-1, 1, 2000) * scale], [x * limits.tiny, y, -x * y * limits.tiny]]
    return [np.concatenate([g.ravel(), *parts]).astype(kind) for g, *parts in zip(grid, *rows, strict=True)]


@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_fma_is_the_exact_result_rounded_once(kind: type[np.floating[Any]]) -> None:
    """To the last bit and the sign of zero; without the processor's instruction, the product rounds before the sum."""
    points = multiply_adds(kind)
    got, twice = values("fma", *points), points[0] * points[1] + points[2]
    rows = zip(*[point.tolist() for point in points], strict=True)
    once = np.array([multiply_add(*row, kind) for row in rows], kind)
    assert np.count_nonzero(once[-2000:] != twice[-2000:]) > 0
    assert np.count_nonzero(once[-6000:-4000] != twice[-6000:-4000]) > 1000
    want = once if ROUNDED_ONCE else twice
    assert got.dtype == kind
    np.testing.assert_array_equal(got, want)
    there = ~np.isnan(want)
    np.testing.assert_array_equal(np.signbit(got[there]), np.signbit(want[there]))


@pytest.mark.parametrize("order", [0, 1, 2, 3, 6])
def test_polygamma_of_every_order(order: int) -> None:
    x = np.concatenate([powers(-3, 3, 40), uniform(-20, 0, 40)])
    scope = dict(MODULE)
    exec(f"@njit\ndef one(x):\n    return polygamma({order}, x), polygamma_f32({order}, np.float32(x))", scope)
    for number in x.tolist():
        got, short = scope["one"](number)
        # Reflection and recurrence cancel near the zeros left of the origin: compare with the terms that are summed.
        size = abs(float(MP.zeta(order + 1, abs(number) % 1 + 0.5)) * math.factorial(order)) if number < 0 else 0.0
        want = float(MP.polygamma(order, MP.mpf(number)))
        assert got == pytest.approx(want, rel=1e-12, abs=1e-12 * max(size, 0.1))
        if abs(want) < 1e37:
            assert short == pytest.approx(
                float(MP.polygamma(order, MP.mpf(float(np.float32(number))))), rel=1e-6, abs=1e-6
            )


def test_every_function_has_a_bound_or_is_exact() -> None:
    assert set(BOUNDS) == set(MEASURED)
    assert {f"{name}_f32" for name in MEASURED} <= FUNCTIONS


def test_a_wrong_coefficient_exceeds_the_bound() -> None:
    source = source_of(["exp"])
    wrong = source.replace("0.16666666666666888", "0.16666666666667888")
    assert wrong != source
    scope: dict[str, Any] = {}
    exec(wrong + "\n@njit\ndef loop(x, out):\n    for i in range(x.size):\n        out[i] = exp(x[i])\n", scope)
    x = uniform(-1, 1)
    out = np.empty_like(x)
    scope["loop"](x, out)
    assert max(errors("exp", out, [x])) > BOUNDS["exp"][0]


def test_source_is_the_same_in_every_process_and_holds_only_what_is_needed() -> None:
    source = source_of(["tanh", "exp"])
    assert source == source_of(("exp", "tanh", "exp"))
    assert "def tanh(" in source
    assert "def sin(" not in source
    assert source.startswith(HEADER)
    assert source_of(["exp"], header=False) in source_of(["exp"])
    assert source_of([]) == ""
    command = "from graphad.emit.vecmath import source_of; print(source_of(['tanh', 'exp']), end='')"
    other = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert other.stdout == source


def test_source_does_not_import_graphad() -> None:
    assert "graphad." not in source_of(FUNCTIONS)
    assert "import graphad" not in source_of(FUNCTIONS)


def test_unknown_functions_are_refused() -> None:
    with pytest.raises(GraphError, match="`sine`: no such function"):
        source_of(["exp", "sine"])
