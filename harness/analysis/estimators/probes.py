"""Estimators over probe tables. The unit of analysis is the seed: matrices and layers of one run are one draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.comparison import axes_of, cell_name
from harness.analysis.estimate import Estimate, Evidence, Part, columns_needed, estimator
from harness.analysis.estimators.transfer import slope_parts
from harness.analysis.means import Cell, combine, paired, pooled_sd


def probe_rows(
    evidence: Evidence, arms: Sequence[str], probe: str | None, value: str, where: Mapping[str, Any] | None
) -> pd.DataFrame:
    """A probe's rows for these arms' evaluation trials, filtered by column values."""
    rows = columns_needed(evidence, evidence.probes, ["identity", "arm", "seed", value], "probes")
    if probe is not None:
        columns_needed(evidence, rows, ["probe"], "probes")
        if not (rows["probe"] == probe).any():
            raise evidence.refuse(
                f"no probe {probe!r} was recorded",
                f"choose from {', '.join(sorted(map(str, rows['probe'].unique())))}",
            )
        rows = rows[rows["probe"] == probe]
    if "role" in rows.columns:
        rows = rows[rows["role"] == "evaluation"]
    for column, wanted in (where or {}).items():
        columns_needed(evidence, rows if len(rows) else evidence.probes, [column], "probes")
        rows = rows[rows[column].isin(wanted if isinstance(wanted, (list, tuple)) else [wanted])]
    rows = rows[rows["arm"].isin(arms) & rows[value].notna()]
    for arm in arms:
        if not (rows["arm"] == arm).any():
            raise evidence.refuse(
                f"arm {arm!r} has no values of {value!r}" + (f" where {dict(where)}" if where else ""),
                "run it with this probe, or relax `where`",
            )
    return rows


def _steps(rows: pd.DataFrame, steps: str, skip_first: bool) -> pd.DataFrame:
    """Rows of the last checkpoint of each run, or of all; a share of training, since lengths differ by size."""
    if "step" not in rows.columns:
        return rows.assign(checkpoint="")
    last = rows.groupby("identity")["step"].transform("max")
    if steps == "last":
        return rows[rows["step"] == last].assign(checkpoint="")
    # The n-th checkpoint of a run: the cadence is a share of training, so ranks match over sizes.
    rank = rows.groupby("identity")["step"].rank(method="dense").astype(int)
    rows = rows.assign(checkpoint=[f"checkpoint {r}" for r in rank])
    return rows[rank > 1] if skip_first else rows


def _paired_units(
    evidence: Evidence, rows: pd.DataFrame, arm: str, baseline: str, value: str, unit: str, keys: list[str]
) -> pd.DataFrame:
    """arm's and baseline's value side by side per (keys, seed, unit): columns arm, baseline."""
    names = [*keys, "seed", "checkpoint", unit]
    columns_needed(evidence, rows, names, "probes")
    wide = rows.pivot_table(index=names, columns="arm", values=value, aggfunc="mean").dropna()
    if wide.empty:
        raise evidence.refuse(
            f"{arm!r} and {baseline!r} share no {unit} of one seed", "run both with the same seeds and cadence"
        )
    return wide


def _several(unit: str) -> str:
    return {"matrix": "matrices"}.get(unit, f"{unit}s")


def _scale(where: Mapping[str, Any] | None, parts: str | None, value: str) -> str:
    """What a difference is measured in: the functional that was asked for, or each part's own scale."""
    functional = (where or {}).get("functional")
    if parts:
        return f"on the scale of its {parts}"
    return f"of {functional}" if isinstance(functional, str) else f"of {value}"


