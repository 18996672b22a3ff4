"""Settings of all tests."""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from graphad.emit import kernels
from tests.memory import Memory

# Drawing takes longer where other processes share the machine; that says nothing about the code.
settings.register_profile("default", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("default")
# A change must not land or fail by chance: in CI random graphs are the same each time, at developers' desks new ones.
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, print_blob=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    """The memory of kernels that are loaded from now on."""
    counted = Memory()
    monkeypatch.setattr(kernels, "_address", counted.address)
    return counted


# Test modules share a generator among their tests: each test starts it anew, so that no test's data depend on which
# others ran before it in the same process.
TESTS = Path(__file__).parent
STARTS: list[tuple[np.random.Generator, Any]] = []


def pytest_collection_finish() -> None:
    """Remember where the generators of the test modules start."""
    modules = [m for m in list(sys.modules.values()) if str(TESTS) in (getattr(m, "__file__", None) or "")]
    generators = {id(g): g for m in modules for g in vars(m).values() if isinstance(g, np.random.Generator)}
    STARTS.extend((g, g.bit_generator.state) for g in generators.values())


def pytest_runtest_setup() -> None:
    """Put them back there."""
    for generator, state in STARTS:
        generator.bit_generator.state = state
