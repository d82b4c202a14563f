"""The noise of a run, measured first and printed always: sd by cell and arm, and whether pairing helped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.cells import RAN, cell_name
from harness.errors import ClaimError


def noise_table(
    trials: pd.DataFrame, metric: str = "test_loss", baseline: str | None = None, by: Sequence[str] = ()
) -> pd.DataFrame:
    """Noise of a run: cell, arm, n, mean, sd, diverged, and against the baseline r and sd_difference.

    ``by``: the suite's axes, whose values make a cell, as far as the trials have them. Means and sds are of
    completed evaluation seeds (their share is in ``diverged``), of a sweep at each cell's best hyperparameters;
    r and sd_difference over common seeds, nan under three. Pairing helped where sd_difference is below sd_unpaired.
    Raises ClaimError where a cell holds several trials of one seed.
    """
    ev = trials[(trials["role"] == "evaluation") & trials["status"].isin(RAN)]
    if "selected" in ev.columns and ev["selected"].fillna(False).any():
        ev = ev[ev["selected"].fillna(False).astype(bool)]
    axes = [a for a in ([by] if isinstance(by, str) else by) if a in ev.columns and ev[a].notna().any()]
    # Axes of one value say nothing in a cell's name.
    axes = [a for a in axes if ev[a].nunique(dropna=False) > 1] or axes[:1]
    baseline = baseline or (str(ev["arm"].iloc[0]) if len(ev) else None)
    rows = []
    for key, cell in ev.groupby(axes, dropna=False, sort=False) if axes else [((), ev)]:
        by_arm = {str(a): _by_seed(g, metric, cell_name(key)) for a, g in cell.groupby("arm", sort=False)}
        for arm, g in by_arm.items():
            done = g.loc[g["status"] == "completed", metric].dropna()
            row: dict[str, Any] = {
                "cell": cell_name(key),
                "arm": arm,
                "n": len(done),
                "mean": done.mean(),
                "sd": done.std(ddof=1),
                "diverged": int((g["status"] == "diverged").sum()),
                "r": np.nan,
                "sd_difference": np.nan,
                "sd_unpaired": np.nan,
            }
            if arm != baseline and baseline in by_arm:
                other = by_arm[baseline]
                base = other.loc[other["status"] == "completed", metric].dropna()
                shared = done.index.intersection(base.index)
                if len(shared) >= 3:
                    u, v = done.loc[shared], base.loc[shared]
                    row["sd_difference"] = float((u - v).std(ddof=1))
                    row["sd_unpaired"] = float(np.hypot(u.std(ddof=1), v.std(ddof=1)))
                    if u.std() > 0 and v.std() > 0:
                        row["r"] = float(np.corrcoef(u, v)[0, 1])
            rows.append(row)
    return pd.DataFrame(rows)


def _by_seed(rows: pd.DataFrame, metric: str, cell: str) -> pd.DataFrame:
    """One arm's trials in a cell by seed: of a sweep's, those at the hyperparameters of least mean."""
    swept = [c for c in rows.columns if "." in c and rows[c].nunique() > 1]
    if swept:
        means = rows.groupby(swept)[metric].agg(lambda values: values.mean(skipna=False))
        best = means.idxmin() if means.notna().any() else means.index[0]
        rows = rows[(rows[swept] == (list(best) if isinstance(best, tuple) else [best])).all(axis=1)]
    if rows["seed"].duplicated().any():
        raise ClaimError(
            f"noise of {metric!r}: cell {cell!r} holds several trials of one seed; name the axes with `by`"
        )
    return rows.set_index("seed")
