"""Seconds that arms take to train each size, from the suite's own exclusive, interleaved timing trials."""

from __future__ import annotations

import numpy as np

from harness.analysis.evidence import Evidence
from harness.analysis.pairing import PairedArms


def seconds_of(
    evidence: Evidence, pairs: PairedArms, arm: str, baseline: str, size: str | None
) -> np.ndarray | None:
    """(2, J) seconds of training, arm first; None where some size of some arm was not timed.

    Median seconds a step of the timing trials, times the steps of the arm's evaluation trials. Evaluation trials
    run beside others, so their own clocks say nothing.
    """
    trials = evidence.trials
    axes = evidence.cell_axes(None if size is None else [size])
    if not {"seconds_training", "steps", *axes} <= set(trials.columns):
        return None
    trials = trials[[*dict.fromkeys(["arm", "role", "status", "seconds_training", "steps", *axes])]]
    done = trials[(trials["status"] == "completed") & trials["steps"].gt(0)]
    timed = done[done["role"] == "timing"]
    if timed.empty:
        return None
    out = np.full((2, len(pairs.keys)), np.nan)
    for row, name in enumerate((arm, baseline)):
        for column, key in enumerate(pairs.keys):
            clocks, ran = (
                f[(f["arm"] == name) & np.all([f[a] == v for a, v in zip(axes, key, strict=True)], axis=0)]
                for f in (timed, done[done["role"] == "evaluation"])
            )
            if len(clocks) and len(ran):
                out[row, column] = (clocks["seconds_training"] / clocks["steps"]).median() * ran["steps"].mean()
    return out if np.isfinite(out).all() and (out > 0).all() else None
