"""The operations, one record each, one file per family. Importing the package fills the table."""

from graphad.ops import (
    arithmetic,
    comparison,
    cumulative,
    elementary,
    gather,
    product,
    rearrange,
    reduction,
    shape,
    source,
    special,
)

__all__ = [
    "arithmetic",
    "comparison",
    "cumulative",
    "elementary",
    "gather",
    "product",
    "rearrange",
    "reduction",
    "shape",
    "source",
    "special",
]
