"""Passes: pure functions from graph to graph, one file each; `pipeline` holds the default order."""

import graphad  # noqa: F401  (first: the passes use operations, which importing graphad registers)
