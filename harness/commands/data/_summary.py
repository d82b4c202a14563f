"""What a reader wants to know of a data set: a line a number for one, a line each for several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.numbers import MISSING, count, plural

if TYPE_CHECKING:
    from harness.data import Corpus

HEADERS = (
    "name", "digest", "vocabulary", "train", "validation", "test", "bytes/token", "on disk", "built", "state"
)  # fmt: skip
SHORT = 12
"""Digits of a digest in a table."""


def summary(corpus: Corpus) -> list[str]:
    """A built data set in lines: its splits, what was left out, what its splits share."""
    from harness.data import SPLITS
    from harness.report.words import held_out_text

    about = corpus.about
    rows: list[tuple[str, ...]] = [("", *SPLITS)]
    # Bare tokens have no documents, and one text is cut where it may be.
    for what in ("documents", "pictures"):
        if isinstance(numbers := about.get(what), dict) and sum(numbers.values()) > 1:
            rows.append((what, *(f"{numbers[s]:,}" for s in SPLITS)))
    if "pictures" not in about:
        rows.append(("tokens", *(f"{corpus.num_tokens(s):,}" for s in SPLITS)))
    lines = [f"  {line}" for line in table(rows, right=True)]
    lines += [f"  {line}" for line in _left_out(about)]
    if shares := about.get("also_in_train"):
        lines.append(f"  {held_out_text([shares]) or 'too few lines are held out to be looked up in train'}")
    return lines


def _left_out(about: Mapping[str, Any]) -> list[str]:
    """Documents that are not there, or are there more than once, in words."""
    lines = []
    for split in ("", "validation", "test"):
        part = about.get(split) if split else about
        if not isinstance(part, dict):
            continue
        of = f" ({split})" if split else ""
        dropped = {k: n for k, n in part.get("dropped", {}).items() if n}
        if dropped:
            lines.append("left out" + of + ": " + ", ".join(f"{n:,} {why}" for why, n in dropped.items()))
        if repeated := part.get("repeated"):
            what = plural(repeated, "picture" if "pictures" in about else "document")
            verb = "equals" if repeated == 1 else "equal"
            lines.append(f"{what}{of} {verb} an earlier one; equal ones are in one split")
        if replaced := part.get("documents_with_replacements"):
            lines.append(f"{plural(replaced, 'document')}{of} with U+FFFD in place of what is not UTF-8")
    return lines


def listing(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The data sets of ``harness.data.commands.list_corpora`` as a table; what is damaged is told below it."""
    shown: list[tuple[str, ...]] = [HEADERS]
    for row in rows:
        whole = row["state"] == "built"
        bytes_per_token = row.get("bytes_per_token")
        shown.append((
            str(row["name"]), str(row["digest"])[:SHORT],
            *((f"{row['vocab_size']:,}", *(count(n) for n in row["tokens"].values())) if whole else [MISSING] * 4),
            MISSING if bytes_per_token is None else f"{bytes_per_token:.2f}",
            f"{row['bytes_on_disk'] / 2**20:,.1f} MiB" if whole else MISSING,
            str(row["built"])[:10] if whole else MISSING,
            "whole" if whole else "damaged",
        ))  # fmt: skip
    return [*table(shown), *(str(row["state"]) for row in rows if row["state"] != "built")]


def table(rows: Sequence[Sequence[str]], right: bool = False) -> list[str]:
    """Rows in columns of equal width; numbers to the ``right`` behind a first column of words."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{text:>{w}}" if right and i else f"{text:<{w}}" for i, (text, w) in
                  enumerate(zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]  # fmt: skip
