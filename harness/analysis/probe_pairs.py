"""Two arms' probe values side by side: per cell, seed, checkpoint and matrix."""

from __future__ import annotations

import pandas as pd

from harness.analysis.evidence import Evidence, columns_needed


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
