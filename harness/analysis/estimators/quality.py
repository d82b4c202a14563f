"""Estimators of quality and cost: means, differences, ratios, and identities without sampling error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.comparison import Comparison, axes_of, cell_name, compare, evaluation, filtered
from harness.analysis.estimate import Estimate, Evidence, Part, columns_needed, estimator
from harness.analysis.means import combine, paired, pooled_sd, validation_error
from harness.analysis.verdicts import MOST_FLIPS


def _by_cells(
    evidence: Evidence, c: Comparison, weights: Mapping[str, float] | None
) -> tuple[np.ndarray, list[Any]]:
    if weights is None:
        return np.full(len(c.cells), 1 / len(c.cells)), []
    missing = [cell.name for cell in c.cells if cell.name not in weights]
    if missing:
        raise evidence.refuse(f"no weight for cells {', '.join(missing)}", "give every cell a weight, or none")
    w = np.array([weights[cell.name] for cell in c.cells], dtype=float)
    return w / w.sum(), [f"weights: {dict(weights)}"]


def _block_error(evidence: Evidence, c: Comparison, arm: str, baseline: str, metric: str, axes: list[str]) -> float:
    """Validation error from ``<metric>_block_<i>`` columns, root mean square over cells; 0 where there are none."""
    blocks = [x for x in evidence.trials.columns if x.startswith(f"{metric}_block_")]
    if len(blocks) < 4:
        return 0.0
    rows = evidence.trials[
        evidence.trials["identity"].isin(c.identities) & (evidence.trials["status"] == "completed")
    ]
    errors = []
    for _, cell in rows.groupby(axes, sort=False) if axes else [((), rows)]:
        a, b = (cell[cell["arm"] == x][blocks].mean() for x in (arm, baseline))
        if a.notna().all() and b.notna().all():
            errors.append(validation_error((a - b).to_numpy()))
    # Cells see the same documents, so their errors do not average out.
    return float(np.sqrt(np.mean(np.square(errors)))) if errors else 0.0


def _difference(
    evidence: Evidence,
    arm: str,
    baseline: str,
    metric: str,
    by: Sequence[str] | None,
    where: Mapping[str, Any] | None,
    weights: Mapping[str, float] | None,
    across_sizes: bool,
    extra_error: float,
    unit: str,
    log: bool,
    test: str = "t",
) -> Estimate:
    axes = axes_of(evidence.trials, by)
    c = compare(evidence, arm, baseline, metric, by, where, log=log)
    w, notes = _by_cells(evidence, c, weights)
    shared = (
        extra_error if log else float(np.hypot(extra_error, _block_error(evidence, c, arm, baseline, metric, axes)))
    )
    if across_sizes:
        if len(c.cells) < 2:
            raise evidence.refuse("one cell says nothing across sizes", "run more sizes or drop across_sizes")
        values = np.array([x.mean for x in c.cells])
        value, se, df = combine(values.mean(), values.var(ddof=1) / len(values), len(values) - 1.0, [1.0])
        se = float(np.hypot(se, shared))
        notes.append("interval over cell means: it speaks of sizes like these")
    else:
        value, se, df = combine(
            [x.mean for x in c.cells], [x.variance for x in c.cells], [x.df for x in c.cells], w, shared
        )
    if se == 0:
        raise evidence.refuse(
            f"all differences of {metric!r} between {arm!r} and {baseline!r} are equal: "
            "there is no noise to judge by",
            "check that seeds change the trials, or state the claim as an identity",
        )
    if shared:
        notes.append(f"validation error {shared:.2g} added in quadrature")
    sd_unpaired = np.sqrt(np.mean([u.var(ddof=1) + v.var(ddof=1) for u, v in c.common.values()]))
    notes.append(f"sd of a difference {pooled_sd(c.cells):.2g} paired, {sd_unpaired:.2g} unpaired")
    table = [
        {
            "cell": x.name,
            arm: float(np.mean(c.common[k][0])),
            baseline: float(np.mean(c.common[k][1])),
            "difference": x.mean,
            "sd": x.sd,
            "n": x.n,
        }
        for x, k in zip(c.cells, c.keys, strict=True)
    ]
    pairs = _pairs(evidence, c) if test == "sign_flip" else None
    return Estimate(
        parts=(Part(value=float(value), se=float(se), df=float(df), pairs=pairs),),
        unit=unit,
        log=log,
        num_sizes=len(c.cells),
        num_seeds=c.num_seeds,
        num_trials=c.num_trials,
        seed_sd=pooled_sd(c.cells),
        table=table,
        notes=c.notes + notes,
        identities=c.identities,
        arms=(arm, baseline),
    )


def _pairs(evidence: Evidence, c: Comparison) -> tuple[float, ...]:
    """All paired differences, for an exact sign-flip test."""
    if any(len(u) != len(v) for u, v in c.common.values()) or any("share no seed" in n for n in c.notes):
        raise evidence.refuse(
            "a sign-flip test needs pairs", "use the t test, or run both arms with the same seeds"
        )
    out = tuple(float(x) for u, v in c.common.values() for x in u - v)
    if not 6 <= len(out) <= MOST_FLIPS:
        raise evidence.refuse(
            f"a sign-flip test of {len(out)} pairs "
            + ("cannot reach 5 %" if len(out) < 6 else "is not enumerated"),
            f"use the t test, or 6 to {MOST_FLIPS} pairs",
        )
    return out


@estimator
def mean_difference(
    evidence: Evidence,
    arm: str,
    baseline: str,
    metric: str = "test_loss",
    by: Sequence[str] | None = None,
    where: Mapping[str, Any] | None = None,
    weights: Mapping[str, float] | None = None,
    across_sizes: bool = False,
    validation_error: float = 0.0,
    unit: str = "nats",
    test: str = "t",
) -> Estimate:
    """Mean over cells of arm minus baseline, paired by seed, Welch-Satterthwaite interval.

    ``across_sizes``: t over cell means instead, for statements about sizes like these. ``test``: t, or
    sign_flip for exact p values from 6-20 pairs (the interval stays a t interval).
    """
    if test not in ("t", "sign_flip"):
        raise evidence.refuse(f"test {test!r} is not known", "choose t or sign_flip")
    if test == "sign_flip" and (across_sizes or weights or validation_error):
        raise evidence.refuse(
            "a sign-flip test weighs all pairs alike", "drop across_sizes, weights and validation_error"
        )
    return _difference(
        evidence, arm, baseline, metric, by, where, weights, across_sizes, validation_error, unit, False, test
    )


@estimator
def mean_ratio(
    evidence: Evidence,
    arm: str,
    baseline: str,
    metric: str,
    by: Sequence[str] | None = None,
    where: Mapping[str, Any] | None = None,
    weights: Mapping[str, float] | None = None,
    across_sizes: bool = False,
    unit: str = "ratio",
) -> Estimate:
    """Geometric mean over cells of arm / baseline for a positive metric, paired by seed."""
    return _difference(evidence, arm, baseline, metric, by, where, weights, across_sizes, 0.0, unit, True)


@estimator
def mean_value(
    evidence: Evidence,
    arm: str,
    metric: str,
    by: Sequence[str] | None = None,
    where: Mapping[str, Any] | None = None,
    unit: str = "",
    relative_to: float | None = None,
) -> Estimate:
    """Mean over cells of one arm's metric; ``relative_to`` gives the relative deviation from a target."""
    axes = axes_of(evidence.trials, by)
    seeds, notes = evaluation(evidence, arm, metric, axes, where)
    few = [cell_name(k) for k, s in seeds.items() if len(s.values) < 2]
    if few:
        raise evidence.refuse(f"arm {arm!r} has one seed in {', '.join(few)}", "run at least two seeds")
    shift, scale = (0.0, 1.0) if relative_to is None else (relative_to, relative_to)
    cells = [paired(cell_name(k), (s.array() - shift) / scale) for k, s in seeds.items()]
    value, se, df = combine([c.mean for c in cells], [c.variance for c in cells], [c.df for c in cells])
    if se == 0:
        raise evidence.refuse(f"{metric!r} of {arm!r} is identical in all seeds", "state the claim as an identity")
    return Estimate(
        parts=(Part(value=float(value), se=float(se), df=float(df)),),
        unit=unit,
        num_sizes=len(cells),
        num_seeds=min(c.n for c in cells),
        num_trials=sum(c.n for c in cells),
        seed_sd=pooled_sd(cells),
        notes=notes,
        table=[{"cell": c.name, metric: c.mean * scale + shift, "sd": c.sd * scale, "n": c.n} for c in cells],
        identities=[i for s in seeds.values() for i in s.identities],
        arms=(arm,),
    )


