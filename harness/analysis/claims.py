"""How records become verdicts: every claim of a suite answered, one Holm family over the confirmatory ones.

Seam: ``trials`` is long, one row a (suite, arm, cell, role, seed): columns suite, profile, arm, role, seed,
status, identity, numerics_class, selected, at_edge, registration, axis columns (``size``, ``width``),
hyperparameters by config path (``optimizer.lr``), metrics (``test_loss``, ``trivial_loss``, ``flops``,
``parameters``, ``tokens``, ...; nan where diverged). ``probes``: identity, arm, axes, seed, probe, and the probe's
columns. ``curves``: identity, arm, axes, seed, curve, step, value. ``tables``: identity, arm, axes, role, seed,
table, and the table's columns.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import pandas as pd

from harness.analysis import lookup, sequential, verdicts
from harness.analysis.blocks import block_table
from harness.analysis.claim import PROFILES, Claim, load_claims
from harness.analysis.evidence import Evidence
from harness.analysis.margin import margin_note, measured_worth
from harness.analysis.multiverse import dissent
from harness.analysis.published import agreement
from harness.analysis.result import CLAIM_FIELDS, ClaimResult
from harness.analysis.scope import reach_of, used_trials
from harness.analysis.tuned import tuning_facts
from harness.errors import ClaimError, HarnessError
from harness.workload import Metric

__all__ = ["CLAIM_FIELDS", "Claim", "ClaimResult", "evaluate_claims", "load_claims", "tables_read"]

PLUMBING = "plumbing: no verdict"
MOST_OF_MARGIN = 1 / 3
"""Share of an equivalence margin that the finite held-out sample's error may take."""


def tables_read(claims: Iterable[Claim]) -> set[str]:
    """Names of the tables that these claims take into account unasked: the blocks of their metrics."""
    return {
        block_table(metric)
        for claim in claims
        if "tables" in lookup.facts(claim.estimator["name"]).uses
        and isinstance(metric := lookup.argument(claim.estimator, "metric"), str)
    }


def evaluate_claims(
    claims: list[Claim],
    trials: pd.DataFrame,
    *,
    probes: pd.DataFrame | None = None,
    curves: pd.DataFrame | None = None,
    tables: pd.DataFrame | None = None,
    profile: str,
    size_axis: str | None = None,
    metrics: Mapping[str, Metric] | None = None,
    registered: Collection[str] | None = None,
    look: int | None = None,
    check_choices: bool = True,
) -> list[ClaimResult]:
    """Every claim of one suite answered from its records.

    ``size_axis``: the axis whose values make a cell where a claim names none. ``metrics``: the workload's.
    ``registered``: hashes of the registration entries of this very design; a claim that rests on a record which ran
    under none of them gets ``exploratory`` in place of a verdict word. None: nobody asks.
    ``look``: number of seeds of a sequential look, whose spent alpha then rules p values and intervals.
    ``check_choices``: also ask whether verdicts survive other estimators and leaving out sizes or seeds.
    A claim that the records cannot answer comes back refused, with the reason; nothing is raised for it.
    """
    suite = str(trials["suite"].iloc[0]) if len(trials) and "suite" in trials.columns else ""
    results, evidence = [], {}
    for claim in claims:
        evidence[claim.id] = Evidence(
            trials=trials,
            probes=probes,
            curves=curves,
            tables=tables,
            size_axis=size_axis,
            metrics=metrics or {},
            claim=claim.id,
            equivalence=claim.kind == "equivalence",
        )
        results.append(_estimate(claim, evidence[claim.id], suite, profile, look))
    tests = _correct(results, profile, look)
    for r in results:
        _judge(r, evidence[r.claim.id], profile, tests, check_choices)
        _register(r, trials, registered)
    return results


def _exact(r: ClaimResult) -> bool:
    return r.estimate is not None and r.estimate.exact


def _postponed(claim: Claim, profile: str) -> bool:
    return claim.needs_profile is not None and PROFILES.index(profile) < PROFILES.index(claim.needs_profile)


def _estimate(claim: Claim, evidence: Evidence, suite: str, profile: str, look: int | None) -> ClaimResult:
    reach = reach_of(claim, used_trials(claim, evidence.trials, []), profile)
    tuned = tuning_facts(claim, evidence.trials)
    result = ClaimResult(claim=claim, suite=suite, profile=profile, reach=reach, tuned=tuned)
    if look is not None:
        result.alpha = sequential.alpha_of(look)
    if _postponed(claim, profile):
        result.refused = f"needs {claim.needs_profile}: profile {profile} cannot resolve it" + (
            f" ({claim.note})" if claim.note else ""
        )
        return result
    try:
        found = lookup.run(evidence, claim.estimator)
        if claim.expects is not None:
            hold, fail = verdicts.p_values(found, claim.expects)
            if any(not math.isfinite(x) for p in found.parts if p.count is None for x in (p.value, p.se)):
                raise ClaimError(f"claim {claim.id!r}: no interval from these records; run more seeds or sizes")
            result.p_hold, result.p_fail = hold, fail
        result.estimate = found
        result.reach = reach_of(claim, used_trials(claim, evidence.trials, found.identities), profile)
    except HarnessError as error:
        result.refused = str(error)
    except ValueError as error:
        result.refused = f"claim {claim.id!r}: {error}"
    return result


