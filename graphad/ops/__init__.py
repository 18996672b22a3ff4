"""The operations, one record each, one file per family. Importing the package fills the table."""

from graphad.ops import (
    arithmetic,
    comparison,
    contraction,
    cumulative,
    diagonal,
    elementary,
    gather,
    indexing,
    product,
    rearrange,
    reduction,
    shape,
    source,
    special,
    statistics,
)

__all__ = [
    "arithmetic",
    "comparison",
    "contraction",
    "cumulative",
    "diagonal",
    "elementary",
    "gather",
    "indexing",
    "product",
    "rearrange",
    "reduction",
    "shape",
    "source",
    "special",
    "statistics",
]
