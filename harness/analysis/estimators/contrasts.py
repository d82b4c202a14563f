"""Estimators within one arm: a probe's value by one rule less its value by another, in the same runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from harness.analysis.checkpoints import probe_rows
from harness.analysis.estimate import Estimate, Part
from harness.analysis.evidence import Evidence, columns_needed
from harness.analysis.means import CellMean, paired, pooled_sd
from harness.analysis.over_cells import form_rows, mean_over_cells
from harness.analysis.probe_pairs import cells_of_runs, df_over_runs
from harness.analysis.registry import Columns, Facts, estimator


@estimator(Facts(df=df_over_runs, reads=("trials", "probes")))
def probe_contrast(
    evidence: Evidence,
    arm: str,
    column: str,
    of: str,
    against: str | None = None,
    value: str = "value",
    probe: str | None = None,
    where: Mapping[str, Any] | None = None,
    by: Columns | None = None,
    across_sizes: bool | None = None,
    label: str = "",
) -> Estimate:
    """Mean of a probe's value at one value of a column, less its mean at another, within the same runs.

    One number a run: the mean over its rows at the last checkpoint that every trial has; then over seeds and cells.
    ``of``: the column's value that is asked about; ``against``: the one that is taken off, default none.
    """
    axes = evidence.cell_axes(by)
    wanted = [of] if against is None else [of, against]
    filters = {**(where or {}), column: wanted}
    found = probe_rows(evidence, [arm], probe, value, filters, steps="last")
    rows = columns_needed(evidence, found.rows, ["identity", "seed", column, *axes], "probes")
    wide = rows.pivot_table(index=[*axes, "identity", "seed"], columns=column, values=value, aggfunc="mean")
    if missing := [name for name in wanted if name not in wide]:
        raise evidence.refuse(
            f"arm {arm!r} has no {column} {', '.join(map(repr, missing))}",
            f"choose from {', '.join(map(str, wide))}",
        )
    runs = wide.dropna(subset=wanted).reset_index()
    runs["difference"] = runs[of] - (0.0 if against is None else runs[against])
    cells = cells_of_runs(evidence, runs, axes, _cell)
    mean, notes = mean_over_cells(evidence, cells, across_sizes=across_sizes)
    if not mean.se > 0:
        raise evidence.refuse("the value is the same in all seeds", "check that seeds change the trials")
    return Estimate(
        parts=(Part(value=mean.value, se=mean.se, df=mean.df),),
        unit=label,
        num_sizes=len(cells),
        num_seeds=min(c.n for c in cells),
        num_trials=len(runs),
        seed_sd=pooled_sd(cells),
        table=[
            {"cell": c.name, **{str(name): float(part[name].mean()) for name in wanted}, "difference": c.mean}
            for c, part in zip(cells, _of_cells(runs, axes), strict=True)
        ],
        forms=form_rows(mean, "linear"),
        notes=[*found.notes, *notes],
        identities=runs["identity"].astype(str).tolist(),
    )


def _cell(name: str, runs: pd.DataFrame) -> CellMean:
    return paired(name, runs["difference"].to_numpy())


def _of_cells(runs: pd.DataFrame, axes: list[str]) -> list[pd.DataFrame]:
    return [part for _, part in runs.groupby(axes, sort=False)] if axes else [runs]
