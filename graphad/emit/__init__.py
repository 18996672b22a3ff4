"""From loop nests to Numba source, compiled, cached and called."""
