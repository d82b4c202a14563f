"""Estimators of hyperparameter transfer: the slope of optima, and what a transfer costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis import transfer
from harness.analysis.cells import cap
from harness.analysis.estimate import Estimate, Part
from harness.analysis.evidence import Evidence, columns_needed
from harness.analysis.lr_curves import lr_curves, optima_of
from harness.analysis.registry import Design, Expected, Facts, Noise, by_seed, estimator
from harness.analysis.slopes import LEAST_WIDTHS
from harness.errors import ClaimError


def _slope_df(design: Design) -> float:
    return transfer.planned_df(design.sizes, design.arms)


def _slope_error(design: Design, noise: Noise) -> Expected:
    return Expected(se=noise.scatter / np.sqrt(design.sizes * 3**2 / 12), unit="octaves per octave")


def _gap_error(design: Design, noise: Noise) -> Expected:
    return Expected(se=noise.sd / np.sqrt(design.seeds))


@estimator(Facts(df=_slope_df, error=_slope_error, least_sizes=LEAST_WIDTHS, slope=True))
def optimum_slope(
    evidence: Evidence,
    arm: str,
    axis: str | None = None,
    lr: str = "optimizer.lr",
    metric: str = "validation_loss",
    pool: list[str] | None = None,
    where: Mapping[str, Any] | None = None,
    role: str = "evaluation",
) -> Estimate:
    """Octaves of optimal learning rate per octave of width; scatter of optima pooled over arms.

    ``axis``: default the suite's size axis. ``pool``: arms whose scatter is pooled; default every arm with a sweep
    over this axis. Arms share seeds, so their optima err together: the pool's df is what that correlation leaves,
    and an arm that scatters more than the pool is judged by its own scatter.
    """
    axis = evidence.axis(axis)
    trials = columns_needed(evidence, evidence.trials, ["arm", "role", axis, lr], "trials")
    swept = trials[(trials["role"] == role) & trials[lr].notna()].groupby("arm")[lr].nunique()
    arms = [str(a) for a, n in swept.items() if n >= 3] if pool is None else pool
    fits: dict[str, tuple[list[float], list[float]]] = {}
    table, notes, identities, seeds = [], [], [], []
    for name in dict.fromkeys([arm, *arms]):
        try:
            curves, used, said = lr_curves(evidence, name, axis, lr, metric, where, role)
        except ClaimError:
            if name == arm:
                raise
            continue  # another arm's gaps do not silence this one; the pool is named in the notes
        optima = optima_of(curves)
        good = {w: o.log2_lr for w, o in optima.items() if o.log2_lr is not None}
        fits[name] = ([float(np.log2(w)) for w in good], [float(v) for v in good.values()])
        if name == arm:
            identities, notes, seeds = used, said, [t.shape[1] for t in curves.values()]
            table = [
                {
                    axis: w,
                    "log2_lr": o.log2_lr,
                    "argmin": o.argmin,
                    "loss": o.loss,
                    "reason": o.reason,
                    "seeds": curves[w].shape[1],
                }
                for w, o in optima.items()
            ]
    without = [f"{r[axis]:g}: {r['reason']}" for r in table if r["log2_lr"] is None]
    if len(fits[arm][0]) < LEAST_WIDTHS:
        raise evidence.refuse(
            f"arm {arm!r} has an optimum at {len(fits[arm][0])} values of {axis} "
            f"({'; '.join(without) or 'too few ran'})",
            f"{LEAST_WIDTHS} are needed: widen the LR grid or run more values of {axis}",
        )
    line = transfer.slopes(fits)[arm]
    if not line.se > 0 or line.df < 1:
        raise evidence.refuse(
            "the optima lie on a line exactly: there is no scatter to judge by", "run more widths or seeds"
        )
    notes = notes + ([f"no optimum at {axis} {'; '.join(without)}"] if without else [])
    notes.append(
        f"scatter of optima {line.pooled_scatter:.2g} octaves pooled over {', '.join(line.pooled_arms)}; "
        f"own {line.own_scatter:.2g}"
        + (f"; residuals correlate at {line.correlation:.2g}" if len(line.pooled_arms) > 1 else "")
    )
    return Estimate(
        parts=(Part(value=line.slope, se=line.se, df=line.df),),
        unit=f"octaves of LR per octave of {axis}",
        num_sizes=len(fits[arm][0]),
        num_seeds=min(seeds),
        num_trials=len(identities),
        table=table,
        notes=notes,
        identities=identities,
    )


def _gaps(
    evidence: Evidence,
    arm: str,
    axis: str,
    lr: str,
    metric: str,
    where: Mapping[str, Any] | None,
    role: str,
    source: float | None,
    target: float | None,
) -> tuple[np.ndarray, pd.Index, dict[str, Any], list[str]]:
    """Per seed: loss at the target width at the source width's optimum minus at its own optimum."""
    curves, identities, _ = lr_curves(evidence, arm, axis, lr, metric, where, role)
    if len(curves) < 2:
        raise evidence.refuse(f"arm {arm!r} ran at {len(curves)} values of {axis}", "a transfer needs two")
    a, b = source or min(curves), target or max(curves)
    for w in (a, b):
        if w not in curves:
            raise evidence.refuse(
                f"arm {arm!r} did not run {axis} {w:g}", f"choose from {', '.join(f'{x:g}' for x in curves)}"
            )
    optima = optima_of({w: curves[w] for w in (a, b)})
    for w in (a, b):
        if optima[w].log2_lr is None:
            raise evidence.refuse(
                f"arm {arm!r} has no optimum at {axis} {w:g}: {optima[w].reason}", "widen its LR grid"
            )
    moved, own = optima[a].log2_lr, optima[b].log2_lr
    assert moved is not None and own is not None
    table = curves[b]
    x = np.log2(table.index.to_numpy(dtype=float))
    losses = table.to_numpy(dtype=float).T
    if np.isinf(losses).any():
        losses = np.where(np.isinf(losses), cap(evidence, arm, metric, b), losses)
    at_moved, at_own = transfer.at_learning_rate(x, losses, moved), transfer.at_learning_rate(x, losses, own)
    if at_moved is None or at_own is None:
        raise evidence.refuse(
            f"arm {arm!r}: the optimum of {axis} {a:g} (log2 LR {moved:.2f}) lies outside the grid of {axis} {b:g} "
            f"({x[0]:g} to {x[-1]:g})",
            "run that width at the transferred learning rate too",
        )
    row = {
        "arm": arm,
        "from": a,
        "to": b,
        "log2_lr_moved": moved,
        "log2_lr_own": own,
        "gap": float((at_moved - at_own).mean()),
        "seeds": losses.shape[0],
    }
    return at_moved - at_own, table.columns, row, identities


