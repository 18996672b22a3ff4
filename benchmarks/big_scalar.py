"""Big scalar programs beside CasADi and rsdag: `python -m benchmarks.big_scalar [OPERATIONS ...]`.

The program is (a, b) <- (b, sin(a b + 0.5) + 0.25 a), written out. Building, differentiating and compiling are timed
once with an empty cache, evaluation as the best of interleaved rounds. The last line is the sum of Rosenbrock's terms,
written out and as arrays.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

import graphad as ga

POINT = (0.3, 0.7)
ROUNDS = 15
# Seconds until it can be called, the call, and value and gradient.
Entrant = tuple[float, Callable[[], Any], Callable[[], Any]]


def program(sine: Callable[[Any], Any], x: Any, y: Any, operations: int) -> Any:
    """The value."""
    a, b = x, y
    for _ in range(operations // 5):
        a, b = b, sine(a * b + 0.5) + 0.25 * a
    return a + b


def graphad(operations: int) -> Entrant:
    """Value and gradient by straight code, on fixed buffers."""
    begun = perf_counter()
    graph = ga.Graph("program")
    graph.output("r", program(np.sin, graph.input("x"), graph.input("y"), operations))
    function = ga.value_and_grad(graph)
    function(*POINT)
    seconds = perf_counter() - begun
    run = function.bind(*POINT)
    return seconds, run, lambda: [float(function(*POINT)[0]), *map(float, function(*POINT)[1])]


def casadi(operations: int) -> Entrant:
    """CasADi's interpreter of scalar expressions, on fixed buffers."""
    import casadi as ca

    begun = perf_counter()
    x, y = ca.SX.sym("x"), ca.SX.sym("y")
    value = program(ca.sin, x, y, operations)
    function = ca.Function("f", [x, y], [value, ca.gradient(value, ca.vertcat(x, y))])
    seconds = perf_counter() - begun
    buffer, run = function.buffer()
    arrays = [np.array([p]) for p in POINT] + [np.zeros(1), np.zeros(2)]
    for place in (0, 1):
        buffer.set_arg(place, arrays[place].data)
        buffer.set_res(place, arrays[2 + place].data)

    def results() -> list[float]:
        run()
        return [*arrays[2], *arrays[3]]

    results.alive = buffer  # type: ignore[attr-defined]  # `run` does not keep it
    return seconds, run, results


def rsdag(operations: int) -> Entrant:
    """The native code of rsdag, for the gradient alone."""
    import rsdag

    begun = perf_counter()
    gradient = rsdag.grad(lambda v: program(np.sin, v[0], v[1], operations), wrt=0, native=True)
    point = np.array(POINT)
    gradient(point)
    return perf_counter() - begun, lambda: gradient(point), lambda: [float("nan"), *gradient(point)]


def compare(operations: int) -> list[str]:
    """One line for each library."""
    entrants: dict[str, Entrant] = {}
    for make in (graphad, casadi, rsdag):
        try:
            entrants[make.__name__] = make(operations)
        except ImportError:
            print(f"{make.__name__} is not installed", file=sys.stderr)
    best = dict.fromkeys(entrants, float("inf"))
    for _ in range(ROUNDS):
        for name, (_, call, _) in entrants.items():
            begun = perf_counter()
            for _ in range(5):
                call()
            best[name] = min(best[name], (perf_counter() - begun) / 5)
    wanted = np.array(entrants["graphad"][2]())
    for name, (_, _, results) in entrants.items():
        found = np.array(results())
        assert np.allclose(found[1:], wanted[1:], rtol=1e-9, atol=1e-300), f"{name} differs"
    return [f"{operations:,} | {name} | {s:.2f} s | {1000 * best[name]:.3f} ms" for name, (s, _, _) in entrants.items()]


def rosenbrock(terms: int) -> list[str]:
    """Terms written out, and as arrays."""
    lines = []
    point = np.random.default_rng(0).uniform(-1, 1, terms + 1)
    for name in ("written out", "arrays"):
        begun = perf_counter()
        graph = ga.Graph("rosenbrock")
        x = graph.input("x", shape=terms + 1)
        if name == "arrays":
            value = (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()
        else:
            value = sum(
                (100.0 * (x[i + 1] - x[i] ** 2) ** 2 + (1.0 - x[i]) ** 2 for i in range(terms)), start=graph.const(0.0)
            )
        graph.output("y", value)
        function = ga.value_and_grad(graph)
        function(point)
        seconds = perf_counter() - begun
        run = function.bind(point)
        best = min(_seconds(run) for _ in range(200))
        lines.append(f"Rosenbrock, {terms} terms, {name} | graphad | {seconds:.2f} s | {1000 * best:.4f} ms")
    return lines


def _seconds(run: Callable[[], Any]) -> float:
    begun = perf_counter()
    for _ in range(20):
        run()
    return (perf_counter() - begun) / 20


def main(arguments: list[str]) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GRAPHAD_CACHE"] = folder
        graphad(100)  # Numba's own start, once in a process
        for operations in map(int, arguments or ["10000", "100000"]):
            print("\n".join(compare(operations)))
        print("\n".join(rosenbrock(999)))


if __name__ == "__main__":
    main(sys.argv[1:])
