"""Tuning curves of an arm over an axis: losses by width, learning rate and seed, and their optima."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis import transfer
from harness.analysis.cells import RAN, filtered
from harness.analysis.evidence import Evidence, columns_needed, numeric_axis


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
    columns = ["arm", "role", "seed", "status", axis, lr, metric, *(where or {})]
    trials = columns_needed(evidence, evidence.trials, columns, "trials")
    # Called for every alternative analysis: rows of two dozen columns would be copied for the few that are read.
    trials = trials[[c for c in trials.columns if c == "identity" or c in columns]]
    rows = filtered(evidence, trials[(trials["arm"] == arm) & (trials["role"] == role)], where)
    rows = rows[rows["status"].isin(RAN) & rows[lr].notna()]
    if rows.empty:
        raise evidence.refuse(
            f"arm {arm!r} has no {role} records over {lr!r}", "run the sweep, or name an arm that has one"
        )
    out, notes = {}, []
    rows = rows.assign(**{axis: numeric_axis(evidence, rows, axis), lr: numeric_axis(evidence, rows, lr)})
    for width, cell in rows.groupby(axis, sort=True):
        values = cell[metric].where(cell["status"] != "diverged", np.inf)
        if cell.duplicated([lr, "seed"]).any():
            raise evidence.refuse(
                f"arm {arm!r}, {axis} {width:g}: several trials for one LR and seed", "narrow them with `where`"
            )
        if values.isna().any():
            raise evidence.refuse(
                f"{metric!r} is missing in completed trials of {arm!r}", "name a metric that is reported"
            )
        table = cell.assign(loss=values).pivot(index=lr, columns="seed", values="loss")
        whole = table.dropna(axis=1)
        if whole.shape[1] == 0:
            notes.append(f"{arm}, {axis} {width:g}: no seed ran the whole grid; left out")
            continue
        if whole.shape[1] < table.shape[1]:
            notes.append(
                f"{arm}, {axis} {width:g}: {table.shape[1] - whole.shape[1]} seeds without the whole grid dropped"
            )
        out[float(str(width))] = whole.sort_index()
    names = rows["identity"].astype(str).tolist() if "identity" in rows.columns else []
    return out, names, notes


def optima_of(curves: Mapping[float, pd.DataFrame]) -> dict[float, transfer.Optimum]:
    """Each width's optimum, on its seed-mean curve."""
    return {
        width: transfer.optimum(np.log2(table.index.to_numpy(dtype=float)), table.mean(axis=1).to_numpy())
        for width, table in curves.items()
    }
