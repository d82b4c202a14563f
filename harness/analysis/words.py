"""The sentence of a verdict, numbers with their digits, and the words kept out of both."""

from __future__ import annotations

import math
import re

import pandas as pd

BANNED = (
    r"prove[sdn]?",
    r"confirm(s|ed)?",
    r"significant(ly)?",
    r"no difference",
    r"matches the paper",
)
"""A verdict is evidence at a scale, never a proof; 'no difference' is 'within a margin' or 'unresolved'."""


def banned(text: str) -> str | None:
    """The first banned word in a text."""
    found = re.search(r"\b(" + "|".join(BANNED) + r")\b", text, flags=re.IGNORECASE)
    return found.group(0) if found else None


def amount(value: float) -> str:
    """A count in two digits with its unit: 13.8k, 399M, 1.5B."""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size * 0.9995:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def span(values: pd.Series) -> str:
    """Range of a column of counts."""
    low, high = float(values.min()), float(values.max())
    return amount(low) if low == high else f"{amount(low)}-{amount(high)}"


def digits_of(se: float) -> int:
    """Decimals up to the first digit of the standard error, so that no digit is noise alone."""
    if not (se > 0 and math.isfinite(se)):
        return 4
    # An se of .96 rounds to 1: its first digit is the units.
    return max(0, -math.floor(math.log10(float(f"{se:.0e}"))))


def number(value: float, se: float) -> str:
    """A number in no more digits than the first of its se."""
    if not se > 0:
        return f"{value:.4g}"
    return f"{value:.{digits_of(se)}f}"


def interval_text(
    value: float, interval: tuple[float, float] | None, se: float, unit: str, level: float = 0.95
) -> str:
    """``0.78 [0.65, 0.93] ratio of compute``; other levels are named."""
    text = number(value, se)
    if interval is not None:
        low, high = (number(x, se) for x in interval)
        text += f" [{low}, {high}]"
        if abs(level - 0.95) > 1e-9:
            text += f" ({100 * level:g} %)"
    return f"{text} {unit}".rstrip()


def larger(factor: float | None) -> str:
    """``, 14,000x larger`` in two digits; empty where ours is as large."""
    return f", {float(f'{factor:.2g}'):,g}x larger" if factor is not None and factor > 1 else ""


def sentence(
    *,
    says: str,
    word: str,
    parameters: str,
    corpus: str,
    sizes: int,
    seeds: int,
    exact: bool,
    estimate: str,
    published: float | None,
    scale: str,
    factor: float | None,
    could_see: str,
) -> str:
    """The whole sentence of a verdict: claim, word, scale, corpus, sizes x seeds, estimate, published value."""
    place = [f"{parameters} parameters"] if parameters else []
    place += [corpus] if corpus else []
    place.append(
        f"{sizes} size{'s' * (sizes != 1)}" + ("" if exact else f" x {seeds} fresh seed{'s' * (seeds != 1)}")
    )
    text = f"{says.rstrip('.')}: {word} ({', '.join(place)}): {estimate}"
    if published is not None:
        text += f"; published {published:g}"
        if scale:
            text += f" at {scale} parameters"
        text += larger(factor)
    elif scale and larger(factor):
        text += f"; claimed at {scale} parameters{larger(factor)}"
    if could_see:
        text += f"; this run could see {could_see}"
    return text + "."