@estimator(Facts(df=by_seed, error=_gap_error, least_sizes=2, in_nats=True))
def transfer_gap(
    evidence: Evidence,
    arm: str,
    baseline: str | None = None,
    axis: str | None = None,
    lr: str = "optimizer.lr",
    metric: str = "validation_loss",
    source: float | None = None,
    target: float | None = None,
    where: Mapping[str, Any] | None = None,
    role: str = "evaluation",
    unit: str | None = None,
) -> Estimate:
    """Loss that the smallest width's optimal LR costs at the largest width; minus the baseline's cost if named.

    By seed; each seed's loss off the grid is read from the parabola through the three nearest points.
    """
    axis = evidence.axis(axis)
    gap, seeds, row, identities = _gaps(evidence, arm, axis, lr, metric, where, role, source, target)
    rows, notes = [row], []
    value = gap
    if baseline is not None:
        other, other_seeds, other_row, more = _gaps(
            evidence, baseline, axis, lr, metric, where, role, source, target
        )
        shared = seeds.intersection(other_seeds)
        if len(shared) == 0:
            raise evidence.refuse(f"{arm!r} and {baseline!r} share no seed", "run both with the same seeds")
        value = gap[seeds.get_indexer(shared)] - other[other_seeds.get_indexer(shared)]
        rows, identities = [row, other_row], identities + more
    if len(value) < 2:
        raise evidence.refuse(
            f"the gap is known from {len(value)} seed", "run at least two seeds at the target width"
        )
    sd = float(value.std(ddof=1))
    if sd == 0:
        raise evidence.refuse("the gap is identical in all seeds", "check that seeds change the trials")
    notes.append("optima come from the same seeds' mean curve: the gap is biased upwards by far less than its se")
    return Estimate(
        parts=(Part(value=float(value.mean()), se=sd / np.sqrt(len(value)), df=len(value) - 1.0),),
        unit=evidence.unit(metric) if unit is None else unit,
        num_sizes=2,
        num_seeds=len(value),
        num_trials=len(identities),
        seed_sd=sd,
        table=rows,
        notes=notes,
        identities=identities,
    )
