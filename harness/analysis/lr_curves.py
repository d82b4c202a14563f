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
    widths, rates = (numeric_axis(evidence, rows, c).to_numpy() for c in (axis, lr))
    values = rows[metric].where(rows["status"] != "diverged", np.inf).to_numpy(dtype=float)
    seeds = rows["seed"].to_numpy()
    for width in np.unique(widths):
        here = widths == width
        if len({*zip(rates[here], seeds[here], strict=True)}) < here.sum():
            raise evidence.refuse(
                f"arm {arm!r}, {axis} {width:g}: several trials for one LR and seed", "narrow them with `where`"
            )
        if np.isnan(values[here]).any():
            raise evidence.refuse(
                f"{metric!r} is missing in completed trials of {arm!r}", "name a metric that is reported"
            )
        table = _by_rate_and_seed(rates[here], seeds[here], values[here])
        whole = table.loc[:, table.notna().all()]
        if whole.shape[1] == 0:
            notes.append(f"{arm}, {axis} {width:g}: no seed ran the whole grid; left out")
            continue
        if whole.shape[1] < table.shape[1]:
            notes.append(
                f"{arm}, {axis} {width:g}: {table.shape[1] - whole.shape[1]} seeds without the whole grid dropped"
            )
        out[float(str(width))] = whole
    names = rows["identity"].astype(str).tolist() if "identity" in rows.columns else []
    return out, names, notes


def _by_rate_and_seed(rates: np.ndarray, seeds: np.ndarray, values: np.ndarray) -> pd.DataFrame:
    """Values as a table, rows by rate and columns by seed, both ascending; NaN where there is none.

    By hand: a pivot of a dozen numbers takes pandas milliseconds, and leaving out choices one by one takes many.
    """
    rows, row = np.unique(rates, return_inverse=True)
    columns, column = np.unique(seeds, return_inverse=True)
    table = np.full((len(rows), len(columns)), np.nan)
    table[row, column] = values
    return pd.DataFrame(table, index=rows, columns=columns)


def optima_of(curves: Mapping[float, pd.DataFrame]) -> dict[float, transfer.Optimum]:
    """Each width's optimum, on its seed-mean curve."""
    return {
        width: transfer.optimum(np.log2(table.index.to_numpy(dtype=float)), table.mean(axis=1).to_numpy())
        for width, table in curves.items()
    }
