"""What an equivalence margin in nats is worth in compute, at the slope of loss on compute that the run measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.claim import Claim
from harness.analysis.compute_ratio import as_compute
from harness.analysis.lookup import argument

LEAST_POINTS = 3
"""Amounts of compute below which a slope is not read off."""
APART = 0.25
"""Relative difference between declared and measured worth from which on both are said."""


def measured_worth(claim: Claim, used: pd.DataFrame) -> float | None:
    """Relative extra compute that the claim's margin is worth; None where no slope was measured.

    Per arm, loss against FLOPs at each amount's best hyperparameters (a sweep's other points are no frontier);
    exponents and losses averaged over the arms.
    """
    metric = argument(claim.estimator, "metric")
    if claim.margin is None or metric is None or not {"flops", metric, "arm", "status"} <= set(used.columns):
        return None
    done = used[(used["status"] == "completed") & used["flops"].gt(0) & used[metric].gt(0)]
    swept = [c for c in done.columns if "." in c and done[c].nunique() > 1]
    exponents, losses = [], []
    for _, rows in done.groupby("arm"):
        means = rows.groupby(["flops", *swept], dropna=False)[metric].mean()
        points = means.groupby(level="flops").min() if swept else means
        if len(points) < LEAST_POINTS:
            continue
        compute = np.log(points.index.to_numpy(dtype=float))
        exponents.append(-float(np.polyfit(compute, np.log(points.to_numpy()), 1)[0]))
        losses.append(float(points.mean()))
    if not exponents or np.mean(exponents) <= 0:
        return None
    return as_compute(claim.margin.nats, float(np.mean(exponents)), float(np.mean(losses)))


def margin_note(margin: Mapping[str, Any]) -> str:
    """Both worths of a margin, where they differ by over a quarter; else empty."""
    declared, measured = margin["compute"], margin["compute_measured"]
    if measured is None or abs(measured - declared) <= APART * declared:
        return ""
    return (
        f"the margin of {margin['nats']:g} was declared as {100 * declared:.2g} % of compute; "
        f"at the slope measured here it is {100 * measured:.2g} %"
    )
