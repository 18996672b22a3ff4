"""Each layer imports only the layers to its left; read from the source, so that no import has to run."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Modules and packages by layer, from left to right. What `explain()` prints is made of plain data, so `report` stands
# before the functions that it explains.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("graphad.errors",),
    ("graphad.ir",),
    ("graphad.interpret",),
    ("graphad.ops",),
    ("graphad.ad", "graphad.analysis"),
    ("graphad.plan",),
    ("passes",),
    ("graphad.loops",),
    ("graphad.emit",),
    ("graphad.report",),
    ("graphad.fitting", "graphad.body_plans", "graphad.budget", "graphad.compile"),
    ("graphad.sparse",),
    ("graphad.zero_order", "graphad.trace_modes", "graphad.trace", "graphad.api", "graphad.testing", "graphad.demo",
     "graphad.cli"),
)  # fmt: skip
# The facade itself, which re-exports, and the import that fills the tables before the passes read them.
FACADE = "graphad"
ALLOWED = {("passes", "graphad")}


def layer_of(module: str) -> int | None:
    """The position of a module's layer, None for a module of someone else."""
    for number, names in enumerate(LAYERS):
        if any(module == name or module.startswith(f"{name}.") for name in names):
            return number
    return None


def imports_of(tree: ast.Module) -> list[tuple[int, str]]:
    """Line and full name of everything that is imported, also inside functions; not for type checkers only."""
    found: list[tuple[int, str]] = []
    skipped = {id(n) for node in ast.walk(tree) if _type_checking(node) for n in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found.extend((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found.extend((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
    return found


def _type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def violations(module: str, source: str) -> list[str]:
    """What a module imports from its right, or from the facade."""
    here = layer_of(module)
    problems = []
    for line, name in imports_of(ast.parse(source)):
        if name.split(".")[0] not in ("graphad", "passes") or (module, name) in ALLOWED:
            continue
        there = layer_of(name)
        if there is None:
            problems.append(f"{module}:{line} imports `{name}`, which is the facade or in no layer")
        elif here is not None and there > here:
            problems.append(f"{module}:{line} imports `{name}`, which is to its right")
    return problems


def modules() -> dict[str, Path]:
    """Every module of the repository's two packages."""
    files = [*sorted((ROOT / "graphad").rglob("*.py")), *sorted((ROOT / "passes").rglob("*.py"))]
    named = {".".join(f.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): f for f in files}
    return {name: file for name, file in named.items() if name != FACADE}


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_point_to_the_left(module: str) -> None:
    assert layer_of(module) is not None, f"`{module}` stands in no layer: add it to LAYERS"
    assert violations(module, modules()[module].read_text(encoding="utf-8")) == []


def test_the_check_sees_a_wrong_import() -> None:
    source = "def f():\n    from graphad.emit.cache import load\n"
    assert violations("graphad.ir.graph", source) == [
        "graphad.ir.graph:2 imports `graphad.emit.cache.load`, which is to its right"
    ]
    assert violations("graphad.api", source) == []
    assert "facade" in violations("graphad.ad.reverse", "from graphad import Graph")[0]
    assert violations("graphad.ir.graph", "if TYPE_CHECKING:\n    from graphad.emit import cache\n") == []
