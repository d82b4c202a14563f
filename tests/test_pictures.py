"""Suites on pictures as a user runs them: from a folder, by README's command, and by a change of the workload."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.records.record import Record
from harness.records.store import Store
from tests.terminal import ROOT, harness

README = (ROOT / "README.md").read_text(encoding="utf-8")
FEW = ["base.training.tokens_per_parameter=null", "base.training.evaluations=2"]
HERE = ["--no-track", "--executor", "inline"]


def photos(root: Path) -> None:
    """Two classes of 70: bright above, or bright below; of several sizes and formats, and a file that is none."""
    generator = np.random.default_rng(0)
    for name, above in {"above": True, "below": False}.items():
        (root / name).mkdir(parents=True)
        for i in range(70):
            height, width = 30 + i % 7, 30 + i % 5
            pixels = generator.integers(0, 120, (height, width, 3))
            half = slice(None, height // 2) if above else slice(height // 2, None)
            pixels[half] += 100
            image = Image.fromarray(pixels.astype(np.uint8))
            (image.convert("L") if i % 3 == 0 else image).save(root / name / f"{i}.{('png', 'jpg')[i % 2]}")
    (root / "above" / "list.txt").write_text("1 to 70")


def records(results: Path) -> list[Record]:
    return [r for of in Store(results).load().by_identity.values() for r in of]


def test_a_vision_transformer_trains_from_a_folder_by_the_readmes_command(tmp_path: Path) -> None:
    _, suite = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (command,) = re.findall(r"^    harness (run pictures.yaml [^#]+?) *(?:#.*)?$", README, re.MULTILINE)
    assert "workload: image_classifier" in suite
    (tmp_path / "pictures.yaml").write_text(suite)
    photos(tmp_path / "photos")
    few = [*FEW, "base.training.steps=30", "--only", "arm=adamw,size=d16"]
    harness(*command.split(), *few, *HERE, cwd=tmp_path)
    found = records(tmp_path / "results")
    assert found
    assert {r.trial.workload for r in found} == {"image_classifier"}
    for record in found:
        assert record.status == "completed"
        assert record.metrics["test_accuracy"] > 0.9
        assert record.metrics["trivial_loss"] == pytest.approx(np.log(2))
        assert any("1 files were left out; the first: above/list.txt" in note for note in record.notes)
    # The folder is not needed again: its digest is in each trial.
    (tmp_path / "photos").rename(tmp_path / "moved")
    harness("report", "pictures.yaml", "profile=smoke", *few[:-2], cwd=tmp_path)
    report = tmp_path / "results" / "report" / "smoke"
    assert all(claim["verdict"] is None for claim in json.loads((report / "report.json").read_text())["claims"])
    assert "nats per picture" in (report / "index.html").read_text()


@pytest.mark.parametrize(("suite", "optimizers", "probe", "part"), [
    ("effective_rank", {"adamw", "muon"}, "spectra", "size=d16"),
    ("mup_transfer", {"adamw"}, "coordinate", "arm=mup"),
])  # fmt: skip
def test_a_suite_runs_on_pictures_by_a_change_of_its_workload(
    suite: str, optimizers: set[str], probe: str, part: str, tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text(f"defaults: [{suite}, _self_]\nworkload: image_classifier\n")
    harness("run", "mine.yaml", "profile=smoke", *FEW, "base.training.steps=4", "--only", part, *HERE, cwd=tmp_path)
    found = records(tmp_path / "results")
    assert {r.trial.config["optimizer"]["name"] for r in found} == optimizers
    assert {r.trial.workload for r in found} == {"image_classifier"}
    assert all(r.status == "completed" for r in found)
    assert any(r.probes[probe].rows for r in found if probe in r.probes)
