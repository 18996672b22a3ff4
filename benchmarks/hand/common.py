"""What the hand-written kernels share: compiler flags, and the elementary functions that LLVM vectorises."""

from __future__ import annotations

from typing import Any

from numba import njit

from graphad.emit.vecmath.registry import source_of

# No `nnan` and no `ninf`: NaN survives, as in generated code.
kernel = njit(error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"}, nogil=True)


def elementary(name: str) -> Any:
    """A function of graphad's vector mathematics for one dtype, to be called in a kernel: `exp`, `exp_f32`, ….

    Hand-written code gets the same mathematics as generated code, so that loops are compared and not exponentials.
    """
    module: dict[str, Any] = {}
    exec(source_of([name]), module)
    return module[name]
