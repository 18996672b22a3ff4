"""Settings of all tests."""

import os

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
