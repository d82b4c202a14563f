"""A mean over cells as estimators give it: what its interval speaks of, and the other interval beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.analysis.estimate import Part, Scale, form_row
from harness.analysis.evidence import Evidence
from harness.analysis.means import LIKE_THESE, THESE, CellMean, Mean, over_cells


def mean_over_cells(
    evidence: Evidence,
    cells: Sequence[CellMean],
    *,
    weights: np.ndarray | None = None,
    validation_error: float = 0.0,
    across_sizes: bool | None = None,
) -> tuple[Mean, list[str]]:
    """The mean with what it speaks of in a note; ClaimError where ``across_sizes`` cannot be had."""
    if across_sizes and weights is not None:
        raise evidence.refuse("weights speak of these sizes alone", "drop across_sizes or the weights")
    if across_sizes and len(cells) < 2:
        raise evidence.refuse("one cell says nothing across sizes", "run more sizes or drop across_sizes")
    mean = over_cells(cells, weights, validation_error, across_sizes)
    notes = []
    if mean.general:
        notes.append(f"interval over the means of {len(cells)} cells: it speaks of {LIKE_THESE}")
    elif len(cells) > 1:
        notes.append(f"interval over seeds: it speaks of {THESE}")
    return mean, notes


def form_rows(mean: Mean, scale: Scale, of: str = "") -> list[dict[str, Any]]:
    """Both intervals of a mean over several cells, the judged one marked."""
    if len(mean.answers) < 2:
        return []
    return [
        form_row(
            name,
            Part(value=value, se=se, df=df),
            scale,
            used=(name == LIKE_THESE) == mean.general,
            of=of,
        )
        for name, (value, se, df) in mean.answers.items()
    ]
