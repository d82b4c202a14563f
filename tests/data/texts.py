"""Small texts and token files for the data tests."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np

WORDS = ["the", "model", "learns", "über", "straße", "naïve", "学習", "rate", "of", "losses", "norms", "grow"]


def lines(num_bytes: int, seed: int = 0) -> str:
    """About this many bytes of UTF-8 lines."""
    rng = random.Random(seed)
    out, size = [], 0
    while size < num_bytes:
        line = " ".join(rng.choice(WORDS) for _ in range(rng.randint(3, 12)))
        out.append(line)
        size += len(line.encode()) + 1
    return "\n".join(out) + "\n"


def documents(count: int, num_bytes: int = 400) -> list[str]:
    """Distinct documents of about this many bytes."""
    return [f"document {i}\n{lines(num_bytes, seed=i)}" for i in range(count)]


def write_tokens(file: Path, tokens: np.ndarray, header: tuple[int, ...] | None = None) -> Path:
    """A .bin file; ``header`` gives its first int32 values."""
    text = b""
    if header is not None:
        values = np.zeros(256, "<i4")
        values[: len(header)] = header
        text = values.tobytes()
    file.write_bytes(text + tokens.astype("<u2").tobytes())
    return file


def jsonl(file: Path, rows: list[Any]) -> Path:
    """A file of JSON lines."""
    file.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows))
    return file
