"""The exceptions that graphad raises, each also the builtin that a Python programmer expects.

Every message says what came, what was expected, where the user wrote it and what to do; `describe`
puts the parts together so that all messages read alike.
"""

from __future__ import annotations

from typing import NamedTuple


class Source(NamedTuple):
    """The user's line that built a node."""

    filename: str
    line: int

    def __str__(self) -> str:
        return f"{self.filename}:{self.line}"


class GraphadError(Exception):
    """Root of all exceptions raised by graphad itself."""


class ShapeError(GraphadError, ValueError):
    """Shapes, ranks or named sizes that do not fit together."""


class DtypeError(GraphadError, TypeError):
    """A dtype that an operation or an argument does not accept."""


class ArgumentError(GraphadError, TypeError):
    """A missing, unknown, repeated or unusable argument of a graph, a transform or a compiled function."""


class IndexRangeError(GraphadError, IndexError):
    """An index outside the axis that it indexes."""


class GraphError(GraphadError, ValueError):
    """A graph used against its rules: a variable of another graph, a frozen graph, an unknown name."""


class DifferentiationError(GraphadError, ValueError):
    """A derivative that does not exist: an integer input, an output that does not depend on it, a step function."""


class MemoryBudgetError(GraphadError, ValueError):
    """A memory budget that no schedule keeps; names the least possible one and what limits it."""


class VerificationError(GraphadError, ValueError):
    """A graph whose structure contradicts itself; names the node and the user's line."""


class PassError(GraphadError, RuntimeError):
    """A pass that returned a wrong graph; shows the program before and after."""


class TextError(GraphadError, ValueError):
    """Text that is not a graph."""


class CacheError(GraphadError, OSError):
    """The cache folder can not be used."""


def describe(problem: str, *, expected: str = "", got: str = "", source: Source | None = None, fix: str = "") -> str:
    """Put the parts of a message together.

    >>> print(describe("`x`: wrong rank", expected="2", got="1", fix="pass a matrix"))
    `x`: wrong rank
      expected: 2
      got: 1
      fix: pass a matrix
    """
    parts = [("expected", expected), ("got", got), ("at", str(source) if source else ""), ("fix", fix)]
    return "\n".join([problem, *(f"  {label}: {text}" for label, text in parts if text)])
