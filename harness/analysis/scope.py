"""At what scale a claim was tested, against the scale at which its source made it (STATISTICS 8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from harness.analysis.claim import Claim
from harness.analysis.verdicts import Scope

SCALE_FACTOR = 3.0
"""Within this factor of the published parameters and tokens a run speaks of the published scale."""
COUNTS = ("parameters", "tokens")


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How far from the source's regime the trials lie that a claim rests on."""

    scope: Scope
    factor: float | None
    """How many times larger the source's largest model is than the largest here."""
    short_of: tuple[str, ...]
    """What keeps the scope from being the published one: parameters, tokens, tuning."""
    ran_at: Mapping[str, tuple[float, float] | None]
    """Parameters and tokens, least and most, of the trials that the claim rests on."""
    numerics_classes: tuple[str, ...] = ()
    """Of those trials: a verdict is one machine's until a second class gives the same word."""


def used_trials(claim: Claim, trials: pd.DataFrame, identities: list[str]) -> pd.DataFrame:
    """The trials that a claim rests on; where it was refused, the evaluation trials of its arms."""
    if identities and "identity" in trials.columns:
        return trials[trials["identity"].isin(identities)]
    arms = [claim.estimator[k] for k in ("arm", "baseline") if claim.estimator.get(k) is not None]
    rows = trials[trials["role"] == "evaluation"] if "role" in trials.columns else trials
    return rows[rows["arm"].isin(arms)] if arms and "arm" in rows.columns else rows


def reach_of(claim: Claim, used: pd.DataFrame, profile: str) -> Reach:
    """The scope of a claim from the trials that it rests on.

    published: parameters and tokens all within a factor 3 of the source's range, arms tuned as there. A source
    that names no parameters or tokens cannot be reached.
    """
    ran_at = {name: _range(used, name) for name in COUNTS}
    short = [name for name in COUNTS if not _near(_ends(getattr(claim.made_at, name)), ran_at[name])]
    if not claim.made_at.tuned_alike(profile):
        short.append("tuning")
    made, here = _ends(claim.made_at.parameters), ran_at["parameters"]
    return Reach(
        scope="identity" if claim.kind == "identity" else "reduced" if short else "published",
        factor=made[1] / here[1] if made and here and here[1] > 0 else None,
        short_of=tuple(short),
        ran_at=ran_at,
        numerics_classes=tuple(sorted(set(used["numerics_class"].dropna().astype(str)) - {""}))
        if "numerics_class" in used.columns
        else (),
    )


def _ends(made: float | tuple[float, float] | None) -> tuple[float, float] | None:
    if made is None:
        return None
    return (float(made[0]), float(made[1])) if isinstance(made, tuple) else (float(made), float(made))


def _near(made: tuple[float, float] | None, here: tuple[float, float] | None) -> bool:
    if made is None or here is None:
        return False
    return here[0] >= made[0] / SCALE_FACTOR and here[1] <= made[1] * SCALE_FACTOR


def _range(used: pd.DataFrame, name: str) -> tuple[float, float] | None:
    if name not in used.columns or not used[name].notna().any():
        return None
    return float(used[name].min()), float(used[name].max())
