"""Whether a verdict hangs on one choice of the analysis: other estimators, each size or seed left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from harness.analysis import verdicts
from harness.analysis.comparison import axes_of
from harness.analysis.compute_ratio import FORMS
from harness.analysis.estimate import Estimate, Evidence, run
from harness.analysis.verdicts import Region
from harness.errors import HarnessError

SCALING = ("compute_ratio",)
"""Estimators with several forms."""


def universes(
    evidence: Evidence, specification: Mapping[str, Any]
) -> Iterator[tuple[str, Evidence, dict[str, Any]]]:
    """(choice in words, evidence, estimator) for every reasonable alternative."""
    if specification["name"] in SCALING:
        for form in FORMS:
            yield f"the estimator {form}", evidence, {**specification, "form": form}
    trials = evidence.trials
    arms = [specification[k] for k in ("arm", "baseline") if k in specification]
    rows = trials[(trials["role"] == "evaluation") & (trials["arm"].isin(arms) if arms else True)]
    by = specification.get("by", specification.get("size"))
    for axis in axes_of(trials, by):
        values = rows[axis].dropna().unique()
        for value in values if len(values) > 1 else ():
            yield f"{axis} {value}", _without(evidence, axis, value), dict(specification)
    seeds = rows["seed"].unique()
    for seed in seeds if len(seeds) > 2 else ():
        yield f"seed {seed}", _without(evidence, "seed", seed), dict(specification)


def _without(evidence: Evidence, column: str, value: Any) -> Evidence:
    def cut(frame: pd.DataFrame) -> pd.DataFrame:
        return frame[frame[column] != value] if column in frame.columns else frame

    return replace(
        evidence,
        trials=cut(evidence.trials),
        probes=None if evidence.probes is None else cut(evidence.probes),
        curves=None if evidence.curves is None else cut(evidence.curves),
    )


def dissent(evidence: Evidence, specification: Mapping[str, Any], region: Region, holds: bool) -> str:
    """The first choice under which the claim resolves the other way or its point changes side; empty if none.

    A universe that cannot be estimated (too few sizes left) says nothing.
    """
    for choice, other, estimator in universes(evidence, specification):
        try:
            found: Estimate = run(other, estimator)
            hold, fail = verdicts.p_values(found, region)
        except (HarnessError, ValueError):
            continue
        against = fail if holds else hold
        if verdicts.side(found, region) != holds or 2 * against <= verdicts.LEVEL:
            return choice
    return ""
