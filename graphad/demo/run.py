"""The demo from end to end: distances, graph, compiled gradient, two minimisations, checks, times, picture."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from graphad import zero_order
from graphad.api import compile as compile_value
from graphad.api import value_and_grad
from graphad.demo import geography, picture
from graphad.demo.descent import Descent, tuned_step_size, with_gradient, without_gradient
from graphad.demo.problem import stress, stress_graph
from graphad.report.tables import table

Array = NDArray[np.float64]

LONG_RUN = 200  # how many times more evaluations the second, long descent without gradients gets
RATIO_LIMIT = 4.0


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    seed: int = 0
    out: Path = Path("map.png")
    count: int | None = None
    quick: bool = False


@dataclass(frozen=True)
class Functions:
    """The compiled functions of one set of distances."""

    value: Callable[[Array], float]
    value_and_gradient: Callable[[Array], tuple[float, Array]]


@dataclass(frozen=True)
class Outcome:
    """What the demo found, for the report and for tests."""

    best: Descent
    equal: Descent
    long: Descent
    gradient_error_central: float
    gradient_error_complex: float
    seconds_value: float
    seconds_gradient: float
    seconds_differences: float
    map_error: float

    @property
    def ratio(self) -> float:
        """CPU time of value and gradient over that of the value."""
        return self.seconds_gradient / self.seconds_value


def run(options: Options, console: Console) -> Outcome:
    """Run the demo and print its report.

    Arguments:
        options: seed of the random start, file of the picture, number of cities, and `quick` for a shorter run.
        console: where the report goes.

    Returns the figures of the report. Raises `ArgumentError` for too few or too many cities.
    """
    places = geography.cities(options.count)
    points = geography.coordinates(places)
    squares = geography.great_circle_distances(points) ** 2
    start = np.random.default_rng(options.seed).standard_normal((len(places), 2))
    console.rule(f"A map of {len(places)} cities from their distances")
    functions = _compiled(squares, start, console)
    checks = _checked(functions, squares, start)
    seconds = _times(functions, start, 0.02 if options.quick else 0.3)
    descents = _minimised(functions, squares, start, options, console)
    flat = geography.azimuthal_equidistant(points)
    found = geography.aligned(descents[0].position, flat)
    error = float(np.sqrt(((found - flat) ** 2).sum(axis=1).mean()))
    outcome = Outcome(*descents, *checks, *seconds, error)
    _report(outcome, len(places), console)
    names = [place.name for place in places]
    limit = min(descent.value for descent in descents)
    picture.draw(options.out, names, flat, found, [descents[0], descents[2]], limit, geography.graticule(points))
    console.print(f"\nThe map is in {options.out}", highlight=False)
    return outcome


def _compiled(squares: Array, start: Array, console: Console) -> Functions:
    """Both functions, compiled and called once; the graph and the plan are shown."""
    graph = stress_graph()
    console.print("\n[bold]The graph[/bold]")
    console.print(str(graph), highlight=False, markup=False)
    begun = time.perf_counter()
    value, both = compile_value(graph), value_and_grad(graph, wrt="W")
    value(start, squares), both(start, squares)
    seconds = time.perf_counter() - begun
    console.print("\n[bold]The plan[/bold]")
    console.print(both.explain(passes=True), highlight=False, markup=False)
    console.print(f"\nValue, and value with gradient, compiled or loaded from the cache in {seconds:.2f} s.")
    return Functions(lambda w: value(w, squares), lambda w: both(w, squares))


def _checked(functions: Functions, squares: Array, point: Array) -> tuple[float, float]:
    """Errors of the gradient against central differences and complex steps, relative to the largest element."""
    gradient = functions.value_and_gradient(point)[1]
    scale = float(np.abs(gradient).max())
    central = zero_order.central_differences(functions.value, point)
    exact = zero_order.complex_step(lambda w: stress(w, squares), point)
    return float(np.abs(gradient - central).max()) / scale, float(np.abs(gradient - exact).max()) / scale


def _times(functions: Functions, point: Array, budget: float) -> tuple[float, float, float]:
    """CPU seconds of a value, of a value with its gradient, and of a gradient by forward differences."""
    value, both = functions.value, functions.value_and_gradient
    return (
        cpu_seconds(lambda: value(point), budget),
        cpu_seconds(lambda: both(point), budget),
        cpu_seconds(lambda: zero_order.forward_differences(value, point), budget),
    )


def cpu_seconds(call: Callable[[], Any], budget: float) -> float:
    """The CPU time of one call: the smallest of five blocks of calls that share `budget` seconds."""
    begun = time.process_time()
    call()
    count = max(1, int(budget / 5.0 / max(time.process_time() - begun, 1e-6)))
    blocks = []
    for _ in range(5):
        begun = time.process_time()
        for _ in range(count):
            call()
        blocks.append((time.process_time() - begun) / count)
    return max(min(blocks), 1e-9)


def _minimised(
    functions: Functions, squares: Array, start: Array, options: Options, console: Console
) -> tuple[Descent, Descent, Descent]:
    """L-BFGS; estimates with as many evaluations; estimates with many more."""
    scale = 0.05 / (start.size * len(start) * float(squares.mean()))
    bars = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,.0f} evaluations"),
            TextColumn("stress {task.fields[stress]:.6g}"), TimeElapsedColumn())  # fmt: skip
    console.print()
    with Progress(*bars, console=console) as progress:

        def watcher(name: str, total: int | None) -> Callable[[int, float], None]:
            task = progress.add_task(name, total=total, stress=float("nan"))

            def watch(count: int, best: float) -> None:
                if count % 32 == 1 or count == total:
                    progress.update(task, completed=count, stress=best)

            return watch

        best = with_gradient(functions.value_and_gradient, start, watcher=watcher("L-BFGS, gradient", None))
        progress.update(progress.task_ids[0], total=best.evaluations, completed=best.evaluations, stress=best.value)
        equal = 2 * ((best.evaluations + 1) // 2)
        runs = [equal, equal * (20 if options.quick else LONG_RUN)]
        others = []
        for name, count in zip(("two-point, as many", "two-point, many more"), runs, strict=True):
            step = tuned_step_size(functions.value, start, scale, evaluations=count, seed=options.seed)
            others.append(
                without_gradient(
                    functions.value, start, evaluations=count, step_size=step, seed=options.seed,
                    watcher=watcher(name, count),
                )
            )  # fmt: skip
    return best, others[0], others[1]


def _report(outcome: Outcome, count: int, console: Console) -> None:
    console.print("\n[bold]Stress[/bold] (an evaluation is one value, or one value with its gradient)")
    console.print(_stress_table(outcome, count))
    console.print("The step size of the estimates is the best of six; trying them out is not counted.")
    console.print("\n[bold]Gradient at the random start[/bold]")
    console.print(
        table(
            ["against", "largest relative error"],
            [
                ["central differences", f"{outcome.gradient_error_central:.1e}"],
                ["complex steps in NumPy", f"{outcome.gradient_error_complex:.1e}"],
            ],
            right=["largest relative error"],
        )
    )
    console.print("\n[bold]CPU time[/bold]")
    console.print(_time_table(outcome, count))
    verdict = "within" if outcome.ratio <= RATIO_LIMIT else "above"
    console.print(f"\nValue with gradient costs {outcome.ratio:.2f} values, {verdict} the bound of {RATIO_LIMIT:g}.")
    console.print(f"The recovered map is off by {1000.0 * outcome.map_error:.1f} km (root mean square, aligned).")


def _stress_table(outcome: Outcome, count: int) -> Table:
    descents = [outcome.best, outcome.equal, outcome.long]
    rows = [[d.name, f"{d.evaluations:,}", f"{d.value:.6g}", f"{(d.value / count**2) ** 0.5:.3g}"] for d in descents]
    columns = ["method", "evaluations", "stress", "per pair, (1000 km)²"]
    return table(columns, rows, right=columns[1:])


def _time_table(outcome: Outcome, count: int) -> Table:
    seconds = {
        "value": outcome.seconds_value,
        "value and gradient": outcome.seconds_gradient,
        f"forward differences, {2 * count + 1} values": outcome.seconds_differences,
    }
    rows = [[name, f"{1e6 * s:,.1f}", f"{s / outcome.seconds_value:,.2f}"] for name, s in seconds.items()]
    return table(["what", "µs", "values"], rows, right=["µs", "values"])
