"""Claims: the schema, and how records become verdicts.

Seam: ``trials`` is long, one row a (suite, arm, cell, role, seed): columns suite, profile, arm, role, seed,
status, identity, numerics_class, selected, at_edge, axis columns (``size``, ``width``), hyperparameters by
config path (``optimizer.lr``), metrics (``test_loss``, ``trivial_loss``, ``flops``, ``parameters``,
``tokens``, ...; nan where diverged). ``probes``: identity, arm, axes, seed, probe, and the probe's columns.
``curves``: identity, arm, axes, seed, curve, step, value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from harness.analysis import sequential, verdicts
from harness.analysis.claim import PROFILES, Claim, load_claims, scope_of
from harness.analysis.compute_ratio import as_compute
from harness.analysis.estimate import Estimate, Evidence, run
from harness.analysis.multiverse import dissent
from harness.analysis.published import agreement
from harness.analysis.verdicts import Outcome, Verdict
from harness.analysis.words import amount, interval_text, sentence, span
from harness.errors import ClaimError, HarnessError

__all__ = ["Claim", "ClaimResult", "evaluate_claims", "ledger", "load_claims", "plain"]


@dataclass(kw_only=True)
class ClaimResult:
    """One claim answered, or refused with the reason and the cure."""

    claim: Claim
    suite: str
    profile: str
    scope: Literal["published", "reduced", "identity"]
    scale_factor: float | None
    estimate: Estimate | None = None
    p_hold: float | None = None
    p_fail: float | None = None
    p_holm: float | None = None
    alpha: float = verdicts.LEVEL
    """Two-sided level of the interval: 5 %, or what a sequential look spends."""
    outcome: Outcome | None = None
    verdict: Verdict | None = None
    refused: str | None = None
    resolved_before_correction: bool = False
    depends_on: str = ""
    """The analysis choice that the verdict would hang on; then it is unresolved."""
    detectable: verdicts.Detectable | None = None
    detectable_refused: str = ""
    compared: dict[str, Any] | None = None
    """Against the published value."""
    sentence: str = ""
    notes: list[str] = field(default_factory=list)

    def interval(self, index: int = 0) -> tuple[float, float] | None:
        """The plain t interval of a part, on the displayed scale."""
        if self.estimate is None:
            return None
        part = self.estimate.parts[index]
        if part.se == 0:
            return None
        half = float(stats.t.ppf(1 - self.alpha / 2, part.df)) * part.se
        if not math.isfinite(half):
            return None
        return self.estimate.shown(part.value - half), self.estimate.shown(part.value + half)

    def worst(self) -> int:
        """Index of the part that decides: the one least in the region."""
        e, r = self.estimate, self.claim.expects
        if e is None or r is None or len(e.parts) == 1:
            return 0
        low, high = r.bounds(e.log)
        return int(np.argmax([verdicts.part_p(p, low, high)[0] for p in e.parts]))

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values: the fields of report.json, then the extras."""
        c, e, w = self.claim, self.estimate, self.worst()
        part = e.parts[w] if e else None
        ci = self.interval(w)
        return plain(
            {
                "id": c.id,
                "suite": self.suite,
                "says": c.says,
                "source": c.source,
                "kind": c.kind,
                "expects": c.expects.text() if c.expects else None,
                "estimate": e.shown(part.value) if e and part else None,
                "ci95": list(ci) if ci else None,
                "df": part.df if part else None,
                "p_holm": self.p_holm,
                "num_sizes": e.num_sizes if e else None,
                "num_seeds": e.num_seeds if e else None,
                "num_trials": e.num_trials if e else None,
                "seed_sd": e.seed_sd if e else None,
                "profile": self.profile,
                "scope": self.scope,
                "scale_factor": self.scale_factor,
                "verdict": self.verdict,
                "minimum_detectable_effect": self.detectable.effect if self.detectable else None,
                "estimators_agree": e.estimators_agree if e else None,
                # extras
                "inside_region": verdicts.side(e, c.expects) if e and c.expects else None,
                "place": c.place,
                "confirmatory": c.confirmatory,
                "estimator": c.estimator,
                "unit": e.unit if e else "",
                "log": e.log if e else False,
                "sentence": self.sentence,
                "p_hold": self.p_hold,
                "p_fail": self.p_fail,
                "interval_level": 1 - self.alpha,
                "published": self.compared or (c.published.model_dump() if c.published else None),
                "made_at": c.made_at.model_dump(),
                "margin": c.margin.model_dump() if c.margin else None,
                "notes": [*([c.note] if c.note else []), *self.notes, *(e.notes if e else [])],
                "refused": self.refused,
                "resolved_before_correction": self.resolved_before_correction,
                "depends_on": self.depends_on,
                "detectable": self.detectable.as_dict() if self.detectable else None,
                "part": part.label if part else "",
                "parts": [
                    {
                        "label": p.label,
                        "estimate": e.shown(p.value),
                        "ci95": list(self.interval(i) or ()) or None,
                        "df": p.df,
                    }
                    for i, p in enumerate(e.parts)
                ]
                if e and len(e.parts) > 1
                else [],
                "table": e.table if e else [],
                "forms": e.forms if e else [],
                "identities": sorted(set(e.identities)) if e else [],
            }
        )


