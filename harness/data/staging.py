"""A corpus on its way: written beside, checked, synced, and renamed to the digest of its content."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from harness.data.corpus import DTYPES, FORMAT, META, SPLITS, Corpus, content_digest, open_corpus
from harness.data.spec import Spec
from harness.errors import DataError
from harness.files import make_folder, sealed, sync, sync_folder, write_atomically

MIN_TOKENS = 1024
"""Least size of a split."""

Progress = Callable[[int, int | None], None]
"""Called with bytes done and bytes in all (None if unknown)."""


class SplitWriter:
    """Writes one split and counts and hashes what it writes."""

    def __init__(self, file: Path):
        self._file: BinaryIO = file.open("wb")
        self._hash = hashlib.sha256()
        self.num_bytes = 0

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)
        self.num_bytes += len(data)

    def flush(self) -> None:
        """Let readers of the file see all that was written."""
        self._file.flush()

    def close(self) -> str:
        """Sync; the SHA-256 of all that was written."""
        sync(self._file)
        self._file.close()
        return self._hash.hexdigest()


class Staging:
    """A temporary folder in which a corpus grows until it is renamed to its digest."""

    def __init__(self, folder: Path, key: str):
        self.folder = folder
        self.path = folder / "building" / key
        self.discard()  # What a killed build left: the caller holds the key's lock.
        self.path.mkdir(parents=True)
        self.splits = {split: SplitWriter(self.path / f"{split}.bin") for split in SPLITS}

    def discard(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def files(self) -> dict[str, Path]:
        """The splits as far as they are written, to be read."""
        for writer in self.splits.values():
            writer.flush()
        return {split: self.path / f"{split}.bin" for split in SPLITS}

    def finish(
        self, spec: Spec, *, vocab_size: int, dtype: str, about: Mapping[str, Any],
        num_bytes: Mapping[str, int | None] | None = None, tokenizer: str = "bytes",
    ) -> Corpus:
        """Check the sizes, write meta.json, sync everything and rename. ``num_bytes``: text behind each split."""
        itemsize = DTYPES[dtype].itemsize
        splits: dict[str, dict[str, Any]] = {}
        for name, writer in self.splits.items():
            sha256, tokens = writer.close(), writer.num_bytes // itemsize
            splits[name] = {
                "tokens": tokens, "bytes": num_bytes[name] if num_bytes else tokens, "sha256": sha256
            }
        if all(s["tokens"] == 0 for s in splits.values()):
            raise DataError(f"data {spec.label!r}: empty: there is no text in it")
        for name, numbers in splits.items():
            if numbers["tokens"] < MIN_TOKENS:
                raise DataError(_too_small(spec, name, numbers["tokens"]))
        meta: dict[str, Any] = {
            "format": FORMAT, "name": spec.label, "vocab_size": vocab_size, "dtype": dtype,
            "tokenizer": tokenizer, "splits": splits, "about": dict(about), "spec": spec.canonical(),
            "built": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "harness": _version(),
        }
        meta["digest"] = content_digest(meta)
        write_atomically(self.path / META, sealed(meta).encode())
        return publish(self.path, self.folder, meta["digest"])


def _version() -> str:
    try:
        return importlib.metadata.version("method-harness")
    except importlib.metadata.PackageNotFoundError:
        return ""


def publish(built: Path, folder: Path, digest: str) -> Corpus:
    """Rename a complete folder to its digest; a whole corpus that is there already stays, a damaged one goes."""
    target = folder / "corpora" / digest
    make_folder(target.parent)
    sync_folder(built)
    try:
        present = open_corpus(folder, digest)
    except DataError:
        if target.exists():
            shutil.rmtree(target)
        try:
            built.rename(target)
        except OSError:
            return open_corpus(folder, digest)  # Somebody else was faster.
        sync_folder(target.parent)
        return open_corpus(folder, digest)
    shutil.rmtree(built)
    return present


def _too_small(spec: Spec, split: str, tokens: int) -> str:
    own = getattr(spec, split, None) if split != "train" else None
    if own is not None:
        fix = f"give a larger {split} ({own})"
    elif split == "train":
        fix = "give more text"
    else:
        share = getattr(spec, f"{split}_share")
        fix = f"give more text, a larger {split}_share (now {share:g}), a {split} of its own, or split_by: position"
    return f"data {spec.label!r}: too small: {tokens:,} tokens in {split}, at least {MIN_TOKENS:,} needed; {fix}"
