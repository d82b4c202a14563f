"""Before running: whether a claim's test can resolve at all, and what effect it would see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis import verdicts
from harness.analysis.claim import PROFILES, Claim
from harness.errors import ClaimError, unknown

LEAST_SIZES = {
    "compute_ratio": 4,
    "ratio_drift": 6,
    "optimum_slope": 3,
    "axis_slope": 3,
    "probe_slope": 3,
    "transfer_gap": 2,
    "wider_is_better": 2,
}
"""Sizes below which an estimator refuses."""
SLOPES = ("optimum_slope", "axis_slope", "probe_slope")
BY_SEED = (
    "mean_difference",
    "mean_ratio",
    "mean_value",
    "share_by_seed",
    "probe_difference",
    "transfer_gap",
    "wider_is_better",
)

@dataclass(frozen=True, kw_only=True)
class Planning:
    """Values to plan with where no noise table is at hand."""

    sd: float
    """Sd of a paired difference, nats."""
    misfit: float
    """Sd of what a size adds to the arms' difference (grid error, shape), nats."""
    exponent: float
    """Of loss against compute."""
    loss: float
    """Nats."""


PLANNING = {
    # Prototypes at d 24-48, nats a byte: .032-.048 paired.
    "cpu": Planning(sd=0.035, misfit=0.02, exponent=0.12, loss=1.9),
    # 124M models, nats a token: .0011 by seed for Muon (444 df), .0025 for AdamW (10 runs).
    "gpu": Planning(sd=0.003, misfit=0.005, exponent=0.1, loss=3.3),
}
PLANNING_SCATTER = 0.1
"""Scatter of optima about their line, octaves."""


@dataclass(frozen=True, kw_only=True)
class SuiteFacts:
    """What a suite plans, as far as its claims' tests depend on it."""

    sizes: Mapping[str, int]
    """Arm -> number of cells along the size axis that it runs at this profile."""
    seeds: Mapping[str, int]
    """Arm -> evaluation seeds."""
    profile: str = "cpu"
    num_confirmatory: int = 1
    """Confirmatory claims judged at this profile: Holm's first step is 5 % over them."""
    swept_arms: Sequence[str] = ()
    """Arms with a learning-rate sweep in every cell."""
    all_arms: Sequence[str] = ()
    """Arms the suite defines at any profile."""


def facts_of(suite: Any, size_axis: str | None = None) -> SuiteFacts:
    """Facts of a loaded suite (its active arms, cells, seeds, sweep, claims)."""
    sizes, seeds = {}, {}
    for name, arm in suite.active_arms.items():
        if getattr(arm, "timing_only", False):
            continue
        cells = [cell for cell, _ in suite.cells(name)]
        axis = size_axis or next((a for a in ("size", "width") if any(a in c for c in cells)), None)
        sizes[name] = len({c[axis] for c in cells}) if axis else 1
        seeds[name] = arm.seeds if arm.seeds is not None else suite.seeds
    rank = PROFILES.index(suite.profile)
    confirmatory = [
        c
        for c in suite.claims.values()
        if c.get("confirmatory")
        and c.get("kind") != "identity"
        and PROFILES.index(c.get("needs_profile") or "smoke") <= rank
    ]
    return SuiteFacts(
        sizes=sizes,
        seeds=seeds,
        profile=suite.profile,
        num_confirmatory=len(confirmatory),
        swept_arms=tuple(sizes) if suite.sweep else (),
        all_arms=tuple(suite.arms),
    )


def check_claim(claim: Claim, facts: SuiteFacts) -> None:
    """Refuses a claim that this plan cannot answer, or whose test cannot reach its Holm level.

    Raises ClaimError or UnknownNameError naming the claim and the cure. Descriptive claims are checked for
    their arms only, and claims that need a larger profile not at all.
    """
    if facts.profile == "smoke" or (
        claim.needs_profile and PROFILES.index(facts.profile) < PROFILES.index(claim.needs_profile)
    ):
        return
    arms = [claim.estimator[k] for k in ("arm", "baseline") if claim.estimator.get(k) is not None]
    for arm in arms:
        if facts.all_arms and arm not in facts.all_arms:
            raise unknown("arm", arm, facts.all_arms, f"claim {claim.id!r}: estimator")
        if arm not in facts.sizes:
            raise ClaimError(
                f"claim {claim.id!r}: profile {facts.profile} does not run arm {arm!r}; run it there, "
                "or give the claim needs_profile"
            )
    if not claim.confirmatory or claim.kind == "identity":
        return
    name = claim.estimator["name"]
    sizes = min((facts.sizes[a] for a in arms), default=1)
    seeds = min((facts.seeds[a] for a in arms), default=1)
    if sizes < LEAST_SIZES.get(name, 1):
        raise ClaimError(
            f"claim {claim.id!r}: {name} needs {LEAST_SIZES[name]} sizes, {sizes} are planned; "
            "add sizes or make it descriptive"
        )
    level = verdicts.LEVEL / max(facts.num_confirmatory, 1)
    if claim.estimator.get("test") == "sign_flip":
        smallest = 2.0 ** (1 - sizes * seeds)
        if smallest > level:
            raise ClaimError(
                f"claim {claim.id!r}: a sign-flip test of {sizes * seeds} pairs cannot go below "
                f"p = {smallest:.2g}, its Holm level is {level:.2g}; "
                f"plan {int(np.ceil(1 - np.log2(level)))} pairs or use the t test"
            )
    df = planned_df(claim, sizes, seeds, len(facts.swept_arms) or 1)
    if df < 1:
        raise ClaimError(
            f"claim {claim.id!r}: {name} over {sizes} sizes x {seeds} seeds has {df:g} degrees of freedom "
            "and no interval; plan at least two seeds (three sizes for a slope)"
        )


