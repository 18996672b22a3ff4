"""How the outputs of a graph are handed to the caller: alone, in plain tuples, in named tuples."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias


@dataclass(frozen=True)
class Record:
    """A tuple in a result; without `fields` a plain one, else a named tuple called `name`."""

    parts: tuple[Packing, ...]
    name: str = ""
    fields: tuple[str, ...] = ()


Packing: TypeAlias = str | Record
"""An output by name, or a tuple of packings."""


def pack_named(name: str, fields: Sequence[str], parts: Sequence[Packing], *, alone: bool) -> Packing:
    """A named tuple of parts; the part itself where there is one and it may stand `alone`."""
    return parts[0] if alone and len(parts) == 1 else Record(tuple(parts), name, tuple(fields))


def leaves(packing: Packing) -> tuple[str, ...]:
    """The outputs in a packing, from left to right.

    >>> leaves(Record(("L", Record(("dL_da", "dL_db"), "gradient", ("a", "b")))))
    ('L', 'dL_da', 'dL_db')
    """
    if isinstance(packing, str):
        return (packing,)
    return tuple(name for part in packing.parts for name in leaves(part))


def pack_expression(packing: Packing, leaf: Callable[[str], str], classes: dict[str, type]) -> str:
    """The Python expression that makes a result.

    Arguments:
        leaf: for an output's name the expression of its value.
        classes: gets the named tuple classes that the expression uses, under the names that it uses.
    """
    if isinstance(packing, str):
        return leaf(packing)
    parts = ", ".join(pack_expression(part, leaf, classes) for part in packing.parts)
    inside = f"({parts},)"
    if not packing.fields:
        return inside
    key = f"__record{len(classes)}"
    classes[key] = record_class(packing.name, packing.fields)
    return f"__new({key}, {inside})"


@cache
def record_class(name: str, fields: tuple[str, ...]) -> Any:
    """The named tuple class of some fields; its instances pickle, since they are made again by name and fields.

    >>> import pickle
    >>> point = record_class("point", ("x", "y"))(1, 2)
    >>> pickle.loads(pickle.dumps(point)), point.x
    (point(x=1, y=2), 1)
    """
    plain: Any = namedtuple(name, fields, rename=True)  # type: ignore[misc]

    def reduce(self: tuple[Any, ...]) -> tuple[Any, ...]:
        return (record_from, (name, fields, tuple(self)))

    return type(name, (plain,), {"__reduce__": reduce, "__slots__": (), "__module__": __name__})


def record_from(name: str, fields: tuple[str, ...], values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The named tuple that was pickled."""
    return record_class(name, fields)._make(values)  # type: ignore[no-any-return]