@estimator
def share_by_seed(
    evidence: Evidence,
    arm: str,
    baseline: str,
    value: str = "value",
    unit: str = "matrix",
    probe: str | None = None,
    where: Mapping[str, Any] | None = None,
    by: Sequence[str] | None = None,
    steps: str = "last",
    skip_first: bool = True,
) -> Estimate:
    """Share of matrices in which arm's value is above baseline's: one share a run, mean over cells and seeds.

    ``steps``: last, or all for one part a checkpoint (the first, where both arms still share their init, is
    left out unless ``skip_first`` is false). A share over m matrices is known to 1 / m, so each run carries
    at least that rounding error, 1 / (m sqrt 12).
    """
    axes = axes_of(evidence.trials, by)
    rows = _steps(probe_rows(evidence, [arm, baseline], probe, value, where), steps, skip_first)
    if rows.empty:
        raise evidence.refuse("only one checkpoint was recorded", "probe more often, or use steps: last")
    wide = _paired_units(evidence, rows, arm, baseline, value, unit, axes)
    higher = (wide[arm] > wide[baseline]).astype(float)
    runs = pd.DataFrame(
        {
            "share": higher.groupby(level=[*axes, "seed", "checkpoint"]).mean(),
            "units": higher.groupby(level=[*axes, "seed", "checkpoint"]).size(),
            "difference": (wide[arm] - wide[baseline]).groupby(level=[*axes, "seed", "checkpoint"]).mean(),
        }
    ).reset_index()
    parts, cells_of, table = [], {}, []
    for name, group in runs.groupby("checkpoint", sort=False):
        cells = []
        for key, cell in group.groupby(axes, sort=False) if axes else [((), group)]:
            if len(cell) < 2:
                raise evidence.refuse(
                    f"cell {cell_name(key)!r} has one common seed", "run at least two seeds of both arms"
                )
            made = paired(cell_name(key), cell["share"].to_numpy())
            rounding = float((1 / (cell["units"] * np.sqrt(12))).mean())
            sd = max(made.sd, rounding)
            cells.append(Cell(name=made.name, mean=made.mean, variance=sd**2 / made.n, df=made.df, n=made.n, sd=sd))
        cells_of[name] = cells
        v, se, df = combine([c.mean for c in cells], [c.variance for c in cells], [c.df for c in cells])
        parts.append(Part(value=float(v), se=float(se), df=float(df), label=str(name)))
    for d in runs.to_dict("records"):
        if d["checkpoint"] == runs["checkpoint"].iloc[-1]:
            table.append(
                {
                    "cell": " ".join(str(d[a]) for a in axes) or "all",
                    "seed": d["seed"],
                    "share": d["share"],
                    "units": d["units"],
                    "mean_difference": d["difference"],
                }
            )
    last = list(cells_of.values())[-1]
    mean = runs.groupby("seed")["difference"].mean()
    notes = [
        f"mean difference by seed: {', '.join(f'{x:.3g}' for x in mean)}",
        f"one share a run over {int(runs['units'].median())} {_several(unit)}",
    ]
    identities = rows["identity"].astype(str).unique().tolist()
    return Estimate(
        parts=tuple(parts),
        unit=f"share of {_several(unit)}",
        num_sizes=len(last),
        num_seeds=min(c.n for c in last),
        num_trials=len(identities),
        seed_sd=pooled_sd(last),
        table=table,
        notes=notes,
        identities=identities,
        arms=(arm, baseline),
    )


@estimator
def probe_difference(
    evidence: Evidence,
    arm: str,
    baseline: str,
    value: str = "value",
    unit: str = "matrix",
    probe: str | None = None,
    where: Mapping[str, Any] | None = None,
    by: Sequence[str] | None = None,
    steps: str = "last",
    parts: str | None = None,
    skip_first: bool = True,
    label: str = "",
) -> Estimate:
    """Mean over matrices of arm minus baseline, one number a run, mean over cells by seed.

    ``parts``: a probe column (e.g. ``functional``) whose values each become a part; ``steps``: last or all.
    """
    axes = axes_of(evidence.trials, by)
    rows = _steps(probe_rows(evidence, [arm, baseline], probe, value, where), steps, skip_first)
    groups = rows.groupby(parts, sort=False) if parts else [("", rows)]
    out, table, seeds, sds, cells_n = [], [], [], [], 0
    for name, group in groups:
        wide = _paired_units(evidence, group, arm, baseline, value, unit, axes)
        runs = (
            (wide[arm] - wide[baseline])
            .groupby(level=[*axes, "seed", "checkpoint"])
            .mean()
            .reset_index(name="difference")
        )
        for checkpoint, at in runs.groupby("checkpoint", sort=False):
            cells = []
            for key, cell in at.groupby(axes, sort=False) if axes else [((), at)]:
                if len(cell) < 2:
                    raise evidence.refuse(
                        f"cell {cell_name(key)!r} has one common seed", "run at least two seeds of both arms"
                    )
                cells.append(paired(cell_name(key), cell["difference"].to_numpy()))
            v, se, df = combine([c.mean for c in cells], [c.variance for c in cells], [c.df for c in cells])
            text = " ".join(x for x in (str(name), str(checkpoint)) if x)
            if not se > 0:
                raise evidence.refuse(
                    f"{value!r} {text} differs by the same amount in all seeds",
                    "check that seeds change the trials",
                )
            out.append(Part(value=float(v), se=float(se), df=float(df), label=text))
            table.append({"part": text or "all", "difference": float(v), "se": float(se)})
            seeds.append(min(c.n for c in cells))
            sds.append(pooled_sd(cells))
            cells_n = max(cells_n, len(cells))
    identities = rows["identity"].astype(str).unique().tolist()
    return Estimate(
        parts=tuple(out),
        unit=label or _scale(where, parts, value),
        num_sizes=cells_n,
        num_seeds=min(seeds),
        num_trials=len(identities),
        seed_sd=float(np.mean(sds)),
        table=table,
        identities=identities,
        arms=(arm, baseline),
    )


@estimator
def probe_slope(
    evidence: Evidence,
    arm: str,
    value: str = "value",
    axis: str = "width",
    probe: str | None = None,
    where: Mapping[str, Any] | None = None,
    parts: Sequence[str] | None = None,
    steps: str = "last",
) -> Estimate:
    """Slope of log2 probe value over log2 width (coordinate checks, growth of ranks): a part a layer if asked.

    ``parts``: probe columns whose combinations are parts, e.g. ``[layer]``.
    """
    rows = _steps(probe_rows(evidence, [arm], probe, value, where), steps, False)
    columns_needed(evidence, rows, [axis], "probes")
    by = [parts] if isinstance(parts, str) else list(parts or [])
    if steps == "all":
        by = [*by, "checkpoint"]
    return slope_parts(evidence, rows, arm, value, axis, by)
