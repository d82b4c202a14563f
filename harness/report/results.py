"""Tables of what trials left: results by arm, how trials ended, step times."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from harness.report.cells import at_best_lr, cell_means, lr_columns, ordered
from harness.report.labels import Labels

COSTS = ("parameters", "tokens", "flops")
"""What results show of a trial's cost, where its workload tells."""


def results_frame(trials: pd.DataFrame, axes: Sequence[str], labels: Labels) -> pd.DataFrame:
    """Evaluation trials by arm and cell: mean, half-width (column ``<metric> ±``), seeds, diverged share, costs.

    Of the metrics that the workload shows. A diverged trial counts with the metric's cap where it declares one;
    where it declares none, a cell with one has no mean.
    """
    done = trials[(trials["role"] == "evaluation") & trials["status"].isin(["completed", "diverged"])]
    wanted = [m for m in labels.shown() if m in done and done[m].notna().any()]
    if done.empty or not wanted:
        return pd.DataFrame()
    keys = ["arm", *[a for a in axes if a in done and done[a].notna().any()]]
    done = capped(at_best_lr(done, keys, wanted[0]), wanted, labels)
    groups = done.groupby(keys, sort=False, observed=True, dropna=False)
    out = groups.agg(
        seeds=("seed", "nunique"), diverged=("status", lambda s: int((s == "diverged").sum()))
    ).reset_index()
    for metric in wanted:
        means = cell_means(done, keys, metric)
        out[metric], out[f"{metric} ±"] = means["mean"], means["half_width_95"]
    for cost in (*lr_columns(done), *(c for c in COSTS if c not in wanted)):
        if cost in done and done[cost].notna().any():
            out[cost] = groups[cost].mean().to_numpy()
    order = {k: {v: i for i, v in enumerate(ordered(done, k))} for k in keys[1:]}
    arms = {a: i for i, a in enumerate(dict.fromkeys(trials["arm"]))}
    out = out.sort_values([*keys[1:], "arm"], key=lambda s: s.map(order.get(str(s.name), arms)), kind="stable")
    return out.reset_index(drop=True)


def capped(trials: pd.DataFrame, metrics: Sequence[str], labels: Labels) -> pd.DataFrame:
    """The trials with each diverged one at the value that its metric's cap gives it."""
    out = trials.copy()
    for metric in metrics:
        cap = labels.cap(metric)
        if cap in out:
            lost = (out["status"] == "diverged") & out[metric].isna()
            out.loc[lost, metric] = out.loc[lost, cap]
    return out


def outcomes_frame(trials: pd.DataFrame) -> pd.DataFrame:
    """How many trials of each arm and role ended how; arms whose every trial completed included."""
    counts = trials.groupby(["arm", "role", "status"], sort=False, observed=True).size().unstack(fill_value=0)
    return counts.reset_index().rename_axis(columns=None) if not trials.empty else pd.DataFrame()


def failures_frame(trials: pd.DataFrame, axes: Sequence[str]) -> pd.DataFrame:
    """One row for each reason that trials did not complete, with how many and where."""
    bad = trials[trials["status"] != "completed"]
    if bad.empty:
        return pd.DataFrame()
    reason = bad["reason"] if "reason" in bad else pd.Series("", index=bad.index)
    bad = bad.assign(reason=reason.fillna("").astype(str).str.strip().str.split("\n").str[-1].str.slice(0, 200))
    keys = ["arm", *[a for a in axes if a in bad and bad[a].notna().any()], "role", "status", "reason"]
    out = bad.groupby(keys, sort=False, observed=True, dropna=False).agg(
        trials=("seed", "size"), **({"earliest_step": ("diverged_step", "min")} if "diverged_step" in bad else {})
    )
    return out.reset_index()


def step_times(trials: pd.DataFrame, axes: Sequence[str]) -> pd.DataFrame:
    """Milliseconds a training step by arm and cell, from exclusive interleaved trials: median, least, most."""
    if trials.empty or "timing" not in set(trials["role"]) or "steps" not in trials:
        return pd.DataFrame()
    timing = trials[(trials["role"] == "timing") & (trials["status"] == "completed")].copy()
    timing["ms"] = 1e3 * timing["seconds_training"] / timing["steps"]
    keys = [a for a in axes if a in timing and timing[a].notna().any()]
    out = timing.groupby(["arm", *keys])["ms"].agg(["median", "min", "max", "count"]).reset_index()
    return out.rename(columns={c: f"ms_per_step_{c}" for c in ("median", "min", "max")})
