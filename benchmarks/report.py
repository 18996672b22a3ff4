"""Tables and the plot of measured results: ratios to graphad, with versions and processor."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import platform
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.table import MODULES, ORDER
from benchmarks.problems.table import PROBLEMS
from graphad.report.bench import duration

FOLDER = Path(__file__).parent / "results"
COLUMNS = ORDER[1:]

Result = Mapping[str, Any]


def processor() -> str:
    """The processor's name, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def versions() -> dict[str, str]:
    """The versions of everything that is installed of what is timed."""
    found = {"python": platform.python_version()}
    for name in ("numpy", *dict.fromkeys(MODULES.values())):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def load(folder: Path = FOLDER) -> list[Result]:
    """All stored results, in the order of the problems."""
    paths = [folder / f"{name}.json" for name in PROBLEMS]
    return [json.loads(path.read_text()) for path in paths if path.exists()]


def ratio(case: Result, name: str) -> float | None:
    """How many times longer than graphad's call a peer takes: the median over the rounds of both, taken pairwise.

    None where the peer has no time. In a pair both ran one after the other, so a busy machine slows both.
    """
    rows = case["rows"]
    if name not in rows or "graphad" not in rows:
        return None
    pairs = zip(rows[name]["samples"], rows["graphad"]["samples"], strict=True)
    return float(statistics.median(theirs / ours for theirs, ours in pairs))


