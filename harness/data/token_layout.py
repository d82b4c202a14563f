"""What a bare token file holds, where the spec says nothing: read as another type it looks like tokens, too.

A stream of uint16 has no landmarks. What is no such stream mostly betrays itself: wider integers by places that are
(nearly) always zero, the other byte order by a low byte that carries less than the high one, text by being text,
and files of other programs by their first bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from harness.data.spec import TokenType
from harness.errors import DataError

DTYPES: dict[TokenType, np.dtype[Any]] = {
    "uint8": np.dtype("u1"), "uint16": np.dtype("<u2"), "uint32": np.dtype("<u4"),
    "int32": np.dtype("<i4"), "int64": np.dtype("<i8"),
    "uint16_be": np.dtype(">u2"), "int32_be": np.dtype(">i4"), "int64_be": np.dtype(">i8"),
}  # fmt: skip
MAGICS = {
    b"\x93NUMPY": "an array saved by NumPy (.npy); write the tokens alone, with array.astype('<u2').tofile(file)",
    b"PK\x03\x04": "a zip archive (.npz, or weights saved by PyTorch); write the tokens alone",
    b"\x80\x04\x95": "a Python pickle; write the tokens alone",
    b"\x1f\x8b\x08": "a gzip file; unpack it",
    b"\x28\xb5\x2f\xfd": "a Zstandard file; unpack it",
    b"\xfd7zXZ\x00": "an xz file; unpack it",
    b"PAR1": "a Parquet file; give format: parquet",
    b"\xff\xfe": "text in UTF-16; convert it (iconv -t utf-8) and give format: text",
    b"\xfe\xff": "text in UTF-16; convert it (iconv -t utf-8) and give format: text",
}
SAMPLE = 1 << 20
"""Bytes that are looked at."""
ONES = 0xFFFF
LEAST = 64
"""Words of 16 bits from which on places that are always small say something."""
LEAST_FOR_ENTROPY = 4096
"""Words from which on the bytes' entropies say something: the error of their difference is then below .03 bits."""
HIGHEST = 32
"""Upper halves of 32-bit tokens are below this: vocabularies have less than two million entries."""
MORE_BITS = 0.25
"""By which the high byte carries more than the low one, where the byte order is the other. Frequent tokens have
small numbers and vocabularies end below 65,536, so the high byte carries less."""


def sniffed(file: Path) -> None:
    """See that a bare file may be little-endian uint16 tokens. Raises DataError saying what it is instead."""
    with file.open("rb") as handle:
        sample = handle.read(SAMPLE)
    for magic, what in MAGICS.items():
        if sample.startswith(magic):
            raise DataError(f"{file}: not tokens: {what}")
    if _is_text(sample):
        raise DataError(f"{file}: not tokens: it reads as text; give format: text, or its dtype if it is none")
    found = _wider(np.frombuffer(sample[: len(sample) // 8 * 8], "<u2"), file.stat().st_size)
    if found is None and _swapped(np.frombuffer(sample[: len(sample) // 2 * 2], np.uint8)):
        found = "uint16_be"
    if found is not None:
        raise DataError(
            f"{file}: these look like {found} tokens, and would be read as uint16; give dtype: {found}, or dtype: "
            "uint16 if they are"
        )


def _is_text(sample: bytes) -> bool:
    """Whether this is UTF-8, perhaps cut off within a character, without control characters that no text has."""
    for cut in range(4):
        try:
            text = sample[: len(sample) - cut].decode()
        except UnicodeDecodeError:
            continue
        return not any(c < " " and c not in "\t\n\r\f\x1b" for c in set(text)) and len(text) > LEAST
    return False


def _wider(words: np.ndarray, size: int) -> TokenType | None:
    """The type of 4 or 8 bytes that these 16-bit words come from, if any."""
    if len(words) < LEAST:
        return None
    types: tuple[tuple[int, TokenType, TokenType], ...] = ((4, "int64", "int64_be"), (2, "int32", "int32_be"))
    for step, little, big in types:
        if size % (2 * step):
            continue
        places = [words[i::step] for i in range(step)]
        for name, ascending in ((little, places), (big, [p.byteswap() for p in reversed(places)])):
            lowest, beside, *above = ascending
            # All ones above: a negative number, as padding is marked.
            highest = max(int(p.max(initial=0, where=p != ONES)) for p in (beside, *above))
            empty = not any(p.any(where=p != ONES) for p in above)
            if empty and lowest.any() and (highest == 0 or highest < HIGHEST < lowest.max() // 8):
                return name
    return None


def _swapped(raw: np.ndarray) -> bool:
    """Whether the bytes of each word stand in the other order."""
    low, high = raw[0::2], raw[1::2]
    if len(low) >= LEAST and not low.any() and high.any():
        return True
    return len(low) >= LEAST_FOR_ENTROPY and _entropy(high) > _entropy(low) + MORE_BITS


def _entropy(values: np.ndarray) -> float:
    """Of a byte's distribution, in bits."""
    shares = np.bincount(values, minlength=256) / len(values)
    shares = shares[shares > 0]
    return float(-(shares * np.log2(shares)).sum())
