"""Estimators of one arm's probe values against each other, one number a run: correlations and contrasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from scipy import stats

from harness.analysis.checkpoints import ProbeRows, probe_rows
from harness.analysis.estimate import Estimate, Part
from harness.analysis.evidence import Evidence, columns_needed
from harness.analysis.means import CellMean, paired, pooled_sd
from harness.analysis.over_cells import form_rows, mean_over_cells
from harness.analysis.probe_pairs import cells_of_runs, df_over_runs
from harness.analysis.registry import Columns, Facts, estimator

LEAST_UNITS = 3
"""Sites below which a rank correlation is 1 or -1 whatever they are."""


def _cell(name: str, runs: pd.DataFrame) -> CellMean:
    return paired(name, runs["number"].to_numpy())


@estimator(Facts(df=df_over_runs, reads=("trials", "probes")))
def probe_correlation(
    evidence: Evidence,
    arm: str,
    x: str,
    y: str,
    probe: str | None = None,
    where: Mapping[str, Any] | None = None,
    by: Columns | None = None,
    across_sizes: bool | None = None,
) -> Estimate:
    """Rank correlation (Spearman) of two columns over a probe's rows at the end of a run, mean over seeds.

    ``x``: a column of the probe. ``y``: another.
    """
    found = probe_rows(evidence, [arm], probe, y, where, steps="last")
    columns_needed(evidence, found.rows, [x, y], "probes")
    rows = found.rows[found.rows[x].notna()]

    def number(group: pd.DataFrame) -> float:
        if len(group) < LEAST_UNITS or group[x].nunique() == 1 or group[y].nunique() == 1:
            return float("nan")
        return float(stats.spearmanr(group[x], group[y]).statistic)

    return _one_a_run(evidence, arm, found, rows, by, number, across_sizes, f"rank correlation of {x} and {y}")


@estimator(Facts(df=df_over_runs, reads=("trials", "probes")))
def probe_contrast(
    evidence: Evidence,
    arm: str,
    column: str,
    first: str,
    second: str | None = None,
    value: str = "value",
    unit: Columns = "matrix",
    probe: str | None = None,
    where: Mapping[str, Any] | None = None,
    by: Columns | None = None,
    across_sizes: bool | None = None,
    label: str = "",
) -> Estimate:
    """Value in one kind of a probe's rows less that in another, over units at the end of a run, mean over seeds.

    ``column``: what tells the kinds apart. ``first``: its value in the one. ``second``: its value in the other, or
    none for the value itself. ``unit``: columns whose combinations are units, e.g. layer and site.
    """
    names = [first] if second is None else [first, second]
    found = probe_rows(evidence, [arm], probe, value, {**(where or {}), column: names}, steps="last")
    units = [unit] if isinstance(unit, str) else list(unit)
    columns_needed(evidence, found.rows, units, "probes")

    def number(group: pd.DataFrame) -> float:
        wide = group.pivot_table(index=units, columns=column, values=value, aggfunc="mean").dropna()
        if not (set(names) <= set(wide.columns) and len(wide)):
            return float("nan")
        return float((wide[first] - (0.0 if second is None else wide[second])).mean())

    return _one_a_run(evidence, arm, found, found.rows, by, number, across_sizes, label or f"of {value}")


def _one_a_run(
    evidence: Evidence,
    arm: str,
    found: ProbeRows,
    rows: pd.DataFrame,
    by: Sequence[str] | None,
    number: Any,
    across_sizes: bool | None,
    unit: str,
) -> Estimate:
    """Mean over cells and seeds of one number a run; runs without one are counted in a note."""
    axes = evidence.cell_axes(by)
    names = [*axes, "seed"]
    runs = pd.DataFrame(
        [
            {**dict(zip(names, key if isinstance(key, tuple) else (key,), strict=True)), "number": number(group)}
            for key, group in rows.groupby(names, sort=False)
        ]
    )
    notes, known = list(found.notes), runs[runs["number"].notna()] if len(runs) else runs
    if known.empty:
        raise evidence.refuse(f"no run of {arm!r} has what this needs in its probe rows", "relax `where`")
    if lost := len(runs) - len(known):
        notes.append(f"{lost} of {len(runs)} runs have no such number; left out")
    cells = cells_of_runs(evidence, known, axes, _cell)
    mean, said = mean_over_cells(evidence, cells, across_sizes=across_sizes)
    if not mean.se > 0:
        raise evidence.refuse("the number is the same in all seeds", "check that seeds change the trials")
    return Estimate(
        parts=(Part(value=mean.value, se=mean.se, df=mean.df),),
        unit=unit,
        num_sizes=len(cells),
        num_seeds=min(c.n for c in cells),
        num_trials=len(known),
        seed_sd=pooled_sd(cells),
        table=[{str(k): v for k, v in row.items()} for row in known.to_dict("records")],
        forms=form_rows(mean, "linear"),
        notes=notes + said + [f"by seed: {', '.join(f'{v:.3g}' for v in known['number'])}"],
        identities=rows["identity"].astype(str).unique().tolist(),
    )
