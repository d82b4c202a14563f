"""What ``harness encode`` and ``harness decode`` share: their options, and how they say what came out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.errors import HarnessError
from harness.metrics.images import bits_per_pixel, psnr

if TYPE_CHECKING:
    import numpy as np

__all__ = ["bits_per_pixel", "keyed", "listed", "new_file", "opened_denoiser", "psnr", "rate", "told_psnr"]

Denoiser = Annotated[
    str | None,
    typer.Option(
        "--denoiser",
        metavar="NAME[,KEY=VALUE]...",
        help="What a diffusion codec denoises with, e.g. gaussian; `harness list denoisers` names them.",
        show_default=False,
    ),
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="File to write; it must not exist.", show_default=False)
]
MostPixels = Annotated[int, typer.Option("--most-pixels", help="Pixels above which an image is refused.")]


def keyed(words: Sequence[str], where: str) -> dict[str, Any]:
    """{"key": value} of words ``key=value``, values as in YAML. Raises HarnessError for another word."""
    from harness.reading import parse_yaml

    fields = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not key or not equals:
            raise HarnessError(f"{where}: {word!r} is no KEY=VALUE, e.g. steps=50")
        fields[key] = parse_yaml(text, f"{where}: {word!r}")
    return fields


def opened_denoiser(word: str | None) -> Any:
    """The denoiser that an option names, in a process set up for equal bits; None without one.

    One thread: a sum's order depends on how many there are, so another machine would decode other bits.
    """
    from harness import determinism
    from harness.methods.construct import build

    if word is None:
        return None
    determinism.make_deterministic(threads=1)
    name, *fields = word.split(",")
    return build("denoiser", {"name": name, **keyed(fields, "--denoiser")}, "--denoiser")


def new_file(given: Path | None, default: Path) -> Path:
    """Where to write. Raises HarnessError if something is there."""
    path = given or default
    if path.exists():
        raise HarnessError(f"{path}: is there already; give another file with --output")
    return path


def rate(size: int, image: np.ndarray) -> str:
    """``1,234 bytes, 0.123 bits a pixel``."""
    from harness.numbers import plain

    return f"{size:,} {'byte' if size == 1 else 'bytes'}, {plain(bits_per_pixel(size, image))} bits a pixel"


def listed(lines: dict[str, str]) -> str:
    """A line each, what they are about in a column of its own."""
    width = max(map(len, lines))
    return "\n".join(f"  {name:<{width}}  {text}" for name, text in lines.items())


def told_psnr(value: float) -> str:
    """``23.4 dB``."""
    return "lossless" if math.isinf(value) else f"{value:.2f} dB"
