"""Memory that counts what kernels take of it."""

from __future__ import annotations

import ctypes
import gc
import tracemalloc
from collections.abc import Callable
from typing import Any


class Memory:
    """Stands between kernels and memory, and counts the blocks that they take and give back."""

    def __init__(self) -> None:
        self.taken = self.given_back = 0
        library = ctypes.pythonapi
        library.PyMem_RawMalloc.restype, library.PyMem_RawMalloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
        library.PyMem_RawFree.restype, library.PyMem_RawFree.argtypes = None, [ctypes.c_void_p]
        self.allocate = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_size_t)(self._allocate)
        self.release = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self._release)

    def _allocate(self, count: int) -> int | None:
        self.taken += 1
        return ctypes.pythonapi.PyMem_RawMalloc(count)  # type: ignore[no-any-return]

    def _release(self, block: int) -> None:
        self.given_back += 1
        ctypes.pythonapi.PyMem_RawFree(block)

    def address(self, name: str) -> int:
        function = {"graphad_allocate": self.allocate, "graphad_release": self.release}[name]
        return ctypes.cast(function, ctypes.c_void_p).value or 0


def allocated(call: Callable[[], Any]) -> int:
    """The most bytes that a call takes at once: of kernels and of NumPy's arrays, which both tell Python."""
    gc.collect()
    tracemalloc.start()
    try:
        kept = call()  # results count
        _, most = tracemalloc.get_traced_memory()
        del kept
    finally:
        tracemalloc.stop()
    return most
