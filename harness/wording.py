"""Words that are kept out of claims, verdicts and pages: they say more than an interval can."""

from __future__ import annotations

import re

BANNED = (
    r"prove[sdn]?",
    r"confirm(?:s|ed)?",
    r"significant(?:ly)?",
    r"no difference",
    r"matches the paper",
)
"""A verdict is evidence at a scale, never a proof; 'no difference' is 'within a margin' or 'unresolved'."""


def banned_in(text: str) -> list[str]:
    """The banned words in a text, in the order of the text and in lower case."""
    return [m[0].lower() for m in re.finditer(rf"\b(?:{'|'.join(BANNED)})\b", text, re.IGNORECASE)]
