"""The first value of every element of an array: Numba's `fill` takes ten times as long to compile."""

from __future__ import annotations

from typing import Any

import numba
import numba.core.cgutils

from graphad.emit.embed import embedded
from graphad.emit.vecmath.decorators import intrinsic

cgutils: Any = numba.core.cgutils
types: Any = numba.types


# -- into modules


@intrinsic
def _fill(typing_context: Any, array: Any, value: Any) -> Any:
    """Store a value in every element of a C-ordered array."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        view = context.make_array(array)(context, builder, args[0])
        element = context.cast(builder, args[1], value, array.dtype)
        with cgutils.for_range(builder, view.nitems) as loop:
            place = builder.gep(view.data, [loop.index], inbounds=True)
            context.pack_value(builder, array.dtype, element, place)
        return context.get_dummy_value()

    return types.void(array, value), generate


# -- until here

LINES = embedded(__file__)
NAMES = frozenset(["_fill", "cgutils", "types"])
IMPORTS = """\
import numpy as np
from typing import Any
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
"""
