"""Pictures in memory that a small network learns in a few steps, and trials on them that take a second."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness.data import images
from harness.trial import Trial
from harness.workload import Context, Outcome
from harness.workloads import image_classifier
from harness.workloads._image_task import Batch, ImageTask

COUNTS = {"train": 96, "validation": 40, "test": 41}
CLASSES = 3


class TinyPictures:
    """A bright quarter in noise; the class says which (of the first three)."""

    size, channels, classes = 8, 2, ("a", "b", "c")
    mean, std = (40.0, 90.0), (50.0, 60.0)
    left_out = ""
    corpus = SimpleNamespace(name="tiny")

    def __init__(self) -> None:
        generator = np.random.default_rng(5)
        self.splits = {}
        for split, count in COUNTS.items():
            classes = generator.integers(0, CLASSES, count)
            pixels = generator.integers(0, 120, (count, 2, 8, 8))
            for picture, c in zip(pixels, classes, strict=True):
                picture[:, 4 * (c // 2) : 4 * (c // 2) + 4, 4 * (c % 2) : 4 * (c % 2) + 4] += 60
            self.splits[split] = pixels.astype(np.uint8), classes.astype("<u2")

    def split(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        return self.splits[name]


def raw(**sections: Any) -> dict[str, Any]:
    """A small config; sections are merged key by key."""
    out: dict[str, Any] = {
        "model": {"width": 16, "depth": 2, "head_width": 8, "patch": 2},
        "training": {
            "steps": 12, "batch_size": 8, "evaluations": 3, "evaluation_tokens": 32, "test_tokens": 1000
        },
        "optimizer": {"name": "adamw", "lr": 0.01},
    }
    for name, section in sections.items():
        # A method of another name takes none of the default's fields.
        replace = "name" in section
        out[name] = dict(section) if replace else {**out.get(name, {}), **section}
    return out


def config(**sections: Any) -> image_classifier.Config:
    return image_classifier.Config.model_validate(raw(**sections))


def task(seed: int = 0, **sections: Any) -> ImageTask:
    return ImageTask(config(**sections), TinyPictures(), seed)  # type: ignore[arg-type]


def context(folder: Path, **fields: Any) -> Context:
    return Context(
        data_folder=folder, work_folder=folder / "work", artifact_folder=folder / "artifacts", **fields
    )


def trial(seed: int = 0, **sections: Any) -> Trial:
    return Trial(workload="image_classifier", config=raw(**sections), seed=seed)


def run(folder: Path, seed: int = 0, fields: dict[str, Any] | None = None, **sections: Any) -> Outcome:
    """One trial, start to end; ``images.load`` must give TinyPictures."""
    return image_classifier.run(trial(seed, **sections), config(**sections), context(folder, **(fields or {})))


class KilledError(Exception):
    """Stands for a kill in mid-trial."""


def run_killed_at(at: int, folder: Path, monkeypatch: pytest.MonkeyPatch, **arguments: Any) -> None:
    """A run that ends before step ``at``, having written the checkpoints it is told to write."""
    batch = ImageTask.batch

    def killing(self: ImageTask, step: int, part: int) -> Batch:
        if step == at:
            raise KilledError
        return batch(self, step, part)

    with monkeypatch.context() as patch:
        patch.setattr(ImageTask, "batch", killing)
        with pytest.raises(KilledError):
            run(folder, **arguments)


def use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials read these pictures."""
    monkeypatch.setattr(images, "load", lambda *args, **kwargs: TinyPictures())
