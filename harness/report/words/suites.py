"""What is said of a suite and of a whole ledger: answers, warnings, scale, tuning, earlier designs, error rate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from harness import numbers
from harness.report.labels import Labels, listed
from harness.report.words.verdicts import LEVEL, TONES, badge, is_identity, is_judged, scope_words, tally

_SMALL = ("no", "one", "two", "three", "four", "five", "six")
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")


def _number(value: int) -> str:
    return _SMALL[value] if value < len(_SMALL) else str(value)


def summary(claims: Sequence[Mapping[str, Any]]) -> str:
    """One line: how many claims held, did not, are unresolved, and at what scale they were tested."""
    if not claims:
        return "No claims were examined."
    if all(c.get("profile") == "smoke" for c in claims):
        return f"Plumbing run over {numbers.plural(len(claims), 'claim')}: no verdict is given at this profile."
    count = tally(claims)
    text = f"Of {numbers.plural(len(claims), 'claim')}, " + ", ".join(
        f"{count[tone]} {said}" for tone, said in TONES if tone != "exploratory" or count[tone]
    )
    judged = [c for c in claims if is_judged(c)]
    parts = _scopes(judged)
    text = f"{text}. Judged: {'; '.join(parts)}." if parts else f"{text}."
    return f"{text} {bare}" if (bare := unregistered(judged)) else text


def unregistered(judged: Sequence[Mapping[str, Any]]) -> str:
    """What a reader must know of verdicts that no registration stands before; an identity needs none."""
    empirical = [c for c in judged if not is_identity(c)]
    bare = [c for c in empirical if not c.get("registration")]
    if not bare:
        return ""
    many = "any of these verdicts" if len(bare) == len(empirical) else f"{len(bare)} of {len(empirical)} verdicts"
    return (
        f"No registration stands before {many}: their designs were settled while data were seen, so read them "
        "as exploratory."
    )


def _scopes(judged: Sequence[Mapping[str, Any]]) -> list[str]:
    exact = [c for c in judged if is_identity(c)]
    reduced = [c for c in judged if scope_words(c) == "at reduced scale"]
    full = len(judged) - len(reduced) - len(exact)
    parts = []
    if reduced:
        factors = sorted(float(c["scale_factor"]) for c in reduced if numbers.is_finite(c.get("scale_factor")))
        ends = list(dict.fromkeys(numbers.factor(f) for f in (factors[0], factors[-1]))) if factors else []
        below = f" (largest model {' to '.join(ends)} smaller than the source's)" if ends else ""
        parts.append(f"{len(reduced)} at reduced scale{below}")
    if full:
        parts.append(f"{full} at published scale")
    if exact:
        parts.append(f"{len(exact)} {'identity' if len(exact) == 1 else 'identities'}, valid at any scale")
    return parts


def answer(claims: Sequence[Mapping[str, Any]]) -> str:
    """A suite's answer in a sentence or two, from its verdicts alone."""
    judged = [c for c in claims if c.get("verdict")]
    if claims and all(c.get("profile") == "smoke" for c in claims):
        return "Plumbing: no verdict. This profile checks that everything runs."
    if not judged:
        said = "No verdict was formed" if claims else "This suite makes no claims"
        return f"{said}; what was measured stands below."
    by_word: dict[str, list[str]] = {}
    for tone, _ in TONES:
        for claim in judged:
            if badge(claim).tone == tone:
                by_word.setdefault(badge(claim).text, []).append(str(claim.get("says") or claim["id"]).rstrip("."))
    return " ".join(f"{word[0].upper()}{word[1:]}: {'; '.join(said)}." for word, said in by_word.items())


def plumbing_text(claims: Sequence[Mapping[str, Any]]) -> list[str]:
    """Claims of a profile that checks the plumbing: a line a suite, and what they are worth."""
    lines = []
    for suite in dict.fromkeys(c["suite"] for c in claims):
        own = [c for c in claims if c["suite"] == suite]
        estimated = sum(numbers.is_finite(c.get("estimate")) for c in own)
        few = "" if estimated == len(own) else ", the rest need more than this profile runs"
        lines.append(f"{suite}: {estimated} of {numbers.plural(len(own), 'claim')} estimated{few}")
    return [*lines, "This profile checks that everything runs: no claim gets a verdict."]


def error_rate(claims: Iterable[Mapping[str, Any]], sharing: Iterable[Sequence[str]] = ()) -> str:
    """What a reader of many verdicts must know; ``sharing``: groups of suites that have trials in common."""
    families = len({c.get("suite") for c in claims if numbers.is_finite(c.get("p_holm"))})
    if not families:
        return ""
    often = f"up to {100 * (1 - (1 - LEVEL) ** families):.0f} % of cases"
    held = "a suite" if families == 1 else f"a ledger of {_number(families)} suites"
    text = f"Holm's correction at 5 % runs within each suite, one family a suite: {held} holds a false verdict in "
    text += f"{often}."
    for group in sharing:
        text += f" {listed(group)} share trials: their verdicts are not independent evidence."
    return text


