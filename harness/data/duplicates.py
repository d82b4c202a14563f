"""Documents that a source gives more than once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.data.documents import Document, TextSource

KEY_DIGITS = 16
"""Digits of a hash that are remembered: 64 bits hardly ever agree by chance."""


class Distinct:
    """A source whose documents are told apart by content: repeated ones are counted, and left out where asked."""

    def __init__(self, source: TextSource, drop: bool):
        self.source, self.drop = source, drop
        self.repeated = 0

    def documents(self) -> Iterator[Document]:
        """The source's, without those after the first of the same bytes where they are to be left out."""
        seen: set[int] = set()
        self.repeated = 0
        for document in self.source.documents():
            key = int(document.sha256[:KEY_DIGITS], 16)
            if key in seen:
                self.repeated += 1
                if self.drop:
                    continue
            seen.add(key)
            yield document

    def total_bytes(self) -> int | None:
        return self.source.total_bytes()

    def about(self) -> dict[str, Any]:
        """The source's, with the documents beyond the first of the same bytes: dropped, or repeated."""
        about = self.source.about()
        if not self.drop:
            return {**about, "repeated": self.repeated}
        dropped = about.get("dropped", {})
        return {**about, "dropped": {**dropped, "duplicates": dropped.get("duplicates", 0) + self.repeated}}
