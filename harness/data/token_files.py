"""nanoGPT-style token files: uint16, little-endian, bare or after a header of 256 int32."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.data import readers
from harness.data.corpus import SPLITS, Corpus
from harness.data.spec import DataSpec
from harness.data.staging import Progress, Staging
from harness.errors import DataError

MAGIC = 20240520
MAGIC_UINT32 = 20240801
"""The same layout with uint32 tokens (vocabularies above 65,536)."""
VERSION = 1
HEADER_BYTES = 256 * 4
BLOCK = 1 << 20
"""Tokens read at once."""


@dataclass(frozen=True)
class TokenFile:
    """Where a file's tokens lie."""

    file: Path
    offset: int
    """Bytes before the first token."""
    num_tokens: int


def read_header(file: Path) -> TokenFile:
    """Size and layout of a token file, checked against each other.

    Raises DataError: odd number of bytes, empty, header of another version, or a count that does not fit.
    """
    size = file.stat().st_size
    with file.open("rb") as handle:
        header = np.frombuffer(handle.read(HEADER_BYTES)[: size // 4 * 4], "<i4")
    magic = int(header[0]) if len(header) else 0
    if magic == MAGIC_UINT32:
        raise DataError(f"{file}: holds uint32 tokens (magic {magic}); only uint16 is read; "
                        "tokenize with a vocabulary of at most 65,536")
    if magic != MAGIC:
        if size == 0:
            raise DataError(f"{file}: empty")
        if size % 2:
            raise DataError(f"{file}: {size:,} bytes is odd, so these are not uint16 tokens; was it cut off?")
        return TokenFile(file, 0, size // 2)
    if len(header) < 256:
        raise DataError(f"{file}: its header is cut off ({size} bytes, {HEADER_BYTES} expected)")
    version, count = int(header[1]), int(header[2])
    if version != VERSION:
        raise DataError(f"{file}: header of version {version}; only version {VERSION} is read")
    if size != HEADER_BYTES + 2 * count:
        raise DataError(f"{file}: its header says {count:,} tokens, the file holds "
                        f"{(size - HEADER_BYTES) / 2:,.0f}; was it cut off?")
    if count == 0:
        raise DataError(f"{file}: empty: its header says 0 tokens")
    return TokenFile(file, HEADER_BYTES, count)


def build_tokens(spec: DataSpec, staging: Staging, progress: Progress | None) -> Corpus:
    """A corpus from token files: train, validation and test by position where they have no file of their own.

    Raises DataError for a token that is not below ``vocab_size``.
    """
    if spec.tokenizer != "bytes":
        raise DataError(f"data {spec.path}: bin files hold tokens already; remove tokenizer: {spec.tokenizer}")
    for key in ("field", "column"):
        if getattr(spec, key) is not None:
            raise DataError(f"data {spec.path}: key {key!r} has no meaning for bin files; remove it")
    if spec.split_by == "documents":
        raise DataError(f"data {spec.path}: bin files have no documents; remove split_by, or set it to position")
    parts = {"train": _files(spec, str(spec.path))}
    parts |= {s: _files(spec, getattr(spec, s)) for s in ("validation", "test") if getattr(spec, s)}
    total = sum(f.num_tokens for f in parts["train"])
    held = {s: int(total * getattr(spec, f"{s}_share")) for s in ("validation", "test") if s not in parts}
    ends = {"train": total - sum(held.values())}
    for split, count in held.items():
        ends[split] = max(ends.values()) + count

    done, largest = 0, 0
    all_tokens = sum(f.num_tokens for files in parts.values() for f in files)
    for source, files in parts.items():
        place = 0
        for file in files:
            for start in range(0, file.num_tokens, BLOCK):
                tokens = _read(file, start, min(BLOCK, file.num_tokens - start))
                largest = max(largest, int(tokens.max()))
                if spec.vocab_size is not None and largest >= spec.vocab_size:
                    at = int(np.argmax(tokens >= spec.vocab_size))
                    raise DataError(f"{file.file}: token {tokens[at]} at position {start + at:,} is not below "
                                    f"vocab_size {spec.vocab_size}; give the vocabulary it was made with")
                for split, piece in _cut(tokens, place, ends) if source == "train" else [(source, tokens)]:
                    staging.splits[split].write(piece.tobytes())
                place += len(tokens)
                done += len(tokens)
                if progress:
                    progress(2 * done, 2 * all_tokens)
    vocab_size = spec.vocab_size or largest + 1
    about: dict[str, Any] = {
        "source": "token files", "path": Path(str(spec.path)).name, "split_by": "position",
        "files": {s: len(files) for s, files in parts.items()},
        "largest_token": largest,
        "vocab_size": "given" if spec.vocab_size else "largest token + 1",
        "bytes_per_token": spec.bytes_per_token,
        "shares": {s: getattr(spec, f"{s}_share") for s in held},
    }
    num_bytes: dict[str, int | None] = dict.fromkeys(SPLITS)
    if spec.bytes_per_token is not None:
        num_bytes = {s: round(staging.splits[s].num_bytes / 2 * spec.bytes_per_token) for s in SPLITS}
    return staging.finish(spec, vocab_size=vocab_size, dtype="uint16", about=about, num_bytes=num_bytes,
                          tokenizer="unknown")


def _files(spec: DataSpec, path: str) -> list[TokenFile]:
    kind, files = readers.resolve(spec, path)
    if kind != "bin":
        raise DataError(f"data {path}: {kind}, but {spec.path} is bin; the splits must have one format")
    return [read_header(f) for f in files]


def _read(file: TokenFile, start: int, count: int) -> np.ndarray:
    tokens = np.fromfile(file.file, "<u2", count, offset=file.offset + 2 * start)
    if len(tokens) != count:
        raise DataError(f"{file.file}: changed while it was read; build again when nothing writes to it")
    return tokens


def _cut(tokens: np.ndarray, place: int, ends: dict[str, int]) -> list[tuple[str, np.ndarray]]:
    """The tokens from ``place`` on, divided where splits end."""
    out, start = [], 0
    for split, end in ends.items():
        stop = min(len(tokens), max(start, end - place))
        if stop > start:
            out.append((split, tokens[start:stop]))
        start = stop
    return out
