"""Mistakes with memory budgets, as code that makes them; see error_page.py."""

from __future__ import annotations

import numpy as np
from error_page import case

import graphad as ga
from graphad.ir.graph import Graph

MEMORY = "Memory budgets"


def deep() -> Graph:
    """Eight layers of tanh."""
    g = ga.Graph("deep")
    x, w = g.input("x", shape=(64, 16)), g.input("w", shape=(16, 16))
    for _ in range(8):
        x = np.tanh(x @ w)
    g.output("loss", (x * x).sum())
    return g


@case(MEMORY, "A budget that nothing keeps", ga.MemoryBudgetError, "the message names the least possible budget.")
def least_budget() -> object:
    """Even with everything computed again the largest step needs more."""
    return ga.grad(deep(), "w", memory_budget="10 kB")


@case(MEMORY, "Malformed budget", ga.ArgumentError, "bytes, a text with a unit, or a fraction below 1.")
def malformed_budget() -> object:
    """The text has no unit that is one of memory."""
    return ga.grad(deep(), "w", memory_budget="half")


@case(MEMORY, "Sparse Jacobian with a budget", ga.ArgumentError, "leave one of both out.")
def sparse_budget() -> object:
    """Sparse Jacobians are made without a plan for memory."""
    return ga.jacobian(deep(), "w", sparse=True, memory_budget=0.5)


@case(MEMORY, "Mark on a number", ga.ArgumentError, "mark variables of a graph.")
def marked_number() -> object:
    """Only what an operation made can be stored or computed again."""
    return ga.save(3.0)  # type: ignore[arg-type]
