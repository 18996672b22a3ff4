"""What generated modules carry: parts of graphad's own modules as text, and the import lines, each name once."""

from __future__ import annotations

from pathlib import Path

START, END = "\n# -- into modules\n", "\n# -- until here\n"
STANDARD = frozenset(
    ["base64", "collections", "ctypes", "functools", "hashlib", "inspect", "math", "os", "pathlib", "struct",
     "threading", "typing", "uuid"]
)  # fmt: skip


def embedded(file: str) -> str:
    """The part of a source file between its two marks."""
    return Path(file).read_text(encoding="utf-8").partition(START)[2].partition(END)[0].strip()


def merged(*texts: str) -> str:
    """The import lines of several texts as one block: the standard library first, then the others by name.

    >>> print(merged("import math\\nfrom numba import njit\\n", "import numpy as np\\nfrom numba import types, njit"))
    import math
    <BLANKLINE>
    import numpy as np
    from numba import njit, types
    <BLANKLINE>
    """
    whole: set[str] = set()
    names: dict[str, set[str]] = {}
    for line in "\n".join(texts).splitlines():
        if line.startswith("import "):
            whole.add(line)
        elif line.startswith("from "):
            module, _, listed = line.removeprefix("from ").partition(" import ")
            names.setdefault(module, set()).update(listed.split(", "))
    lines = [*whole, *(f"from {module} import {', '.join(sorted(listed))}" for module, listed in names.items())]
    blocks = [sorted(x for x in lines if (_module(x) in STANDARD) is first) for first in (True, False)]
    ordered = [sorted(block, key=lambda x: (x.startswith("from "), x)) for block in blocks if block]
    return "\n\n".join("\n".join(block) for block in ordered) + "\n"


def _module(line: str) -> str:
    return line.split()[1].split(".")[0]
