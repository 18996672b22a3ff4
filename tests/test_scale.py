"""100,000 scalar operations: built and differentiated in under 10 s and 1 GB, at a cost linear in nodes."""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import json, resource, sys
from pathlib import Path
from time import perf_counter
import numpy as np
import graphad as ga
from passes.pipeline import run_pipeline

start = perf_counter()
graph = ga.Graph("long")
a, b = graph.input("x"), graph.input("y")
for _ in range(int(sys.argv[1]) // 5):
    a, b = b, np.sin(a * b + 0.5) + 0.25 * a
graph.output("r", a + b)
gradient = ga.transform.grad(graph)
derived = perf_counter()
after, _ = run_pipeline(gradient)
end = perf_counter()
# What `getrusage` gives on Linux counts the process that started this one, a test runner of any size.
status = Path("/proc/self/status")
fields = dict(line.split(":", 1) for line in status.read_text().splitlines()) if status.exists() else {}
peak = int(fields["VmHWM"].split()[0]) if fields else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({
    "nodes": len(graph.nodes), "gradient": len(gradient.nodes), "derive": derived - start, "passes": end - derived,
    "after": len(after.nodes), "megabytes": peak / 1024,
}))
"""


def measure(operations: int) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(operations)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def small():
    return measure(20_000)


@pytest.fixture(scope="module")
def large():
    return measure(100_000)


def test_a_long_program_is_derived_quickly(large):
    assert large["nodes"] >= 100_000
    assert large["derive"] < 10.0
    assert large["megabytes"] < 1000.0


def test_the_derivative_stays_small(large):
    assert large["gradient"] < 2.5 * large["nodes"]
    assert large["after"] <= large["gradient"]


@pytest.mark.parametrize("stage", ["derive", "passes"])
def test_cost_is_linear_in_nodes(small, large, stage):
    assert large[stage] < 2.5 * 5 * small[stage]  # a quadratic stage would take 25 times as long, not 5
