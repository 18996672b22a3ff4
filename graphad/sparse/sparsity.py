"""What a user sees of the structure of a sparse Jacobian."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphad.plan.coloring import Coloring

PICTURE = (16, 32)  # rows and columns of characters
SHADES = " .:+#"


@dataclass(frozen=True, eq=False)
class Sparsity:
    """The pattern of a sparse Jacobian at some sizes, and how its entries are computed.

    Arguments:
        shape: rows and columns.
        indptr, indices: the pattern in compressed rows.
        method: "direct", or "coloured".
        coloring: the colours of columns and rows; None where entries are computed directly.

    Printed, it is a small picture: the darker a character, the more entries stand there.
    """

    shape: tuple[int, int]
    indptr: NDArray[Any]
    indices: NDArray[Any]
    method: str
    coloring: Coloring | None = None

    @property
    def nonzeros(self) -> int:
        """The number of entries that may be different from zero."""
        return len(self.indices)

    @property
    def density(self) -> float:
        """The share of these among all elements; 0 for an empty matrix."""
        return self.nonzeros / max(self.shape[0] * self.shape[1], 1)

    @property
    def passes(self) -> int:
        """The number of forward and reverse sweeps of a call; 0 where entries are computed directly."""
        return 0 if self.coloring is None else self.coloring.forward + self.coloring.reverse

    @property
    def pattern(self) -> Any:
        """The pattern as a boolean `scipy.sparse.csr_array`."""
        from scipy.sparse import csr_array

        return csr_array((np.ones(self.nonzeros, dtype=bool), self.indices, self.indptr), shape=self.shape)

    def picture(self) -> list[str]:
        """The pattern as lines of text."""
        height, width = (min(size, most) for size, most in zip(self.shape, PICTURE, strict=True))
        if not height or not width:
            return []
        rows = np.repeat(np.arange(self.shape[0]), np.diff(self.indptr))
        counts = np.zeros((height, width))
        np.add.at(counts, (rows * height // self.shape[0], self.indices * width // self.shape[1]), 1)
        area = self.shape[0] * self.shape[1] / (height * width)
        shade = np.ceil((counts / area) ** 0.25 * (len(SHADES) - 1)).astype(int)
        return ["".join(SHADES[s] for s in line) for line in np.minimum(shade, len(SHADES) - 1)]

    def __repr__(self) -> str:
        colours = self.coloring
        sweeps = "" if colours is None else f", {colours.forward} forward and {colours.reverse} reverse"
        return (
            f"<sparsity {self.shape[0]} x {self.shape[1]}, {self.nonzeros} entries ({self.density:.2%}), "
            f"{self.method}{sweeps}>"
        )

    def __str__(self) -> str:
        return "\n".join([repr(self), *(f"|{line}|" for line in self.picture())])
