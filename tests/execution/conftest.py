import pytest

from harness.execution.slots import Slot


@pytest.fixture(autouse=True)
def no_name_of_the_test(monkeypatch):
    """Servers are kept from test to test, though pytest names each test in a variable."""
    environment = Slot.environment

    def without(slot):
        return {k: v for k, v in environment(slot).items() if k != "PYTEST_CURRENT_TEST"}

    monkeypatch.setattr(Slot, "environment", without)
