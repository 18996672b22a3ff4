"""The page of errors from cases that make them: `python tests/error_cases.py` writes docs/errors.md.

The page is the pinned form of the messages: test_errors.py makes every mistake and compares.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from graphad.errors import GraphadError

PAGE = Path(__file__).resolve().parents[1] / "docs" / "errors.md"

INTRODUCTION = """# Errors

Every exception is a `GraphadError` and also the builtin that a Python programmer expects: `ShapeError` is a
`ValueError`, `DtypeError` and `ArgumentError` are `TypeError`s, `IndexRangeError` is an `IndexError`. A message says
what was expected, what came, which line of yours it is about (`at`), and what to do (`fix`).

Compiled functions check names, ranks, sizes, dtypes and index ranges before they write anything, `out=` included, and
never change their arguments. They broadcast nothing and round nothing silently: an array of another dtype is refused,
one of another memory order, byte order or alignment is copied. NaN and infinity are values like all others and
propagate as in NumPy.

This page is made by `python tests/error_cases.py`; the tests make every mistake below and compare the messages.
"""


@dataclass(frozen=True)
class Case:
    """A mistake: `make` raises `error`."""

    section: str
    title: str
    error: type[GraphadError]
    remedy: str
    make: Callable[[], object]


CASES: list[Case] = []


Make = Callable[[], object]


def case(section: str, title: str, error: type[GraphadError], remedy: str) -> Callable[[Make], Make]:
    """Decorator: the function makes the mistake; its docstring says what is wrong."""

    def add(make: Make) -> Make:
        CASES.append(Case(section, title, error, remedy, make))
        return make

    return add


def message_of(one: Case) -> str:
    """The message that a mistake gets, as it is."""
    try:
        one.make()
    except one.error as error:
        return str(error)
    raise AssertionError(f"`{one.title}` raised nothing")


def shown(message: str) -> str:
    """A message with the user's file and line, which depend on where the cases stand, made general."""
    return re.sub(r"(?m)^(  at: ).*$", r"\1your_file.py:12", message)


def page() -> str:
    """The text of docs/errors.md."""
    parts = [INTRODUCTION]
    section = ""
    for one in CASES:
        if one.section != section:
            section = one.section
            parts.append(f"## {section}\n")
        cause = " ".join((one.make.__doc__ or "").split())
        parts.append(f"### {one.title}\n\n`{one.error.__name__}`. {cause}\n\n```text\n{shown(message_of(one))}\n```\n")
        parts.append(f"Remedy: {one.remedy}\n")
    return "\n".join(parts)