def _quotient(evidence: Evidence, rows: pd.DataFrame, what: Any) -> np.ndarray:
    """A column, a number, or [numerator, denominator] of columns and numbers, row by row."""
    if isinstance(what, (list, tuple)):
        if len(what) != 2:
            raise evidence.refuse(
                f"{list(what)!r} is no quotient", "give a column, a number or [numerator, denominator]"
            )
        return _quotient(evidence, rows, what[0]) / _quotient(evidence, rows, what[1])
    if isinstance(what, (int, float)):
        return np.full(len(rows), float(what))
    columns_needed(evidence, rows, [what], "trials")
    return rows[what].to_numpy(dtype=float)


@estimator
def identity_bound(
    evidence: Evidence,
    arm: str,
    value: Any,
    bound: Any,
    factor: float = 1.0,
    by: Sequence[str] | None = None,
    where: Mapping[str, Any] | None = None,
) -> Estimate:
    """Largest value / (factor x bound) over an arm's trials: at most 1 where the bound holds. No sampling error.

    ``value`` and ``bound``: a column, a number, or [numerator, denominator]; e.g. value
    ``[flops_optimizer, flops_model]`` against bound ``[width, tokens_per_step]`` with factor T.
    """
    axes = axes_of(evidence.trials, by)
    rows = evidence.trials[(evidence.trials["arm"] == arm) & (evidence.trials["status"] == "completed")]
    rows = filtered(evidence, rows, where)
    if rows.empty:
        raise evidence.refuse(f"arm {arm!r} has no completed records", "run it, or name an arm that ran")
    v, b = _quotient(evidence, rows, value), factor * _quotient(evidence, rows, bound)
    share = v / b
    if not np.isfinite(share).all():
        raise evidence.refuse("value or bound is missing in some trials", "name columns that every trial reports")
    names = [cell_name(k) for k in rows[axes].itertuples(index=False, name=None)] if axes else [arm] * len(rows)
    table = pd.DataFrame({"cell": names, "value": v, "bound": b, "share": share}).drop_duplicates("cell")
    return Estimate(
        parts=(Part(value=float(share.max()), se=0.0, df=np.inf),),
        unit="share of the bound",
        exact=True,
        num_sizes=len(table),
        num_seeds=1,
        num_trials=len(rows),
        table=[{str(k): v for k, v in row.items()} for row in table.to_dict("records")],
        identities=rows["identity"].astype(str).tolist() if "identity" in rows.columns else [],
        arms=(arm,),
    )


