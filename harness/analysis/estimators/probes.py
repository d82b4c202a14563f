"""Estimators over probe tables. The unit of analysis is the seed: matrices and layers of one run are one draw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.checkpoints import probe_rows
from harness.analysis.estimate import Estimate, Part
from harness.analysis.evidence import Evidence, columns_needed
from harness.analysis.means import CellMean, paired, pooled_sd
from harness.analysis.over_cells import form_rows, mean_over_cells
from harness.analysis.probe_pairs import cells_of_runs, df_over_runs, paired_units
from harness.analysis.registry import Columns, Facts, Steps, by_line, estimator
from harness.analysis.slopes import LEAST_WIDTHS, slope_parts


def _unit(where: Mapping[str, Any] | None, parts: str | None, value: str) -> str:
    """What a difference is measured in: the functional that was asked for, or each part's own scale."""
    functional = (where or {}).get("functional")
    if parts:
        return f"on the scale of its {parts}"
    return f"of {functional}" if isinstance(functional, str) else f"of {value}"


def _cell(name: str, runs: pd.DataFrame) -> CellMean:
    return paired(name, runs["difference"].to_numpy())


@estimator(Facts(df=df_over_runs, reads=("trials", "probes")))
def probe_difference(
    evidence: Evidence,
    arm: str,
    baseline: str,
    value: str = "value",
    unit: str = "matrix",
    probe: str | None = None,
    where: Mapping[str, Any] | None = None,
    by: Columns | None = None,
    steps: Steps = "last",
    parts: str | None = None,
    skip_first: bool = True,
    across_sizes: bool | None = None,
    label: str = "",
) -> Estimate:
    """Mean over matrices of arm minus baseline, one number a run, mean over cells.

    ``parts``: a probe column (e.g. ``functional``) whose values each become a part. ``steps``: last, or all for a
    part a checkpoint, of those that every trial has. From four cells on the interval is t over cell means, as in
    mean_difference; ``across_sizes`` says otherwise.
    """
    axes = evidence.cell_axes(by)
    found = probe_rows(evidence, [arm, baseline], probe, value, where, steps=steps, skip_first=skip_first)
    rows, notes = found.rows, list(found.notes)
    groups = rows.groupby(parts, sort=False) if parts else [("", rows)]
    out, table, forms, cells_of = [], [], [], []
    for name, group in groups:
        wide = paired_units(evidence, group, arm, baseline, value, unit, axes)
        runs = (
            (wide[arm] - wide[baseline])
            .groupby(level=[*axes, "seed", "checkpoint"])
            .mean()
            .reset_index(name="difference")
        )
        for checkpoint, at in runs.groupby("checkpoint", sort=False):
            text = " ".join(x for x in (str(name), str(checkpoint)) if x)
            cells = cells_of_runs(evidence, at, axes, _cell)
            mean, said = mean_over_cells(evidence, cells, across_sizes=across_sizes)
            if not mean.se > 0:
                raise evidence.refuse(
                    f"{value!r} {text} differs by the same amount in all seeds",
                    "check that seeds change the trials",
                )
            out.append(Part(value=mean.value, se=mean.se, df=mean.df, label=text))
            table.append({"part": text or "all", "difference": mean.value, "se": mean.se})
            forms += form_rows(mean, "linear", text)
            notes += [n for n in said if n not in notes]
            cells_of.append(cells)
    identities = rows["identity"].astype(str).unique().tolist()
    return Estimate(
        parts=tuple(out),
        unit=label or _unit(where, parts, value),
        num_sizes=max(map(len, cells_of)),
        num_seeds=min(c.n for cells in cells_of for c in cells),
        num_trials=len(identities),
        seed_sd=float(np.mean([pooled_sd(cells) for cells in cells_of])),
        table=table,
        forms=forms,
        notes=notes,
        identities=identities,
    )


@estimator(Facts(df=by_line, reads=("trials", "probes"), least_sizes=LEAST_WIDTHS, slope=True))
def probe_slope(
    evidence: Evidence,
    arm: str,
    value: str = "value",
    axis: str | None = None,
    probe: str | None = None,
    where: Mapping[str, Any] | None = None,
    parts: Columns | None = None,
    steps: Steps = "last",
) -> Estimate:
    """Slope of log2 probe value over log2 width (coordinate checks, growth of ranks): a part a layer if asked.

    ``axis``: default the suite's size axis. ``parts``: probe columns whose combinations are parts, e.g.
    ``[layer]``. ``steps``: last, the last checkpoint that every trial has, or all for a part each.
    """
    axis = evidence.axis(axis)
    found = probe_rows(evidence, [arm], probe, value, where, steps=steps)
    columns_needed(evidence, found.rows, [axis], "probes")
    by = [parts] if isinstance(parts, str) else list(parts or [])
    if steps == "all":
        by = [*by, "checkpoint"]
    return slope_parts(evidence, found.rows, arm, value, axis, by, notes=found.notes)
