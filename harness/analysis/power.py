"""Before running: whether a claim's test can resolve at all, and what effect it would see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis import verdicts
from harness.analysis.claim import PROFILES, Claim
from harness.analysis.lookup import argument, facts
from harness.analysis.noise import noise_table
from harness.analysis.registry import Design, Noise
from harness.errors import ClaimError, unknown

PLANNING = {
    # Prototypes at d 24-48, nats a byte: .032-.048 paired.
    "cpu": Noise(sd=0.035, misfit=0.02, exponent=0.12, loss=1.9),
    # 124M models, nats a token: .0011 by seed for Muon (444 df), .0025 for AdamW (10 runs).
    "gpu": Noise(sd=0.003, misfit=0.005, exponent=0.1, loss=3.3),
}
"""Values to plan with where no noise table is at hand."""


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
    """Facts of a loaded suite (its active arms, cells, seeds, sweep, claims).

    ``size_axis``: default the one that the suite names, else its first.
    """
    axis = size_axis or getattr(suite, "size", None) or next(iter(suite.axes), None)
    sizes, seeds = {}, {}
    for name, arm in suite.active_arms.items():
        if getattr(arm, "timing_only", False):
            continue
        cells = [cell for cell, _ in suite.cells(name)]
        sizes[name] = len({c[axis] for c in cells if axis in c}) or 1
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


def check_claim(claim: Claim, plan: SuiteFacts) -> None:
    """Refuses a claim that this plan cannot answer, or whose test cannot reach its Holm level.

    Raises ClaimError or UnknownNameError naming the claim and the cure. Descriptive claims are checked for
    their arms only, and claims that need a larger profile not at all.
    """
    if plan.profile == "smoke" or (
        claim.needs_profile and PROFILES.index(plan.profile) < PROFILES.index(claim.needs_profile)
    ):
        return
    arms = [claim.estimator[k] for k in ("arm", "baseline") if claim.estimator.get(k) is not None]
    for arm in arms:
        if plan.all_arms and arm not in plan.all_arms:
            raise unknown("arm", arm, plan.all_arms, f"claim {claim.id!r}: estimator")
        if arm not in plan.sizes:
            raise ClaimError(
                f"claim {claim.id!r}: profile {plan.profile} does not run arm {arm!r}; run it there, "
                "or give the claim needs_profile"
            )
    if not claim.confirmatory or claim.kind == "identity":
        return
    name = claim.estimator["name"]
    known = facts(name)
    sizes = min((plan.sizes[a] for a in arms), default=1)
    seeds = min((plan.seeds[a] for a in arms), default=1)
    if sizes < known.least_sizes:
        raise ClaimError(
            f"claim {claim.id!r}: {name} needs {known.least_sizes} sizes, {sizes} are planned; "
            "add sizes or make it descriptive"
        )
    level = verdicts.LEVEL / max(plan.num_confirmatory, 1)
    if claim.estimator.get("test") == "sign_flip":
        smallest = 2.0 ** (1 - sizes * seeds)
        if smallest > level:
            raise ClaimError(
                f"claim {claim.id!r}: a sign-flip test of {sizes * seeds} pairs cannot go below "
                f"p = {smallest:.2g}, its Holm level is {level:.2g}; "
                f"plan {int(np.ceil(1 - np.log2(level)))} pairs or use the t test"
            )
    df = planned_df(claim, sizes, seeds, len(plan.swept_arms) or 1)
    if df < 1:
        cure = "plan at least three sizes" if known.slope else "plan at least two seeds"
        raise ClaimError(
            f"claim {claim.id!r}: {name} over {sizes} sizes x {seeds} seeds has {df:g} degrees of freedom "
            f"and no interval; {cure}"
        )


def _design(claim: Claim, sizes: int, seeds: int, arms: int) -> Design:
    return Design(sizes=sizes, seeds=seeds, arms=arms, arguments=claim.estimator)


def planned_df(claim: Claim, sizes: int, seeds: int, arms: int = 1) -> float:
    """Degrees of freedom of a claim's test under a plan."""
    return facts(claim.estimator["name"]).df(_design(claim, sizes, seeds, arms))


def noise_of_claim(claim: Claim, trials: pd.DataFrame, axes: Sequence[str]) -> pd.DataFrame | None:
    """The noise table of the claim's own metric; None where it has none or these records do not hold it."""
    metric = argument(claim.estimator, "metric")
    if metric not in trials.columns:
        return None
    return noise_table(trials, metric, claim.estimator.get("baseline"), by=axes)


def planned_power(
    claim: Claim,
    num_sizes: int,
    num_seeds: int,
    noise_table: pd.DataFrame | None = None,
    *,
    tests: int = 1,
    arms: int = 1,
    profile: str = "cpu",
    unit: str = "nats",
) -> verdicts.Detectable | None:
    """What this plan would see: the effect at 80 % power and Holm's first step over ``tests``.

    ``noise_table`` as :func:`harness.analysis.noise.noise_table` gives it, from committed records; without
    one, planning values of the ``profile``. ``unit``: the metric's. None where the claim has no region, no error,
    fewer than four degrees of freedom, or an estimator that no plan tells the noise of.
    """
    known = facts(claim.estimator["name"])
    if claim.expects is None or claim.kind == "identity" or known.error is None:
        return None
    design = _design(claim, num_sizes, num_seeds, arms)
    noise = _noise(claim, noise_table, PLANNING["cpu" if profile in ("smoke", "cpu") else "gpu"])
    expected = known.error(design, noise)
    unit = expected.unit or str(claim.estimator.get("unit", unit))
    return verdicts.detectable(float(expected.se), known.df(design), claim.expects, expected.scale, unit, tests)


def _noise(claim: Claim, table: pd.DataFrame | None, plan: Noise) -> Noise:
    """What to expect of the claim's arms: sd (root mean square over cells) and loss, else the plan's."""
    if table is None or table.empty:
        return plan
    arm, baseline = claim.estimator.get("arm"), claim.estimator.get("baseline")
    direct = table.loc[table["arm"] == arm, "sd_difference"].dropna()
    if len(direct):
        sd = float(np.sqrt((direct**2).mean()))
    else:
        both = [table.loc[table["arm"] == a, "sd"].dropna() for a in (arm, baseline) if a is not None]
        known = [float((x**2).mean()) for x in both if len(x)]
        if not known:
            return plan
        sd = float(np.sqrt(sum(known) * (2 / len(known) if baseline is not None else 1)))
    loss = float(table["mean"].dropna().mean())
    misfit = _misfit(table, arm, baseline, sd)
    return replace(
        plan,
        sd=sd,
        misfit=plan.misfit if misfit is None else misfit,
        loss=loss if np.isfinite(loss) else plan.loss,
    )


def _misfit(table: pd.DataFrame, arm: Any, baseline: Any, sd: float) -> float | None:
    """What cells add to the arms' difference beyond seed noise; None where fewer than three tell.

    From relative differences, since a constant ratio of compute is a difference that shrinks with the loss.
    """
    if baseline is None or not (table["mean"] > 0).all():
        return None
    one, other = (table[table["arm"] == a].set_index("cell") for a in (arm, baseline))
    difference = np.log(one["mean"] / other["mean"]).dropna()
    if len(difference) < 3:
        return None
    seeds = float((sd / one["mean"]).pow(2).div(one["n"].clip(lower=1)).mean())
    return float(np.sqrt(max(0.0, difference.var(ddof=1) - seeds)) * one["mean"].mean())
