"""What the families are declared with; a generated module gets the same names from `registry.HEADER`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba.extending
from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])

elementary = cast(Callable[[Function], Function], njit(forceinline=True, error_model="numpy", fastmath=False))
intrinsic = cast(Callable[[Callable[..., Any]], Callable[..., Any]], numba.extending.intrinsic)