def _correct(results: list[ClaimResult], profile: str, look: int | None) -> int:
    """Holm over the confirmatory claims with sampling error; returns how many tests the family holds."""
    family = [
        (r, r.p_hold, r.p_fail)
        for r in results
        if r.p_hold is not None and r.p_fail is not None and r.claim.confirmatory and not _exact(r)
    ]
    # A planned test that came back refused keeps its place in the family: dropping it would loosen the others.
    absent = sum(
        r.claim.confirmatory and r.refused is not None and not _postponed(r.claim, profile) for r in results
    )
    ps = [verdicts.two_sided(hold, fail) for _, hold, fail in family]
    if look is not None:
        ps = [sequential.spent_p(p, look) for p in ps]
    for (r, hold, fail), p, adjusted in zip(family, ps, verdicts.holm([*ps, *[1.0] * absent]), strict=False):
        r.p_holm = adjusted
        r.resolution = verdicts.resolve(adjusted, hold, fail)
        r.resolved_before_correction = r.resolution == "unresolved" and p <= verdicts.LEVEL
    return len(family) + absent


def _judge(r: ClaimResult, evidence: Evidence, profile: str, tests: int, check_choices: bool) -> None:
    claim, e = r.claim, r.estimate
    if e is None:
        if profile == "smoke" and r.refused:
            r.notes.append(r.refused)
            r.refused = PLUMBING
        return
    _detect(r, tests)
    _weigh_margin(r, evidence.trials)
    if profile == "smoke":
        r.resolution, r.refused, r.resolved_before_correction = None, PLUMBING, False
        return
    if _exact(r) and claim.expects is not None and r.p_hold is not None and claim.confirmatory:
        r.resolution = "holds" if r.p_hold == 0 else "fails"
    if r.resolution in ("holds", "fails") and not e.exact and claim.expects is not None:
        r.depends_on = _held_out(r)
        if check_choices and not r.depends_on:
            r.depends_on = dissent(evidence, claim.estimator, claim.expects, r.resolution == "holds")
        if r.depends_on:
            r.resolution = "unresolved"
    if r.resolution is not None:
        r.verdict = verdicts.VERDICTS[r.reach.scope, r.resolution]
    _compare_published(r)


def _detect(r: ClaimResult, tests: int) -> None:
    """What the run could have seen."""
    claim, e = r.claim, r.estimate
    if e is None or claim.expects is None or e.exact:
        return
    part = e.parts[r.worst()]
    r.detectable = verdicts.detectable(
        part.se, part.df, claim.expects, e.scale, e.unit, tests if claim.confirmatory else 1
    )
    if r.detectable is None:
        r.detectable_refused = (
            "no detectable effect is given for a share: it depends on where the share lies"
            if e.scale == "logit"
            else f"no detectable effect is given at {part.df:.1f} degrees of freedom"
        )


def _weigh_margin(r: ClaimResult, trials: pd.DataFrame) -> None:
    """The equivalence margin in both currencies, as declared and as measured."""
    if r.claim.margin is None or r.estimate is None:
        return
    used = used_trials(r.claim, trials, r.estimate.identities)
    r.margin = {**r.claim.margin.model_dump(), "compute_measured": measured_worth(r.claim, used)}
    if said := margin_note(r.margin):
        r.notes.append(said)


def _held_out(r: ClaimResult) -> str:
    """The held-out sample, where its own error takes over a third of an equivalence margin; else empty."""
    claim, e = r.claim, r.estimate
    if claim.kind != "equivalence" or claim.expects is None or e is None or e.validation_error is None:
        return ""
    low, high = claim.expects.bounds(e.scale)
    over = r.resolution == "holds" and e.validation_error > MOST_OF_MARGIN * (high - low) / 2
    return "the finite held-out sample" if over else ""


def _compare_published(r: ClaimResult) -> None:
    claim, e = r.claim, r.estimate
    if claim.published is None or e is None or e.scale != "log" or e.exact:
        return
    part = e.parts[0]
    r.compared = claim.published.model_dump()
    if r.reach.scope == "published":
        word, (low, high) = agreement(part.value, part.se, part.df, claim.published)
        r.compared |= {"agreement": word, "ratio_low": math.exp(low), "ratio_high": math.exp(high)}
    else:
        r.notes.append("published value shown beside ours, not compared: the scale is another")


def _register(r: ClaimResult, trials: pd.DataFrame, registered: Collection[str] | None) -> None:
    """Under which entries the claim's records ran; exploratory where one ran under none of this design's."""
    if registered is None:
        return
    used: Any = used_trials(r.claim, trials, r.estimate.identities if r.estimate else [])
    hashes = used["registration"].fillna("").astype(str) if "registration" in used.columns else [""] * len(used)
    r.registration = sorted(set(hashes))
    if r.verdict is not None and not (r.registration and set(r.registration) <= set(registered)):
        r.verdict = "exploratory"
