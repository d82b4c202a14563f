"""Estimators without sampling error: bounds and equalities that hold or do not, at any scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.cells import cell_name, evaluation, filtered
from harness.analysis.estimate import Estimate, Part
from harness.analysis.evidence import Evidence, columns_needed
from harness.analysis.registry import Columns, Facts, estimator, no_error


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


@estimator(Facts(df=no_error))
def identity_bound(
    evidence: Evidence,
    arm: str,
    value: Any,
    bound: Any,
    factor: float = 1.0,
    by: Columns | None = None,
    where: Mapping[str, Any] | None = None,
) -> Estimate:
    """Largest value / (factor x bound) over an arm's trials: at most 1 where the bound holds. No sampling error.

    ``value`` and ``bound``: a column, a number, or [numerator, denominator]; e.g. value
    ``[flops_optimizer, flops_model]`` against bound ``[width, tokens_per_step]`` with factor T.
    """
    axes = evidence.cell_axes(by)
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
    )


@estimator(Facts(df=no_error))
def identity_difference(
    evidence: Evidence,
    arm: str,
    baseline: str,
    metric: str,
    by: Columns | None = None,
    where: Mapping[str, Any] | None = None,
) -> Estimate:
    """Largest absolute difference of a metric between two arms over common cells and seeds. No sampling error."""
    axes = evidence.cell_axes(by)
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
        unit=evidence.unit(metric, f"of {metric}"),
        exact=True,
        num_sizes=len(rows),
        num_seeds=min(r["n"] for r in rows),
        num_trials=count,
        table=rows,
        notes=notes,
        identities=[i for s in (a, b) for x in s.values() for i in x.identities],
    )
