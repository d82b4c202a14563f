"""A built set of pictures: squares of pixels with a class each, opened from the disk.

It is a data set like any other (``harness.data.corpus``), whose tokens are bytes. A split is a row a picture: the
number of its class in LABEL_BYTES, little-endian, then its pixels, channel by channel and line by line. What says
how to read them stands where a text has its tokenizer: size, channels, classes, moments of the train split.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.corpus import SPLITS, TOKENIZER, Corpus
from harness.data.corpus import load as load_corpus
from harness.errors import DataError

LAYOUT = "pictures 1"
"""What the layout's file calls itself."""
LABEL_BYTES = 2
_NO_PICTURES = "data {name!r}: holds a text, not pictures; leave out data.format, or give images"


def row_bytes(channels: int, size: int) -> int:
    """Bytes of a picture and its class."""
    return LABEL_BYTES + channels * size**2


@dataclass(frozen=True, kw_only=True)
class PictureSet:
    """Pictures of three splits. Open one with :func:`load`."""

    corpus: Corpus
    """Its files and provenance."""
    size: int
    """Pixels of a side."""
    channels: int
    """1 (grey) or 3 (red, green, blue)."""
    classes: tuple[str, ...]
    """Names, in the order of their numbers."""
    mean: tuple[float, ...]
    """Of each channel over the train split, in levels of 0 to 255."""
    std: tuple[float, ...]
    """Standard deviation of each channel over the train split."""

    @property
    def left_out(self) -> str:
        """Which files were no part of it when these pictures were first built, in a line; empty where all were."""
        out = self.corpus.about.get("left_out") or {}
        if not out.get("files"):
            return ""
        return (
            f"when the pictures {self.corpus.name!r} were first built, {out['files']:,} files were left out; the "
            f"first: {out['named'][0]}"
        )

    def split(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (pictures, channels, size, size), uint8, memory-mapped, and classes (pictures,), of a split."""
        rows = self.corpus.split(name).reshape(-1, row_bytes(self.channels, self.size))
        labels = np.ascontiguousarray(rows[:, :LABEL_BYTES]).view(f"<u{LABEL_BYTES}")[:, 0]
        return rows[:, LABEL_BYTES:].reshape(-1, self.channels, self.size, self.size), labels


def load(spec: Mapping[str, Any], folder: Path, digest: str | None = None) -> PictureSet:
    """The pictures of a spec (see :class:`harness.data.image_spec.ImageSpec`), built on first use.

    As ``harness.data.corpus.load``. Raises DataError or UnknownNameError; DataError for what holds no pictures.
    """
    return of(load_corpus(spec, folder, digest))


def of(corpus: Corpus) -> PictureSet:
    """The pictures that a data set holds. Raises DataError if it holds none, or its layout was altered."""
    if corpus.meta["tokenizer"] in ("bytes", "unknown"):
        raise DataError(_NO_PICTURES.format(name=corpus.name))
    file = corpus.path / TOKENIZER
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror or error}); build the pictures again") from None
    if hashlib.sha256(content).hexdigest() != corpus.meta["tokenizer"]:
        raise DataError(f"{file}: altered: its SHA-256 is not the recorded one; build the pictures again")
    try:
        layout = json.loads(content)
        if layout.get("format") != LAYOUT:
            raise DataError(_NO_PICTURES.format(name=corpus.name))
        found = PictureSet(
            corpus=corpus, size=int(layout["size"]), channels=int(layout["channels"]),
            classes=tuple(map(str, layout["classes"])), mean=tuple(map(float, layout["mean"])),
            std=tuple(map(float, layout["std"])),
        )  # fmt: skip
        whole = all(corpus.num_tokens(s) % row_bytes(found.channels, found.size) == 0 for s in SPLITS)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise DataError(f"{file}: no layout of pictures ({what}); build them again") from None
    if not whole or not len(found.mean) == len(found.std) == found.channels:
        raise DataError(f"{file}: does not fit the pictures beside it; build them again")
    return found
