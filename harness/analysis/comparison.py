"""From the trials table to the numbers of each cell: evaluation seeds, pairs, caps for divergence, edges.

One room for every rule about which rows count, so that all estimators treat them alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from harness.analysis.estimate import Evidence, columns_needed
from harness.analysis.means import Cell, paired, unpaired

RAN = ("completed", "diverged")
SIZE_AXES = ("size", "width")
"""Axes that cells are made of where a claim names none: the first that the trials have."""


def axes_of(trials: pd.DataFrame, by: Sequence[str] | None) -> list[str]:
    """The columns whose values make a cell."""
    if by is not None:
        return [by] if isinstance(by, str) else list(by)
    return next(([c] for c in SIZE_AXES if c in trials.columns and trials[c].notna().any()), [])


def cell_name(key: Any) -> str:
    """A cell's key in words."""
    return " ".join(str(k) for k in (key if isinstance(key, tuple) else (key,))) or "all"


@dataclass
class Seeds:
    """One arm's values in one cell."""

    values: dict[tuple[int, str], float] = field(default_factory=dict)
    """(seed, numerics class) -> value; divergence capped."""
    at_edge: bool = False
    identities: list[str] = field(default_factory=list)
    further: dict[str, list[float]] = field(default_factory=dict)
    """Further columns over the completed seeds."""

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

    Diverged seeds take the trivial loss (``trivial_loss`` of any trial in the cell); a metric that is not a
    loss has no cap, and a mean over survivors is refused. Raises ClaimError naming claim and cure.
    """
    trials = columns_needed(evidence, evidence.trials, ["arm", "role", "seed", "status", metric, *by], "trials")
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
        notes.append(
            f"{arm}: {int(broken.sum())} of {len(rows)} evaluation trials diverged "
            f"({100 * broken.mean():.0f} %, 95 % interval {100 * low:.0f}-{100 * high:.0f} %), "
            "capped at the trivial loss"
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
    columns += [c for c in ("numerics_class", "at_edge", "identity") if c in rows.columns]
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
            cell.identities.append(str(row["identity"]))
    return out


def cap(evidence: Evidence, arm: str, metric: str, key: Any, index: Any = None) -> float:
    """What a diverged trial counts as: its own trivial loss, else the highest that any trial reports."""
    column = evidence.trials["trivial_loss"] if "trivial_loss" in evidence.trials.columns else None
    known = [] if column is None else column.dropna().tolist()
    if "loss" not in metric or not known:
        why = "which has no cap" if "loss" not in metric else "and no trial reports trivial_loss"
        raise evidence.refuse(
            f"trials of arm {arm!r} diverged in cell {cell_name(key)!r}: "
            f"a mean of {metric!r} over the survivors is refused, {why}",
            "judge a loss, or leave the cell out with `where`",
        )
    own = float(column.get(index, np.nan)) if column is not None and index is not None else np.nan
    return own if np.isfinite(own) else float(max(known))


def clopper_pearson(count: int, total: int, alpha: float = 0.05) -> tuple[float, float]:
    """Exact interval of a share."""
    low = stats.beta.ppf(alpha / 2, count, total - count + 1) if count else 0.0
    high = stats.beta.ppf(1 - alpha / 2, count + 1, total - count) if count < total else 1.0
    return float(low), float(high)


@dataclass
class Comparison:
    """Two arms over the cells that both ran."""

    cells: list[Cell]
    keys: list[Any]
    arm: dict[Any, Seeds]
    baseline: dict[Any, Seeds]
    common: dict[Any, tuple[np.ndarray, np.ndarray]]
    """Key -> (arm's values, baseline's values) that were compared; equal lengths where paired."""
    notes: list[str]
    identities: list[str]

    @property
    def num_seeds(self) -> int:
        """Fewest seeds in a cell."""
        return min(min(len(a), len(b)) for a, b in self.common.values())

    @property
    def num_trials(self) -> int:
        """Trials compared."""
        return sum(len(a) + len(b) for a, b in self.common.values())


def compare(
    evidence: Evidence,
    arm: str,
    baseline: str,
    metric: str,
    by: Sequence[str] | None,
    where: Mapping[str, Any] | None = None,
    *,
    extra: Sequence[str] = (),
    log: bool = False,
    least: int = 2,
) -> Comparison:
    """Pairs by (cell, seed) within one numerics class; unpaired (Welch) where the arms share no seed at all.

    ``log``: differences of logarithms. ``least``: seeds a cell must have. Cells with an optimum on the edge
    take no part; seeds that only one arm has are dropped and counted.
    """
    axes = axes_of(evidence.trials, by)
    a, notes_a = evaluation(evidence, arm, metric, axes, where, extra)
    b, notes_b = evaluation(evidence, baseline, metric, axes, where, extra)
    notes = notes_a + [n for n in notes_b if n not in notes_a]
    out = Comparison(cells=[], keys=[], arm=a, baseline=b, common={}, notes=notes, identities=[])
    dropped, edges, alone = 0, [], [cell_name(k) for k in [*a, *b] if not (k in a and k in b)]
    for key in [k for k in a if k in b]:
        if a[key].at_edge or b[key].at_edge:
            edges.append(cell_name(key))
            continue
        x, y = a[key].values, b[key].values
        shared = [k for k in x if k in y]
        name = cell_name(key)
        if shared:
            dropped += len(x) + len(y) - 2 * len(shared)
            u, v = np.array([x[k] for k in shared]), np.array([y[k] for k in shared])
        elif {seed for seed, _ in x} & {seed for seed, _ in y}:
            raise evidence.refuse(
                f"cell {name!r}: arms {arm!r} and {baseline!r} ran in different numerics classes "
                f"({next(iter(x))[1]} and {next(iter(y))[1]})",
                "run both on one kind of machine",
            )
        else:
            notes.append(f"{name}: the arms share no seed; compared unpaired")
            u, v = a[key].array(), b[key].array()
        if min(len(u), len(v)) < least:
            notes.append(f"{name}: {min(len(u), len(v))} common seeds, {least} needed; left out")
            continue
        if log:
            if (u <= 0).any() or (v <= 0).any():
                raise evidence.refuse(
                    f"{metric!r} is not positive everywhere", "use mean_difference instead of a ratio"
                )
            u, v = np.log(u), np.log(v)
        if least > 1:
            out.cells.append(paired(name, u - v) if shared else unpaired(name, u, v))
        out.keys.append(key)
        out.common[key] = (u, v)
        out.identities += a[key].identities + b[key].identities
    if alone:
        notes.append(f"cells that only one of {arm}, {baseline} ran: {', '.join(alone)}")
    if edges:
        notes.append(f"optimum on the edge of its range, left out: {', '.join(edges)}")
    if dropped:
        notes.append(f"{dropped} trials without a partner of the same seed were dropped")
    if not out.keys:
        raise evidence.refuse(
            f"no cell lets {arm!r} and {baseline!r} be compared ({'; '.join(notes) or 'no common cells'})",
            "run both arms in the same cells with at least two common seeds, and extend ranges that end in an edge",
        )
    if all(np.array_equal(u, v) for u, v in out.common.values()):
        raise evidence.refuse(
            f"{metric!r} of {arm!r} and {baseline!r} is identical in all {out.num_trials // 2} pairs",
            "they ran the same computation: check that the arms' configs differ and that the setting has an effect",
        )
    return out


def noise_table(
    trials: pd.DataFrame, metric: str = "test_loss", baseline: str | None = None, by: Sequence[str] | None = None
) -> pd.DataFrame:
    """Noise of a run: cell, arm, n, mean, sd, diverged, and against the baseline r and sd_difference.

    Means and sds are of completed evaluation seeds (their share is in ``diverged``); r and sd_difference over
    common seeds, nan under three. Pairing helped where sd_difference is below sd_unpaired.
    """
    axes = axes_of(trials, by)
    ev = trials[(trials["role"] == "evaluation") & trials["status"].isin(RAN)]
    if "selected" in ev.columns and ev["selected"].fillna(False).any():
        ev = ev[ev["selected"].fillna(False).astype(bool)]
    baseline = baseline or (str(ev["arm"].iloc[0]) if len(ev) else None)
    rows = []
    for key, cell in ev.groupby(axes, dropna=False, sort=False) if axes else [((), ev)]:
        by_arm = {
            str(arm): g.drop_duplicates("seed").set_index("seed") for arm, g in cell.groupby("arm", sort=False)
        }
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
