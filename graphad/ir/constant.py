"""Constant arrays as graph parameters: read-only, compared and hashed bit by bit."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphad.errors import DtypeError, describe
from graphad.ir.types import DTYPES, TensorType

NAMES = {np.dtype(name): name for name in DTYPES}  # `dtype.name` costs microseconds


class Constant:
    """A read-only array. Equality is that of dtype, shape and bits: -0.0 differs from 0.0, NaN equals itself."""

    __slots__ = ("_hash", "array", "key")

    def __init__(self, array: NDArray[Any]) -> None:
        name = NAMES.get(array.dtype)
        if name is None:
            raise DtypeError(
                describe(f"a constant of dtype {array.dtype} is not supported", expected=", ".join(DTYPES))
            )
        if not (array.flags.owndata and not array.flags.writeable and array.flags.c_contiguous):
            array = np.array(array, order="C")
            array.flags.writeable = False
        self.array = array
        self.key: tuple[str, tuple[int, ...], bytes] = (name, array.shape, array.tobytes())
        self._hash = hash(self.key)

    @property
    def type(self) -> TensorType:
        """The type of the constant."""
        return TensorType(self.key[0], self.array.shape)

    @property
    def scalar(self) -> bool | int | float | None:
        """The Python number that a rank-0 constant holds, None for an array."""
        return self.array.item() if self.array.ndim == 0 else None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constant) and self.key == other.key

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[Any, ...]:
        return (Constant, (np.array(self.array),))

    def __repr__(self) -> str:
        if self.array.ndim == 0:
            return repr(self.array.item())
        return f"Constant({self.array.dtype.name}{list(self.array.shape)})"


@lru_cache(maxsize=1024, typed=True)
def number_constant(value: float, dtype: str) -> Constant:
    """The constant of a Python number other than zero (0.0 and -0.0 are one key, and two constants)."""
    return Constant(np.array(value, dtype=dtype))
