"""The words of verdicts: badges, sentences, counts, and the words that are never used."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness import numbers

BANNED = (
    "proves",
    "proved",
    "confirms",
    "confirmed",
    "significant",
    "significantly",
    "no difference",
    "matches the paper",
)
"""Words that claim more than an interval can."""


@dataclass(frozen=True)
class Badge:
    """A verdict as a reader sees it."""

    tone: str
    """held, failed, open or none: decides colour and symbol."""
    symbol: str
    """Says the tone without colour."""
    text: str
    """The word with its scope; never without it."""


_TONES = {
    "reproduced": ("held", "✓", "reproduced"),
    "holds_at_reduced_scale": ("held", "✓", "holds at reduced scale"),
    "contradicted": ("failed", "✗", "contradicted"),
    "fails_at_reduced_scale": ("failed", "✗", "does not hold at reduced scale"),
    "unresolved": ("open", "?", "unresolved"),
}
VERDICTS = tuple(_TONES)
"""The values of ``verdict`` in report.json, None apart."""


def scope_words(claim: Mapping[str, Any]) -> str:
    """Where the verdict was formed, in words."""
    scope = claim.get("scope")
    if claim.get("kind") == "identity" or scope == "identity":
        return "at any scale"
    return "at published scale" if scope == "published" else "at reduced scale"


def badge(claim: Mapping[str, Any]) -> Badge:
    """The verdict's badge; claims without a verdict say why there is none."""
    verdict = claim.get("verdict")
    if verdict is None:
        if claim.get("profile") == "smoke":
            return Badge("none", "·", "plumbing: no verdict")
        if claim.get("refused"):
            return Badge("none", "–", f"refused {scope_words(claim)}: no verdict")
        return Badge("none", "·", f"descriptive, {scope_words(claim)}: no verdict")
    if verdict not in _TONES:
        raise ValueError(f"claim {claim.get('id')!r}: verdict {verdict!r} is none of {sorted(_TONES)}")
    tone, symbol, text = _TONES[verdict]
    if verdict in ("reproduced", "contradicted", "unresolved"):
        text = f"{text} {scope_words(claim)}"
    return Badge(tone, symbol, text)


def banned_in(text: str) -> list[str]:
    """The banned words in a text, in the order of the list."""
    return [w for w in BANNED if re.search(rf"\b{re.escape(w)}\b", text, re.IGNORECASE)]


def estimate_text(claim: Mapping[str, Any], unit: bool = True) -> str:
    """Estimate with its 95 % interval and, if asked, its unit, at the digits that it carries."""
    return numbers.with_interval(
        claim.get("estimate"), claim.get("ci95"), claim.get("df"), unit_text(claim) if unit else ""
    )


def unit_text(claim: Mapping[str, Any]) -> str:
    """The estimate's unit; empty for ratios and bare numbers."""
    unit = str(claim.get("unit") or "")
    return "" if unit in ("1", "ratio") else unit


def published_text(claim: Mapping[str, Any], scale: bool = True) -> str:
    """The published value, its interval where given and, if asked, its scale; en dash where there is no number."""
    published = claim.get("published")
    if published is None or published == "":
        return numbers.MISSING
    if isinstance(published, Mapping):
        value = published.get("value")
        if not numbers.is_finite(value):
            return str(value) if value else numbers.MISSING
        text = numbers.with_interval(value, published.get("interval") or published.get("ci95"))
        return f"{text} at {made_at(claim)}" if scale and made_at(claim) else text
    if isinstance(published, Sequence) and not isinstance(published, str):
        return ", ".join(numbers.plain(v) for v in published)
    return numbers.plain(published)


def made_at(claim: Mapping[str, Any]) -> str:
    """The scale of the source, e.g. ``399M to 1.5B parameters``; empty if not given."""
    scale = (claim.get("made_at") or {}).get("parameters")
    if isinstance(scale, (list, tuple)):
        ends = list(dict.fromkeys(numbers.count(v) for v in scale))
        return f"{' to '.join(ends)} parameters"
    return f"{numbers.count(scale)} parameters" if numbers.is_finite(scale) else ""


def badge_note(claim: Mapping[str, Any]) -> str:
    """What stands below a badge: what an unresolved claim hangs on and what the run could see, agreement."""
    parts = []
    if claim.get("resolved_before_correction"):
        parts.append("resolved before correction")
    if claim.get("depends_on"):
        parts.append(f"depends on {claim['depends_on']}")
    if claim.get("verdict") == "unresolved" and effect_text(claim) != numbers.MISSING:
        parts.append(f"could see {effect_text(claim)}")
    published = claim.get("published")
    if isinstance(published, Mapping) and published.get("agreement"):
        parts.append(f"against the published value: {published['agreement']}")
    return "; ".join(parts)


def effect_text(claim: Mapping[str, Any]) -> str:
    """The minimum detectable effect, with its own range where given."""
    said = (claim.get("detectable") or {}).get("text")
    if said:
        return str(said)
    effect = claim.get("minimum_detectable_effect")
    if isinstance(effect, Mapping):
        text = numbers.plain(effect.get("value"), 2)
        low, high = effect.get("low"), effect.get("high")
        if numbers.is_finite(low) and numbers.is_finite(high):
            text += f" ({numbers.plain(low, 2)} to {numbers.plain(high, 2)})"
    else:
        text = numbers.plain(effect, 2)
    return text if text == numbers.MISSING or not unit_text(claim) else f"{text} {unit_text(claim)}"