def figure(number: float | None) -> str:
    """A ratio with two or three figures; empty for none.

    >>> figure(0.123), figure(4.56), figure(123.4), figure(None)
    ('0.12', '4.6', '123', '')
    """
    if number is None:
        return ""
    return f"{number:.2f}" if number < 1 else f"{number:.1f}" if number < 99.5 else f"{number:.0f}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with columns of equal width; the first row is the head, the first two columns are text.

    >>> print(aligned([["a", "b", "c"], ["x", "y", "1.5"]]))
    | a | b |   c |
    |---|---|----:|
    | x | y | 1.5 |
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]

    def line(row: Sequence[str]) -> str:
        cells = [c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        return f"| {' | '.join(cells)} |"

    rule = "|".join("-" * (w + 2) if i < 2 else "-" * (w + 1) + ":" for i, w in enumerate(widths))
    return "\n".join([line(rows[0]), f"|{rule}|", *(line(row) for row in rows[1:])])


def steady_table(results: Sequence[Result]) -> str:
    """Times of graphad's call and the ratios of everyone else."""
    rows = [["problem", "sizes", "graphad", "over value", "roofline", *COLUMNS]]
    for result in results:
        for case in result["cases"]:
            ours = case["rows"].get("graphad")
            time = duration(ours["median"]) if ours else "failed"
            ratios = [figure(ratio(case, name)) for name in COLUMNS]
            peak = f"{ours['roofline']:.0%}" if ours and "roofline" in ours else ""
            dearer = figure(ours.get("over value")) if ours else ""
            rows.append([result["name"], case["label"] or "-", time, dearer, peak, *ratios])
    return aligned(rows)


def over_values(results: Sequence[Result]) -> str:
    """The geometric mean and the largest of what derivatives cost over values; empty where nothing was measured."""
    cases = [(r["name"], c["rows"].get("graphad", {}).get("over value")) for r in results for c in r["cases"]]
    found = [(ratio, name) for name, ratio in cases if ratio is not None]
    if not found:
        return ""
    most, name = max(found)
    mean = statistics.geometric_mean([ratio for ratio, _ in found])
    return f"Derivatives cost {figure(mean)} times their values in the geometric mean, at most {figure(most)} ({name})."


def first_table(results: Sequence[Result]) -> str:
    """Seconds until the first answer: making, compiling and the first call."""
    columns = [c for c in ORDER if c != "graphad bound"]
    rows = [["problem", "sizes", *columns]]
    for result in results:
        for case in result["cases"]:
            seconds = {n: row["compile"] + row["first"] for n, row in case["rows"].items()}
            cells = [f"{seconds[n]:.2f}" if n in seconds else "" for n in columns]
            rows.append([result["name"], case["label"] or "-", *cells])
    return aligned(rows)


def disagreements(results: Sequence[Result]) -> list[str]:
    """One line for every entrant whose results differ by more than the tolerance."""
    lines = []
    for result in results:
        for case in result["cases"]:
            for name, error in case["errors"].items():
                if not error <= case["tolerance"]:
                    lines.append(f"{result['name']} {case['label']}: {name} differs by {error:.1e}")
    return lines


def remarks(results: Sequence[Result]) -> list[str]:
    """Notes of the problems, peers that failed and peers that are not installed."""
    lines = [f"{r['name']}: {r['notes']}" for r in results if r["notes"]]
    for result in results:
        for case in result["cases"]:
            lines += [f"{result['name']} {case['label']}: {n} failed: {why}" for n, why in case["failed"].items()]
    absent = sorted({name for r in results for case in r["cases"] for name in case["missing"]})
    return [*lines, f"Not installed: {', '.join(absent)}."] if absent else lines


def page(results: Sequence[Result]) -> str:
    """The page of all results."""
    machine = sorted({r["processor"] for r in results})
    built_with = {name: version for r in results for name, version in r["versions"].items()}
    wrong = disagreements(results)
    parts = [
        "# Benchmark results",
        f"{', '.join(machine)}; one core, one thread. "
        + ", ".join(f"{name} {version}" for name, version in built_with.items())
        + ".",
        "## Steady calls",
        "Time of graphad's checked call (median), and how many times as long the others take: above 1 graphad is "
        "faster. `graphad bound` is its kernel with arrays for the results at hand; `hand` is hand-written code with "
        "the same vector mathematics. `roofline` is the least time in which this core could move arguments and results "
        "once, or do the operations at BLAS's speed, over graphad's time: above 100 % where data stay in a cache. "
        "`over value` is the time of the derivative, with the value where it comes along, over the value's alone.",
        steady_table(results),
        *filter(None, [over_values(results)]),
        "## Seconds to the first answer",
        "Making, compiling and calling once. graphad's cache starts empty; cases of one dtype share one compilation.",
        first_table(results),
        "## Remarks",
        "\n".join(f"* {line}" for line in [*remarks(results), *wrong]) or "None.",
        "All results agree in norm: 1e-10 in float64, 1e-4 in float32." if not wrong else "**Some results disagree.**",
        "![ratios](ratios.png)",
    ]
    return "\n\n".join(parts) + "\n"


def plot(results: Sequence[Result], path: Path) -> None:
    """Ratios of all peers, one line a case, on a logarithmic axis; graphad is at 1."""
    from matplotlib.figure import Figure

    cases = [(f"{r['name']} {c['label']}", c) for r in results for c in r["cases"] if "graphad" in c["rows"]]
    chart = Figure(figsize=(9, 1.2 + 0.28 * len(cases)), layout="constrained")
    axes = chart.subplots()
    axes.axvline(1.0, color="black", linewidth=1)
    for name, marker in zip(COLUMNS, "|DosvP^x*", strict=False):
        points = [(value, -i) for i, (_, case) in enumerate(cases) if (value := ratio(case, name)) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), linestyle="", marker=marker, label=name, alpha=0.8)
    axes.set_xscale("log")
    axes.set_yticks([-i for i in range(len(cases))], [label for label, _ in cases], fontsize=7)
    axes.set_xlabel("time / time of graphad's call")
    axes.grid(axis="both", alpha=0.3)
    axes.legend(fontsize=7, loc="upper right")
    chart.savefig(path, dpi=120, metadata={"Software": None})


def write(folder: Path = FOLDER) -> list[Result]:
    """Write `results.md` and `ratios.png` from the stored results; returns them."""
    results = load(folder)
    (folder / "results.md").write_text(page(results))
    if importlib.util.find_spec("matplotlib") is not None:
        plot(results, folder / "ratios.png")
    return results
