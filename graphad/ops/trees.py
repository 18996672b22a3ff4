"""Nested tuples, lists, dictionaries and named tuples of variables, taken apart and put together again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graphad.errors import ArgumentError, Source, describe

LEAF = "leaf"


@dataclass(frozen=True)
class Structure:
    """The form of a tree: a leaf, or a kind of container with parts by name.

    Two trees have one structure if they are equal but for the values at the leaves.
    """

    kind: Any
    names: tuple[Any, ...] = ()
    parts: tuple[Structure, ...] = ()

    @property
    def leaves(self) -> int:
        """The number of leaves."""
        return 1 if self.kind == LEAF else sum(part.leaves for part in self.parts)

    def build(self, leaves: Iterator[Any]) -> Any:
        """The tree with values taken from `leaves` in order."""
        if self.kind == LEAF:
            return next(leaves)
        parts = [part.build(leaves) for part in self.parts]
        if self.kind in (tuple, list):
            return self.kind(parts)
        if self.kind is dict:
            return dict(zip(self.names, parts, strict=True))
        return self.kind(*parts) if self.kind is not type(None) else None

    def paths(self, prefix: str) -> list[str]:
        """A name for each leaf, an identifier: `prefix_part`."""
        if self.kind == LEAF:
            return [prefix]
        named = zip(self.names, self.parts, strict=True)
        return [path for name, part in named for path in part.paths(f"{prefix}_{_word(name)}")]

    def __str__(self) -> str:
        if self.kind == LEAF:
            return "*"
        if self.kind is dict:
            return "{" + ", ".join(f"{n!r}: {p}" for n, p in zip(self.names, self.parts, strict=True)) + "}"
        inner = ", ".join(map(str, self.parts))
        if self.kind is tuple:
            return f"({inner}{',' if len(self.parts) == 1 else ''})"
        return f"[{inner}]" if self.kind is list else f"{self.kind.__name__}({inner})"


def _word(name: Any) -> str:
    text = "".join(c if c.isalnum() else "_" for c in str(name))
    return text or "_"


def flatten(tree: Any) -> tuple[list[Any], Structure]:
    """The leaves of a tree in order, and its structure. None is a tree without leaves.

    >>> leaves, structure = flatten({"position": (1, 2), "speed": 3})
    >>> leaves, str(structure), structure.paths("s")
    ([1, 2, 3], "{'position': (*, *), 'speed': *}", ['s_position_0', 's_position_1', 's_speed'])
    >>> structure.build(iter("abc"))
    {'position': ('a', 'b'), 'speed': 'c'}
    """
    if tree is None:
        return [], Structure(type(None))
    if isinstance(tree, Mapping):
        return _container(dict, tuple(tree), tuple(tree.values()))
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return _container(type(tree), tree._fields, tree)
    if isinstance(tree, (tuple, list)):
        return _container(type(tree) if type(tree) in (tuple, list) else tuple, tuple(range(len(tree))), tuple(tree))
    return [tree], Structure(LEAF)


def _container(kind: Any, names: tuple[Any, ...], parts: tuple[Any, ...]) -> tuple[list[Any], Structure]:
    taken = [flatten(part) for part in parts]
    return [leaf for leaves, _ in taken for leaf in leaves], Structure(kind, names, tuple(s for _, s in taken))


def same_structure(what: str, got: Structure, wanted: Structure, source: Source | None, fix: str) -> None:
    """Raise `ArgumentError` where two trees differ in structure."""
    if got != wanted:
        raise ArgumentError(describe(what, expected=str(wanted), got=str(got), source=source, fix=fix))
