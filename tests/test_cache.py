"""The cache folder: what is written is found again, what is damaged made anew, processes do not disturb each other."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from graphad.emit import cache
from graphad.errors import CacheError

SOURCE = """
from numba import njit


@njit("float64(float64)", cache=True)
def double(x):
    return 2.0 * x


@njit(cache=True)
def lazy(x):
    return x + 1
"""

PROGRAM = """
import sys
import numpy as np
from numba.core import event
recorder = event.RecordingListener()
event.register("numba:compile", recorder)
import graphad as ga
from graphad.emit import kernels
translated = []
compiled = kernels._compiled
kernels._compiled = lambda *given: translated.append(1) or compiled(*given)
g = ga.Graph("well")
x = g.input("x", shape="n")
g.output("y", ((x * x - 1.0) ** 2).sum())
value, gradient = ga.value_and_grad(g)(np.array([1.0, 2.0, 3.0]))
print(len(recorder.buffer) + len(translated), value, *gradient)
"""
ANSWER = "73.0 0.0 24.0 96.0"


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cache folder of the test's own, and no module that another test has loaded."""
    monkeypatch.setenv("GRAPHAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_temporary", [])
    forget()
    yield
    forget()


def forget() -> None:
    """Unload generated modules, as a new process would start without them."""
    for name in [n for n in sys.modules if n.startswith(cache.PREFIX)]:
        del sys.modules[name]


def again() -> ModuleType:
    """The module as the next process would get it."""
    forget()
    return cache.load(SOURCE)


def hits(module: ModuleType) -> int:
    """How many signatures of `double` came from the folder."""
    return sum(module.double.stats.cache_hits.values())


def compiled_file(function: str = "double") -> Path:
    """The one file of compiled code of a function."""
    (found,) = cache.folder().glob(f"*-{function}-*.compiled")
    return found


def start(environment: dict[str, str]) -> subprocess.Popen[str]:
    """A process that compiles and calls a gradient, and prints the number of compilations."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **environment},
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The number of compilations that a process saw, and its results."""
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    count, _, results = out.strip().partition(" ")
    return int(count), results


def test_same_text_same_module() -> None:
    assert cache.load(SOURCE) is cache.load(SOURCE)
    assert cache.load(SOURCE + "\n# another") is not cache.load(SOURCE)


def test_compiled_code_is_found_again() -> None:
    assert hits(cache.load(SOURCE)) == 0
    module = again()
    assert hits(module) == 1
    assert module.double(21.0) == 42.0


def test_lazily_compiled_functions_are_found_again() -> None:
    assert cache.load(SOURCE).lazy(1) == 2
    module = again()
    assert module.lazy(1) == 2
    assert sum(module.lazy.stats.cache_hits.values()) == 1
    assert module.lazy(1.5) == 2.5
    assert len(list(cache.folder().glob("*-lazy-*.compiled"))) == 2


def test_second_process_compiles_nothing() -> None:
    first, second = finish(start({})), finish(start({}))
    assert first[0] > 0
    assert (first[1], second) == (ANSWER, (0, ANSWER))


def test_processes_that_start_at_once() -> None:
    running = [start({}) for _ in range(4)]
    assert [finish(p)[1] for p in running] == [ANSWER] * 4
    assert finish(start({})) == (0, ANSWER)
    assert not list(cache.folder().glob("*.tmp"))


def test_numbas_own_cache_folder_changes_nothing(tmp_path: Path) -> None:
    other = tmp_path / "numba"
    assert finish(start({"NUMBA_CACHE_DIR": str(other)}))[0] > 0
    assert finish(start({"NUMBA_CACHE_DIR": str(tmp_path / "third")})) == (0, ANSWER)
    assert not list(other.rglob("*graphad*"))


DAMAGED = {"empty": b"", "cut": b"def double(", "other": b"def double(x):\n    return 3.0 * x\n"}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_damaged_source_is_written_anew(damage: bytes) -> None:
    cache.load(SOURCE)
    (path,) = cache.folder().glob("*.py")
    path.write_bytes(damage)
    assert again().double(2.0) == 4.0
    assert path.read_text() == SOURCE


def test_damaged_bytecode_is_not_read() -> None:
    module = cache.load(SOURCE)
    name = Path(module.__file__ or "").stem
    folder = cache.folder() / "__pycache__"
    folder.mkdir()
    (folder / f"{name}.{sys.implementation.cache_tag}.pyc").write_bytes(b"nonsense")
    assert again().double(2.0) == 4.0


def cut(content: bytes) -> bytes:
    """The first half."""
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    """One bit of the machine code turned."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [cut, flip, lambda content: b"", lambda content: b"\0" * 100])
def test_damaged_compiled_code_is_compiled_anew(damage: Callable[[bytes], bytes]) -> None:
    cache.load(SOURCE)
    path = compiled_file()
    sound = path.read_bytes()
    path.write_bytes(damage(sound))
    module = again()
    assert hits(module) == 0
    assert module.double(2.0) == 4.0
    assert hits(again()) == 1


def test_code_of_another_function_is_not_taken() -> None:
    module = cache.load(SOURCE)
    assert module.lazy(1.0) == 2.0
    compiled_file("lazy").replace(compiled_file("double"))
    module = again()
    assert hits(module) == 0
    assert module.double(3.0) == 6.0


def test_folder_that_can_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GRAPHAD_CACHE", str(tmp_path / "file"))
    with pytest.warns(RuntimeWarning, match="can not be written") as caught:
        module = cache.load(SOURCE)
    assert module.double(1.0) == 2.0
    cache.load(SOURCE + "\n# a second module")  # a second warning would be an error
    assert len(caught) == 1
    assert "set GRAPHAD_CACHE to a folder that can be written" in str(caught[0].message)


def test_module_that_can_not_be_written() -> None:
    cache.load(SOURCE)
    (path,) = cache.folder().glob("*.py")
    path.unlink()
    path.mkdir()
    with pytest.raises(CacheError, match="can not be read"):
        again()


def test_module_that_fails_is_not_kept() -> None:
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            cache.load("1 / 0")


def test_root_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache.root() == tmp_path / "cache"
    monkeypatch.delenv("GRAPHAD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.root() == tmp_path / "xdg" / "graphad"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache.root() == tmp_path / "home" / ".cache" / "graphad"


def test_clear_leaves_what_is_not_ours() -> None:
    cache.load(SOURCE)
    (cache.folder() / "notes.txt").write_text("mine")
    cache.clear()
    assert [p.name for p in cache.folder().iterdir()] == ["notes.txt"]


def test_other_functions_keep_numbas_cache(tmp_path: Path) -> None:
    cache.load(SOURCE)
    user = "from numba import njit\n\n@njit(cache=True)\ndef f(x):\n    return x * 3\n"
    (tmp_path / "user_module.py").write_text(user)
    program = "import graphad.emit.cache as c; c.load('A = 1'); import user_module as u; "
    program += "print(u.f(2), type(u.f._cache).__name__)"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["6", "FunctionCache"]
    assert list((tmp_path / "__pycache__").glob("*.nbi"))
