"""The set-up: what the package declares is what the repository holds."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import graphad

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def project() -> dict[str, dict[str, object]]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_package_is_listed(project: dict[str, dict[str, dict[str, object]]]) -> None:
    found = sorted(
        ".".join(file.parent.relative_to(ROOT).parts)
        for top in ("graphad", "passes")
        for file in (ROOT / top).rglob("__init__.py")
    )
    assert sorted(project["tool"]["setuptools"]["packages"]) == found  # type: ignore[call-overload]


def test_package_data_exist(project: dict[str, dict[str, dict[str, dict[str, list[str]]]]]) -> None:
    for package, names in project["tool"]["setuptools"]["package-data"].items():
        for name in names:
            assert (ROOT / package.replace(".", "/") / name).is_file()


def test_top_level() -> None:
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "Makefile", ".ci/run", "docs"):
        assert (ROOT / name).exists(), name
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_public_names_exist_and_are_documented() -> None:
    assert len(set(graphad.__all__)) == len(graphad.__all__)
    for name in graphad.__all__:
        assert getattr(graphad, name).__doc__, f"graphad.{name} has no docstring"


def test_ci_calls_the_test_command_of_the_readme() -> None:
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert re.search(r"^exec make test$", script, re.MULTILINE)
    assert re.search(r"^make test$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)


def test_make_installs_once() -> None:
    """A dry run: with its stamps in place make only runs the command, without them it makes the environment first."""
    first = subprocess.run(
        ["make", "-n", "demo", "VENV=no-such-folder"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "-m venv no-such-folder" in first
    assert "pip install" in first
    assert "no-such-folder/bin/graphad demo" in first


def test_make_installs_nothing_twice(tmp_path: Path) -> None:
    for stamp in (".created", ".installed-plot", ".installed-test"):
        (tmp_path / stamp).touch()
    again = subprocess.run(
        ["make", "-n", "demo", "test", f"VENV={tmp_path}"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "pip install" not in again
    assert "ruff check" in again
    assert "mypy" in again
    assert "pytest" in again


def code_lines(function: ast.FunctionDef) -> int:
    """The lines of a function's body without its docstring."""
    first = function.body[1] if ast.get_docstring(function) and len(function.body) > 1 else function.body[0]
    return (function.end_lineno or first.lineno) - first.lineno + 1


def test_no_file_or_function_is_too_long() -> None:
    long = []
    for file in sorted([*(ROOT / "graphad").rglob("*.py"), *(ROOT / "passes").rglob("*.py")]):
        text, name = file.read_text(encoding="utf-8"), str(file.relative_to(ROOT))
        if len(text.splitlines()) > 500:
            long.append(name)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and code_lines(node) > 60:
                long.append(f"{name}: {node.name}")
    assert long == []