def planned_df(claim: Claim, sizes: int, seeds: int, arms: int = 1) -> float:
    """Degrees of freedom of a claim's test under a plan."""
    name = claim.estimator["name"]
    if name in ("compute_ratio", "ratio_drift") or claim.estimator.get("across_sizes"):
        return sizes - 1
    if name == "optimum_slope":
        return (sizes - 2) * arms
    if name in SLOPES:
        return sizes - 2
    if name in ("transfer_gap", "wider_is_better"):
        return seeds - 1
    return sizes * (seeds - 1)


def planned_power(
    claim: Claim,
    num_sizes: int,
    num_seeds: int,
    noise_table: pd.DataFrame | None = None,
    *,
    tests: int = 1,
    arms: int = 1,
    profile: str = "cpu",
) -> verdicts.Detectable | None:
    """What this plan would see: the effect at 80 % power and Holm's first step over ``tests``.

    ``noise_table`` as :func:`harness.analysis.comparison.noise_table` gives it, from committed records; without
    one, planning values of the ``profile``. None where the claim has no region, no error, fewer than four
    degrees of freedom, or a metric whose noise the table does not tell.
    """
    if claim.expects is None or claim.kind == "identity":
        return None
    name = claim.estimator["name"]
    df = planned_df(claim, num_sizes, num_seeds, arms)
    plan = PLANNING["cpu" if profile in ("smoke", "cpu") else "gpu"]
    sd, loss = _noise(claim, noise_table, plan)
    if name in ("mean_difference", "transfer_gap", "wider_is_better"):
        cells = num_sizes if name == "mean_difference" else 1
        se, log, unit = sd / np.sqrt(cells * num_seeds), False, str(claim.estimator.get("unit", "nats"))
    elif name in ("compute_ratio", "ratio_drift"):
        per_size = np.hypot(sd / np.sqrt(num_seeds), plan.misfit) / loss / plan.exponent
        log, unit = name == "compute_ratio", "ratio of compute"
        # A slope over evenly spaced sizes: sum of squared distances (decades) is about J (range)^2 / 12.
        se = per_size / np.sqrt(num_sizes)
        if name == "ratio_drift":
            se, unit = per_size / np.sqrt(num_sizes / 12) / 1.5, "ln ratio per decade"
    elif name == "optimum_slope":
        se, log, unit = PLANNING_SCATTER / np.sqrt(num_sizes * 3**2 / 12), False, "octaves per octave"
    else:
        return None
    return verdicts.detectable(float(se), df, claim.expects, log, unit, tests)


def _noise(claim: Claim, table: pd.DataFrame | None, plan: Planning) -> tuple[float, float]:
    """(sd of a paired difference, mean loss) of the claim's arms, root mean square over cells."""
    if table is None or table.empty:
        return plan.sd, plan.loss
    arm, baseline = claim.estimator.get("arm"), claim.estimator.get("baseline")
    rows = table[table["arm"] == arm]
    direct = rows["sd_difference"].dropna()
    if len(direct):
        sd = float(np.sqrt((direct**2).mean()))
    else:
        both = [table.loc[table["arm"] == a, "sd"].dropna() for a in (arm, baseline) if a is not None]
        known = [float((x**2).mean()) for x in both if len(x)]
        if not known:
            return plan.sd, plan.loss
        sd = float(np.sqrt(sum(known) * (2 / len(known) if baseline is not None else 1)))
    loss = table["mean"].dropna().mean()
    return sd, float(loss) if np.isfinite(loss) else plan.loss