def plain(value: Any) -> Any:
    """JSON values only: numpy scalars unwrapped, numbers that are not finite as None."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def evaluate_claims(
    claims: list[Claim],
    trials: pd.DataFrame,
    *,
    probes: pd.DataFrame | None = None,
    curves: pd.DataFrame | None = None,
    profile: str,
    corpus: str = "",
    look: int | None = None,
    check_choices: bool = True,
) -> list[ClaimResult]:
    """Every claim of one suite answered from its records.

    ``look``: number of seeds of a sequential look, whose spent alpha then rules p values and intervals.
    ``check_choices``: also ask whether verdicts survive other estimators and leaving out sizes or seeds.
    A claim that the records cannot answer comes back refused, with the reason; nothing is raised for it.
    """
    suite = str(trials["suite"].iloc[0]) if len(trials) and "suite" in trials.columns else ""
    results, evidence = [], {}
    for claim in claims:
        evidence[claim.id] = Evidence(trials=trials, probes=probes, curves=curves, claim=claim.id)
        results.append(_estimate(claim, evidence[claim.id], suite, profile, look))
    family = [r for r in results if r.p_hold is not None and r.claim.confirmatory and not _exact(r)]
    # A planned test that came back refused keeps its place in the family: dropping it would loosen the others.
    absent = sum(
        r.claim.confirmatory and r.refused is not None and not _postponed(r.claim, profile) for r in results
    )
    tests = len(family) + absent
    ps = [verdicts.two_sided(r.p_hold, r.p_fail) for r in family if r.p_hold is not None and r.p_fail is not None]
    if look is not None:
        ps = [sequential.spent_p(p, look) for p in ps]
    for r, p, adjusted in zip(family, ps, verdicts.holm([*ps, *[1.0] * absent]), strict=False):
        assert r.p_hold is not None and r.p_fail is not None
        r.p_holm = adjusted
        r.outcome = verdicts.outcome(adjusted, r.p_hold, r.p_fail)
        r.resolved_before_correction = r.outcome == "unresolved" and p <= verdicts.LEVEL
    for r in results:
        _judge(r, evidence[r.claim.id], profile, tests, check_choices)
        r.sentence = _sentence(r, trials, corpus)
    return results


def _exact(r: ClaimResult) -> bool:
    return r.estimate is not None and r.estimate.exact


def _postponed(claim: Claim, profile: str) -> bool:
    return claim.needs_profile is not None and PROFILES.index(profile) < PROFILES.index(claim.needs_profile)


def _estimate(claim: Claim, evidence: Evidence, suite: str, profile: str, look: int | None) -> ClaimResult:
    scope, factor = scope_of(claim, evidence.trials)
    result = ClaimResult(claim=claim, suite=suite, profile=profile, scope=scope, scale_factor=factor)
    if look is not None:
        result.alpha = sequential.alpha_of(look)
    if _postponed(claim, profile):
        result.refused = f"needs {claim.needs_profile}: profile {profile} cannot resolve it" + (
            f" ({claim.note})" if claim.note else ""
        )
        return result
    try:
        result.estimate = run(evidence, claim.estimator)
        if claim.expects is not None:
            result.p_hold, result.p_fail = verdicts.p_values(result.estimate, claim.expects)
            if any(not math.isfinite(x) for p in result.estimate.parts for x in (p.value, p.se)):
                raise ClaimError(f"claim {claim.id!r}: no interval from these records; run more seeds or sizes")
    except HarnessError as error:
        result.refused = str(error)
        result.p_hold = result.p_fail = None
        result.estimate = None
    except ValueError as error:
        result.refused = f"claim {claim.id!r}: {error}"
        result.p_hold = result.p_fail = None
        result.estimate = None
    return result


def _judge(r: ClaimResult, evidence: Evidence, profile: str, tests: int, check_choices: bool) -> None:
    claim, e = r.claim, r.estimate
    if e is None:
        if profile == "smoke" and r.refused:
            r.notes.append(r.refused)
            r.refused = "plumbing: no verdict"
        return
    if _exact(r) and claim.expects is not None and r.p_hold is not None and claim.confirmatory:
        r.outcome = "holds" if r.p_hold == 0 else "fails"
    if claim.expects is not None and not e.exact:
        part = e.parts[r.worst()]
        r.detectable = verdicts.detectable(
            part.se, part.df, claim.expects, e.log, e.unit, tests if claim.confirmatory else 1
        )
        if r.detectable is None:
            r.detectable_refused = f"no detectable effect is given at {part.df:.1f} degrees of freedom"
    if profile == "smoke":
        r.outcome, r.verdict, r.refused = None, None, "plumbing: no verdict"
        r.resolved_before_correction = False
        return
    if r.outcome in ("holds", "fails") and check_choices and not e.exact and claim.expects is not None:
        r.depends_on = dissent(evidence, claim.estimator, claim.expects, r.outcome == "holds")
        if r.depends_on:
            r.outcome = "unresolved"
    if r.outcome is not None:
        r.verdict = verdicts.WORDS[r.scope, r.outcome][0]
    if claim.margin is not None and (worth := _margin_as_compute(claim.margin.nats, e, evidence.trials)):
        r.notes.append(worth)
    if claim.published is not None and e.log and not e.exact:
        part = e.parts[0]
        r.compared = claim.published.model_dump()
        if r.scope == "published":
            word, (low, high) = agreement(part.value, part.se, part.df, claim.published)
            r.compared |= {"agreement": word, "ratio_low": math.exp(low), "ratio_high": math.exp(high)}
        else:
            r.notes.append("published value shown beside ours, not compared: the scale is another")


def _margin_as_compute(nats: float, e: Estimate, trials: pd.DataFrame) -> str:
    """The margin as compute at the exponent and loss that this run measured."""
    if not {"flops", "test_loss", "identity"} <= set(trials.columns):
        return ""
    used = trials[trials["identity"].isin(e.identities) & (trials["status"] == "completed")]
    points = used.groupby("flops")["test_loss"].mean() if used["flops"].nunique() >= 3 else pd.Series(dtype=float)
    if len(points) < 3 or (points <= 0).any():
        return ""
    slope = np.polyfit(np.log(points.index.to_numpy(dtype=float)), np.log(points.to_numpy()), 1)[0]
    if slope >= 0:
        return ""
    worth = as_compute(nats, -float(slope), float(points.mean()))
    return f"at the measured slope of loss on compute, {nats:g} nats are worth {100 * worth:.2g} % of compute"


def _sentence(r: ClaimResult, trials: pd.DataFrame, corpus: str) -> str:
    e, claim = r.estimate, r.claim
    if e is None:
        return f"{claim.says.rstrip('.')}: {r.refused}."
    used = (
        trials[trials["identity"].isin(e.identities)] if "identity" in trials.columns and e.identities else trials
    )
    parameters = (
        span(used["parameters"]) if "parameters" in used.columns and used["parameters"].notna().any() else ""
    )
    if r.refused:
        word = r.refused
    elif r.outcome is None:
        word = "measured, not judged"
    else:
        word = verdicts.WORDS[r.scope, r.outcome][1]
        if r.resolved_before_correction:
            word += " (resolved before correction)"
        if r.depends_on:
            word += f" (depends on {r.depends_on})"
    w = r.worst()
    part = e.parts[w]
    text = interval_text(
        e.shown(part.value),
        r.interval(w),
        part.se if not e.log else e.shown(part.value) * part.se,
        e.unit,
        1 - r.alpha,
    )
    if part.label and len(e.parts) > 1:
        text += f" at {part.label}, the least favourable of {len(e.parts)}"
    made = claim.made_at.parameters
    scale = ""
    if made is not None:
        scale = f"{amount(made[0])}-{amount(made[1])}" if isinstance(made, tuple) else amount(made)
    seen = r.detectable.text if r.outcome == "unresolved" and r.detectable else ""
    return sentence(
        says=claim.says,
        word=word,
        parameters=parameters,
        corpus=corpus,
        sizes=e.num_sizes,
        seeds=e.num_seeds,
        exact=e.exact,
        estimate=text,
        published=claim.published.value if claim.published else None,
        scale=scale,
        factor=r.scale_factor,
        could_see=seen,
    )


def ledger(results: list[ClaimResult]) -> pd.DataFrame:
    """One row a claim, for a table."""
    columns = ["id", "verdict", "scope", "estimate", "ci95", "p_holm", "sentence"]
    return pd.DataFrame([{k: d[k] for k in columns} for d in (r.as_dict() for r in results)])
