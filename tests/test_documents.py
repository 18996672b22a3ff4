"""README and every page of docs: the code runs, page by page, and prints what the page says it prints."""

from __future__ import annotations

import contextlib
import doctest
import io
import linecache
import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import pytest

from graphad.ir.operation import FUNCTIONS, NUMPY_FUNCTIONS, OPERATIONS
from graphad.ops.custom import USER_FUNCTIONS
from graphad.report.operations import markdown

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PICTURES = ROOT / "docs" / "pictures"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Block(NamedTuple):
    """A fenced block: its language, its text and the line on which its text starts."""

    language: str
    text: str
    line: int


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page in order."""
    return [Block(m[1], m[2], text.count("\n", 0, m.start(2)) + 1) for m in FENCE.finditer(text)]


def examples(text: str) -> list[tuple[Block, Block | None]]:
    """Each block of Python with the block of output right behind it, if there is one."""
    found = blocks(text)
    return [
        (block, after if after is not None and after.language == "text" else None)
        for block, after in zip_longest(found, found[1:])
        if block.language == "python"
    ]


def run_page(name: str, text: str) -> list[str]:
    """What is wrong with a page: outputs that differ."""
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    scope: dict[str, object] = {"__name__": "__page__"}
    wrong = []
    for code, wanted in examples(text):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            # Empty lines before it give the code the line numbers of the page.
            exec(compile("\n" * (code.line - 1) + code.text, name, "exec", dont_inherit=True), scope)
        if wanted is None:
            if out.getvalue():
                wrong.append(f"{name}:{code.line} prints, and the page does not show it:\n{out.getvalue()}")
        elif not doctest.OutputChecker().check_output(wanted.text, out.getvalue(), FLAGS):
            wrong.append(f"{name}:{wanted.line} shows\n{wanted.text}\nbut the code prints\n{out.getvalue()}")
    return wrong


@pytest.fixture
def clean_tables() -> Iterator[None]:
    """Operations that a page registers are forgotten after it."""
    tables = (OPERATIONS, FUNCTIONS, NUMPY_FUNCTIONS, USER_FUNCTIONS)
    before = [dict(table) for table in tables]
    yield
    for table, old in zip(tables, before, strict=True):
        table.clear()
        table.update(old)  # type: ignore[call-overload]


@pytest.mark.usefixtures("clean_tables")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_page(str(page.relative_to(ROOT)), page.read_text(encoding="utf-8")) == []
    for drawn in sorted(tmp_path.glob("*.svg")):
        current = (PICTURES / drawn.name).read_text(encoding="utf-8")
        assert current == drawn.read_text(encoding="utf-8"), f"{drawn.name} is old: run `make docs`"


def test_the_runner_sees_wrong_and_missing_output() -> None:
    page = "```python\nprint(1 + 1)\n```\n\n```text\n{}\n```\n"
    assert run_page("right", page.format("2")) == []
    assert "but the code prints\n2" in run_page("wrong", page.format("3"))[0]
    assert "prints, and the page does not show it" in run_page("silent", "```python\nprint(2)\n```\n")[0]


def test_the_table_of_operations_is_current() -> None:
    current = (ROOT / "docs" / "ops.md").read_text(encoding="utf-8")
    assert current == markdown(), "docs/ops.md is old: run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", FENCE.sub("", page.read_text(encoding="utf-8"))):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
