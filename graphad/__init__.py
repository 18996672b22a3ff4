"""graphad: an automatic-differentiation compiler for static graphs."""

import graphad.ops  # noqa: F401
from graphad.ad import transform
from graphad.interpret import interpret
from graphad.ir.graph import Graph
from graphad.ir.variable import Variable

__all__ = ["Graph", "Variable", "interpret", "transform"]
