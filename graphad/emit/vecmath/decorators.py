"""What the families are declared with; a generated module gets the same names from `registry.HEADER`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba.extending
from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])

# For what can not be traced.
# Numba hands an option that is not given down from the caller: the caller's `reassoc` would undo the rounding tricks.
OPTIONS = {"forceinline": True, "error_model": "numpy", "fastmath": False}
# Only compiled code calls these functions; the wrappers for Python would cost a third of the time to compile.
OPTIONS |= {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}

branching = cast(Callable[[Function], Function], njit(**OPTIONS))  # type: ignore[call-overload]
intrinsic = cast(Callable[[Callable[..., Any]], Callable[..., Any]], numba.extending.intrinsic)
