"""Whether a verdict hangs on one choice of the analysis: another form, one size or one seed left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from harness.analysis import lookup, verdicts
from harness.analysis.estimate import Estimate
from harness.analysis.evidence import Evidence
from harness.analysis.verdicts import Region
from harness.errors import HarnessError


def universes(
    evidence: Evidence, specification: Mapping[str, Any]
) -> Iterator[tuple[str, Evidence, dict[str, Any]]]:
    """(choice in words, evidence, estimator) for every reasonable alternative."""
    for form in lookup.facts(specification["name"]).forms:
        yield f"the estimator {form}", evidence, {**specification, "form": form}
    trials = evidence.trials
    arms = [specification[k] for k in ("arm", "baseline") if k in specification]
    rows = trials[(trials["role"] == "evaluation") & (trials["arm"].isin(arms) if arms else True)]
    for axis in _axes(evidence, specification):
        values = rows[axis].dropna().unique()
        for value in values if len(values) > 1 else ():
            shown = f"{value:g}" if isinstance(value, float) else value
            yield f"{axis} {shown}", _without(evidence, axis, value), dict(specification)
    seeds = rows["seed"].unique()
    for seed in seeds if len(seeds) > 2 else ():
        yield f"seed {seed}", _without(evidence, "seed", seed), dict(specification)


def _axes(evidence: Evidence, specification: Mapping[str, Any]) -> list[str]:
    """The axes that the estimator's cells lie on: those it is told, else the size axis."""
    named = next((specification[k] for k in ("by", "size", "axis") if specification.get(k) is not None), None)
    return [a for a in evidence.cell_axes(named) if a in evidence.trials.columns]


def _without(evidence: Evidence, column: str, value: Any) -> Evidence:
    def cut(frame: pd.DataFrame | None) -> pd.DataFrame | None:
        return frame if frame is None or column not in frame.columns else frame[frame[column] != value]

    trials = evidence.trials[evidence.trials[column] != value]
    return replace(
        evidence,
        trials=trials,
        probes=cut(evidence.probes),
        curves=cut(evidence.curves),
        tables=cut(evidence.tables),
    )


def dissent(evidence: Evidence, specification: Mapping[str, Any], region: Region, holds: bool) -> str:
    """The first choice under which the claim resolves the other way or its point changes side; empty if none.

    A universe that cannot be estimated (too few sizes left) says nothing.
    """
    for choice, other, estimator in universes(evidence, specification):
        try:
            found: Estimate = lookup.run(other, estimator)
            hold, fail = verdicts.p_values(found, region)
        except (HarnessError, ValueError):
            continue
        against = fail if holds else hold
        if verdicts.side(found, region) != holds or 2 * against <= verdicts.LEVEL:
            return choice
    return ""
