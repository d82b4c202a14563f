"""Estimators of hyperparameter transfer: slope of optima, transfer gap, wider is better, slopes over an axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis import transfer
from harness.analysis.comparison import RAN, cap, filtered
from harness.analysis.estimate import Estimate, Evidence, Part, columns_needed, estimator
from harness.analysis.means import unpaired
from harness.errors import ClaimError

LEAST_WIDTHS = 3


def lr_curves(
    evidence: Evidence,
    arm: str,
    axis: str,
    lr: str,
    metric: str,
    where: Mapping[str, Any] | None = None,
    role: str = "evaluation",
) -> tuple[dict[float, pd.DataFrame], list[str], list[str]]:
    """Width -> losses (index LR ascending, columns seeds; inf where diverged), with identities and notes.

    Only seeds that ran every LR of a width take part, so that the points of a curve are paired.
    """
    trials = columns_needed(
        evidence, evidence.trials, ["arm", "role", "seed", "status", axis, lr, metric], "trials"
    )
    rows = filtered(evidence, trials[(trials["arm"] == arm) & (trials["role"] == role)], where)
    rows = rows[rows["status"].isin(RAN) & rows[lr].notna()]
    if rows.empty:
        raise evidence.refuse(
            f"arm {arm!r} has no {role} records over {lr!r}", "run the sweep, or name an arm that has one"
        )
    out, notes = {}, []
    for width, cell in rows.groupby(axis, sort=True):
        values = cell[metric].where(cell["status"] != "diverged", np.inf)
        if cell.duplicated([lr, "seed"]).any():
            raise evidence.refuse(
                f"arm {arm!r}, {axis} {width}: several trials for one LR and seed", "narrow them with `where`"
            )
        if values.isna().any():
            raise evidence.refuse(
                f"{metric!r} is missing in completed trials of {arm!r}", "name a metric that is reported"
            )
        table = cell.assign(loss=values).pivot(index=lr, columns="seed", values="loss")
        whole = table.dropna(axis=1)
        if whole.shape[1] == 0:
            notes.append(f"{arm}, {axis} {width}: no seed ran the whole grid; left out")
            continue
        if whole.shape[1] < table.shape[1]:
            notes.append(
                f"{arm}, {axis} {width}: {table.shape[1] - whole.shape[1]} seeds without the whole grid dropped"
            )
        out[float(str(width))] = whole.sort_index()
    names = rows["identity"].astype(str).tolist() if "identity" in rows.columns else []
    return out, names, notes


def _optima(curves: Mapping[float, pd.DataFrame]) -> dict[float, transfer.Optimum]:
    return {
        width: transfer.optimum(np.log2(table.index.to_numpy(dtype=float)), table.mean(axis=1).to_numpy())
        for width, table in curves.items()
    }


@estimator
def optimum_slope(
    evidence: Evidence,
    arm: str,
    axis: str = "width",
    lr: str = "optimizer.lr",
    metric: str = "validation_loss",
    pool: Sequence[str] | None = None,
    where: Mapping[str, Any] | None = None,
    role: str = "evaluation",
) -> Estimate:
    """Octaves of optimal learning rate per octave of width; scatter of optima pooled over arms.

    ``pool``: arms whose scatter is pooled; default every arm with a sweep over this axis.
    """
    trials = columns_needed(evidence, evidence.trials, ["arm", "role", axis, lr], "trials")
    swept = trials[(trials["role"] == role) & trials[lr].notna()].groupby("arm")[lr].nunique()
    arms = list(pool) if pool is not None else [str(a) for a, n in swept.items() if n >= 3]
    fits: dict[str, tuple[list[float], list[float]]] = {}
    table, notes, identities, seeds = [], [], [], []
    for name in dict.fromkeys([arm, *arms]):
        try:
            curves, used, said = lr_curves(evidence, name, axis, lr, metric, where, role)
        except ClaimError:
            if name == arm:
                raise
            continue  # another arm's gaps do not silence this one; the pool is named in the notes
        optima = _optima(curves)
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
        f"scatter of optima {line.scatter:.2g} octaves pooled over {', '.join(line.pooled_arms)}; "
        f"own {line.own_scatter:.2g}"
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
        arms=(arm,),
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
    optima = _optima({w: curves[w] for w in (a, b)})
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


@estimator
def transfer_gap(
    evidence: Evidence,
    arm: str,
    baseline: str | None = None,
    axis: str = "width",
    lr: str = "optimizer.lr",
    metric: str = "validation_loss",
    source: float | None = None,
    target: float | None = None,
    where: Mapping[str, Any] | None = None,
    role: str = "evaluation",
    unit: str = "nats",
) -> Estimate:
    """Loss that the smallest width's optimal LR costs at the largest width; minus the baseline's cost if named.

    By seed; each seed's loss off the grid is read from the parabola through the three nearest points.
    """
    gap, seeds, row, identities = _gaps(evidence, arm, axis, lr, metric, where, role, source, target)
    rows, notes = [row], []
    arms: tuple[str, ...] = (arm,)
    value = gap
    if baseline is not None:
        other, other_seeds, other_row, more = _gaps(
            evidence, baseline, axis, lr, metric, where, role, source, target
        )
        shared = seeds.intersection(other_seeds)
        if len(shared) == 0:
            raise evidence.refuse(f"{arm!r} and {baseline!r} share no seed", "run both with the same seeds")
        value = gap[seeds.get_indexer(shared)] - other[other_seeds.get_indexer(shared)]
        rows, identities, arms = [row, other_row], identities + more, (arm, baseline)
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
        unit=unit,
        num_sizes=2,
        num_seeds=len(value),
        num_trials=len(identities),
        seed_sd=sd,
        table=rows,
        notes=notes,
        identities=identities,
        arms=arms,
    )


@estimator
def wider_is_better(
    evidence: Evidence,
    arm: str,
    axis: str = "width",
    lr: str = "optimizer.lr",
    metric: str = "validation_loss",
    at: float | None = None,
    curve: str | None = None,
    where: Mapping[str, Any] | None = None,
    role: str = "evaluation",
    from_step_share: float = 0.0,
    unit: str = "nats",
) -> Estimate:
    """Loss of each width minus that of the next narrower one at one LR, a part for each pair (and checkpoint).

    ``at``: the learning rate; default the grid point nearest the smallest width's optimum. ``curve``: a
    training curve, whose common steps are the checkpoints (``from_step_share`` leaves out the first). Widths
    draw their own seeds, so the difference is unpaired. Expect ``{all: {below: 0}}``.
    """
    curves, _, notes = lr_curves(evidence, arm, axis, lr, metric, where, role)
    if len(curves) < 2:
        raise evidence.refuse(f"arm {arm!r} ran at {len(curves)} values of {axis}", "an order needs two")
    smallest = min(curves)
    if at is None:
        best = _optima({smallest: curves[smallest]})[smallest]
        if best.log2_lr is None:
            raise evidence.refuse(
                f"arm {arm!r} has no optimum at {axis} {smallest:g}: {best.reason}", "name `at`, or widen the grid"
            )
        grid = curves[smallest].index.to_numpy(dtype=float)
        at = float(grid[np.argmin(np.abs(np.log2(grid) - best.log2_lr))])
    near = np.isclose(evidence.trials[lr].to_numpy(dtype=float), at, rtol=1e-6)
    rows = evidence.trials[
        near & (evidence.trials["arm"] == arm).to_numpy() & (evidence.trials["role"] == role).to_numpy()
    ]
    rows = filtered(evidence, rows, where)
    rows = rows[rows["status"].isin(RAN)]
    values = _checkpoints(evidence, rows, arm, axis, metric, curve, from_step_share)
    parts, table = [], []
    for step, cell in values.items():
        widths = sorted(cell)
        for narrow, wide in pairwise(widths):
            a, b = cell[wide], cell[narrow]
            if min(len(a), len(b)) < 2:
                raise evidence.refuse(
                    f"{axis} {narrow:g} or {wide:g} has one seed at LR {at:g}", "run two seeds of each"
                )
            c = unpaired(f"{narrow:g} to {wide:g}" + (f" at step {step}" if step is not None else ""), a, b)
            if c.variance == 0:
                raise evidence.refuse(
                    f"{metric!r} is identical in all seeds at {c.name}", "check that seeds change the trials"
                )
            parts.append(Part(value=c.mean, se=float(np.sqrt(c.variance)), df=c.df, label=c.name))
            table.append({"pair": c.name, "difference": c.mean, "n": c.n})
    if not parts:
        raise evidence.refuse(f"fewer than two values of {axis} ran at LR {at:g}", "run the same LR at every width")
    return Estimate(
        parts=tuple(parts),
        unit=unit,
        num_sizes=len({w for cell in values.values() for w in cell}),
        num_seeds=min(len(v) for cell in values.values() for v in cell.values()),
        num_trials=len(rows),
        table=table,
        notes=[*notes, f"at learning rate {at:g}"],
        identities=rows["identity"].astype(str).tolist() if "identity" in rows.columns else [],
        arms=(arm,),
    )


def _checkpoints(
    evidence: Evidence, rows: pd.DataFrame, arm: str, axis: str, metric: str, curve: str | None, share: float
) -> dict[int | None, dict[float, np.ndarray]]:
    """Step -> width -> values over seeds; one entry None for the final metric."""
    if curve is None:
        final = rows[metric].where(rows["status"] != "diverged", np.nan).copy()
        broken = rows["status"] == "diverged"
        if broken.any():
            final[broken] = cap(evidence, arm, metric, "all")
        return {None: {float(str(w)): final[g.index].to_numpy(dtype=float) for w, g in rows.groupby(axis)}}
    known = columns_needed(evidence, evidence.curves, ["identity", "curve", "step", "value"], "curves")
    points = known[known["identity"].isin(rows["identity"]) & (known["curve"] == curve)].drop_duplicates(
        ["identity", "step"]
    )
    if points.empty:
        raise evidence.refuse(
            f"no curve {curve!r} was recorded for arm {arm!r}",
            f"choose from {', '.join(sorted(map(str, known['curve'].unique())))}",
        )
    wide = points.pivot(index="step", columns="identity", values="value").dropna()
    if wide.empty:
        raise evidence.refuse(
            f"curve {curve!r} has no step that all trials of arm {arm!r} recorded",
            "record it at common steps, or compare final metrics",
        )
    wide = wide[wide.index >= share * wide.index.max()]
    width_of = rows.drop_duplicates("identity").set_index("identity")[axis]
    widths = width_of[wide.columns].to_numpy(dtype=float)
    return {
        int(str(step)): {float(w): line.to_numpy(dtype=float)[widths == w] for w in np.unique(widths)}
        for step, line in wide.iterrows()
    }


@estimator
def axis_slope(
    evidence: Evidence,
    arm: str,
    metric: str,
    axis: str = "width",
    by: Sequence[str] | None = None,
    where: Mapping[str, Any] | None = None,
    role: str = "evaluation",
) -> Estimate:
    """Slope of log2 metric over log2 axis (octaves per octave) on seed means; its scatter contains misfit.

    ``by``: columns whose combinations are parts, e.g. layers of a wide metric.
    """
    rows = filtered(
        evidence, columns_needed(evidence, evidence.trials, ["arm", "role", axis, metric], "trials"), where
    )
    rows = rows[(rows["arm"] == arm) & (rows["role"] == role) & (rows["status"] == "completed")]
    return slope_parts(evidence, rows, arm, metric, axis, list(by or []))


def slope_parts(
    evidence: Evidence, rows: pd.DataFrame, arm: str, value: str, axis: str, by: list[str], seed: str = "seed"
) -> Estimate:
    """One log-log slope a group of ``by``; rows hold ``value``, ``axis``, ``seed`` and ``identity``."""
    parts, table, widths, seeds = [], [], set(), []
    for key, group in rows.groupby(by, sort=False) if by else [((), rows)]:
        per_seed = group.groupby([axis, seed])[value].mean()
        means = per_seed.groupby(level=0).mean()
        label = " ".join(map(str, key if isinstance(key, tuple) else (key,)))
        if (means <= 0).any() or means.isna().any():
            raise evidence.refuse(
                f"{value!r} of {arm!r} {label} is not positive at some {axis}",
                "a log-log slope needs positive values",
            )
        if len(means) < LEAST_WIDTHS:
            raise evidence.refuse(
                f"arm {arm!r} {label} ran at {len(means)} values of {axis}", f"{LEAST_WIDTHS} are needed"
            )
        slope, se, df = transfer.log_slope(np.log2(means.index.to_numpy(dtype=float)), np.log2(means.to_numpy()))
        if not se > 0:
            raise evidence.refuse(
                f"{value!r} of {arm!r} {label} lies on a line exactly", "state the claim as an identity"
            )
        parts.append(Part(value=slope, se=se, df=df, label=label))
        table.append(
            {
                "part": label or arm,
                "slope": slope,
                "se": se,
                **{f"{axis} {w:g}": float(v) for w, v in means.items()},
            }
        )
        widths |= set(means.index)
        seeds.append(int(per_seed.groupby(level=0).size().min()))
    if not parts:
        raise evidence.refuse(f"arm {arm!r} has no values of {value!r}", "run it with what measures them")
    identities = rows["identity"].astype(str).unique().tolist() if "identity" in rows.columns else []
    return Estimate(
        parts=tuple(parts),
        unit=f"octaves per octave of {axis}",
        num_sizes=len(widths),
        num_seeds=min(seeds),
        num_trials=len(identities),
        table=table,
        identities=identities,
        arms=(arm,),
    )
