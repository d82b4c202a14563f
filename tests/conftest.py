"""Shared pieces: a toy workload, a toy suite, and a way to run a plan without workers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from harness import registry, workloads
from harness.fingerprint import trial_fingerprint
from harness.planning.plan import make_plan
from harness.planning.suite import Suite
from harness.records.record import Record, RecordSet
from tests.plugins import GOOD
from tests.terminal import KNOWN, ROOT, SMALL, forget, harness
from tests.toys import toy

TOY_SUITE: dict[str, Any] = {
    "name": "toy_suite",
    "file": "toy.yaml",
    "title": "Toy",
    "question": "Does it work?",
    "workload": "toy",
    "base": {},
    "axes": {"size": {"values": {"small": {"model": {"width": 8}}, "large": {"model": {"width": 16}}}}},
    "arms": {
        "adamw": {"optimizer": {"name": "adamw"}},
        "muon": {"optimizer": {"name": "muon"}, "space": {"optimizer.lr": {"log2": [-6, -4]}}},
        "moved": {"optimizer": {"name": "muon"}, "hyperparameters": {"from": "adamw"}},
    },
    "tuning": {"space": {"optimizer.lr": {"log2": [-9, -6]}}, "budget": 8, "noise_sd": 0.001},
    "seeds": 3,
}


@pytest.fixture
def toy_workload(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes the toy workload known as ``toy``."""
    folder = str(Path(toy.__file__).parent)
    monkeypatch.setattr(workloads, "__path__", [*workloads.__path__, folder])
    return toy


@pytest.fixture
def toy_suite(toy_workload: Any) -> Suite:
    """A suite over the toy workload: a tuned arm, another with its own range, one that takes another's values."""
    return Suite.model_validate(TOY_SUITE)


def run_toy(trial: Any, **changes: Any) -> Record:
    """The record that the toy workload leaves for this trial."""
    config = toy.Config.model_validate(trial.config)
    outcome = toy.run(trial, config, None)
    fields: dict[str, Any] = {
        "trial": trial.model_dump(),
        "status": "diverged" if outcome.diverged_step is not None else "completed",
        "metrics": outcome.metrics,
        "diverged_step": outcome.diverged_step,
        "fingerprint": trial_fingerprint(trial),
        "numerics_class": "toy",
        "seconds": {"total": 0.1},
    }
    return Record.model_validate({**fields, **changes})


def finish(
    suite: Suite, records: RecordSet | None = None, tmp: Path = Path("/nonexistent"), **kwargs: Any
) -> tuple[Any, RecordSet, list[int]]:
    """Plan and run round by round; (final plan, records, trials per round)."""
    records = records or RecordSet()
    rounds = []
    for _ in range(50):
        plan = make_plan(suite, records, tmp, **kwargs)
        todo = {i.planned.trial.identity: i.planned.trial for i in plan.pending}
        if not todo:
            return plan, records, rounds
        rounds.append(len(todo))
        for t in todo.values():
            records.add(run_toy(t))
    raise AssertionError("the plan never ends")


# --- plug-ins -----------------------------------------------------------------------------------------------


@pytest.fixture
def clean_registry(monkeypatch):
    """Forgets what a test registers; what others registered before stays."""
    for name in KNOWN:
        monkeypatch.setattr(registry, name, {})
    yield
    forget(registry.loaded_plugins())


@pytest.fixture
def plugin(tmp_path):
    """Writes a plug-in's file."""

    def write(text=GOOD, name="mine.py"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


# --- the command on a small text ------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def text(tmp_path_factory):
    """Two hundred small files of this project's own source."""
    path = tmp_path_factory.mktemp("text") / "mine.txt"
    sources = sorted((ROOT / "harness").rglob("*.py"))
    path.write_text("\n".join(p.read_text(encoding="utf-8") for p in sources), encoding="utf-8")
    return f"base.data.path={path}"


@pytest.fixture(scope="session")
def smoke(tmp_path_factory, text):
    """(results folder, words of the command) of muon_scaling at profile smoke."""
    results = tmp_path_factory.mktemp("smoke") / "results"
    words = ["muon_scaling", "profile=smoke", text, *SMALL]
    done = harness("run", *words, "--results", results, "--no-track")
    assert "24 of 24 trials done" in done.stdout, done.stdout
    return results, words