def scale_text(trials: pd.DataFrame, labels: Labels, corpus: str = "") -> str:
    """Models and corpus in a few words, as far as the workload declares a cost: ``25k to 1.6M parameters, ...``."""
    parts = []
    for cost in ("parameters", "tokens", "flops"):
        if cost in labels.metrics and cost in trials and trials[cost].notna().any():
            ends = dict.fromkeys(numbers.count(v) for v in (trials[cost].min(), trials[cost].max()))
            parts.append(f"{' to '.join(ends)} {labels.quantity(cost)}")
            break
    return ", ".join([*parts, *([corpus] if corpus else [])])


def held_out_text(corpora: Sequence[Mapping[str, Any]]) -> str:
    """What of the held-out text the training text holds too, word for word; empty where nobody counted.

    ``corpora``: of each its ``name``, ``lines`` (of a block), ``validation`` and ``test`` (shares of their blocks).
    """
    said = []
    for corpus in corpora:
        shares = [
            f"{numbers.plain(100 * corpus[split], 2)} % of the {split} split's"
            for split in ("validation", "test")
            if corpus.get(split) is not None
        ]
        if shares:
            name = f"{corpus['name']}: " if corpus.get("name") else ""
            blocks = f"blocks of {corpus['lines']} lines also stand in the train split"
            said.append(f"{name}{' and '.join(shares)} {blocks}")
    return "; ".join(said)


def sizes_text(trials: pd.DataFrame, axes: Sequence[str]) -> str:
    """``6 sizes × 3 seeds`` of the evaluation trials."""
    evaluated = trials[trials["role"] == "evaluation"] if "role" in trials else trials
    if evaluated.empty:
        return ""
    keys = [a for a in axes if a in evaluated and evaluated[a].notna().any()]
    cells = len(evaluated[keys].drop_duplicates()) if keys else 1
    seeds = evaluated.groupby(["arm", *keys], observed=True)["seed"].nunique()
    return f"{numbers.plural(cells, 'size')} × {numbers.plural(int(seeds.median()), 'seed')}"


def tuning_text(suite: Mapping[str, Any], labels: Labels) -> str:
    """How hyperparameters were found: ``learning rate tuned, one selection seed``."""
    tuning, sweep = suite.get("tuning") or {}, suite.get("sweep") or {}
    sections = [tuning or sweep, *(suite.get("arms") or {}).values()]
    paths = dict.fromkeys(path for section in sections for path in section.get("space") or {})
    if not paths:
        return ""
    names = listed(labels.label(path) for path in paths)
    if tuning:
        seeds = len(tuning.get("seeds") or [1000])
        return f"{names} tuned, {_number(seeds)} selection seed{'s' if seeds != 1 else ''}"
    return f"{names} swept, every point with the evaluation seeds" if sweep else ""


def tuned_text(tuned: Mapping[str, Mapping[str, Any]], labels: Labels) -> str:
    """What "tuned" means for a claim's arms: ``learning rate tuned, one selection seed``; empty where none was."""
    names = dict.fromkeys(labels.label(path) for facts in tuned.values() for path in facts["hyperparameters"])
    seeds = {facts["selection_seeds"] for facts in tuned.values() if facts["hyperparameters"]}
    if not names:
        return ""
    least = min(seeds)
    return f"{listed(names)} tuned, {_number(least)} selection seed{'s' if least != 1 else ''}"


def warnings(suite: Mapping[str, Any], trials: pd.DataFrame, axes: Sequence[str]) -> list[str]:
    """What a reader must know before believing the suite."""
    out = [str(w) for w in (suite.get("warnings") or ())]
    if suite.get("changed_claims"):
        out.append("Claims, margins or estimators of this suite were changed after seeing data.")
    if suite.get("missing"):
        out.append(f"{numbers.plural(int(suite['missing']), 'planned trial')} without a record.")
    if "at_edge" in trials and trials["at_edge"].eq(True).any():
        where = trials[trials["at_edge"].eq(True)].drop_duplicates(["arm", *axes])
        cells = "; ".join(" ".join(str(row[c]) for c in ("arm", *axes)) for _, row in where.iterrows())
        out.append(
            f"The chosen hyperparameters lie on an edge of their range in: {cells}. These cells take part in no "
            "verdict."
        )
    return out


def designs(suite: str, history: Sequence[Mapping[str, Any]]) -> str:
    """``mup_transfer: second design; the first left 4 of 4 unresolved``; superseded ledgers, oldest first."""
    said = []
    changed = [earlier for earlier in history if earlier.get("kind") != "analysis"]
    for number, earlier in enumerate(changed):
        count = tally(earlier.get("ledger") or [])
        judged = count["held"] + count["failed"] + count["open"]
        left = f"left {count['open']} of {judged} unresolved" if judged else "formed no verdict"
        said.append(f"the {_ordinal(number)} {left}")
    if again := len(history) - len(changed):
        said.append(f"judged {numbers.plural(again, 'time')} more by changed analysis code")
    return f"{suite}: {_ordinal(len(changed))} design; {'; '.join(said)}"


def _ordinal(index: int) -> str:
    return _ORDINALS[index] if index < len(_ORDINALS) else f"{index + 1}th"

