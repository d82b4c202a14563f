"""Every optimizer that ships: killed in mid-run, the training loop goes on from its checkpoint to the bit."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import registry
from harness.training import train
from harness.workload import Outcome
from tests.workloads import tiny

NAMES = [e.name for e in registry.entries("optimizer") if e.origin == "baseline"]
STEPS = 12


def attempt(name: str, folder: Path, killed_at: int | None = None) -> Outcome:
    """A run with a checkpoint after each step; KilledError before step ``killed_at``."""
    task = tiny.task(optimizer={"name": name, "lr": 0.01}, training={"evaluations": 3, "steps": STEPS})
    batch = task.batch

    def killing(step: int, part: int) -> object:
        if step == killed_at:
            raise tiny.KilledError
        return batch(step, part)

    task.batch = killing  # type: ignore[method-assign, assignment]
    return train(task, task.config.training, tiny.context(folder, checkpoint_seconds=0.0))


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_run_resumes_bit_for_bit(name: str, tmp_path: Path) -> None:
    whole = attempt(name, tmp_path / "whole")
    for at in (1, 7):
        with pytest.raises(tiny.KilledError):
            attempt(name, tmp_path / "cut", at)
    resumed = attempt(name, tmp_path / "cut")
    assert (whole.resumed, resumed.resumed) == (0, 2)
    assert resumed.curves == whole.curves
    assert resumed.metrics["test_loss"] == whole.metrics["test_loss"]
    validation = whole.curves["validation_loss"].values
    assert len(set(validation)) == 3, "nothing was trained"
