"""A corpus of a few kilobytes in memory, and trials that take a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.trial import Trial
from harness.workload import Context, Outcome
from harness.workloads import language_model
from harness.workloads._language_task import LanguageTask


class TinyCorpus:
    """Digits counting up: learnable in a few steps."""

    digest = "tiny"
    vocab_size = 256
    bytes_per_token = 1.0

    def __init__(self, dtype: str = "uint8") -> None:
        text = " ".join(str(i) for i in range(6000)).encode()
        tokens = np.frombuffer(text, np.uint8).astype(dtype)
        self._splits = {
            "train": tokens[:-6000], "validation": tokens[-6000:-3000], "test": tokens[-3000:],
        }

    def split(self, name: str) -> np.ndarray:
        return self._splits[name]


def raw(**sections: Any) -> dict[str, Any]:
    """A small config; sections are merged key by key."""
    out: dict[str, Any] = {
        "model": {"width": 16, "depth": 2, "head_width": 8, "context": 16},
        "training": {
            "steps": 12, "batch_size": 4, "evaluations": 3, "evaluation_tokens": 320, "test_tokens": 480
        },
        "optimizer": {"name": "adamw", "lr": 0.01},
    }
    for name, section in sections.items():
        # A method of another name takes none of the default's fields.
        replace = "name" in section
        out[name] = dict(section) if replace else {**out.get(name, {}), **section}
    return out


def config(**sections: Any) -> language_model.Config:
    return language_model.Config.model_validate(raw(**sections))


def task(seed: int = 0, **sections: Any) -> LanguageTask:
    return LanguageTask(config(**sections), TinyCorpus(), seed)


def context(folder: Path, **fields: Any) -> Context:
    return Context(
        data_folder=folder, work_folder=folder / "work", artifact_folder=folder / "artifacts", **fields
    )


def run(folder: Path, seed: int = 0, fields: dict[str, Any] | None = None, **sections: Any) -> Outcome:
    """One trial, start to end."""
    trial = Trial(workload="language_model", config=raw(**sections), seed=seed)
    return language_model.run(trial, config(**sections), context(folder, **(fields or {})))


class KilledError(Exception):
    """Stands for a kill in mid-trial."""


def run_killed_at(at: int, folder: Path, monkeypatch: pytest.MonkeyPatch, **arguments: Any) -> None:
    """A run that ends before step ``at``, having written the checkpoints it is told to write."""
    batch = LanguageTask.batch

    def killing(self: LanguageTask, step: int, part: int) -> torch.Tensor:
        if step == at:
            raise KilledError
        return batch(self, step, part)

    with monkeypatch.context() as patch:
        patch.setattr(LanguageTask, "batch", killing)
        with pytest.raises(KilledError):
            run(folder, **arguments)
