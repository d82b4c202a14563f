"""A built corpus on disk, and how a spec leads to it.

    <folder>/corpora/<digest>/   meta.json, train.bin, validation.bin, test.bin, tokenizer.json where there is one
    <folder>/index/              (spec, state of its source) -> digest

Opening needs numpy only. The modules that build are imported by name when something must be built, so that
they stay out of the fingerprint of trials: what they produce is identified by the digest already.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import DamagedError, DataError, unknown
from harness.files import unsealed
from harness.trial import digest as digest_of

FORMAT = 1
"""Version of the layout above; part of the digest."""
SPLITS = ("train", "validation", "test")
DTYPES: dict[str, np.dtype[Any]] = {"uint8": np.dtype("uint8"), "uint16": np.dtype("<u2")}
META = "meta.json"
META_KEYS = frozenset({
    "format", "name", "vocab_size", "dtype", "tokenizer", "splits", "about", "spec", "built", "harness", "digest",
})
TOKENIZER = "tokenizer.json"


@dataclass(frozen=True)
class Corpus:
    """Tokens of three splits with their provenance. Open one with :func:`load`."""

    path: Path
    """Its folder."""
    meta: dict[str, Any]
    """What ``meta.json`` holds."""

    @property
    def digest(self) -> str:
        """SHA-256 over tokens, vocabulary, bytes and tokenizer, in hex; equal content, equal digest."""
        return self.meta["digest"]

    @property
    def name(self) -> str:
        return self.meta["name"]

    @property
    def vocab_size(self) -> int:
        """Every token is below it."""
        return self.meta["vocab_size"]

    @property
    def bytes_per_token(self) -> float:
        """Bytes of text behind a token of the validation split; NaN where that is unknown (.bin files)."""
        return self.bytes_per_token_of("validation")

    def bytes_per_token_of(self, split: str) -> float:
        """Bytes of text behind a token of this split, document separators counted as one byte each."""
        numbers = self._split(split)
        return float("nan") if numbers["bytes"] is None else numbers["bytes"] / numbers["tokens"]

    def num_tokens(self, split: str) -> int:
        """Tokens in this split."""
        return self._split(split)["tokens"]

    @property
    def about(self) -> dict[str, Any]:
        """Provenance: files, bytes, documents, what was dropped and why, versions, how it was split."""
        return self.meta["about"]

    @property
    def spec(self) -> dict[str, Any]:
        """The spec that it was built from, fields at their defaults left out."""
        return self.meta["spec"]

    def split(self, name: str) -> np.ndarray:
        """Tokens of ``train``, ``validation`` or ``test``: 1-D, uint8 or uint16, memory-mapped, read-only."""
        self._split(name)
        if name not in self._maps:
            dtype = DTYPES[self.meta["dtype"]]
            self._maps[name] = np.memmap(self.path / f"{name}.bin", dtype=dtype, mode="r")
        return self._maps[name]

    def __reduce__(self) -> tuple[type[Corpus], tuple[Path, dict[str, Any]]]:
        return Corpus, (self.path, self.meta)  # Maps stay behind: another process makes its own.

    @cached_property
    def _maps(self) -> dict[str, np.ndarray]:
        return {}

    def _split(self, name: str) -> dict[str, Any]:
        if name not in SPLITS:
            raise unknown("split", name, SPLITS, f"corpus {self.name!r}")
        return self.meta["splits"][name]


def content_digest(meta: Mapping[str, Any]) -> str:
    """The digest that a corpus with these numbers and hashes has; names and provenance are no part of it."""
    return digest_of({
        "format": meta["format"],
        "vocab_size": meta["vocab_size"],
        "dtype": meta["dtype"],
        "tokenizer": meta["tokenizer"],
        "splits": {s: {k: meta["splits"][s][k] for k in ("tokens", "bytes", "sha256")} for s in SPLITS},
    })


def read_meta(data: bytes) -> dict[str, Any]:
    """What a meta.json holds; earlier versions wrote it without a checksum. Raises DamagedError."""
    return unsealed(data, old=META_KEYS)


def open_corpus(folder: Path, digest: str) -> Corpus:
    """The built corpus with this digest below a data folder.

    Raises DataError if it is not there, incomplete, or its meta.json was altered. The tokens' hashes are
    checked by :mod:`harness.data.integrity`, once a run, not here: opening stays instant.
    """
    path = Path(folder) / "corpora" / digest
    again = f"remove {path} and build again (harness data build)"
    try:
        meta = read_meta((path / META).read_bytes())
        format_, found, dtype = meta["format"], content_digest(meta), DTYPES[meta["dtype"]]
        sizes = {s: meta["splits"][s]["tokens"] * dtype.itemsize for s in SPLITS}
    except FileNotFoundError:
        raise DataError(f"no corpus {digest[:12]} in {folder}; build it (harness data build) or import it "
                        "(harness data import)") from None
    except DamagedError as error:
        raise DataError(f"{path / META}: altered: {error}; {again}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path / META}: not readable ({type(error).__name__}: {error}); {again}") from None
    if format_ != FORMAT:
        raise DataError(f"{path / META}: format {format_!r}, this version reads {FORMAT}; {again}")
    if found != digest or meta.get("digest") != digest:
        raise DataError(f"{path / META}: altered: it describes corpus {found[:12]}; {again}")
    for split, size in sizes.items():
        file = path / f"{split}.bin"
        actual = file.stat().st_size if file.is_file() else None
        if actual != size:
            state = "missing" if actual is None else f"{actual:,} bytes, {size:,} expected"
            raise DataError(f"{file}: {state}; {again}")
    return Corpus(path, meta)


def load(spec: Mapping[str, Any], folder: Path, digest: str | None = None) -> Corpus:
    """The corpus that a spec (see :class:`harness.data.spec.DataSpec`) describes, built on first use.

    Several processes may ask at once: one builds, the others wait. With ``digest``, the corpus with that
    content: opened if it is here (its source may be gone), otherwise built and compared.
    Raises DataError or UnknownNameError.
    """
    folder = Path(folder)
    if digest and (folder / "corpora" / digest).is_dir():
        return open_corpus(folder, digest)
    corpus: Corpus = importlib.import_module("harness.data.build").ensure(spec, folder)
    if digest and corpus.digest != digest:
        raise DataError(
            f"data {corpus.name!r}: its source now gives corpus {corpus.digest[:12]}, planned was {digest[:12]}; "
            "restore the source, import the planned corpus (harness data import), or plan again"
        )
    return corpus


def digest(spec: Mapping[str, Any], folder: Path) -> str:
    """The digest of the corpus that a spec describes: read where it is built (a millisecond), else built."""
    return load(spec, folder).digest
