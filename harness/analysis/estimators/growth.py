"""How a metric grows over an axis: the slope of its logarithm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.analysis.cells import filtered
from harness.analysis.estimate import Estimate
from harness.analysis.evidence import Evidence, columns_needed
from harness.analysis.registry import Columns, Facts, by_line, estimator
from harness.analysis.slopes import LEAST_WIDTHS, slope_parts


@estimator(Facts(df=by_line, least_sizes=LEAST_WIDTHS, slope=True))
def axis_slope(
    evidence: Evidence,
    arm: str,
    metric: str,
    axis: str | None = None,
    by: Columns | None = None,
    where: Mapping[str, Any] | None = None,
    role: str = "evaluation",
) -> Estimate:
    """Slope of log2 metric over log2 axis (octaves per octave) on seed means; its scatter contains misfit.

    ``by``: columns whose combinations are parts, e.g. layers of a wide metric.
    """
    axis = evidence.axis(axis)
    rows = filtered(
        evidence, columns_needed(evidence, evidence.trials, ["arm", "role", axis, metric], "trials"), where
    )
    rows = rows[(rows["arm"] == arm) & (rows["role"] == role) & (rows["status"] == "completed")]
    return slope_parts(evidence, rows, arm, metric, axis, [by] if isinstance(by, str) else list(by or []))
