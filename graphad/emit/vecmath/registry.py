"""The text of the vector mathematics: which functions there are, how exact they are, and their source by name.

The families are read as text, never imported here: a generated module gets exactly the definitions it needs, and
Numba compiles them there.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from graphad.errors import GraphError, describe

FAMILIES = (
    "tracing", "bits", "exp_log", "trigonometric", "power", "hyperbolic", "error", "gamma", "arithmetic", "float32",
    "float32_power", "float32_wide",
)  # fmt: skip

HEADER = """\
import inspect
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import extending
from numba.extending import intrinsic

branching = njit(
    forceinline=True, error_model="numpy", fastmath=False, no_cpython_wrapper=True, no_cfunc_wrapper=True
)
"""


class Definition(NamedTuple):
    """One top-level definition of a family: its place, its text, and the names that it reads."""

    place: tuple[int, int]
    text: str
    reads: frozenset[str]


def _shortened(node: ast.stmt, lines: list[str]) -> str:
    """Give the source of a definition with its docstring cut to the first line."""
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)]) - 1
    own = lines[first : node.end_lineno]
    if not isinstance(node, ast.FunctionDef) or ast.get_docstring(node) is None:
        return "\n".join(own)
    docstring = node.body[0]
    summary = (ast.get_docstring(node) or "").splitlines()[0]
    before, after = docstring.lineno - 1 - first, (docstring.end_lineno or docstring.lineno) - first
    return "\n".join([*own[:before], f'    """{summary}"""', *own[after:]])


def _defined_name(node: ast.stmt) -> str | None:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return node.name
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    return None


@cache
def _text(index: int) -> str:
    return (Path(__file__).parent / f"{FAMILIES[index]}.py").read_text(encoding="utf-8")


def _family(index: int) -> Iterator[tuple[str, Definition]]:
    text = _text(index)
    lines = text.splitlines()
    for node in ast.parse(text).body:
        name = _defined_name(node)
        if name is None:
            continue
        reads = frozenset(inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name))
        yield name, Definition((index, node.lineno), _shortened(node, lines), reads - {name})


@cache
def _definitions() -> dict[str, Definition]:
    return {name: definition for index in range(len(FAMILIES)) for name, definition in _family(index)}


# Found without parsing, which would take a tenth of the time to import graphad.
FUNCTIONS: frozenset[str] = frozenset(
    name for index in range(len(FAMILIES)) for name in re.findall(r"^def ([a-z]\w*)\(", _text(index), re.MULTILINE)
)
"""The functions that generated code may call; `exp` takes and returns float64, `exp_f32` float32."""

BOUNDS: dict[str, tuple[float, float]] = {
    "acos": (0.75, 0.51),
    "acosh": (1.1, 0.51),
    "asin": (0.75, 0.51),
    "asinh": (1.1, 0.51),
    "atan": (0.8, 0.55),
    "atan2": (0.75, 0.55),
    "atanh": (0.95, 0.51),
    "cbrt": (0.55, 0.51),
    "cos": (0.85, 1.0),
    "cosh": (1.35, 0.51),
    "digamma": (8.0, 0.51),
    "erf": (1.1, 0.55),
    "erfc": (3.6, 0.51),
    "exp": (1.0, 0.9),
    "exp2": (1.0, 0.51),
    "expm1": (1.2, 0.51),
    "hypot": (0.6, 0.51),
    "lgamma": (4.0, 0.51),
    "log": (0.85, 0.9),
    "log10": (1.15, 0.51),
    "log1p": (0.95, 0.51),
    "log2": (1.15, 0.51),
    "logaddexp": (1.2, 0.51),
    "pow": (1.2, 1.1),
    "sigmoid": (2.5, 2.7),
    "sigmoid_of_tail": (0.5, 0.5),
    "sigmoid_tail": (2.5, 2.7),
    "sin": (0.85, 1.0),
    "sinh": (1.6, 0.51),
    "softplus": (1.7, 0.51),
    "tan": (0.95, 0.51),
    "tanh": (1.15, 0.51),
}
"""The largest error in units in the last place of the result, for float64 and for float32.

`lgamma` and `digamma` are measured in units of 1 where the result is smaller than 1, near their zeros, and
`logaddexp` in units of its larger operand; left of -20, `digamma` is the difference of two terms, in units of log |x|.
`lgamma`, and angles beyond 2^44 (2^17 in float32), are the C library's.
`fma` has the one rounding of an exact x y + z where the processor has an instruction for it.
The others are exact, or rounded as NumPy rounds them; `polygamma` has a relative error of 1e-12.
"""


def source_of(names: Iterable[str], header: bool = True) -> str:
    """Give the source of functions of the vector mathematics, with everything that they need.

    Arguments:
        names: members of `FUNCTIONS`, in any order.
        header: whether the imports (`HEADER`) come first.

    Returns:
        Python text that runs on its own, the same for the same names; empty for no names.

    Raises:
        GraphError: a name that is not in `FUNCTIONS`.

    >>> from numba import njit
    >>> module = {}
    >>> exec(source_of(["exp"]), module)
    >>> @njit
    ... def twice_exp(x):
    ...     return 2.0 * exp(x)
    >>> exp = module["exp"]
    >>> twice_exp(0.0)
    2.0
    """
    definitions = _definitions()
    needed: set[str] = set()
    waiting = sorted(names)
    for name in waiting:
        if name not in FUNCTIONS:
            raise GraphError(describe(f"`{name}`: no such function", expected=", ".join(sorted(FUNCTIONS)), got=name))
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting.extend(read for read in sorted(definitions[name].reads) if read in definitions)
    ordered = sorted((definitions[name] for name in needed), key=lambda definition: definition.place)
    if not ordered:
        return ""
    parts = [HEADER] if header else []
    return "\n\n".join([*parts, *(definition.text for definition in ordered)]) + "\n"