@estimator
def identity_difference(
    evidence: Evidence,
    arm: str,
    baseline: str,
    metric: str,
    by: Sequence[str] | None = None,
    where: Mapping[str, Any] | None = None,
) -> Estimate:
    """Largest absolute difference of a metric between two arms over common cells and seeds. No sampling error."""
    axes = axes_of(evidence.trials, by)
    a, notes = evaluation(evidence, arm, metric, axes, where)
    b, _ = evaluation(evidence, baseline, metric, axes, where)
    rows: list[dict[str, Any]] = []
    count = 0
    for key in [k for k in a if k in b]:
        u, v = a[key].values, b[key].values
        shared = [k for k in u if k in v]
        if shared:
            count += 2 * len(shared)
            gap = max(abs(u[k] - v[k]) for k in shared)
            rows.append({"cell": cell_name(key), "difference": gap, "n": len(shared)})
    if not rows:
        raise evidence.refuse(f"{arm!r} and {baseline!r} share no cell and seed", "run both with the same seeds")
    return Estimate(
        parts=(Part(value=max(r["difference"] for r in rows), se=0.0, df=np.inf),),
        unit=f"of {metric}",
        exact=True,
        num_sizes=len(rows),
        num_seeds=min(r["n"] for r in rows),
        num_trials=count,
        table=rows,
        notes=notes,
        identities=[i for s in (a, b) for x in s.values() for i in x.identities],
        arms=(arm, baseline),
    )
