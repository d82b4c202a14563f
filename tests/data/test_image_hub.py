"""Pictures of a data set that the `datasets` library reads from a folder."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.data import images
from harness.data.corpus import SPLITS
from harness.errors import DataError
from tests.data.pictures import folder, load, noise

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()


def png(seed: int) -> dict[str, Any]:
    out = io.BytesIO()
    Image.fromarray(noise(seed)).save(out, "PNG")
    return {"bytes": out.getvalue(), "path": None}


def write(
    root: Path, labels: list[Any], feature: Any, pictures: list[Any] | None = None, column: str = "image"
) -> dict[str, Any]:
    """A data set of one file; its spec."""
    rows = {column: pictures or [png(i) for i in range(len(labels))], "label": labels}
    features = datasets.Features({column: datasets.Image(), "label": feature})
    root.mkdir()
    datasets.Dataset.from_dict(rows, features=features).to_parquet(root / "train.parquet")
    return {"format": "images", "dataset": str(root), "size": 8}


def test_rows_are_the_pictures_that_a_folder_of_them_would_be(tmp_path: Path) -> None:
    labels = [i // 60 for i in range(120)]
    pictures = [png(i if i < 60 else 1000 + i - 60) for i in range(120)]
    spec = write(tmp_path / "set", labels, datasets.ClassLabel(names=["cat", "dog"]), pictures)
    found = images.load(spec, tmp_path / "data")
    # By content: to the byte the data set of the folder.
    assert found.corpus.digest == load(folder(tmp_path / "in"), tmp_path / "other").corpus.digest
    assert found.corpus.about["rows"] == 120


@pytest.mark.parametrize(("labels", "kind", "classes"), [
    (["wolf", "cat", "fox"], "string", ("cat", "fox", "wolf")), ([10, 9, 100], "int64", ("9", "10", "100")),
])  # fmt: skip
def test_words_and_numbers_are_classes_in_their_order(
    labels: list[Any], kind: str, classes: tuple[str, ...], tmp_path: Path
) -> None:
    spec = write(tmp_path / "set", labels * 60, datasets.Value(kind))
    found = images.load(spec, tmp_path / "data")
    assert found.classes == classes
    counts = sum(np.bincount(found.split(s)[1], minlength=3) for s in SPLITS)
    assert counts.tolist() == [60, 60, 60]


def test_rows_without_class_or_picture_are_left_out_and_counted(tmp_path: Path) -> None:
    pictures = [png(i) for i in range(126)]
    pictures[1], pictures[2] = None, {"bytes": b"nothing", "path": None}
    labels = [0, 1] * 63
    labels[0] = -1
    spec = write(tmp_path / "set", labels, datasets.ClassLabel(names=["cat", "dog"]), pictures)
    out = images.load(spec, tmp_path / "data").corpus.about["left_out"]
    assert out["files"] == 3
    assert out["named"][:2] == ["row 0: has no class", "row 1: has no picture"]
    assert out["named"][2].startswith("row 2: not a picture")


def test_mistakes_are_named(tmp_path: Path) -> None:
    spec = write(tmp_path / "set", [0, 1] * 60, datasets.ClassLabel(names=["a", "b"]), column="photo")
    with pytest.raises(DataError, match=r"no column 'image'; it has photo, label; give image_column"):
        images.load(spec, tmp_path / "data")
    with pytest.raises(DataError, match=r"column 'label' holds no images; give image_column"):
        images.load({**spec, "image_column": "label"}, tmp_path / "data")
    with pytest.raises(DataError, match=r"no column 'kind'; it has photo, label; give label_column"):
        images.load({**spec, "image_column": "photo", "label_column": "kind"}, tmp_path / "data")
    with pytest.raises(DataError, match=r"column 'photo' holds neither classes, nor numbers or words"):
        images.load({**spec, "image_column": "photo", "label_column": "photo"}, tmp_path / "data")
    with pytest.raises(DataError, match=r"split 'tests': .*check name, subset and split"):
        images.load({**spec, "split": "tests"}, tmp_path / "data")
    spec = write(tmp_path / "third", [0, 1] * 60, datasets.ClassLabel(names=["a", "b", "c"]))
    with pytest.raises(DataError, match=r"class 'c' has no picture that can be read; add some, or take the class"):
        images.load(spec, tmp_path / "data")
