"""Nanoseconds per element of the vector mathematics against the C library in a Numba loop.

Run as `python benchmarks/vecmath.py [name ...]`: 4096 elements, in the first two levels of cache, the best run of many.
Next to it stands the time to compile a loop with the function.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from graphad.emit.vecmath import FUNCTIONS, source_of

# What Numba users write; None where there is nothing of the kind.
LIBRARY = {
    "exp": "math.exp({0})",
    "exp2": "2.0 ** {0}",
    "asin": "math.asin({0})",
    "sigmoid": "1.0 / (1.0 + math.exp(-{0}))",
    "softplus": "math.log1p(math.exp({0}))",
    "logaddexp": "max({0}, {1}) + math.log1p(math.exp(-abs({0} - {1})))",
    "cbrt": "{0} ** (1.0 / 3.0)",
    "floordiv": "{0} // {1}",
    "remainder": "{0} % {1}",
    "maximum": "max({0}, {1})",
    "minimum": "min({0}, {1})",
    "pow": "math.pow({0}, {1})",
    "atan2": "math.atan2({0}, {1})",
    "hypot": "math.hypot({0}, {1})",
}
WITHOUT_LIBRARY = ("digamma",)
INTERVALS = {"log": (0.01, 10), "log2": (0.01, 10), "log10": (0.01, 10), "log1p": (-0.9, 10), "acosh": (1, 10)}
INTERVALS |= {"asin": (-1, 1), "acos": (-1, 1), "atanh": (-1, 1), "pow": (0.01, 10), "cbrt": (0.01, 10)}
TWO = ("logaddexp", "floordiv", "remainder", "maximum", "minimum", "pow", "atan2", "hypot")
SKIPPED = ("polygamma", "polygamma_f32", "floordiv_int", "remainder_int")
SIZE = 4096


def loop_over(expression: str, source: str) -> Callable[..., None]:
    """Compile `o[i] = expression` with `{0}` and `{1}` for the two operands."""
    body = expression.format("x[i]", "y[i]")
    text = f"""
@njit(error_model="numpy", fastmath={{"reassoc", "contract", "nsz", "arcp"}})
def loop(x, y, o):
    for i in range(x.size):
        o[i] = {body}
"""
    module: dict[str, Any] = {}
    exec("import math\nimport numpy as np\nfrom numba import njit\n" + source + text, module)
    return module["loop"]  # type: ignore[no-any-return]


def nanoseconds(loop: Callable[..., None], *arrays: Any) -> float:
    """The best time per element."""
    best = float("inf")
    for _ in range(25):
        start = time.perf_counter()
        for _ in range(20):
            loop(*arrays)
        best = min(best, time.perf_counter() - start)
    return best / 20 / SIZE * 1e9


def measure(name: str) -> tuple[float, float, float]:
    """Nanoseconds of ours, of the C library, and the seconds that ours takes to compile."""
    base = name.removesuffix("_f32")
    rng = np.random.default_rng(0)
    low, high = INTERVALS.get(base, (-5, 5))
    kind = np.float32 if name.endswith("_f32") else np.float64
    x, y = rng.uniform(low, high, SIZE).astype(kind), rng.uniform(-5, 5, SIZE).astype(kind)
    out = np.empty_like(x)
    start = time.perf_counter()
    ours = loop_over(f"{name}({{0}}, {{1}})" if base in TWO else f"{name}({{0}})", source_of([name], header=True))
    ours(x, y, out)
    seconds = time.perf_counter() - start
    if base in WITHOUT_LIBRARY:
        return nanoseconds(ours, x, y, out), float("nan"), seconds
    theirs = loop_over(LIBRARY.get(base, f"math.{base}({{0}})"), "")
    theirs(x, y, out)
    return nanoseconds(ours, x, y, out), nanoseconds(theirs, x, y, out), seconds


def main() -> None:
    """Print the table for the functions named on the command line, or for all."""
    chosen = sys.argv[1:] or sorted(FUNCTIONS - set(SKIPPED), key=lambda name: (name.endswith("_f32"), name))
    loop_over("{0} + {1}", "")(np.ones(2), np.ones(2), np.ones(2))
    print(f"{'function':<16}{'ns':>8}{'C library':>12}{'ratio':>8}{'compile s':>12}")
    for name in chosen:
        ours, theirs, seconds = measure(name)
        print(f"{name:<16}{ours:>8.2f}{theirs:>12.2f}{theirs / ours:>8.1f}{seconds:>12.2f}", flush=True)


if __name__ == "__main__":
    main()
