"""One module with the whole vector mathematics, and loops over its functions, compiled once for all tests."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from graphad.emit.vecmath import FUNCTIONS, source_of

TWO = {"atan2", "hypot", "logaddexp", "pow", "floordiv", "remainder", "maximum", "minimum"}

MODULE: dict[str, Any] = {}
exec(source_of(FUNCTIONS), MODULE)


@cache
def loop(name: str) -> Callable[..., None]:
    """Compile `out[i] = name(x[i])`, or of `x[i], y[i]`, with the flags of generated code."""
    two = name.removesuffix("_f32").removesuffix("_int") in TWO
    text = (
        '@njit(error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"})\n'
        "def loop(x, y, out):\n"
        "    for i in range(x.size):\n"
        f"        out[i] = {name}({'x[i], y[i]' if two else 'x[i]'})\n"
    )
    scope = dict(MODULE)
    exec(text, scope)
    return scope["loop"]  # type: ignore[no-any-return]
