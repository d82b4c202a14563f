"""Cells of trials: their order, their means over seeds, and what is refused as a mean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from harness import numbers


def natural_key(value: Any) -> tuple[Any, ...]:
    """Sorts d8 before d24 and 64 before 128."""
    if numbers.is_finite(value):
        return (0, float(value), "")
    parts = re.split(r"(\d+(?:\.\d+)?)", str(value))
    return (1, *((1, float(p), "") if i % 2 else (0, 0.0, p) for i, p in enumerate(parts)))


def ordered(frame: pd.DataFrame, axis: str) -> list[Any]:
    """The axis' values: by mean parameter count where known, else in natural order."""
    present = frame[frame[axis].notna()]
    values = sorted(present[axis].unique(), key=natural_key)
    if "parameters" in present.columns and not all(numbers.is_finite(v) for v in values):
        means = present.groupby(axis, observed=True)["parameters"].mean()
        if means.notna().all():
            values.sort(key=lambda v: float(means[v]))
    return values


def lr_columns(trials: pd.DataFrame) -> list[str]:
    """Columns of learning rates, the optimizer's first."""
    found = [str(c) for c in trials.columns if str(c).endswith(".lr") and trials[c].notna().any()]
    return sorted(found, key=lambda c: c != "optimizer.lr")


def at_best_lr(trials: pd.DataFrame, cell: Sequence[str], metric: str) -> pd.DataFrame:
    """Of a sweep's trials, those at each cell's learning rate of least mean metric; others unchanged."""
    columns, keys = lr_columns(trials), list(cell)
    if not columns or metric not in trials:
        return trials
    column = columns[0]
    if trials.groupby(keys, observed=True)[column].nunique().max() <= 1:
        return trials
    cells = cell_means(trials, [*keys, column], metric)
    cells = cells[cells["num_missing"] == 0].dropna(subset=["mean"])
    best = cells.loc[cells.groupby(keys, observed=True)["mean"].idxmin(), [*keys, column]]
    return trials.merge(best, on=[*keys, column])


def half_width(sd: Any, n: Any) -> np.ndarray:
    """Half-width of the 95 % t interval of a mean over n seeds; NaN below two."""
    n = np.asarray(n, dtype=float)
    df = np.where(n > 1, n - 1, np.nan)
    return stats.t.ppf(0.975, df) * np.asarray(sd, dtype=float) / np.sqrt(n)


def cell_means(frame: pd.DataFrame, by: Sequence[str], metric: str) -> pd.DataFrame:
    """One row a cell: mean, sd, n, half_width_95, num_missing. A cell that lost a seed has no mean.

    A mean over survivors would flatter whatever diverges, so it is refused (NaN).
    """
    groups = frame.groupby(list(by), sort=False, observed=True, dropna=False)
    out = groups[metric].agg(mean="mean", sd="std", n="count", num_trials="size").reset_index()
    out["num_missing"] = out["num_trials"] - out["n"]
    out.loc[out["num_missing"] > 0, ["mean", "sd"]] = np.nan
    out["half_width_95"] = half_width(out["sd"], out["n"])
    return out.drop(columns="num_trials")
