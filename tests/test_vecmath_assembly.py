"""What LLVM makes of a loop over each function of the vector mathematics: packed instructions and no calls."""

from __future__ import annotations

import re
from typing import Any

import llvmlite.binding  # type: ignore[import-untyped]
import numpy as np
import pytest

from graphad.emit.vecmath import FUNCTIONS
from tests.vecmath_loops import MODULE, arity, loop

# These branch or loop inside, or divide integers.
SCALAR = {"lgamma", "polygamma", "floordiv_int", "remainder_int"}
VECTORISED = sorted(name for name in FUNCTIONS if name.removesuffix("_f32") not in SCALAR)
# A call that tests all lanes at once, for angles beyond 2^44 (2^17 in float32) and quotients beyond 2^52.
RARE = re.compile(r"graphad_rare_\w+_v\d+")

pytestmark = pytest.mark.skipif(
    "avx2" not in llvmlite.binding.get_host_cpu_features().flatten(), reason="the registers asked for are of AVX2"
)


def assembly(name: str) -> str:
    kind = np.float32 if name.endswith("_f32") else np.float64
    compiled: Any = loop(name)
    operand = np.ones(2, kind)
    compiled(*[operand] * arity(name), np.empty_like(operand))
    places = [i for i, types in enumerate(compiled.signatures) if str(types[0].dtype) == kind.__name__]
    return str(compiled.inspect_asm(compiled.signatures[places[0]]))


def loops(text: str) -> list[list[str]]:
    """The instructions of the innermost loops: from a label to the jump back to it, with no other label inside."""
    found: list[list[str]] = []
    label, body = "", list[str]()
    for line in text.splitlines():
        if match := re.match(r"(\.L\w+):", line):
            label, body = match.group(1), []
        elif line.startswith("\t") and not line.startswith("\t."):
            body.append(line.strip())
            if line.split()[0].startswith("j") and line.split()[-1] == label:
                found.append(body)
    return found


def packed_loops(text: str) -> list[list[str]]:
    """Loops that work on whole vector registers and store several numbers at once."""
    store = re.compile(r"v?(mov[au]p[sd]|movdq[au](8|16|32|64)?|extractf128\s+\$1,|cvtpd2ps[xy]?)\s+%[xyz]mm\d+, .*\(")
    return [body for body in loops(text) if any(map(store.match, body)) and re.search("%[yz]mm", " ".join(body))]


@pytest.mark.parametrize("name", VECTORISED)
def test_the_loop_is_packed_and_calls_nothing(name: str) -> None:
    text = assembly(name)
    bodies = packed_loops(text)
    assert bodies, f"no loop of `{name}` stores vector registers"
    calls = [line for body in bodies for line in body if line.startswith("call")]
    rare = name.removesuffix("_f32") in {"sin", "cos", "tan", "remainder", "floordiv"}
    assert len(calls) <= (4 if rare else 0), calls
    assert not rare or RARE.search(text)
    scalar = [line for body in bodies for line in body if re.match(r"v?(mul|add|div|sqrt|fmadd\w*)s[sd]\b", line)]
    assert not scalar


def test_the_c_library_is_recognised_as_scalar() -> None:
    assert not packed_loops(assembly("lgamma"))


def test_reductions_with_maximum_are_packed() -> None:
    text = """
@njit(error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"})
def largest(x):
    result = x[0]
    for i in range(x.size):
        result = maximum(result, x[i])
    return result
"""
    scope = dict(MODULE)
    exec(text, scope)
    x = np.random.default_rng(0).normal(size=1001)
    assert scope["largest"](x) == x.max()
    listing = scope["largest"].inspect_asm(scope["largest"].signatures[0])
    assert any(("vmaxpd" in line and "ymm" in line) or "zmm" in line for body in loops(listing) for line in body)
    x[500] = np.nan
    assert np.isnan(scope["largest"](x))
