"""The words of verdicts: one table, and never without their scope."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Badge:
    """A verdict as a reader sees it."""

    tone: str
    """held, failed, open, exploratory or none: decides colour and symbol."""
    symbol: str
    """Says the tone without colour."""
    text: str
    """The word with its scope; never without it."""


LEVEL = 0.05
"""Two-sided, of intervals and of Holm's correction within a suite."""
_WORDS = {
    "reproduced": ("held", "✓", "reproduced {scope}"),
    "holds_at_reduced_scale": ("held", "✓", "holds at reduced scale"),
    "contradicted": ("failed", "✗", "contradicted {scope}"),
    "fails_at_reduced_scale": ("failed", "✗", "does not hold at reduced scale"),
    "unresolved": ("open", "?", "unresolved {scope}"),
    "exploratory": ("exploratory", "~", "exploratory {scope}"),
}
"""Verdict in report.json -> (tone, symbol, word)."""
_IDENTITY = {"reproduced": "identity holds {scope}", "contradicted": "identity fails {scope}"}
"""An identity has no sampling error and no scale at which it would have to be reproduced."""
VERDICTS = tuple(_WORDS)
"""The values of ``verdict`` in report.json, None apart."""
TONES = (
    ("held", "held"),
    ("failed", "did not hold"),
    ("open", "unresolved"),
    ("exploratory", "exploratory"),
    ("none", "no verdict"),
)
"""Tone -> how a count of it is named, in the order of the summary."""


def is_identity(claim: Mapping[str, Any]) -> bool:
    """Whether the claim is one of arithmetic: closed forms, bit counts."""
    return "identity" in (claim.get("kind"), claim.get("scope"))


def scope_words(claim: Mapping[str, Any]) -> str:
    """Where the verdict was formed, in words."""
    if is_identity(claim):
        return "at any scale"
    return "at published scale" if claim.get("scope") == "published" else "at reduced scale"


def is_judged(claim: Mapping[str, Any]) -> bool:
    """Whether the claim has a verdict that a registration stands behind."""
    return claim.get("verdict") not in (None, "exploratory")


def refusal(claim: Mapping[str, Any]) -> str:
    """Why the records could not answer the claim; empty where they did."""
    return str(claim.get("refused") or "").strip().rstrip(".")


def region_words(claim: Mapping[str, Any]) -> str:
    """Where the estimate lies by the region that was expected; empty where there is none, or no number."""
    inside = claim.get("inside_region")
    if inside is None:
        return ""
    p = claim.get("p_hold" if inside else "p_fail")
    # A point inside whose interval reaches out says less than "inside".
    if p is not None and 2 * p > LEVEL:
        return f"{'inside' if inside else 'outside'} the region, with its interval across the edge"
    return "inside the region" if inside else "outside the region"


def badge(claim: Mapping[str, Any]) -> Badge:
    """The verdict's badge; claims without a verdict say why there is none."""
    verdict, scope = claim.get("verdict"), scope_words(claim)
    if verdict is None:
        return _without_verdict(claim, scope)
    if verdict not in _WORDS:
        raise ValueError(f"claim {claim.get('id')!r}: verdict {verdict!r} is none of {sorted(_WORDS)}")
    tone, symbol, word = _WORDS[verdict]
    if is_identity(claim):
        word = _IDENTITY.get(verdict, word)
    return Badge(tone, symbol, word.format(scope=scope))


def _without_verdict(claim: Mapping[str, Any], scope: str) -> Badge:
    if claim.get("profile") == "smoke":
        return Badge("none", "·", "plumbing: no verdict")
    if refusal(claim):
        return Badge("none", "–", f"refused {scope}: no verdict")
    return Badge("none", "·", f"measured {scope}: {region_words(claim) or 'not judged'}")


def tally(claims: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Tone -> number of claims."""
    found = dict.fromkeys((tone for tone, _ in TONES), 0)
    for claim in claims:
        found[badge(claim).tone] += 1
    return found
