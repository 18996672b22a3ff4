"""Elementary functions that LLVM vectorises inside Numba loops, as source text for generated modules."""

from graphad.emit.vecmath.registry import BOUNDS, FUNCTIONS, HEADER, source_of

__all__ = ["BOUNDS", "FUNCTIONS", "HEADER", "source_of"]