def trials_text(claim: Mapping[str, Any]) -> str:
    """``6 sizes × 3 fresh seeds``, as far as the claim says."""
    parts = []
    if numbers.is_finite(claim.get("num_sizes")):
        parts.append(numbers.plural(int(claim["num_sizes"]), "size"))
    if numbers.is_finite(claim.get("num_seeds")):
        parts.append(numbers.plural(int(claim["num_seeds"]), "fresh seed"))
    return " × ".join(parts)


def sentence(claim: Mapping[str, Any], scale: str = "") -> str:
    """The whole sentence: claim, word with scope, evidence, estimate, published value and its distance.

    ``scale`` is the suite's own line (parameters and corpus). A sentence that the analysis wrote is kept.
    """
    if claim.get("sentence"):
        return str(claim["sentence"])
    evidence = "; ".join(part for part in (scale, trials_text(claim)) if part)
    text = f"{str(claim.get('says', claim.get('id', ''))).rstrip('.')}: {badge(claim).text}"
    if evidence:
        text += f" ({evidence})"
    if claim.get("refused"):
        reason = str(claim["refused"]).strip().rstrip(".")
        if reason.lower() == badge(claim).text.lower():
            return f"{text}."
        return f"{text}. {reason[:1].upper()}{reason[1:]}."
    if numbers.is_finite(claim.get("estimate")):
        text += f": {estimate_text(claim)}"
    published = published_text(claim)
    if published != numbers.MISSING:
        text += f"; published {published}"
        if numbers.is_finite(claim.get("scale_factor")) and float(claim["scale_factor"]) > 1:
            text += f", {numbers.factor(claim['scale_factor'])} larger"
    text += "."
    if claim.get("verdict") == "unresolved" and effect_text(claim) != numbers.MISSING:
        text += f" This run could see {effect_text(claim)}."
    return text


TONES = (("held", "held"), ("failed", "did not hold"), ("open", "unresolved"), ("none", "no verdict"))
"""Tone -> how a count of it is named, in the order of the summary."""


def tally(claims: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Tone -> number of claims."""
    found = dict.fromkeys((tone for tone, _ in TONES), 0)
    for claim in claims:
        found[badge(claim).tone] += 1
    return found


def summary(claims: Sequence[Mapping[str, Any]]) -> str:
    """One line: how many claims held, did not, are unresolved, and at what scale they were tested."""
    if not claims:
        return "No claims were examined."
    if all(c.get("profile") == "smoke" for c in claims):
        return f"Plumbing run over {numbers.plural(len(claims), 'claim')}: no verdict is given at this profile."
    judged = [c for c in claims if c.get("verdict")]
    count = tally(claims)
    text = f"Of {numbers.plural(len(claims), 'claim')}, " + ", ".join(
        f"{count[tone]} {name}" for tone, name in TONES
    )
    if not judged:
        return text + "."
    reduced = [c for c in judged if scope_words(c) == "at reduced scale"]
    exact = [c for c in judged if scope_words(c) == "at any scale"]
    full = len(judged) - len(reduced) - len(exact)
    parts = []
    if reduced:
        factors = sorted(float(c["scale_factor"]) for c in reduced if numbers.is_finite(c.get("scale_factor")))
        below = ""
        if factors:
            ends = [numbers.factor(f) for f in (factors[0], factors[-1])]
            below = (
                f" ({ends[0]} below the published one)"
                if ends[0] == ends[1]
                else (f" ({ends[0]} to {ends[1]} below the published one)")
            )
        parts.append(f"{len(reduced)} at reduced scale{below}")
    if full:
        parts.append(f"{full} at published scale")
    if exact:
        parts.append(
            f"{numbers.plural(len(exact), 'identity').replace('identitys', 'identities')}, valid at any scale"
        )
    return f"{text}. Judged: {'; '.join(parts)}."


def answer(claims: Sequence[Mapping[str, Any]]) -> str:
    """A suite's answer in a sentence or two, from its verdicts alone."""
    judged = [c for c in claims if c.get("verdict")]
    if claims and all(c.get("profile") == "smoke" for c in claims):
        return "Plumbing: no verdict. This profile checks that everything runs."
    if not judged:
        return (
            "No verdict was formed; what was measured stands below."
            if claims
            else ("This suite makes no claims; what was measured stands below.")
        )
    by_word: dict[str, list[str]] = {}
    for tone, _ in TONES[:3]:
        for claim in judged:
            if badge(claim).tone == tone:
                by_word.setdefault(badge(claim).text, []).append(str(claim.get("says") or claim["id"]).rstrip("."))
    parts = []
    for word, said in by_word.items():
        parts.append(f"{word[0].upper()}{word[1:]}: {'; '.join(said)}.")
    return " ".join(parts)


ERROR_RATE_NOTE = (
    "Holm's correction at 5 % runs within each suite, so a ledger of seven suites holds a false verdict in up to "
    "30 % of cases. Suites that share trials share seeds: their verdicts are not independent evidence."
)
"""What a reader of many verdicts must know."""
