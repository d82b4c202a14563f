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

    values: pd.Series
    """Indexed by (seed, numerics class); divergence capped."""
    diverged: int = 0
    at_edge: bool = False
    identities: list[str] = field(default_factory=list)
    mean: dict[str, float] = field(default_factory=dict)
    """Means of further columns over the completed seeds."""


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
    out: dict[Any, Seeds] = {}
    for key, cell in rows.groupby(list(by), dropna=False, sort=False) if by else [((), rows)]:
        out[key] = _seeds(evidence, arm, metric, key, cell, extra)
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


def _seeds(evidence: Evidence, arm: str, metric: str, key: Any, cell: pd.DataFrame, extra: Sequence[str]) -> Seeds:
    classes = cell["numerics_class"] if "numerics_class" in cell.columns else pd.Series("", index=cell.index)
    index = pd.MultiIndex.from_arrays([cell["seed"], classes.fillna("")])
    if index.duplicated().any():
        raise evidence.refuse(
            f"arm {arm!r} has several evaluation trials of one seed in cell {cell_name(key)!r}",
            "name the hyperparameters with `where: {optimizer.lr: ...}` or the further axis with `by`",
        )
    values = pd.Series(cell[metric].to_numpy(dtype=float), index=index)
    broken = (cell["status"] == "diverged").to_numpy()
    if broken.any():
        values[broken] = cap(evidence, arm, metric, key, cell)
    if values.isna().any():
        raise evidence.refuse(
            f"{metric!r} is missing in {int(values.isna().sum())} completed trials of arm {arm!r}, "
            f"cell {cell_name(key)!r}",
            "name a metric that its workload reports",
        )
    done = cell[~broken]
    means = {c: float(done[c].mean()) for c in extra if c in done.columns and len(done)}
    edge = bool(cell["at_edge"].fillna(False).any()) if "at_edge" in cell.columns else False
    names = cell["identity"].astype(str).tolist() if "identity" in cell.columns else []
    return Seeds(values=values, diverged=int(broken.sum()), at_edge=edge, identities=names, mean=means)


def cap(evidence: Evidence, arm: str, metric: str, key: Any, cell: pd.DataFrame) -> float:
    """What a diverged trial counts as: the trivial loss."""
    trivial = (
        evidence.trials["trivial_loss"] if "trivial_loss" in evidence.trials.columns else pd.Series(dtype=float)
    )
    here = trivial.reindex(cell.index).dropna()
    known = here if len(here) else trivial.dropna()
    if "loss" not in metric or known.empty:
        why = "which has no cap" if "loss" not in metric else "and no trial reports trivial_loss"
        raise evidence.refuse(
            f"trials of arm {arm!r} diverged in cell {cell_name(key)!r}: "
            f"a mean of {metric!r} over the survivors is refused, {why}",
            "judge a loss, or leave the cell out with `where`",
        )
    return float(known.max())


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
        shared = x.index.intersection(y.index)
        name = cell_name(key)
        if len(shared):
            dropped += len(x) + len(y) - 2 * len(shared)
            x, y = x.loc[shared], y.loc[shared]
        elif set(x.index.get_level_values(0)) & set(y.index.get_level_values(0)):
            raise evidence.refuse(
                f"cell {name!r}: arms {arm!r} and {baseline!r} ran in different numerics classes "
                f"({x.index[0][1]} and {y.index[0][1]})",
                "run both on one kind of machine",
            )
        else:
            notes.append(f"{name}: the arms share no seed; compared unpaired")
        u, v = x.to_numpy(dtype=float), y.to_numpy(dtype=float)
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
            out.cells.append(paired(name, u - v) if len(shared) else unpaired(name, u, v))
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
