"""Generated modules run as plain Python: what the loops do, without waiting for a compiler.

The kernel's own text is executed; the vector mathematics is replaced by NumPy's and SciPy's functions.
"""

from __future__ import annotations

import ctypes
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special as sc

from graphad.emit import sweeps
from graphad.emit.source import Generated, generate
from graphad.ir.graph import Graph
from passes.executable import executable
from passes.inline import inline

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "log": np.log, "log2": np.log2, "log10": np.log10,
    "log1p": np.log1p, "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos,
    "atan": np.arctan, "atan2": np.arctan2, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh, "asinh": np.arcsinh,
    "acosh": np.arccosh, "atanh": np.arctanh, "cbrt": np.cbrt, "hypot": np.hypot, "pow": np.power,
    "sigmoid": sc.expit, "softplus": lambda x: np.logaddexp(x, 0), "erf": sc.erf, "erfc": sc.erfc,
    "lgamma": sc.gammaln, "digamma": sc.digamma, "polygamma": lambda n, x: sc.polygamma(int(n), x),
    "sigmoid_tail": lambda x: np.copysign(np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))), x),
    "sigmoid_of_tail": lambda t: (0.5 + np.copysign(0.5, t)) - t,
    "logaddexp": np.logaddexp, "floordiv": np.floor_divide, "remainder": np.remainder, "maximum": np.maximum,
    "minimum": np.minimum, "fma": lambda x, y, z: x * y + z,
}  # fmt: skip


class _Math:
    """`math.sqrt` as NumPy has it: NaN instead of an exception."""

    sqrt = staticmethod(np.sqrt)
    floor = staticmethod(np.floor)
    ceil = staticmethod(np.ceil)
    isnan = staticmethod(np.isnan)
    isinf = staticmethod(np.isinf)
    isfinite = staticmethod(np.isfinite)
    copysign = staticmethod(np.copysign)
    fabs = staticmethod(np.abs)
    fmod = staticmethod(np.fmod)


class _Numpy:
    """NumPy whose fresh memory is never zero by accident."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    @staticmethod
    def empty(shape: Any, dtype: Any = np.float64) -> np.ndarray:
        return np.full(shape, 77, dtype=dtype)


class _Scratch:
    """The memory of one call: real addresses, so that arrays share a block as in compiled code; never zero."""

    def __init__(self) -> None:
        self.tapes: dict[int, np.ndarray] = {}

    def borrow(self, count: int) -> int:
        self.block = np.full(count + 128, 77, np.uint8)
        return self.block.ctypes.data

    def give_back(self, address: int) -> None:
        assert address == self.block.ctypes.data

    def longer(self, tape: int, used: int, room: int) -> int:
        """A longer tape; none has been kept, and what it holds comes from the shorter one."""
        longer = np.full(sweeps.BEFORE + room, 77, np.uint8)
        if tape:
            shorter, end = self.tapes.pop(tape), sweeps.BEFORE + used
            assert end <= shorter.size
            longer[sweeps.BEFORE : end] = shorter[sweeps.BEFORE : end]
        self.tapes[longer.ctypes.data] = longer
        return int(longer.ctypes.data)

    def room(self, tape: int) -> int:
        return self.tapes[tape].size - sweeps.BEFORE if tape else 0

    def keep(self, tape: int) -> None:
        """A tape that is kept must be in use no more."""
        if tape:
            del self.tapes[tape]

    def array(self, address: int, dtype: Any, shape: tuple[int, ...]) -> np.ndarray:
        count = math.prod(shape) * np.dtype(dtype).itemsize
        blocks = [*([self.block] if hasattr(self, "block") else []), *self.tapes.values()]
        inside = [0 <= address - b.ctypes.data <= address - b.ctypes.data + count <= b.size for b in blocks]
        assert any(inside), "outside the block"
        memory = (ctypes.c_char * count).from_address(int(address))
        return np.frombuffer(memory, dtype).reshape(shape) if count else np.empty(shape, dtype)


def _matrix_product(a: Any, b: Any, c: Any, m: int, k: int, n: int, turned: int) -> None:
    first = a.reshape((k, m)).T if turned & 1 else a.reshape((m, k))
    second = b.reshape((n, k)).T if turned & 2 else b.reshape((k, n))
    c.reshape((m, n))[...] = first @ second


def namespace() -> dict[str, Any]:
    """What the text of a kernel may name."""
    known: dict[str, Any] = {"np": _Numpy(), "math": _Math, "njit": lambda *a, **k: lambda f: f, "FLAGS": set()}
    scratch = _Scratch()
    known.update(_borrow=scratch.borrow, _give_back=scratch.give_back, _array=scratch.array, _fill=np.ndarray.fill)
    known.update(_in_blocks=_in_blocks, _matrix_product=_matrix_product)
    known["__tapes__"] = scratch.tapes
    known.update(_stretch=sweeps._stretch.py_func, _longer=scratch.longer)
    known.update(_tape=lambda: 0, _keep_tape=scratch.keep, _room=scratch.room)
    known.update(_plus=lambda total, term: total + term, _times=lambda total, term: total * term)
    for name, function in FUNCTIONS.items():
        known.update({name: function, f"{name}_f32": function, f"{name}_int": function})
    return known


def _in_blocks(body: Callable[..., None], count: int, length: int, shared: tuple[Any, ...]) -> None:
    """The blocks one after another, the last one first: no order between them may be needed."""
    for block in reversed(range(count)):
        body(block, length * block // count, length * (block + 1) // count, *shared)


def unjitted(graph: Graph, threads: int = 1) -> Callable[..., dict[str, np.ndarray]]:
    """The generated function of a graph as Python: takes the inputs by name, answers the outputs by name."""
    generated = generate(executable(inline(graph)), threads)
    known = namespace()
    known["__source__"] = _own_text(generated)
    exec(known["__source__"], known)
    function = known[generated.function]

    def run(**arrays: Any) -> dict[str, np.ndarray]:
        arguments = []
        for name in generated.inputs:
            kind = graph.nodes[graph.inputs[name]].type
            array = np.array(arrays[name], dtype=kind.dtype, order="C")
            arguments.append(array[()] if kind.shape == () else array)
        with np.errstate(all="ignore"):
            results = function(*arguments)
        assert not known["__tapes__"], "a tape is lost"
        results = results if len(graph.outputs) > 1 else (results,)
        types = [graph.nodes[i].type for i in graph.outputs.values()]
        return {
            name: np.asarray(value, dtype=kind.dtype)
            for name, value, kind in zip(graph.outputs, results, types, strict=True)
        }

    return run


def _own_text(generated: Generated) -> str:
    """The constants, the kernel and the public function, without the vector mathematics."""
    text = generated.source
    found = re.search(r'@njit\((?="\(|error_model="numpy", fastmath=FLAGS)', text)
    assert found is not None
    start = found.start()
    constants = [line for line in text.splitlines() if line.startswith("CONSTANT_")]
    return "\n".join(["import base64", *constants, text[start:]])
