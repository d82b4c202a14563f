"""Jobs below a test's own folder, and servers that are kept from test to test."""

import pytest

from harness.execution.slots import Slot
from tests.execution.bench import Bench


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.fixture(autouse=True)
def no_name_of_the_test(monkeypatch):
    """Servers are kept from test to test, though pytest names each test in a variable."""
    environment = Slot.environment

    def without(slot):
        return {k: v for k, v in environment(slot).items() if k != "PYTEST_CURRENT_TEST"}

    monkeypatch.setattr(Slot, "environment", without)
