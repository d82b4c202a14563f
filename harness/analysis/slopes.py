"""Log-log slopes over an axis, one a part, whose scatter about the line contains misfit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from harness.analysis import transfer
from harness.analysis.estimate import Estimate, Part
from harness.analysis.evidence import Evidence, numeric_axis

LEAST_WIDTHS = 3
"""Points below which a line has no scatter."""


def slope_parts(
    evidence: Evidence,
    rows: pd.DataFrame,
    arm: str,
    value: str,
    axis: str,
    by: Sequence[str],
    notes: Sequence[str] = (),
) -> Estimate:
    """One log-log slope a group of ``by``; rows hold ``value``, ``axis``, ``seed`` and ``identity``."""
    rows = rows.assign(**{axis: numeric_axis(evidence, rows, axis)})
    parts, table, widths, seeds = [], [], set(), []
    for key, group in rows.groupby(list(by), sort=False) if by else [((), rows)]:
        per_seed = group.groupby([axis, "seed"])[value].mean()
        means = per_seed.groupby(level=0).mean()
        label = " ".join(map(str, key if isinstance(key, tuple) else (key,)))
        if (means <= 0).any() or means.isna().any():
            raise evidence.refuse(
                f"{value!r} of {arm!r} {label} is not positive at some {axis}",
                "a log-log slope needs positive values",
            )
        if len(means) < LEAST_WIDTHS:
            raise evidence.refuse(
                f"arm {arm!r} {label} ran at {len(means)} values of {axis}", f"{LEAST_WIDTHS} are needed"
            )
        slope, se, df = transfer.log_slope(np.log2(means.index.to_numpy(dtype=float)), np.log2(means.to_numpy()))
        if not se > 0:
            raise evidence.refuse(
                f"{value!r} of {arm!r} {label} lies on a line exactly", "state the claim as an identity"
            )
        parts.append(Part(value=slope, se=se, df=df, label=label))
        table.append(
            {
                "part": label or arm,
                "slope": slope,
                "se": se,
                **{f"{axis} {w:g}": float(v) for w, v in means.items()},
            }
        )
        widths |= set(means.index)
        seeds.append(int(per_seed.groupby(level=0).size().min()))
    if not parts:
        raise evidence.refuse(f"arm {arm!r} has no values of {value!r}", "run it with what measures them")
    identities = rows["identity"].astype(str).unique().tolist() if "identity" in rows.columns else []
    return Estimate(
        parts=tuple(parts),
        unit=f"octaves per octave of {axis}",
        num_sizes=len(widths),
        num_seeds=min(seeds),
        num_trials=len(identities),
        table=table,
        notes=list(notes),
        identities=identities,
    )
