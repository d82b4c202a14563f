"""Estimators of quality and cost: means, differences and ratios over cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from harness.analysis.blocks import block_error, value_block_error
from harness.analysis.cells import cell_name, evaluation
from harness.analysis.estimate import Estimate, Part, Scale
from harness.analysis.evidence import Evidence
from harness.analysis.means import judged_df, paired, pooled_sd
from harness.analysis.over_cells import form_rows, mean_over_cells
from harness.analysis.pairing import PairedArms, pair_arms
from harness.analysis.registry import Columns, Design, Expected, Facts, Noise, estimator
from harness.analysis.verdicts import MOST_FLIPS


def _df(design: Design) -> float:
    across = False if design.arguments.get("test") == "sign_flip" else design.arguments.get("across_sizes")
    return judged_df(design.sizes, design.seeds, across, bool(design.arguments.get("weights")))


def _error(design: Design, noise: Noise) -> Expected:
    # What a size adds is scatter over sizes, not over seeds.
    general = _df(design) == design.sizes - 1 and design.sizes > 1
    sd = np.hypot(noise.sd / np.sqrt(design.seeds), noise.misfit if general else 0.0)
    return Expected(se=float(sd / np.sqrt(design.sizes)))


def _weights(evidence: Evidence, c: PairedArms, weights: Mapping[str, float] | None) -> np.ndarray | None:
    if weights is None:
        return None
    missing = [cell.name for cell in c.cells if cell.name not in weights]
    if missing:
        raise evidence.refuse(f"no weight for cells {', '.join(missing)}", "give every cell a weight, or none")
    w = np.array([weights[cell.name] for cell in c.cells], dtype=float)
    return w / w.sum()


def _difference(
    evidence: Evidence,
    arm: str,
    baseline: str,
    metric: str,
    by: Columns | None,
    where: Mapping[str, Any] | None,
    weights: Mapping[str, float] | None,
    across_sizes: bool | None,
    extra_error: float,
    unit: str,
    log: bool,
    test: str = "t",
) -> Estimate:
    c = pair_arms(evidence, arm, baseline, metric, by, where, log=log)
    w = _weights(evidence, c, weights)
    shared = float(np.hypot(extra_error, block_error(evidence, c, arm, baseline, metric, log)))
    mean, said = mean_over_cells(
        evidence, c.cells, weights=w, validation_error=shared, across_sizes=across_sizes
    )
    if mean.se == 0:
        raise evidence.refuse(
            f"all differences of {metric!r} between {arm!r} and {baseline!r} are equal: "
            "there is no noise to judge by",
            "check that seeds change the trials, or state the claim as an identity",
        )
    notes = [*c.notes, *said] + ([f"weights: {dict(weights)}"] if weights else [])
    if shared:
        notes.append(f"validation error {shared:.2g} added in quadrature")
    sd_unpaired = np.sqrt(np.mean([u.var(ddof=1) + v.var(ddof=1) for u, v in c.common.values()]))
    notes.append(f"sd of a difference {pooled_sd(c.cells):.2g} paired, {sd_unpaired:.2g} unpaired")
    table = [
        {
            "cell": x.name,
            arm: float(np.mean(c.common[k][0])),
            baseline: float(np.mean(c.common[k][1])),
            "difference": x.mean,
            "sd": x.sd,
            "n": x.n,
        }
        for x, k in zip(c.cells, c.keys, strict=True)
    ]
    pairs = _pairs(evidence, c) if test == "sign_flip" else None
    scale: Scale = "log" if log else "linear"
    return Estimate(
        parts=(Part(value=mean.value, se=mean.se, df=mean.df, pairs=pairs),),
        unit=unit,
        scale=scale,
        num_sizes=len(c.cells),
        num_seeds=c.num_seeds,
        num_trials=c.num_trials,
        seed_sd=pooled_sd(c.cells),
        validation_error=shared or None,
        table=table,
        forms=form_rows(mean, scale),
        notes=notes,
        identities=c.identities,
    )


def _pairs(evidence: Evidence, c: PairedArms) -> tuple[float, ...]:
    """All paired differences, for an exact sign-flip test."""
    if any(len(u) != len(v) for u, v in c.common.values()) or any("share no seed" in n for n in c.notes):
        raise evidence.refuse(
            "a sign-flip test needs pairs", "use the t test, or run both arms with the same seeds"
        )
    out = tuple(float(x) for u, v in c.common.values() for x in u - v)
    if not 6 <= len(out) <= MOST_FLIPS:
        raise evidence.refuse(
            f"a sign-flip test of {len(out)} pairs "
            + ("cannot reach 5 %" if len(out) < 6 else "is not enumerated"),
            f"use the t test, or 6 to {MOST_FLIPS} pairs",
        )
    return out


@estimator(Facts(df=_df, error=_error, uses=("tables",), in_nats=True))
def mean_difference(
    evidence: Evidence,
    arm: str,
    baseline: str,
    metric: str = "test_loss",
    by: Columns | None = None,
    where: Mapping[str, Any] | None = None,
    weights: Mapping[str, float] | None = None,
    across_sizes: bool | None = None,
    validation_error: float = 0.0,
    unit: str | None = None,
    test: Literal["t", "sign_flip"] = "t",
) -> Estimate:
    """Mean over cells of arm minus baseline, paired by seed.

    From four cells on the interval is t over cell means: it speaks of sizes like these, and the one over seeds,
    which speaks of these sizes, stands beside it; ``across_sizes`` true or false says otherwise. ``test``: t, or
    sign_flip for exact p values from 6-20 pairs of these sizes (the interval stays a t interval).
    """
    if test == "sign_flip":
        if across_sizes or weights or validation_error:
            raise evidence.refuse(
                "a sign-flip test weighs all pairs alike", "drop across_sizes, weights and validation_error"
            )
        across_sizes = False
    unit = evidence.unit(metric) if unit is None else unit
    return _difference(
        evidence, arm, baseline, metric, by, where, weights, across_sizes, validation_error, unit, False, test
    )


@estimator(Facts(df=_df, uses=("tables",)))
def mean_ratio(
    evidence: Evidence,
    arm: str,
    baseline: str,
    metric: str,
    by: Columns | None = None,
    where: Mapping[str, Any] | None = None,
    weights: Mapping[str, float] | None = None,
    across_sizes: bool | None = None,
    unit: str = "ratio",
) -> Estimate:
    """Geometric mean over cells of arm / baseline for a positive metric, paired by seed; see mean_difference."""
    return _difference(evidence, arm, baseline, metric, by, where, weights, across_sizes, 0.0, unit, True)


@estimator(Facts(df=_df, uses=("tables",)))
def mean_value(
    evidence: Evidence,
    arm: str,
    metric: str,
    by: Columns | None = None,
    where: Mapping[str, Any] | None = None,
    across_sizes: bool | None = None,
    unit: str | None = None,
    relative_to: float | None = None,
) -> Estimate:
    """Mean over cells of one arm's metric; ``relative_to`` gives the relative deviation from a target."""
    seeds, notes = evaluation(evidence, arm, metric, evidence.cell_axes(by), where)
    few = [cell_name(k) for k, s in seeds.items() if len(s.values) < 2]
    if few:
        raise evidence.refuse(f"arm {arm!r} has one seed in {', '.join(few)}", "run at least two seeds")
    shift, by_unit = (0.0, 1.0) if relative_to is None else (relative_to, relative_to)
    cells = [paired(cell_name(k), (s.array() - shift) / by_unit) for k, s in seeds.items()]
    shared = value_block_error(evidence, [s.identities for s in seeds.values()], metric) / abs(by_unit)
    mean, said = mean_over_cells(evidence, cells, validation_error=shared, across_sizes=across_sizes)
    if shared:
        said = [*said, f"validation error {shared:.2g} added in quadrature"]
    if mean.se == 0:
        raise evidence.refuse(f"{metric!r} of {arm!r} is identical in all seeds", "state the claim as an identity")
    if unit is None:
        unit = evidence.unit(metric) if relative_to is None else ""
    return Estimate(
        parts=(Part(value=mean.value, se=mean.se, df=mean.df),),
        unit=unit,
        num_sizes=len(cells),
        num_seeds=min(c.n for c in cells),
        num_trials=sum(c.n for c in cells),
        seed_sd=pooled_sd(cells),
        validation_error=shared or None,
        notes=notes + said,
        forms=form_rows(mean, "linear"),
        table=[{"cell": c.name, metric: c.mean * by_unit + shift, "sd": c.sd * by_unit, "n": c.n} for c in cells],
        identities=[i for s in seeds.values() for i in s.identities],
    )
