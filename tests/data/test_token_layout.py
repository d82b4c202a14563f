"""Whether a bare file holds what it is read as: each type named, and tokens that are tokens let through."""

from __future__ import annotations

import gzip
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import data
from harness.data.token_layout import DTYPES, sniffed
from harness.errors import DataError
from tests.data.texts import lines


def zipf(vocab: int, count: int = 60_000, seed: int = 0) -> np.ndarray:
    """Tokens whose numbers follow their frequency, as byte-pair encoding's do: p(k) ~ 1 / (k + 3)."""
    weights = 1 / (np.arange(vocab) + 3)
    return np.random.default_rng(seed).choice(vocab, count, p=weights / weights.sum())


STREAMS = {
    "letters": zipf(65), "bases": np.random.default_rng(0).integers(0, 4, 60_000), "small": zipf(512),
    "gpt-2": zipf(50257), "uniform": np.random.default_rng(0).integers(0, 50257, 60_000),
    "every number": np.random.default_rng(0).integers(0, 65536, 60_000), "one": np.full(60_000, 7),
    "runs": np.repeat(zipf(50257, 6_000), 10), "high alone": 65535 - zipf(300), "few": zipf(50257, 2_000),
}  # fmt: skip


@pytest.mark.parametrize("stream", STREAMS)
def test_tokens_are_let_through(tmp_path: Path, stream: str) -> None:
    file = tmp_path / "t.bin"
    file.write_bytes(STREAMS[stream].astype("<u2").tobytes())
    sniffed(file)


WIDE = ("uint32", "int32", "int64", "uint16_be", "int32_be", "int64_be")


@pytest.mark.parametrize("dtype", WIDE)
@pytest.mark.parametrize("stream", ["letters", "small", "gpt-2", "uniform", "runs", "one"])
def test_other_types_are_named_and_read_where_given(tmp_path: Path, stream: str, dtype: Any) -> None:
    tokens = STREAMS[stream]
    file = tmp_path / "t.bin"
    file.write_bytes(tokens.astype(DTYPES[dtype]).tobytes())
    # Up to 2^31 the two are the same bytes.
    said = "int32" if dtype == "uint32" else dtype
    with pytest.raises(DataError, match=rf"t\.bin: these look like {said} tokens, .*give dtype: {said}, or"):
        data.load({"path": str(file)}, tmp_path / "d")
    corpus = data.load({"path": str(file), "dtype": said}, tmp_path / "d")
    np.testing.assert_array_equal(np.concatenate([corpus.split(s) for s in data.SPLITS]), tokens)
    assert corpus.split("train").dtype == np.uint16


@pytest.mark.parametrize("dtype", ["int32", "int64", "int32_be", "int64_be"])
@pytest.mark.parametrize("tokens", [zipf(128_000), np.where(np.arange(60_000) % 9, zipf(50257), -100)])
def test_wide_tokens_of_large_vocabularies_and_with_padding_are_named(
    tmp_path: Path, dtype: Any, tokens: np.ndarray
) -> None:
    file = tmp_path / "t.bin"
    file.write_bytes(tokens.astype(DTYPES[dtype]).tobytes())
    with pytest.raises(DataError, match=f"these look like {dtype} tokens"):
        data.load({"path": str(file)}, tmp_path / "d")
    at = int(np.argmax((tokens < 0) | (tokens > 65535)))
    with pytest.raises(DataError, match=rf"token {tokens[at]} at position {at:,} is not from 0 to 65,535"):
        data.load({"path": str(file), "dtype": dtype}, tmp_path / "d")


def saved(save: Any) -> bytes:
    out = io.BytesIO()
    save(out)
    return out.getvalue()


def zipped(out: io.BytesIO) -> None:
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("data.pkl", b"x" * 5000)


TEXT = lines(6000)
FOREIGN = {
    "npy": (saved(lambda out: np.save(out, zipf(50257).astype("<u2"))), "an array saved by NumPy .*tofile"),
    "npz": (saved(zipped), "a zip archive"),
    "pickle": (pickle.dumps(list(range(3000)), protocol=4), "a Python pickle"),
    "gzip": (gzip.compress(TEXT.encode()), "a gzip file; unpack it"),
    "text": (TEXT.encode(), "it reads as text; give format: text"),
    "ascii": (b"To be, or not to be.\r\n\tThat is the question.\n" * 100, "it reads as text"),
    "long text": (lines(1 << 20)[:-1].encode() + b"\xc3\xa9" * 9, "it reads as text"),
    "UTF-16": (TEXT.encode("utf-16"), "text in UTF-16"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_files_that_hold_no_tokens_are_told_by_what_they_are(tmp_path: Path, kind: str) -> None:
    content, message = FOREIGN[kind]
    file = tmp_path / "t.bin"
    file.write_bytes(content)
    with pytest.raises(DataError, match=rf"t\.bin: not tokens: {message}"):
        data.load({"path": str(file)}, tmp_path / "d")


def test_a_text_cut_within_a_character_is_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "t.bin"
    file.write_text("学習" * 2000)
    for size in (1200, 1201, 1202):
        monkeypatch.setattr("harness.data.token_layout.SAMPLE", size)
        with pytest.raises(DataError, match="reads as text"):
            sniffed(file)


def test_what_is_said_of_a_file_is_believed(tmp_path: Path) -> None:
    file = tmp_path / "t.bin"
    file.write_text(TEXT * 10)
    corpus = data.load({"path": str(file), "dtype": "uint8"}, tmp_path / "d")
    assert b"".join(corpus.split(s).astype("u1").tobytes() for s in data.SPLITS) == TEXT.encode() * 10
    file.write_bytes(zipf(65).astype("<i4").tobytes())
    assert data.load({"path": str(file), "dtype": "uint16"}, tmp_path / "d").about["largest_token"] == 64
    as_text = data.load({"path": str(file), "format": "text", "split_by": "position"}, tmp_path / "d")
    assert as_text.vocab_size == 256


@pytest.mark.parametrize(("content", "extra", "message"), [
    (bytes(4002), {"dtype": "int32"}, "4,002 bytes is no multiple of 4, so these are not int32 tokens"),
    (np.array([20240520, 1, 8, *[0] * 253], "<i4").tobytes() + bytes(16), {"dtype": "int32"},
     "its header says uint16 tokens, and dtype says int32; remove dtype"),
    (bytes(4000), {"dtype": "float32"}, "dtype.*uint8.*int64"),
])  # fmt: skip
def test_a_dtype_that_does_not_fit_is_refused(tmp_path: Path, content: bytes, extra: Any, message: str) -> None:
    (tmp_path / "t.bin").write_bytes(content)
    with pytest.raises(DataError, match=message):
        data.load({"path": str(tmp_path / "t.bin"), **extra}, tmp_path / "d")


def test_a_dtype_is_for_tokens_alone(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text(TEXT)
    with pytest.raises(DataError, match="dtype is for bin files, and this is text; remove it, or give format: bin"):
        data.load({"path": str(tmp_path / "t.txt"), "dtype": "int32"}, tmp_path / "d")
    with pytest.raises(DataError, match="key 'dtype' has no meaning for an embedded corpus"):
        data.load({"name": "python_sources", "dtype": "int32"}, tmp_path / "d")
