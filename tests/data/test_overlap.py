"""The share of held-out blocks of four lines that also stand in train."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import data
from harness.data import overlap
from harness.data.overlap import also_in_train, blocks
from tests.data import texts


def files(folder: Path, **splits: str) -> dict[str, Path]:
    for split, text in splits.items():
        (folder / f"{split}.bin").write_bytes(text.encode())
    return {split: folder / f"{split}.bin" for split in splits}


def numbered(*numbers: int) -> str:
    return "".join(f"line {n}\n" for n in numbers)


def test_the_share_counts_blocks_that_train_has_too(tmp_path: Path) -> None:
    found = also_in_train(
        files(
            tmp_path,
            train=numbered(*range(10)) + "\0" + numbered(50, 51, 52, 53),
            # 0-3 and 1-4 are there, 2-5' and 3-6' are not.
            validation=numbered(0, 1, 2, 3, 4, 99, 98) + "\0",
            # Two documents that are there when taken together only; a third too short for a block.
            test=numbered(6, 7) + "\0" + numbered(8, 9, 50, 51, 52, 53) + "\0" + numbered(1, 2, 3),
        ),
        b"\0",
    )
    assert found == {"lines": 4, "blocks": {"validation": 4, "test": 3}, "validation": 0.5, "test": 1 / 3}


def test_indentation_and_empty_lines_make_no_difference(tmp_path: Path) -> None:
    spaced = "\n\n".join(f"    line {n}  " for n in range(5))
    found = also_in_train(files(tmp_path, train=numbered(*range(5)), validation=spaced, test="\n"), b"\0")
    assert found["validation"] == 1.0
    assert found["test"] is None


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_pieces_of_any_size_give_the_same_blocks(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "\0".join(texts.documents(5, 300))
    file = files(tmp_path, train=text)["train"]
    expected = [
        tuple(lines[i : i + 4])
        for lines in ([s.strip() for s in d.encode().split(b"\n") if s.strip()] for d in text.split("\0"))
        for i in range(len(lines) - 3)
    ]
    monkeypatch.setattr(overlap, "BLOCK", size)
    assert len(expected) > 10
    assert list(blocks(file, b"\0")) == expected


def test_a_built_corpus_says_it(tmp_path: Path) -> None:
    shared = "\n".join(f"copied {i}" for i in range(8))
    folder = tmp_path / "texts"
    folder.mkdir()
    for i, document in enumerate(texts.documents(40)):
        (folder / f"{i}.txt").write_text(document + shared, encoding="utf-8")
    spec = {"path": str(folder), "split_by": "documents", "validation_share": 0.2, "test_share": 0.2}
    about = data.load(spec, tmp_path / "data").about["also_in_train"]
    assert about["lines"] == 4
    for split in ("validation", "test"):
        # Each document holds five blocks of its shared end among its own twenty or so.
        assert 0.1 < about[split] < 0.5
