"""`harness doctor` on machines that are not this one."""

from __future__ import annotations

import pytest

from harness.commands import _examination, doctor

FIGURES = {"fp32_gflops": 50.0, "bf16_gflops": 100.0, "training_tokens_per_second": 20_000.0}


@pytest.fixture
def machine(monkeypatch):
    def make(gpu_tokens=None):
        cuda = [] if gpu_tokens is None else [
            {"name": "a card", "memory_free_gib": 100.0, **FIGURES, "training_tokens_per_second": gpu_tokens}
        ]  # fmt: skip
        monkeypatch.setattr(_examination, "measure", lambda folder: {
            "cpu_model": "a cpu", "cpu_capability": "AVX2", "cpus": 2, "cpu": {"1": FIGURES, "2": FIGURES},
            "cuda": cuda, "memory_gib": 24.0, "memory_free_gib": 20.0, "disk_free_gib": 1.0,
        })  # fmt: skip

    return make


def test_without_a_gpu_the_default_is_cpu_and_what_is_missing_is_said(machine):
    machine()
    found = _examination.examine()
    assert found["default_profile"] == "cpu"
    text = doctor.as_text(found)
    assert "no cuda here" in text
    assert "harness execute round.zip" in text
    assert "disk space" in text
    smoke = next(p for p in found["profiles"] if p["profile"] == "smoke")
    assert smoke["estimated_minutes"] < 5


@pytest.mark.parametrize(("tokens", "profile"), [(1e9, "gpu"), (1e3, "cpu")])
def test_gpu_is_the_default_only_where_it_fits_its_budget(machine, tokens, profile):
    machine(tokens)
    assert _examination.examine()["default_profile"] == profile


def test_this_machine_is_examined():
    found = doctor.as_text(_examination.examine())
    assert "GFLOP/s fp32" in found
    assert "default profile" in found
