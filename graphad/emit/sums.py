"""Accumulation that may be reordered: sums and products over loops become vectors; nothing else is rearranged.

The kernels' own flags forget the sign of zeros and, where there are no loops whose steps could be run again, allow
fused multiply-adds and reciprocals. Reassociation is left to these two operations, so that `(x + y) - y` stays what
NumPy computes.
"""

from __future__ import annotations

from typing import Any

import numba

from graphad.emit.embed import embedded
from graphad.emit.vecmath.decorators import intrinsic

types: Any = numba.types


# -- into modules


def _reordered(operation: str) -> Any:
    """An operation on two floats of which a chain may be computed in any order."""

    def define(typing_context: Any, total: Any, term: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value = context.cast(builder, args[1], term, total)
            return getattr(builder, operation)(args[0], value, flags=("reassoc", "contract", "nsz"))

        return total(total, term), generate

    return intrinsic(define)


_plus = _reordered("fadd")
_times = _reordered("fmul")


# -- until here

LINES = embedded(__file__)
NAMES = frozenset(["_reordered", "_plus", "_times"])
IMPORTS = """\
import numpy as np
from typing import Any
from numba import njit
from numba.extending import intrinsic
"""
