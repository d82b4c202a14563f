"""Documents: what text sources give and what the builder reads."""

from __future__ import annotations

import codecs
import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from harness.errors import DataError

BLOCK = 1 << 20
"""Bytes read at once."""


@dataclass(frozen=True)
class Document:
    """One text: a file, a row. Its bytes come in pieces, so that a large file is never in memory."""

    sha256: str
    """Of its bytes, in hex."""
    num_bytes: int
    pieces: Callable[[], Iterator[bytes]]
    """Its bytes in order; may be called again."""


class TextSource(Protocol):
    """A source of documents. ``documents`` may be called again and gives the same."""

    def documents(self) -> Iterator[Document]: ...

    def total_bytes(self) -> int | None:
        """Bytes to read, for progress, or None if unknown."""

    def about(self) -> dict[str, Any]:
        """Provenance, known after ``documents`` has run through."""


def of_text(text: bytes) -> Document:
    """A document that is in memory."""
    return Document(hashlib.sha256(text).hexdigest(), len(text), lambda: iter((text,)))


def checked_utf8(pieces: Iterable[bytes], rule: str, where: str) -> Iterator[bytes]:
    """The same bytes if they are UTF-8; else, by rule, U+FFFD in place of them or an error.

    Raises DataError (rule ``error``) or UnicodeDecodeError (rule ``skip``), with the offset.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace" if rule == "replace" else "strict")
    offset = 0
    for block, final in itertools.chain(((piece, False) for piece in pieces), [(b"", True)]):
        pending = len(decoder.getstate()[0])
        try:
            text = decoder.decode(block, final)
        except UnicodeDecodeError as error:
            if rule == "skip":
                raise
            at = offset - pending + error.start
            raise DataError(
                f"{where}: not UTF-8 at byte {at:,} (0x{error.object[error.start]:02x}); convert it "
                "(iconv -t utf-8), or set invalid_utf8 to replace or skip"
            ) from None
        offset += len(block)
        if text:
            yield text.encode()


def cut_after(text: bytes, at: int) -> int:
    """Where to cut UTF-8 text at or after ``at``: behind the next line end, else before the next character."""
    line_end = text.find(b"\n", at)
    if line_end >= 0:
        return line_end + 1
    while at < len(text) and text[at] & 0xC0 == 0x80:
        at += 1
    return at


def split_of(sha256: str, validation: float, test: float) -> str:
    """The split of a document or picture by its content's hash: uniform in [0, 1), test first, then validation."""
    place = int(sha256[:16], 16) / 2**64
    return "test" if place < test else "validation" if place < test + validation else "train"
