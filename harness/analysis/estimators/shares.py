"""The share of matrices (layers, ...) in which one arm is above the other, judged on runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.checkpoints import probe_rows
from harness.analysis.estimate import Estimate, Part
from harness.analysis.evidence import Evidence
from harness.analysis.means import CellMean, paired, pooled_sd
from harness.analysis.over_cells import form_rows, mean_over_cells
from harness.analysis.probe_pairs import cells_of_runs, df_over_runs, paired_units
from harness.analysis.registry import Columns, Facts, Steps, estimator
from harness.analysis.shares import on_logits

LEAST_INSIDE = 2
"""Runs with a share between 0 and 1 below which the spread of shares would rest on one run: then 90 % coverage at a
true share of .999 (six runs)."""


def _cell(name: str, runs: pd.DataFrame) -> CellMean:
    return share_cell(name, runs["share"].to_numpy(), float(runs["units"].mean()))


@estimator(Facts(df=df_over_runs, reads=("trials", "probes")))
def share_by_seed(
    evidence: Evidence,
    arm: str,
    baseline: str,
    value: str = "value",
    unit: str = "matrix",
    probe: str | None = None,
    where: Mapping[str, Any] | None = None,
    by: Columns | None = None,
    steps: Steps = "last",
    skip_first: bool = True,
    across_sizes: bool | None = None,
) -> Estimate:
    """Share of matrices in which arm's value is above baseline's: one share a run, mean over cells and seeds.

    ``steps``: last, or all for one part a checkpoint (the first, where both arms still share their init, is
    left out unless ``skip_first`` is false). Where the runs' shares vary, t on the logit of their mean; where they
    do not (1 in every run, or in all but one), Clopper-Pearson over runs: no interval leaves [0, 1].
    """
    axes = evidence.cell_axes(by)
    found = probe_rows(evidence, [arm, baseline], probe, value, where, steps=steps, skip_first=skip_first)
    wide = paired_units(evidence, found.rows, arm, baseline, value, unit, axes)
    higher = (wide[arm] > wide[baseline]).astype(float)
    level = [*axes, "seed", "checkpoint"]
    runs = pd.DataFrame(
        {
            "share": higher.groupby(level=level, sort=False).mean(),
            "units": higher.groupby(level=level, sort=False).size(),
            "difference": (wide[arm] - wide[baseline]).groupby(level=level, sort=False).mean(),
        }
    ).reset_index()
    parts, forms, notes, cells = [], [], list(found.notes), []
    for name, group in runs.groupby("checkpoint", sort=False):
        cells = cells_of_runs(evidence, group, axes, _cell)
        part, said, rows = judged_share(
            evidence, group["share"].to_numpy(), float(group["units"].sum()), cells, across_sizes, str(name)
        )
        parts.append(part)
        forms += rows
        notes += [n for n in said if n not in notes]
    last = runs[runs["checkpoint"] == runs["checkpoint"].iloc[-1]]
    mean = runs.groupby("seed")["difference"].mean()
    several = {"matrix": "matrices"}.get(unit, f"{unit}s")
    notes.append(f"mean difference by seed: {', '.join(f'{x:.3g}' for x in mean)}")
    notes.append(f"one share a run over {int(runs['units'].median())} {several}")
    identities = found.rows["identity"].astype(str).unique().tolist()
    return Estimate(
        parts=tuple(parts),
        unit=f"share of {several}",
        scale="logit",
        num_sizes=len(cells),
        num_seeds=min(c.n for c in cells),
        num_trials=len(identities),
        seed_sd=pooled_sd(cells),
        table=[
            {
                "cell": " ".join(str(d[a]) for a in axes) or "all",
                "seed": d["seed"],
                "share": d["share"],
                "units": d["units"],
                "mean_difference": d["difference"],
            }
            for d in last.to_dict("records")
        ],
        forms=forms,
        notes=notes,
        identities=identities,
    )


def share_cell(name: str, shares: np.ndarray, units: float) -> CellMean:
    """A cell's runs, (seeds,), each a share over so many matrices; none carries less than that rounding error."""
    made = paired(name, shares)
    sd = max(made.sd, 1 / (units * np.sqrt(12)))
    return replace(made, sd=sd, variance=sd**2 / made.n)


def judged_share(
    evidence: Evidence,
    shares: np.ndarray,
    units: float,
    cells: list[CellMean],
    across_sizes: bool | None = None,
    label: str = "",
) -> tuple[Part, list[str], list[dict[str, Any]]]:
    """One checkpoint's share, with its notes and the other interval beside it.

    ``shares``: (runs,), also by cell in ``cells``; ``units``: matrices behind them, in all.
    """
    inside = int(((shares > 0) & (shares < 1)).sum())
    if shares.std() == 0 or inside < LEAST_INSIDE:
        share = float(shares.mean())
        with np.errstate(divide="ignore"):
            value = float(np.log(share) - np.log1p(-share))
        part = Part(value=value, se=0.0, df=np.inf, count=(float(shares.sum()), len(shares)), label=label)
        why = "every run has the same share" if shares.std() == 0 else f"{inside} runs have a share between 0 and 1"
        return part, [f"{why}: interval over {len(shares)} runs (Clopper-Pearson)"], []
    mean, notes = mean_over_cells(evidence, cells, across_sizes=across_sizes)
    answers = {}
    for name, (value, se, df) in mean.answers.items():
        there = on_logits(value, se, units)
        answers[name] = (float(there[0]), float(there[1]), df)
    logit, error = on_logits(mean.value, mean.se, units)
    part = Part(value=float(logit), se=float(error), df=mean.df, label=label)
    return part, notes, form_rows(replace(mean, answers=answers), "logit", label)
