"""Byte-level BPE over a byte corpus."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from harness import data
from harness.data import bpe
from harness.errors import DataError
from tests.data.texts import documents, jsonl, lines


def decoded(corpus: data.Corpus, split: str) -> bytes:
    """The bytes behind a split, token by token: an independent reading of the vocabulary."""
    tokenizer = tokenizers.Tokenizer.from_file(str(corpus.path / "tokenizer.json"))
    pieces = np.split(corpus.split(split), np.flatnonzero(corpus.split(split) == 0) + 1)
    texts = [tokenizer.decode([int(t) for t in piece if t]).encode() for piece in pieces]
    return b"".join(t + b"\0" * (0 in piece) for t, piece in zip(texts, pieces, strict=True))


def test_tokens_decode_to_the_bytes_and_bytes_are_counted_alike(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [{"text": d} for d in documents(600)])
    spec = {"path": str(path), "tokenizer": "bpe", "vocab_size": 400}
    corpus = data.load(spec, tmp_path / "d")
    base = data.load({"path": str(path)}, tmp_path / "d")
    assert corpus.vocab_size == 400 and corpus.about["base"] == base.digest
    for split in data.SPLITS:
        assert corpus.split(split).max() < 400
        assert decoded(corpus, split) == base.split(split).tobytes()
        assert corpus.bytes_per_token_of(split) * corpus.num_tokens(split) == pytest.approx(base.num_tokens(split))
    assert corpus.bytes_per_token > 1.5


def test_the_same_data_and_settings_give_the_same_digest(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(lines(200_000))
    digests = {
        data.digest({"path": str(path), "tokenizer": "bpe", "vocab_size": 300 + extra}, tmp_path / folder)
        for folder, extra in (("d", 0), ("e", 0), ("f", 0))
    }
    assert len(digests) == 1
    assert data.digest({"path": str(path), "tokenizer": "bpe", "vocab_size": 310}, tmp_path / "d") not in digests


def test_the_tokenizer_sees_the_train_split_only(tmp_path: Path) -> None:
    train, first, second = lines(200_000), lines(20_000, 1), lines(20_000, 1) + "zq" * 2_000
    (tmp_path / "t.txt").write_text(train)
    saved = []
    for text in (first, second):
        (tmp_path / "v.txt").write_text(text)
        spec = {"path": str(tmp_path / "t.txt"), "validation": str(tmp_path / "v.txt"), "tokenizer": "bpe",
                "vocab_size": 300}
        saved.append((data.load(spec, tmp_path / "d").path / "tokenizer.json").read_bytes())
    assert saved[0] == saved[1]


def test_a_text_too_poor_for_the_vocabulary_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("abc\n" * 20_000)
    with pytest.raises(DataError, match=r"gives only \d+ BPE tokens, vocab_size is 5,000; give a smaller"):
        data.load({"path": str(tmp_path / "a.txt"), "tokenizer": "bpe", "vocab_size": 5000}, tmp_path / "d")


@given(
    st.lists(st.text(alphabet="a\nbé学", max_size=40), max_size=8),
    st.integers(5, 50), st.integers(1, 60),
)
def test_pieces_join_to_the_text(texts: list[str], chunk: int, block: int) -> None:
    raw = "".join(t + "\0" for t in texts).encode()
    before = bpe.CHUNK, bpe.BLOCK
    bpe.CHUNK, bpe.BLOCK = chunk, block
    try:
        pieces = list(bpe._chunks(np.frombuffer(raw, np.uint8)))
    finally:
        bpe.CHUNK, bpe.BLOCK = before
    assert "".join("\0" if p is None else p for p in pieces).encode() == raw
    assert pieces.count(None) == len(texts)
