"""Two arms' probe values side by side: per cell, seed, checkpoint and matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from harness.analysis.cells import cell_name
from harness.analysis.evidence import Evidence, columns_needed
from harness.analysis.means import CellMean, judged_df
from harness.analysis.registry import Design


def df_over_runs(design: Design) -> float:
    """Degrees of freedom that a mean over cells of one number a run would have under a plan."""
    return judged_df(design.sizes, design.seeds, design.arguments.get("across_sizes"))


def cells_of_runs(
    evidence: Evidence, runs: pd.DataFrame, axes: list[str], cell_of: Callable[[str, pd.DataFrame], CellMean]
) -> list[CellMean]:
    """A cell's mean by ``cell_of`` from the rows of its runs, one a seed; refuses a cell of one seed."""
    groups: list[Any] = list(runs.groupby(axes, sort=False)) if axes else [((), runs)]
    for key, cell in groups:
        if len(cell) < 2:
            raise evidence.refuse(
                f"cell {cell_name(key)!r} has one common seed", "run at least two seeds of both arms"
            )
    return [cell_of(cell_name(key), cell) for key, cell in groups]


def paired_units(
    evidence: Evidence, rows: pd.DataFrame, arm: str, baseline: str, value: str, unit: str, keys: list[str]
) -> pd.DataFrame:
    """arm's and baseline's value side by side per (keys, seed, checkpoint, unit): columns arm, baseline."""
    names = [*keys, "seed", "checkpoint", unit]
    columns_needed(evidence, rows, names, "probes")
    wide = rows.pivot_table(index=names, columns="arm", values=value, aggfunc="mean", sort=False).dropna()
    if wide.empty:
        raise evidence.refuse(
            f"{arm!r} and {baseline!r} share no {unit} of one seed", "run both with the same seeds and cadence"
        )
    return wide
