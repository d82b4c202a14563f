"""What "tuned" means for the arms of a claim: which hyperparameters were searched, on how many seeds."""

from __future__ import annotations

from typing import Any

import pandas as pd

from harness.analysis.claim import Claim


def tuning_facts(claim: Claim, trials: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Arm -> its tuning trials in the records: hyperparameters searched, selection seeds, trials.

    Arms that were not tuned in this suite (swept, fixed, or with another arm's settings) are absent.
    """
    if not {"role", "arm", "seed"} <= set(trials.columns):
        return {}
    out = {}
    for arm in (claim.estimator[k] for k in ("arm", "baseline") if claim.estimator.get(k) is not None):
        rows = trials[(trials["role"] == "tuning") & (trials["arm"] == arm)]
        if len(rows):
            out[str(arm)] = {
                "hyperparameters": [str(c) for c in rows.columns if "." in str(c) and rows[c].nunique() > 1],
                "selection_seeds": int(rows["seed"].nunique()),
                "trials": len(rows),
            }
    return out
