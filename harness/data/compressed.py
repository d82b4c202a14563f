"""Text files that are compressed: opened as what they hold."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from pathlib import Path
from typing import Any, BinaryIO, cast

from harness.data.spec import SUFFIXES, Format
from harness.errors import DataError

COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
"""Suffixes behind that of a text format."""
BROKEN = (EOFError, zlib.error, lzma.LZMAError)
"""What the library's readers raise beside OSError."""


def format_of(file: Path) -> Format | None:
    """The format that a file's suffixes tell, compressed or not; None where they tell none."""
    last = file.suffix.lower()
    if last not in COMPRESSED:
        return SUFFIXES.get(last)
    inside = SUFFIXES.get(Path(file.stem).suffix.lower())
    return inside if inside in ("text", "jsonl") else None


def is_compressed(file: Path) -> bool:
    """Whether a file's size says nothing of the text in it."""
    return file.suffix.lower() in COMPRESSED


def opened(file: Path) -> BinaryIO:
    """The bytes of a file, unpacked by its suffix."""
    openers: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open, ".zst": _zstandard}
    return cast(BinaryIO, openers.get(file.suffix.lower(), Path.open)(file, "rb"))


def _zstandard(file: Path, mode: str) -> BinaryIO:
    """By pyarrow: Python's own library has Zstandard from 3.14 on."""
    try:
        import pyarrow as arrow
    except ImportError:
        raise DataError(f"{file}: reading Zstandard needs pyarrow; pip install pyarrow, or unpack it") from None
    return io.BufferedReader(_Unpacked(arrow.input_stream(str(file), compression="zstd")))


class _Unpacked(io.RawIOBase):
    """An Arrow stream as a raw file of Python's."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self._stream.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)

    def close(self) -> None:
        self._stream.close()
        super().close()
