"""A small GPT trained on the text of the documentation, with and without a memory budget: `python -m benchmarks.gpt`.

Four layers of width 128, eight heads, sequence 256, batch 4, character by character. Prints the memory that the two
programs plan, allocate and keep in memory, the losses of some steps of gradient descent, and the time of a step.
"""

from __future__ import annotations

import ctypes
import gc
import math
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dgemm

import graphad as ga

Array = NDArray[Any]
ROOT = Path(__file__).resolve().parents[1]


def gpt(layers: int, width: int, heads: int, sequence: int, vocabulary: int, batch: int = 4) -> ga.Graph:
    """The mean cross entropy of the next character; inputs are `tokens`, `targets` and the parameters.

    The batch is a named size `b`, of which `batch` is the hint.
    """
    g = ga.Graph("gpt")
    tokens = g.input("tokens", shape=("b", sequence), dtype="int64", hint=batch)
    targets = g.input("targets", shape=("b", sequence), dtype="int64")
    embedding = g.input("embedding", shape=(vocabulary, width))
    x = embedding[tokens] + g.input("position", shape=(sequence, width))
    for layer in range(layers):
        x = x + attention(g, f"layer{layer}_attention", normed(g, f"layer{layer}_first", x), heads)
        hidden = linear(g, f"layer{layer}_up", normed(g, f"layer{layer}_second", x), 4 * width)
        hidden = 0.5 * hidden * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (hidden + 0.044715 * hidden**3)))
        x = x + linear(g, f"layer{layer}_down", hidden, width)
    logits = normed(g, "last", x) @ embedding.T
    picked = ga.take_along_axis(logits, targets[:, :, None], axis=-1)[:, :, 0]
    g.output("loss", (ga.logsumexp(logits, axis=-1) - picked).mean())
    return g


def normed(g: ga.Graph, name: str, x: Any) -> Any:
    """Layer normalisation."""
    gain, offset = (g.input(f"{name}_{part}", shape=x.shape[-1]) for part in ("gain", "offset"))
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + 1e-5) * gain + offset


def linear(g: ga.Graph, name: str, x: Any, size: int) -> Any:
    """An affine map of the last axis."""
    return x @ g.input(f"{name}_weight", shape=(x.shape[-1], size)) + g.input(f"{name}_bias", shape=size)


def attention(g: ga.Graph, name: str, x: Any, heads: int) -> Any:
    """Causal attention with several heads."""
    batch, sequence, width = x.shape
    apart = (batch, sequence, heads, width // heads)
    query, key, value = (linear(g, f"{name}_{k}", x, width).reshape(apart).transpose((0, 2, 1, 3)) for k in "qkv")
    scores = query @ key.transpose((0, 1, 3, 2)) / math.sqrt(width // heads)
    step = ga.arange(sequence, graph=g)
    scores = np.where(step[:, None] >= step[None, :], scores, -1e9)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    mixed = (weights / weights.sum(axis=-1, keepdims=True)) @ value
    return linear(g, f"{name}_out", mixed.transpose((0, 2, 1, 3)).reshape(x.shape), width)


def text() -> tuple[Array, int]:
    """The pages of the documentation as numbers of characters, and how many characters there are."""
    pages = "".join(page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs").glob("*.md")))
    letters = sorted({c for c in pages if c.isascii()})
    place = {c: k for k, c in enumerate(letters)}
    return np.array([place[c] for c in pages if c in place], np.int64), len(letters)


def first_parameters(g: ga.Graph, names: list[str]) -> dict[str, Array]:
    """Random weights, gains of one, biases of zero."""
    draw = np.random.default_rng(0)
    found = {}
    for name in names:
        shape = tuple(int(e) for e in g.nodes[g.inputs[name]].type.shape if isinstance(e, int))
        drawn = draw.standard_normal(shape) * 0.05
        found[name] = np.ones(shape) if name.endswith("gain") else drawn if len(shape) == 2 else np.zeros(shape)
    return found


def train(
    function: Any, parameters: dict[str, Array], data: Array, sequence: int, batch: int, steps: int
) -> list[float]:
    """The losses of some steps of gradient descent."""
    draw, losses = np.random.default_rng(1), []
    parameters = dict(parameters)
    for _ in range(steps):
        starts = draw.integers(0, len(data) - sequence - 1, batch)
        rows = np.stack([data[s : s + sequence + 1] for s in starts])
        loss, gradient = function(rows[:, :-1].copy(), rows[:, 1:].copy(), **parameters)
        losses.append(float(loss))
        for name, slope in zip(gradient._fields, gradient, strict=True):
            parameters[name] = parameters[name] - 0.1 * slope
    return losses


def resident() -> int:
    """Bytes of this process in memory, without what was freed before: its pages would serve the next arrays."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


def taken(call: Callable[[], Any]) -> tuple[Any, int, int]:
    """What a first call returns, the most bytes that it had allocated at once, and those in memory afterwards."""
    dgemm(1.0, np.ones((512, 512)), np.ones((512, 512)))  # BLAS takes memory of its own once
    before = resident()
    tracemalloc.start()
    found = call()
    _, allocated = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return found, allocated, resident() - before


def main(budget: float, layers: int = 4, steps: int = 5) -> None:
    """Train with and without the budget and print what it took."""
    width, heads, sequence, batch = 128, 8, 256, 4
    data, vocabulary = text()
    g = gpt(layers, width, heads, sequence, vocabulary, batch)
    names = [n for n in g.inputs if n not in ("tokens", "targets")]
    parameters = first_parameters(g, names)
    rows = np.stack([data[k : k + sequence + 1] for k in range(batch)])
    first = (rows[:, :-1].copy(), rows[:, 1:].copy())
    functions, losses = {}, {}
    for label, asked in (("budget", budget), ("everything", None)):
        begun = perf_counter()
        f = functions[label] = ga.value_and_grad(g, names, memory_budget=asked)
        found, allocated, pages = taken(lambda f=f: f(*first, **parameters))  # type: ignore[misc]
        planned = f.scratch_bytes(b=batch) + sum(a.nbytes for a in found[1])
        print(f"{label}: {perf_counter() - begun:.0f} s to the first result")
        print(f"planned {planned:,} B, allocated {allocated:,} B, resident {pages:,} B")
        if f.plan.memory is not None:
            print(f.plan.memory.reason)
        losses[label] = train(f, parameters, data, sequence, batch, steps)
        print(" ".join(f"{loss:.12f}" for loss in losses[label]))
    worst = max(abs(a / b - 1.0) for a, b in zip(*losses.values(), strict=True))
    times: dict[str, list[float]] = {label: [] for label in functions}
    for _ in range(9):
        for label, f in functions.items():
            begun = perf_counter()
            f(*first, **parameters)
            times[label].append(perf_counter() - begun)
    fast = {label: min(found) for label, found in times.items()}
    print(f"losses differ by {worst:.1e}; a step takes {', '.join(f'{1e3 * t:.0f} ms ({k})' for k, t in fast.items())}")
    print(f"{fast['budget'] / fast['everything'] - 1:.1%} more time")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 0.5)
