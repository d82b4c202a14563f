"""nanoGPT-style token files: bare tokens, or little-endian uint16 after a header of 256 int32."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.data import readers, token_layout
from harness.data.corpus import SPLITS, Corpus
from harness.data.folders import split_named
from harness.data.spec import DataSpec, TokenType
from harness.data.staging import Progress, Staging
from harness.data.token_layout import DTYPES
from harness.errors import DataError

MAGIC = 20240520
MAGIC_UINT32 = 20240801
"""The same layout with uint32 tokens (vocabularies above 65,536)."""
MOST_TOKENS = 1 << 16
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
    dtype: np.dtype[Any] = DTYPES["uint16"]


def read_header(file: Path, dtype: TokenType | None = None) -> TokenFile:
    """Size and layout of a token file, checked against each other; ``dtype``: what bare tokens are.

    Raises DataError: bytes that are no whole tokens, or look like anything but uint16 where no dtype is given;
    empty; header of another version, of another type than ``dtype``, or a count that does not fit.
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
        if dtype is None:
            token_layout.sniffed(file)
        kind = DTYPES[dtype or "uint16"]
        if size % kind.itemsize:
            uneven = "odd" if kind.itemsize == 2 else f"no multiple of {kind.itemsize}"
            raise DataError(f"{file}: {size:,} bytes is {uneven}, so these are not {dtype or 'uint16'} tokens; "
                            "was it cut off?")
        return TokenFile(file, 0, size // kind.itemsize, kind)
    if dtype not in (None, "uint16"):
        raise DataError(f"{file}: its header says uint16 tokens, and dtype says {dtype}; remove dtype")
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
    """A corpus from token files: validation and test are cut off by position where they have no file of their own.

    Raises DataError for a token that is not below ``vocab_size``.
    """
    if spec.tokenizer != "bytes":
        raise DataError(f"data {spec.path}: bin files hold tokens already; remove tokenizer: {spec.tokenizer}")
    for key in ("field", "column"):
        if getattr(spec, key) is not None:
            raise DataError(f"data {spec.path}: key {key!r} has no meaning for bin files; remove it")
    if spec.duplicates == "drop":
        raise DataError(f"data {spec.path}: bin files have no documents; remove duplicates")
    if spec.split_by == "documents":
        raise DataError(f"data {spec.path}: bin files have no documents; remove split_by, or set it to position")
    parts = _parts(spec)
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


def _parts(spec: DataSpec) -> dict[str, list[TokenFile]]:
    """Split -> its files: those that the spec names, and of a folder those whose names say so (val.bin).

    Raises DataError where both speak of one split, and not of the same files.
    """
    root = Path(str(spec.path)).expanduser()
    named: dict[str, list[TokenFile]] = {"train": [], "validation": [], "test": []}
    everything = _files(spec, str(spec.path))
    for found in everything:
        named[split_named(root, found.file) if root.is_dir() else "train"].append(found)
    if not named["train"]:
        # Shards of one split alone, in a folder of theirs: what is asked for.
        named = {"train": everything, "validation": [], "test": []}
    given = {s: _files(spec, getattr(spec, s)) for s in ("validation", "test") if getattr(spec, s)}
    for split, files in given.items():
        own = {f.file.resolve() for f in named[split]}
        if own - {f.file.resolve() for f in files}:
            raise DataError(
                f"data {spec.path}: {split}: {getattr(spec, split)}, but the folder has its own, "
                f"{named[split][0].file.name}; remove {split}, or choose the train files by pattern"
            )
    return {s: files for s, files in {**named, **given}.items() if files}


def _files(spec: DataSpec, path: str) -> list[TokenFile]:
    kind, files = readers.resolve(spec, path)
    if kind != "bin":
        raise DataError(f"data {path}: {kind}, but {spec.path} is bin; the splits must have one format")
    return [read_header(f, spec.dtype) for f in files]


def _read(file: TokenFile, start: int, count: int) -> np.ndarray:
    """Tokens as little-endian uint16. Raises DataError for one that is none."""
    tokens = np.fromfile(file.file, file.dtype, count, offset=file.offset + file.dtype.itemsize * start)
    if len(tokens) != count:
        raise DataError(f"{file.file}: changed while it was read; build again when nothing writes to it")
    outside = (tokens < 0) | (tokens >= MOST_TOKENS)
    if outside.any():
        at = int(np.argmax(outside))
        raise DataError(f"{file.file}: token {tokens[at]} at position {start + at:,} is not from 0 to "
                        f"{MOST_TOKENS - 1:,}; tokenize with a vocabulary of at most {MOST_TOKENS:,}, and without "
                        "padding")
    return tokens.astype("<u2", copy=False)


def _cut(tokens: np.ndarray, place: int, ends: dict[str, int]) -> list[tuple[str, np.ndarray]]:
    """The tokens from ``place`` on, divided where splits end."""
    out, start = [], 0
    for split, end in ends.items():
        stop = min(len(tokens), max(start, end - place))
        if stop > start:
            out.append((split, tokens[start:stop]))
        start = stop
    return out
