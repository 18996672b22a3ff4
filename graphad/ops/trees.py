"""Nested tuples, lists, dictionaries and named tuples of variables, taken apart and put together again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphad.errors import ArgumentError, Source, describe

LEAF = "leaf"


@dataclass(frozen=True)
class Structure:
    """The form of a tree: a leaf, or a kind of container with parts by name.

    Two trees have one structure if they are equal but for the values at the leaves, and the order in dictionaries.
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
        """A name for each leaf, an identifier: `prefix_part`; no two are equal."""
        found: dict[str, None] = {}
        for wanted in self._paths(prefix):
            path, number = wanted, 1
            while path in found:
                number += 1
                path = f"{wanted}_{number}"
            found[path] = None
        return list(found)

    def _paths(self, prefix: str) -> list[str]:
        if self.kind == LEAF:
            return [prefix]
        named = zip(self.names, self.parts, strict=True)
        return [path for name, part in named for path in part._paths(f"{prefix}_{_word(name)}")]

    def places(self, tree: str) -> list[str]:
        """For each leaf how one writes it, in a tree of some name.

        >>> flatten({"position": (1, 2)})[1].places("carry")
        ["carry['position'][0]", "carry['position'][1]"]
        """
        if self.kind == LEAF:
            return [tree]
        plain = self.kind in (tuple, list, dict)
        named = zip(self.names, self.parts, strict=True)
        return [
            place
            for name, part in named
            for place in part.places(f"{tree}[{name!r}]" if plain else f"{tree}.{name}")
        ]

    def __str__(self) -> str:
        if self.kind in (LEAF, type(None)):
            return "*" if self.kind == LEAF else "None"
        if self.kind is dict:
            return "{" + ", ".join(f"{n!r}: {p}" for n, p in zip(self.names, self.parts, strict=True)) + "}"
        inner = ", ".join(map(str, self.parts))
        if self.kind is tuple:
            return f"({inner}{',' if len(self.parts) == 1 else ''})"
        return f"[{inner}]" if self.kind is list else f"{self.kind.__name__}({inner})"


def _word(name: Any) -> str:
    text = "".join(c if f"_{c}".isidentifier() else "_" for c in str(name))
    return text or "_"


def flatten(tree: Any, like: Structure | None = None) -> tuple[list[Any], Structure]:
    """The leaves of a tree in order, and its structure. None is a tree without leaves.

    Dictionaries with the keys of `like` have them in its order.

    >>> leaves, structure = flatten({"position": (1, 2), "speed": 3})
    >>> leaves, str(structure), structure.paths("s")
    ([1, 2, 3], "{'position': (*, *), 'speed': *}", ['s_position_0', 's_position_1', 's_speed'])
    >>> structure.build(iter("abc"))
    {'position': ('a', 'b'), 'speed': 'c'}
    >>> flatten({"speed": 4, "position": (5, 6)}, like=structure)[0]
    [5, 6, 4]
    """
    if tree is None:
        return [], Structure(type(None))
    if isinstance(tree, Mapping):
        same = like is not None and like.kind is dict and set(like.names) == set(tree)
        names = like.names if same and like is not None else tuple(tree)
        return _container(dict, names, tuple([tree[name] for name in names]), like)
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return _container(type(tree), tree._fields, tree, like)
    if isinstance(tree, (tuple, list)):
        kind = type(tree) if type(tree) in (tuple, list) else tuple
        return _container(kind, tuple(range(len(tree))), tuple(tree), like)
    return [tree], Structure(LEAF)


def _container(
    kind: Any, names: tuple[Any, ...], parts: tuple[Any, ...], like: Structure | None
) -> tuple[list[Any], Structure]:
    inner: Sequence[Structure | None] = [None] * len(parts)
    if like is not None and len(like.parts) == len(parts):
        inner = like.parts
    taken = [flatten(part, one) for part, one in zip(parts, inner, strict=True)]
    return [leaf for leaves, _ in taken for leaf in leaves], Structure(kind, names, tuple(s for _, s in taken))


def same_structure(what: str, got: Structure, wanted: Structure, source: Source | None, fix: str) -> None:
    """Raise `ArgumentError` where two trees differ in structure."""
    if got != wanted:
        raise ArgumentError(describe(what, expected=str(wanted), got=str(got), source=source, fix=fix))
