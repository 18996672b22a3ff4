"""Multidimensional scaling: positions whose squared distances come near to given ones.

L(W) = Σ_ij (‖W_i − W_j‖² − D_ij)², where D holds squared distances.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from graphad.ir.graph import Graph


def stress_graph() -> Graph:
    """The graph of L: inputs W (n, 2) and D (n, n), output `stress`. One graph serves every n.

    >>> list(stress_graph().inputs), list(stress_graph().outputs)
    (['W', 'D'], ['stress'])
    """
    g = Graph("stress")
    positions = g.input("W", shape=("n", 2), hint={"n": 80})
    squares = g.input("D", shape=("n", "n"))
    difference = positions[:, None, :] - positions[None, :, :]
    g.output("stress", (((difference**2).sum(axis=-1) - squares) ** 2).sum())
    return g


def stress(positions: NDArray[Any], squares: NDArray[Any]) -> Any:
    """L in plain NumPy, also for complex positions: what the compiled graph is checked against.

    >>> import numpy as np
    >>> stress(np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([[0.0, 25.0], [25.0, 0.0]])).item()
    0.0
    """
    difference = positions[:, None, :] - positions[None, :, :]
    return (((difference**2).sum(axis=-1) - squares) ** 2).sum()
