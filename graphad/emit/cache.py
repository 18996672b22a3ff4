"""Generated modules on disk: written once, imported by every later process, never trusted unread.

A module is `graphad_<hash>.py` in the cache folder, with Numba's compiled code beside it. The text is compared with
what was generated before it runs, and every compiled file carries its own SHA-256, so that a damaged file is made anew.
Numba's own cache keeps an index that two processes can overwrite for each other and loads machine code unchecked;
here each compiled signature is one file, written in one step, named after what it holds.
"""

from __future__ import annotations

import atexit
import hashlib
import importlib.util
import os
import pickle
import platform
import shutil
import sys
import tempfile
import threading
import uuid
import warnings
from collections.abc import Callable
from functools import cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import llvmlite  # type: ignore[import-untyped]
import numba
import numpy as np
from llvmlite import binding
from numba.core import caching, ccallback, dispatcher
from numba.core.serialize import dumps

from graphad.errors import CacheError, describe

PREFIX = "graphad_"
DIGEST_BYTES = 32

_loading = threading.RLock()
_temporary: list[Path] = []


def folder() -> Path:
    """The cache folder of this machine and these versions, made where it is missing.

    It lies in `$GRAPHAD_CACHE`, or `$XDG_CACHE_HOME/graphad`, or `~/.cache/graphad`. Where that can not be written, a
    temporary folder of this process takes its place, with one warning.
    """
    wanted = root() / versions()
    if _writable(wanted):
        return wanted
    if not _temporary:
        warnings.warn(
            describe(
                f"the cache folder {wanted} can not be written; functions are compiled anew in every process",
                fix="set GRAPHAD_CACHE to a folder that can be written",
            ),
            RuntimeWarning,
            stacklevel=2,
        )
        _temporary.append(Path(tempfile.mkdtemp(prefix=PREFIX)))
        atexit.register(shutil.rmtree, _temporary[0], ignore_errors=True)
    return _temporary[0]


def root() -> Path:
    """The folder of all versions' caches; see `folder`."""
    if given := os.environ.get("GRAPHAD_CACHE"):
        return Path(given).expanduser().absolute()
    if user := os.environ.get("XDG_CACHE_HOME"):
        return Path(user).expanduser().absolute() / "graphad"
    return Path("~/.cache/graphad").expanduser().absolute()


@cache
def versions() -> str:
    """What compiled code depends on besides its source: interpreter, Numba, LLVM, NumPy and processor."""
    python = f"{sys.implementation.cache_tag}{getattr(sys, 'abiflags', '')}"
    processor = f"{platform.machine()}-{binding.get_host_cpu_name()}"
    return f"{python}_numba-{numba.__version__}_llvmlite-{llvmlite.__version__}_numpy-{np.__version__}_{processor}"


def clear() -> None:
    """Delete all files that graphad wrote into the cache folder of these versions."""
    for ending in ("py", "compiled", "known"):
        for path in folder().glob(f"{PREFIX}*.{ending}"):
            path.unlink(missing_ok=True)


def load(source: str) -> ModuleType:
    """The module of a generated source text: imported from the cache folder, written there first where it is missing.

    Arguments:
        source: a stand-alone module. Equal texts give the same module object.

    Raises `CacheError` where the file can not be written although the folder can.

    >>> load("ANSWER = 42").ANSWER
    42
    """
    name = _module_name(source)
    with _loading:
        if name in sys.modules:
            return sys.modules[name]
        _install()
        path = folder() / f"{name}.py"
        _write_source(path, source)
        spec = importlib.util.spec_from_file_location(name, path, loader=TextLoader(name, str(path), source))
        if spec is None or spec.loader is None:
            raise CacheError(describe(f"{path} can not be imported", fix="delete it"))
        module = importlib.util.module_from_spec(spec)
        # Numba looks functions up by their module's name when it unpickles and when it links.
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        return module


def _module_name(source: str) -> str:
    return PREFIX + hashlib.sha256("\0".join((versions(), source)).encode()).hexdigest()[:32]


def holds(source: str) -> bool:
    """Whether the module of a generated source text has been loaded here or written by another process."""
    name = _module_name(source)
    return name in sys.modules or (folder() / f"{name}.py").exists()


def remember(key: str) -> None:
    """Leave a mark for later processes, for a key of letters and digits."""
    path = folder() / f"{PREFIX}{key}.known"
    if not path.exists():
        _replace(path, b"")


def remembers(key: str) -> bool:
    """Whether there is a mark of `remember`."""
    return (folder() / f"{PREFIX}{key}.known").exists()


def kept(text: str, make: Callable[[], bytes]) -> bytes:
    """The bytes that follow from a text: read from the cache folder; made and written where missing or damaged.

    >>> kept("two bytes", lambda: b"ok")
    b'ok'
    """
    path = folder() / f"{_module_name(text)}.compiled"
    found = _digested(path)
    if found is None:
        found = make()
        _replace(path, hashlib.sha256(found).digest() + found)
    return found


