"""Parameters and constants as text, exactly: what is written is read back bit by bit."""

from __future__ import annotations

import ast
import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphad.errors import ShapeError, TextError, describe
from graphad.ir.constant import Constant
from graphad.ir.sizes import Size
from graphad.ir.types import DTYPES, TapeType, TensorType, TupleType

INLINE = 32  # constants of more elements are written as base64


@dataclass(frozen=True)
class Body:
    """What a line says of a graph that is written below it: its name."""

    name: str


def write_params(params: tuple[tuple[str, Any], ...]) -> str:
    """Parameters as ` {axes=(0,), dtype='float64'}` with a leading space; nothing for none."""
    if not params:
        return ""
    return " {" + ", ".join(f"{name}={write_value(value)}" for name, value in params) + "}"


def write_value(value: Any) -> str:
    """One parameter: numbers, text, sizes, constants, graphs, and tuples of them.

    Raises `TextError` for anything else.

    >>> write_value((1, -0.0, "n", Size.name("n") - 1, None))
    "(1, -0.0, 'n', n-1, None)"
    """
    if isinstance(value, tuple):
        return f"({', '.join(map(write_value, value))}{',' if len(value) == 1 else ''})"
    if value is None or isinstance(value, (bool, int, str)):
        return repr(value)
    if isinstance(value, float):
        return repr(value) if np.isfinite(value) else f"float('{value!r}')"
    if isinstance(value, Size):
        return str(value)
    if isinstance(value, Constant):
        return f"constant({str(value.type)!r}, {write_constant(value)!r})"
    if isinstance(value, Body):
        return f"graph({value.name})"
    if type(value).__name__ == "Graph":
        from graphad.ir.text import to_text

        return f"graph({to_text(value)!r})"
    raise TextError(
        describe(f"a parameter `{value!r}` has no text", expected="numbers, text, sizes, graphs or tuples of them")
    )


def read_params(text: str) -> tuple[tuple[str, Any], ...]:
    """The parameters that `write_params` wrote, without the braces; bodies as `Body` where they are only named."""
    try:
        parsed = ast.parse(f"f({text})", mode="eval").body
    except SyntaxError as error:
        raise TextError(f"can not read the parameters `{text}`") from error
    if not isinstance(parsed, ast.Call) or parsed.args:
        raise TextError(f"can not read the parameters `{text}`")
    return tuple(sorted((k.arg, _read(k.value)) for k in parsed.keywords if k.arg is not None))


def _read(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Tuple):
        return tuple(_read(e) for e in node.elts)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        return -node.operand.value  # type: ignore[operator]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in READERS:
        if node.func.id == "graph" and isinstance(node.args[0], ast.Name):
            return Body(node.args[0].id)
        return READERS[node.func.id](*[_read(a) for a in node.args])
    try:
        return Size.parse(ast.unparse(node))
    except ShapeError as error:
        raise TextError(f"can not read the parameter `{ast.unparse(node)}`") from error


def _read_constant(kind: str, text: str) -> Constant:
    return read_constant(text, read_type(kind))


def _read_graph(text: str) -> Any:
    from graphad.ir.text import from_text

    return from_text(text).freeze()


READERS: dict[str, Callable[..., Any]] = {"float": float, "constant": _read_constant, "graph": _read_graph}


def write_constant(constant: Constant) -> str:
    """A constant without its type: `2.0`, `[1.0, nan]`, or `base64:…` for many elements and unusual NaNs."""
    array = constant.array
    if array.size > INLINE or not _plain(array):
        return "base64:" + base64.b64encode(array.tobytes()).decode("ascii")
    return _nested(array)


def _plain(array: NDArray[Any]) -> bool:
    """Whether every NaN has the usual bits, so that the word `nan` stands for it."""
    if array.dtype.kind != "f" or not np.isnan(array).any():
        return True
    nans = array[np.isnan(array)]
    return bool(nans.tobytes() == np.full(nans.shape, np.nan, array.dtype).tobytes())


def _nested(array: NDArray[Any]) -> str:
    if array.ndim == 0:
        return _number(array[()])
    return "[" + ", ".join(_nested(part) for part in array) + "]"


def _number(value: Any) -> str:
    if value.dtype == np.float32:
        short = str(value)
        return short if np.float32(float(short)).tobytes() == value.tobytes() else repr(float(value))
    return repr(value.item())


def read_constant(text: str, kind: TensorType) -> Constant:
    """The constant of a type that `write_constant` wrote; raises `TextError`."""
    shape = tuple(e for e in kind.shape if isinstance(e, int))
    try:
        if text.startswith("base64:"):
            data = base64.b64decode(text.removeprefix("base64:"), validate=True)
            return Constant(np.frombuffer(data, dtype=kind.dtype).reshape(shape))
        values = _literal(ast.parse(text, mode="eval").body)
        array = np.array(values, dtype=kind.dtype)
        if not array.size:
            array = array.reshape(shape)  # nested lists do not tell the axes after an empty one
    except (ValueError, SyntaxError, TypeError, OverflowError) as error:
        raise TextError(f"can not read the constant `{text}` of type {kind}") from error
    if array.shape != shape or len(shape) != kind.rank:
        raise TextError(f"the constant `{text}` is not of type {kind}")
    return Constant(array)


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.List):
        return [_literal(e) for e in node.elts]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_literal(node.operand)
    if isinstance(node, ast.Name) and node.id in ("nan", "inf"):
        return float(node.id)
    if isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float)):
        return node.value
    raise ValueError(f"`{ast.unparse(node)}` is no number")


def read_type(text: str) -> TensorType:
    """The type that `str` of a `TensorType` wrote.

    >>> read_type("float64[n, min(n, m)]").shape
    (n, min(n, m))
    """
    if text.startswith("("):
        return _read_tuple_type(text)
    if text.startswith("tape:"):
        return TapeType(read_type(text.removeprefix("tape:")))
    dtype, _, rest = text.partition("[")
    try:
        extents = ast.parse(f"({rest.removesuffix(']')},)" if rest != "]" else "()", mode="eval").body
        assert isinstance(extents, ast.Tuple)
        shape = tuple(Size.parse(ast.unparse(e)) for e in extents.elts)
    except (SyntaxError, ShapeError) as error:
        raise TextError(f"can not read the type `{text}`") from error
    if not text.endswith("]") or dtype not in DTYPES or any(isinstance(e, int) and e < 0 for e in shape):
        raise TextError(f"can not read the type `{text}`")
    return TensorType(dtype, shape)


def _read_tuple_type(text: str) -> TupleType:
    items = re.findall(r"[\w:]+\[.*?\]", text)
    kind = TupleType(map(read_type, items))
    if str(kind) != text:
        raise TextError(f"can not read the type `{text}`")
    return kind
