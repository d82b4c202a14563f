"""Whether each width does better than the one below it, at one learning rate, at the end or at every checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.cells import RAN, cap, filtered
from harness.analysis.estimate import Estimate, Part
from harness.analysis.evidence import Evidence, columns_needed
from harness.analysis.lr_curves import lr_curves, optima_of
from harness.analysis.means import unpaired
from harness.analysis.registry import Design, Expected, Facts, Noise, by_seed, estimator


def _error(design: Design, noise: Noise) -> Expected:
    return Expected(se=noise.sd / np.sqrt(design.seeds))


@estimator(Facts(df=by_seed, error=_error, uses=("curves",), least_sizes=2, in_nats=True))
def wider_is_better(
    evidence: Evidence,
    arm: str,
    axis: str | None = None,
    lr: str = "optimizer.lr",
    metric: str = "validation_loss",
    at: float | None = None,
    curve: str | None = None,
    where: Mapping[str, Any] | None = None,
    role: str = "evaluation",
    from_step_share: float = 0.0,
    unit: str | None = None,
) -> Estimate:
    """Loss of each width minus that of the next narrower one at one LR, a part for each pair (and checkpoint).

    ``at``: the learning rate; default the grid point nearest the smallest width's optimum. ``curve``: a
    training curve, whose common steps are the checkpoints (``from_step_share`` leaves out the first). Widths
    draw their own seeds, so the difference is unpaired. Expect ``{all: {below: 0}}``.
    """
    axis = evidence.axis(axis)
    curves, _, notes = lr_curves(evidence, arm, axis, lr, metric, where, role)
    if len(curves) < 2:
        raise evidence.refuse(f"arm {arm!r} ran at {len(curves)} values of {axis}", "an order needs two")
    smallest = min(curves)
    if at is None:
        best = optima_of({smallest: curves[smallest]})[smallest]
        if best.log2_lr is None:
            raise evidence.refuse(
                f"arm {arm!r} has no optimum at {axis} {smallest:g}: {best.reason}", "name `at`, or widen the grid"
            )
        grid = curves[smallest].index.to_numpy(dtype=float)
        at = float(grid[np.argmin(np.abs(np.log2(grid) - best.log2_lr))])
    near = np.isclose(pd.to_numeric(evidence.trials[lr], errors="coerce").to_numpy(dtype=float), at, rtol=1e-6)
    rows = evidence.trials[
        near & (evidence.trials["arm"] == arm).to_numpy() & (evidence.trials["role"] == role).to_numpy()
    ]
    rows = filtered(evidence, rows, where)
    rows = rows[rows["status"].isin(RAN)]
    values = _checkpoints(evidence, rows, arm, axis, metric, curve, from_step_share)
    parts, table = [], []
    for step, cell in values.items():
        widths = sorted(cell)
        for narrow, wide in pairwise(widths):
            a, b = cell[wide], cell[narrow]
            if min(len(a), len(b)) < 2:
                raise evidence.refuse(
                    f"{axis} {narrow:g} or {wide:g} has one seed at LR {at:g}", "run two seeds of each"
                )
            c = unpaired(f"{narrow:g} to {wide:g}" + (f" at step {step}" if step is not None else ""), a, b)
            if c.variance == 0:
                raise evidence.refuse(
                    f"{metric!r} is identical in all seeds at {c.name}", "check that seeds change the trials"
                )
            parts.append(Part(value=c.mean, se=float(np.sqrt(c.variance)), df=c.df, label=c.name))
            table.append({"pair": c.name, "difference": c.mean, "n": c.n})
    if not parts:
        raise evidence.refuse(f"fewer than two values of {axis} ran at LR {at:g}", "run the same LR at every width")
    return Estimate(
        parts=tuple(parts),
        unit=evidence.unit(curve or metric) if unit is None else unit,
        num_sizes=len({w for cell in values.values() for w in cell}),
        num_seeds=min(len(v) for cell in values.values() for v in cell.values()),
        num_trials=len(rows),
        table=table,
        notes=[*notes, f"at learning rate {at:g}"],
        identities=rows["identity"].astype(str).tolist() if "identity" in rows.columns else [],
    )


def _checkpoints(
    evidence: Evidence, rows: pd.DataFrame, arm: str, axis: str, metric: str, curve: str | None, share: float
) -> dict[int | None, dict[float, np.ndarray]]:
    """Step -> width -> values over seeds; one entry None for the final metric."""
    if curve is None:
        final = rows[metric].where(rows["status"] != "diverged", np.nan).copy()
        broken = rows["status"] == "diverged"
        if broken.any():
            final[broken] = cap(evidence, arm, metric, "all")
        return {None: {float(str(w)): final[g.index].to_numpy(dtype=float) for w, g in rows.groupby(axis)}}
    known = columns_needed(evidence, evidence.curves, ["identity", "curve", "step", "value"], "curves")
    points = known[known["identity"].isin(rows["identity"]) & (known["curve"] == curve)].drop_duplicates(
        ["identity", "step"]
    )
    if points.empty:
        raise evidence.refuse(
            f"no curve {curve!r} was recorded for arm {arm!r}",
            f"choose from {', '.join(sorted(map(str, known['curve'].unique())))}",
        )
    wide = points.pivot(index="step", columns="identity", values="value").dropna()
    if wide.empty:
        raise evidence.refuse(
            f"curve {curve!r} has no step that all trials of arm {arm!r} recorded",
            "record it at common steps, or compare final metrics",
        )
    wide = wide[wide.index >= share * wide.index.max()]
    width_of = rows.drop_duplicates("identity").set_index("identity")[axis]
    widths = width_of[wide.columns].to_numpy(dtype=float)
    return {
        int(str(step)): {float(w): line.to_numpy(dtype=float)[widths == w] for w in np.unique(widths)}
        for step, line in wide.iterrows()
    }
