"""From the trials table to the numbers of each cell: evaluation seeds, caps for divergence, edges.

One room for every rule about which rows count, so that all estimators treat them alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.evidence import Evidence, columns_needed
from harness.analysis.shares import clopper_pearson

RAN = ("completed", "diverged")
FURTHER = ("numerics_class", "at_edge", "identity")
"""Columns that a cell reads where the trials have them."""


def cell_name(key: Any) -> str:
    """A cell's key in words."""
    return " ".join(str(k) for k in (key if isinstance(key, tuple) else (key,))) or "all"


@dataclass
class Seeds:
    """One arm's values in one cell."""

    values: dict[tuple[int, str], float] = field(default_factory=dict)
    """(seed, numerics class) -> value; divergence capped."""
    at_edge: bool = False
    trials: dict[tuple[int, str], str] = field(default_factory=dict)
    """(seed, numerics class) -> identity of the trial."""
    further: dict[str, list[float]] = field(default_factory=dict)
    """Further columns over the completed seeds."""

    @property
    def identities(self) -> list[str]:
        """Of the trials that ran."""
        return list(self.trials.values())

    def array(self) -> np.ndarray:
        """The values, (seeds,)."""
        return np.array(list(self.values.values()))

    def mean(self, column: str) -> float:
        """Mean of a further column over the completed seeds; nan if there is none."""
        return float(np.mean(self.further[column])) if self.further.get(column) else float("nan")


def evaluation(
    evidence: Evidence,
    arm: str,
    metric: str,
    by: Sequence[str],
    where: Mapping[str, Any] | None = None,
    extra: Sequence[str] = (),
) -> tuple[dict[Any, Seeds], list[str]]:
    """An arm's evaluation seeds per cell, and notes on what was left out.

    Diverged seeds take the metric's cap (for losses, the trivial loss); of a metric without one a mean over
    survivors is refused. Raises ClaimError naming claim and cure.
    """
    needed = ["arm", "role", "seed", "status", metric, *by]
    trials = columns_needed(evidence, evidence.trials, [*needed, *(where or {})], "trials")
    # Called for every alternative analysis: rows of two dozen columns would be copied for the few that are read.
    read = {*needed, *(where or {}), *extra, *FURTHER, "selected"}
    trials = trials[[c for c in trials.columns if c in read]]
    rows = trials[(trials["role"] == "evaluation") & (trials["arm"] == arm)]
    rows = filtered(evidence, rows, where)
    if rows.empty:
        known = ", ".join(sorted(map(str, trials["arm"].unique())))
        raise evidence.refuse(
            f"arm {arm!r} has no evaluation records" + (f" where {dict(where)}" if where else ""),
            f"run it or name an arm that ran: {known}",
        )
    if "selected" in rows.columns and rows["selected"].fillna(False).any():
        rows = rows[rows["selected"].fillna(False).astype(bool)]
    notes = []
    lost = rows[~rows["status"].isin(RAN)]
    if len(lost):
        reasons = ", ".join(f"{n} {s}" for s, n in lost["status"].value_counts().items())
        notes.append(f"{arm}: {len(lost)} trials left no result ({reasons})")
        rows = rows[rows["status"].isin(RAN)]
        if rows.empty:
            raise evidence.refuse(
                f"no trial of arm {arm!r} ended ({reasons})", "see the records' reasons and run again"
            )
    broken = rows["status"] == "diverged"
    if broken.all():
        raise evidence.refuse(
            f"arm {arm!r} diverged in all {len(rows)} evaluation trials",
            "extend its learning-rate range downwards; a capped loss is no measurement",
        )
    out = _cells(evidence, arm, metric, by, rows, extra)
    if broken.any():
        low, high = clopper_pearson(int(broken.sum()), len(rows))
        column = evidence.metrics[metric].cap or ""
        capped = evidence.metrics[column].label if column in evidence.metrics else column.replace("_", " ")
        notes.append(
            f"{arm}: {int(broken.sum())} of {len(rows)} evaluation trials diverged "
            f"({100 * broken.mean():.0f} %, 95 % interval {100 * low:.0f}-{100 * high:.0f} %), "
            f"counted at the {capped}"
        )
    return out, notes


def filtered(evidence: Evidence, rows: pd.DataFrame, where: Mapping[str, Any] | None) -> pd.DataFrame:
    """The rows whose columns have these values (a value or a list of values)."""
    for column, wanted in (where or {}).items():
        columns_needed(evidence, rows if len(rows) else evidence.trials, [column], "trials")
        rows = rows[rows[column].isin(wanted if isinstance(wanted, (list, tuple)) else [wanted])]
    return rows


def _cells(
    evidence: Evidence, arm: str, metric: str, by: Sequence[str], rows: pd.DataFrame, extra: Sequence[str]
) -> dict[Any, Seeds]:
    # Plain lists: called for every alternative analysis, and pandas is slow on few rows.
    columns = [*by, "seed", "status", metric, *extra]
    columns += [c for c in FURTHER if c in rows.columns]
    out: dict[Any, Seeds] = {}
    for index, values in zip(rows.index, zip(*(rows[c].tolist() for c in columns), strict=True), strict=True):
        row = dict(zip(columns, values, strict=True))
        key = tuple(row[c] for c in by)
        cell = out.setdefault(key, Seeds())
        known = row.get("numerics_class", "")
        pair = (int(row["seed"]), known if isinstance(known, str) else "")
        if pair in cell.values:
            raise evidence.refuse(
                f"arm {arm!r} has several evaluation trials of one seed in cell {cell_name(key)!r}",
                "name the hyperparameters with `where: {optimizer.lr: ...}` or the further axis with `by`",
            )
        if row["status"] == "diverged":
            value = cap(evidence, arm, metric, key, index)
        else:
            value = float(row[metric])
            for column in extra:
                cell.further.setdefault(column, []).append(float(row[column]))
        if not np.isfinite(value):
            raise evidence.refuse(
                f"{metric!r} is missing in a completed trial of arm {arm!r}, cell {cell_name(key)!r}",
                "name a metric that its workload reports",
            )
        cell.values[pair] = value
        cell.at_edge |= row.get("at_edge") is True
        if "identity" in row:
            cell.trials[pair] = str(row["identity"])
    return out


def cap(evidence: Evidence, arm: str, metric: str, key: Any, index: Any = None) -> float:
    """What a diverged trial counts as: its own value of the metric's cap, else the highest of any trial."""
    name = evidence.metrics[metric].cap if metric in evidence.metrics else None
    column = evidence.trials[name] if name is not None and name in evidence.trials.columns else None
    known = [] if column is None else column.dropna().tolist()
    if not known:
        why = "which has no cap" if name is None else f"and no trial reports {name}"
        raise evidence.refuse(
            f"trials of arm {arm!r} diverged in cell {cell_name(key)!r}: "
            f"a mean of {metric!r} over the survivors is refused, {why}",
            "judge a metric whose workload states a cap, or leave the cell out with `where`",
        )
    own = float(column.get(index, np.nan)) if column is not None and index is not None else np.nan
    return own if np.isfinite(own) else float(max(known))
