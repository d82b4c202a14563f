"""A toy suite's file and its finished run, for commands that work on what is stored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from harness import runner
from harness.planning import compose
from harness.planning.suite import Suite
from harness.records.store import Store
from harness.workload import Metric, workload_module
from tests.conftest import TOY_SUITE, run_toy


class ToyExecutor:
    """Runs a toy trial in no time."""

    capacity = 1

    def run(self, jobs, folders, on_event):
        for job in jobs:
            yield job, run_toy(job.trial)

    def close(self):
        pass


@dataclass(frozen=True)
class ToyRun:
    """A toy suite that has been run."""

    file: Path
    """The suite's YAML."""
    results: Path
    suite: Suite
    store: Store

    def records(self):
        return [r for found in self.store.load().by_identity.values() for r in found]


@pytest.fixture
def toy_run(toy_workload, tmp_path, monkeypatch):
    """The toy suite, run to its end at profile smoke."""
    metrics = {
        "test_loss": Metric(label="test loss", shown=True, compared=True),
        "validation_loss": Metric(label="validation loss", compared=True),
        "flops": Metric(label="FLOPs"),
    }
    monkeypatch.setattr(workload_module("toy"), "METRICS", metrics, raising=False)
    file = tmp_path / "toy_suite.yaml"
    content = {k: v for k, v in TOY_SUITE.items() if k not in ("name", "file")}
    file.write_text(yaml.safe_dump({**content, "profiles": {"smoke": {}}}))
    suite = compose.load(str(file), "smoke")
    store = Store(tmp_path / "results")
    runner.run([suite], store, ToyExecutor())
    return ToyRun(file, store.root, suite, store)
