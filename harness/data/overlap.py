"""How much of the held-out text stands in the training text too, word for word."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from harness.data.documents import BLOCK

LINES = 4
"""Lines of a block. Single lines recur in any code; four in a row are copied."""
MOST_BLOCKS = 1_000_000
"""Blocks of a held-out split that are looked up: the first ones of a larger one."""


def also_in_train(splits: Mapping[str, Path], separator: bytes) -> dict[str, Any]:
    """Split -> share of its blocks of LINES lines that also stand in ``train``; None where it has no block.

    Lines count without surrounding white space, and not at all where nothing is left; blocks overlap and do not
    reach across documents, which end in the separator.
    """
    # Of salted hashes, so that memory does not grow with the lines' length; 64 bits hardly ever agree by chance.
    held = {
        split: list(islice(map(hash, blocks(splits[split], separator)), MOST_BLOCKS))
        for split in ("validation", "test")
    }
    wanted = set().union(*held.values())
    found = wanted.intersection(map(hash, blocks(splits["train"], separator)))
    shares = {s: sum(h in found for h in hashes) / len(hashes) if hashes else None for s, hashes in held.items()}
    return {"lines": LINES, "blocks": {s: len(hashes) for s, hashes in held.items()}, **shares}


def blocks(file: Path, separator: bytes) -> Iterator[tuple[bytes, ...]]:
    """Every LINES successive lines of each document in a file, read piece by piece."""
    before: list[bytes] = []
    for text, whole in _texts(file, separator):
        lines = before + [line for raw in text.split(b"\n") if (line := raw.strip())]
        yield from zip(*(lines[i:] for i in range(LINES)), strict=False)
        before = [] if whole else lines[1 - LINES :]


def _texts(file: Path, separator: bytes) -> Iterator[tuple[bytes, bool]]:
    """Documents, or parts of one that end with a line; and whether the document ends there."""
    rest = b""
    with file.open("rb") as handle:
        while piece := handle.read(BLOCK):
            *ended, rest = (rest + piece).split(separator)
            yield from ((text, True) for text in ended)
            lines, end, rest = rest.rpartition(b"\n")
            yield lines + end, False
    yield rest, True
