"""nanoGPT-style token files, with and without header."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import data
from harness.errors import DataError
from tests.data.texts import lines, write_tokens

TOKENS = np.random.default_rng(0).integers(0, 50257, 60_000)


def joined(corpus: data.Corpus) -> np.ndarray:
    return np.concatenate([corpus.split(s) for s in data.SPLITS])


def test_bare_and_headed_files_hold_the_same_tokens(tmp_path: Path) -> None:
    bare = data.load({"path": str(write_tokens(tmp_path / "bare.bin", TOKENS))}, tmp_path / "d")
    headed_file = write_tokens(tmp_path / "headed.bin", TOKENS, (20240520, 1, len(TOKENS)))
    headed = data.load({"path": str(headed_file)}, tmp_path / "d")
    assert bare.digest == headed.digest
    assert bare.split("train").dtype == np.uint16
    np.testing.assert_array_equal(joined(headed), TOKENS)
    assert [headed.num_tokens(s) for s in data.SPLITS] == [56_400, 1_800, 1_800]
    assert headed.vocab_size == TOKENS.max() + 1


def test_shards_of_a_folder_are_one_stream_in_name_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.data.token_files.BLOCK", 777)
    (tmp_path / "shards").mkdir()
    for i, piece in enumerate(np.array_split(TOKENS, 7)):
        write_tokens(tmp_path / "shards" / f"train_{i:03}.bin", piece, (20240520, 1, len(piece)))
    corpus = data.load({"path": str(tmp_path / "shards"), "vocab_size": 50304}, tmp_path / "d")
    np.testing.assert_array_equal(joined(corpus), TOKENS)
    assert corpus.vocab_size == 50304


def test_a_validation_file_is_the_validation_split(tmp_path: Path) -> None:
    train = write_tokens(tmp_path / "train.bin", TOKENS[:50_000])
    val = write_tokens(tmp_path / "val.bin", TOKENS[50_000:])
    corpus = data.load({"path": str(train), "validation": str(val), "test_share": 0.1}, tmp_path / "d")
    np.testing.assert_array_equal(corpus.split("train"), TOKENS[:45_000])
    np.testing.assert_array_equal(corpus.split("test"), TOKENS[45_000:50_000])
    np.testing.assert_array_equal(corpus.split("validation"), TOKENS[50_000:])


@pytest.mark.parametrize(("train", "val", "test"), [
    ("train.bin", "val.bin", ""), ("fineweb_train_000001.bin", "fineweb_val_000000.bin", ""),
    ("a/train.bin", "val/0.bin", "test/0.bin"),
])  # fmt: skip
def test_a_folders_own_validation_file_is_not_trained_on(tmp_path: Path, train: str, val: str, test: str) -> None:
    root = tmp_path / "test"  # Its own name says nothing.
    pieces = dict(zip((train, val, test), np.split(TOKENS, [45_000, 52_000]), strict=True))
    for name, piece in pieces.items():
        if name:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            write_tokens(root / name, piece)
    corpus = data.load({"path": str(root), "test_share": 0.1}, tmp_path / "d")
    np.testing.assert_array_equal(corpus.split("validation"), TOKENS[45_000:52_000])
    np.testing.assert_array_equal(corpus.split("train"), TOKENS[: 45_000 if test else 40_500])
    np.testing.assert_array_equal(corpus.split("test"), TOKENS[52_000:] if test else TOKENS[40_500:45_000])
    assert corpus.about["files"] == {"train": 1, "validation": 1} | ({"test": 1} if test else {})
    same = data.load({"path": str(root), "validation": str(root / val), "test_share": 0.1}, tmp_path / "d")
    assert same.digest == corpus.digest


def test_a_validation_file_beside_the_folders_own_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokens").mkdir()
    for name in ("tokens/train.bin", "tokens/val.bin", "other.bin"):
        write_tokens(tmp_path / name, TOKENS)
    spec = {"path": str(tmp_path / "tokens"), "validation": str(tmp_path / "other.bin")}
    with pytest.raises(DataError, match=r"other\.bin, but the folder has its own, val\.bin; remove validation, or"):
        data.load(spec, tmp_path / "d")
    corpus = data.load({**spec, "pattern": "train*"}, tmp_path / "d")
    np.testing.assert_array_equal(corpus.split("validation"), TOKENS)


def test_shards_of_validation_alone_are_what_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "tokens").mkdir()
    for i, piece in enumerate(np.array_split(TOKENS, 3)):
        write_tokens(tmp_path / "tokens" / f"val_{i}.bin", piece)
    np.testing.assert_array_equal(joined(data.load({"path": str(tmp_path / "tokens")}, tmp_path / "d")), TOKENS)


@pytest.mark.parametrize(("content", "message"), [
    (b"", "t.bin: empty"),
    (b"\xff" * 4001, "4,001 bytes is odd"),
    (np.array([20240520, 1], "<i4").tobytes(), "its header is cut off"),
    (np.array([20240520, 2, 8, *[0] * 253], "<i4").tobytes() + bytes(16), "header of version 2; only version 1"),
    (np.array([20240520, 1, 9, *[0] * 253], "<i4").tobytes() + bytes(16), "says 9 tokens, the file holds 8"),
    (np.array([20240520, 1, 0, *[0] * 253], "<i4").tobytes(), "empty: its header says 0 tokens"),
    (np.array([20240801, 7, 4, *[0] * 253], "<i4").tobytes() + bytes(16), "uint32 tokens"),
    (bytes(4000), "too small: 60 tokens in validation|too small: 1,880 tokens"),
])
def test_broken_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "t.bin").write_bytes(content)
    with pytest.raises(DataError, match=message):
        data.load({"path": str(tmp_path / "t.bin")}, tmp_path / "d")


def test_a_token_above_the_vocabulary_is_named_with_its_place(tmp_path: Path) -> None:
    tokens = TOKENS % 300
    tokens[1234] = 999
    file = write_tokens(tmp_path / "t.bin", tokens, (20240520, 1, len(tokens)))
    with pytest.raises(DataError, match=r"t\.bin: token 999 at position 1,234 is not below vocab_size 300"):
        data.load({"path": str(file), "vocab_size": 300}, tmp_path / "d")
    assert data.load({"path": str(file), "vocab_size": 1000}, tmp_path / "d").vocab_size == 1000


@pytest.mark.parametrize(("extra", "message"), [
    ({"tokenizer": "bpe"}, "bin files hold tokens already"),
    ({"field": "text"}, "key 'field' has no meaning for bin files"),
    ({"split_by": "documents"}, "bin files have no documents"),
    ({"duplicates": "drop"}, "bin files have no documents; remove duplicates"),
    ({"validation": "other.txt"}, "text, but .* is bin"),
])
def test_keys_that_make_no_sense_for_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("other.txt").write_text(lines(2000))
    write_tokens(Path("t.bin"), TOKENS)
    with pytest.raises(DataError, match=message):
        data.load({"path": "t.bin", **extra}, tmp_path / "d")
    with pytest.raises(DataError, match="the splits must have one format"):
        data.load({"path": "other.txt", "validation": "t.bin"}, tmp_path / "d")
