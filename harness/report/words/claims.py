"""What is said of one claim: its estimate, the published value, the distance between both, the whole sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness import numbers
from harness.report.words.verdicts import badge, is_identity, refusal

UNREGISTERED = "no registration before these records"


def estimate_text(claim: Mapping[str, Any], unit: bool = True) -> str:
    """Estimate with its interval and, if asked, its unit, at the digits that it carries."""
    return numbers.with_interval(
        claim.get("estimate"),
        claim.get("ci95"),
        claim.get("df"),
        unit_text(claim) if unit else "",
        se=claim.get("se"),
        level=claim.get("interval_level") or 0.95,
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


def gap_text(claim: Mapping[str, Any], other: str = "source") -> str:
    """How far ours lies below the source's scale; where the ranges overlap only the largest models are compared."""
    factor = claim.get("scale_factor")
    if not numbers.is_finite(factor) or float(factor or 0) <= 1:
        return ""
    if overlaps(claim):
        return f"largest model {numbers.factor(factor)} smaller"
    return f"{numbers.factor(factor)} below the {other}"


def overlaps(claim: Mapping[str, Any]) -> bool:
    """Whether our models reach into the source's range of sizes."""
    made: Any = (claim.get("made_at") or {}).get("parameters")
    ours: Any = (claim.get("ran_at") or {}).get("parameters")
    lowest = min(made) if isinstance(made, (list, tuple)) else made
    return bool(ours) and numbers.is_finite(lowest) and float(lowest) <= max(ours)


def part_text(claim: Mapping[str, Any]) -> str:
    """Which part the estimate is of, where the claim is about all of several."""
    parts = claim.get("parts") or []
    return f"at {claim['part']}, the least favourable of {len(parts)}" if claim.get("part") and parts else ""


def beside(claim: Mapping[str, Any]) -> list[str]:
    """What stands beside the estimate: answers by the estimator's other forms, and the other interval of a mean."""
    out = []
    for form in claim.get("forms") or []:
        same_part = form.get("part") in (None, "", claim.get("part"))
        if not form.get("used") and same_part and numbers.is_finite(form.get("estimate")):
            name = str(form.get("form", "")).replace("_", " ")
            interval = [form.get("low"), form.get("high")]
            out.append(f"{name}: {numbers.with_interval(form['estimate'], interval, form.get('df'))}")
    return out


def verdict_note(claim: Mapping[str, Any]) -> str:
    """What stands below a badge: what an unresolved claim hangs on and what the run could see, agreement."""
    parts = []
    if claim.get("verdict") == "exploratory":
        parts.append(UNREGISTERED)
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
    """``6 sizes × 3 fresh seeds``, as far as the claim says; what is exact needs no seeds."""
    parts = []
    if numbers.is_finite(claim.get("num_sizes")):
        parts.append(numbers.plural(int(claim["num_sizes"]), "size"))
    if numbers.is_finite(claim.get("num_seeds")) and not is_identity(claim):
        parts.append(numbers.plural(int(claim["num_seeds"]), "fresh seed"))
    return " × ".join(parts)


def classes_text(claim: Mapping[str, Any]) -> str:
    """In how many numerics classes the claim was run; empty where it does not say."""
    classes = claim.get("numerics_classes") or ()
    return numbers.plural(len(classes), "numerics class", "numerics classes") if classes else ""


def sentence(claim: Mapping[str, Any]) -> str:
    """The whole sentence: claim, word with scope, evidence, estimate, published value and its distance.

    ``models`` of the claim says models and corpus of the trials that it rests on, ``tuning`` how their
    hyperparameters were chosen.
    """
    text = f"{str(claim.get('says', claim.get('id', ''))).rstrip('.')}: {badge(claim).text}"
    if claim.get("verdict") == "exploratory":
        text += f", {UNREGISTERED}"
    tuning = "" if is_identity(claim) else claim.get("tuning")
    evidence = "; ".join(str(part) for part in (claim.get("models"), trials_text(claim), tuning) if part)
    if evidence:
        text += f" ({evidence})"
    if reason := refusal(claim):
        if reason.lower() == badge(claim).text.lower():
            return f"{text}."
        return f"{text}. {reason[:1].upper()}{reason[1:]}."
    if numbers.is_finite(claim.get("estimate")):
        text += ": " + " ".join(part for part in (estimate_text(claim), part_text(claim)) if part)
    text += _against_source(claim) + "."
    if claim.get("verdict") == "unresolved" and effect_text(claim) != numbers.MISSING:
        text += f" This run could see {effect_text(claim)}."
    return text


def _against_source(claim: Mapping[str, Any]) -> str:
    """``; published 0.52 at 399M to 1.5B parameters, 13,000× larger``."""
    published, scale, factor = published_text(claim), made_at(claim), claim.get("scale_factor")
    if published != numbers.MISSING:
        value = published_text(claim, scale=False)
        text = f"; published {value} at {scale}" if scale else f"; published {value}"
    elif scale and numbers.is_finite(factor) and float(factor or 0) > 1:
        text = f"; claimed at {scale}"
    else:
        return ""
    if numbers.is_finite(factor) and float(factor or 0) > 1:
        text += f", {'largest model ' if overlaps(claim) else ''}{numbers.factor(factor)} larger"
    return text