def keeps(text: str) -> bool:
    """Whether there are bytes of `kept` for a text."""
    return (folder() / f"{_module_name(text)}.compiled").exists()


def _digested(path: Path) -> bytes | None:
    """What a file holds after the digest of it; None where there is no file or it is damaged."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    digest, content = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    return content if hashlib.sha256(content).digest() == digest else None


class TextLoader(SourceFileLoader):
    """Runs the text that was generated, not what the file or a bytecode file may hold by now."""

    def __init__(self, name: str, path: str, text: str) -> None:
        super().__init__(name, path)
        self.text = text

    def get_code(self, fullname: str) -> CodeType:
        """The compiled text; tracebacks and Numba find the same text in the file."""
        return compile(self.text, self.path, "exec", dont_inherit=True)


def _writable(path: Path) -> bool:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(path, os.W_OK | os.X_OK)


def _write_source(path: Path, source: str) -> None:
    content = source.encode()
    try:
        if path.read_bytes() == content:
            return
    except FileNotFoundError:
        pass
    except OSError as error:
        raise CacheError(describe(f"{path} can not be read: {error.strerror}", fix="delete it")) from error
    _replace(path, content)


def _replace(path: Path, content: bytes) -> None:
    """Write a file in one step: readers see the old content or all of the new one."""
    scratch = path.with_name(f"{path.name}.{uuid.uuid4().hex[:16]}.tmp")
    try:
        scratch.write_bytes(content)
        os.replace(scratch, path)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise CacheError(
            describe(f"{path} can not be written: {error.strerror}", fix="set GRAPHAD_CACHE to another folder")
        ) from error


# ---------------------------------------------------------------------- Numba's compiled code


class CompiledFiles:
    """Stands in for Numba's index and data files: one file for each function and signature, with its digest.

    Arguments:
        base: the path of the module without its ending, and the function's name.
    """

    def __init__(self, base: str) -> None:
        self.base = base

    def path(self, key: Any) -> Path:
        """The file that holds the code compiled for `key`: signature, target and a hash of the function's own code."""
        return Path(f"{self.base}-{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.compiled")

    def save(self, key: Any, data: Any) -> None:
        """Write what Numba compiled."""
        content = dumps((repr(key), data))  # type: ignore[no-untyped-call]
        _replace(self.path(key), hashlib.sha256(content).digest() + content)

    def load(self, key: Any) -> Any:
        """What was saved for `key`; None where there is nothing or the file is damaged."""
        content = _digested(self.path(key))
        if content is None:
            return None
        saved_key, data = pickle.loads(content)
        return data if saved_key == repr(key) else None

    def flush(self) -> None:
        """Forget everything that was saved for the function."""
        for path in Path(self.base).parent.glob(f"{Path(self.base).name}-*.compiled"):
            path.unlink(missing_ok=True)


class GraphadCache(caching.FunctionCache):
    """Numba's function cache with graphad's files, beside the module whatever NUMBA_CACHE_DIR says."""

    def __init__(self, py_func: Any) -> None:
        module = Path(py_func.__code__.co_filename)
        self._name = repr(py_func)
        self._py_func = py_func
        self._impl = ReducedCode(module)
        self._cache_path = str(module.parent)
        self._cache_file: Any = CompiledFiles(str(module.with_name(f"{module.stem}-{py_func.__qualname__}")))
        self._enabled = True


class ReducedCode(caching.CompileResultCacheImpl):
    """Numba's serialisation of compiled code, without its search for a folder that can be written."""

    def __init__(self, module: Path) -> None:
        self._locator = caching.InTreeCacheLocator.__new__(caching.InTreeCacheLocator)
        self._locator._cache_path = str(module.parent)

    def check_cachable(self, cres: Any) -> bool:
        """Whether the code holds no addresses of this process."""
        return not (cres.library.has_dynamic_globals or any(not x.can_cache for x in cres.lifted))


def _cache_of(py_func: Any) -> Any:
    """The cache of a function: graphad's for generated modules, Numba's own for all others."""
    loader = getattr(sys.modules.get(py_func.__module__), "__loader__", None)
    kind: Any = GraphadCache if isinstance(loader, TextLoader) else caching.FunctionCache
    return kind(py_func)


def _install() -> None:
    """Let Numba ask `_cache_of` for the cache of a function declared with `cache=True`.

    Numba offers no argument for this; the name is looked up by `enable_caching` of dispatchers and of C callbacks only.
    """
    modules: tuple[Any, ...] = (dispatcher, ccallback)
    for module in modules:
        module.FunctionCache = _cache_of
