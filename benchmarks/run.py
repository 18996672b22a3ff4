"""Run the benchmarks: `python -m benchmarks.run [NAME ...]`, all problems by default.

Every problem gets a process of its own, pinned to one core and one thread, with an empty cache; in it graphad, the
hand-written code and all installed peers are called in turn. Results go to `benchmarks/results`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from benchmarks import report
from benchmarks.problems.table import PROBLEMS

ROOT = Path(__file__).resolve().parents[1]
THREADS = (
    "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip


def environment(cache: str) -> dict[str, str]:
    """The environment of a measuring process: one thread for everyone, an empty cache."""
    single = dict.fromkeys(THREADS, "1")
    path = os.pathsep.join(p for p in (str(ROOT), os.environ.get("PYTHONPATH", "")) if p)
    return {
        **os.environ, **single, "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "JAX_PLATFORMS": "cpu",
        "GRAPHAD_CACHE": cache, "PYTHONPATH": path,
    }  # fmt: skip


def run_problem(name: str, folder: Path, report_line: Callable[[str], None]) -> None:
    """Measure one problem in a process of its own and store its result.

    Raises `RuntimeError` with what the process said where it fails.
    """
    with tempfile.TemporaryDirectory() as temporary:
        path, errors = Path(temporary) / "result.json", Path(temporary) / "errors"
        command = [sys.executable, "-m", "benchmarks.measure", name, str(path)]
        with errors.open("w") as sink, subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=sink, text=True, env=environment(f"{temporary}/cache"), cwd=ROOT
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                report_line(line.strip())
        if process.returncode:
            raise RuntimeError(f"the benchmark `{name}` failed:\n{errors.read_text()}")
        result: dict[str, Any] = json.loads(path.read_text())
    result |= {"processor": report.processor(), "versions": report.versions()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(rounded(result), indent=1) + "\n")


def rounded(value: Any) -> Any:
    """The same with four figures for every float: no one reads more.

    >>> rounded({"a": [1.23456789e-6, 2]})
    {'a': [1.235e-06, 2]}
    """
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def main(names: Sequence[str] = (), folder: Path = report.FOLDER) -> int:
    """Run the named problems, all by default; print the table. Returns 1 where results disagree, 2 for a wrong name."""
    console = Console()
    unknown = [n for n in names if n not in PROBLEMS]
    if unknown:
        console.print(f"no benchmark `{unknown[0]}`; there are {', '.join(PROBLEMS)}", highlight=False)
        return 2
    chosen = list(names) or list(PROBLEMS)
    shown_columns = (SpinnerColumn(), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*shown_columns, TextColumn("{task.description}"), console=console, transient=True) as progress:
        task = progress.add_task("", total=len(chosen))
        for name in chosen:
            run_problem(name, folder, lambda line: progress.update(task, description=line))
            progress.advance(task)
    results = report.write(folder)
    shown = [r for r in results if r["name"] in chosen]
    print(report.steady_table(shown))
    for line in [*report.remarks(shown), *(wrong := report.disagreements(shown))]:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
