"""One module with the whole vector mathematics, and loops over its functions, compiled once for all tests."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from graphad.emit.vecmath import FUNCTIONS, source_of

TWO = {"atan2", "hypot", "logaddexp", "pow", "floordiv", "remainder", "maximum", "minimum"}
THREE = {"fma"}

MODULE: dict[str, Any] = {}
exec(source_of(FUNCTIONS), MODULE)


def arity(name: str) -> int:
    """The number of operands."""
    stem = name.removesuffix("_f32").removesuffix("_int")
    return 3 if stem in THREE else 2 if stem in TWO else 1


@cache
def loop(name: str) -> Callable[..., None]:
    """Compile `loop(x, out)`, `loop(x, y, out)` or `loop(x, y, z, out)`, with the flags of generated code."""
    letters = "xyz"[: arity(name)]
    text = (
        '@njit(error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"})\n'
        f"def loop({', '.join(letters)}, out):\n"
        "    for i in range(x.size):\n"
        f"        out[i] = {name}({', '.join(f'{letter}[i]' for letter in letters)})\n"
    )
    scope = dict(MODULE)
    exec(text, scope)
    return scope["loop"]  # type: ignore[no-any-return]
