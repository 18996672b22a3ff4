"""x y + z rounded once, from exact fractions: what a processor's multiply-add must give."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import llvmlite.binding  # type: ignore[import-untyped]
import numpy as np

_FEATURES = llvmlite.binding.get_host_cpu_features()
ROUNDED_ONCE = _FEATURES.get("fma", "x86" not in llvmlite.binding.get_process_triple())
"""Whether this processor has the instruction; the 64-bit processors that are not x86 have it."""


def nearest(exact: Fraction, kind: type[np.floating[Any]]) -> float:
    """The number of a dtype that is nearest to a fraction other than 0, ties to the even one."""
    limits, size = np.finfo(kind), abs(exact)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    exponent -= size < Fraction(2) ** exponent
    unit = Fraction(2) ** (max(exponent, int(limits.minexp)) - limits.nmant)
    rounded = round(size / unit) * unit
    number = math.inf if rounded >= 2 ** int(limits.maxexp) else float(rounded)
    return -number if exact < 0 else number


def multiply_add(x: float, y: float, z: float, kind: type[np.floating[Any]]) -> float:
    """x y + z of numbers of a dtype with one rounding, by IEEE 754."""
    if math.isfinite(x) and math.isfinite(y):
        if math.isinf(z):
            return z
        if math.isfinite(z) and (exact := Fraction(x) * Fraction(y) + Fraction(z)):
            return nearest(exact, kind)
    return x * y + z  # NaN, infinity, or a zero with its sign
