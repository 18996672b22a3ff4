"""What LLVM makes of whole kernels: their inner loops work on vector registers, with nothing gathered one by one."""

from __future__ import annotations

import llvmlite.binding  # type: ignore[import-untyped]
import pytest

import graphad as ga
from benchmarks.peers.ours import build
from benchmarks.problems.table import PROBLEMS
from graphad.emit.kernels import assembly
from tests.test_vecmath_assembly import packed_loops

pytestmark = pytest.mark.skipif(
    "avx2" not in llvmlite.binding.get_host_cpu_features().flatten(), reason="the registers asked for are of AVX2"
)


@pytest.mark.parametrize(("name", "threads", "least"), [("llsq", 1, 3), ("lse", 1, 2), ("lse", 2, 2), ("stress", 2, 1)])
def test_inner_loops_are_packed(name: str, threads: int, least: int) -> None:
    """Numba's rule for negative indices would keep a loop from that where their sign is not seen."""
    problem = PROBLEMS[name]
    source = ga.value_and_grad(build(problem), wrt=list(problem.wrt), threads=threads, tier="interpreted").source
    module: dict[str, object] = {"__name__": "packed"}
    exec(source.replace("cache=True", "cache=False"), module)
    functions = [f for key, f in module.items() if "_nest_" in key] or [module[f"{name}_value_and_grad_kernel"]]
    text = "\n".join(t for f in functions for t in f.inspect_asm().values())  # type: ignore[attr-defined]
    assert "gather" not in text
    assert len(packed_loops(text)) >= least


@pytest.mark.parametrize(("name", "least"), [("llsq", 3), ("lse", 2), ("stress", 1), ("rosenbrock", 1)])
def test_inner_loops_are_packed_without_numba(name: str, least: int) -> None:
    problem = PROBLEMS[name]
    function = ga.value_and_grad(build(problem), wrt=list(problem.wrt), tier="interpreted")
    text = assembly(function.generated)
    assert "gather" not in text
    assert len(packed_loops(text)) >= least
